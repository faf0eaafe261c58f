/* Timers: a deadline that moves later (the common case: one more request on a connection) is only noted in the timer; the heap keeps the
 * old key, and when that comes up the node is put where it belongs. Called by owners of timers and by the loop. */
#include "core/event/timer.h"

void mc_timer_init(struct mc_timer *t, void (*fn)(struct mc_timer *), void *data)
{
    *t = (struct mc_timer){.fn = fn, .data = data};
}

int mc_timer_set(struct mc_loop *l, struct mc_timer *t, uint64_t ms)
{
    if (ms == 0)
        ms = 1;
    uint64_t when = ms < UINT64_MAX - l->now ? l->now + ms : UINT64_MAX;
    if (t->node.index == 0) {
        if (mc_heap_add(&l->timers, &t->node, when) != MC_OK)
            return MC_ERROR;
    } else if (when < t->node.key) {
        mc_heap_rekey(&l->timers, &t->node, when);
    }
    t->when = when;
    return MC_OK;
}

void mc_timer_clear(struct mc_timer *t)
{
    t->when = 0;
}

void mc_timer_remove(struct mc_loop *l, struct mc_timer *t)
{
    mc_heap_remove(&l->timers, &t->node);
    t->when = 0;
}

void mc_timer_run_due(struct mc_loop *l)
{
    for (struct mc_heap_node *node; (node = mc_heap_min(&l->timers)) && node->key <= l->now;) {
        struct mc_timer *t = mc_container(node, struct mc_timer, node);
        if (t->when > l->now) {
            mc_heap_rekey(&l->timers, node, t->when);
            continue;
        }
        mc_heap_remove(&l->timers, node);
        if (t->when == 0)
            continue; /* cleared */
        t->when = 0;
        t->fn(t); /* may free t */
    }
}
