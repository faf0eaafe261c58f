/* SHA-1 against published sums, of texts that end in one block and in two. */
#include "core/base/sha1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void sums_are_those_of_the_standard(void **state)
{
    (void) state;
    static const struct {
        const char *text, *sum;
    } known[] = {
        { "", "da39a3ee5e6b4b0d3255bfef95601890afd80709" },
        { "abc", "a9993e364706816aba3e25717850c26c9cd0d89d" },
        { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "84983e441c3bd26ebaae4aa1f95129e5e54670f1" },
        { "dGhlIHNhbXBsZSBub25jZQ==258EAFA5-E914-47DA-95CA-C5AB0DC85B11", "b37a4f2cc0624f1690f64606cf385945b2bec4ea" },
        { "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrst",
            "984ad2b46ad9c6cf14c0e3c3abb10a6bf9f50139" },
    };
    for (size_t i = 0; i < MC_COUNT(known); i++) {
        unsigned char sum[20];
        char text[41];
        mc_sha1(known[i].text, strlen(known[i].text), sum);
        for (size_t k = 0; k < sizeof sum; k++) {
            (void) snprintf(text + 2 * k, 3, "%02x", sum[k]);
        }
        assert_string_equal(text, known[i].sum);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(sums_are_those_of_the_standard) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
