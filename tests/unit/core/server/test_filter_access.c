/* The way of a request to its handler: filters that refuse, wait and are not asked twice; handlers that decline and reroute; error pages. */
#include "core/http/vars.h"
#include "core/server/filter.h"
#include "tests/unit/lib/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static unsigned asked, left, aborted;
static int verdict;
static struct mc_request *waiting;

static int gate_access(struct mc_request *r, void *data)
{
    (void) data;
    asked++;
    waiting = verdict == MC_AGAIN ? r : NULL;
    if (verdict > 0) {
        assert_int_equal(mc_fields_add(&r->refusal_fields, &r->arena, MC_STR("X-Why"), MC_STR("gate")), MC_OK);
    }
    return verdict;
}

static void gate_leave(struct mc_request *r, void *data)
{
    (void) data;
    left++;
    if (waiting == r) {
        waiting = NULL;
    }
}
static const struct mc_filter_ops gate = { .phase = MC_FILTER_LIMIT, .access = gate_access, .leave = gate_leave };
static struct mc_filter_use uses[] = { { &gate, &asked } };

static void guard(struct rig *g, size_t route)
{
    g->routes[route].filters = uses;
    g->routes[route].nfilters = 1;
}

static int start(struct mc_request *r)
{
    char text[64];
    int n = snprintf(text, sizeof text, "%s %.*s %.*s;", r->route->name, (int) r->head.method.n, r->head.method.p, (int) r->path.n, r->path.p);
    assert_int_equal(mc_response_begin(r, 200, MC_STR_NONE), MC_OK);
    return mc_response_end(r, text, (size_t) n);
}

static int decline(struct mc_request *r)
{
    (void) r;
    return MC_DECLINED;
}

static int reroute(struct mc_request *r)
{
    assert_int_equal(mc_request_retarget(r, MC_STR("/b?q")), MC_OK);
    return MC_REROUTE;
}

static int for_ever(struct mc_request *r)
{
    (void) r;
    return MC_REROUTE;
}

static int fails(struct mc_request *r)
{
    (void) r;
    return 502;
}

static void abort_it(struct mc_request *r)
{
    (void) r;
    aborted++;
}

static const struct mc_handler_ops plain = { .body = MC_BODY_DISCARD, .start = start };
static const struct mc_handler_ops declines = { .body = MC_BODY_DISCARD, .prepare = decline, .start = fails };
static const struct mc_handler_ops reroutes = { .body = MC_BODY_DISCARD, .prepare = reroute, .start = fails };
static const struct mc_handler_ops loops = { .body = MC_BODY_DISCARD, .prepare = for_ever, .start = fails };
static const struct mc_handler_ops broken = { .body = MC_BODY_DISCARD, .start = fails, .abort = abort_it };

static struct rig g;

static int setup(void **state)
{
    (void) state;
    asked = left = aborted = 0;
    verdict = MC_OK;
    waiting = NULL;
    rig_open(&g);
    return 0;
}

static int teardown(void **state)
{
    (void) state;
    rig_close(&g);
    return 0;
}

static void ask(const char *line, const char *rest)
{
    rig_connect(&g);
    rig_sendz(&g, line);
    rig_sendz(&g, " HTTP/1.1\r\nHost: x\r\n");
    rig_sendz(&g, rest);
    rig_turn(&g);
}

static void a_handler_may_decline(void **state)
{
    (void) state;
    rig_route(&g, "/a", &declines);
    rig_route(&g, "/", &plain);
    ask("GET /a/x", "\r\n");
    assert_int_equal(rig_count(&g, "/ GET /a/x;"), 1);
    g.server.nroutes = 1;
    ask("GET /a/x", "\r\n");
    assert_int_equal(rig_count(&g, "HTTP/1.1 404"), 1);
}

static void a_handler_may_send_it_elsewhere(void **state)
{
    (void) state;
    rig_route(&g, "/a", &reroutes);
    rig_route(&g, "/b", &plain);
    rig_route(&g, "/c", &loops);
    ask("GET /a", "\r\n");
    assert_int_equal(rig_count(&g, "/b GET /b;"), 1);
    ask("GET /c", "\r\n");
    assert_int_equal(rig_count(&g, "HTTP/1.1 500"), 1);
}

