/* A connection that stops to speak HTTP: bytes as they are, both half-closes, whole and byte by byte; and bodies that are looked at without being read. */
#include "tests/unit/lib/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static bool ended, aborted, keep_open;

static int echo_start(struct mc_request *r)
{
    struct mc_fields fields = { .n = 0 };
    ended = aborted = false;
    assert_int_equal(mc_fields_add(&fields, &r->arena, MC_STR("X-A"), MC_STR("b")), MC_OK);
    if (mc_response_switch(r, MC_STR("websocket"), &fields) != MC_OK) {
        return 400;
    }
    assert_int_equal(mc_response_begin(r, 200, MC_STR_NONE), MC_ERROR);
    assert_int_equal(mc_response_switch(r, MC_STR("websocket"), NULL), MC_ERROR);
    assert_int_equal(mc_response_write(r, "hi:", 3), MC_OK);
    return MC_OK;
}

static int echo_resume(struct mc_request *r, enum mc_resume why)
{
    char buf[64];
    ssize_t n;
    (void) why;
    while ((n = mc_body_read(r, buf, sizeof buf)) > 0) {
        if (mc_response_write(r, buf, (size_t) n) == MC_ERROR) {
            return MC_ERROR;
        }
    }
    if (n == 0) {
        ended = true;
        return keep_open ? mc_response_write(r, "late", 4) : mc_response_end(r, "bye", 3);
    }
    return n == MC_AGAIN ? MC_OK : MC_ERROR;
}

static void echo_abort(struct mc_request *r)
{
    (void) r;
    aborted = true;
}

static const struct mc_handler_ops echo = { .body = MC_BODY_BUFFERED, .start = echo_start, .resume = echo_resume, .abort = echo_abort };

#define HEAD "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"

static void run(size_t per_recv, bool again)
{
    struct rig g;
    rig_open(&g);
    rig_route(&g, "/", &echo);
    rig_connect(&g);
    g.per_recv = per_recv;
    g.again = again;
    rig_sendz(&g, HEAD "early ");
    rig_turn(&g);
    const char *text = rig_text(&g);
    assert_non_null(strstr(text, "HTTP/1.1 101 Switching Protocols\r\n"));
    assert_non_null(strstr(text, "X-A: b\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nhi:early "));
    rig_sendz(&g, "GET / HTTP/1.1\r\n\r\n");
    rig_turn(&g);
    assert_non_null(strstr(rig_text(&g), "hi:early GET / HTTP/1.1\r\n\r\n"));
    assert_non_null(g.c);
    g.eof = true;
    rig_turn(&g);
    assert_true(ended);
    text = rig_text(&g);
    assert_string_equal(text + strlen(text) - 5, "\r\nbye");
    assert_null(g.c);
    assert_false(aborted);
    rig_close(&g);
}

static void test_echo(void **state)
{
    (void) state;
    keep_open = false;
    run(0, false);
    run(1, false);
    run(1, true);
    run(7, true);
}

static void test_writing_goes_on_after_the_clients_end(void **state)
{
    (void) state;
    struct rig g;
    keep_open = true;
    rig_open(&g);
    rig_route(&g, "/", &echo);
    rig_connect(&g);
    rig_sendz(&g, HEAD);
    g.eof = true;
    rig_turn(&g);
    assert_true(ended);
    assert_non_null(strstr(rig_text(&g), "hi:late"));
    assert_non_null(g.c);
    struct mc_request *r = g.c->request;
    assert_int_equal(mc_response_end(r, NULL, 0), MC_OK);
    mc_request_wake(r);
    rig_turn(&g);
    assert_null(g.c);
    rig_close(&g);
}

static void test_half_close_to_the_client(void **state)
{
    (void) state;
    struct rig g;
    keep_open = false;
    rig_open(&g);
    rig_route(&g, "/", &echo);
    rig_connect(&g);
    rig_sendz(&g, HEAD);
    rig_turn(&g);
    assert_int_equal(mc_response_half_close(g.c->request), MC_OK);
    rig_turn(&g);
    assert_true(g.was_shutdown);
    assert_non_null(g.c); /* it may still send */
    g.eof = true;
    rig_turn(&g);
    assert_true(ended);
    assert_null(g.c);
    rig_close(&g);
}

static void test_who_may_not(void **state)
{
    (void) state;
    struct rig g;
    keep_open = false;
    rig_open(&g);
    rig_route(&g, "/", &echo);
    rig_connect(&g);
    rig_sendz(&g, "GET /ws HTTP/1.0\r\n\r\n");
    rig_turn(&g);
    assert_non_null(strstr(rig_text(&g), " 400 "));
    rig_close(&g);
}

/* ---- looking at a body ---- */

static char *wanted;

static int peek_start(struct mc_request *r)
{
    char buf[300];
    size_t n = strlen(wanted);
    for (size_t off = 0; off <= n; off += 97) {
        ssize_t got = mc_body_peek(r, (off_t) off, buf, sizeof buf);
        assert_int_equal(got, n - off < sizeof buf ? n - off : sizeof buf);
        assert_memory_equal(buf, wanted + off, (size_t) got);
    }
    assert_int_equal(mc_body_peek(r, (off_t) n, buf, sizeof buf), 0);
    assert_int_equal(mc_body_available(r), n); /* all of it is still there */
    mc_response_begin(r, 200, MC_STR_NONE);
    return mc_response_end(r, "peeked", 6);
}
static const struct mc_handler_ops peek = { .body = MC_BODY_BUFFERED, .start = peek_start };

static void test_peek(void **state)
{
    (void) state;
    static char body[40001], head[100];
    for (unsigned size = 10; size <= 40000; size *= 20) { /* in memory, in several blocks, in a file */
        struct rig g;
        rig_open(&g);
        rig_route(&g, "/", &peek);
        g.routes[0].set.body_buffer = 20000;
        for (unsigned i = 0; i < size; i++) {
            body[i] = (char) ('a' + i % 23);
        }
        body[size] = '\0';
        wanted = body;
        rig_connect(&g);
        snprintf(head, sizeof head, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %u\r\n\r\n", size);
        rig_sendz(&g, head);
        rig_sendz(&g, body);
        rig_turn(&g);
        assert_non_null(strstr(rig_text(&g), "peeked"));
        rig_close(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo), cmocka_unit_test(test_writing_goes_on_after_the_clients_end), cmocka_unit_test(test_half_close_to_the_client),
        cmocka_unit_test(test_who_may_not), cmocka_unit_test(test_peek),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
