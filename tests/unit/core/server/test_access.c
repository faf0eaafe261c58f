/* The access log: every atom, every byte that a client may send, and sinks that do not take the lines. */
#include "core/server/access.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct mc_conf conf;
static int out[2];
static struct mc_arena arena;
static struct mc_request request;

static const char head[] = "GET /a%20b?x=1&y=%22 HTTP/1.1\r\nHost: example.org:81\r\nUser-Agent: probe \"1\"\r\nReferer: http://r/\r\n"
                           "Authorization: Basic YWxpY2U6c2VjcmV0\r\nX-Forwarded-For: 10.1.2.3\r\n\r\n";

static void parse(const char *text, size_t n)
{
    static const struct mc_head_limits limits = {.line = 4094, .fields = 100, .field_size = 8190, .head = 65536};
    memset(&request, 0, sizeof(request));
    mc_arena_init(&arena);
    assert_int_equal(mc_head_request(&arena, text, n, &limits, &request.head), MC_OK);
    assert_int_equal(mc_uri_split(request.head.target, false, &request.uri), MC_OK);
    assert_int_equal(mc_uri_normalise(&arena, request.uri.path, &request.path), MC_OK);
    request.resp.status = 200;
    request.resp.length = 17;
}

static int setup(void **state)
{
    (void)state;
    conf.set.accesslog = "-";
    if (pipe2(out, O_CLOEXEC) < 0 || fcntl(out[0], F_SETFL, O_NONBLOCK) < 0)
        return -1;
    parse(head, sizeof(head) - 1);
    return mc_fields_add(&request.resp.fields, &arena, MC_STR("X-Cache"), MC_STR("hit")) == MC_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    close(out[0]);
    close(out[1]);
    mc_arena_fini(&arena);
    return 0;
}

static const char *get(void)
{
    static char text[1 << 20];
    size_t n = 0;
    ssize_t r;
    while ((r = read(out[0], text + n, sizeof(text) - 1 - n)) > 0)
        n += (size_t)r;
    text[n] = '\0';
    return text;
}

static struct mc_access *open_format(const char *format)
{
    char err[256];
    conf.set.access_log_format = format;
    struct mc_access *a;
    if (mc_access_open(&a, &conf, out[1], err, sizeof(err)) != MC_OK)
        fail_msg("%s", err);
    return a;
}

/* One line of this format for the request as it is. */
static const char *line(const char *format)
{
    struct mc_access *a = open_format(format);
    mc_access_request(a, &request, MC_STR("192.0.2.7"), 17, 1234567);
    assert_string_equal(get(), ""); /* buffered */
    mc_access_close(&a);
    assert_null(a);
    return get();
}

static void test_each_atom(void **state)
{
    (void)state;
    char pid[32];
    snprintf(pid, sizeof(pid), "<%ld>\n", (long)getpid());
    static const struct {
        const char *format, *want;
    } rows[] = {
        {"%(h)s", "192.0.2.7\n"},
        {"%(l)s", "-\n"},
        {"%(u)s", "alice\n"},
        {"%(r)s", "GET /a%20b?x=1&y=%22 HTTP/1.1\n"},
        {"%(m)s", "GET\n"},
        {"%(U)s", "/a b\n"},
        {"%(q)s", "x=1&y=%22\n"},
        {"%(H)s", "HTTP/1.1\n"},
        {"%(s)s", "200\n"},
        {"%(b)s", "17\n"},
        {"%(B)s", "17\n"},
        {"%(f)s", "http://r/\n"},
        {"%(a)s", "probe \\\"1\\\"\n"},
        {"%(T)s", "1\n"},
        {"%(M)s", "1234\n"},
        {"%(D)s", "1234567\n"},
        {"%(D)d", "1234567\n"},
        {"%(L)s", "1.234567\n"},
        {"%({x-forwarded-for}i)s", "10.1.2.3\n"},
        {"%({X-FORWARDED-FOR}i)s", "10.1.2.3\n"},
        {"%({none}i)s", "-\n"},
        {"%({x-cache}o)s", "hit\n"},
        {"%({Content-Length}o)s", "17\n"},
        {"%({none}o)s", "-\n"},
        {"%({REQUEST_METHOD}e)s", "GET\n"},
        {"%({http_x_forwarded_for}e)s", "10.1.2.3\n"},
        {"%({raw_uri}e)s", "/a%20b?x=1&y=%22\n"},
        {"%({server_port}e)s", "81\n"},
        {"%({wsgi.url_scheme}e)s", "http\n"},
        {"%({mine}e)s", "-\n"},
        {"%(zz)s", "-\n"},
        {"%({}i)s", "-\n"},
        {"", "\n"},
        {"100%% of %(m)s, \"%(s)s\"", "100% of GET, \"200\"\n"},
    };
    for (size_t i = 0; i < MC_COUNT(rows); i++) {
        const char *got = line(rows[i].format);
        if (strcmp(got, rows[i].want) != 0)
            fail_msg("%s gave %s", rows[i].format, got);
    }
    assert_string_equal(line("%(p)s"), pid);
}

