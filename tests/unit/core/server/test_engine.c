/* The connection engine over a scripted transport and a fake clock: states, timeouts, buffering, both kinds of handlers. */
#include "tests/unit/lib/rig.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

/* ---- handlers of the tests ---- */

static int hello(struct mc_request *r)
{
    if (mc_response_begin(r, 200, MC_STR_NONE) != MC_OK) {
        return MC_ERROR;
    }
    return mc_response_end(r, "hello", 5);
}
static const struct mc_handler_ops loop_hello = { .body = MC_BODY_DISCARD, .start = hello };
static const struct mc_handler_ops blocking_hello = { .needs = MC_NEED_BLOCKING, .body = MC_BODY_BUFFERED, .start = hello };

static unsigned echoed;
static int echo(struct mc_request *r)
{
    echoed++;
    char *all = malloc((size_t) r->body.received + 1);
    size_t n = 0;
    ssize_t got;
    while ((got = mc_body_read(r, all + n, 1000)) > 0) {
        n += (size_t) got;
    }
    int rc = got == 0 && mc_response_begin(r, 200, MC_STR_NONE) == MC_OK ? mc_response_end(r, all, n) : MC_ERROR;
    free(all);
    return rc;
}
static const struct mc_handler_ops blocking_echo = { .needs = MC_NEED_BLOCKING, .body = MC_BODY_BUFFERED, .start = echo };

static size_t big_size;
static unsigned big_done;
static int big(struct mc_request *r) /* many writes, length unknown */
{
    char piece[10000];
    mc_response_begin(r, 200, MC_STR_NONE);
    for (size_t n = 0; n < big_size; n += sizeof piece) {
        memset(piece, 'a' + (int) (n / sizeof piece % 26), sizeof piece);
        if (mc_response_write(r, piece, sizeof piece) != MC_OK) {
            return MC_ERROR;
        }
    }
    big_done++;
    return mc_response_end(r, NULL, 0);
}
static const struct mc_handler_ops blocking_big = { .needs = MC_NEED_BLOCKING, .body = MC_BODY_BUFFERED, .start = big };

static int half(struct mc_request *r) /* fails in the middle */
{
    mc_response_begin(r, 200, MC_STR_NONE);
    mc_response_write(r, "half", 4);
    return 500;
}
static const struct mc_handler_ops blocking_half = { .needs = MC_NEED_BLOCKING, .body = MC_BODY_BUFFERED, .start = half };

static int short_body(struct mc_request *r)
{
    mc_response_begin(r, 200, MC_STR_NONE);
    mc_response_length(r, 10);
    return mc_response_end(r, "four", 4);
}
static const struct mc_handler_ops loop_short = { .body = MC_BODY_DISCARD, .start = short_body };

static int long_body(struct mc_request *r)
{
    mc_response_begin(r, 200, MC_STR_NONE);
    mc_response_length(r, 4);
    return mc_response_end(r, "four and more", 13);
}
static const struct mc_handler_ops loop_long = { .body = MC_BODY_DISCARD, .start = long_body };

/* A loop handler that produces 1 MiB and pauses when told to. */
static unsigned stream_left, stream_aborted, stream_resumed;
static int stream_go(struct mc_request *r)
{
    char piece[1024];
    memset(piece, 's', sizeof piece);
    while (stream_left > 0) {
        stream_left--;
        int rc = mc_response_write(r, piece, sizeof piece);
        if (rc != MC_OK) {
            return rc == MC_AGAIN ? MC_OK : MC_ERROR;
        }
    }
    return mc_response_end(r, NULL, 0);
}
static int stream_start(struct mc_request *r)
{
    stream_left = 1024;
    mc_response_begin(r, 200, MC_STR_NONE);
    return stream_go(r);
}
static int stream_resume(struct mc_request *r, enum mc_resume why)
{
    assert_int_equal(why, MC_RESUME_ROOM);
    stream_resumed++;
    return stream_go(r);
}
static void stream_abort(struct mc_request *r)
{
    stream_aborted++;
    assert_int_equal(mc_response_write(r, "x", 1), MC_ERROR);
}
static const struct mc_handler_ops loop_stream = { .body = MC_BODY_DISCARD, .start = stream_start, .resume = stream_resume, .abort = stream_abort };

