/* What once broke the connection engine, found by attacks on the running server; one test a defect. Fake clock; a scripted transport, or
 * a real listener where accepting is what matters. */
#include "tests/unit/lib/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static int hello(struct mc_request *r)
{
    return mc_response_begin(r, 200, MC_STR_NONE) == MC_OK ? mc_response_end(r, "hello", 5) : MC_ERROR;
}
static const struct mc_handler_ops loop_hello = { .body = MC_BODY_DISCARD, .start = hello };

static int setup(void **state)
{
    struct rig *g = malloc(sizeof *g);
    if (!g) {
        return -1;
    }
    rig_open(g);
    rig_route(g, "/", &loop_hello);
    *state = g;
    return 0;
}

static int teardown(void **state)
{
    rig_close(*state);
    free(*state);
    return 0;
}

/* More pipelined requests than one step takes, and the connection ends before its turn comes again. */
static void test_a_connection_that_wanted_to_go_on_is_closed(void **state)
{
    struct rig *g = *state;
    rig_connect(g);
    for (int i = 0; i < 400; i++) {
        rig_sendz(g, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    mc_conn_step(g->c);
    assert_non_null(g->c);
    assert_true(mc_link_linked(&g->c->again));
    mc_conn_close(g->c);
    assert_true(mc_list_empty(&g->w.again));
    mc_loop_turn(&g->w.loop, 0);
    assert_null(g->c);
}

/* ---- with a real listener ---- */

enum { CLIENTS = 6, ROOM = 3 };
static struct mc_addr place;
static int clients[CLIENTS];

/* The rig's worker again, with a listener of its own. */
static struct mc_listener *listen_really(struct rig *g)
{
    struct mc_listen_opts o = { .backlog = 64, .uid = (uid_t) -1, .gid = (gid_t) -1, .umask = 077 };
    char path[80], err[200];
    snprintf(path, sizeof path, "unix:/tmp/mc-test-faults.%ld", (long) getpid());
    assert_int_equal(mc_addr_parse(path, &place, err, sizeof err), MC_OK);
    int fd = mc_socket_listen(&place, &o);
    assert_true(fd >= 0);
    mc_worker_close(&g->w);
    g->listen.pool = &g->pool;
    g->pool.set.worker_connections = ROOM;
    assert_int_equal(mc_worker_open(&g->w, &g->conf, &g->pool, &g->slot, &fd), MC_OK);
    assert_int_equal(mc_worker_listen(&g->w), MC_OK);
    return &g->w.listeners[0];
}

static void connect_all(const char *text)
{
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(clients[i], &place.u.sa, place.len), 0);
        assert_int_equal(send(clients[i], text, strlen(text), MSG_NOSIGNAL), strlen(text));
    }
}

static void turn(struct rig *g)
{
    for (int i = 0; i < 8; i++) {
        mc_loop_turn(&g->w.loop, 0);
    }
}

/* How many have had an answer; each is taken once. */
static unsigned answered(void)
{
    unsigned n = 0;
    char buf[4096];
    for (int i = 0; i < CLIENTS; i++) {
        n += recv(clients[i], buf, sizeof buf, MSG_DONTWAIT) > 0;
    }
    return n;
}

static void forget(void)
{
    for (int i = 0; i < CLIENTS; i++) {
        close(clients[i]);
    }
    unlink(place.u.un.sun_path);
}

/* Full of requests whose bodies are under way: the listener is left alone, or its queue would wake the loop without end. */
static void test_a_full_worker_does_not_watch_its_listener(void **state)
{
    struct rig *g = *state;
    struct mc_listener *l = listen_really(g);
    connect_all("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
    turn(g);
    assert_int_equal(g->w.nconns, ROOM);
    assert_false(l->watched);
    assert_int_equal(mc_loop_turn(&g->w.loop, 0), 0);
    assert_int_equal(answered(), 0);
    /* Those that are answered are idle then, and the others take their places. */
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(send(clients[i], "body", 4, MSG_NOSIGNAL), 4);
    }
    turn(g);
    assert_int_equal(answered(), CLIENTS);
    assert_int_equal(g->w.nconns, ROOM);
    forget();
}

/* Clients that send a part of a head hold no place against others: the oldest makes way. */
static void test_half_heads_make_way(void **state)
{
    struct rig *g = *state;
    struct mc_listener *l = listen_really(g);
    connect_all("GET / HTTP/1.1\r\nHost: a\r\n");
    turn(g);
    assert_int_equal(g->w.nconns, ROOM);
    assert_true(l->watched);
    for (int i = 0; i < CLIENTS; i++) {
        (void) send(clients[i], "\r\n", 2, MSG_NOSIGNAL);
    }
    turn(g);
    assert_int_equal(answered(), ROOM);
    forget();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_connection_that_wanted_to_go_on_is_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_worker_does_not_watch_its_listener, setup, teardown),
        cmocka_unit_test_setup_teardown(test_half_heads_make_way, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
