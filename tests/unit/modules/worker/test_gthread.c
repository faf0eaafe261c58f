/* Worker type gthread with real threads, real sockets and handlers that count: answers, overlap, a stuck handler, the end. Meant for TSan, too. */
#include "tests/unit/lib/rig.h"

#include "core/os/fd.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { THREADS = 3, CLIENTS = 8, ROUNDS = 150, LARGE = 300000 };

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

static atomic_uint inside, most, calls, recycled, failed_calls;

/* ---- handlers ---- */

static void enter(void)
{
    unsigned now = ++inside, before = most;
    calls++;
    while (now > before && !atomic_compare_exchange_weak(&most, &before, now)) {
    }
}

static int answer(struct mc_request *r, const void *p, size_t n)
{
    mc_response_begin(r, 200, MC_STR_NONE);
    int rc = mc_response_end(r, p, n);
    inside--;
    return rc;
}

static int fast(struct mc_request *r)
{
    enter();
    return answer(r, "fast", 4);
}

static void nap(unsigned ms)
{
    struct timespec t = { .tv_nsec = (long) ms * 1000000 };
    nanosleep(&t, NULL);
}

/* Longer than a leader may be inside a call. */
static int slow(struct mc_request *r)
{
    enter();
    nap(12);
    return answer(r, "slow", 4);
}

static int large(struct mc_request *r)
{
    static const char part[LARGE / 3];
    enter();
    mc_response_begin(r, 200, MC_STR_NONE);
    mc_response_length(r, LARGE);
    mc_response_write(r, part, sizeof part);
    mc_response_write(r, part, sizeof part);
    int rc = mc_response_end(r, part, sizeof part);
    inside--;
    return rc;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned guests;
static bool released;

static void wait_released(void)
{
    pthread_mutex_lock(&lock);
    guests++;
    pthread_cond_broadcast(&changed);
    while (!released) {
        pthread_cond_wait(&changed, &lock);
    }
    guests--;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static int hold(struct mc_request *r)
{
    enter();
    wait_released();
    return answer(r, "held", 4);
}

static int stuck(struct mc_request *r)
{
    enter();
    mc_response_begin(r, 200, MC_STR_NONE);
    wait_released();
    failed_calls += mc_response_write(r, "late", 4) == MC_ERROR;
    failed_calls += mc_response_end(r, "late", 4) == MC_ERROR;
    inside--;
    return MC_ERROR;
}

static int on_loop(struct mc_request *r)
{
    mc_response_begin(r, 200, MC_STR_NONE);
    return mc_response_end(r, "loop", 4);
}

static int leave(struct mc_request *r)
{
    mc_worker_ask_retire(r->conn->worker);
    enter();
    return answer(r, "bye", 3);
}

#define BLOCKING(name) static const struct mc_handler_ops do_##name = { .needs = MC_NEED_BLOCKING, .body = MC_BODY_BUFFERED, .start = name }
BLOCKING(fast);
BLOCKING(slow);
BLOCKING(large);
BLOCKING(hold);
BLOCKING(stuck);
BLOCKING(leave);
static const struct mc_handler_ops do_loop = { .body = MC_BODY_DISCARD, .start = on_loop };

static void on_recycle(const char *why)
{
    (void) why;
    recycled++;
}

/* ---- the worker, on a thread of its own, and its clients ---- */

struct site {
    struct rig g;
    pthread_t thread;
    int clients[CLIENTS];
};

static void *serve(void *arg)
{
    struct site *s = arg;
    mc_worker_run(&s->g.w);
    return NULL;
}

static int connected(struct site *s)
{
    int sv[2];
    union mc_sockaddr peer = { .family = AF_UNIX };
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
    assert_int_equal(mc_fd_nonblock(sv[0], true), MC_OK);
    struct mc_conn *c = mc_conn_open(&s->g.w, &s->g.listener, sv[0], &peer, &mc_transport_plain);
    assert_non_null(c);
    mc_conn_step(c);
    return sv[1];
}

static struct site *start(int64_t request_timeout)
{
    struct site *s = calloc(1, sizeof *s);
    struct rig *g = &s->g;
    inside = most = calls = recycled = failed_calls = 0;
    released = false;
    guests = 0;
    rig_worker = "gthread";
    rig_open(g);
    mc_clock_fake(NULL);
    mc_loop_refresh(&g->w.loop);
    g->pool.set.threads = THREADS;
    g->pool.set.request_timeout = request_timeout;
    g->w.ops->stop(&g->w); /* once more, with these settings */
    assert_int_equal(g->w.ops->start(&g->w), MC_OK);
    g->w.recycle = on_recycle;
    rig_route(g, "/slow", &do_slow);
    rig_route(g, "/large", &do_large);
    rig_route(g, "/hold", &do_hold);
    rig_route(g, "/stuck", &do_stuck);
    rig_route(g, "/leave", &do_leave);
    rig_route(g, "/loop", &do_loop);
    rig_route(g, "/", &do_fast);
    for (int i = 0; i < CLIENTS; i++) {
        s->clients[i] = connected(s);
    }
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
    return s;
}

static void ask(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* One whole response with a Content-Length: its status; *length: the body's. 0: closed. */
static int read_response(int fd, size_t *length)
{
    char head[4096];
    size_t n = 0;
    while (n < 4 || memcmp(head + n - 4, "\r\n\r\n", 4) != 0) {
        ssize_t got = n < sizeof head - 1 ? recv(fd, head + n, 1, 0) : 0;
        if (got <= 0) {
            return 0;
        }
        n++;
    }
    head[n] = '\0';
    const char *at = strstr(head, "Content-Length: ");
    *length = at ? strtoul(at + 16, NULL, 10) : 0;
    for (size_t left = *length; left > 0;) {
        char body[8192];
        ssize_t got = recv(fd, body, left < sizeof body ? left : sizeof body, 0);
        if (got <= 0) {
            return 0;
        }
        left -= (size_t) got;
    }
    return atoi(head + 9);
}

static void expect(int fd, int status, size_t length)
{
    size_t n;
    assert_int_equal(read_response(fd, &n), status);
    if (length) {
        assert_int_equal(n, length);
    }
}

static void end(struct site *s, int fd)
{
    if (fd >= 0) {
        ask(fd, GET("/leave"));
        expect(fd, 200, 3);
    }
    for (int i = 0; i < CLIENTS; i++) {
        close(s->clients[i]);
    }
    pthread_join(s->thread, NULL);
    assert_int_equal(inside, 0);
    assert_int_equal(s->g.w.nrunning + s->g.w.nstuck, 0);
    rig_close(&s->g);
    free(s);
}

static void release(void)
{
    pthread_mutex_lock(&lock);
    released = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void wait_guests(unsigned n)
{
    pthread_mutex_lock(&lock);
    while (guests != n) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
}

/* ---- tests ---- */

struct client {
    pthread_t thread;
    int fd;
    unsigned number, good;
};

static void *run_client(void *arg)
{
    struct client *c = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        const char *what = (i + c->number) % 29 == 0 ? GET("/slow") : (i + c->number) % 7 == 0 ? GET("/large") : i % 3 == 0 ? GET("/loop") : GET("/");
        size_t length, want = strstr(what, "large") ? LARGE : 4;
        if (send(c->fd, what, strlen(what), MSG_NOSIGNAL) != (ssize_t) strlen(what)) {
            break;
        }
        c->good += read_response(c->fd, &length) == 200 && length == want;
    }
    return NULL;
}

static void test_all_kinds_at_once(void **state)
{
    (void) state;
    struct site *s = start(0);
    struct client clients[CLIENTS];
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){ .fd = s->clients[i], .number = i };
        assert_int_equal(pthread_create(&clients[i].thread, NULL, run_client, &clients[i]), 0);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i].thread, NULL);
        assert_int_equal(clients[i].good, ROUNDS);
    }
    assert_in_range(most, 1, THREADS);
    assert_int_equal(mc_slot_get(s->g.slot.requests), CLIENTS * ROUNDS);
    end(s, s->clients[0]);
}

