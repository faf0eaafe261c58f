/* The same cases over each back end of the event loop, with real descriptors: registration, sticky readiness, level ios, removal. */
#include "core/base/module.h"
#include "core/event/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { MANY = 600 }; /* more than two batches */

struct seen {
    unsigned calls;
    uint8_t bits; /* of the last call */
};

struct fixture {
    struct mc_loop loop;
    int pair[2];
    struct mc_io io;
    struct seen seen;
};

static const struct mc_event_ops *ops; /* of the back end under test */

static void note(struct mc_io *io)
{
    struct seen *s = io->data;
    s->calls++;
    s->bits = io->ready;
}

static int open_loop(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    if (!f || mc_loop_open(&f->loop, ops) != MC_OK)
        return -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, f->pair) < 0)
        return -1;
    mc_io_init(&f->io, f->pair[0], note, &f->seen);
    *state = f;
    return 0;
}

static int close_loop(void **state)
{
    struct fixture *f = *state;
    mc_io_unwatch(&f->loop, &f->io);
    if (f->pair[0] >= 0)
        close(f->pair[0]);
    if (f->pair[1] >= 0)
        close(f->pair[1]);
    mc_loop_close(&f->loop);
    free(f);
    return 0;
}

static void put(int fd, size_t n)
{
    char buf[256] = "";
    assert_int_equal(write(fd, buf, n), (ssize_t)n);
}

static ssize_t take(int fd)
{
    char buf[256];
    return read(fd, buf, sizeof(buf));
}

static void fill(int fd)
{
    char buf[65536] = "";
    while (write(fd, buf, sizeof(buf)) > 0)
        continue;
    assert_int_equal(errno, EAGAIN);
}

static void turn(struct fixture *f)
{
    assert_true(mc_loop_turn(&f->loop, 0) >= 0);
}

static void streams_tell_what_is_wanted(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(mc_io_watch(&f->loop, &f->io, MC_WANT_READ), MC_OK);
    assert_true(f->io.registered);
    turn(f);
    assert_int_equal(f->seen.calls, 0); /* writable, but that is not wanted */
    put(f->pair[1], 10);
    turn(f);
    assert_int_equal(f->seen.calls, 1);
    assert_true(f->seen.bits & MC_WANT_READ);
    assert_false(f->seen.bits & MC_READY_ERROR);
}

static void noted_bits_are_not_told_again(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(mc_io_watch(&f->loop, &f->io, MC_WANT_READ), MC_OK);
    put(f->pair[1], 10);
    for (int i = 0; i < 3; i++)
        turn(f);
    assert_int_equal(f->seen.calls, 1);
    /* Read to the end: the bit is cleared by the owner, and the next bytes are news. */
    assert_int_equal(take(f->pair[0]), 10);
    assert_int_equal(take(f->pair[0]), -1);
    f->io.ready &= (uint8_t)~MC_WANT_READ;
    turn(f);
    assert_int_equal(f->seen.calls, 1);
    put(f->pair[1], 1);
    turn(f);
    assert_int_equal(f->seen.calls, 2);
}

static void room_to_write_is_told(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(mc_io_watch(&f->loop, &f->io, MC_WANT_READ), MC_OK);
    turn(f);
    fill(f->pair[0]);
    f->io.ready &= (uint8_t)~MC_WANT_WRITE;
    assert_int_equal(mc_io_watch(&f->loop, &f->io, MC_WANT_READ | MC_WANT_WRITE), MC_OK);
    turn(f);
    assert_int_equal(f->seen.calls, 0);
    while (take(f->pair[1]) > 0)
        continue;
    turn(f);
    assert_int_equal(f->seen.calls, 1);
    assert_true(f->seen.bits & MC_WANT_WRITE);
    assert_false(f->seen.bits & MC_WANT_READ);
}

static void unwanted_events_are_only_noted_or_kept(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(mc_io_watch(&f->loop, &f->io, 0), MC_OK);
    put(f->pair[1], 1);
    turn(f);
    assert_int_equal(f->seen.calls, 0);
    /* Wanted now: either the bit is noted, and the owner comes back by itself, or the event comes. */
    assert_int_equal(mc_io_watch(&f->loop, &f->io, MC_WANT_READ), MC_OK);
    bool noted = f->io.ready & MC_WANT_READ;
    turn(f);
    assert_int_equal(f->seen.calls, noted ? 0 : 1);
    assert_true(f->io.ready & MC_WANT_READ);
}

