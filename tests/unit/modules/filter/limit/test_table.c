/* Leaky buckets and counts of requests in shared memory, also when their worker has died. */
#include "modules/filter/limit/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct mc_limit_table t;
static char *memory;

static int setup(void **state)
{
    (void)state;
    memory = calloc(1, MC_LIMIT_MEMORY_MIN);
    assert_non_null(memory);
    mc_limit_table_open(&t, memory, MC_LIMIT_MEMORY_MIN);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(memory);
    return 0;
}

static void a_bucket_leaks(void **state)
{
    (void)state;
    struct mc_limit_rate rate = {10, 1000, 2};
    uint64_t now = 5000, wait;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mc_limit_rate(&t, 7, &rate, now, &wait), MC_OK);
        assert_int_equal(wait, i * 100); /* with delay each waits for its place */
    }
    assert_int_equal(mc_limit_rate(&t, 7, &rate, now, &wait), MC_DECLINED);
    assert_int_equal(wait, 100);
    assert_int_equal(mc_limit_rate(&t, 8, &rate, now, &wait), MC_OK); /* another key */
    assert_int_equal(mc_limit_rate(&t, 7, &rate, now + 99, &wait), MC_DECLINED);
    assert_int_equal(wait, 1);
    assert_int_equal(mc_limit_rate(&t, 7, &rate, now + 100, &wait), MC_OK);
    assert_int_equal(mc_limit_rate(&t, 7, &rate, now + 100, &wait), MC_DECLINED);
    assert_int_equal(mc_limit_rate(&t, 7, &rate, now + 50, &wait), MC_DECLINED); /* a clock that is behind leaks nothing */
    assert_int_equal(mc_limit_rate(&t, 7, &rate, now + (UINT64_C(1) << 38), &wait), MC_OK);
    assert_int_equal(wait, 0);
}

static void slow_rates_leak_too(void **state)
{
    (void)state;
    struct mc_limit_rate rate = {1, 3600000, 0};
    uint64_t wait;
    assert_int_equal(mc_limit_rate(&t, 0, &rate, 1, &wait), MC_OK); /* 0 is a key like others */
    assert_int_equal(mc_limit_rate(&t, 0, &rate, 3600000 - 9, &wait), MC_DECLINED);
    assert_int_equal(wait > 0 && wait <= 3600, 1);
    assert_int_equal(mc_limit_rate(&t, 0, &rate, 3600001, &wait), MC_OK);
}

static void a_full_table_forgets_the_oldest(void **state)
{
    (void)state;
    struct mc_limit_rate rate = {1, 1000, 0};
    uint64_t wait, step = t.nbuckets - 16; /* all of these fall into one window */
    for (uint64_t i = 0; i < 40; i++)
        assert_int_equal(mc_limit_rate(&t, 5 + i * step, &rate, 1000 + i, &wait), MC_OK);
    assert_int_equal(mc_limit_rate(&t, 5 + 39 * step, &rate, 1041, &wait), MC_DECLINED); /* the newest is there */
    assert_int_equal(mc_limit_rate(&t, 5, &rate, 1042, &wait), MC_OK);
}

static bool second_lives;

static bool alive(uint64_t id, void *data)
{
    (void)data;
    return id == 1 || (id == 2 && second_lives);
}

static void counts_hold_for_all_workers(void **state)
{
    (void)state;
    struct mc_limit_owner one = {1, alive, NULL}, two = {2, alive, NULL};
    bool full;
    second_lives = true;
    struct mc_limit_count *a = mc_limit_enter(&t, 9, 3, &one, &full), *b = mc_limit_enter(&t, 9, 3, &two, &full), *c = mc_limit_enter(&t, 9, 3, &two, &full);
    assert_true(a && b && c && b == c && a != b);
    assert_null(mc_limit_enter(&t, 9, 3, &one, &full));
    assert_false(full);
    assert_non_null(mc_limit_enter(&t, 10, 3, &one, &full)); /* another key */
    mc_limit_leave(c);
    a = mc_limit_enter(&t, 9, 3, &one, &full);
    assert_non_null(a);
    assert_null(mc_limit_enter(&t, 9, 3, &one, &full));
    second_lives = false; /* killed with one in work: its place is given back */
    assert_non_null(mc_limit_enter(&t, 9, 3, &one, &full));
    assert_null(mc_limit_enter(&t, 9, 3, &one, &full));
    for (int i = 0; i < 3; i++)
        mc_limit_leave(a);
    assert_non_null(mc_limit_enter(&t, 9, 1, &one, &full));
    assert_null(mc_limit_enter(&t, 9, 1, &one, &full));
}

static void a_full_window_says_so(void **state)
{
    (void)state;
    struct mc_limit_owner one = {1, alive, NULL}, two = {2, alive, NULL};
    bool full = false;
    uint64_t step = t.ncounts - 64;
    second_lives = true;
    for (uint64_t i = 0; i < 64; i++)
        assert_non_null(mc_limit_enter(&t, 5 + i * step, 1, &two, &full));
    assert_null(mc_limit_enter(&t, 5 + 64 * step, 1, &one, &full));
    assert_true(full);
    second_lives = false;
    assert_non_null(mc_limit_enter(&t, 5 + 64 * step, 1, &one, &full));
    assert_false(full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_bucket_leaks, setup, teardown),
        cmocka_unit_test_setup_teardown(slow_rates_leak_too, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_table_forgets_the_oldest, setup, teardown),
        cmocka_unit_test_setup_teardown(counts_hold_for_all_workers, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_window_says_so, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
