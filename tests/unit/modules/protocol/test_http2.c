/* HTTP/2 through the whole engine, over the scripted transport and the fake clock, with nghttp2 as the client: each exchange whole, byte by byte, and with
 * "again" between bytes. What single frames do is tested from outside (tests/integration/http2). */
#include "tests/unit/lib/rig.h"

#include <nghttp2/nghttp2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

enum { STREAMS = 64 };

struct answer {
    int status;
    unsigned interim;
    size_t n;
    char body[64]; /* its beginning */
    char trailer[64];
    bool over;
    uint32_t code;
};

static struct {
    struct rig g;
    nghttp2_session *ng;
    size_t fed; /* of what the server has sent */
    struct answer answers[STREAMS];
    unsigned goaways;
    int32_t last_stream;
    uint32_t goaway_code;
    size_t left; /* of the request body that is being sent */
} it;

/* ---- handlers */

static int hello(struct mc_request *r)
{
    return mc_response_begin(r, 200, MC_STR_NONE) == MC_OK ? mc_response_end(r, "hello", 5) : MC_ERROR;
}

static int count_body(struct mc_request *r)
{
    char buf[4096], text[24];
    size_t n = 0;
    ssize_t got;
    while ((got = mc_body_read(r, buf, sizeof buf)) > 0)
        n += (size_t)got;
    if (got < 0 || mc_response_begin(r, 200, MC_STR_NONE) != MC_OK)
        return MC_ERROR;
    return mc_response_end(r, text, mc_str_u64(text, n));
}

static int big(struct mc_request *r)
{
    char piece[10000];
    memset(piece, 'b', sizeof piece);
    mc_response_begin(r, 200, MC_STR_NONE);
    for (int i = 0; i < 20; i++) {
        if (mc_response_write(r, piece, sizeof piece) != MC_OK)
            return MC_ERROR;
    }
    mc_response_trailer(r, MC_STR("X-Sum"), MC_STR("20"));
    return mc_response_end(r, NULL, 0);
}

static int early(struct mc_request *r)
{
    struct mc_fields f = {.n = 0};
    mc_fields_add(&f, &r->arena, MC_STR("Link"), MC_STR("</a>"));
    return mc_response_interim(r, 103, &f) == MC_OK ? hello(r) : MC_ERROR;
}

static unsigned aborted;
static int forever(struct mc_request *r)
{
    (void)r;
    return MC_OK;
}
static void gone(struct mc_request *r)
{
    (void)r;
    aborted++;
}

static const struct mc_handler_ops loop_hello = {.body = MC_BODY_DISCARD, .start = hello};
static const struct mc_handler_ops blocking_count = {.needs = MC_NEED_BLOCKING, .body = MC_BODY_BUFFERED, .start = count_body};
static const struct mc_handler_ops blocking_big = {.needs = MC_NEED_BLOCKING, .body = MC_BODY_BUFFERED, .start = big};
static const struct mc_handler_ops loop_early = {.body = MC_BODY_DISCARD, .start = early};
static const struct mc_handler_ops loop_forever = {.body = MC_BODY_DISCARD, .start = forever, .abort = gone};

/* ---- the client */

static struct answer *answer(int32_t stream)
{
    assert_true(stream / 2 < STREAMS);
    return &it.answers[stream / 2];
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *f, const uint8_t *name, size_t n, const uint8_t *value, size_t m, uint8_t flags, void *user)
{
    struct answer *a = answer(f->hd.stream_id);
    (void)ng, (void)flags, (void)user;
    if (n == 7 && memcmp(name, ":status", 7) == 0) {
        a->status = atoi((const char *)value);
        a->interim += a->status < 200;
    } else if (f->headers.cat == NGHTTP2_HCAT_HEADERS && a->n > 0) {
        snprintf(a->trailer, sizeof a->trailer, "%.*s=%.*s", (int)n, (const char *)name, (int)m, (const char *)value);
    }
    return 0;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t stream, const uint8_t *p, size_t n, void *user)
{
    struct answer *a = answer(stream);
    (void)ng, (void)flags, (void)user;
    for (size_t i = 0; i < n && a->n + i < sizeof a->body - 1; i++)
        a->body[a->n + i] = (char)p[i];
    a->n += n;
    return 0;
}