static void test_the_time(void **state)
{
    (void)state;
    int day, year, h, m, s, zone, end = 0;
    char month[4];
    assert_int_equal(sscanf(line("%(t)s"), "[%2d/%3[A-Za-z]/%4d:%2d:%2d:%2d %5d]%n", &day, month, &year, &h, &m, &s, &zone, &end), 7);
    assert_int_equal(end, 28);
}

static void test_bad_formats_are_errors(void **state)
{
    (void)state;
    static const char *const bad[] = {"%", "%h", "%(h", "%(h)", "%(h)x", "a %(m)s %", "%(m)s %q(s)s", "%5(m)s", "%({no_such}x)s", "{\"a\":\"%(m)s}"};
    char err[128];
    for (size_t i = 0; i < MC_COUNT(bad); i++) {
        err[0] = '\0';
        if (mc_access_check(bad[i], err, sizeof(err)) != MC_ERROR || !err[0])
            fail_msg("\"%s\" passed", bad[i]);
    }
    conf.set.access_log_format = "%(h";
    struct mc_access *a;
    assert_int_equal(mc_access_open(&a, &conf, out[1], err, sizeof(err)), MC_ERROR);
    assert_null(a);
}

/* Every byte in every field that a client fills: one line, printable bytes only, no bare quote. */
static void test_nobody_forges_a_line(void **state)
{
    (void)state;
    char bytes[255];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i + 1);
    struct mc_str all = {bytes, sizeof(bytes)};
    request.head.method = request.head.target = request.path = request.uri.query = request.head.host = all;
    for (uint32_t i = 0; i < request.head.fields.n; i++) {
        if (request.head.fields.v[i].id != MC_F_AUTHORIZATION)
            request.head.fields.v[i].value = all;
    }
    const char *got = line("%(r)s|%(m)s|%(U)s|%(q)s|%(f)s|%(a)s|%({x-forwarded-for}i)s|%({server_name}e)s");
    size_t n = strlen(got);
    assert_int_equal(got[n - 1], '\n');
    for (size_t i = 0; i + 1 < n; i++) {
        if (got[i] < 0x20 || got[i] > 0x7e || (got[i] == '"' && got[i - 1] != '\\'))
            fail_msg("byte %d at %zu", got[i], i);
    }
    assert_non_null(strstr(got, "\\x0a"));
}

