/* Loans with the borrower played by the test: what the loop may take away, when, and what the borrower may still touch. Then recycling and the
 * bound on connections. */
#include "tests/unit/lib/rig.h"

#include "core/os/fd.h"
#include "core/server/filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

enum { LIMIT_MS = 2000 };

/* ---- a worker type whose requests wait for the test ---- */

static unsigned the_room;

static unsigned room(struct mc_worker *w)
{
    return the_room - w->nrunning;
}

static void no_serve(struct mc_worker *w)
{
    (void) w;
}

static int no_wait(struct mc_request *r, unsigned what, uint64_t deadline)
{
    (void) r;
    (void) what;
    (void) deadline;
    return MC_AGAIN;
}

static void no_stop(struct mc_worker *w)
{
    (void) w;
}

static const struct mc_worker_ops lender = { .name = "lender", .room = room, .serve = no_serve, .wait = no_wait, .stop = no_stop };

static int never(struct mc_request *r)
{
    (void) r;
    fail_msg("the test plays the handler");
    return MC_ERROR;
}
static const struct mc_handler_ops blocking = { .needs = MC_NEED_BLOCKING, .body = MC_BODY_BUFFERED, .start = never };

/* A loop handler that begins, or does not, and never ends. */
static unsigned aborted;
static bool begins;
static int linger_on(struct mc_request *r)
{
    if (begins) {
        mc_response_begin(r, 200, MC_STR_NONE);
        mc_response_length(r, 100);
        mc_response_write(r, "begun", 5);
        mc_response_flush(r);
    }
    return MC_OK;
}
static void on_abort(struct mc_request *r)
{
    (void) r;
    aborted++;
}
static const struct mc_handler_ops looping = { .body = MC_BODY_DISCARD, .start = linger_on, .abort = on_abort };

static unsigned recycled;
static const char *recycled_why;
static void on_recycle(const char *why)
{
    recycled++;
    recycled_why = why;
}

static unsigned dumped;
static void on_dump(struct mc_request *r)
{
    (void) r;
    dumped++;
}

static int setup(void **state)
{
    struct rig *g = malloc(sizeof *g);
    rig_open(g);
    g->w.ops = &lender;
    g->w.recycle = on_recycle;
    g->w.dump = on_dump;
    g->pool.set.request_timeout = LIMIT_MS;
    rig_route(g, "/loop", &looping);
    rig_route(g, "/", &blocking);
    rig_connect(g);
    the_room = 4;
    recycled = dumped = aborted = 0;
    recycled_why = "";
    begins = false;
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    rig_close(*state);
    free(*state);
    return 0;
}

/* The next request, lent to the test. */
static struct mc_request *borrow(struct rig *g)
{
    rig_turn(g);
    struct mc_request *r = mc_worker_next(&g->w);
    assert_non_null(r);
    mc_request_lend(r);
    r->runner = 0;
    return r;
}

static void late(struct rig *g)
{
    rig_now += LIMIT_MS + 1;
    mc_loan_check(&g->w);
}

/* All that a borrower may still do. */
static void all_fails(struct mc_request *r)
{
    char buf[8];
    struct mc_file *file = NULL;
    assert_int_equal(mc_response_begin(r, 200, MC_STR_NONE), MC_ERROR);
    assert_int_equal(mc_response_field(r, MC_STR("A"), MC_STR("b")), MC_ERROR);
    assert_int_equal(mc_response_known(r, &(struct mc_field){ .name = MC_STR("A"), .value = MC_STR("b") }), MC_ERROR);
    assert_int_equal(mc_response_head(r), MC_ERROR);
    assert_int_equal(mc_response_write(r, "late", 4), MC_ERROR);
    assert_int_equal(mc_response_file(r, file, 0, 1), MC_ERROR);
    assert_int_equal(mc_response_interim(r, 103, NULL), MC_ERROR);
    assert_int_equal(mc_response_flush(r), MC_ERROR);
    assert_int_equal(mc_response_error(r, 500), MC_ERROR);
    assert_int_equal(mc_response_end(r, "late", 4), MC_ERROR);
    mc_response_abort(r);
    assert_int_equal(mc_body_read(r, buf, sizeof buf), MC_ERROR);
}

