/* Targets, normal forms, Host. Every input ends at a guard page. */
#include "core/http/uri.h"
#include "tests/unit/lib/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct {
    const char *target;
    bool options;
    int rc;
    const char *path, *query, *authority;
} targets[] = {
    {"/", false, 0, "/", NULL, NULL},
    {"/a/b?c=d?e", false, 0, "/a/b", "c=d?e", NULL},
    {"/?", false, 0, "/", "", NULL},
    {"//host/x", false, 0, "//host/x", NULL, NULL},
    {"/%41%2f", false, 0, "/%41%2f", NULL, NULL},
    {"/?q=100%", false, 0, "/", "q=100%", NULL},
    {"/{a}|b^`\"<>\\", false, 0, "/{a}|b^`\"<>\\", NULL, NULL},
    {"/\xc3\xa9", false, 0, "/\xc3\xa9", NULL, NULL},
    {"http://localhost/x?y", false, 0, "/x", "y", "localhost"},
    {"HTTPS://[::1]:80", false, 0, "/", NULL, "[::1]:80"},
    {"http://h?y", false, 0, "/", "y", "h"},
    {"*", true, 0, "*", NULL, NULL},
    {"http://h", true, 0, "/", NULL, "h"},
    {"", false, 400, NULL, NULL, NULL},
    {"*", false, 400, NULL, NULL, NULL},
    {"*x", true, 400, NULL, NULL, NULL},
    {"foo", false, 400, NULL, NULL, NULL},
    {"?x", false, 400, NULL, NULL, NULL},
    {"localhost:80", false, 400, NULL, NULL, NULL},
    {"http://", false, 400, NULL, NULL, NULL},
    {"http:///x", false, 400, NULL, NULL, NULL},
    {"http:/x", false, 400, NULL, NULL, NULL},
    {"ftp://h/", false, 400, NULL, NULL, NULL},
    {"http://u@h/", false, 400, NULL, NULL, NULL},
    {"http://h:99999/", false, 400, NULL, NULL, NULL},
    {"/#x", false, 400, NULL, NULL, NULL},
    {"/?#", false, 400, NULL, NULL, NULL},
    {"/a b", false, 400, NULL, NULL, NULL},
    {"/a\tb", false, 400, NULL, NULL, NULL},
    {"/\x7f", false, 400, NULL, NULL, NULL},
    {"/?\x01", false, 400, NULL, NULL, NULL},
    {"/%", false, 400, NULL, NULL, NULL},
    {"/%4", false, 400, NULL, NULL, NULL},
    {"/%zz", false, 400, NULL, NULL, NULL},
    {"/%4?a", false, 400, NULL, NULL, NULL},
};

static void same(struct mc_str got, const char *want)
{
    if (!want)
        assert_null(got.p);
    else
        assert_true(got.p && mc_str_eq(got, mc_str(want)));
}

static void split(void **state)
{
    (void)state;
    for (size_t i = 0; i < MC_COUNT(targets); i++) {
        struct guard g = guard_new(targets[i].target, strlen(targets[i].target));
        struct mc_uri u;
        assert_int_equal(mc_uri_split((struct mc_str){g.p, g.n}, targets[i].options, &u), targets[i].rc);
        if (targets[i].rc == 0) {
            same(u.path, targets[i].path);
            same(u.query, targets[i].query);
            same(u.authority, targets[i].authority);
        }
        guard_free(&g);
    }
    struct mc_uri nul;
    assert_int_equal(mc_uri_split((struct mc_str){"/\0", 2}, false, &nul), 400);
}

static const struct {
    const char *path, *normal; /* NULL: 400 */
} paths[] = {
    {"/", "/"},
    {"/a/b", "/a/b"},
    {"/a/b/", "/a/b/"},
    {"//", "/"},
    {"//a///b//", "/a/b/"},
    {"/.", "/"},
    {"/./", "/"},
    {"/a/.", "/a/"},
    {"/a/./b", "/a/b"},
    {"/a/..", "/"},
    {"/a/../", "/"},
    {"/a/b/..", "/a/"},
    {"/a/b/../c", "/a/c"},
    {"/a/b/../../c", "/c"},
    {"/a/%2e%2E/b", "/b"},
    {"/a%2f..%2fb", "/b"},
    {"/a/.%2e/b", "/b"},
    {"/.well-known/x", "/.well-known/x"},
    {"/...", "/..."},
    {"/..a", "/..a"},
    {"/a..", "/a.."},
    {"/%41%7e", "/A~"},
    {"/%25%32%65", "/%2e"}, /* decoded once */
    {"/%252e%252e/x", "/%2e%2e/x"},
    {"/..\\x", "/..\\x"}, /* a name like any other */
    {"/%c0%af", "/\xc0\xaf"},
    {"/%c0%ae%c0%ae/x", "/\xc0\xae\xc0\xae/x"},
    {"/\xc3\xa9/%c3%a9", "/\xc3\xa9/\xc3\xa9"},
    {"/%0a", "/\n"},
    {"/a+b", "/a+b"},
    {"/..", NULL},
    {"/../", NULL},
    {"/../etc/passwd", NULL},
    {"/a/../../b", NULL},
    {"/%2e%2e/etc/passwd", NULL},
    {"/..%2fetc/passwd", NULL},
    {"/%2e%2e%2fx", NULL},
    {"//../x", NULL},
    {"/./../x", NULL},
    {"/%00", NULL},
    {"/a%00b", NULL},
    {"/%", NULL},
    {"/%4", NULL},
    {"/%g1", NULL},
    {"", NULL},
    {"a", NULL},
};

