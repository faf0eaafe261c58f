/* Where messages go: what may be written, and the form that asks nobody. */
#include "core/os/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_forms(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"udp://127.0.0.1:1514", "udp://127.0.0.1:1514"},
        {"udp://127.0.0.1", "udp://127.0.0.1:514"},
        {"udp://", "udp://127.0.0.1:514"},
        {"udp://localhost", "udp://127.0.0.1:514"},
        {"tcp://[::1]:601", "tcp://[::1]:601"},
        {"[::1]", "udp://[::1]:514"},
        {"127.0.0.1:8125", "udp://127.0.0.1:8125"},
        {"unix:///dev/log", "unix:///dev/log#dgram"},
        {"unix:///dev/log#dgram", "unix:///dev/log#dgram"},
        {"unix:///x#stream", "unix:///x#stream"},
    };
    for (size_t i = 0; i < MC_COUNT(rows); i++) {
        struct mc_target t;
        char err[200] = "", text[MC_TARGET_TEXT], again[MC_TARGET_TEXT];
        if (mc_target_parse(rows[i].text, 514, &t, err, sizeof err) != MC_OK)
            fail_msg("%s: %s", rows[i].text, err);
        mc_target_print(&t, text);
        assert_string_equal(text, rows[i].want);
        assert_int_equal(mc_target_parse(text, 1, &t, err, sizeof err), MC_OK);
        mc_target_print(&t, again);
        assert_string_equal(again, text);
    }
}

static void test_errors(void **state)
{
    (void)state;
    static const char *const bad[] = {"http://x", "udp://x:0", "udp://x:99999", "udp://:514", "udp://a:b", "a/b", "unix:///x#packet", "::1:514", "udp://a b"};
    for (size_t i = 0; i < MC_COUNT(bad); i++) {
        char err[200] = "";
        if (mc_target_check(bad[i], err, sizeof err) != MC_ERROR || !err[0])
            fail_msg("'%s' passed", bad[i]);
    }
    char err[200];
    assert_int_equal(mc_target_check("udp://no.such.host.example:514", err, sizeof err), MC_OK); /* nobody was asked */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_forms), cmocka_unit_test(test_errors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
