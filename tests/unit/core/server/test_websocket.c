/* WebSockets of handlers over a scripted client and a fake clock: messages byte by byte, back-pressure, pings and their deadline, closing from both sides. */
#include "core/server/websocket.h"
#include "tests/unit/lib/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define HEAD "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

static struct mc_ws *ws;
static struct mc_request *request;
static char heard[1024]; /* what the handler got: "t(text)", "b(n bytes)", "end CODE reason" */
static bool deaf, aborted;

static void listen_to(struct mc_request *r)
{
    struct mc_ws_message m;
    size_t n = strlen(heard);
    int rc;
    (void) r;
    while ((rc = mc_ws_next(ws, &m)) == MC_OK) {
        if (n > sizeof heard / 2) {
            n = 0;
        }
        n += (size_t) (m.text ? snprintf(heard + n, sizeof heard - n, "t(%.*s)", (int) m.n, m.p) : snprintf(heard + n, sizeof heard - n, "b(%zu)", m.n));
    }
    if (rc == MC_DECLINED) {
        struct mc_str reason;
        unsigned code = mc_ws_ended(ws, &reason);
        snprintf(heard + n, sizeof heard - n, "end %u %.*s", code, (int) reason.n, reason.p);
    }
}

static int start(struct mc_request *r)
{
    heard[0] = '\0';
    aborted = false;
    request = r;
    assert_int_equal(mc_ws_asked(&r->head), MC_OK);
    ws = mc_ws_open(r, MC_STR_NONE, NULL);
    assert_non_null(ws);
    return MC_OK;
}

static int resume(struct mc_request *r, enum mc_resume why)
{
    (void) why;
    if (deaf) {
        (void) mc_ws_pump(ws);
    } else {
        listen_to(r);
    }
    return MC_OK;
}

static void gone(struct mc_request *r)
{
    (void) r;
    aborted = true;
}

static const struct mc_handler_ops ops = { .body = MC_BODY_BUFFERED, .start = start, .resume = resume, .abort = gone };

