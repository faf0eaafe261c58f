/* Texts of status codes, and which carry no body. */
#include "core/http/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>

static void texts(void **state)
{
    (void)state;
    assert_true(mc_str_eq(mc_status_reason(200), MC_STR("OK")));
    assert_true(mc_str_eq(mc_status_reason(431), MC_STR("Request Header Fields Too Large")));
    assert_true(mc_str_eq(mc_status_reason(511), MC_STR("Network Authentication Required")));
    for (int status = -1; status < 1100; status++) {
        struct mc_str s = mc_status_reason(status);
        struct mc_str line = mc_status_line(status);
        char text[64];
        int n = snprintf(text, sizeof text, "HTTP/1.1 %d %.*s\r\n", status, (int)s.n, s.p);
        assert_true(s.n > 0 && s.n < 40);
        assert_true(line.p ? mc_str_eq(line, (struct mc_str){text, (size_t)n}) : mc_str_eq(s, MC_STR("Unknown")));
    }
}

static void unknown(void **state)
{
    static const int codes[] = {-5, 0, 99, 104, 299, 418, 512, 999};
    (void)state;
    for (size_t i = 0; i < MC_COUNT(codes); i++)
        assert_true(mc_str_eq(mc_status_reason(codes[i]), MC_STR("Unknown")));
}

static void bodyless(void **state)
{
    (void)state;
    assert_true(mc_status_bodyless(100) && mc_status_bodyless(103) && mc_status_bodyless(204) && mc_status_bodyless(304));
    assert_false(mc_status_bodyless(200) || mc_status_bodyless(205) || mc_status_bodyless(302) || mc_status_bodyless(404));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),
        cmocka_unit_test(unknown),
        cmocka_unit_test(bodyless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
