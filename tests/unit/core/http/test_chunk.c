/* The chunked coding: whole, byte by byte and asked again between bytes; every input ends at a guard page. */
#include "core/http/chunk.h"
#include "tests/unit/lib/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

struct result {
    int rc; /* MC_DECLINED: complete; MC_AGAIN: wants more; or a status */
    size_t used;
    struct mc_sb data; /* body, then "|name=value" for each trailer */
};

static struct result decode(const char *p, size_t n, size_t step, bool again)
{
    struct result res = {.rc = MC_AGAIN};
    struct mc_chunk c;
    struct mc_arena a;
    struct mc_fields trailers = {.v = NULL};
    size_t shown = 0;
    mc_arena_init(&a);
    mc_sb_init(&res.data, 1 << 24);
    mc_chunk_init(&c);
    while (res.rc == MC_AGAIN && shown < n) {
        shown = n - shown < step ? n : shown + step;
        do {
            struct guard g = guard_new(p + res.used, shown - res.used);
            struct mc_str data;
            size_t used;
            res.rc = mc_chunk_decode(&c, g.p, g.n, &used, &data, &a, &trailers);
            mc_sb_add(&res.data, data.p, data.n);
            res.used += used;
            assert_true(used <= g.n);
            guard_free(&g);
        } while (res.rc == MC_OK);
        if (res.rc == MC_AGAIN && again) {
            struct mc_str data;
            size_t used;
            assert_int_equal(mc_chunk_decode(&c, "", 0, &used, &data, &a, &trailers), MC_AGAIN);
            assert_int_equal(used, 0);
        }
        if (res.rc == MC_AGAIN)
            assert_int_equal(res.used, shown);
    }
    for (uint32_t i = 0; i < trailers.n; i++) {
        const struct mc_field *f = &trailers.v[i];
        mc_sb_addf(&res.data, "|%.*s=%.*s", (int)f->name.n, f->name.p, (int)f->value.n, f->value.p);
    }
    mc_arena_fini(&a);
    return res;
}

static void check(const char *p, size_t n, int rc, const char *data, size_t rest)
{
    for (int way = 0; way < 3; way++) {
        struct result res = decode(p, n, way == 0 ? n : 1, way == 2);
        assert_int_equal(res.rc, rc);
        if (data)
            assert_string_equal(mc_sb_z(&res.data), data);
        if (rc == MC_DECLINED)
            assert_int_equal(n - res.used, rest);
        mc_sb_fini(&res.data);
    }
}

#define GOOD(bytes, data)  check(bytes, sizeof(bytes) - 1, MC_DECLINED, data, 0)
#define BAD(bytes, status) check(bytes, sizeof(bytes) - 1, status, NULL, 0)

static void good(void **state)
{
    (void)state;
    GOOD("0\r\n\r\n", "");
    GOOD("5\r\nhello\r\n0\r\n\r\n", "hello");
    GOOD("5\r\nhello\r\n1\r\n!\r\n000\r\n\r\n", "hello!");
    GOOD("0000000000000005\r\nhello\r\n0\r\n\r\n", "hello");
    GOOD("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789");
    GOOD("2\r\n\r\n\r\n0\r\n\r\n", "\r\n");
    check("1\r\nx\r\n0\r\n\r\nGET /", 16, MC_DECLINED, "x", 5);
    check("5\r\nhel", 6, MC_AGAIN, "hel", 0);
    check("5\r\nhello\r\n0\r\n", 13, MC_AGAIN, "hello", 0);
}

static void extensions(void **state)
{
    (void)state;
    GOOD("1;a\r\nx\r\n0;b=c\r\n\r\n", "x");
    GOOD("1;a=b;c=\"d \\\" \t\xff;\";e\r\nx\r\n0\r\n\r\n", "x");
    GOOD("1;a=\"\"\r\nx\r\n0\r\n\r\n", "x");
    BAD("1;\r\n", 400);
    BAD("1;;a\r\n", 400);
    BAD("1;a=\r\n", 400);
    BAD("1;=b\r\n", 400);
    BAD("1;a b\r\n", 400);
    BAD("1;a=b=c\r\n", 400);
    BAD("1 ;a\r\n", 400);
    BAD("1; a\r\n", 400);
    BAD("1;a =b\r\n", 400);
    BAD("1;a=\"b\r\n", 400);
    BAD("1;a=\"b\"c\r\n", 400);
    BAD("1;a=\"\\\n\"\r\n", 400);
    BAD("1;a\nx\r\n", 400);
    BAD("1;a\0b\r\n", 400);
    BAD("1;a\x7f\r\n", 400);
    BAD("1;a\xff\r\n", 400);
    BAD("1;a\rb\r\n", 400);
}

