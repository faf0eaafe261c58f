/* What once broke the connection engine, found by attacks on the running server; one test a defect. Scripted transport, fake clock. */
#include "tests/unit/lib/rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
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

/* More pipelined requests than one step takes, and the connection ends before its turn comes again. */
static void test_a_connection_that_wanted_to_go_on_is_closed(void **state)
{
    struct rig *g = *state;
    for (int i = 0; i < 400; i++) {
        rig_sendz(g, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    mc_conn_step(g->c);
    assert_non_null(g->c);
    assert_true(mc_link_linked(&g->c->again.link));
    mc_conn_close(g->c);
    assert_true(mc_list_empty(&g->w.loop.posts));
    mc_loop_turn(&g->w.loop, 0);
    assert_null(g->c);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_connection_that_wanted_to_go_on_is_closed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
