/* The loop: one turn is poll, events, timers, posts, in this order. Owns the batch of events that is being dispatched.
 * Never touches a descriptor itself: the back end (modules/event) does. Called by every process that waits: arbiter, workers, or a foreign
 * loop that runs single turns of ours. */
#include "core/event/loop.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/event/timer.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 64 /* what the events of a batch have read is to be in the cache still when its requests run, after the batch */ };

int mc_loop_open(struct mc_loop *l, const struct mc_event_ops *ops)
{
    *l = (struct mc_loop){.ops = ops};
    mc_loop_refresh(l);
    mc_heap_init(&l->timers);
    mc_list_init(&l->posts);
    mc_list_init(&l->gone);
    l->ready = calloc(BATCH, sizeof(*l->ready));
    if (l->ready && ops->open(l) == MC_OK)
        return MC_OK;
    int why = errno;
    free(l->ready);
    *l = (struct mc_loop){.ops = NULL}; /* nothing to close */
    errno = why;
    return MC_ERROR;
}

void mc_loop_close(struct mc_loop *l)
{
    l->ops->close(l);
    mc_heap_fini(&l->timers);
    while (mc_list_pop(&l->posts))
        continue;
    free(l->ready);
    l->ready = NULL;
}

uint64_t mc_loop_refresh(struct mc_loop *l)
{
    l->now_us = mc_clock_ns() / 1000;
    return l->now = l->now_us / 1000;
}

void mc_loop_read(struct mc_loop *l, uint64_t us)
{
    if (us > l->now_us) {
        l->now_us = us;
        l->now = us / 1000;
    }
}

int mc_loop_timeout(struct mc_loop *l, int max_wait)
{
    const struct mc_heap_node *first = mc_heap_min(&l->timers);
    if (max_wait == 0 || l->stop || !mc_list_empty(&l->posts))
        return 0;
    if (!first)
        return max_wait;
    uint64_t now = mc_loop_refresh(l); /* callbacks may have taken long */
    uint64_t ms = first->key > now ? first->key - now : 0;
    if (max_wait > 0 && ms > (uint64_t)max_wait)
        return max_wait;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

/* before_sleep and after_sleep cost something (a lock), so they stand only round a poll that finds nothing at first sight. */
static int wait_events(struct mc_loop *l, int timeout)
{
    if (timeout == 0 || !l->before_sleep)
        return l->ops->poll(l, timeout, l->ready, BATCH);
    int n = l->ops->poll(l, 0, l->ready, BATCH);
    if (n != 0)
        return n;
    l->before_sleep(l->sleep_data);
    n = l->ops->poll(l, timeout, l->ready, BATCH);
    int why = errno;
    if (l->after_sleep)
        l->after_sleep(l->sleep_data);
    errno = why;
    return n;
}

static void dispatch(struct mc_loop *l, int n)
{
    l->ready_n = n;
    for (l->ready_i = 0; l->ready_i < l->ready_n; l->ready_i++) {
        struct mc_io *io = l->ready[l->ready_i].io;
        uint8_t bits = l->ready[l->ready_i].bits;
        if (!io)
            continue; /* unwatched by an earlier callback of this batch */
        io->ready = io->level ? bits : io->ready | bits;
        if (bits & io->want)
            io->fn(io); /* may free io */
    }
    l->ready_n = l->ready_i = 0;
}

static void run_posts(struct mc_loop *l)
{
    struct mc_link batch;
    if (mc_list_empty(&l->posts))
        return;
    /* What posts add waits for the next turn, so that a post that adds itself does not starve the descriptors. */
    batch = l->posts;
    batch.next->prev = batch.prev->next = &batch;
    mc_list_init(&l->posts);
    for (struct mc_link *link; (link = mc_list_pop(&batch));) {
        struct mc_post *p = mc_container(link, struct mc_post, link);
        p->fn(p);
    }
}

int mc_loop_turn(struct mc_loop *l, int max_wait)
{
    int n = wait_events(l, mc_loop_timeout(l, max_wait));
    mc_loop_refresh(l);
    if (n < 0)
        return MC_ERROR;
    l->turns++;
    l->events += (unsigned long)n;
    dispatch(l, n);
    mc_timer_run_due(l);
    run_posts(l);
    return n;
}

void mc_loop_run(struct mc_loop *l)
{
    while (!l->stop) {
        if (mc_loop_turn(l, -1) < 0)
            mc_fatal(MC_EXIT_FAIL, "Event back end %s failed: %s", l->ops->name, strerror(errno));
    }
}
