/* The loop, timers and posts over a scripted back end and a fake clock: what runs when, and how long a turn may sleep. */
#include "core/base/clock.h"
#include "core/event/loop.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- the script: what each poll returns; its timeout is noted, and time passes as if it had slept */

static uint64_t now;
static struct mc_loop loop;
static struct {
    struct mc_ready batch[8];
    int n;       /* entries of the next poll; -1: failure */
    int timeout; /* of the last poll */
    int polls, sets, dels;
    bool open_fails;
} script;

static uint64_t fake_now(void)
{
    return now;
}

static int script_open(struct mc_loop *l)
{
    (void)l;
    errno = EMFILE;
    return script.open_fails ? MC_ERROR : MC_OK;
}

static int script_set(struct mc_loop *l, struct mc_io *io, unsigned want)
{
    (void)l, (void)io, (void)want;
    script.sets++;
    return MC_OK;
}

static int script_del(struct mc_loop *l, struct mc_io *io)
{
    (void)l, (void)io;
    script.dels++;
    return MC_OK;
}

static int script_poll(struct mc_loop *l, int timeout, struct mc_ready *out, int max)
{
    (void)l;
    int n = script.n;
    script.polls++;
    script.timeout = timeout;
    script.n = 0;
    if (n < 0) {
        errno = EIO;
        return MC_ERROR;
    }
    assert_true(n <= max);
    memcpy(out, script.batch, (size_t)n * sizeof(*out));
    if (n == 0 && timeout > 0)
        now += (uint64_t)timeout;
    return n;
}

static int script_fd(struct mc_loop *l)
{
    (void)l;
    return -1;
}

static void script_close(struct mc_loop *l)
{
    (void)l;
}

static const struct mc_event_ops ops = {
    .name = "script",
    .open = script_open,
    .set = script_set,
    .del = script_del,
    .poll = script_poll,
    .fd = script_fd,
    .close = script_close,
};

static char trace[256]; /* what ran, one letter each */

static void note(char c)
{
    size_t n = strlen(trace);
    assert_true(n + 1 < sizeof(trace));
    trace[n] = c;
    trace[n + 1] = '\0';
}

static int open_loop(void **state)
{
    (void)state;
    now = 1000;
    memset(&script, 0, sizeof(script));
    trace[0] = '\0';
    mc_clock_fake(fake_now);
    return mc_loop_open(&loop, &ops);
}

static int close_loop(void **state)
{
    (void)state;
    mc_loop_close(&loop);
    mc_clock_fake(NULL);
    return 0;
}

static void note_timer(struct mc_timer *t)
{
    note((char)(intptr_t)t->data);
}

static void note_post(struct mc_post *p)
{
    note((char)(intptr_t)p->data);
}

static void note_io(struct mc_io *io)
{
    note((char)(intptr_t)io->data);
}

static struct mc_timer timer(char name)
{
    struct mc_timer t;
    mc_timer_init(&t, note_timer, (void *)(intptr_t)name);
    return t;
}

static void ready(struct mc_io *io, uint8_t bits)
{
    script.batch[script.n++] = (struct mc_ready){.io = io, .bits = bits};
}

/* --- timers */

static void timers_fire_in_order_and_once(void **state)
{
    (void)state;
    struct mc_timer a = timer('a'), b = timer('b'), c = timer('c');
    assert_int_equal(mc_timer_set(&loop, &a, 30), MC_OK);
    assert_int_equal(mc_timer_set(&loop, &b, 10), MC_OK);
    assert_int_equal(mc_timer_set(&loop, &c, 20), MC_OK);
    for (int i = 0; i < 3; i++) {
        mc_loop_turn(&loop, -1);
        assert_int_equal(script.timeout, 10);
    }
    assert_string_equal(trace, "bca");
    assert_int_equal(now, 1030);
    assert_int_equal(a.when, 0);
    mc_loop_turn(&loop, 500);
    assert_int_equal(script.timeout, 500);
    assert_string_equal(trace, "bca");
}

