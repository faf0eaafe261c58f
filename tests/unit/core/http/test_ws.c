/* WebSockets as data: the handshake, what is agreed on, frames whole and byte by byte, and UTF-8 and SHA-1, which they need. */
#include "core/base/sha1.h"
#include "core/base/utf8.h"
#include "core/http/ws.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void sha1_of_known_texts(void **state)
{
    (void) state;
    static const struct {
        const char *text, *sum;
    } known[] = { /* FIPS 180 and RFC 3174 */
        { "abc", "a9993e364706816aba3e25717850c26c9cd0d89d" },
        { "", "da39a3ee5e6b4b0d3255bfef95601890afd80709" },
        { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "84983e441c3bd26ebaae4aa1f95129e5e54670f1" },
    };
    for (size_t i = 0; i < MC_COUNT(known); i++) {
        unsigned char sum[20];
        char hex[41];
        mc_sha1(known[i].text, strlen(known[i].text), sum);
        for (unsigned k = 0; k < 20; k++) {
            snprintf(hex + 2 * k, 3, "%02x", sum[k]);
        }
        assert_string_equal(hex, known[i].sum);
    }
}

static bool is_utf8(const void *p, size_t n, size_t step)
{
    struct mc_utf8 u = { .need = 0 };
    for (size_t i = 0; i < n; i += step) {
        if (!mc_utf8_feed(&u, (const char *) p + i, n - i < step ? n - i : step)) {
            return false;
        }
    }
    return mc_utf8_whole(&u);
}

/* All code points, and all that looks like one and is none. */
static void utf8_is_what_the_standard_says(void **state)
{
    (void) state;
    for (uint32_t c = 0; c < 0x120000; c += c < 0x3000 ? 1 : 7) {
        unsigned char p[4];
        size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        static const unsigned char lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
        for (size_t i = 0; i < n; i++) {
            p[i] = (unsigned char) (c >> 6 * (n - 1 - i) & (i == 0 && n > 1 ? 0xff : n == 1 ? 0x7f : 0x3f));
            p[i] |= (unsigned char) (n == 1 ? 0 : i == 0 ? lead[n] : 0x80);
        }
        bool right = c < 0x110000 && (c < 0xd800 || c > 0xdfff);
        assert_int_equal(is_utf8(p, n, n), right);
        assert_int_equal(is_utf8(p, n, 1), right);
        if (n > 1) {
            assert_false(is_utf8(p, n - 1, n));
        }
    }
    static const char mixed[] = "a long text of letters, \xc3\xa9 between them, and more";
    assert_true(is_utf8(mixed, sizeof mixed - 1, 3));
    assert_false(is_utf8("eight by\x80te", 11, 11));
    assert_false(is_utf8("\xc0\xaf", 2, 1));
    assert_false(is_utf8("\xe0\x9f\xbf", 3, 1));
    assert_false(is_utf8("\xf0\x8f\xbf\xbf", 4, 1));
}

/* ---- the handshake ---- */

static struct mc_arena arena;

static struct mc_head head_of(const char *method, int version, const char *const (*fields)[2])
{
    struct mc_head h = { .method = mc_str(method), .version = (uint8_t) version };
    for (; (*fields)[0]; fields++) {
        assert_int_equal(mc_fields_add(&h.fields, &arena, mc_str((*fields)[0]), mc_str((*fields)[1])), MC_OK);
    }
    return h;
}

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
static const char *const right[][2] = { { "Upgrade", "websocket" }, { "Connection", "Upgrade" }, { "Sec-WebSocket-Key", KEY }, { "Sec-WebSocket-Version", "13" }, { NULL, NULL } };

