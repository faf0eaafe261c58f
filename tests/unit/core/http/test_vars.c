/* Variables: what each stands for, what does not compile, and that no byte of a client leaves a URI. */
#include "core/http/params.h"
#include "core/http/vars.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

static struct mc_conf conf;
static struct mc_conf_server server;
static struct mc_conf_route route;
static int action;
static struct mc_request r;
static union mc_sockaddr client;

static struct mc_str names[] = {MC_STR("*.example.org"), MC_STR("Example.org")};

static bool fact(struct mc_request *q, enum mc_fact f, struct mc_str *out)
{
    (void)q;
    *out = MC_STR("fact");
    return f == MC_FACT_REQUEST_ID;
}

static void add(const char *name, const char *value)
{
    assert_int_equal(mc_fields_add(&r.head.fields, &r.arena, mc_str(name), mc_str(value)), MC_OK);
}

static int setup(void **state)
{
    (void)state;
    int err;
    PCRE2_SIZE at;
    mc_arena_init(&conf.arena);
    mc_arena_init(&r.arena);
    route.name = "r";
    route.action = &action;
    route.match = MC_MATCH_REGEX;
    route.regex = pcre2_compile((PCRE2_SPTR) "^/a/(?<first>.*)/(.*)$", PCRE2_ZERO_TERMINATED, 0, &err, &at, NULL);
    route.ncaptures = 3;
    server = (struct mc_conf_server){.name = "s", .names = names, .nnames = 2, .routes = &route, .nroutes = 1};
    conf.servers = &server;
    conf.nservers = 1;
    r.server = &server;
    r.route = &route;
    r.fact = fact;
    r.head.method = MC_STR("GET");
    r.head.target = MC_STR("/a/b%20c/d?x=1&y=%41&x=2");
    r.head.version = 1;
    r.head.host = MC_STR("WWW.Example.ORG");
    r.uri.query = MC_STR("x=1&y=%41&x=2");
    r.path = MC_STR("/a/b c/d");
    r.captures = mc_arena_calloc(&r.arena, 3 * sizeof *r.captures);
    r.captures[0] = r.path;
    r.captures[1] = MC_STR("b c");
    r.captures[2] = MC_STR("d?%\r\n");
    client.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = 0x901f, .sin_addr.s_addr = 0x0100007f};
    r.client = &client;
    add("X-One", "1");
    add("x-one", "2");
    add("Cookie", "a=b; c=\"d e\"");
    add("Cookie", "e=f");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pcre2_code_free(route.regex);
    mc_arena_fini(&r.arena);
    mc_arena_fini(&conf.arena);
    return 0;
}

static const char *expand(const char *text, bool uri)
{
    static char out[512];
    char err[200] = "";
    struct mc_str s;
    struct mc_vars *v = mc_vars_compile(&conf, &action, text, err, sizeof err);
    if (!v) {
        print_error("%s: %s\n", text, err);
        return NULL;
    }
    assert_int_equal(uri ? mc_vars_expand_uri(v, &r, &s) : mc_vars_expand(v, &r, &s), MC_OK);
    snprintf(out, sizeof out, "%.*s", (int)s.n, s.p);
    return out;
}

static const struct {
    const char *text, *value;
} values[] = {
    {"", ""},
    {"plain", "plain"},
    {"$$1 $", "$1 $"},
    {"$ $- a$", "$ $- a$"},
    {"$1", "b c"},
    {"<$1|${2}0>", "<b c|d?%\r\n0>"},
    {"$first", "b c"},
    {"$remote_addr:$remote_port", "127.0.0.1:8080"},
    {"$host", "www.example.org"},
    {"$server_name", "Example.org"},
    {"$scheme $https$server_protocol", "http HTTP/1.1"},
    {"$request_method $uri$is_args$args", "GET /a/b c/d?x=1&y=%41&x=2"},
    {"$query_string", "x=1&y=%41&x=2"},
    {"$request_uri", "/a/b%20c/d?x=1&y=%41&x=2"},
    {"$arg_x $arg_y[$arg_z]", "1 %41[]"},
    {"$http_x_one[$http_none]", "1, 2[]"},
    {"$http_cookie", "a=b; c=\"d e\"; e=f"},
    {"$cookie_c$cookie_e$cookie_x", "d ef"},
    {"$request_id", "fact"},
    {"[$ssl_protocol$remote_user]", "[]"},
    {"$route", "r"},
};

static void each_has_its_value(void **state)
{
    (void)state;
    for (size_t i = 0; i < MC_COUNT(values); i++) {
        const char *got = expand(values[i].text, false);
        assert_non_null(got);
        assert_string_equal(got, values[i].value);
    }
}

