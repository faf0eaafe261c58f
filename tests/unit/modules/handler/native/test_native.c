/* Native apps over the real engine, a scripted client and a fake clock: loading, both kinds, back-pressure, timers, clients that leave. */
#include "modules/handler/native/native.h"
#include "tests/unit/lib/rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

enum { PIECE = 10000 };

/* ---- a loop app ---- */

static struct {
    unsigned inits, exits, gones, rooms, bodies, cleanups, writes;
    int last_write;
    struct monoceros_request *kept;
    struct monoceros_timer *timer;
    struct monoceros_worker *worker;
} seen;

static void cleaned(void *data)
{
    (void)data;
    seen.cleanups++;
}

static void on_time(void *data)
{
    (void)data;
    seen.last_write = monoceros_write(seen.kept, "tick\n", 5);
}

static int loop_init(struct monoceros_worker *worker)
{
    seen.inits++;
    seen.worker = worker;
    seen.timer = monoceros_timer_new(worker, on_time, NULL);
    return seen.timer ? MONOCEROS_OK : MONOCEROS_ERROR;
}

static void loop_exit(struct monoceros_worker *worker)
{
    assert_ptr_equal(worker, seen.worker);
    seen.exits++;
}

/* As much as is taken, to 1 MB; then one more, which is refused. */
static int pour(struct monoceros_request *req)
{
    static char piece[PIECE];
    int rc = MONOCEROS_OK;
    for (; seen.writes < 100 && rc == MONOCEROS_OK; seen.writes++)
        rc = monoceros_write(req, piece, sizeof(piece));
    if (rc != MONOCEROS_AGAIN)
        return rc == MONOCEROS_OK ? monoceros_end(req, NULL, 0) : rc;
    assert_int_equal(monoceros_write(req, piece, 1), MONOCEROS_BUSY);
    return rc;
}

static int loop_request(struct monoceros_request *req)
{
    seen.kept = req;
    if (monoceros_cleanup(req, cleaned, NULL) != MONOCEROS_OK)
        return 503;
    if (monoceros_is(monoceros_path(req), "/loop/pour"))
        return monoceros_status(req, 200) == MONOCEROS_OK ? pour(req) : MONOCEROS_ERROR;
    if (monoceros_is(monoceros_path(req), "/loop/sleep")) {
        assert_int_equal(monoceros_sleep(req, 1), MONOCEROS_ERROR);
        assert_int_equal(errno, EDEADLK);
        return 418;
    }
    return monoceros_status(req, 200);
}

static int loop_body(struct monoceros_request *req)
{
    char all[100];
    ssize_t n;
    seen.bodies++;
    while ((n = monoceros_body_read(req, all, sizeof(all))) > 0)
        assert_int_equal(monoceros_write(req, all, (size_t)n), MONOCEROS_OK);
    return n == MONOCEROS_AGAIN || monoceros_is(monoceros_method(req), "GET") ? MONOCEROS_OK : monoceros_end(req, NULL, 0);
}

static int loop_room(struct monoceros_request *req)
{
    seen.rooms++;
    return pour(req);
}

static void loop_gone(struct monoceros_request *req)
{
    assert_int_equal(monoceros_write(req, "x", 1), MONOCEROS_ERROR);
    seen.gones++;
}

static const struct monoceros_app loop_app = {MONOCEROS_ABI_HEAD,      .kind = MONOCEROS_LOOP, .name = "loop",    .init = loop_init, .exit = loop_exit,
                                              .request = loop_request, .body = loop_body,      .room = loop_room, .gone = loop_gone};

/* ---- a blocking app ---- */

static int blocking_request(struct monoceros_request *req)
{
    struct monoceros_str body;
    assert_int_equal(monoceros_body_whole(req, 10, &body), MONOCEROS_OK);
    monoceros_status(req, 200);
    assert_int_equal(monoceros_trailer_add(req, "X-Sum", "1"), MONOCEROS_OK);
    assert_int_equal(monoceros_trailer_add(req, "X-More", "2"), MONOCEROS_OK);
    assert_int_equal(monoceros_trailer_add(req, "Content-Type", "x"), MONOCEROS_ERROR);
    return monoceros_end(req, body.p, body.n);
}

