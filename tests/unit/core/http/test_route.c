/* Servers by name, routes by path, and patterns that would match for ever. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "core/http/route.h"

#include <pcre2.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void *compile(const char *pattern)
{
    int err;
    PCRE2_SIZE at;
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, 0, &err, &at, NULL);
    assert_non_null(code);
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    return code;
}

static int match(enum mc_match_kind kind, const char *pattern, const char *path)
{
    struct mc_conf_route r = {.match = kind, .pattern = mc_str(pattern)};
    if (kind == MC_MATCH_REGEX)
        r.regex = compile(pattern);
    int rc = mc_route_match(&r, mc_str(path));
    pcre2_code_free(r.regex);
    return rc;
}

static void kinds(void **state)
{
    (void)state;
    assert_int_equal(match(MC_MATCH_ALL, "", "/x"), MC_OK);
    assert_int_equal(match(MC_MATCH_EXACT, "/x", "/x"), MC_OK);
    assert_int_equal(match(MC_MATCH_EXACT, "/x", "/x/"), MC_DECLINED);
    assert_int_equal(match(MC_MATCH_EXACT, "/x", "/X"), MC_DECLINED);
    assert_int_equal(match(MC_MATCH_PREFIX, "/api", "/api"), MC_OK);
    assert_int_equal(match(MC_MATCH_PREFIX, "/api", "/api/x"), MC_OK);
    assert_int_equal(match(MC_MATCH_PREFIX, "/api/", "/api/x"), MC_OK);
    assert_int_equal(match(MC_MATCH_PREFIX, "/api/", "/api/"), MC_OK);
    assert_int_equal(match(MC_MATCH_PREFIX, "/", "/x"), MC_OK);
    assert_int_equal(match(MC_MATCH_PREFIX, "/api", "/apix"), MC_DECLINED);
    assert_int_equal(match(MC_MATCH_PREFIX, "/api/", "/api"), MC_DECLINED);
    assert_int_equal(match(MC_MATCH_PREFIX, "/api", "/ap"), MC_DECLINED);
    assert_int_equal(match(MC_MATCH_REGEX, "^/a(b+)/(?<rest>.*)$", "/abb/c"), MC_OK);
    assert_int_equal(match(MC_MATCH_REGEX, "^/a(b+)/(?<rest>.*)$", "/a/c"), MC_DECLINED);
    assert_int_equal(match(MC_MATCH_REGEX, "\\.css$", "/x.css"), MC_OK);
    assert_int_equal(match(MC_MATCH_REGEX, "^/\xff", "/\xff"), MC_OK);
}

static void hostile(void **state)
{
    struct mc_conf_route route = {.match = MC_MATCH_REGEX, .regex = compile("^/(a+)+$")};
    struct mc_conf_server server = {.routes = &route, .nroutes = 1};
    struct mc_request r = {.server = &server, .path = mc_str("/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!")};
    (void)state;
    assert_int_equal(mc_route_match(&route, r.path), MC_ERROR);
    assert_int_equal(mc_route_find(&r), 500);
    r.path = mc_str("/aaaa"); /* and the matcher is still good */
    assert_int_equal(mc_route_find(&r), MC_OK);
    pcre2_code_free(route.regex);
}

static void first_wins(void **state)
{
    struct mc_conf_route routes[] = {
        {.name = "exact", .match = MC_MATCH_EXACT, .pattern = MC_STR("/api/x")},
        {.name = "prefix", .match = MC_MATCH_PREFIX, .pattern = MC_STR("/api/")},
        {.name = "regex", .match = MC_MATCH_REGEX, .regex = compile("^/[a-z]+$")},
    };
    struct mc_conf_server server = {.routes = routes, .nroutes = MC_COUNT(routes)};
    static const struct {
        const char *path;
        int rc, route;
    } rows[] = {{"/api/x", MC_OK, 0}, {"/api/y", MC_OK, 1}, {"/api", MC_OK, 2}, {"/1", 404, -1}};
    (void)state;
    for (size_t i = 0; i < MC_COUNT(rows); i++) {
        struct mc_request r = {.server = &server, .path = mc_str(rows[i].path)};
        assert_int_equal(mc_route_find(&r), rows[i].rc);
        assert_ptr_equal(r.route, rows[i].route < 0 ? NULL : &routes[rows[i].route]);
    }
    pcre2_code_free(routes[2].regex);
}

static void servers(void **state)
{
    struct mc_str wide[] = {MC_STR("*.example.org")}, narrow[] = {MC_STR("a.org"), MC_STR("*.b.example.org")},
                  exact[] = {MC_STR("x.b.example.org")};
    struct mc_conf_server s[] = {
        {.name = "first"}, {.names = wide, .nnames = 1}, {.names = narrow, .nnames = 2}, {.names = exact, .nnames = 1}};
    struct mc_conf_server *list[] = {&s[0], &s[1], &s[2], &s[3]};
    struct mc_conf_listen l = {.servers = list, .nservers = 4};
    static const struct {
        const char *host;
        int server;
    } rows[] = {
        {"", 0},
        {"other", 0},
        {"example.org", 0},
        {"www.example.org", 1},
        {"WWW.Example.ORG.", 1},
        {"a.b.c.example.org", 1},
        {"b.example.org", 1},
        {"y.b.example.org", 2},
        {"x.b.example.org", 3},
        {"A.org", 2},
        {".example.org", 0},
        {"evilexample.org", 0},
        {".", 0},
    };
    (void)state;
    for (size_t i = 0; i < MC_COUNT(rows); i++)
        assert_ptr_equal(mc_route_server(&l, mc_str(rows[i].host)), &s[rows[i].server]);
    l.nservers = 1;
    assert_ptr_equal(mc_route_server(&l, mc_str("www.example.org")), &s[0]);
}

static void *in_thread(void *arg)
{
    return (void *)(intptr_t)match(MC_MATCH_REGEX, arg, "/x");
}

/* Each thread has a matcher of its own and frees it (the leak checker looks). */
static void threads(void **state)
{
    char pattern[] = "^/x$";
    (void)state;
    for (int i = 0; i < 4; i++) {
        pthread_t t;
        void *rc;
        assert_int_equal(pthread_create(&t, NULL, in_thread, pattern), 0);
        pthread_join(t, &rc);
        assert_int_equal((intptr_t)rc, MC_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),   cmocka_unit_test(hostile), cmocka_unit_test(first_wins),
        cmocka_unit_test(servers), cmocka_unit_test(threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