static void test_in_time(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, GET("/") GET("/"));
    for (int i = 0; i < 2; i++) {
        struct mc_request *r = borrow(g);
        rig_now += LIMIT_MS - 1;
        mc_loan_check(&g->w);
        assert_int_equal(mc_response_begin(r, 200, MC_STR_NONE), MC_OK);
        assert_int_equal(mc_response_end(r, "done", 4), MC_OK);
        mc_request_return(r);
    }
    rig_turn(g);
    assert_int_equal(rig_count(g, "HTTP/1.1 200 OK"), 2);
    assert_int_equal(recycled + dumped, 0);
    assert_false(g->closed);
}

static void test_taken_away_before_the_head(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, GET("/slow?really") GET("/next"));
    struct mc_request *r = borrow(g);
    mc_response_begin(r, 200, MC_STR_NONE);
    late(g);
    assert_int_equal(rig_count(g, "HTTP/1.1 504 Gateway Timeout"), 1);
    assert_int_equal(rig_count(g, "Connection: close"), 1);
    assert_int_equal(dumped, 1);
    assert_int_equal(recycled, 1);
    assert_string_equal(recycled_why, "a request is stuck");
    assert_int_equal(g->w.nstuck, 1);
    assert_int_equal(g->w.nrunning, 0);
    assert_int_equal(mc_slot_get(g->slot.busy_since_ms), 0);
    g->eof = true;
    rig_turn(g);
    assert_true(g->closed);
    assert_int_equal(g->w.nconns, 0);
    all_fails(r);
    assert_true(mc_str_eq(r->head.target, MC_STR("/slow?really"))); /* its own memory is still there */
    assert_true(mc_str_eq(mc_conn_peer(r->conn), MC_STR("")));
    mc_request_return(r);
    assert_int_equal(g->w.nstuck, 0);
    assert_int_equal(rig_count(g, "HTTP/1.1"), 1);
    assert_int_equal(mc_slot_get(g->slot.status[5]), 1);
}

static unsigned entered, left;
static int on_enter(struct mc_request *r, void *data)
{
    (void) r;
    (void) data;
    entered++;
    return MC_OK;
}
static void on_leave(struct mc_request *r, void *data)
{
    assert_true(mc_str_eq(r->head.method, MC_STR("GET"))); /* what it may look at is still there */
    (void) data;
    left++;
}
static const struct mc_filter_ops counter = { .phase = MC_FILTER_LIMIT, .access = on_enter, .leave = on_leave };

/* What a filter holds for a request (a place under a limit) is given back when the borrower comes back, once, and not before: he still runs. */
static void test_filters_are_left_when_the_borrower_is_back(void **state)
{
    struct rig *g = *state;
    struct mc_filter_use use = { &counter, NULL };
    for (unsigned i = 0; i < g->server.nroutes; i++) {
        g->routes[i].filters = &use;
        g->routes[i].nfilters = 1;
    }
    entered = left = 0;
    rig_sendz(g, GET("/"));
    struct mc_request *r = borrow(g);
    assert_int_equal(entered, 1);
    late(g);
    assert_int_equal(rig_count(g, "HTTP/1.1 504"), 1);
    g->eof = true;
    rig_turn(g);
    assert_true(g->closed);
    assert_int_equal(left, 0);
    mc_request_return(r);
    assert_int_equal(entered, 1);
    assert_int_equal(left, 1);
}

static void test_back_before_the_connection_has_ended(void **state)
{
    struct rig *g = *state;
    g->room = 0; /* the client reads nothing, so the 504 waits */
    rig_sendz(g, GET("/"));
    struct mc_request *r = borrow(g);
    late(g);
    assert_false(g->closed);
    all_fails(r);
    mc_request_return(r);
    rig_more_room(g, 1 << 20);
    assert_int_equal(rig_count(g, "HTTP/1.1 504"), 1);
    g->eof = true;
    rig_turn(g);
    assert_true(g->closed);
}

static void test_taken_away_after_the_head(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, GET("/"));
    struct mc_request *r = borrow(g);
    mc_response_begin(r, 200, MC_STR_NONE);
    assert_int_equal(mc_response_write(r, "a part", 6), MC_OK);
    assert_int_equal(mc_response_flush(r), MC_OK);
    late(g);
    assert_true(g->closed);
    assert_true(g->was_reset);
    assert_int_equal(rig_count(g, "504"), 0);
    assert_int_equal(rig_count(g, "\r\n0\r\n"), 0);
    assert_int_equal(mc_slot_get(g->slot.status[2]) + mc_slot_get(g->slot.status[0]), 1);
    all_fails(r);
    mc_request_return(r);
    assert_int_equal(g->w.nstuck, 0);
}