static int on_close(nghttp2_session *ng, int32_t stream, uint32_t code, void *user)
{
    (void)ng, (void)user;
    answer(stream)->over = true;
    answer(stream)->code = code;
    return 0;
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *f, void *user)
{
    (void)ng, (void)user;
    if (f->hd.type == NGHTTP2_GOAWAY) {
        it.goaways++;
        it.last_stream = f->goaway.last_stream_id;
        it.goaway_code = f->goaway.error_code;
    }
    return 0;
}

static ssize_t more_body(nghttp2_session *ng, int32_t stream, uint8_t *p, size_t n, uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)ng, (void)stream, (void)source, (void)user;
    if (it.left == SIZE_MAX)
        return NGHTTP2_ERR_DEFERRED;
    n = n < it.left ? n : it.left;
    memset(p, 'u', n);
    it.left -= n;
    if (it.left == 0)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

/* Both sides talk until nothing moves. */
static void talk(void)
{
    for (int idle = 0; idle < 3;) {
        const uint8_t *p;
        ssize_t n;
        bool moved = false;
        while ((n = nghttp2_session_mem_send(it.ng, &p)) > 0) {
            rig_send(&it.g, (const char *)p, (size_t)n);
            moved = true;
        }
        rig_turn(&it.g);
        n = (ssize_t)(it.g.out_len - it.fed);
        if (n > 0) {
            assert_int_equal(nghttp2_session_mem_recv(it.ng, (uint8_t *)it.g.out + it.fed, (size_t)n), n);
            it.fed += (size_t)n;
            moved = true;
        }
        idle = moved ? 0 : idle + 1;
    }
}

static void client_open(uint32_t window)
{
    nghttp2_session_callbacks *cb;
    nghttp2_settings_entry v = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window};
    assert_int_equal(nghttp2_session_callbacks_new(&cb), 0);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    assert_int_equal(nghttp2_session_client_new(&it.ng, cb, NULL), 0);
    nghttp2_session_callbacks_del(cb);
    nghttp2_submit_settings(it.ng, NGHTTP2_FLAG_NONE, &v, 1);
    nghttp2_session_set_local_window_size(it.ng, NGHTTP2_FLAG_NONE, 0, 1 << 24);
}

static void start(uint32_t window, size_t per_recv, bool again)
{
    memset(&it, 0, sizeof it);
    aborted = 0;
    rig_open(&it.g);
    it.g.server.set.http2_cleartext = "prior-knowledge";
    rig_route(&it.g, "/hello", &loop_hello);
    rig_route(&it.g, "/count", &blocking_count);
    rig_route(&it.g, "/big", &blocking_big);
    rig_route(&it.g, "/early", &loop_early);
    rig_route(&it.g, "/forever", &loop_forever);
    rig_connect(&it.g);
    it.g.per_recv = per_recv;
    it.g.again = again;
    assert_int_equal(write(it.g.peer_fd, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN), NGHTTP2_CLIENT_MAGIC_LEN); /* to be looked at */
    client_open(window);
    talk();
    assert_non_null(it.g.c);
    assert_int_equal(it.g.c->state, MC_CONN_CARRY);
}

static void stop(void)
{
    nghttp2_session_del(it.ng);
    rig_close(&it.g);
}

static int32_t ask(const char *method, const char *path, size_t body)
{
#define PAIR(n, v) {(uint8_t *)(uintptr_t)(n), (uint8_t *)(uintptr_t)(v), strlen(n), strlen(v), NGHTTP2_NV_FLAG_NONE}
    const nghttp2_nv v[] = {PAIR(":method", method), PAIR(":scheme", "http"), PAIR(":path", path), PAIR(":authority", "rig")};
    nghttp2_data_provider data = {.read_callback = more_body};
    it.left = body;
    int32_t stream = nghttp2_submit_request(it.ng, NULL, v, MC_COUNT(v), body ? &data : NULL, NULL);
    assert_true(stream > 0);
    return stream;
}

static void check(int32_t stream, int status, const char *body, size_t n)
{
    const struct answer *a = answer(stream);
    assert_true(a->over);
    assert_int_equal(a->code, 0);
    assert_int_equal(a->status, status);
    assert_int_equal(a->n, n);
    assert_memory_equal(a->body, body, strlen(body));
}

/* ---- tests */