static void test_overlap_and_the_loop_goes_on(void **state)
{
    (void) state;
    struct site *s = start(0);
    for (int round = 0; round < 10; round++) {
        pthread_mutex_lock(&lock);
        released = false;
        pthread_mutex_unlock(&lock);
        for (int i = 0; i < THREADS; i++) {
            ask(s->clients[i], GET("/hold"));
        }
        wait_guests(THREADS);
        ask(s->clients[THREADS], GET("/loop"));
        expect(s->clients[THREADS], 200, 4);
        ask(s->clients[THREADS + 1], GET("/hold")); /* waits for its turn */
        ask(s->clients[THREADS], GET("/loop"));
        expect(s->clients[THREADS], 200, 4);
        assert_int_equal(most, THREADS);
        release();
        for (int i = 0; i < THREADS; i++) {
            expect(s->clients[i], 200, 4);
        }
        expect(s->clients[THREADS + 1], 200, 4);
        wait_guests(0);
        for (int i = 0; i < 20; i++) { /* short calls again: the leader makes them itself */
            ask(s->clients[0], GET("/"));
            expect(s->clients[0], 200, 4);
        }
    }
    assert_int_equal(most, THREADS);
    end(s, s->clients[0]);
}

/* The loop is idle for so long that nobody watches; then a first call is long. */
static void test_a_long_call_after_a_rest(void **state)
{
    (void) state;
    struct site *s = start(0);
    ask(s->clients[0], GET("/"));
    expect(s->clients[0], 200, 4);
    for (int i = 0; i < 2; i++) {
        nap(350);
        pthread_mutex_lock(&lock);
        released = false;
        pthread_mutex_unlock(&lock);
        ask(s->clients[0], GET("/hold"));
        wait_guests(1);
        ask(s->clients[1], GET("/loop"));
        expect(s->clients[1], 200, 4);
        release();
        expect(s->clients[0], 200, 4);
        wait_guests(0);
    }
    end(s, s->clients[1]);
}

static void test_a_stuck_request_is_taken_away(void **state)
{
    (void) state;
    struct site *s = start(300);
    ask(s->clients[0], GET("/stuck"));
    ask(s->clients[1], GET("/stuck"));
    expect(s->clients[0], 504, 0);
    expect(s->clients[1], 504, 0);
    for (int i = 0; i < 50; i++) { /* the thread that is left serves on */
        ask(s->clients[2], GET("/"));
        expect(s->clients[2], 200, 4);
    }
    assert_int_equal(recycled, 1);
    release();
    wait_guests(0);
    ask(s->clients[2], GET("/large"));
    expect(s->clients[2], 200, LARGE);
    end(s, s->clients[2]);
    assert_int_equal(failed_calls, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_kinds_at_once),
        cmocka_unit_test(test_overlap_and_the_loop_goes_on),
        cmocka_unit_test(test_a_long_call_after_a_rest),
        cmocka_unit_test(test_a_stuck_request_is_taken_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