/* A loop handler that takes its body as it comes, but only when asked to. */
static bool sink_open;
static size_t sink_got;
static struct mc_request *sink_request;
static int sink_take(struct mc_request *r)
{
    char buf[4096];
    ssize_t n;
    sink_request = r;
    if (!sink_open) {
        return MC_OK;
    }
    while ((n = mc_body_read(r, buf, sizeof buf)) > 0) {
        sink_got += (size_t) n;
    }
    if (n == MC_AGAIN) {
        return MC_OK;
    }
    if (n == MC_ERROR) {
        return r->body.status;
    }
    mc_response_begin(r, 200, MC_STR_NONE);
    return mc_response_end(r, "taken", 5);
}
static int sink_wait(struct mc_request *r)
{
    r->body.on_demand = true;
    return MC_OK;
}
static int sink_resume(struct mc_request *r, enum mc_resume why)
{
    assert_int_equal(why, MC_RESUME_BODY);
    return sink_take(r);
}
static const struct mc_handler_ops loop_sink = { .body = MC_BODY_STREAMED, .prepare = sink_wait, .start = sink_take, .resume = sink_resume };

static int setup(void **state)
{
    struct rig *g = malloc(sizeof *g);
    rig_open(g);
    rig_route(g, "/block", &blocking_hello);
    rig_route(g, "/echo", &blocking_echo);
    rig_route(g, "/big", &blocking_big);
    rig_route(g, "/half", &blocking_half);
    rig_route(g, "/stream", &loop_stream);
    rig_route(g, "/sink", &loop_sink);
    rig_route(g, "/short", &loop_short);
    rig_route(g, "/", &loop_hello);
    echoed = big_done = stream_aborted = stream_resumed = 0;
    sink_got = 0;
    sink_open = true;
    rig_connect(g);
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    rig_close(*state);
    free(*state);
    return 0;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

/* ---- requests in all kinds of pieces ---- */

static void check_pieces(struct rig *g)
{
    rig_sendz(g, GET("/"));
    rig_sendz(g, GET("/block"));
    rig_sendz(g, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\necho-1");
    rig_sendz(g, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nech\r\n3\r\no-2\r\n0\r\n\r\n");
    rig_turn(g);
    assert_int_equal(rig_count(g, "HTTP/1.1 200 OK"), 4);
    assert_int_equal(rig_count(g, "hello"), 2);
    assert_int_equal(rig_count(g, "echo-1"), 1);
    assert_int_equal(rig_count(g, "echo-2"), 1);
    assert_non_null(g->c);
    assert_int_equal(g->c->state, MC_CONN_IDLE);
    assert_null(g->c->session.in.data); /* an idle connection holds no buffer */
    assert_null(g->c->session.out.head);
}

static void whole(void **state)
{
    struct rig *g = *state;
    check_pieces(g);
    assert_int_equal(g->sends, 1); /* pipelined replies share one send */
}

static void byte_by_byte(void **state)
{
    struct rig *g = *state;
    g->per_recv = 1;
    check_pieces(g);
}

static void again_between_bytes(void **state)
{
    struct rig *g = *state;
    g->per_recv = 1;
    g->again = true;
    check_pieces(g);
}

static void close_is_kept(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" GET("/"));
    rig_turn(g);
    assert_int_equal(rig_count(g, "HTTP/1.1 200"), 1);
    assert_int_equal(rig_count(g, "Connection: close"), 1);
    assert_true(g->was_shutdown); /* unread bytes: lingering */
    g->eof = true;
    rig_turn(g);
    assert_true(g->closed);
}

static void end_travels_with_the_last_bytes(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, GET("/"));
    rig_turn(g);
    assert_int_equal(rig_count(g, "HTTP/1.1 200"), 1);
    assert_false(g->last);
    rig_sendz(g, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    rig_turn(g);
    assert_int_equal(rig_count(g, "HTTP/1.1 200"), 2);
    assert_true(g->last);
    assert_true(g->closed);
}

static void half_closed_client_is_answered(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, GET("/block"));
    g->eof = true;
    rig_turn(g);
    assert_int_equal(rig_count(g, "hello"), 1);
    assert_true(g->closed);
}

static void cut_body_never_reaches_the_handler(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nech");
    g->eof = true;
    rig_turn(g);
    assert_int_equal(echoed, 0);
    assert_int_equal(rig_count(g, "HTTP/1.1 2"), 0);
    assert_true(g->closed);
}

static void bad_input_after_good(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, GET("/") "BAD\r\n\r\n" GET("/"));
    rig_turn(g);
    assert_int_equal(rig_count(g, "HTTP/1.1 200"), 1);
    assert_int_equal(rig_count(g, "HTTP/1.1 400"), 1);
    g->eof = true;
    rig_turn(g);
    assert_true(g->closed);
}

/* ---- limits and files ---- */

static void post(struct rig *g, const char *path, size_t n)
{
    char head[128];
    char *body = malloc(n);
    memset(body, 'b', n);
    snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", path, n);
    rig_sendz(g, head);
    rig_send(g, body, n);
    free(body);
}

static void large_body_goes_to_a_file(void **state)
{
    struct rig *g = *state;
    post(g, "/echo", 300000);
    rig_turn(g);
    assert_int_equal(echoed, 1);
    assert_int_equal(rig_count(g, "Content-Length: 300000\r\n"), 1);
    assert_true(g->out_len > 300000);
    assert_int_equal(g->c->state, MC_CONN_IDLE);
}

static void body_limit(void **state)
{
    struct rig *g = *state;
    post(g, "/echo", (1 << 20) + 1);
    rig_turn(g);
    assert_int_equal(rig_count(g, "HTTP/1.1 413"), 1);
    assert_int_equal(echoed, 0);
}

static void chunked_body_limit(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    char *chunk = malloc(65536 + 16);
    int k = sprintf(chunk, "10000\r\n");
    memset(chunk + k, 'c', 65536);
    memcpy(chunk + k + 65536, "\r\n", 2);
    for (int i = 0; i < 17; i++) {
        rig_send(g, chunk, (size_t) k + 65538);
    }
    free(chunk);
    rig_turn(g);
    assert_int_equal(rig_count(g, "HTTP/1.1 413"), 1);
    assert_int_equal(echoed, 0);
}

static void expect_continue(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    rig_turn(g);
    assert_string_equal(rig_text(g), "HTTP/1.1 100 Continue\r\n\r\n");
    rig_sendz(g, "data");
    rig_turn(g);
    assert_int_equal(rig_count(g, "HTTP/1.1 200"), 1);
}

static void expect_but_too_large(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n");
    rig_turn(g);
    assert_int_equal(rig_count(g, "100 Continue"), 0);
    assert_int_equal(rig_count(g, "HTTP/1.1 413"), 1);
    assert_int_equal(rig_count(g, "Connection: close"), 1);
}

/* ---- slow clients ---- */

static void handler_ends_before_its_client(void **state)
{
    struct rig *g = *state;
    big_size = 1000000;
    g->room = 100;
    rig_sendz(g, GET("/big"));
    rig_turn(g);
    assert_int_equal(big_done, 1);
    assert_int_equal(g->c->state, MC_CONN_WRITE);
    assert_true(g->c->session.out.mem <= 65536 + 16384); /* the rest lies in a file */
    rig_more_room(g, SIZE_MAX / 4);
    assert_int_equal(g->c->state, MC_CONN_IDLE);
    assert_null(g->c->spool);
    for (int i = 0; i < 26; i++) { /* every letter in order, chunked */
        char run[64];
        memset(run, 'a' + i, 63);
        run[63] = '\0';
        assert_non_null(strstr(rig_text(g), run));
    }
    assert_int_equal(rig_count(g, "\r\n0\r\n\r\n"), 1);
    assert_true(g->out_len > 1000000);
}

static void send_timeout_closes(void **state)
{
    struct rig *g = *state;
    big_size = 1000000;
    g->room = 100;
    rig_sendz(g, GET("/big"));
    rig_turn(g);
    for (int i = 0; i < 4; i++) { /* progress keeps it alive */
        rig_pass(g, 20000);
        assert_false(g->closed);
        rig_more_room(g, 10);
    }
    rig_pass(g, 31000);
    assert_true(g->closed);
}

static void single_bytes_do_not_prolong_it_for_ever(void **state)
{
    struct rig *g = *state;
    int passes = 0;
    big_size = 1000000;
    g->room = 100;
    rig_sendz(g, GET("/big"));
    rig_turn(g);
    for (; !g->closed && passes < 100; passes++) {
        rig_pass(g, 20000);
        if (!g->closed) {
            rig_more_room(g, 10);
        }
    }
    assert_int_equal(passes, 15); /* ten times 30 s */
}

static void dripping_body(struct rig *g, const char *head)
{
    char kib[1025];
    memset(kib, 'k', 1024);
    kib[1024] = '\0';
    rig_sendz(g, head);
    rig_turn(g);
    for (int i = 0; i < 24; i++) { /* 20 s for a byte, 200 s for a KiB */
        rig_pass(g, 10000);
        assert_int_equal(rig_count(g, "408"), 0);
        rig_sendz(g, i == 11 ? kib : "3");
        rig_turn(g);
    }
    for (int i = 0; i < 10 && !rig_count(g, "408"); i++) {
        rig_pass(g, 10000);
        rig_sendz(g, "3");
        rig_turn(g);
    }
    assert_int_equal(rig_count(g, "HTTP/1.1 408"), 1);
    assert_int_equal(echoed, 0);
}

static void dripping_body_408(void **state)
{
    dripping_body(*state, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10000\r\n\r\n12");
}

static void dripping_streamed_body_408(void **state)
{
    dripping_body(*state, "POST /sink HTTP/1.1\r\nHost: h\r\nContent-Length: 10000\r\n\r\n12");
}

static void loop_handler_pauses(void **state)
{
    struct rig *g = *state;
    g->room = 1000;
    rig_sendz(g, GET("/stream"));
    rig_turn(g);
    assert_true(stream_left > 800);
    assert_true(g->c->session.out.total < MC_OUT_HIGH + 4096);
    rig_more_room(g, 400000);
    assert_true(stream_left > 300 && stream_left < 800);
    rig_more_room(g, 4 << 20);
    assert_int_equal(stream_left, 0);
    assert_true(stream_resumed > 0);
    assert_int_equal(g->c->state, MC_CONN_IDLE);
    assert_int_equal(rig_count(g, "0\r\n\r\n"), 1);
}

static void client_of_a_paused_handler_leaves(void **state)
{
    struct rig *g = *state;
    g->room = 1000;
    rig_sendz(g, GET("/stream"));
    rig_turn(g);
    g->dead = true;
    g->room = 1000;
    rig_turn(g);
    assert_true(g->closed);
    assert_int_equal(stream_aborted, 1);
}

static void streamed_body_has_back_pressure(void **state)
{
    struct rig *g = *state;
    sink_open = false;
    post(g, "/sink", 900000);
    rig_turn(g);
    assert_true(g->in_len - g->in_pos > 700000); /* not read from the client yet */
    sink_open = true;
    mc_request_result(sink_request, sink_take(sink_request));
    rig_turn(g);
    assert_int_equal(sink_got, 900000);
    assert_int_equal(rig_count(g, "taken"), 1);
    assert_int_equal(g->c->state, MC_CONN_IDLE);
}

/* ---- time ---- */

static void idle_connections_end(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, GET("/"));
    rig_turn(g);
    rig_pass(g, 4900);
    assert_false(g->closed);
    rig_pass(g, 200);
    assert_true(g->closed);
    assert_int_equal(rig_count(g, "408"), 0);
}

static void request_in_the_last_moment_is_served(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, GET("/"));
    rig_turn(g);
    rig_sendz(g, GET("/"));
    g->c->io.ready = MC_WANT_WRITE; /* its arrival is not noted yet */
    rig_pass(g, 5100);
    assert_int_equal(rig_count(g, "HTTP/1.1 200"), 2);
    assert_false(g->closed);
}