static void test_not_inside_a_call(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, GET("/"));
    struct mc_request *r = borrow(g);
    assert_true(mc_loan_enter(r));
    assert_true(mc_loan_enter(r));
    late(g);
    assert_int_equal(dumped, 0);
    mc_loan_leave(r);
    mc_loan_check(&g->w);
    assert_int_equal(dumped, 0); /* calls nest */
    mc_loan_leave(r);
    mc_loan_check(&g->w);
    assert_int_equal(dumped, 1);
    assert_false(mc_loan_enter(r));
    mc_request_return(r);
}

static int prompt(struct mc_request *r)
{
    mc_response_begin(r, 200, MC_STR_NONE);
    return mc_response_end(r, "late, but whole", 15);
}
static const struct mc_handler_ops answers = { .needs = MC_NEED_BLOCKING, .body = MC_BODY_BUFFERED, .start = prompt };

static void test_not_once_the_handler_has_ended(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, GET("/"));
    struct mc_request *r = borrow(g);
    r->handler = &answers;
    mc_request_execute(r);
    late(g); /* it is on its way back */
    assert_int_equal(dumped + recycled, 0);
    mc_request_return(r);
    rig_turn(g);
    assert_int_equal(rig_count(g, "late, but whole"), 1);
    assert_false(g->closed);
}

static void test_only_the_late_ones(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, GET("/old"));
    struct mc_request *old = borrow(g);
    rig_now += LIMIT_MS;
    free(g->in);
    g->in = NULL;
    g->in_len = g->in_pos = 0;
    rig_connect(g);
    rig_sendz(g, GET("/young"));
    struct mc_request *young = borrow(g);
    assert_string_equal(g->slot.busy, "GET /old");
    rig_now += 1;
    mc_loan_check(&g->w);
    assert_int_equal(dumped, 1);
    assert_string_equal(g->slot.busy, "GET /young");
    assert_int_equal(mc_response_begin(young, 200, MC_STR_NONE), MC_OK);
    assert_int_equal(mc_response_end(young, NULL, 0), MC_OK);
    mc_request_return(young);
    mc_request_return(old);
    assert_int_equal(recycled, 1);
}

static void test_a_wait_for_the_client_ends_with_the_request(void **state)
{
    struct rig *g = *state;
    g->server.set.response_buffer = g->server.set.response_buffer_file = 1000;
    for (unsigned i = 0; i < g->server.nroutes; i++) {
        g->routes[i].set = g->server.set;
    }
    g->room = 0;
    rig_sendz(g, GET("/"));
    struct mc_request *r = borrow(g);
    assert_int_equal(mc_loan_wait_until(r), r->run_us / 1000 + LIMIT_MS);
    char *large = calloc(1, 100000);
    mc_response_begin(r, 200, MC_STR_NONE);
    rig_now += LIMIT_MS;
    assert_int_equal(mc_response_write(r, large, 100000), MC_ERROR);
    free(large);
    mc_request_result(r, MC_ERROR);
    mc_request_return(r);
    assert_true(g->closed);
    g->pool.set.request_timeout = 0;
}

static void test_loop_handlers(void **state)
{
    struct rig *g = *state;
    rig_sendz(g, GET("/loop"));
    rig_turn(g);
    rig_pass(g, LIMIT_MS - 1000);
    assert_int_equal(aborted, 0);
    rig_pass(g, 1001);
    rig_pass(g, 1001); /* looked at once a second */
    assert_int_equal(aborted, 1);
    assert_int_equal(rig_count(g, "HTTP/1.1 504"), 1);
    assert_int_equal(recycled, 0);
}

static void test_loop_handlers_that_have_begun(void **state)
{
    struct rig *g = *state;
    begins = true;
    rig_sendz(g, GET("/loop"));
    rig_turn(g);
    assert_int_equal(rig_count(g, "begun"), 1);
    rig_pass(g, LIMIT_MS + 1);
    rig_pass(g, 1001);
    g->eof = true;
    rig_turn(g);
    assert_int_equal(aborted, 1);
    assert_true(g->closed);
    assert_int_equal(rig_count(g, "HTTP/1.1"), 1);
}

/* ---- recycling ---- */

static void serve_one(struct rig *g)
{
    rig_sendz(g, GET("/"));
    struct mc_request *r = borrow(g);
    mc_response_begin(r, 200, MC_STR_NONE);
    mc_response_end(r, NULL, 0);
    mc_request_return(r);
    mc_worker_clock(&g->w);
}

