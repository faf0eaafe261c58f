/* The arbiter's decisions over a made-up clock. */
#include "core/process/policy.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_delay_doubles_to_a_limit(void **state)
{
    (void)state;
    static const uint64_t want[] = {0, 100, 200, 400, 800, 1600, 3200, 6400, 8000, 8000};
    for (unsigned i = 0; i < MC_COUNT(want); i++)
        assert_int_equal(mc_policy_delay(i), want[i]);
    assert_int_equal(mc_policy_delay(UINT32_MAX), 8000);
}

static void test_all_missing_are_born_at_once(void **state)
{
    (void)state;
    struct mc_policy_births b = {0};
    assert_int_equal(mc_policy_births(&b, 4, 0, 0, 1), 4);
    assert_int_equal(mc_policy_births(&b, 4, 3, 3, 1), 1);
    assert_int_equal(mc_policy_births(&b, 4, 4, 0, 1), 0);
    assert_int_equal(mc_policy_births(&b, 4, 6, 0, 1), 0);
}

static void test_after_a_failure_one_is_tried_after_the_delay(void **state)
{
    (void)state;
    struct mc_policy_births b = {0};
    mc_policy_failed(&b, 1000);
    assert_int_equal(b.failures, 1);
    assert_int_equal(mc_policy_births(&b, 4, 0, 0, 1099), 0);
    assert_int_equal(mc_policy_births(&b, 4, 0, 0, 1100), 1);
    assert_int_equal(mc_policy_births(&b, 4, 1, 1, 1100), 0);
    mc_policy_healed(&b);
    assert_int_equal(mc_policy_births(&b, 4, 1, 0, 1100), 3);
}

static void test_failures_of_one_burst_count_once(void **state)
{
    (void)state;
    struct mc_policy_births b = {0};
    for (int i = 0; i < 16; i++)
        mc_policy_failed(&b, 1000);
    assert_int_equal(b.failures, 1);
    assert_int_equal(b.next_ms, 1100);
    mc_policy_failed(&b, 1100);
    assert_int_equal(b.failures, 2);
    assert_int_equal(b.next_ms, 1300);
}

static void test_who_has_proved_itself(void **state)
{
    (void)state;
    assert_false(mc_policy_proved(0, false));
    assert_false(mc_policy_proved(999, false));
    assert_true(mc_policy_proved(1000, false));
    assert_true(mc_policy_proved(0, true));
}

static void test_one_success_does_not_forgive_a_crash_loop(void **state)
{
    (void)state;
    struct mc_policy_births b = {0};
    uint64_t now = 1000;
    for (unsigned i = 1; i <= 5; i++) {
        mc_policy_healed(&b);
        mc_policy_failed(&b, now);
        assert_int_equal(b.failures, i);
        now = b.next_ms;
    }
}

static void test_old_failures_are_forgotten(void **state)
{
    (void)state;
    struct mc_policy_births b = {0};
    mc_policy_failed(&b, 1000);
    mc_policy_failed(&b, 2000);
    mc_policy_failed(&b, 3000);
    assert_int_equal(b.failures, 3);
    mc_policy_failed(&b, 3000 + 10000 + 800 + 1);
    assert_int_equal(b.failures, 1);
}

static void test_wanted_stays_between_one_and_the_maximum(void **state)
{
    (void)state;
    assert_int_equal(mc_policy_wanted(2, +1, 3), 3);
    assert_int_equal(mc_policy_wanted(3, +1, 3), 3);
    assert_int_equal(mc_policy_wanted(2, -1, 3), 1);
    assert_int_equal(mc_policy_wanted(1, -1, 3), 1);
    assert_int_equal(mc_policy_wanted(0, -1, 3), 1);
    assert_int_equal(mc_policy_wanted(0, +1, 3), 1);
}