static void the_end_of_input_is_readable(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(mc_io_watch(&f->loop, &f->io, MC_WANT_READ), MC_OK);
    turn(f);
    assert_int_equal(shutdown(f->pair[1], SHUT_WR), 0);
    turn(f);
    assert_int_equal(f->seen.calls, 1);
    assert_true(f->seen.bits & MC_WANT_READ);
    assert_true(f->seen.bits & MC_READY_ERROR);
    assert_false(f->seen.bits & MC_READY_HUP);
    assert_int_equal(take(f->pair[0]), 0);
    for (int i = 0; i < 3; i++)
        turn(f);
    assert_int_equal(f->seen.calls, 1); /* it does not spin */
}

static void a_lost_peer_is_told_in_both_directions(void **state)
{
    struct fixture *f = *state;
    fill(f->pair[0]);
    assert_int_equal(mc_io_watch(&f->loop, &f->io, MC_WANT_WRITE), MC_OK);
    turn(f);
    assert_int_equal(f->seen.calls, 0);
    close(f->pair[1]);
    f->pair[1] = -1;
    turn(f);
    assert_int_equal(f->seen.calls, 1);
    assert_int_equal(f->seen.bits, MC_WANT_READ | MC_WANT_WRITE | MC_READY_ERROR | MC_READY_HUP);
    for (int i = 0; i < 3; i++)
        turn(f);
    assert_int_equal(f->seen.calls, 1);
}

static void a_lost_peer_is_told_though_both_directions_are_noted(void **state)
{
    struct fixture *f = *state;
    put(f->pair[1], 4);
    assert_int_equal(mc_io_watch(&f->loop, &f->io, MC_WANT_READ | MC_WANT_WRITE), MC_OK);
    turn(f);
    f->io.ready |= MC_WANT_READ | MC_WANT_WRITE; /* the owner leaves the bytes where they are */
    int calls = f->seen.calls;
    turn(f);
    assert_int_equal(f->seen.calls, calls);
    close(f->pair[1]);
    f->pair[1] = -1;
    for (int i = 0; i < 3; i++)
        turn(f);
    assert_int_equal(f->seen.calls, calls + 1);
    assert_true(f->io.ready & MC_READY_HUP);
}

static void level_ios_are_called_while_readable(void **state)
{
    struct fixture *f = *state;
    f->io.level = true;
    assert_int_equal(mc_io_watch(&f->loop, &f->io, MC_WANT_READ), MC_OK);
    put(f->pair[1], 4);
    for (unsigned i = 1; i <= 3; i++) {
        turn(f);
        assert_int_equal(f->seen.calls, i);
        assert_int_equal(f->seen.bits, MC_WANT_READ);
    }
    /* Off and on again, as listeners of a busy worker. */
    assert_int_equal(mc_io_watch(&f->loop, &f->io, 0), MC_OK);
    assert_false(f->io.registered);
    assert_int_equal(mc_io_watch(&f->loop, &f->io, 0), MC_OK);
    turn(f);
    assert_int_equal(f->seen.calls, 3);
    assert_int_equal(mc_io_watch(&f->loop, &f->io, MC_WANT_READ), MC_OK);
    turn(f);
    assert_int_equal(f->seen.calls, 4);
    assert_int_equal(mc_io_watch(&f->loop, &f->io, MC_WANT_WRITE), MC_OK);
    turn(f);
    assert_int_equal(f->seen.calls, 5);
    assert_int_equal(f->seen.bits, MC_WANT_WRITE);
    assert_int_equal(take(f->pair[0]), 4);
    assert_int_equal(mc_io_watch(&f->loop, &f->io, MC_WANT_READ), MC_OK);
    turn(f);
    assert_int_equal(f->seen.calls, 5);
}

static void exclusive_ios_can_change_too(void **state)
{
    struct fixture *f = *state;
    f->io.level = f->io.exclusive = true;
    put(f->pair[1], 4);
    assert_int_equal(mc_io_watch(&f->loop, &f->io, MC_WANT_READ), MC_OK);
    turn(f);
    assert_int_equal(f->seen.calls, 1);
    assert_int_equal(mc_io_watch(&f->loop, &f->io, MC_WANT_READ | MC_WANT_WRITE), MC_OK);
    turn(f);
    assert_int_equal(f->seen.bits, MC_WANT_READ | MC_WANT_WRITE);
    assert_int_equal(mc_io_watch(&f->loop, &f->io, 0), MC_OK);
    turn(f);
    assert_int_equal(f->seen.calls, 2);
}

static void bad_descriptors_are_refused_or_told(void **state)
{
    struct fixture *f = *state;
    struct mc_io bad;
    struct seen seen = {0};
    mc_io_init(&bad, 987654, note, &seen);
    if (mc_io_watch(&f->loop, &bad, MC_WANT_READ) == MC_OK) { /* poll(2) notices later */
        turn(f);
        assert_int_equal(seen.calls, 1);
        assert_true(seen.bits & MC_READY_ERROR);
        mc_io_unwatch(&f->loop, &bad);
    } else {
        assert_int_equal(errno, EBADF);
        assert_false(bad.registered);
    }
}

