/* JSON strings: every byte, UTF-8 as it should and should not be, and little room. */
#include "core/base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *escape(const char *text, size_t n)
{
    static char out[4096];
    struct mc_str s = {text, n};
    size_t len = mc_json_escape(out, sizeof(out) - 1, &s);
    assert_int_equal(s.n, 0);
    out[len] = '\0';
    return out;
}

static void test_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"", ""},
        {"a b~", "a b~"},
        {"\"\\/", "\\\"\\\\/"},
        {"\b\t\n\f\r\x01\x1f\x7f", "\\b\\t\\n\\f\\r\\u0001\\u001f\\u007f"},
        {"\xc3\xa9", "\\u00e9"},
        {"\xe2\x82\xac", "\\u20ac"},
        {"\xf0\x9f\x98\x80", "\\ud83d\\ude00"},
        {"\xf4\x8f\xbf\xbf", "\\udbff\\udfff"},
        {"\xc2\x9b", "\\u009b"},                             /* a control of terminals */
        {"\xff", "\\\\xff"},
        {"\xc3", "\\\\xc3"},                                 /* cut */
        {"\xc3(", "\\\\xc3("},
        {"\xc0\xaf", "\\\\xc0\\\\xaf"},                      /* too long a form */
        {"\xe0\x80\xaf", "\\\\xe0\\\\x80\\\\xaf"},
        {"\xed\xa0\x80", "\\\\xed\\\\xa0\\\\x80"},           /* a surrogate */
        {"\xf4\x90\x80\x80", "\\\\xf4\\\\x90\\\\x80\\\\x80"}, /* beyond Unicode */
        {"\xf8\x88\x80\x80\x80", "\\\\xf8\\\\x88\\\\x80\\\\x80\\\\x80"},
    };
    for (size_t i = 0; i < MC_COUNT(rows); i++)
        assert_string_equal(escape(rows[i].text, strlen(rows[i].text)), rows[i].want);
    assert_string_equal(escape("\0", 1), "\\u0000");
}

static void test_never_half_an_escape(void **state)
{
    (void)state;
    static const char text[] = "a\"\x01\xc3\xa9\xf0\x9f\x98\x80\xff";
    char all[100], out[100];
    struct mc_str s = MC_STR(text);
    size_t n = mc_json_escape(all, sizeof(all), &s);
    for (size_t cap = 0; cap <= n; cap++) {
        s = MC_STR(text);
        size_t len = mc_json_escape(out, cap, &s);
        assert_true(len <= cap);
        assert_memory_equal(out, all, len);
        assert_int_equal(s.n == 0, len == n);
        len = mc_json_escape(out + len, sizeof(out) - len, &s) + len; /* the rest goes on where it was cut */
        assert_int_equal(len, n);
        assert_memory_equal(out, all, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts), cmocka_unit_test(test_never_half_an_escape)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