static void test_silence_is_counted_from_birth_and_beat(void **state)
{
    (void)state;
    struct mc_policy_watch w = {.beat_ms = 0, .started_ms = 5000, .limit_ms = 3000};
    uint64_t next = UINT64_MAX;
    assert_int_equal(mc_policy_watch(&w, 8000, &next), MC_VERDICT_WAIT);
    assert_int_equal(next, 8001);
    assert_int_equal(mc_policy_watch(&w, 8001, &next), MC_VERDICT_ABORT);
    w.beat_ms = 7000;
    assert_int_equal(mc_policy_watch(&w, 10000, &next), MC_VERDICT_WAIT);
    assert_int_equal(mc_policy_watch(&w, 10001, &next), MC_VERDICT_ABORT);
    w.limit_ms = 0;
    assert_int_equal(mc_policy_watch(&w, 1000000, &next), MC_VERDICT_WAIT);
}

static void test_a_beat_from_the_future_is_one_of_now(void **state)
{
    (void)state;
    struct mc_policy_watch w = {.beat_ms = UINT64_MAX, .started_ms = 5000, .limit_ms = 3000};
    uint64_t next = UINT64_MAX;
    assert_int_equal(mc_policy_watch(&w, 9000, &next), MC_VERDICT_WAIT);
    assert_int_equal(next, 12001);
}

static void test_nobody_is_blamed_for_our_own_stand_still(void **state)
{
    (void)state;
    struct mc_policy_watch w = {.beat_ms = 6000, .started_ms = 5000, .limit_ms = 3000, .awake_ms = 60000};
    uint64_t next = UINT64_MAX;
    assert_int_equal(mc_policy_watch(&w, 60001, &next), MC_VERDICT_WAIT);
    assert_int_equal(mc_policy_watch(&w, 63001, &next), MC_VERDICT_ABORT);
}

static void test_a_request_has_a_limit_of_its_own(void **state)
{
    (void)state;
    struct mc_policy_watch w = {.beat_ms = 9000, .started_ms = 1000, .busy_ms = 5000, .request_ms = 3000};
    uint64_t next = UINT64_MAX;
    assert_int_equal(mc_policy_watch(&w, 8000, &next), MC_VERDICT_WAIT);
    assert_int_equal(next, 8001);
    assert_int_equal(mc_policy_watch(&w, 8001, &next), MC_VERDICT_ABORT_REQUEST);
    w.awake_ms = 6000; /* the whole server stood still until then */
    assert_int_equal(mc_policy_watch(&w, 9000, &next), MC_VERDICT_WAIT);
    assert_int_equal(mc_policy_watch(&w, 9001, &next), MC_VERDICT_ABORT_REQUEST);
    w.aborted_ms = 9001;
    assert_int_equal(mc_policy_watch(&w, 9001 + MC_POLICY_ABRT_MS, &next), MC_VERDICT_KILL);
    w = (struct mc_policy_watch){.busy_ms = 5000, .started_ms = 1000};
    assert_int_equal(mc_policy_watch(&w, 1000000, &next), MC_VERDICT_WAIT);
    w = (struct mc_policy_watch){.busy_ms = UINT64_MAX, .started_ms = 1000, .request_ms = 3000}; /* nonsense in shared memory */
    assert_int_equal(mc_policy_watch(&w, 1000000, &next), MC_VERDICT_WAIT);
}

static void test_the_kill_follows_the_abort(void **state)
{
    (void)state;
    struct mc_policy_watch w = {.beat_ms = 6000, .started_ms = 5000, .limit_ms = 3000, .aborted_ms = 9001};
    uint64_t next = UINT64_MAX;
    assert_int_equal(mc_policy_watch(&w, 10000, &next), MC_VERDICT_WAIT);
    assert_int_equal(next, 10001);
    assert_int_equal(mc_policy_watch(&w, 10001, &next), MC_VERDICT_KILL);
}