/* A removal that failed left something in the set: the descriptor must be watchable all the same, or a listener would stay deaf. */
static void a_forgotten_registration_is_replaced(void **state)
{
    struct fixture *f = *state;
    struct mc_io gone;
    struct seen seen = {0};
    struct epoll_event stale = {.events = EPOLLIN, .data.ptr = &gone};
    mc_io_init(&gone, f->pair[0], note, &seen);
    if (f->loop.ops->fd(&f->loop) >= 0 && strcmp(ops->name, "epoll") == 0)
        assert_int_equal(epoll_ctl(f->loop.ops->fd(&f->loop), EPOLL_CTL_ADD, f->pair[0], &stale), 0);
    f->io.level = f->io.exclusive = true;
    assert_int_equal(mc_io_watch(&f->loop, &f->io, MC_WANT_READ), MC_OK);
    put(f->pair[1], 4);
    turn(f);
    assert_int_equal(f->seen.calls, 1);
    assert_int_equal(seen.calls, 0);
}

/* --- many descriptors, and callbacks that remove others */

static struct {
    struct mc_loop *loop;
    struct mc_io *io[MANY];
    unsigned calls;
    int victim_step;
} many;

static void free_io(int i)
{
    struct mc_io *io = many.io[i];
    many.io[i] = NULL;
    int fd = io->fd;
    mc_io_unwatch(many.loop, io);
    close(fd);
    free(io);
}

/* Frees itself and its neighbour: neither may be touched again. */
static void free_two(struct mc_io *io)
{
    int me = (int)(intptr_t)io->data;
    many.calls++;
    free_io(me);
    int other = me ^ 1;
    if (many.io[other])
        free_io(other);
}

static void callbacks_may_free_any_io(void **state)
{
    struct fixture *f = *state;
    many.loop = &f->loop;
    many.calls = 0;
    for (int i = 0; i < MANY; i++) {
        many.io[i] = malloc(sizeof(struct mc_io));
        assert_non_null(many.io[i]);
        mc_io_init(many.io[i], eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC), free_two, (void *)(intptr_t)i);
        many.io[i]->level = i % 3 == 0;
        assert_int_equal(mc_io_watch(&f->loop, many.io[i], MC_WANT_READ), MC_OK);
    }
    for (int i = 0; i < 10; i++)
        turn(f);
    assert_int_equal(many.calls, MANY / 2);
    for (int i = 0; i < MANY; i++)
        assert_null(many.io[i]);
}

static void count_one(struct mc_io *io)
{
    unsigned char *count = io->data;
    if (*count < 255)
        ++*count;
}

static void a_full_batch_starves_nobody(void **state)
{
    struct fixture *f = *state;
    static struct mc_io ios[MANY];
    static unsigned char counts[MANY];
    memset(counts, 0, sizeof(counts));
    for (int i = 0; i < MANY; i++) {
        mc_io_init(&ios[i], eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC), count_one, &counts[i]);
        ios[i].level = true;
        assert_int_equal(mc_io_watch(&f->loop, &ios[i], MC_WANT_READ), MC_OK);
    }
    for (int i = 0; i < 10; i++)
        turn(f);
    for (int i = 0; i < MANY; i++) {
        assert_in_range(counts[i], 1, 10);
        mc_io_unwatch(&f->loop, &ios[i]);
        close(ios[i].fd);
    }
    turn(f);
}

/* A new connection may get the descriptor and the memory of one that was closed in the same batch. */
static struct mc_io reused;
static struct seen reused_seen;
static int reused_pair[2];

static void close_and_reuse(struct mc_io *io)
{
    struct mc_loop *loop = io->data;
    int fd = reused.fd;
    mc_io_unwatch(loop, &reused);
    assert_int_equal(dup3(reused_pair[0], fd, O_CLOEXEC), fd);
    mc_io_init(&reused, fd, note, &reused_seen);
    assert_int_equal(mc_io_watch(loop, &reused, MC_WANT_READ), MC_OK);
    mc_io_unwatch(loop, io);
}

static void stale_events_do_not_reach_a_reused_io(void **state)
{
    struct fixture *f = *state;
    struct mc_io first;
    int one = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC), two = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, reused_pair), 0);
    reused_seen = (struct seen){0};
    mc_io_init(&first, one, close_and_reuse, &f->loop);
    mc_io_init(&reused, two, note, &reused_seen);
    assert_int_equal(mc_io_watch(&f->loop, &first, MC_WANT_READ), MC_OK);
    assert_int_equal(mc_io_watch(&f->loop, &reused, MC_WANT_READ), MC_OK);
    turn(f);
    turn(f);
    assert_int_equal(reused_seen.calls, 0);
    put(reused_pair[1], 1);
    turn(f);
    assert_int_equal(reused_seen.calls, 1);
    mc_io_unwatch(&f->loop, &reused);
    close(one);
    close(two);
    close(reused_pair[0]);
    close(reused_pair[1]);
}