static void a_filter_may_refuse(void **state)
{
    (void) state;
    rig_route(&g, "/", &plain);
    guard(&g, 0);
    verdict = 429;
    ask("POST /", "Content-Length: 3\r\n\r\nabc");
    assert_int_equal(rig_count(&g, "HTTP/1.1 429"), 1);
    assert_int_equal(rig_count(&g, "X-Why: gate"), 1);
    assert_int_equal(asked, 1);
    assert_int_equal(left, 1);
    verdict = MC_OK; /* the connection goes on */
    rig_sendz(&g, "GET /2 HTTP/1.1\r\nHost: x\r\n\r\n");
    rig_turn(&g);
    assert_int_equal(rig_count(&g, "/ GET /2;"), 1);
    assert_int_equal(left, 2);
}

static void a_filter_may_take_its_time(void **state)
{
    (void) state;
    rig_route(&g, "/", &plain);
    guard(&g, 0);
    for (int i = 0; i < 2; i++) {
        verdict = MC_AGAIN;
        ask("POST /", "Content-Length: 3\r\n\r\nabc");
        assert_non_null(waiting);
        assert_int_equal(rig_count(&g, "HTTP/1.1"), (unsigned) i);
        rig_pass(&g, 60000); /* what waits for a filter has no time-out of the client's */
        assert_non_null(waiting);
        mc_request_admit(waiting, i == 0 ? MC_OK : 403);
        rig_turn(&g);
        assert_int_equal(rig_count(&g, i == 0 ? "/ POST /;" : "HTTP/1.1 403"), 1);
    }
    assert_int_equal(asked, 2);
    assert_int_equal(left, 2);
}

static void a_client_may_leave_meanwhile(void **state)
{
    (void) state;
    rig_route(&g, "/", &plain);
    guard(&g, 0);
    verdict = MC_AGAIN;
    ask("GET /", "\r\n");
    assert_non_null(waiting);
    mc_conn_close(g.c);
    assert_null(waiting);
    assert_int_equal(left, 1);
}

static void the_same_filter_is_asked_once(void **state)
{
    (void) state;
    rig_route(&g, "/a", &declines);
    rig_route(&g, "/", &plain);
    guard(&g, 0);
    guard(&g, 1);
    ask("GET /a", "\r\n");
    assert_int_equal(rig_count(&g, "/ GET /a;"), 1);
    assert_int_equal(asked, 1);
    assert_int_equal(left, 1);
}

static void errors_find_their_page(void **state)
{
    (void) state;
    static const char *words[] = { "502 @/page", "404 =203 /page?x", "403 = @/page" };
    rig_route(&g, "/bad", &broken);
    rig_route(&g, "/page", &plain);
    rig_route(&g, "/no", &plain);
    guard(&g, 2);
    g.server.set.error_page = (struct mc_strv){ words, 3 };
    for (size_t i = 0; i < 3; i++) {
        g.routes[i].set.error_page = g.server.set.error_page;
    }
    assert_int_equal(mc_errors_load(&g.conf, &g.pool), MC_OK);
    ask("POST /bad", "Content-Length: 3\r\n\r\nabc");
    assert_int_equal(rig_count(&g, "HTTP/1.1 502 Bad Gateway"), 1);
    assert_int_equal(rig_count(&g, "/page GET /bad;"), 1);
    assert_int_equal(aborted, 0);
    rig_sendz(&g, "GET /none HTTP/1.1\r\nHost: x\r\n\r\n");
    rig_turn(&g);
    assert_int_equal(rig_count(&g, "HTTP/1.1 203"), 1);
    assert_int_equal(rig_count(&g, "/page GET /page;"), 1);
    verdict = 403;
    rig_sendz(&g, "PUT /no HTTP/1.1\r\nHost: x\r\n\r\n");
    rig_turn(&g);
    assert_int_equal(rig_count(&g, "HTTP/1.1 200"), 1);
    assert_int_equal(rig_count(&g, "X-Why: gate"), 1);
}

static void an_error_on_the_way_is_answered_plainly(void **state)
{
    (void) state;
    static const char *words[] = { "502 503 404 /bad" };
    rig_route(&g, "/bad", &broken);
    g.routes[0].set.error_page = g.server.set.error_page = (struct mc_strv){ words, 1 };
    assert_int_equal(mc_errors_load(&g.conf, &g.pool), MC_OK);
    ask("GET /none", "\r\n");
    assert_int_equal(rig_count(&g, "HTTP/1.1 404"), 1);
    assert_int_equal(rig_count(&g, "HTTP/1.1"), 1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_handler_may_decline),
        TEST(a_handler_may_send_it_elsewhere),
        TEST(a_filter_may_refuse),
        TEST(a_filter_may_take_its_time),
        TEST(a_client_may_leave_meanwhile),
        TEST(the_same_filter_is_asked_once),
        TEST(errors_find_their_page),
        TEST(an_error_on_the_way_is_answered_plainly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
