/* Range: what is granted, what is ignored, what is refused (RFC 9110 §14). */
#include "core/http/range.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static void table(void **state)
{
    static const struct {
        const char *value;
        int64_t size;
        const char *want; /* "416", "-" ignored, or from+n … */
    } cases[] = {
        {"bytes=0-0", 10, "0+1"},
        {"bytes=0-", 10, "0+10"},
        {"bytes=9-", 10, "9+1"},
        {"bytes=-3", 10, "7+3"},
        {"bytes=-300", 10, "0+10"},
        {"bytes=2-300", 10, "2+8"},
        {"Bytes=2-3", 10, "2+2"},
        {"bytes= 2-3 , 5-6 ", 10, "2+2 5+2"},
        {"bytes=5-6,2-3", 10, "5+2 2+2"},   /* in the order asked for */
        {"bytes=5-6,2-4", 10, "2+5"},       /* they touch: joined */
        {"bytes=0-5,2-8,9-9", 10, "0+10"},
        {"bytes=0-,0-,0-,0-", 10, "0+10"},
        {"bytes=2-3,20-30", 10, "2+2"},     /* one of them is there */
        {"bytes=,,2-3,,", 10, "2+2"},
        {"bytes=10-", 10, "416"},
        {"bytes=10-20,30-", 10, "416"},
        {"bytes=-0", 10, "416"},
        {"bytes=0-", 0, "416"},
        {"bytes=-5", 0, "416"},
        {"bytes=18446744073709551616-", 10, "416"},
        {"bytes=0-18446744073709551616", 10, "0+10"},
        {"bytes=0-9223372036854775807", 10, "0+10"},
        {"bytes=-99999999999999999999999", 10, "0+10"},
        {"bytes=", 10, "-"},
        {"bytes=,", 10, "-"},
        {"bytes", 10, "-"},
        {"items=0-1", 10, "-"},
        {"bytes=3-2", 10, "-"},
        {"bytes=1", 10, "-"},
        {"bytes=-", 10, "-"},
        {"bytes=--1", 10, "-"},
        {"bytes=a-b", 10, "-"},
        {"bytes=0x1-2", 10, "-"},
        {"bytes=+1-2", 10, "-"},
        {"bytes=1-2;", 10, "-"},
        {"bytes=1 -2", 10, "-"},
        {"bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,20-20,22-22,24-24,26-26,28-28,30-30", 99,
         "0+1 2+1 4+1 6+1 8+1 10+1 12+1 14+1 16+1 18+1 20+1 22+1 24+1 26+1 28+1 30+1"},
        {"bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,20-20,22-22,24-24,26-26,28-28,30-30,32-32", 99, "-"},
        {"bytes=0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0", 99, "-"},
    };
    (void)state;
    for (size_t i = 0; i < MC_COUNT(cases); i++) {
        struct mc_range v[MC_RANGES_MAX];
        char text[256] = "-", *p = text;
        unsigned n;
        int rc = mc_range_parse(mc_str(cases[i].value), cases[i].size, v, &n);
        if (rc == 416)
            snprintf(text, sizeof text, "416");
        for (unsigned k = 0; rc == MC_OK && k < n; k++)
            p += sprintf(p, "%s%lld+%lld", k ? " " : "", (long long)v[k].from, (long long)v[k].n);
        assert_string_equal(text, cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