static void slow_head_408(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, "GET / HT");
    rig_turn(g);
    rig_pass(g, 6000);
    rig_sendz(g, "TP");
    rig_turn(g);
    rig_pass(g, 6000); /* trickling does not help */
    assert_int_equal(rig_count(g, "HTTP/1.1 408"), 1);
}

static void slow_body(struct rig *g, const char *head)
{
    rig_sendz(g, head);
    rig_turn(g);
    rig_pass(g, 15000);
    rig_sendz(g, "3");
    rig_turn(g);
    rig_pass(g, 15000); /* a byte in time renews the wait */
    assert_int_equal(rig_count(g, "408"), 0);
    rig_pass(g, 6000);
    assert_int_equal(rig_count(g, "HTTP/1.1 408"), 1);
    assert_int_equal(echoed, 0);
}

static void slow_body_408(void **state)
{
    slow_body(*state, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12");
}

static void slow_streamed_body_408(void **state)
{
    slow_body(*state, "POST /sink HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12");
}

/* Whoever waits to be told to go on is not late. */
static void body_that_nobody_wants_has_time(void **state)
{
    struct rig *g = *state;
    sink_open = false;
    rig_sendz(g, "POST /sink HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    rig_turn(g);
    rig_pass(g, 60000);
    assert_int_equal(rig_count(g, "HTTP/1.1"), 0);
    assert_false(g->closed);
    mc_body_want(sink_request);
    sink_open = true;
    rig_turn(g);
    assert_int_equal(rig_count(g, "HTTP/1.1 100"), 1);
    rig_pass(g, 15000);
    rig_sendz(g, "1");
    rig_turn(g);
    rig_pass(g, 21000);
    assert_int_equal(rig_count(g, "HTTP/1.1 408"), 1);
}

static void silent_client_is_dropped(void **state)
{
    struct rig *g = *state;
    rig_turn(g);
    rig_pass(g, 10100);
    assert_true(g->closed);
    assert_int_equal(g->out_len, 0);
}

static void lingering_is_bounded(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, "BAD\r\n\r\n");
    rig_turn(g);
    assert_true(g->was_shutdown);
    for (int i = 0; i < 10 && !g->closed; i++) {
        rig_sendz(g, "more");
        rig_turn(g);
        rig_pass(g, 1000);
    }
    assert_true(g->closed);
}

/* ---- responses that go wrong ---- */

static void failure_in_the_middle_cuts(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, GET("/half"));
    rig_turn(g);
    assert_int_equal(rig_count(g, "HTTP/1.1 "), 1);
    assert_int_equal(rig_count(g, "0\r\n\r\n"), 0); /* no proper end */
    assert_true(g->closed);
    assert_false(g->was_reset);
}

