/* Automatic scaling over a made-up clock: samples five times a second, decisions as the arbiter asks for them. */
#include "core/process/scale.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static uint64_t now;

static struct mc_scale two_to_four(void)
{
    now = 100000;
    return (struct mc_scale){.min = 2, .max = 4, .calm_for = 60000};
}

/* The same samples for so long, or until something is decided. What was, and when in *after. */
static enum mc_scale_why live(struct mc_scale *s, unsigned wanted, unsigned busy, unsigned waiting, uint64_t ms, uint64_t *after)
{
    struct mc_scale_sample sample = {busy, waiting};
    for (uint64_t begin = now; now < begin + ms;) {
        now += MC_SCALE_EVERY_MS;
        mc_scale_note(s, &sample, now);
        enum mc_scale_why why = mc_scale_decide(s, wanted, true, true, now);
        *after = now - begin;
        if (why != MC_SCALE_STAY)
            return why;
    }
    return MC_SCALE_STAY;
}

static void test_load_is_believed_after_five_seconds(void **state)
{
    (void)state;
    struct mc_scale s = two_to_four();
    uint64_t after;
    assert_int_equal(live(&s, 2, 900, 0, 60000, &after), MC_SCALE_LOAD);
    assert_int_equal(after, 5000);
    /* What led to it is forgotten: the next one takes as long. */
    assert_int_equal(live(&s, 3, 1000, 0, 60000, &after), MC_SCALE_LOAD);
    assert_int_equal(after, 5000);
    assert_int_equal(live(&s, 4, 1000, 9, 60000, &after), MC_SCALE_STAY);
}

static void test_waiting_is_believed_after_a_second(void **state)
{
    (void)state;
    struct mc_scale s = two_to_four();
    uint64_t after;
    assert_int_equal(live(&s, 2, 600, 1, 60000, &after), MC_SCALE_WAITING);
    assert_int_equal(after, 1000);
    /* Somebody who waits for idle workers is on his way to them. */
    s = two_to_four();
    assert_int_equal(live(&s, 2, 100, 5, 30000, &after), MC_SCALE_STAY);
    /* Nor is it waiting when now and then nobody does. */
    s = two_to_four();
    for (int i = 0; i < 50; i++) {
        assert_int_equal(live(&s, 2, 600, 1, 800, &after), MC_SCALE_STAY);
        assert_int_equal(live(&s, 2, 600, 0, 200, &after), MC_SCALE_STAY);
    }
}

static void test_a_peak_is_no_load(void **state)
{
    (void)state;
    struct mc_scale s = two_to_four();
    uint64_t after;
    for (int i = 0; i < 50; i++) {
        assert_int_equal(live(&s, 2, 1000, 0, 3000, &after), MC_SCALE_STAY);
        assert_int_equal(live(&s, 2, 300, 0, 3000, &after), MC_SCALE_STAY);
    }
}

static void test_one_leaves_after_a_calm_minute(void **state)
{
    (void)state;
    struct mc_scale s = two_to_four();
    uint64_t after;
    assert_int_equal(live(&s, 4, 200, 0, 300000, &after), MC_SCALE_SPARE);
    assert_int_equal(after, 5000 + 60000); /* five seconds to know it */
    assert_int_equal(live(&s, 3, 200, 0, 300000, &after), MC_SCALE_SPARE);
    assert_int_equal(after, 60000);
    assert_int_equal(live(&s, 2, 0, 0, 300000, &after), MC_SCALE_STAY);
    assert_int_equal(after, 300000);
}

static void test_a_busy_moment_keeps_all(void **state)
{
    (void)state;
    struct mc_scale s = two_to_four();
    uint64_t after;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(live(&s, 4, 100, 0, 50000, &after), MC_SCALE_STAY);
        assert_int_equal(live(&s, 4, 700, 0, 5000, &after), MC_SCALE_STAY);
    }
}

