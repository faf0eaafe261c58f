/* The HTTP/1.1 codec towards upstreams: what it says, and which replies it takes; whole, byte by byte, and with the end of the stream at each place. */
#include "core/http/gateway.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct mc_arena arena;
static struct mc_exchange x;
static struct mc_chain out;

static void open_exchange(const char *method, const char *target)
{
    mc_arena_init(&arena);
    mc_chain_init(&out);
    x = (struct mc_exchange){ .arena = &arena, .method = mc_str(method), .target = mc_str(target), .keep = true };
    x.is_head = strcmp(method, "HEAD") == 0;
    assert_int_equal(mc_fields_add(&x.fields, &arena, MC_STR("Host"), MC_STR("a.example")), MC_OK);
}

static void close_exchange(void)
{
    mc_chain_fini(&out);
    mc_arena_fini(&arena);
}

static const char *said(void)
{
    static char text[70000];
    size_t n = 0;
    for (struct mc_seg *g = out.head; g; g = g->next) {
        memcpy(text + n, g->pos, (size_t) (g->last - g->pos));
        n += (size_t) (g->last - g->pos);
    }
    text[n] = '\0';
    return text;
}

/* ---- requests ---- */

static void test_get(void **state)
{
    (void) state;
    open_exchange("GET", "/a?b=%20c");
    assert_int_equal(mc_gateway_http1.head(&x, &out), MC_OK);
    assert_int_equal(mc_gateway_http1.body(&x, &out, NULL, 0, true), MC_OK);
    assert_string_equal(said(), "GET /a?b=%20c HTTP/1.1\r\nHost: a.example\r\n\r\n");
    close_exchange();

    open_exchange("GET", "/");
    x.keep = false;
    assert_int_equal(mc_gateway_http1.head(&x, &out), MC_OK);
    assert_string_equal(said(), "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
    close_exchange();
}

static void test_bodies(void **state)
{
    (void) state;
    open_exchange("POST", "/");
    x.length = 5;
    assert_int_equal(mc_gateway_http1.head(&x, &out), MC_OK);
    assert_int_equal(mc_gateway_http1.body(&x, &out, "he", 2, false), MC_OK);
    assert_int_equal(mc_gateway_http1.body(&x, &out, "llo", 3, true), MC_OK);
    assert_string_equal(said(), "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello");
    close_exchange();

    open_exchange("POST", "/");
    assert_int_equal(mc_gateway_http1.head(&x, &out), MC_OK);
    assert_string_equal(said(), "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n");
    close_exchange();

    open_exchange("PUT", "/");
    x.length = -1;
    assert_int_equal(mc_gateway_http1.head(&x, &out), MC_OK);
    assert_int_equal(mc_gateway_http1.body(&x, &out, "twenty-six bytes, in chunks", 27, false), MC_OK);
    assert_int_equal(mc_gateway_http1.body(&x, &out, NULL, 0, true), MC_OK);
    assert_string_equal(said(), "PUT / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n1b\r\ntwenty-six bytes, in chunks\r\n0\r\n\r\n");
    close_exchange();
}

static void test_connection(void **state)
{
    (void) state;
    open_exchange("GET", "/ws");
    x.upgrade = MC_STR("websocket");
    assert_int_equal(mc_gateway_http1.head(&x, &out), MC_OK);
    assert_string_equal(said(), "GET /ws HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
    close_exchange();

    open_exchange("GET", "/");
    x.te_trailers = true;
    assert_int_equal(mc_gateway_http1.head(&x, &out), MC_OK);
    assert_string_equal(said(), "GET / HTTP/1.1\r\nHost: a.example\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    close_exchange();
}

static void test_nothing_breaks_out(void **state)
{
    (void) state;
    static const char *const targets[] = { "", "/a b", "/a\r\nX: y", "/\x7f", "/a\tb" };
    for (unsigned i = 0; i < MC_COUNT(targets); i++) {
        open_exchange("GET", targets[i]);
        assert_int_equal(mc_gateway_http1.head(&x, &out), MC_ERROR);
        close_exchange();
    }
    open_exchange("GE T", "/");
    assert_int_equal(mc_gateway_http1.head(&x, &out), MC_ERROR);
    close_exchange();
    open_exchange("GET", "/");
    mc_fields_add(&x.fields, &arena, MC_STR("X"), MC_STR("a\r\nContent-Length: 5"));
    assert_int_equal(mc_gateway_http1.head(&x, &out), MC_ERROR);
    close_exchange();
    open_exchange("GET", "/");
    mc_fields_add(&x.fields, &arena, MC_STR("X:"), MC_STR("a"));
    assert_int_equal(mc_gateway_http1.head(&x, &out), MC_ERROR);
    close_exchange();
}

static void test_a_long_head(void **state)
{
    (void) state;
    char *value = malloc(40000);
    memset(value, 'v', 40000);
    open_exchange("GET", "/");
    mc_fields_add(&x.fields, &arena, MC_STR("X"), (struct mc_str){ value, 40000 });
    assert_int_equal(mc_gateway_http1.head(&x, &out), MC_OK);
    assert_int_equal(out.total, strlen("GET / HTTP/1.1\r\nHost: a.example\r\nX: \r\n\r\n") + 40000);
    close_exchange();
    free(value);
}

/* ---- replies ---- */

/* Feed a reply in pieces of `step` bytes (0: whole), then the end of the stream if `eof`. What happened, as text: "i103 h200 d:hello e+" (complete, reusable),
 * "!" (refused), "..." (more is wanted). */
static const char *happened(const char *method, const char *upgrade, const char *reply, size_t n, size_t step, bool eof)
{
    static char log[1024], body[1024];
    size_t len = 0, bytes = 0, have = 0, pos = 0;
    const char *verdict = NULL;
    log[0] = '\0';
    open_exchange(method, "/");
    x.upgrade = mc_str(upgrade);
    assert_int_equal(mc_gateway_http1.head(&x, &out), MC_OK);
    assert_int_equal(mc_gateway_http1.body(&x, &out, NULL, 0, true), MC_OK);
    while (verdict == NULL) {
        struct mc_gw_event ev;
        size_t used;
        char *copy = malloc(have - pos + 1);
        memcpy(copy, reply + pos, have - pos);
        mc_gateway_http1.input(&x, copy, have - pos, eof && have == n, &used, &ev);
        assert_true(used <= have - pos);
        pos += used;
        switch (ev.kind) {
        case MC_GW_INTERIM:
        case MC_GW_HEAD:
            len += (size_t) snprintf(log + len, sizeof log - len, "%c%d ", ev.kind == MC_GW_HEAD ? 'h' : 'i', x.reply.status);
            break;
        case MC_GW_DATA:
            assert_true(ev.data.n > 0 && bytes + ev.data.n < sizeof body);
            memcpy(body + bytes, ev.data.p, ev.data.n);
            bytes += ev.data.n;
            break;
        case MC_GW_END:
            assert_int_equal(x.received, bytes);
            verdict = pos < have ? (x.reusable ? "e+ more" : "e more") : x.reusable ? "e+" : "e";
            break;
        case MC_GW_MORE:
            if (have == n && used == 0) {
                assert_false(eof);
                verdict = "...";
            }
            have = have == n || used > 0 ? have : step == 0 || have + step > n ? n : have + step;
            break;
        default:
            assert_non_null(ev.why);
            verdict = "!";
        }
        free(copy);
    }
    if (bytes) {
        len += (size_t) snprintf(log + len, sizeof log - len, "d:%.*s ", (int) bytes, body);
    }
    snprintf(log + len, sizeof log - len, "%s", verdict);
    close_exchange();
    return log;
}

static void expect_n(const char *method, const char *upgrade, const char *reply, size_t n, bool eof, const char *want)
{
    static const size_t steps[] = { 0, 1, 2, 7, 100 };
    for (unsigned i = 0; i < MC_COUNT(steps); i++) {
        const char *got = happened(method, upgrade, reply, n, steps[i], eof);
        if (strcmp(got, want) != 0) {
            fail_msg("step %zu of %s\n gave %s\n for %s", steps[i], reply, got, want);
        }
    }
}

static void expect(const char *reply, const char *want)
{
    expect_n("GET", "", reply, strlen(reply), false, want);
}

static void expect_eof(const char *reply, const char *want)
{
    expect_n("GET", "", reply, strlen(reply), true, want);
}

#define OK "HTTP/1.1 200 OK\r\n"

static void test_replies(void **state)
{
    (void) state;
    expect(OK "Content-Length: 5\r\n\r\nhello", "h200 d:hello e+");
    expect(OK "Content-Length: 0\r\n\r\n", "h200 e+");
    expect(OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;a=b\r\n-you\r\n", "h200 d:hello-yo !");
    expect(OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n4\r\n-you\r\n0\r\nX: y\r\n\r\n", "h200 d:hello-you e+");
    expect(OK "Connection: close\r\nContent-Length: 2\r\n\r\nhi", "h200 d:hi e");
    expect("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", "h200 d:hi e");
    expect("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", "h200 d:hi e+");
    expect("HTTP/1.1 204 No Content\r\n\r\n", "h204 e+");
    expect("HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", "h304 e+");
    expect("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "h200 e+");
    expect_eof(OK "\r\nuntil-the-end", "h200 d:until-the-end e");
    expect_eof(OK "\r\n", "h200 e");
    expect("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" OK "Content-Length: 1\r\n\r\nx", "i100 i103 h200 d:x e+");
    const char *head = OK "Content-Length: 500\r\n\r\n";
    expect_n("HEAD", "", head, strlen(head), false, "h200 e+");
}

static void test_bytes_behind(void **state)
{
    (void) state;
    const char *text = OK "Content-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n\r\n";
    assert_string_equal(happened("GET", "", text, strlen(text), 0, false), "h200 d:hi e+ more");
}

static void test_cut(void **state)
{
    (void) state;
    expect_eof("", "!");
    expect_eof("HTTP/1.1 200 O", "!");
    expect_eof(OK "Content-Length: 5\r\n", "!");
    expect_eof(OK "Content-Length: 5\r\n\r\nhell", "h200 d:hell !");
    expect_eof(OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "h200 d:hello !");
    expect_eof(OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", "h200 d:hello !");
    expect_eof("HTTP/1.1 100 Continue\r\n\r\n", "i100 !");
}

static void test_refused(void **state)
{
    (void) state;
    static const char *const bad[] = {
        "\r\n" OK "Content-Length: 0\r\n\r\n",
        "HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 0200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "ICY 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        OK "Content-Length: 5, 5\r\n\r\nhello",
        OK "Content-Length: +5\r\n\r\nhello",
        OK "Content-Length: 0x5\r\n\r\nhello",
        OK "Content-Length: \r\n\r\n",
        OK "Content-Length: 99999999999999999999\r\n\r\n",
        OK "Content-Length : 5\r\n\r\nhello",
        OK "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK "Transfer-Encoding: identity\r\n\r\n",
        OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK "X: a\r\n folded\r\n\r\n",
        OK ": empty\r\n\r\n",
        OK "no colon\r\n\r\n",
        OK "X Y: z\r\n\r\n",
        OK "X: a\rb\r\n\r\n",
        OK "X: a\nSet-Cookie: b\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    };
    for (unsigned i = 0; i < MC_COUNT(bad); i++) {
        expect_n("GET", "", bad[i], strlen(bad[i]), true, "!");
    }
    static const char nul[] = OK "X: a\0b\r\n\r\n";
    expect_n("GET", "", nul, sizeof nul - 1, false, "!");
    static const char *const chunks[] = { "5 \r\nhello\r\n", "0x5\r\nhello\r\n", "5\nhello\r\n", "-5\r\n", "5\r\nhelloXX", "g\r\n", ";a\r\n", "11111111111111111\r\n" };
    for (unsigned i = 0; i < MC_COUNT(chunks); i++) {
        char text[200];
        snprintf(text, sizeof text, OK "Transfer-Encoding: chunked\r\n\r\n%s", chunks[i]);
        expect(text, strstr(chunks[i], "helloXX") ? "h200 d:hello !" : "h200 !");
    }
}

static void test_floods(void **state)
{
    (void) state;
    char *text = malloc(200000), *w = text;
    for (int i = 0; i < 17; i++) {
        w += sprintf(w, "HTTP/1.1 103 Early Hints\r\n\r\n");
    }
    assert_non_null(strstr(happened("GET", "", text, (size_t) (w - text), 0, false), "!"));
    w = text + sprintf(text, OK);
    for (int i = 0; i < 600; i++) {
        w += sprintf(w, "X: y\r\n");
    }
    assert_string_equal(happened("GET", "", text, (size_t) (w - text), 0, false), "!");
    w = text + sprintf(text, OK "X: ");
    memset(w, 'x', 70000);
    assert_string_equal(happened("GET", "", text, (size_t) (w - text) + 70000, 0, false), "!");
    memset(text, 'H', 9000);
    assert_string_equal(happened("GET", "", text, 9000, 0, false), "!");
    free(text);
}

static void test_switch(void **state)
{
    (void) state;
    const char *yes = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\nraw-bytes\r\n";
    expect_n("GET", "websocket", yes, strlen(yes), true, "h101 d:raw-bytes\r\n e");
    const char *other = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n";
    expect_n("GET", "websocket", other, strlen(other), false, "!");
    const char *bare = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
    expect_n("GET", "websocket", bare, strlen(bare), false, "!");
    const char *refused = "HTTP/1.1 400 No\r\nContent-Length: 2\r\n\r\nno";
    expect_n("GET", "websocket", refused, strlen(refused), false, "h400 d:no e+");
}

static void test_early_reply_is_not_reused(void **state)
{
    (void) state;
    struct mc_gw_event ev;
    size_t used;
    const char *text = "HTTP/1.1 413 Too much\r\nContent-Length: 0\r\n\r\n";
    open_exchange("POST", "/");
    x.length = 10;
    assert_int_equal(mc_gateway_http1.head(&x, &out), MC_OK);
    assert_int_equal(mc_gateway_http1.body(&x, &out, "four", 4, false), MC_OK);
    mc_gateway_http1.input(&x, text, strlen(text), false, &used, &ev);
    assert_int_equal(ev.kind, MC_GW_HEAD);
    mc_gateway_http1.input(&x, text + used, strlen(text) - used, false, &used, &ev);
    assert_int_equal(ev.kind, MC_GW_END);
    assert_false(x.reusable);
    close_exchange();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get), cmocka_unit_test(test_bodies), cmocka_unit_test(test_connection), cmocka_unit_test(test_nothing_breaks_out),
        cmocka_unit_test(test_a_long_head), cmocka_unit_test(test_replies), cmocka_unit_test(test_bytes_behind), cmocka_unit_test(test_cut),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_floods), cmocka_unit_test(test_switch), cmocka_unit_test(test_early_reply_is_not_reused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