static void cut_without_framing_resets(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, "GET /half HTTP/1.0\r\n\r\n");
    rig_turn(g);
    assert_true(g->closed);
    assert_true(g->was_reset);
}

static void short_response_closes(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, GET("/short"));
    rig_turn(g);
    assert_int_equal(rig_count(g, "Content-Length: 10\r\n"), 1);
    assert_true(g->closed);
}

static void long_response_is_cut(void **state)
{
    struct rig *g = *state;
    g->server.nroutes = 0;
    rig_route(g, "/", &loop_long);
    rig_sendz(g, GET("/"));
    rig_turn(g);
    assert_int_equal(rig_count(g, "\r\n\r\nfour"), 1);
    assert_int_equal(rig_count(g, "more"), 0);
    assert_true(g->closed);
}

static void head_has_no_body(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, "HEAD /block HTTP/1.1\r\nHost: h\r\n\r\n");
    rig_turn(g);
    assert_int_equal(rig_count(g, "Content-Length: 5\r\n"), 1);
    assert_int_equal(rig_count(g, "hello"), 0);
    assert_int_equal(g->c->state, MC_CONN_IDLE);
}

/* ---- draining ---- */

static void drain_serves_once_more(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, GET("/"));
    rig_turn(g);
    mc_worker_drain(&g->w);
    rig_pass(g, 500);
    assert_false(g->closed);
    rig_sendz(g, GET("/block"));
    rig_turn(g);
    assert_int_equal(rig_count(g, "HTTP/1.1 200"), 2);
    assert_int_equal(rig_count(g, "Connection: close"), 1);
    rig_pass(g, 100);
    assert_true(g->closed);
    assert_true(g->w.stopped);
}