static void test_max_requests(void **state)
{
    struct rig *g = *state;
    g->pool.set.max_requests = 3;
    mc_recycle_init(&g->w);
    assert_int_equal(g->w.retire_requests, 3);
    for (unsigned i = 1; i <= 6; i++) {
        serve_one(g);
        assert_int_equal(recycled, i >= 3); /* asked once; it serves on until it is told to leave */
    }
    assert_string_equal(recycled_why, "max_requests");
    assert_false(g->w.draining);
}

static void test_jitter(void **state)
{
    struct rig *g = *state;
    bool seen[4] = { false };
    g->pool.set.max_requests = 100;
    g->pool.set.max_requests_jitter = 3;
    for (int i = 0; i < 400; i++) {
        mc_recycle_init(&g->w);
        assert_in_range(g->w.retire_requests, 100, 103);
        seen[g->w.retire_requests - 100] = true;
    }
    assert_true(seen[0] && seen[1] && seen[2] && seen[3]);
    g->pool.set.max_requests = 0;
    mc_recycle_init(&g->w);
    assert_int_equal(g->w.retire_requests, 0);
}

static void test_max_lifetime_and_max_rss(void **state)
{
    struct rig *g = *state;
    mc_recycle_check(&g->w);
    assert_int_equal(recycled, 0);
    g->pool.set.max_lifetime = 5000;
    rig_pass(g, 4999);
    assert_int_equal(recycled, 0);
    rig_pass(g, 1001);
    assert_string_equal(recycled_why, "max_lifetime");
    g->w.recycling = false;
    g->pool.set.max_lifetime = 0;
    g->pool.set.max_rss = 4096;
    mc_recycle_check(&g->w);
    assert_string_equal(recycled_why, "max_rss");
    assert_int_equal(recycled, 2);
    mc_recycle_check(&g->w);
    assert_int_equal(recycled, 2);
}

static void test_without_an_arbiter(void **state)
{
    struct rig *g = *state;
    g->w.recycle = NULL;
    mc_worker_recycle(&g->w, "test");
    assert_true(g->w.draining);
    serve_one(g);
    assert_int_equal(rig_count(g, "Connection: close"), 1);
    g->eof = true;
    rig_turn(g);
    rig_pass(g, 1000);
    rig_pass(g, 1000);
    assert_true(g->w.stopped);
}

/* ---- worker_connections ---- */

enum { CLIENTS = 8, MOST = 3 };

static int listen_somewhere(struct sockaddr_un *a, socklen_t *n)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    memset(a, 0, sizeof *a);
    a->sun_family = AF_UNIX;
    *n = sizeof *a;
    assert_int_equal(bind(fd, (struct sockaddr *) a, sizeof(sa_family_t)), 0); /* the kernel picks an abstract name */
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *) a, n), 0);
    return fd;
}

static void test_never_more_connections(void **state)
{
    struct rig *g = *state;
    struct sockaddr_un a;
    socklen_t n;
    int clients[CLIENTS];
    static char body[1] = "";
    g->eof = true; /* away with the rig's own */
    rig_turn(g);
    assert_int_equal(g->w.nconns, 0);
    g->pool.set.worker_connections = MOST;
    g->listener.io.fd = listen_somewhere(&a, &n);
    the_room = 100;
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(connect(clients[i], (struct sockaddr *) &a, n), 0);
    }
    mc_conn_accept(&g->listener, 2);
    assert_int_equal(g->w.nconns, 2);
    mc_conn_accept(&g->listener, 4); /* newcomers take the places of those that say nothing */
    assert_int_equal(g->w.nconns, MOST);
    assert_int_equal(recv(clients[0], body, 1, MSG_DONTWAIT), 0);
    /* Those that wait for an answer keep their places, and nobody else comes in. */
    for (int i = 3; i < 6; i++) {
        assert_int_equal(send(clients[i], GET("/"), strlen(GET("/")), 0), strlen(GET("/")));
    }
    mc_loop_turn(&g->w.loop, 100);
    mc_loop_turn(&g->w.loop, 0);
    assert_int_equal(g->w.nqueued, MOST);
    mc_conn_accept(&g->listener, 16);
    assert_int_equal(g->w.nconns, MOST);
    assert_false(mc_worker_has_room(&g->w, &g->listener));
    assert_int_equal(recv(clients[6], body, 1, MSG_DONTWAIT), -1);
    for (int i = 0; i < CLIENTS; i++) {
        close(clients[i]);
    }
    mc_fd_close(&g->listener.io.fd);
}

/* ---- newcomers ---- */

static void stay_out(struct mc_io *io)
{
    (void) io;
}