static void later_deadlines_do_not_touch_the_heap(void **state)
{
    (void)state;
    struct mc_timer a = timer('a');
    mc_timer_set(&loop, &a, 10);
    uint64_t key = a.node.key;
    mc_timer_set(&loop, &a, 50);
    assert_true(a.node.key == key);
    assert_int_equal(a.when, 1050);
    mc_loop_turn(&loop, -1); /* wakes at the old key and puts the node where it belongs */
    assert_string_equal(trace, "");
    assert_true(a.node.key == 1050);
    mc_loop_turn(&loop, -1);
    assert_string_equal(trace, "a");
    assert_int_equal(now, 1050);
}

static void earlier_deadlines_count_at_once(void **state)
{
    (void)state;
    struct mc_timer a = timer('a'), b = timer('b');
    mc_timer_set(&loop, &a, 100);
    mc_timer_set(&loop, &b, 50);
    mc_timer_set(&loop, &a, 20);
    mc_loop_turn(&loop, -1);
    assert_int_equal(now, 1020);
    assert_string_equal(trace, "a");
    mc_timer_remove(&loop, &b);
}

static void cleared_timers_do_not_fire(void **state)
{
    (void)state;
    struct mc_timer a = timer('a'), b = timer('b');
    mc_timer_set(&loop, &a, 10);
    mc_timer_set(&loop, &b, 10);
    mc_timer_clear(&a);
    mc_timer_remove(&loop, &b);
    assert_int_equal(b.node.index, 0);
    mc_timer_remove(&loop, &b);
    mc_loop_turn(&loop, -1);
    assert_string_equal(trace, "");
    assert_int_equal(a.node.index, 0); /* gone from the heap by itself */
    mc_timer_set(&loop, &a, 10);
    mc_timer_clear(&a);
    mc_timer_set(&loop, &a, 5);
    mc_loop_turn(&loop, -1);
    assert_string_equal(trace, "a");
    assert_int_equal(now, 1015);
}

static void far_deadlines_are_cut(void **state)
{
    (void)state;
    struct mc_timer a = timer('a');
    mc_timer_set(&loop, &a, UINT64_MAX);
    assert_int_equal(mc_loop_timeout(&loop, -1), INT_MAX);
    assert_int_equal(mc_loop_timeout(&loop, 7), 7);
    mc_timer_remove(&loop, &a);
}

static void late_callbacks_shorten_the_next_wait(void **state)
{
    (void)state;
    struct mc_timer a = timer('a');
    mc_timer_set(&loop, &a, 100);
    now += 70; /* a handler took long */
    mc_loop_turn(&loop, -1);
    assert_int_equal(script.timeout, 30);
    mc_timer_set(&loop, &a, 100);
    now += 300;
    mc_loop_turn(&loop, -1);
    assert_int_equal(script.timeout, 0);
    assert_string_equal(trace, "aa");
}

static struct mc_timer *others[2];

static void set_clear_remove(struct mc_timer *t)
{
    note_timer(t);
    mc_timer_clear(others[0]);
    mc_timer_remove(&loop, others[1]);
    mc_timer_set(&loop, t, 0); /* not in this turn */
}

static void callbacks_may_change_any_timer(void **state)
{
    (void)state;
    struct mc_timer a = timer('a'), b = timer('b'), c = timer('c');
    a.fn = set_clear_remove;
    others[0] = &b;
    others[1] = &c;
    mc_timer_set(&loop, &a, 1);
    mc_timer_set(&loop, &b, 2);
    mc_timer_set(&loop, &c, 2);
    now += 10;
    mc_loop_turn(&loop, 0);
    assert_string_equal(trace, "a");
    mc_loop_turn(&loop, 0);
    assert_string_equal(trace, "a");
    now += 1;
    mc_loop_turn(&loop, 0);
    assert_string_equal(trace, "aa");
    mc_timer_remove(&loop, &a);
}

static void free_timer(struct mc_timer *t)
{
    note('f');
    free(t);
}

static void callbacks_may_free_their_timer(void **state)
{
    (void)state;
    struct mc_timer *t = malloc(sizeof(*t));
    assert_non_null(t);
    mc_timer_init(t, free_timer, NULL);
    mc_timer_set(&loop, t, 5);
    mc_loop_turn(&loop, -1);
    assert_string_equal(trace, "f");
}

