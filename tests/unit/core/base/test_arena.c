/* Arenas and blocks: alignment, bounds, order of cleanups, reuse. */
#include "core/base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void takes_nothing_until_used(void **state)
{
    (void)state;
    struct mc_arena a;
    mc_arena_init(&a);
    assert_null(a.blocks);
    assert_null(a.big);
    mc_arena_fini(&a);
}

static void pieces_are_aligned_and_apart(void **state)
{
    (void)state;
    enum { N = 3000 };
    static unsigned char *p[N];
    struct mc_arena a;
    mc_arena_init(&a);
    for (int i = 0; i < N; i++) {
        size_t n = (size_t)i * 7 % 2600;
        p[i] = mc_arena_alloc(&a, n);
        assert_non_null(p[i]);
        assert_int_equal((uintptr_t)p[i] % 16, 0);
        memset(p[i], i & 0xff, n);
    }
    for (int i = 0; i < N; i++) {
        for (size_t j = 0; j < (size_t)i * 7 % 2600; j++)
            assert_int_equal(p[i][j], i & 0xff);
    }
    mc_arena_fini(&a);
}

static void absurd_sizes_fail(void **state)
{
    (void)state;
    struct mc_arena a;
    mc_arena_init(&a);
    assert_null(mc_arena_alloc(&a, SIZE_MAX));
    assert_null(mc_arena_alloc(&a, SIZE_MAX - 15));
    assert_null(mc_arena_dup(&a, (struct mc_str){"", SIZE_MAX}).p);
    assert_non_null(mc_arena_alloc(&a, 16));
    mc_arena_fini(&a);
}

static void texts_are_terminated(void **state)
{
    (void)state;
    struct mc_arena a;
    mc_arena_init(&a);
    struct mc_str d = mc_arena_dup(&a, (struct mc_str){"hello world", 5});
    assert_int_equal(d.n, 5);
    assert_string_equal(d.p, "hello");
    d = mc_arena_dup(&a, MC_STR_NONE);
    assert_int_equal(d.n, 0);
    assert_string_equal(d.p, "");
    assert_string_equal(mc_arena_strdup(&a, "z"), "z");
    assert_string_equal(mc_arena_printf(&a, "%s=%d", "a", 1), "a=1");
    for (int width = 250; width < 262; width++)
        assert_int_equal(strlen(mc_arena_printf(&a, "%*s", width, "")), width);
    assert_int_equal(strlen(mc_arena_printf(&a, "%9000s", "")), 9000);
    unsigned char *zero = mc_arena_calloc(&a, 700);
    for (int i = 0; i < 700; i++)
        assert_int_equal(zero[i], 0);
    mc_arena_fini(&a);
}

static int order[4], ran;
static struct mc_arena nested;

static void note(void *data)
{
    order[ran++] = *(int *)data;
}

static void register_one_more(void *data)
{
    note(data);
    assert_int_equal(mc_arena_cleanup(&nested, note, data), MC_OK);
}

static void cleanups_run_newest_first(void **state)
{
    (void)state;
    int v[3] = {1, 2, 3};
    mc_arena_init(&nested);
    ran = 0;
    assert_int_equal(mc_arena_cleanup(&nested, note, &v[0]), MC_OK);
    assert_int_equal(mc_arena_cleanup(&nested, register_one_more, &v[1]), MC_OK);
    assert_int_equal(mc_arena_cleanup(&nested, note, &v[2]), MC_OK);
    mc_arena_fini(&nested);
    assert_int_equal(ran, 4);
    assert_int_equal(order[0], 3);
    assert_int_equal(order[1], 2);
    assert_int_equal(order[2], 2);
    assert_int_equal(order[3], 1);
    mc_arena_init(&nested);
    assert_non_null(mc_arena_alloc(&nested, 1));
    mc_arena_fini(&nested);
}

static void blocks_come_and_go(void **state)
{
    (void)state;
    enum { N = 400 };
    static void *b[N];
    static const size_t sizes[] = {MC_BLOCK_SMALL, MC_BLOCK_LARGE};
    for (int round = 0; round < 3; round++) {
        for (size_t k = 0; k < MC_COUNT(sizes); k++) {
            for (int i = 0; i < N; i++) {
                b[i] = mc_block_get(sizes[k]);
                assert_non_null(b[i]);
                assert_int_equal((uintptr_t)b[i] % 16, 0);
                memset(b[i], round, sizes[k]);
            }
            for (int i = 0; i < N; i++)
                mc_block_put(b[i], sizes[k]);
        }
        mc_block_trim();
    }
    mc_block_put(NULL, MC_BLOCK_SMALL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_nothing_until_used), cmocka_unit_test(pieces_are_aligned_and_apart), cmocka_unit_test(absurd_sizes_fail),
        cmocka_unit_test(texts_are_terminated),     cmocka_unit_test(cleanups_run_newest_first),    cmocka_unit_test(blocks_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