static void handshakes(void **state)
{
    (void) state;
    char accept[MC_WS_ACCEPT];
    static const char *const old[][2] = { { "Upgrade", "websocket" }, { "Connection", "Upgrade" }, { "Sec-WebSocket-Key", KEY }, { "Sec-WebSocket-Version", "8" }, { NULL, NULL } };
    static const char *const other[][2] = { { "Upgrade", "h2c" }, { "Connection", "Upgrade" }, { NULL, NULL } };
    static const char *const bare[][2] = { { "Upgrade", "websocket" }, { "Connection", "Upgrade" }, { NULL, NULL } };
    mc_arena_init(&arena);
    struct mc_head h = head_of("GET", 1, right);
    assert_int_equal(mc_ws_asked(&h), MC_OK);
    assert_true(mc_ws_accept(&h, accept));
    assert_memory_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", MC_WS_ACCEPT); /* RFC 6455 §1.3 */
    h = head_of("POST", 1, right);
    assert_int_equal(mc_ws_asked(&h), MC_DECLINED);
    h = head_of("GET", 0, right);
    assert_int_equal(mc_ws_asked(&h), MC_DECLINED);
    h = head_of("GET", 1, other);
    assert_int_equal(mc_ws_asked(&h), MC_DECLINED);
    h = head_of("GET", 1, old);
    assert_int_equal(mc_ws_asked(&h), 426);
    h = head_of("GET", 1, bare);
    assert_int_equal(mc_ws_asked(&h), 400);
    mc_arena_fini(&arena);
}

static void windows_are_agreed_on(void **state)
{
    (void) state;
    static const char *const fields[][2] = { { "Sec-WebSocket-Extensions", "foo, permessage-deflate; server_max_window_bits=8" },
        { "sec-websocket-extensions", "permessage-deflate; server_max_window_bits=10; client_max_window_bits; client_no_context_takeover" }, { NULL, NULL } };
    struct mc_ws_deflate d;
    char text[MC_WS_EXTENSIONS_MAX];
    mc_arena_init(&arena);
    struct mc_head h = head_of("GET", 1, fields);
    struct mc_str answer = mc_ws_negotiate(&h.fields, true, &d, text);
    assert_int_equal(answer.n, strlen("permessage-deflate; client_no_context_takeover; server_max_window_bits=10"));
    assert_memory_equal(answer.p, "permessage-deflate; client_no_context_takeover; server_max_window_bits=10", answer.n);
    assert_true(d.on && d.keep_out && !d.keep_in && d.bits_out == 10 && d.bits_in == 15);
    h.fields.n = 1;
    answer = mc_ws_negotiate(&h.fields, true, &d, text);
    assert_int_equal(answer.n, 0);
    assert_false(d.on);
    mc_arena_fini(&arena);
}

/* ---- frames ---- */

/* What the reader makes of these bytes, as a text such as "T(abc)F T+(x)" or "!1002". */
static const char *read_all(const void *bytes, size_t n, size_t step, uint64_t max, bool deflate)
{
    static char out[1024];
    unsigned char copy[512];
    struct mc_ws_reader r = { .max = max, .deflate = deflate };
    size_t at = 0, shown = 0, len = 0;
    memcpy(copy, bytes, n);
    out[0] = '\0';
    while (shown < n || at < shown) {
        struct mc_ws_event ev;
        size_t used;
        if (at == shown) {
            shown = n - shown < step ? n : shown + step;
        }
        int rc = mc_ws_read(&r, copy + at, shown - at, &used, &ev);
        at += used;
        if (rc > 0) {
            snprintf(out + len, sizeof out - len, "!%d", rc);
            return out;
        }
        if (rc == MC_OK && ev.op == MC_WS_CLOSE) {
            len += (size_t) snprintf(out + len, sizeof out - len, "C%u(%.*s)", ev.code, (int) ev.data.n, ev.data.p);
        } else if (rc == MC_OK && ev.op >= MC_WS_PING) {
            len += (size_t) snprintf(out + len, sizeof out - len, "%s(%.*s)", ev.op == MC_WS_PING ? "ping" : "pong", (int) ev.data.n, ev.data.p);
        } else if (rc == MC_OK) {
            len += (size_t) snprintf(out + len, sizeof out - len, "%s%.*s%s", ev.first ? (ev.compressed ? "z<" : ev.op == MC_WS_TEXT ? "t<" : "b<") : "",
                (int) ev.data.n, ev.data.p, ev.last ? ">" : "");
        }
    }
    return out;
}