/* What an end means, row by row. */
static void test_ends(void **state)
{
    (void)state;
    enum { NO = -1 };
    static const struct {
        const char *name;
        struct mc_policy_end e;
        enum mc_policy_next next;
        int code;
    } rows[] = {
        {"asked to leave", {.asked = true}, MC_NEXT_REPLACE, NO},
        {"max_requests, healthy", {.ready = true, .ready_for_ms = 60000, .served = true, .pool_ready = true}, MC_NEXT_REPLACE, NO},
        {"served, then crashed",
         {.ready = true, .ready_for_ms = 5, .served = true, .pool_ready = true, .signal = SIGSEGV},
         MC_NEXT_REPLACE,
         NO},
        {"ready, then ended at once", {.ready = true, .ready_for_ms = 5, .pool_ready = true}, MC_NEXT_BACKOFF, NO},
        {"ready, then killed from outside", {.ready = true, .ready_for_ms = 5, .pool_ready = true, .signal = SIGKILL}, MC_NEXT_REPLACE, NO},
        {"first start, boot", {.code = 3, .failed = 3}, MC_NEXT_HALT, 3},
        {"first start, app", {.code = 4, .failed = 4}, MC_NEXT_HALT, 4},
        {"first start, no interpreter", {.code = 1, .failed = 1}, MC_NEXT_HALT, 1},
        {"first start, exit(1) in the app", {.code = 1}, MC_NEXT_HALT, 3},
        {"first start, exit(0) in the app", {.code = 0}, MC_NEXT_HALT, 3},
        {"first start, crash", {.signal = SIGSEGV}, MC_NEXT_HALT, 3},
        {"first start, killed from outside", {.signal = SIGKILL}, MC_NEXT_BACKOFF, NO},
        {"first start, silent", {.timeout = true, .signal = SIGABRT}, MC_NEXT_BACKOFF, NO},
        {"later, boot", {.pool_ready = true, .code = 3, .failed = 3}, MC_NEXT_BACKOFF, NO},
        {"later, app", {.pool_ready = true, .code = 4, .failed = 4}, MC_NEXT_BACKOFF, NO},
    };
    for (size_t i = 0; i < MC_COUNT(rows); i++) {
        int code = NO;
        enum mc_policy_next next = mc_policy_ended(&rows[i].e, &code);
        if (next != rows[i].next || code != rows[i].code)
            fail_msg("%s: %d, code %d", rows[i].name, (int)next, code);
    }
}

static void test_when_a_fresh_generation_has_proved_itself(void **state)
{
    (void)state;
    assert_false(mc_policy_steady(0, false));
    assert_false(mc_policy_steady(MC_POLICY_STEADY_MS - 1, false));
    assert_true(mc_policy_steady(MC_POLICY_STEADY_MS, false));
    assert_true(mc_policy_steady(0, true));
}

static void test_when_a_fresh_generation_is_given_up(void **state)
{
    (void)state;
    struct mc_policy_end boot = {.code = MC_EXIT_BOOT}, app = {.failed = MC_EXIT_APP, .code = MC_EXIT_APP}, other = {.code = 7};
    struct mc_policy_end hangs = {.timeout = true, .signal = SIGABRT}, killed = {.signal = SIGKILL}, early = {.ready = true, .code = 1};
    struct mc_policy_end second = {.pool_ready = true, .code = MC_EXIT_BOOT};
    assert_true(mc_policy_discard(&boot, 1));
    assert_true(mc_policy_discard(&app, 1));
    assert_true(mc_policy_discard(&other, 1));
    assert_true(mc_policy_discard(&hangs, 1));
    assert_true(mc_policy_discard(&second, 1));
    /* Who was killed from outside, or died after it was ready, gets some tries. */
    assert_false(mc_policy_discard(&killed, MC_POLICY_TRIES - 1));
    assert_true(mc_policy_discard(&killed, MC_POLICY_TRIES));
    assert_false(mc_policy_discard(&early, MC_POLICY_TRIES - 1));
    assert_true(mc_policy_discard(&early, MC_POLICY_TRIES));
}

/* Plays a roll to its end: a birth is ready in the next step. Checks what must hold in each. */
static void play(unsigned wanted, unsigned old, unsigned surge)
{
    struct mc_policy_roll r = {.wanted = wanted, .surge = surge, .live = 1, .ready = 1, .old_live = old, .old_ready = old};
    unsigned floor = wanted < old ? wanted : old, most = (wanted > old ? wanted : old) + surge;
    for (int step = 0; r.old_live > 0 || r.ready < wanted; step++) {
        assert_true(step < 1000);
        unsigned leave = mc_policy_roll_retire(&r);
        assert_true(leave <= r.old_live);
        r.old_live -= leave;
        r.old_ready -= leave;
        assert_true(r.ready + r.old_ready >= floor);
        unsigned births = mc_policy_roll_births(&r);
        r.live += births;
        assert_true(r.live <= wanted && r.live + r.old_live <= most);
        assert_true(leave > 0 || births > 0 || r.ready < r.live);
        r.ready = r.live;
    }
}