static const struct monoceros_app blocking_app = {MONOCEROS_ABI_HEAD, .kind = MONOCEROS_BLOCKING, .name = "blocking", .request = blocking_request};

static const struct mc_app_type loop_type = {.name = "loop", .load = mc_native_load, .linked = &loop_app};
static const struct mc_app_type blocking_type = {.name = "blocking", .load = mc_native_load, .linked = &blocking_app};

static struct mc_conf_app apps[2];

static struct rig *open_rig(void)
{
    static struct rig g;
    memset(&seen, 0, sizeof(seen));
    memset(apps, 0, sizeof(apps));
    apps[0] = (struct mc_conf_app){.name = "l", .type = &loop_type};
    apps[1] = (struct mc_conf_app){.name = "b", .type = &blocking_type};
    rig_open_apps(&g, apps, 2);
    rig_route_app(&g, "/loop/", &apps[0]);
    rig_route_app(&g, "/blocking/", &apps[1]);
    rig_connect(&g);
    return &g;
}

/* ---- tests ---- */

static void kinds_are_known_by_loading(void **state)
{
    (void)state;
    struct rig *g = open_rig();
    assert_false(g->w.loop_only);
    assert_int_equal(g->w.handlers[0]->needs, 0);
    assert_int_equal(g->w.handlers[1]->needs, MC_NEED_BLOCKING);
    assert_int_equal(seen.inits, 1);
    rig_close(g);
    assert_int_equal(seen.exits, 1);
}

