/* Small pieces of memory: sizes, contents, and what a thread keeps. */
#include "core/base/small.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void pieces_are_aligned_and_apart(void **state)
{
    (void)state;
    enum { N = 1300 };
    static unsigned char *p[N];
    for (int round = 0; round < 3; round++) {
        for (size_t n = 0; n < N; n++) {
            p[n] = mc_small_get(n);
            assert_non_null(p[n]);
            assert_int_equal((uintptr_t)p[n] % 16, 0);
            memset(p[n], (int)(n % 251), n);
        }
        for (size_t n = 0; n < N; n++) {
            for (size_t i = 0; i < n; i++)
                assert_int_equal(p[n][i], n % 251);
            mc_small_put(p[n]);
        }
    }
    mc_small_trim();
    mc_small_put(NULL);
}

/* Bare ones come from the same lists, and go back to those of their size. */
static void bare_ones_are_zero_and_apart(void **state)
{
    (void)state;
    static unsigned char *p[MC_SMALL_MAX + 1], *other[MC_SMALL_MAX + 1];
    for (int round = 0; round < 3; round++) {
        for (size_t n = 1; n <= MC_SMALL_MAX; n++) {
            p[n] = mc_small_bare_zero(n);
            other[n] = mc_small_get(n);
            assert_non_null(p[n]);
            assert_int_equal((uintptr_t)p[n] % 16, 0);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(p[n][i], 0);
            memset(p[n], (int)(n % 251), n);
            memset(other[n], 0xff, n);
        }
        for (size_t n = 1; n <= MC_SMALL_MAX; n++) {
            for (size_t i = 0; i < n; i++)
                assert_int_equal(p[n][i], n % 251);
            mc_small_bare_put(p[n], n);
            mc_small_put(other[n]);
        }
    }
    mc_small_trim();
    mc_small_bare_put(NULL, 1);
}

static void zeroed_ones_are_zero(void **state)
{
    (void)state;
    unsigned char *p = mc_small_get(200);
    memset(p, 0xff, 200);
    mc_small_put(p);
    p = mc_small_zero(200);
    for (int i = 0; i < 200; i++)
        assert_int_equal(p[i], 0);
    mc_small_put(p);
}

/* Up and down through every class and beyond them, with what it holds. */
static void resized_ones_keep_what_they_hold(void **state)
{
    (void)state;
    unsigned char *p = mc_small_resize(NULL, 1);
    p[0] = 0;
    size_t had = 1;
    for (size_t n = 2; n < 5000; had = n, n += n / 3 + 1) {
        p = mc_small_resize(p, n);
        for (size_t i = 0; i < had; i++)
            assert_int_equal(p[i], i % 256);
        for (size_t i = had; i < n; i++)
            p[i] = (unsigned char)i;
    }
    for (size_t n = had; n > 1; n = n * 3 / 4) {
        p = mc_small_resize(p, n);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], i % 256);
    }
    mc_small_put(p);
}

static void absurd_sizes_fail(void **state)
{
    (void)state;
    assert_null(mc_small_get(SIZE_MAX));
    assert_null(mc_small_zero(SIZE_MAX - 15));
    unsigned char *p = mc_small_get(2000);
    assert_null(mc_small_resize(p, SIZE_MAX - 15));
    mc_small_put(p);
}

/* A burst is not kept for ever: the next ones come from malloc() and from the list alike, and a trim leaves nothing for a leak checker to find. */
static void a_burst_is_given_back(void **state)
{
    (void)state;
    enum { N = 3000 };
    static void *p[N];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < N; i++)
            assert_non_null(p[i] = mc_small_get(MC_SMALL_MAX));
        for (int i = 0; i < N; i++)
            mc_small_put(p[i]);
    }
    mc_small_trim();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_aligned_and_apart), cmocka_unit_test(zeroed_ones_are_zero),  cmocka_unit_test(resized_ones_keep_what_they_hold),
        cmocka_unit_test(bare_ones_are_zero_and_apart),  cmocka_unit_test(absurd_sizes_fail),            cmocka_unit_test(a_burst_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