static void drain_ends_idle_connections(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, GET("/"));
    rig_turn(g);
    mc_worker_drain(&g->w);
    rig_pass(g, 1100);
    rig_pass(g, 100);
    assert_true(g->closed);
    assert_true(g->w.stopped);
}

static void drain_has_a_limit(void **state)
{
    struct rig *g = *state;
    big_size = 1000000;
    g->room = 100;
    rig_sendz(g, GET("/big"));
    rig_turn(g);
    mc_worker_drain(&g->w);
    for (int i = 0; i < 40 && !g->w.stopped; i++) {
        rig_pass(g, 1000);
        rig_more_room(g, 1);
    }
    assert_true(g->w.stopped);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static int listening(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0 && listen(fd, 8) == 0);
    return fd;
}

/* A further socket comes: to a worker that leaves already, and to one that is left by the other program of an upgrade, too. */
static void sockets_to_be_emptied(void **state)
{
    struct rig *g = *state;
    struct mc_listener places[1 + MC_WORKER_EXTRAS] = { { .worker = &g->w, .conf = &g->listen, .io.fd = -1, .done = true } };
    struct mc_listener *own = g->w.listeners;
    g->listen.addr.fd = -1;
    g->w.listeners = places;
    g->w.nlisteners = 1;
    int ours = listening(), shared = listening(), late = listening();
    mc_worker_empty(&g->w, 0, ours, false);
    mc_worker_empty(&g->w, 0, shared, true);
    rig_turn(g);
    assert_int_equal(g->w.nlisteners, 3);
    mc_worker_drain(&g->w);
    assert_true(is_open(ours));
    assert_false(is_open(shared));
    mc_worker_empty(&g->w, 0, late, false);
    rig_turn(g);
    assert_int_equal(g->w.nlisteners, 3);
    assert_false(is_open(late));
    mc_worker_close_listener(&places[1]);
    g->w.listeners = own;
    g->w.nlisteners = 0;
}