static void trailers_follow_chunks(void **state)
{
    (void)state;
    struct rig *g = open_rig();
    rig_sendz(g, "POST /blocking/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    rig_turn(g);
    assert_non_null(strstr(rig_text(g), "Trailer: X-Sum, X-More\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n"));
    rig_close(g);
}

static void bodies_come_in_pieces(void **state)
{
    (void)state;
    struct rig *g = open_rig();
    rig_sendz(g, "POST /loop/ HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc");
    rig_turn(g);
    assert_int_equal(seen.bodies, 1);
    assert_non_null(strstr(rig_text(g), "3\r\nabc\r\n"));
    rig_sendz(g, "def");
    rig_turn(g);
    assert_int_equal(seen.bodies, 2);
    assert_non_null(strstr(rig_text(g), "3\r\ndef\r\n0\r\n\r\n"));
    assert_int_equal(seen.cleanups, 1);
    assert_int_equal(seen.gones, 0);
    rig_close(g);
}

static void slow_clients_pause_an_app(void **state)
{
    (void)state;
    struct rig *g = open_rig();
    g->room = 1000;
    rig_sendz(g, "GET /loop/pour HTTP/1.1\r\nHost: x\r\n\r\n");
    rig_turn(g);
    assert_true(seen.writes < 100);
    assert_int_equal(seen.rooms, 0);
    for (int i = 0; i < 100 && seen.writes < 100; i++)
        rig_more_room(g, 50000);
    assert_true(seen.rooms > 1);
    rig_more_room(g, SIZE_MAX / 4);
    assert_int_equal(seen.cleanups, 1);
    assert_true(g->out_len > 100 * PIECE);
    rig_close(g);
}

static void timers_write_to_waiting_clients(void **state)
{
    (void)state;
    struct rig *g = open_rig();
    rig_sendz(g, "GET /loop/ HTTP/1.1\r\nHost: x\r\n\r\n");
    rig_turn(g);
    assert_int_equal(monoceros_timer_set(seen.timer, 50), MONOCEROS_OK);
    rig_pass(g, 49);
    assert_int_equal(g->out_len, 0);
    rig_pass(g, 1);
    assert_int_equal(seen.last_write, MONOCEROS_OK);
    assert_non_null(strstr(rig_text(g), "5\r\ntick\n\r\n"));
    assert_int_equal(monoceros_timer_set(seen.timer, 50), MONOCEROS_OK);
    monoceros_timer_clear(seen.timer);
    rig_pass(g, 100);
    assert_int_equal(rig_count(g, "tick"), 1);
    /* Ended outside of a callback: the connection takes the next request. */
    assert_int_equal(monoceros_end(seen.kept, NULL, 0), MONOCEROS_OK);
    rig_pass(g, 1);
    assert_int_equal(seen.cleanups, 1);
    assert_int_equal(g->c->state, MC_CONN_IDLE);
    rig_close(g);
}

static void apps_learn_of_clients_that_leave(void **state)
{
    (void)state;
    struct rig *g = open_rig();
    rig_sendz(g, "GET /loop/ HTTP/1.1\r\nHost: x\r\n\r\n");
    rig_turn(g);
    g->eof = true;
    g->c->io.ready |= MC_WANT_READ | MC_READY_ERROR; /* as EPOLLRDHUP */
    mc_conn_step(g->c);
    assert_true(g->closed);
    assert_int_equal(seen.gones, 1);
    assert_int_equal(seen.cleanups, 1);
    rig_close(g);
}

static void the_end_of_a_worker_is_the_end_of_requests(void **state)
{
    (void)state;
    struct rig *g = open_rig();
    rig_sendz(g, "GET /loop/ HTTP/1.1\r\nHost: x\r\n\r\n");
    rig_turn(g);
    assert_int_equal(monoceros_timer_set(seen.timer, 50), MONOCEROS_OK);
    rig_close(g);
    assert_int_equal(seen.gones, 1);
    assert_int_equal(seen.exits, 1);
}

static void loops_do_not_wait(void **state)
{
    (void)state;
    struct rig *g = open_rig();
    rig_sendz(g, "GET /loop/sleep HTTP/1.1\r\nHost: x\r\n\r\n");
    rig_turn(g);
    assert_int_equal(strncmp(rig_text(g), "HTTP/1.1 418 ", 13), 0);
    rig_close(g);
}

static void posted(void *data)
{
    ++*(unsigned *)data;
}

static void posts_run_on_the_loop(void **state)
{
    (void)state;
    struct rig *g = open_rig();
    unsigned n = 0;
    for (int i = 0; i < 3; i++)
        assert_int_equal(monoceros_post(seen.worker, posted, &n), MONOCEROS_OK);
    assert_int_equal(n, 0);
    mc_loop_turn(&g->w.loop, 0);
    assert_int_equal(n, 3);
    assert_int_equal(monoceros_post(seen.worker, posted, &n), MONOCEROS_OK);
    rig_close(g); /* what waits is dropped */
    assert_int_equal(n, 3);
}

/* What a library can have wrong. */
static void mismatches_are_refused(void **state)
{
    (void)state;
    struct monoceros_app wrong = loop_app;
    struct mc_app_type type = {.name = "wrong", .load = mc_native_load, .linked = &wrong};
    struct mc_conf_app app = {.name = "w", .type = &type};
    const struct monoceros_app *found;
    assert_int_equal(mc_native_find(&app, &found), MC_OK);
    wrong.abi++;
    assert_int_equal(mc_native_find(&app, &found), MC_EXIT_BOOT);
    wrong = loop_app;
    wrong.size--;
    assert_int_equal(mc_native_find(&app, &found), MC_EXIT_BOOT);
    wrong = loop_app;
    wrong.api_size -= 8; /* built for an earlier server */
    assert_int_equal(mc_native_find(&app, &found), MC_OK);
    wrong.api_size += 16;
    assert_int_equal(mc_native_find(&app, &found), MC_EXIT_BOOT);
    wrong = loop_app;
    wrong.kind = 3;
    assert_int_equal(mc_native_find(&app, &found), MC_EXIT_BOOT);
    app.type = &(struct mc_app_type){.name = "native", .load = mc_native_load};
    app.module = "no/such.so";
    app.chdir = "/";
    assert_int_equal(mc_native_find(&app, &found), MC_EXIT_APP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_are_known_by_loading),
        cmocka_unit_test(trailers_follow_chunks),
        cmocka_unit_test(bodies_come_in_pieces),
        cmocka_unit_test(slow_clients_pause_an_app),
        cmocka_unit_test(timers_write_to_waiting_clients),
        cmocka_unit_test(apps_learn_of_clients_that_leave),
        cmocka_unit_test(the_end_of_a_worker_is_the_end_of_requests),
        cmocka_unit_test(loops_do_not_wait),
        cmocka_unit_test(posts_run_on_the_loop),
        cmocka_unit_test(mismatches_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