/* --- posts */

static void posts_run_once_at_the_end(void **state)
{
    (void)state;
    struct mc_post p, q;
    struct mc_timer t = timer('t');
    struct mc_io io;
    mc_io_init(&io, 3, note_io, (void *)(intptr_t)'i');
    mc_post_init(&p, note_post, (void *)(intptr_t)'p');
    mc_post_init(&q, note_post, (void *)(intptr_t)'q');
    mc_io_watch(&loop, &io, MC_WANT_READ);
    mc_post_add(&loop, &q);
    mc_post_add(&loop, &p);
    mc_post_add(&loop, &q);
    mc_timer_set(&loop, &t, 1);
    now += 1;
    ready(&io, MC_WANT_READ);
    mc_loop_turn(&loop, -1);
    assert_int_equal(script.timeout, 0); /* a post waits: no sleep */
    assert_string_equal(trace, "itqp");
    mc_post_add(&loop, &p);
    mc_post_add(&loop, &q);
    mc_post_remove(&p);
    mc_post_remove(&p);
    mc_loop_turn(&loop, -1);
    assert_string_equal(trace, "itqpq");
}

static struct mc_post *victim;

static void add_again(struct mc_post *p)
{
    note_post(p);
    if (strlen(trace) < 3)
        mc_post_add(&loop, p);
    if (victim)
        mc_post_remove(victim);
}

static void posts_of_posts_run_in_the_next_turn(void **state)
{
    (void)state;
    struct mc_post p, q;
    mc_post_init(&p, add_again, (void *)(intptr_t)'p');
    mc_post_init(&q, note_post, (void *)(intptr_t)'q');
    victim = &q;
    mc_post_add(&loop, &p);
    mc_post_add(&loop, &q);
    mc_loop_turn(&loop, -1);
    assert_string_equal(trace, "p"); /* q was removed within the batch */
    mc_loop_turn(&loop, -1);
    assert_int_equal(script.timeout, 0);
    assert_string_equal(trace, "pp");
    mc_loop_turn(&loop, -1);
    assert_string_equal(trace, "ppp");
    mc_loop_turn(&loop, 9);
    assert_int_equal(script.timeout, 9);
    victim = NULL;
}

/* --- descriptors */

static void the_back_end_hears_only_changes(void **state)
{
    (void)state;
    struct mc_io io;
    mc_io_init(&io, 3, note_io, (void *)(intptr_t)'i');
    mc_io_unwatch(&loop, &io); /* not watched: nothing */
    assert_int_equal(script.dels, 0);
    mc_io_watch(&loop, &io, MC_WANT_READ);
    mc_io_watch(&loop, &io, MC_WANT_READ);
    assert_int_equal(script.sets, 1);
    mc_io_unwatch(&loop, &io);
    mc_io_unwatch(&loop, &io);
    assert_int_equal(script.dels, 1);
    assert_int_equal(io.want, 0);
}

static void only_wanted_bits_are_told(void **state)
{
    (void)state;
    struct mc_io io;
    mc_io_init(&io, 3, note_io, (void *)(intptr_t)'i');
    mc_io_watch(&loop, &io, MC_WANT_READ);
    ready(&io, MC_WANT_WRITE);
    mc_loop_turn(&loop, 0);
    assert_string_equal(trace, "");
    assert_int_equal(io.ready, MC_WANT_WRITE);
    ready(&io, MC_WANT_READ | MC_READY_ERROR);
    mc_loop_turn(&loop, 0);
    assert_string_equal(trace, "i");
    assert_int_equal(io.ready, MC_WANT_READ | MC_WANT_WRITE | MC_READY_ERROR);
    mc_io_watch(&loop, &io, 0);
    ready(&io, MC_WANT_READ);
    mc_loop_turn(&loop, 0);
    assert_string_equal(trace, "i");
}

static struct mc_io *to_unwatch;