static void uris_hold_no_foreign_byte(void **state)
{
    (void)state;
    assert_string_equal(expand("/n/$1/$2?$args", true), "/n/b%20c/d%3F%25%0D%0A?x=1&y=%41&x=2");
    assert_string_equal(expand("$uri", true), "/a/b%20c/d");
    assert_string_equal(expand("https://$host$request_uri", true), "https://www.example.org/a/b%20c/d?x=1&y=%41&x=2");
    r.captures[1] = MC_STR("\\evil\x80\"<");
    assert_string_equal(expand("/$1", true), "/%5Cevil%80%22%3C");
    r.captures[1] = MC_STR("b c");
}

static const struct {
    const char *text, *message;
} wrong[] = {
    {"$nothing", "unknown variable '$nothing'"},
    {"a ${host", "a } is missing behind '$host'"},
    {"$3", "the route's path has no group for '$3'"},
    {"$http_", "unknown variable '$http_'"},
};

static void wrong_names_are_told(void **state)
{
    (void)state;
    char err[200];
    for (size_t i = 0; i < MC_COUNT(wrong); i++) {
        assert_null(mc_vars_compile(&conf, &action, wrong[i].text, err, sizeof err));
        assert_string_equal(err, wrong[i].message);
    }
    assert_null(mc_vars_compile(&conf, NULL, "$1", err, sizeof err)); /* outside of routes */
    assert_null(mc_vars_compile(&conf, NULL, "$first", err, sizeof err));
}

static void long_texts_end(void **state)
{
    (void)state;
    static char big[MC_VARS_MAX];
    char err[200];
    struct mc_str s, keep = r.path;
    memset(big, 'x', sizeof big);
    r.path = (struct mc_str){big, sizeof big};
    struct mc_vars *one = mc_vars_compile(&conf, &action, "$uri", err, sizeof err), *two = mc_vars_compile(&conf, &action, "$uri.", err, sizeof err);
    assert_int_equal(mc_vars_expand(one, &r, &s), MC_OK);
    assert_int_equal(mc_vars_expand(two, &r, &s), MC_ERROR);
    r.path = keep;
}

static void fields_are_checked(void **state)
{
    (void)state;
    char err[200];
    const char *words[] = {"X-A: $1", "X-B:$2", "X-C: $arg_none"}, *host[] = {"Host: x"}, *framing[] = {"Content-Length: 1"}, *hop[] = {"connection: x"};
    struct mc_strv list = {words, 3};
    struct mc_vars_fields f;
    struct mc_field made;
    assert_int_equal(mc_vars_fields_compile(&conf, &action, &list, &f, err, sizeof err), MC_OK);
    assert_int_equal(mc_vars_field_expand(&f.v[0], &r, &made), MC_OK);
    assert_true(mc_str_eq(made.value, MC_STR("b c")) && mc_str_eq(made.name, MC_STR("X-A")));
    r.captures[2] = MC_STR("d\r\nX-Evil: 1");
    assert_int_equal(mc_vars_field_expand(&f.v[1], &r, &made), MC_ERROR);
    assert_int_equal(mc_vars_field_expand(&f.v[2], &r, &made), MC_DECLINED);
    const char *same[] = {"etag:  \"1\" "}, **no[] = {host, framing, hop};
    list = (struct mc_strv){same, 1};
    assert_int_equal(mc_vars_fields_compile(&conf, &action, &list, &f, err, sizeof err), MC_OK);
    assert_int_equal(mc_vars_field_expand(&f.v[0], NULL, &made), MC_OK); /* asks no request */
    assert_true(mc_str_eq(made.value, MC_STR("\"1\"")) && made.id == MC_F_ETAG && made.hash == mc_str_hash_nocase(MC_STR("ETag")));
    for (size_t i = 0; i < MC_COUNT(no); i++) {
        list = (struct mc_strv){no[i], 1};
        assert_int_equal(mc_vars_fields_compile(&conf, &action, &list, &f, err, sizeof err), MC_ERROR);
    }
}

static void single_values(void **state)
{
    (void)state;
    struct mc_str v;
    assert_true(mc_param_arg(MC_STR("a&b=&ab=1&c=2=3"), MC_STR("c"), &v) && mc_str_eq(v, MC_STR("2=3")));
    assert_true(mc_param_arg(MC_STR("a&b=&ab=1"), MC_STR("a"), &v) && v.n == 0);
    assert_true(mc_param_arg(MC_STR("a&b=&ab=1"), MC_STR("b"), &v) && v.n == 0);
    assert_false(mc_param_arg(MC_STR("ab=1"), MC_STR("a"), &v));
    assert_false(mc_param_arg(MC_STR_NONE, MC_STR("a"), &v));
    assert_true(mc_param_field_is(MC_STR("X-A_b"), MC_STR("x_a_B")));
    assert_false(mc_param_field_is(MC_STR("X-A"), MC_STR("x_ab")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_has_its_value),   cmocka_unit_test(uris_hold_no_foreign_byte), cmocka_unit_test(wrong_names_are_told),
        cmocka_unit_test(long_texts_end),       cmocka_unit_test(fields_are_checked),        cmocka_unit_test(single_values),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
