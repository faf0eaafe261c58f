/* Patterns of reload_extra_files. */
#include "core/process/watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *path;
        bool want;
    } rows[] = {
        {"/a/*.html", "/a/x.html", true},
        {"/a/*.html", "/a/b/x.html", false},
        {"/a/*.html", "/a/x.htm", false},
        {"/a/*.html", "/a/.x.html", false},
        {"/a/**/*.html", "/a/x.html", true},
        {"/a/**/*.html", "/a/b/c/x.html", true},
        {"/a/**/*.html", "/a/.git/x.html", false},
        {"/a/**/*.html", "/b/x.html", false},
        {"/a/**", "/a/x", true},
        {"/a/**", "/a/b/x", true},
        {"/a/**", "/a", true},
        {"/a/**/b/**/c", "/a/b/c", true},
        {"/a/**/b/**/c", "/a/1/2/b/3/c", true},
        {"/a/**/b/**/c", "/a/1/2/3/c", false},
        {"/a/?[bc]", "/a/xb", true},
        {"/a/?[bc]", "/a/xd", false},
        {"/a//b/*", "/a/b/x", true},
        {"/*/x", "/a/x", true},
        {"/a/b", "/a/b", true},
        {"/a/b", "/a/bc", false},
    };
    for (size_t i = 0; i < MC_COUNT(rows); i++) {
        if (mc_watch_match(rows[i].pattern, rows[i].path) != rows[i].want)
            fail_msg("%s %s", rows[i].pattern, rows[i].path);
    }
}

static void directories(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *dir;
        bool want;
    } rows[] = {
        {"/a/*.html", "/a", true},
        {"/a/*.html", "/", true},
        {"/a/*.html", "/b", false},
        {"/a/*.html", "/a/b", false},
        {"/a/*/x", "/a/b", true},
        {"/a/*/x", "/a/b/c", false},
        {"/a/**/x", "/a/b/c", true},
        {"/a/**/x", "/a/.git", false},
        {"/a/**/x", "/a/b/.git/c", false},
    };
    for (size_t i = 0; i < MC_COUNT(rows); i++) {
        if (mc_watch_below(rows[i].pattern, rows[i].dir) != rows[i].want)
            fail_msg("%s %s", rows[i].pattern, rows[i].dir);
    }
    assert_true(mc_watch_is_pattern("a*") && mc_watch_is_pattern("[a]") && !mc_watch_is_pattern("/a/b.html"));
}

/* Many of them cost no time to speak of. */
static void no_explosion(void **state)
{
    (void)state;
    assert_false(mc_watch_match("/**/a/**/a/**/a/**/a/b", "/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/c"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(patterns), cmocka_unit_test(directories), cmocka_unit_test(no_explosion)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
