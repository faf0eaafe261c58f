/* SipHash-2-4 against the vectors of its paper. */
#include "core/base/sip.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void vectors(void **state)
{
    (void)state;
    static const uint64_t key[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
    char in[64];
    for (int i = 0; i < 64; i++)
        in[i] = (char)i;
    assert_true(mc_sip(key, (struct mc_str){in, 0}) == 0x726fdb47dd0e0e31u);
    assert_true(mc_sip(key, (struct mc_str){in, 1}) == 0x74f839c593dc67fdu);
    assert_true(mc_sip(key, (struct mc_str){in, 8}) == 0x93f5f5799a932462u);
    assert_true(mc_sip(key, (struct mc_str){in, 15}) == 0xa129ca6149be45e5u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(vectors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