static void exchanges(size_t per_recv, bool again)
{
    start(65535, per_recv, again);
    int32_t first = ask("GET", "/hello", 0), head = ask("HEAD", "/hello", 0), none = ask("GET", "/none", 0), hints = ask("GET", "/early", 0);
    talk();
    check(first, 200, "hello", 5);
    check(head, 200, "", 0);
    assert_int_equal(answer(none)->status, 404);
    check(hints, 200, "hello", 5);
    assert_int_equal(answer(hints)->interim, 1);
    int32_t post = ask("POST", "/count", 100000);
    talk();
    check(post, 200, "100000", 6);
    int32_t large = ask("GET", "/big", 0), beside = ask("GET", "/hello", 0);
    talk();
    check(large, 200, "bbbb", 200000);
    assert_string_equal(answer(large)->trailer, "x-sum=20");
    check(beside, 200, "hello", 5);
    assert_int_equal(it.g.w.nconns, 1);
    assert_int_equal(it.g.w.nqueued, 0);
    stop();
}

static void whole(void **state)
{
    (void)state;
    exchanges(0, false);
}

static void byte_by_byte(void **state)
{
    (void)state;
    exchanges(1, false);
}

static void with_again_between(void **state)
{
    (void)state;
    exchanges(1, true);
}

static void a_socket_that_takes_little(void **state)
{
    (void)state;
    start(65535, 0, false);
    int32_t large = ask("GET", "/big", 0);
    it.g.room = 0;
    talk();
    for (int i = 0; i < 10000 && !answer(large)->over; i++) {
        rig_more_room(&it.g, 100);
        talk();
    }
    check(large, 200, "bbbb", 200000);
    stop();
}

static void who_takes_nothing_loses_the_stream(void **state)
{
    (void)state;
    start(100, 0, false);
    nghttp2_session_set_local_window_size(it.ng, NGHTTP2_FLAG_NONE, 0, 1 << 20);
    int32_t hello_one = ask("GET", "/hello", 0), slow = ask("POST", "/count", SIZE_MAX);
    talk();
    check(hello_one, 200, "hello", 5);
    assert_false(answer(slow)->over);
    rig_pass(&it.g, 20001); /* body_timeout */
    talk();
    assert_int_equal(answer(slow)->status, 408);
    assert_non_null(it.g.c);
    stop();
}

static void idle_connections_are_told(void **state)
{
    (void)state;
    start(65535, 0, false);
    int32_t one = ask("GET", "/hello", 0);
    talk();
    rig_pass(&it.g, 5001); /* keepalive */
    talk();
    assert_int_equal(it.goaways, 1);
    assert_int_equal(it.last_stream, 0x7fffffff);
    rig_pass(&it.g, 1001);
    rig_turn(&it.g); /* nghttp2 listens no more: it has no stream and knows of the end */
    const unsigned char away[17] = {0, 0, 8, NGHTTP2_GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, (unsigned char)one, 0, 0, 0, 0};
    assert_memory_equal(it.g.out + it.g.out_len - sizeof away, away, sizeof away);
    assert_true(it.g.was_shutdown || it.g.closed);
    stop();
}

static void a_drain_waits_for_streams(void **state)
{
    (void)state;
    start(65535, 0, false);
    int32_t open_one = ask("POST", "/count", SIZE_MAX);
    talk();
    mc_worker_drain(&it.g.w);
    talk();
    assert_int_equal(it.goaways, 1);
    rig_pass(&it.g, 1001);
    talk();
    assert_int_equal(it.goaways, 2);
    assert_int_equal(it.last_stream, open_one);
    assert_non_null(it.g.c);
    it.left = 7;
    nghttp2_session_resume_data(it.ng, open_one);
    talk();
    check(open_one, 200, "7", 1);
    assert_true(it.g.c == NULL || it.g.was_shutdown);
    stop();
}

static void handlers_learn_of_the_end(void **state)
{
    (void)state;
    start(65535, 0, false);
    int32_t one = ask("GET", "/forever", 0), two = ask("GET", "/forever", 0);
    talk();
    nghttp2_submit_rst_stream(it.ng, NGHTTP2_FLAG_NONE, one, NGHTTP2_CANCEL);
    talk();
    assert_int_equal(aborted, 1);
    assert_non_null(it.g.c);
    assert_false(answer(two)->over);
    it.g.eof = true;
    rig_turn(&it.g);
    assert_int_equal(aborted, 2);
    assert_null(it.g.c);
    assert_int_equal(it.g.w.nconns, 0);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole),
        cmocka_unit_test(byte_by_byte),
        cmocka_unit_test(with_again_between),
        cmocka_unit_test(a_socket_that_takes_little),
        cmocka_unit_test(who_takes_nothing_loses_the_stream),
        cmocka_unit_test(idle_connections_are_told),
        cmocka_unit_test(a_drain_waits_for_streams),
        cmocka_unit_test(handlers_learn_of_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
