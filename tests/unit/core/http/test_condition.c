/* Dates and preconditions (RFC 9110 §5.6.7, §13). */
#include "core/http/condition.h"
#include "core/http/date.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define NOV6 784111777 /* Sun, 06 Nov 1994 08:49:37 GMT */

static void dates(void **state)
{
    static const struct {
        const char *text;
        time_t want;
    } good[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", NOV6},       {"Sunday, 06-Nov-94 08:49:37 GMT", NOV6}, {"Sun Nov  6 08:49:37 1994", NOV6},
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},          {"Tue, 29 Feb 2000 23:59:59 GMT", 951868799},
        {"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799}, {"Wednesday, 01-Jan-69 00:00:00 GMT", 3124224000},
    };
    static const char *const bad[] = {
        "", "0", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT", "Mon, 29 Feb 1999 00:00:00 GMT", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1969 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun Nov  6 08:49:37 19940", "Sun Nov x6 08:49:37 1994",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "Sun,                           ",
    };
    time_t t;
    (void)state;
    for (size_t i = 0; i < MC_COUNT(good); i++) {
        assert_int_equal(mc_date_parse(mc_str(good[i].text), &t), MC_OK);
        assert_int_equal(t, good[i].want);
    }
    for (size_t i = 0; i < MC_COUNT(bad); i++)
        assert_int_equal(mc_date_parse(mc_str(bad[i]), &t), MC_ERROR);
}

#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"
#define SAME "Sun, 06 Nov 1994 08:49:37 GMT"
#define AFTER "Sun, 06 Nov 1994 08:49:38 GMT"

static void preconditions(void **state)
{
    static const struct {
        const char *name, *value, *name2, *value2;
        const char *etag;
        int want;
    } cases[] = {
        {NULL, NULL, NULL, NULL, "\"a\"", MC_OK},
        {"If-None-Match", "\"a\"", NULL, NULL, "\"a\"", 304},
        {"If-None-Match", "W/\"a\"", NULL, NULL, "\"a\"", 304},
        {"If-None-Match", "\"x\", \"y,\" , \"a\"", NULL, NULL, "\"a\"", 304},
        {"If-None-Match", "*", NULL, NULL, "\"a\"", 304},
        {"If-None-Match", "\"b\"", NULL, NULL, "\"a\"", MC_OK},
        {"If-None-Match", "a", NULL, NULL, "\"a\"", MC_OK},
        {"If-None-Match", "\"a", NULL, NULL, "\"a\"", MC_OK},
        {"If-None-Match", "\"b\"", "If-Modified-Since", AFTER, "\"a\"", MC_OK}, /* the tag alone counts */
        {"If-None-Match", "\"b\"", "If-None-Match", "\"a\"", "\"a\"", 304},
        {"If-Modified-Since", SAME, NULL, NULL, "\"a\"", 304},
        {"If-Modified-Since", AFTER, NULL, NULL, "\"a\"", 304},
        {"If-Modified-Since", BEFORE, NULL, NULL, "\"a\"", MC_OK},
        {"If-Modified-Since", "yesterday", NULL, NULL, "\"a\"", MC_OK},
        {"If-Match", "\"a\"", NULL, NULL, "\"a\"", MC_OK},
        {"If-Match", "*", NULL, NULL, "\"a\"", MC_OK},
        {"If-Match", "\"b\"", NULL, NULL, "\"a\"", 412},
        {"If-Match", "W/\"a\"", NULL, NULL, "\"a\"", 412}, /* strong comparison */
        {"If-Match", "\"a\"", NULL, NULL, "W/\"a\"", 412},
        {"If-Match", "\"a\"", "If-Unmodified-Since", BEFORE, "\"a\"", MC_OK},
        {"If-Match", "\"a\"", "If-None-Match", "\"a\"", "\"a\"", 304},
        {"If-Match", "\"b\"", "If-None-Match", "\"b\"", "\"a\"", 412},
        {"If-Unmodified-Since", BEFORE, NULL, NULL, "\"a\"", 412},
        {"If-Unmodified-Since", SAME, NULL, NULL, "\"a\"", MC_OK},
        {"If-Unmodified-Since", "x", NULL, NULL, "\"a\"", MC_OK},
    };
    (void)state;
    for (size_t i = 0; i < MC_COUNT(cases); i++) {
        struct mc_arena a;
        struct mc_fields f = {0};
        mc_arena_init(&a);
        if (cases[i].name)
            mc_fields_add(&f, &a, mc_str(cases[i].name), mc_str(cases[i].value));
        if (cases[i].name2)
            mc_fields_add(&f, &a, mc_str(cases[i].name2), mc_str(cases[i].value2));
        struct mc_validators v = {mc_str(cases[i].etag), NOV6};
        assert_int_equal(mc_condition(&f, &v), cases[i].want);
        mc_arena_fini(&a);
    }
}

static void if_range(void **state)
{
    static const struct {
        const char *value, *etag;
        bool want;
    } cases[] = {
        {NULL, "\"a\"", true},  {"\"a\"", "\"a\"", true},      {"\"b\"", "\"a\"", false}, {"W/\"a\"", "\"a\"", false},
        {"W/\"a\"", "W/\"a\"", false}, {"\"a\"", "W/\"a\"", false}, {SAME, "\"a\"", true},      {AFTER, "\"a\"", false},
        {BEFORE, "\"a\"", false}, {"", "\"a\"", false},
    };
    (void)state;
    for (size_t i = 0; i < MC_COUNT(cases); i++) {
        struct mc_arena a;
        struct mc_fields f = {0};
        mc_arena_init(&a);
        if (cases[i].value)
            mc_fields_add(&f, &a, MC_STR("If-Range"), mc_str(cases[i].value));
        struct mc_validators v = {mc_str(cases[i].etag), NOV6};
        assert_int_equal(mc_condition_range(&f, &v), cases[i].want);
        mc_arena_fini(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(dates), cmocka_unit_test(preconditions), cmocka_unit_test(if_range)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
