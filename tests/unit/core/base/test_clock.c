/* Dates against the C library's, and the clock that tests put in. */
#include "core/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void http_dates_agree_with_the_library(void **state)
{
    (void)state;
    static const time_t special[] = {0, -1, 951782399, 951782400, 951868800, 1709164800, 4107542399, 4107542400, 253402300799};
    char want[64], got[MC_HTTP_DATE_LEN + 1] = "";
    for (long i = 0; i < 30000; i++) {
        time_t t = (size_t)i < MC_COUNT(special) ? special[i] : -30000000000 + i * 9400000L + i * 7 % 86400;
        struct tm tm;
        assert_non_null(gmtime_r(&t, &tm));
        assert_int_equal(strftime(want, sizeof(want), "%a, %d %b %Y %H:%M:%S GMT", &tm), MC_HTTP_DATE_LEN);
        mc_clock_http_date(got, t);
        assert_string_equal(got, want);
        mc_clock_http_date(got, t);
        assert_string_equal(got, want);
    }
}

static void dates_out_of_range_have_the_right_length(void **state)
{
    (void)state;
    char got[MC_HTTP_DATE_LEN + 1] = "";
    mc_clock_http_date(got, (time_t)INT64_MAX);
    assert_string_equal(got, "Thu, 01 Jan 1970 00:00:00 GMT");
    mc_clock_http_date(got, (time_t)INT64_MIN);
    assert_string_equal(got, "Thu, 01 Jan 1970 00:00:00 GMT");
}

static void log_dates_carry_the_zone(void **state)
{
    (void)state;
    static const struct {
        const char *zone, *text;
    } cases[] = {
        {"UTC0", "2026-02-28 23:59:59 +0000"},
        {"XXX-5:30", "2026-03-01 05:29:59 +0530"},
        {"XXX3:30", "2026-02-28 20:29:59 -0330"},
        {"XXX-14", "2026-03-01 13:59:59 +1400"},
    };
    time_t t = 1772323199;
    for (size_t i = 0; i < MC_COUNT(cases); i++) {
        char out[32], safe[32];
        setenv("TZ", cases[i].zone, 1);
        tzset();
        mc_clock_log_date(out, sizeof(out), t - 1); /* another second: nothing is cached */
        mc_clock_log_date(out, sizeof(out), t);
        assert_string_equal(out, cases[i].text);
        mc_clock_log_date_safe(safe, sizeof(safe), t);
        assert_string_equal(safe, cases[i].text);
    }
}

static uint64_t fake_now(void)
{
    return 123456;
}

static void time_can_be_replaced(void **state)
{
    (void)state;
    mc_clock_fake(fake_now);
    assert_int_equal(mc_clock_ms(), 123456);
    assert_int_equal(mc_clock_ns(), 123456000000);
    mc_clock_fake(NULL);
    uint64_t a = mc_clock_ns(), b = mc_clock_ns();
    assert_true(b >= a);
    assert_true(mc_clock_ms() >= a / 1000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(http_dates_agree_with_the_library),
        cmocka_unit_test(dates_out_of_range_have_the_right_length),
        cmocka_unit_test(log_dates_carry_the_zone),
        cmocka_unit_test(time_can_be_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
