/* The greenlet worker on the engine with a scripted transport and a fake clock: what waits, what wakes it, and how it ends at a stop. */
#include "tests/unit/lib/rig.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct rig g;
static int ends[2], last_rc;
static unsigned begun;

static int answer(struct mc_request *r, const char *text)
{
    return mc_response_begin(r, 200, MC_STR_NONE) == MC_OK ? mc_response_end(r, text, strlen(text)) : MC_ERROR;
}

static int wait_fd(struct mc_request *r, int fd, unsigned what, uint64_t ms)
{
    last_rc = mc_worker_wait_fd(r, fd, what, ms ? mc_clock_ms() + ms : 0);
    return last_rc;
}

static int nap(struct mc_request *r)
{
    begun++;
    return answer(r, wait_fd(r, -1, 0, 50) == MC_AGAIN ? "slept" : "cut");
}

static int read_pipe(struct mc_request *r)
{
    char b[2] = "";
    begun++;
    int rc = wait_fd(r, ends[0], MC_WANT_READ, 1000);
    return answer(r, rc == MC_OK && read(ends[0], b, 1) == 1 ? b : rc == MC_AGAIN ? "late" : "error");
}

static int read_nothing(struct mc_request *r)
{
    return answer(r, wait_fd(r, 9999, MC_WANT_READ, 1000) == MC_OK ? "look" : "error");
}

static int read_file(struct mc_request *r)
{
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int rc = wait_fd(r, fd, MC_WANT_READ, 1000);
    close(fd);
    return answer(r, rc == MC_OK ? "file" : "error");
}

static int let_others(struct mc_request *r)
{
    for (int i = 0; i < 3; i++) {
        if (wait_fd(r, -1, 0, 0) != MC_AGAIN) {
            return 500;
        }
        rig_now++;
    }
    return answer(r, "turned");
}

static int stubborn(struct mc_request *r)
{
    begun++;
    for (;;) {
        wait_fd(r, -1, 0, 1000);
    }
    return answer(r, "never");
}

static int too_much(struct mc_request *r)
{
    static char piece[65536];
    mc_response_begin(r, 200, MC_STR_NONE);
    for (int i = 0; i < 8; i++) {
        if ((last_rc = mc_response_write(r, piece, sizeof piece)) != MC_OK) {
            return MC_ERROR;
        }
    }
    return mc_response_end(r, NULL, 0);
}

static struct mc_request *whole;
static unsigned parts_begun, parts_ended;

static void nap_part(void *arg)
{
    parts_begun++;
    mc_worker_wait_fd(whole, -1, 0, mc_clock_ms() + (uint64_t) (uintptr_t) arg);
    parts_ended++;
}

static int parts(struct mc_request *r)
{
    void *const args[] = { (void *) 10, (void *) 50, (void *) 30 };
    begun++;
    whole = r;
    mc_worker_together(r, nap_part, args, MC_COUNT(args));
    return answer(r, parts_ended == 3 ? "all" : "some");
}

static void stubborn_part(void *arg)
{
    (void) arg;
    for (;;) {
        mc_worker_wait_fd(whole, -1, 0, mc_clock_ms() + 1000);
    }
}

static int stubborn_parts(struct mc_request *r)
{
    void *const args[] = { NULL, NULL };
    whole = r;
    mc_worker_together(r, stubborn_part, args, MC_COUNT(args));
    return answer(r, "never");
}

#define BLOCKING(fn) { .needs = MC_NEED_BLOCKING, .body = MC_BODY_BUFFERED, .start = fn }
static const struct mc_handler_ops handlers[] = { BLOCKING(nap), BLOCKING(read_pipe), BLOCKING(read_nothing), BLOCKING(read_file),
    BLOCKING(let_others), BLOCKING(stubborn), BLOCKING(too_much), BLOCKING(parts),
    BLOCKING(stubborn_parts) };
static const char *const paths[] = { "/nap", "/pipe", "/nothing", "/file", "/turns", "/stubborn", "/much", "/parts", "/stubborn-parts" };

static int open_rig(void **state)
{
    (void) state;
    memset(&g, 0, sizeof g);
    rig_worker = "greenlet";
    rig_open(&g);
    for (size_t i = 0; i < MC_COUNT(handlers); i++) {
        rig_route(&g, paths[i], &handlers[i]);
    }
    g.w.loop_only = false;
    begun = parts_begun = parts_ended = 0;
    last_rc = 77;
    rig_connect(&g);
    return pipe2(ends, O_CLOEXEC | O_NONBLOCK);
}

/* For the leak checker: what a stop leaves behind is known here, but for the parts, which only their stacks know. */
static struct rig left[4];
static unsigned nleft;

const char *__lsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
    return "leak:mc_greenlet_together\n";
}

static int close_rig(void **state)
{
    (void) state;
    if (g.w.nrunning > 0 && nleft < MC_COUNT(left)) {
        left[nleft++] = g;
    }
    close(ends[0]);
    close(ends[1]);
    rig_close(&g);
    return 0;
}

static void ask(const char *path)
{
    char text[100];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    rig_sendz(&g, text);
    rig_turn(&g);
}