static void unwatch_other(struct mc_io *io)
{
    note_io(io);
    mc_io_unwatch(&loop, to_unwatch);
}

static void unwatched_ios_of_the_batch_are_skipped(void **state)
{
    (void)state;
    struct mc_io a, b, c;
    mc_io_init(&a, 3, unwatch_other, (void *)(intptr_t)'a');
    mc_io_init(&b, 4, note_io, (void *)(intptr_t)'b');
    mc_io_init(&c, 5, note_io, (void *)(intptr_t)'c');
    to_unwatch = &b;
    mc_io_watch(&loop, &a, MC_WANT_READ);
    mc_io_watch(&loop, &b, MC_WANT_READ);
    mc_io_watch(&loop, &c, MC_WANT_READ);
    ready(&a, MC_WANT_READ);
    ready(&b, MC_WANT_READ);
    ready(&c, MC_WANT_READ);
    assert_int_equal(mc_loop_turn(&loop, 0), 3);
    assert_string_equal(trace, "ac");
    assert_int_equal(b.ready, 0);
}

/* --- sleeping */

static void before(void *data)
{
    assert_ptr_equal(data, &now);
    note('<');
}

static void after(void *data)
{
    assert_ptr_equal(data, &now);
    note('>');
}

static void sleeps_are_framed(void **state)
{
    (void)state;
    struct mc_io io;
    mc_io_init(&io, 3, note_io, (void *)(intptr_t)'i');
    mc_io_watch(&loop, &io, MC_WANT_READ);
    loop.before_sleep = before;
    loop.after_sleep = after;
    loop.sleep_data = &now;
    ready(&io, MC_WANT_READ);
    mc_loop_turn(&loop, -1);
    assert_string_equal(trace, "i"); /* there was something at first sight */
    assert_int_equal(script.polls, 1);
    assert_int_equal(script.timeout, 0);
    mc_loop_turn(&loop, 20);
    assert_string_equal(trace, "i<>");
    assert_int_equal(script.polls, 3);
    assert_int_equal(script.timeout, 20);
    mc_loop_turn(&loop, 0);
    assert_string_equal(trace, "i<>");
    assert_int_equal(script.polls, 4);
}

static void failures_are_told(void **state)
{
    (void)state;
    script.n = -1;
    assert_int_equal(mc_loop_turn(&loop, 5), MC_ERROR);
    assert_int_equal(errno, EIO);
    struct mc_loop other;
    script.open_fails = true;
    assert_int_equal(mc_loop_open(&other, &ops), MC_ERROR);
    assert_int_equal(errno, EMFILE);
}

static void stop(struct mc_timer *t)
{
    note_timer(t);
    loop.stop = true;
}

static void run_goes_on_until_stopped(void **state)
{
    (void)state;
    struct mc_timer a = timer('a'), b = timer('b'), c = timer('c');
    b.fn = stop;
    mc_timer_set(&loop, &a, 10);
    mc_timer_set(&loop, &b, 20);
    mc_timer_set(&loop, &c, 30);
    mc_loop_run(&loop);
    assert_string_equal(trace, "ab");
    assert_int_equal(loop.turns, 2);
    assert_int_equal(mc_loop_timeout(&loop, -1), 0); /* a stopped loop does not sleep */
    mc_timer_remove(&loop, &c);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, open_loop, close_loop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(timers_fire_in_order_and_once),
        CASE(later_deadlines_do_not_touch_the_heap),
        CASE(earlier_deadlines_count_at_once),
        CASE(cleared_timers_do_not_fire),
        CASE(far_deadlines_are_cut),
        CASE(late_callbacks_shorten_the_next_wait),
        CASE(callbacks_may_change_any_timer),
        CASE(callbacks_may_free_their_timer),
        CASE(posts_run_once_at_the_end),
        CASE(posts_of_posts_run_in_the_next_turn),
        CASE(the_back_end_hears_only_changes),
        CASE(only_wanted_bits_are_told),
        CASE(unwatched_ios_of_the_batch_are_skipped),
        CASE(sleeps_are_framed),
        CASE(failures_are_told),
        CASE(run_goes_on_until_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