/* A connected WebSocket; returns where its frames begin in the output. */
static size_t open_one(struct rig *g)
{
    rig_open(g);
    rig_route(g, "/", &ops);
    struct mc_values *set = &g->routes[0].set;
    set->websocket_max_message_size = 1000;
    set->websocket_ping_interval = 20000;
    set->websocket_ping_timeout = 10000;
    deaf = false;
    rig_connect(g);
    rig_sendz(g, HEAD);
    rig_turn(g);
    assert_non_null(strstr(rig_text(g), "101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    return g->out_len;
}

/* A frame of the client, masked with zeros. */
static void client(struct rig *g, unsigned char first, const void *p, size_t n)
{
    unsigned char head[8] = { first, (unsigned char) (0x80 | (n < 126 ? n : 126)) };
    size_t size = 2;
    if (n >= 126) {
        head[2] = (unsigned char) (n >> 8);
        head[3] = (unsigned char) n;
        size = 4;
    }
    rig_send(g, (const char *) head, size);
    rig_send(g, "\0\0\0\0", 4);
    rig_send(g, p, n);
}

static void assert_out(struct rig *g, size_t from, const void *p, size_t n)
{
    assert_int_equal(g->out_len - from, n);
    assert_memory_equal(g->out + from, p, n);
}

static void messages_in_any_pieces(void **state)
{
    (void) state;
    static const size_t pieces[] = { 0, 1, 3 };
    for (size_t i = 0; i < MC_COUNT(pieces); i++) {
        struct rig g;
        size_t from = open_one(&g);
        g.per_recv = pieces[i];
        g.again = i > 0;
        client(&g, 0x01, "one ", 4);
        client(&g, 0x89, "?", 1);
        client(&g, 0x80, "and", 3);
        client(&g, 0x82, "\0\xff", 2);
        client(&g, 0x88, "\x0f\xa0why", 5);
        rig_turn(&g);
        assert_string_equal(heard, "t(one and)b(2)end 4000 why");
        assert_out(&g, from, "\x8a\x01?\x88\x02\x0f\xa0", 7);
        assert_true(g.closed || g.was_shutdown);
        assert_false(aborted);
        rig_close(&g);
    }
}

static void what_is_not_taken_stays_with_the_client(void **state)
{
    (void) state;
    struct rig g;
    char big[900];
    memset(big, 'x', sizeof big);
    (void) open_one(&g);
    deaf = true;
    for (unsigned i = 0; i < 2000; i++) {
        client(&g, 0x82, big, sizeof big);
    }
    rig_turn(&g);
    assert_true(g.in_pos < 200000); /* of 1.8 MB */
    deaf = false;
    listen_to(request);
    mc_request_wake(request);
    heard[0] = '\0';
    rig_turn(&g);
    assert_int_equal(g.in_pos, g.in_len);
    rig_close(&g);
}

static void silence_is_pinged_and_then_cut(void **state)
{
    (void) state;
    struct rig g;
    size_t from = open_one(&g);
    rig_pass(&g, 15000);
    client(&g, 0x81, "still here", 10);
    rig_turn(&g);
    rig_pass(&g, 15000);
    assert_int_equal(g.out_len, from); /* 15 s of silence */
    rig_pass(&g, 6000);
    assert_out(&g, from, "\x89\x00", 2);
    client(&g, 0x8a, "", 0);
    rig_turn(&g);
    rig_pass(&g, 12000);
    assert_non_null(g.c);
    assert_false(aborted);
    rig_pass(&g, 20000); /* pinged again, somewhere in there… */
    rig_pass(&g, 11000); /* …and not answered */
    assert_true(g.closed && aborted);
    rig_close(&g);
}

static void an_app_that_does_not_listen_is_not_the_clients_fault(void **state)
{
    (void) state;
    struct rig g;
    (void) open_one(&g);
    deaf = true;
    client(&g, 0x81, "waits", 5);
    rig_turn(&g);
    rig_pass(&g, 21000);
    client(&g, 0x8a, "", 0); /* behind what waits, so nobody sees it */
    rig_turn(&g);
    rig_pass(&g, 11000);
    rig_pass(&g, 11000);
    assert_non_null(g.c);
    deaf = false;
    listen_to(request);
    assert_string_equal(heard, "t(waits)");
    rig_close(&g);
}

static void we_close(void **state)
{
    (void) state;
    struct rig g;
    size_t from = open_one(&g);
    assert_int_equal(mc_ws_close(ws, 1005, MC_STR_NONE), MC_ERROR);
    assert_int_equal(mc_ws_close(ws, 1000, MC_STR("done")), MC_OK);
    assert_int_equal(mc_ws_close(ws, 1001, MC_STR_NONE), MC_ERROR);
    assert_int_equal(mc_ws_send(ws, true, "late", 4), MC_ERROR);
    client(&g, 0x81, "late, too", 9);
    rig_turn(&g);
    assert_out(&g, from, "\x88\x06\x03\xe8" "done", 8);
    assert_string_equal(heard, "");
    client(&g, 0x88, "\x03\xe8", 2);
    rig_turn(&g);
    assert_string_equal(heard, "end 1000 done");
    assert_int_equal(g.out_len, from + 8);
    assert_false(aborted);
    rig_close(&g);

    (void) open_one(&g); /* and now nobody answers */
    assert_int_equal(mc_ws_close(ws, 1000, MC_STR_NONE), MC_OK);
    rig_turn(&g);
    rig_pass(&g, 4000);
    assert_non_null(g.c);
    rig_pass(&g, 2000);
    assert_true(g.closed && aborted);
    rig_close(&g);
}

static void a_client_that_just_ends(void **state)
{
    (void) state;
    struct rig g;
    (void) open_one(&g);
    client(&g, 0x81, "last words", 10);
    g.eof = true;
    rig_turn(&g);
    assert_string_equal(heard, "t(last words)end 1006 ");
    rig_close(&g);
}

static void a_drain_tells_all(void **state)
{
    (void) state;
    struct rig g;
    size_t from = open_one(&g);
    mc_worker_drain(&g.w);
    rig_turn(&g);
    assert_out(&g, from, "\x88\x02\x03\xf4", 4);
    client(&g, 0x88, "\x03\xf4", 2);
    rig_turn(&g);
    assert_string_equal(heard, "end 1012 ");
    rig_close(&g);
}

static void a_slow_reader_is_told_no_more_pongs(void **state)
{
    (void) state;
    struct rig g;
    char big[60000];
    memset(big, 'y', sizeof big);
    size_t from = open_one(&g);
    g.room = 0;
    assert_int_equal(mc_ws_send(ws, false, big, sizeof big), MC_OK);
    assert_int_equal(mc_ws_send(ws, false, big, sizeof big), MC_OK);
    assert_int_equal(mc_ws_send(ws, false, big, sizeof big), MC_AGAIN);
    for (unsigned i = 0; i < 1000; i++) {
        client(&g, 0x89, "flood", 5);
    }
    rig_turn(&g);
    assert_int_equal(g.in_pos, g.in_len);
    rig_more_room(&g, SIZE_MAX / 2);
    rig_turn(&g);
    assert_int_equal(g.out_len - from, 3 * (sizeof big + 4));
    rig_close(&g);
}

/* Behind a message that is sent from outside the connection needs a step only where something is left. */
static void what_is_sent_whole_needs_no_step(void **state)
{
    (void) state;
    struct rig g;
    char big[900];
    memset(big, 'x', sizeof big);
    size_t from = open_one(&g);
    uint64_t counted = mc_slot_get(g.slot.bytes_out);
    assert_int_equal(mc_ws_send(ws, true, "one", 3), MC_OK);
    assert_out(&g, from, "\x81\x03one", 5);
    assert_true(mc_request_rests(request));
    assert_int_equal(mc_slot_get(g.slot.bytes_out) - counted, 5);
    g.room = 100;
    assert_int_equal(mc_ws_send(ws, false, big, sizeof big), MC_OK);
    assert_int_equal(g.out_len - from, 105);
    assert_false(mc_request_rests(request));
    mc_request_wake(request);
    rig_turn(&g);
    assert_false(mc_request_rests(request));
    rig_more_room(&g, SIZE_MAX / 2);
    rig_turn(&g);
    assert_int_equal(g.out_len - from, 5 + 4 + sizeof big);
    assert_true(mc_request_rests(request));
    assert_int_equal(mc_ws_send(ws, false, big, sizeof big), MC_OK);
    assert_true(mc_request_rests(request));
    assert_int_equal(mc_ws_close(ws, 1000, MC_STR_NONE), MC_OK);
    client(&g, 0x88, "\x03\xe8", 2);
    rig_turn(&g);
    assert_true(g.closed || g.was_shutdown);
    rig_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_in_any_pieces),
        cmocka_unit_test(what_is_not_taken_stays_with_the_client),
        cmocka_unit_test(silence_is_pinged_and_then_cut),
        cmocka_unit_test(an_app_that_does_not_listen_is_not_the_clients_fault),
        cmocka_unit_test(we_close),
        cmocka_unit_test(a_client_that_just_ends),
        cmocka_unit_test(a_drain_tells_all),
        cmocka_unit_test(a_slow_reader_is_told_no_more_pongs),
        cmocka_unit_test(what_is_sent_whole_needs_no_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