static void normalise(void **state)
{
    (void)state;
    for (size_t i = 0; i < MC_COUNT(paths); i++) {
        struct guard g = guard_new(paths[i].path, strlen(paths[i].path));
        struct mc_arena a;
        struct mc_str out;
        mc_arena_init(&a);
        int rc = mc_uri_normalise(&a, (struct mc_str){g.p, g.n}, &out);
        assert_int_equal(rc, paths[i].normal ? MC_OK : 400);
        if (rc == MC_OK) {
            same(out, paths[i].normal);
            if (out.p != g.p)
                assert_int_equal(out.p[out.n], 0);
        }
        mc_arena_fini(&a);
        guard_free(&g);
    }
}

/* A normal form without '%' is its own normal form. */
static void normal_is_stable(void **state)
{
    (void)state;
    for (size_t i = 0; i < MC_COUNT(paths); i++) {
        struct mc_arena a;
        struct mc_str out;
        if (!paths[i].normal || strchr(paths[i].normal, '%'))
            continue;
        mc_arena_init(&a);
        assert_int_equal(mc_uri_normalise(&a, mc_str(paths[i].normal), &out), MC_OK);
        same(out, paths[i].normal);
        mc_arena_fini(&a);
    }
}

static void decode(void **state)
{
    static const char *const pairs[][2] = {
        {"", ""},       {"/a", "/a"},      {"/%41", "/A"},         {"/a%2Fb", "/a/b"},
        {"/%", "/%"},   {"/%4", "/%4"},    {"/%zz%41", "/%zzA"},   {"/../%2e", "/../."},
        {"%%41", "%A"}, {"/%e9", "/\xe9"}, {"/a%20b+c", "/a b+c"},
    };
    (void)state;
    for (size_t i = 0; i < MC_COUNT(pairs); i++) {
        struct guard g = guard_new(pairs[i][0], strlen(pairs[i][0]));
        struct mc_arena a;
        struct mc_str out;
        mc_arena_init(&a);
        assert_int_equal(mc_uri_decode(&a, (struct mc_str){g.p, g.n}, &out), MC_OK);
        same(out, pairs[i][1]);
        mc_arena_fini(&a);
        guard_free(&g);
    }
}

static const struct {
    const char *text, *host, *port; /* host NULL: 400 */
} hosts[] = {
    {"localhost", "localhost", ""},
    {"localhost:80", "localhost", "80"},
    {"localhost:", "localhost", ""},
    {"example.org.", "example.org.", ""},
    {"1.2.3.4:65535", "1.2.3.4", "65535"},
    {"[::1]", "[::1]", ""},
    {"[::1]:80", "[::1]", "80"},
    {"[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]", ""},
    {"a_b-c~!$&'()*+;=", "a_b-c~!$&'()*+;=", ""},
    {"", NULL, NULL},
    {":80", NULL, NULL},
    {"a b", NULL, NULL},
    {"a/b", NULL, NULL},
    {"u@a", NULL, NULL},
    {"<a>", NULL, NULL},
    {"a\"b", NULL, NULL},
    {"a:8o", NULL, NULL},
    {"a:80:80", NULL, NULL},
    {"a:-1", NULL, NULL},
    {"a:+80", NULL, NULL},
    {"a: 80", NULL, NULL},
    {"a:65536", NULL, NULL},
    {"a:99999", NULL, NULL},
    {"a:18446744073709551696", NULL, NULL},
    {"\xe9"
     "a",
     NULL, NULL},
    {"[::1", NULL, NULL},
    {"[", NULL, NULL},
    {"[]", NULL, NULL},
    {"[::1]x", NULL, NULL},
    {"[::1]]", NULL, NULL},
    {"[1.2.3.4]", NULL, NULL},
    {"[fe80::1%25eth0]", NULL, NULL},
    {"[v1.x]", NULL, NULL},
    {"::1", NULL, NULL},
    {"a#b", NULL, NULL},
    {"a?b", NULL, NULL},
    {"a\\b", NULL, NULL},
    {"a,b", NULL, NULL},
    {"a%2eb", NULL, NULL},
    {"a\tb", NULL, NULL},
};

static void host(void **state)
{
    (void)state;
    for (size_t i = 0; i < MC_COUNT(hosts); i++) {
        struct guard g = guard_new(hosts[i].text, strlen(hosts[i].text));
        struct mc_str name, port;
        int rc = mc_uri_host((struct mc_str){g.p, g.n}, &name, &port);
        assert_int_equal(rc, hosts[i].host ? MC_OK : 400);
        if (rc == MC_OK) {
            same(name, hosts[i].host);
            same(port, hosts[i].port);
        }
        guard_free(&g);
    }
    struct mc_str name, port;
    assert_int_equal(mc_uri_host((struct mc_str){"a\0b", 3}, &name, &port), 400);
    assert_int_equal(mc_uri_host((struct mc_str){"[::1\0]", 6}, &name, &port), 400);
    struct guard g = guard_new(NULL, 256);
    memset(g.p, 'a', g.n);
    assert_int_equal(mc_uri_host((struct mc_str){g.p, 256}, &name, &port), 400);
    assert_int_equal(mc_uri_host((struct mc_str){g.p + 1, 255}, &name, &port), MC_OK);
    guard_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(split),  cmocka_unit_test(normalise), cmocka_unit_test(normal_is_stable),
        cmocka_unit_test(decode), cmocka_unit_test(host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