/* In JSON an atom is a value, and in a string it is escaped for it. */
static void test_json(void **state)
{
    (void)state;
    char pid[64];
    snprintf(pid, sizeof(pid), "{\"p\":%ld,\"q\":\"<%ld>\"}\n", (long)getpid(), (long)getpid());
    static const struct {
        const char *format, *want;
    } rows[] = {
        {"{\"a\":%(s)s,\"b\":%(m)s,\"c\":%(l)s}", "{\"a\":200,\"b\":\"GET\",\"c\":null}\n"},
        {"{\"a\":\"%(s)s\",\"b\":\"%(m)s %(l)s\"}", "{\"a\":\"200\",\"b\":\"GET -\"}\n"},
        {"{\"r\":%(r)s}", "{\"r\":\"GET /a%20b?x=1&y=%22 HTTP/1.1\"}\n"},
        {"{\"a\":%(a)s}", "{\"a\":\"probe \\\"1\\\"\"}\n"},
        {"{\"a\":\"<%(a)s>\"}", "{\"a\":\"<probe \\\"1\\\">\"}\n"},
        {"{\"L\":%(L)s,\"D\":%(D)s,\"b\":%(b)s}", "{\"L\":1.234567,\"D\":1234567,\"b\":17}\n"},
        {"{\"\\\"\":%(u)s}", "{\"\\\"\":\"alice\"}\n"}, /* a quote in a key of the format */
        {"{\"n\":%({none}i)s,\"o\":%({x-cache}o)s,\"e\":%({none}e)s}", "{\"n\":null,\"o\":\"hit\",\"e\":null}\n"},
        {"{\"v\":%({request_uri}x)s,\"w\":%({ssl_protocol}x)s}", "{\"v\":\"/a%20b?x=1&y=%22\",\"w\":null}\n"},
        {"%({request_uri}x)s %({ssl_cipher}x)s %({http_x_forwarded_for}x)s", "/a%20b?x=1&y=%22 - 10.1.2.3\n"},
    };
    for (size_t i = 0; i < MC_COUNT(rows); i++) {
        const char *got = line(rows[i].format);
        if (strcmp(got, rows[i].want) != 0)
            fail_msg("%s gave %s", rows[i].format, got);
    }
    assert_string_equal(line("{\"p\":%(p)s,\"q\":\"%(p)s\"}"), pid);
    const char *got = line("json");
    assert_ptr_equal(strstr(got, "{\"time\":\"2"), got);
    assert_non_null(strstr(got, ",\"remote_user\":\"alice\",\"request_method\":\"GET\","));
    assert_non_null(strstr(got, ",\"status\":200,\"body_bytes_sent\":17,\"request_time\":1.234567,"));
}

static void test_a_long_line_of_json_is_whole(void **state)
{
    (void)state;
    static char big[30000];
    memset(big, 1, sizeof(big)); /* six bytes each when escaped */
    request.head.target = (struct mc_str){big, sizeof(big)};
    const char *got = line("{\"r\":%({raw_uri}e)s,\"s\":%(s)s}");
    size_t n = strlen(got);
    assert_in_range(n, 200, 400);
    assert_ptr_equal(strstr(got, "\\u0001\",\"s\":200}\n"), got + n - strlen("\\u0001\",\"s\":200}\n"));
}

static void test_basic_users(void **state)
{
    (void)state;
    static const struct {
        const char *value, *want;
    } rows[] = {
        {"Basic YWxpY2U6c2VjcmV0", "alice\n"},
        {"basic YWxpY2U6c2VjcmV0", "alice\n"},
        {"Basic YQpiOmM=", "a\\x0ab\n"}, /* a newline in the name */
        {"Basic OnNlY3JldA==", "-\n"},
        {"Basic YWxpY2U=", "-\n"}, /* no colon */
        {"Basic", "-\n"},
        {"Basic !!!", "-\n"},
        {"Bearer YWxpY2U6c2VjcmV0", "-\n"},
        {"", "-\n"},
    };
    struct mc_field *f = (struct mc_field *)(uintptr_t)mc_fields_get(&request.head.fields, MC_F_AUTHORIZATION);
    for (size_t i = 0; i < MC_COUNT(rows); i++) {
        f->value = mc_str(rows[i].value);
        const char *got = line("%(u)s");
        if (strcmp(got, rows[i].want) != 0)
            fail_msg("%s gave %s", rows[i].value, got);
    }
}