static void test_a_roll_exchanges_one_by_one(void **state)
{
    (void)state;
    struct mc_policy_roll r = {.wanted = 4, .surge = 1, .live = 1, .ready = 1, .old_live = 4, .old_ready = 4};
    assert_int_equal(mc_policy_roll_births(&r), 0);
    assert_int_equal(mc_policy_roll_retire(&r), 1);
    r.old_live = r.old_ready = 3;
    assert_int_equal(mc_policy_roll_births(&r), 1);
    r.live = 2; /* not ready yet */
    assert_int_equal(mc_policy_roll_retire(&r), 0);
    assert_int_equal(mc_policy_roll_births(&r), 0);
    r.surge = 3;
    assert_int_equal(mc_policy_roll_births(&r), 2);
    /* Old ones that are not ready serve nobody. */
    r = (struct mc_policy_roll){.wanted = 4, .surge = 1, .live = 1, .ready = 1, .old_live = 4, .old_ready = 2};
    assert_int_equal(mc_policy_roll_retire(&r), 2);
    for (unsigned wanted = 1; wanted <= 9; wanted++) {
        for (unsigned old = 1; old <= 9; old++) {
            play(wanted, old, 1);
            play(wanted, old, 4);
        }
    }
    /* None wanted any more. */
    r = (struct mc_policy_roll){.wanted = 0, .surge = 1, .live = 1, .ready = 1, .old_live = 3, .old_ready = 3};
    assert_int_equal(mc_policy_roll_retire(&r), 3);
    assert_int_equal(mc_policy_roll_births(&r), 0);
}

static void test_when_the_next_reload_may_begin(void **state)
{
    (void)state;
    struct mc_policy_again idle = {0}, loading = {.loading = true, .for_ms = UINT64_MAX}, proving = {.proving = true}, rolling = {.rolling = true};
    struct mc_policy_again starts = {.unproved = true}, draining = {.draining = true};
    assert_true(mc_policy_again(&idle));
    assert_false(mc_policy_again(&loading));
    struct mc_policy_again *wait[] = {&proving, &rolling, &starts, &draining};
    for (size_t i = 0; i < MC_COUNT(wait); i++) {
        assert_false(mc_policy_again(wait[i]));
        wait[i]->for_ms = MC_POLICY_PATIENCE_MS;
        assert_true(mc_policy_again(wait[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delay_doubles_to_a_limit),
        cmocka_unit_test(test_all_missing_are_born_at_once),
        cmocka_unit_test(test_after_a_failure_one_is_tried_after_the_delay),
        cmocka_unit_test(test_failures_of_one_burst_count_once),
        cmocka_unit_test(test_who_has_proved_itself),
        cmocka_unit_test(test_one_success_does_not_forgive_a_crash_loop),
        cmocka_unit_test(test_old_failures_are_forgotten),
        cmocka_unit_test(test_wanted_stays_between_one_and_the_maximum),
        cmocka_unit_test(test_silence_is_counted_from_birth_and_beat),
        cmocka_unit_test(test_a_beat_from_the_future_is_one_of_now),
        cmocka_unit_test(test_nobody_is_blamed_for_our_own_stand_still),
        cmocka_unit_test(test_a_request_has_a_limit_of_its_own),
        cmocka_unit_test(test_the_kill_follows_the_abort),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_when_a_fresh_generation_has_proved_itself),
        cmocka_unit_test(test_when_a_fresh_generation_is_given_up),
        cmocka_unit_test(test_a_roll_exchanges_one_by_one),
        cmocka_unit_test(test_when_the_next_reload_may_begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