/* Between what makes it grow and what makes it shrink there is room: the same load never does both. */
static void test_it_does_not_swing(void **state)
{
    (void)state;
    for (unsigned work = 0; work <= 4000; work += 50) { /* thousandths of a worker */
        struct mc_scale s = {.min = 1, .max = 8, .calm_for = 60000};
        unsigned wanted = 4, grown = 0, shrunk = 0;
        uint64_t after;
        for (int i = 0; i < 12; i++) {
            unsigned busy = work / wanted < 1000 ? work / wanted : 1000;
            enum mc_scale_why why = live(&s, wanted, busy, busy == 1000, 100000, &after);
            grown += why == MC_SCALE_LOAD || why == MC_SCALE_WAITING;
            shrunk += why == MC_SCALE_SPARE;
            wanted += why == MC_SCALE_LOAD || why == MC_SCALE_WAITING ? 1 : 0;
            wanted -= why == MC_SCALE_SPARE;
        }
        assert_true(grown == 0 || shrunk == 0);
        assert_true(wanted == 8 || work / wanted < MC_SCALE_BUSY);
        assert_true(wanted == 1 || work > 0);
    }
}

static void test_nobody_idle_nobody_leaves(void **state)
{
    (void)state;
    struct mc_scale s = two_to_four();
    struct mc_scale_sample quiet = {100, 0};
    for (int i = 0; i < 1000; i++) {
        mc_scale_note(&s, &quiet, now += MC_SCALE_EVERY_MS);
        assert_int_equal(mc_scale_decide(&s, 4, true, false, now), MC_SCALE_STAY);
    }
    assert_int_equal(mc_scale_decide(&s, 4, true, true, now), MC_SCALE_SPARE);
}

static void test_births_and_pauses_are_waited_for(void **state)
{
    (void)state;
    struct mc_scale s = two_to_four();
    struct mc_scale_sample full = {1000, 9};
    uint64_t after;
    for (int i = 0; i < 100; i++) {
        mc_scale_note(&s, &full, now += MC_SCALE_EVERY_MS);
        assert_int_equal(mc_scale_decide(&s, 3, false, false, now), MC_SCALE_STAY);
    }
    assert_int_equal(live(&s, 3, 1000, 9, 800, &after), MC_SCALE_STAY);
    /* The arbiter stood still: what was before does not join what comes now. */
    now += MC_SCALE_GAP_MS;
    assert_int_equal(live(&s, 3, 1000, 9, 60000, &after), MC_SCALE_WAITING);
    assert_int_equal(after, 1000);
}

static void test_bounds(void **state)
{
    (void)state;
    struct mc_scale s = two_to_four(), fixed = {.min = 0, .max = 0};
    uint64_t after;
    assert_int_equal(live(&s, 1, 0, 0, 1000, &after), MC_SCALE_MIN);
    assert_int_equal(after, 200);
    assert_int_equal(live(&s, 0, 1000, 9, 10000, &after), MC_SCALE_STAY); /* all were sent home */
    assert_int_equal(live(&fixed, 3, 1000, 9, 10000, &after), MC_SCALE_STAY);
    assert_int_equal(live(&fixed, 3, 0, 0, 100000, &after), MC_SCALE_STAY);
    /* TTIN and TTOU move them along. */
    mc_scale_moved(&s, 3);
    assert_true(s.min == 2 && s.max == 4);
    mc_scale_moved(&s, 5);
    assert_true(s.min == 2 && s.max == 5);
    mc_scale_moved(&s, 1);
    assert_true(s.min == 1 && s.max == 5);
    mc_scale_moved(&s, 0);
    assert_int_equal(s.min, 1);
    mc_scale_moved(&fixed, 7);
    assert_int_equal(fixed.max, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_is_believed_after_five_seconds),
        cmocka_unit_test(test_waiting_is_believed_after_a_second),
        cmocka_unit_test(test_a_peak_is_no_load),
        cmocka_unit_test(test_one_leaves_after_a_calm_minute),
        cmocka_unit_test(test_a_busy_moment_keeps_all),
        cmocka_unit_test(test_it_does_not_swing),
        cmocka_unit_test(test_nobody_idle_nobody_leaves),
        cmocka_unit_test(test_births_and_pauses_are_waited_for),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