static void sizes(void **state)
{
    (void)state;
    BAD("\r\n", 400);
    BAD("-5\r\nhello\r\n", 400);
    BAD("+5\r\nhello\r\n", 400);
    BAD("0x5\r\nhello\r\n", 400);
    BAD("0_5\r\nhello\r\n", 400);
    BAD(" 5\r\nhello\r\n", 400);
    BAD("5 \r\nhello\r\n", 400);
    BAD("5\t\r\nhello\r\n", 400);
    BAD("G\r\n", 400);
    BAD("5x\r\n", 400);
    BAD("5,5\r\n", 400);
    BAD("5\0\r\n", 400);
    BAD(";a=b\r\n", 400);
    BAD("5\rX", 400);
    BAD("5\r\rhello", 400);
    BAD("5\nhello\r\n", 400);
    BAD("00000000000000005\r\n", 400);
    BAD("8000000000000000\r\n", 400);
    BAD("ffffffffffffffff\r\n", 400);
    BAD("10000000000000005\r\n", 400);
    check("7fffffffffffffff\r\n", 18, MC_AGAIN, "", 0);
}

static void ends(void **state)
{
    (void)state;
    BAD("5\r\nhelloX", 400);
    BAD("5\r\nhello\n", 400);
    BAD("5\r\nhello\rX", 400);
    BAD("5\r\nhelloXX0\r\n\r\n", 400);
    BAD("5\r\nhello0\r\n\r\n", 400);
    BAD("5\r\nhell\r\n0\r\n\r\n", 400);
    BAD("0\n", 400);
    BAD("0\r\n\n", 400);
    BAD("0\r\n\rX", 400);
    BAD("0\r\nXX\r\n\r\n", 400);
    BAD("0\r\n: x\r\n\r\n", 400);
    BAD("0\r\n x: y\r\n\r\n", 400);
    BAD("0\r\nX: y\r\n z\r\n\r\n", 400);
    BAD("0\r\nX : y\r\n\r\n", 400);
    BAD("0\r\nX: y\n\r\n", 400);
    BAD("0\r\nX: \0\r\n\r\n", 400);
    BAD("0\r\nX: y\r\r\n\r\n", 400);
}

static void trailers(void **state)
{
    (void)state;
    GOOD("0\r\nX-Sum:  1 \r\nETag:\r\n\r\n", "|X-Sum=1|ETag=");
    GOOD("0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: x\r\nAuthorization: y\r\ncookie: z\r\nX_Y: 1\r\nA: 1\r\n"
         "Content-Range: 1\r\nIf-Match: 2\r\nX-Forwarded-For: 3\r\nForwarded: 4\r\nB: 2\r\nConnection: close\r\nset-cookie: a\r\n\r\n",
         "|A=1|B=2");
}

static void budgets(void **state)
{
    char *p = malloc(1 << 20);
    int n = 0;
    (void)state;
    assert_non_null(p);
    memset(p, 'a', 1 << 20);
    memcpy(p, "5;", 2);
    check(p, 1 << 20, 400, "", 0);
    for (n = 0; n < 9000;)
        n += sprintf(p + n, "0001;abcdef=ghij\r\nx\r\n"); /* many small extensions */
    check(p, (size_t)n, 400, NULL, 0);
    memset(p, 'a', 1 << 20);
    memcpy(p, "0\r\n", 3);
    check(p, 1 << 20, 431, "", 0);
    n = sprintf(p, "0\r\n");
    for (int i = 0; i < 3000; i++)
        n += sprintf(p + n, "a: b\r\n");
    check(p, (size_t)n, 431, NULL, 0);
    free(p);
}

/* 20,000 one-byte chunks cost no more than their bytes. */
static void many(void **state)
{
    struct mc_sb text;
    (void)state;
    mc_sb_init(&text, 1 << 20);
    for (int i = 0; i < 20000; i++)
        mc_sb_addz(&text, "1\r\nx\r\n");
    mc_sb_addz(&text, "0\r\n\r\n");
    struct result res = decode(mc_sb_z(&text), text.n, 1000, false);
    assert_int_equal(res.rc, MC_DECLINED);
    assert_int_equal(res.data.n, 20000);
    mc_sb_fini(&res.data);
    mc_sb_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),     cmocka_unit_test(extensions), cmocka_unit_test(sizes), cmocka_unit_test(ends),
        cmocka_unit_test(trailers), cmocka_unit_test(budgets),    cmocka_unit_test(many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