static void wake(int sig)
{
    (void)sig;
}

static void a_signal_ends_a_wait_without_an_error(void **state)
{
    struct fixture *f = *state;
    struct sigaction sa = {.sa_handler = wake}, old;
    struct itimerval soon = {.it_value = {0, 1000}, .it_interval = {0, 1000}}, off = {0};
    assert_int_equal(sigaction(SIGALRM, &sa, &old), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
    int n = mc_loop_turn(&f->loop, -1); /* nothing else would end it */
    assert_int_equal(setitimer(ITIMER_REAL, &off, NULL), 0);
    assert_int_equal(sigaction(SIGALRM, &old, NULL), 0);
    assert_int_equal(n, 0);
}

static void stop(struct mc_timer *t)
{
    struct mc_loop *loop = t->data;
    loop->stop = true;
}

static void a_timer_ends_a_wait(void **state)
{
    struct fixture *f = *state;
    struct mc_timer t;
    mc_timer_init(&t, stop, &f->loop);
    assert_int_equal(mc_timer_set(&f->loop, &t, 3), MC_OK);
    mc_loop_run(&f->loop);
    assert_int_equal(t.when, 0);
}

static void a_foreign_loop_can_watch_ours(void **state)
{
    struct fixture *f = *state;
    int fd = f->loop.ops->fd(&f->loop);
    if (fd < 0)
        skip(); /* this back end has no descriptor */
    struct epoll_event ev = {.events = EPOLLIN};
    int outer = epoll_create1(EPOLL_CLOEXEC);
    assert_int_equal(epoll_ctl(outer, EPOLL_CTL_ADD, fd, &ev), 0);
    assert_int_equal(mc_io_watch(&f->loop, &f->io, MC_WANT_READ), MC_OK);
    turn(f);
    assert_int_equal(epoll_wait(outer, &ev, 1, 0), 0);
    put(f->pair[1], 1);
    assert_int_equal(epoll_wait(outer, &ev, 1, 0), 1);
    turn(f);
    assert_int_equal(f->seen.calls, 1);
    close(outer);
}

/* A child of the app keeps a copy of the descriptor open for a while: no event may come for an io that is gone. */
static void copies_in_children_cause_no_events(void **state)
{
    struct fixture *f = *state;
    int hold[2];
    assert_int_equal(pipe(hold), 0);
    assert_int_equal(mc_io_watch(&f->loop, &f->io, MC_WANT_READ), MC_OK);
    pid_t child = fork();
    if (child == 0) {
        close(hold[1]);
        take(hold[0]);
        _exit(0);
    }
    mc_io_unwatch(&f->loop, &f->io);
    close(f->pair[0]);
    f->pair[0] = -1;
    put(f->pair[1], 1);
    assert_int_equal(mc_loop_turn(&f->loop, 0), 0);
    close(hold[0]);
    close(hold[1]);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, open_loop, close_loop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(streams_tell_what_is_wanted),
        CASE(noted_bits_are_not_told_again),
        CASE(room_to_write_is_told),
        CASE(unwanted_events_are_only_noted_or_kept),
        CASE(the_end_of_input_is_readable),
        CASE(a_lost_peer_is_told_in_both_directions),
        CASE(a_lost_peer_is_told_though_both_directions_are_noted),
        CASE(level_ios_are_called_while_readable),
        CASE(exclusive_ios_can_change_too),
        CASE(bad_descriptors_are_refused_or_told),
        CASE(a_forgotten_registration_is_replaced),
        CASE(callbacks_may_free_any_io),
        CASE(a_full_batch_starves_nobody),
        CASE(stale_events_do_not_reach_a_reused_io),
        CASE(a_signal_ends_a_wait_without_an_error),
        CASE(a_timer_ends_a_wait),
        CASE(a_foreign_loop_can_watch_ours),
        CASE(copies_in_children_cause_no_events),
    };
    int failed = 0, tried = 0;
    for (const struct mc_module *const *m = mc_modules; *m; m++) {
        if ((*m)->kind != MC_MODULE_EVENT)
            continue;
        ops = (*m)->ops.event;
        tried++;
        failed += cmocka_run_group_tests_name(ops->name, tests, NULL, NULL);
    }
    if (tried == 0)
        fprintf(stderr, "no event module in this build\n");
    return failed != 0 || tried == 0;
}
