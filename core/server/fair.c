/* Who accepts next. For each connection the kernel wakes the first worker of its line that sleeps. With few at work that is always the same one, and it keeps
 * what stays: kept connections, WebSockets. So who has more than its share goes to the end of the line. Worker side, on the loop. */
#include "core/server/worker.h"

enum { SLACK = 8 }; /* connections above the mean, and an eighth of it: what comes and goes needs no care */

/* The mean of the pool's workers that serve, this one among them, and some. */
static unsigned share(const struct mc_worker *w)
{
    uint64_t sum = 0;
    unsigned n = 0;
    for (unsigned i = 0; w->slots && i < w->nslots; i++) {
        const struct mc_slot *s = &w->slots[i];
        uint32_t state = mc_slot_get(s->state);
        if ((state == MC_SLOT_IDLE || state == MC_SLOT_BUSY) && mc_slot_get(s->pool) == mc_slot_get(w->slot->pool)) {
            uint64_t connections = mc_slot_get(s->connections);
            sum += connections < (uint64_t) w->pool->set.worker_connections ? connections : (uint64_t) w->pool->set.worker_connections;
            n++;
        }
    }
    return n ? (unsigned) (sum / n + sum / n / 8) + SLACK : UINT32_MAX;
}

bool mc_worker_is_ahead(struct mc_worker *w, const struct mc_listener *l)
{
    if (mc_likely(w->nconns <= w->share) || w->draining) {
        return false;
    }
    w->share = l->io.exclusive && !w->conf->set.reuse_port ? share(w) : UINT32_MAX; /* with reuse_port no other worker could accept instead */
    return w->nconns > w->share;
}

void mc_worker_make_way(struct mc_worker *w, struct mc_listener *l)
{
    if (!l->watched || !mc_worker_is_ahead(w, l)) {
        return;
    }
    mc_io_unwatch(&w->loop, &l->io);
    l->watched = mc_io_watch(&w->loop, &l->io, MC_WANT_READ) == MC_OK;
    if (!l->watched) {
        mc_worker_changed(w); /* tries again */
    }
}