static void test_a_long_line_is_cut(void **state)
{
    (void)state;
    static char big[30000];
    memset(big, '\n', sizeof(big)); /* four bytes each when escaped */
    request.head.target = (struct mc_str){big, sizeof(big)};
    const char *got = line("%(r)s %(s)s");
    size_t n = strlen(got);
    assert_in_range(n, 10000, 16384);
    assert_ptr_equal(strchr(got, '\n'), got + n - 1);
}

/* More than the buffer: flushed in whole lines by itself. The pipe takes 64 KiB, so it is read in between. */
static void test_the_buffer_flushes_itself(void **state)
{
    (void)state;
    struct mc_access *a = open_format("%(r)s %(a)s %(f)s");
    size_t lines = 0;
    for (int i = 0; i < 3000; i++) {
        mc_access_request(a, &request, MC_STR("-"), 0, 0);
        const char *got = get();
        size_t n = strlen(got);
        if (n)
            assert_int_equal(got[n - 1], '\n');
        for (const char *p = got; (p = strchr(p, '\n')) != NULL; p++)
            lines++;
    }
    assert_in_range(lines, 1500, 2999);
    mc_access_close(&a);
    for (const char *p = get(); (p = strchr(p, '\n')) != NULL; p++)
        lines++;
    assert_int_equal(lines, 3000);
}

/* A reader that stands still costs lines, never time; and no line is ever broken. */
static void test_a_full_pipe_drops_whole_lines(void **state)
{
    (void)state;
    struct mc_access *a = open_format("%(r)s 0123456789 end");
    assert_true(fcntl(out[1], F_SETPIPE_SZ, 4096) > 0);
    for (int i = 0; i < 5000; i++)
        mc_access_request(a, &request, MC_STR("-"), 0, 0);
    mc_access_flush(a);
    /* Piece by piece: what is read in the end is whole lines. */
    static char text[1 << 20];
    size_t n = 0;
    for (int i = 0; i < 50; i++) {
        ssize_t r;
        while ((r = read(out[0], text + n, 100)) > 0)
            n += (size_t)r;
        mc_access_request(a, &request, MC_STR("-"), 0, 0);
        mc_access_flush(a);
    }
    mc_access_close(&a);
    for (ssize_t r; (r = read(out[0], text + n, 4096)) > 0;)
        n += (size_t)r;
    assert_true(n > 4096 && text[n - 1] == '\n');
    for (char *p = text, *end; p < text + n; p = end + 1) {
        end = memchr(p, '\n', (size_t)(text + n - p));
        assert_non_null(end);
        *end = '\0';
        assert_string_equal(p, "GET /a%20b?x=1&y=%22 HTTP/1.1 0123456789 end");
    }
}

static void test_a_full_disk_is_survived(void **state)
{
    (void)state;
    char err[128];
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(full >= 0);
    conf.set.access_log_format = "%(m)s";
    struct mc_access *a;
    assert_int_equal(mc_access_open(&a, &conf, full, err, sizeof(err)), MC_OK);
    for (int i = 0; i < 3; i++) {
        mc_access_request(a, &request, MC_STR("-"), 0, 0);
        mc_access_flush(a);
    }
    mc_access_set_fd(a, out[1]); /* as after USR1 */
    mc_access_request(a, &request, MC_STR("-"), 0, 0);
    mc_access_close(&a);
    assert_string_equal(get(), "GET\n");
    close(full);
}

#define ACCESS_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ACCESS_TEST(test_each_atom),
        ACCESS_TEST(test_the_time),
        ACCESS_TEST(test_bad_formats_are_errors),
        ACCESS_TEST(test_nobody_forges_a_line),
        ACCESS_TEST(test_json),
        ACCESS_TEST(test_a_long_line_of_json_is_whole),
        ACCESS_TEST(test_basic_users),
        ACCESS_TEST(test_a_long_line_is_cut),
        ACCESS_TEST(test_the_buffer_flushes_itself),
        ACCESS_TEST(test_a_full_pipe_drops_whole_lines),
        ACCESS_TEST(test_a_full_disk_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