static void end_one(struct rig *g)
{
    struct mc_request *r = mc_worker_next(&g->w);
    assert_non_null(r);
    mc_request_lend(r);
    rig_pass(g, 1);
    assert_int_equal(mc_response_begin(r, 200, MC_STR_NONE), MC_OK);
    assert_int_equal(mc_response_end(r, "done", 4), MC_OK);
    mc_request_return(r);
}

/* One by one, for requests that have ended, when the room never suffices. */
static void test_newcomers_have_their_turns(void **state)
{
    struct rig *g = *state;
    struct sockaddr_un a;
    socklen_t n;
    int clients[CLIENTS];
    struct mc_listener *l = &g->w.listeners[0];
    g->eof = true;
    rig_turn(g);
    *l = (struct mc_listener){ .worker = &g->w, .conf = &g->listen, .transport = &mc_transport_plain };
    mc_io_init(&l->io, listen_somewhere(&a, &n), stay_out, l);
    l->io.level = true;
    g->w.nlisteners = 1;
    g->w.loop_only = false;
    the_room = 3;
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(connect(clients[i], (struct sockaddr *) &a, n), 0);
        assert_int_equal(send(clients[i], GET("/"), strlen(GET("/")), 0), strlen(GET("/")));
    }
    mc_conn_accept(l, CLIENTS);
    assert_int_equal(g->w.nqueued, 3); /* as many as there is room for */
    the_room = 1;
    rig_pass(g, 1);
    rig_pass(g, 1);
    assert_int_equal(g->w.nconns, 3);
    end_one(g);
    rig_pass(g, 1);
    assert_int_equal(g->w.nconns, 4);
    rig_pass(g, 1); /* nothing has ended since */
    rig_pass(g, 1);
    assert_int_equal(g->w.nconns, 4);
    end_one(g);
    end_one(g);
    rig_pass(g, 1);
    assert_int_equal(g->w.nconns, 6);
    g->pool.set.worker_connections = 6; /* all idle ones have a request waiting */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(send(clients[i], GET("/"), strlen(GET("/")), 0), strlen(GET("/")));
    }
    rig_pass(g, 1);
    end_one(g);
    for (int i = 3; i < 6; i++) {
        rig_pass(g, 1);
    }
    assert_int_equal(g->w.nconns, 6);
    for (int i = 0; i < CLIENTS; i++) {
        close(clients[i]);
    }
}

/* A request that ends posts nothing while the door is open anyway: the loop would turn once more for it. */
static void test_with_room_left_nothing_is_posted(void **state)
{
    struct rig *g = *state;
    struct mc_link *changed = &g->w.changed.link;
    g->w.nlisteners = 1;
    g->w.listeners[0].done = true; /* none to watch */
    g->w.loop_only = false;
    the_room = 3;
    rig_sendz(g, GET("/"));
    rig_pass(g, 1);
    rig_turn(g);
    assert_int_equal(g->w.nqueued, 1);
    assert_false(mc_link_linked(changed));
    end_one(g);
    assert_false(mc_link_linked(changed));
    g->w.shut = true;
    mc_worker_moved(&g->w);
    assert_true(mc_link_linked(changed));
    rig_turn(g);
    assert_false(g->w.shut);
    the_room = 0;
    mc_worker_moved(&g->w);
    assert_true(mc_link_linked(changed));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_with_room_left_nothing_is_posted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_in_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_taken_away_before_the_head, setup, teardown),
        cmocka_unit_test_setup_teardown(test_filters_are_left_when_the_borrower_is_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_back_before_the_connection_has_ended, setup, teardown),
        cmocka_unit_test_setup_teardown(test_taken_away_after_the_head, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_inside_a_call, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_once_the_handler_has_ended, setup, teardown),
        cmocka_unit_test_setup_teardown(test_only_the_late_ones, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_wait_for_the_client_ends_with_the_request, setup, teardown),
        cmocka_unit_test_setup_teardown(test_loop_handlers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_loop_handlers_that_have_begun, setup, teardown),
        cmocka_unit_test_setup_teardown(test_max_requests, setup, teardown),
        cmocka_unit_test_setup_teardown(test_jitter, setup, teardown),
        cmocka_unit_test_setup_teardown(test_max_lifetime_and_max_rss, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_an_arbiter, setup, teardown),
        cmocka_unit_test_setup_teardown(test_never_more_connections, setup, teardown),
        cmocka_unit_test_setup_teardown(test_newcomers_have_their_turns, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
