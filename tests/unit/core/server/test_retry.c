/* Which requests may be made again: every row of the decision. */
#include "core/server/upstream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static struct mc_retry usual(enum mc_call_fault fault)
{
    return (struct mc_retry){ .fault = fault, .on = MC_RETRY_ERROR | MC_RETRY_TIMEOUT, .tries_left = true, .in_time = true, .idempotent = true, .wired = true,
        .replayable = true };
}

static void test_faults(void **state)
{
    (void) state;
    static const struct {
        enum mc_call_fault fault;
        enum mc_retry_how how;
    } rows[] = {
        { MC_FAULT_CONNECT, MC_RETRY_NEXT }, { MC_FAULT_RESET, MC_RETRY_NEXT }, { MC_FAULT_REPLY, MC_RETRY_NEXT }, { MC_FAULT_TIMEOUT, MC_RETRY_NEXT },
        { MC_FAULT_STALE, MC_RETRY_FRESH }, { MC_FAULT_NO_PEER, MC_RETRY_NO }, { MC_FAULT_INTERNAL, MC_RETRY_NO }, { MC_FAULT_NONE, MC_RETRY_NO },
        { MC_FAULT_STATUS, MC_RETRY_NO },
    };
    for (unsigned i = 0; i < MC_COUNT(rows); i++) {
        struct mc_retry q = usual(rows[i].fault);
        assert_int_equal(mc_call_retry(&q), rows[i].how);
    }
}

static void test_what_forbids_it(void **state)
{
    (void) state;
    for (int fault = MC_FAULT_CONNECT; fault <= MC_FAULT_TIMEOUT; fault++) {
        struct mc_retry q = usual((enum mc_call_fault) fault);
        q.passed = true;
        assert_int_equal(mc_call_retry(&q), MC_RETRY_NO);
        q = usual((enum mc_call_fault) fault);
        q.replayable = false;
        assert_int_equal(mc_call_retry(&q), MC_RETRY_NO);
        q = usual((enum mc_call_fault) fault);
        q.idempotent = false;
        assert_int_equal(mc_call_retry(&q), MC_RETRY_NO);
        q.wired = false; /* not a byte was sent: nobody can have acted on it */
        assert_int_not_equal(mc_call_retry(&q), MC_RETRY_NO);
    }
}

static void test_budget(void **state)
{
    (void) state;
    struct mc_retry q = usual(MC_FAULT_CONNECT);
    q.tries_left = false;
    assert_int_equal(mc_call_retry(&q), MC_RETRY_NO);
    q = usual(MC_FAULT_CONNECT);
    q.in_time = false;
    assert_int_equal(mc_call_retry(&q), MC_RETRY_NO);
    q = usual(MC_FAULT_STALE); /* free of charge, but once */
    q.tries_left = q.in_time = false;
    assert_int_equal(mc_call_retry(&q), MC_RETRY_FRESH);
    q.stale_before = true;
    assert_int_equal(mc_call_retry(&q), MC_RETRY_NO);
}

static void test_retry_on(void **state)
{
    (void) state;
    struct mc_retry q = usual(MC_FAULT_TIMEOUT);
    q.on = MC_RETRY_ERROR;
    assert_int_equal(mc_call_retry(&q), MC_RETRY_NO);
    q.on = MC_RETRY_TIMEOUT;
    assert_int_equal(mc_call_retry(&q), MC_RETRY_NEXT);
    q.fault = MC_FAULT_RESET;
    assert_int_equal(mc_call_retry(&q), MC_RETRY_NO);
    q.on = 0;
    q.fault = MC_FAULT_STALE; /* nobody's failure */
    assert_int_equal(mc_call_retry(&q), MC_RETRY_FRESH);
    static const struct {
        int status;
        unsigned bit;
    } rows[] = { { 502, MC_RETRY_502 }, { 503, MC_RETRY_503 }, { 504, MC_RETRY_504 } };
    for (unsigned i = 0; i < MC_COUNT(rows); i++) {
        q = usual(MC_FAULT_STATUS);
        q.status = rows[i].status;
        assert_int_equal(mc_call_retry(&q), MC_RETRY_NO);
        q.on = rows[i].bit;
        assert_int_equal(mc_call_retry(&q), MC_RETRY_NEXT);
        q.status = 500;
        assert_int_equal(mc_call_retry(&q), MC_RETRY_NO);
    }
}

static void test_idempotent(void **state)
{
    (void) state;
    static const char *const yes[] = { "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE" }, *const no[] = { "POST", "PATCH", "get", "", "GETS", "LOCK" };
    for (unsigned i = 0; i < MC_COUNT(yes); i++) {
        assert_true(mc_call_idempotent(mc_str(yes[i])));
        assert_false(mc_call_idempotent(mc_str(no[i])));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faults), cmocka_unit_test(test_what_forbids_it), cmocka_unit_test(test_budget), cmocka_unit_test(test_retry_on),
        cmocka_unit_test(test_idempotent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