#define MASK "\x01\x02\x03\x04"
/* "Hello" under that mask. */
#define HELLO "\x49\x67\x6f\x68\x6e"

static void frames(void **state)
{
    (void) state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *events;
    } known[] = {
#define F(bytes, events) { bytes, sizeof(bytes) - 1, events }
        F("\x81\x85" MASK HELLO, "t<Hello>"),
        F("\x82\x85" MASK HELLO "\x81\x80" MASK, "b<Hello>t<>"),
        F("\x01\x85" MASK HELLO "\x89\x80" MASK "\x80\x85" MASK HELLO, "t<Hello" "ping()" "Hello>"),
        F("\x89\x85" MASK HELLO "\x8a\x80" MASK, "ping(Hello)pong()"),
        F("\x88\x82" MASK "\x02\xea", "C1000()"),
        F("\x88\x80" MASK, "C1005()"),
        F("\xc1\x85" MASK HELLO, "z<Hello>"),
        F("\x88\x81" MASK "\x02", "!1002"),
        F("\x81\x05Hello", "!1002"),
        F("\x80\x80" MASK, "!1002"),
        F("\x01\x80" MASK "\x81\x80" MASK, "t<!1002"),
        F("\x09\x80" MASK, "!1002"),
        F("\x89\xfe\x00\x7e" MASK, "!1002"),
        F("\x83\x80" MASK, "!1002"),
        F("\xa1\x80" MASK, "!1002"),
        F("\xc9\x80" MASK, "!1002"),
        F("\x81\xfe\x00\x05" MASK HELLO, "!1002"),
        F("\x81\xff\x00\x00\x00\x00\x00\x00\xff\xff" MASK, "!1002"),
        F("\x81\xfe\x01\x00" MASK, "!1009"),
        F("\x01\x85" MASK HELLO "\x80\xfe\x00\xfe" MASK, "t<Hello!1009"),
    };
    for (size_t i = 0; i < MC_COUNT(known); i++) {
        for (size_t step = 1; step <= known[i].n; step += step < 4 ? 1 : known[i].n) {
            assert_string_equal(read_all(known[i].bytes, known[i].n, step, 255, true), known[i].events);
        }
        assert_string_equal(read_all(known[i].bytes, known[i].n, known[i].n, 255, true), known[i].events);
    }
    assert_string_equal(read_all("\xc1\x85" MASK HELLO, 11, 11, 0, false), "!1002");
}

static void heads(void **state)
{
    (void) state;
    unsigned char h[MC_WS_HEAD_MAX];
    assert_int_equal(mc_ws_head(h, MC_WS_TEXT, false, 125), 2);
    assert_memory_equal(h, "\x81\x7d", 2);
    assert_int_equal(mc_ws_head(h, MC_WS_BINARY, true, 126), 4);
    assert_memory_equal(h, "\xc2\x7e\x00\x7e", 4);
    assert_int_equal(mc_ws_head(h, MC_WS_TEXT, false, 65535), 4);
    assert_memory_equal(h, "\x81\x7e\xff\xff", 4);
    assert_int_equal(mc_ws_head(h, MC_WS_CLOSE, false, 65536), 10);
    assert_memory_equal(h, "\x88\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10);
    assert_true(mc_ws_code_ok(1000) && mc_ws_code_ok(1014) && mc_ws_code_ok(4999));
    assert_false(mc_ws_code_ok(1005) || mc_ws_code_ok(1006) || mc_ws_code_ok(1015) || mc_ws_code_ok(999) || mc_ws_code_ok(2999) || mc_ws_code_ok(5000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha1_of_known_texts),
        cmocka_unit_test(utf8_is_what_the_standard_says),
        cmocka_unit_test(handshakes),
        cmocka_unit_test(windows_are_agreed_on),
        cmocka_unit_test(frames),
        cmocka_unit_test(heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