static void counters(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, GET("/") GET("/block"));
    rig_turn(g);
    assert_int_equal(mc_slot_get(g->slot.requests), 2);
    assert_int_equal(mc_slot_get(g->slot.status[2]), 2);
    assert_int_equal(mc_slot_get(g->slot.connections), 1);
    assert_int_equal(mc_slot_get(g->slot.bytes_out), g->out_len);
    assert_int_equal(mc_slot_get(g->slot.state), MC_SLOT_IDLE);
    assert_int_equal(mc_slot_get(g->slot.busy_since_ms), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(whole), CASE(byte_by_byte), CASE(again_between_bytes), CASE(close_is_kept), CASE(end_travels_with_the_last_bytes), CASE(half_closed_client_is_answered),
        CASE(cut_body_never_reaches_the_handler), CASE(bad_input_after_good), CASE(large_body_goes_to_a_file), CASE(body_limit),
        CASE(chunked_body_limit), CASE(expect_continue), CASE(expect_but_too_large), CASE(handler_ends_before_its_client),
        CASE(send_timeout_closes), CASE(single_bytes_do_not_prolong_it_for_ever), CASE(dripping_body_408), CASE(dripping_streamed_body_408), CASE(loop_handler_pauses), CASE(client_of_a_paused_handler_leaves),
        CASE(streamed_body_has_back_pressure), CASE(idle_connections_end), CASE(request_in_the_last_moment_is_served),
        CASE(slow_head_408), CASE(slow_body_408), CASE(slow_streamed_body_408), CASE(body_that_nobody_wants_has_time),
        CASE(silent_client_is_dropped), CASE(lingering_is_bounded),
        CASE(failure_in_the_middle_cuts), CASE(cut_without_framing_resets), CASE(short_response_closes), CASE(long_response_is_cut),
        CASE(head_has_no_body), CASE(drain_serves_once_more), CASE(drain_ends_idle_connections), CASE(drain_has_a_limit), CASE(sockets_to_be_emptied),
        CASE(counters),
    };
    mc_log_init(2, MC_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
