/* What the service manager hears of this server and when: READY when every pool has a worker that is ready, not before; STATUS when a number in it has
 * changed; signs of life for its watchdog from the arbiter's loop. Called by the arbiter. */
#include "core/process/arbiter.h"
#include "core/process/notify.h"
#include "core/process/upgrade.h"

static void tell_status(struct mc_arbiter *a)
{
    unsigned ready = 0, leaving = 0, wanted = mc_generation_workers(a->gen);
    for (unsigned i = 0; i < a->nkids; i++) {
        ready += a->kids[i].life == MC_LIFE_READY;
        leaving += a->kids[i].life == MC_LIFE_LEAVING;
    }
    if (a->stop_ms && a->stopping == MC_STOP_NOT)
        mc_notify_status("The stop begins in %u s", a->stop_ms > a->loop.now ? (unsigned)((a->stop_ms - a->loop.now + 999) / 1000) : 0u);
    else if (a->stopping != MC_STOP_NOT)
        mc_notify_status(leaving == 1 ? "Stopping: %u worker finishes its requests" : "Stopping: %u workers finish their requests", leaving);
    else if (a->reload.state != MC_RELOAD_NONE)
        mc_notify_status("Reloading: %u workers ready, %u leave", ready, leaving);
    else if (leaving)
        mc_notify_status("%u of %u workers ready, %u leave", ready, wanted, leaving);
    else
        mc_notify_status("%u of %u workers ready", ready, wanted);
}

void mc_announce_tend(struct mc_arbiter *a)
{
    if (a->stopping == MC_STOP_NOT && a->reload.state == MC_RELOAD_NONE && mc_generation_ready(a->gen))
        mc_notify_ready();
    tell_status(a);
    uint64_t next = mc_notify_alive(a->loop.now);
    if (next)
        mc_arbiter_wake_at(a, next);
}

enum { MORE_MS = 5000 };

/* A manager that has told us to stop waits for so long. */
void mc_announce_delay(uint64_t delay_ms)
{
    mc_notify_extend(delay_ms + MORE_MS);
}

void mc_announce_stop(struct mc_arbiter *a)
{
    uint64_t limit = 0;
    /* The manager must not take our end for the service's. */
    if (mc_upgrade_leave())
        return;
    for (struct mc_arb_pool *p = mc_generation_next_pool(a, NULL); p; p = mc_generation_next_pool(a, p)) {
        uint64_t grace = (uint64_t)p->conf->set.graceful_timeout;
        limit = grace > limit ? grace : limit;
    }
    mc_notify_stopping(limit ? limit + MORE_MS : 0);
}