static void sleeps_until_its_deadline(void **state)
{
    (void) state;
    ask("/nap");
    assert_int_equal(begun, 1);
    assert_int_equal(g.w.nrunning, 1);
    rig_pass(&g, 49);
    assert_int_equal(g.w.nrunning, 1);
    rig_pass(&g, 2);
    rig_turn(&g);
    assert_int_equal(g.w.nrunning, 0);
    assert_non_null(strstr(rig_text(&g), "slept"));
    ask("/nap"); /* on the same connection, on the same stack */
    rig_pass(&g, 51);
    rig_turn(&g);
    assert_int_equal(rig_count(&g, "slept"), 2);
}

static void wakes_for_a_descriptor(void **state)
{
    (void) state;
    ask("/pipe");
    rig_turn(&g);
    assert_int_equal(g.w.nrunning, 1);
    assert_int_equal(write(ends[1], "Z", 1), 1);
    rig_turn(&g);
    assert_int_equal(g.w.nrunning, 0);
    assert_non_null(strstr(rig_text(&g), "\r\n\r\nZ"));
    ask("/pipe");
    rig_pass(&g, 1001);
    rig_turn(&g);
    assert_non_null(strstr(rig_text(&g), "late"));
}

static void what_cannot_be_watched_is_ready(void **state)
{
    (void) state;
    ask("/nothing");
    ask("/file");
    assert_non_null(strstr(rig_text(&g), "look"));
    assert_non_null(strstr(rig_text(&g), "file"));
}

static void lets_the_loop_turn(void **state)
{
    (void) state;
    unsigned long turns = g.w.loop.turns;
    ask("/turns");
    rig_turn(&g);
    assert_non_null(strstr(rig_text(&g), "turned"));
    assert_true(g.w.loop.turns >= turns + 3);
}

/* A client that takes nothing: the handler waits, the others do not, and send_timeout ends it. */
static void waits_for_its_client(void **state)
{
    (void) state;
    for (size_t i = 0; i < g.server.nroutes; i++) {
        g.routes[i].set.response_buffer = g.routes[i].set.response_buffer_file = 65536;
    }
    g.room = 0;
    ask("/much");
    assert_int_equal(g.w.nrunning, 1);
    rig_pass(&g, 31000);
    rig_turn(&g);
    assert_int_equal(g.w.nrunning, 0);
    assert_int_equal(last_rc, MC_ERROR);
    assert_null(g.c);
}

static void a_stop_cuts(void **state)
{
    (void) state;
    ask("/nap");
    assert_int_equal(begun, 1);
    mc_worker_stop(&g.w);
    g.w.ops->serve(&g.w);
    assert_int_equal(last_rc, MC_ERROR);
    assert_int_equal(g.w.nrunning, 0);
    assert_non_null(strstr(rig_text(&g), "cut"));
}

static void a_stop_leaves_the_stubborn_behind(void **state)
{
    (void) state;
    ask("/stubborn");
    assert_int_equal(begun, 1);
    mc_worker_stop(&g.w);
    g.w.ops->serve(&g.w);
    assert_int_equal(last_rc, MC_ERROR);
    assert_int_equal(g.w.nrunning, 1);
}

static void parts_wait_together(void **state)
{
    (void) state;
    ask("/parts");
    rig_turn(&g);
    assert_int_equal(parts_begun, 3);
    assert_int_equal(parts_ended, 0);
    assert_int_equal(g.w.nrunning, 1);
    rig_pass(&g, 31);
    rig_turn(&g);
    assert_int_equal(parts_ended, 2);
    assert_int_equal(g.w.nrunning, 1);
    rig_pass(&g, 20);
    rig_turn(&g);
    rig_turn(&g);
    assert_int_equal(g.w.nrunning, 0);
    assert_non_null(strstr(rig_text(&g), "all"));
}

static void a_stop_cuts_parts(void **state)
{
    (void) state;
    ask("/parts");
    assert_int_equal(begun, 1);
    mc_worker_stop(&g.w);
    g.w.ops->serve(&g.w);
    assert_int_equal(parts_ended, 3);
    assert_int_equal(g.w.nrunning, 0);
    assert_non_null(strstr(rig_text(&g), "all"));
}

static void a_stop_leaves_stubborn_parts_behind(void **state)
{
    (void) state;
    ask("/stubborn-parts");
    rig_turn(&g);
    mc_worker_stop(&g.w);
    g.w.ops->serve(&g.w);
    assert_int_equal(g.w.nrunning, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sleeps_until_its_deadline, open_rig, close_rig),
        cmocka_unit_test_setup_teardown(wakes_for_a_descriptor, open_rig, close_rig),
        cmocka_unit_test_setup_teardown(what_cannot_be_watched_is_ready, open_rig, close_rig),
        cmocka_unit_test_setup_teardown(lets_the_loop_turn, open_rig, close_rig),
        cmocka_unit_test_setup_teardown(waits_for_its_client, open_rig, close_rig),
        cmocka_unit_test_setup_teardown(a_stop_cuts, open_rig, close_rig),
        cmocka_unit_test_setup_teardown(a_stop_leaves_the_stubborn_behind, open_rig, close_rig),
        cmocka_unit_test_setup_teardown(parts_wait_together, open_rig, close_rig),
        cmocka_unit_test_setup_teardown(a_stop_cuts_parts, open_rig, close_rig),
        cmocka_unit_test_setup_teardown(a_stop_leaves_stubborn_parts_behind, open_rig, close_rig),
    };
    if (mc_module_find(MC_MODULE_WORKER, "greenlet") == NULL) {
        puts("built without the greenlet worker: nothing to test");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
