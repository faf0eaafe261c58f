/* The end: workers are told to leave, those that do not are killed, and the exit code is kept. Two ways (graceful, quick), each of which a
 * further signal makes harsher; before the graceful one shutdown_delay. Called by the arbiter's loop. */
#include "core/process/arbiter.h"
#include "core/process/upgrade.h"

/* Who is asked by other pools stays as long as those may, and gets its own time when they have gone (hops.c). */
static uint64_t grace_of(const struct mc_kid *k)
{
    const struct mc_conf *conf = k->pool->gen->conf;
    uint64_t grace = (uint64_t)k->pool->conf->set.graceful_timeout;
    for (size_t i = 0; k->pool->conf->hops && grace && i < conf->npools; i++) {
        uint64_t other = (uint64_t)conf->pools[i].set.graceful_timeout;
        if (other == 0 || other > grace)
            grace = other;
    }
    return grace;
}

static uint64_t limit_of(const struct mc_kid *k, enum mc_stopping how)
{
    uint64_t grace = grace_of(k);
    if (how != MC_STOP_GRACEFUL)
        return MC_POLICY_QUICK_MS;
    return grace ? grace + MC_POLICY_GRACE_MS : 0;
}

static void dismiss(struct mc_kid *k, enum mc_stopping how)
{
    if (k->life == MC_LIFE_NONE)
        return;
    if (how == MC_STOP_FORCED) {
        mc_kid_signal(k, SIGKILL, MC_KILL_FORCED);
        if (k->life == MC_LIFE_ASKED)
            mc_kid_forget(k);
        return;
    }
    /* A zygote has nothing to finish, and one that imports does not listen: TERM ends it there. */
    if (!k->slot && k->life == MC_LIFE_BOOTING)
        mc_kid_signal(k, SIGTERM, MC_KILL_NONE);
    bool graceful = how == MC_STOP_GRACEFUL && k->slot;
    mc_kid_leave(k, graceful ? MC_MSG_DRAIN : MC_MSG_STOP, limit_of(k, graceful ? how : MC_STOP_QUICK),
                 graceful ? MC_KILL_GRACE : MC_KILL_QUICK);
}

/* Health checks hear of it. */
static void mark(struct mc_arbiter *a)
{
    for (unsigned i = 0; i < a->nkids; i++) {
        if (a->kids[i].life != MC_LIFE_NONE && a->kids[i].slot)
            mc_slot_set(a->kids[i].slot->ending, 1u);
    }
}

void mc_stop_begin(struct mc_arbiter *a, enum mc_stopping how)
{
    if (how <= a->stopping)
        return;
    mark(a);
    if (a->stopping == MC_STOP_NOT) {
        mc_reload_stop(a);
        mc_announce_stop(a);
        if (how == MC_STOP_GRACEFUL)
            mc_seats_refuse(a);
        else
            mc_seats_close(a);
        if (how == MC_STOP_GRACEFUL)
            mc_listeners_refuse(a->gen);
        else
            mc_listeners_close(a->gen);
    }
    a->stopping = how;
    for (unsigned i = 0; i < a->nkids; i++)
        dismiss(&a->kids[i], how);
    for (struct mc_arb_pool *p = mc_generation_next_pool(a, NULL); p; p = mc_generation_next_pool(a, p)) {
        if (how == MC_STOP_FORCED || !mc_notice_keeps(&p->zygote))
            dismiss(&p->zygote, how);
    }
}

/* Who is followed by another program has nobody to keep waiting. */
void mc_stop_ask(struct mc_arbiter *a)
{
    int64_t delay = a->gen->conf->set.shutdown_delay;
    if (delay == 0 || a->stop_ms || a->check || mc_upgrade_followed()) {
        mc_stop_begin(a, MC_STOP_GRACEFUL);
        return;
    }
    a->stop_ms = mc_loop_refresh(&a->loop) + (uint64_t)delay;
    mc_info("The stop begins in %.3g s (shutdown_delay); health checks fail from now on", (double)delay / 1000);
    mark(a);
    mc_announce_delay((uint64_t)delay);
}

void mc_stop_tend(struct mc_arbiter *a)
{
    if (!a->stop_ms || a->stopping != MC_STOP_NOT)
        return;
    if (a->loop.now >= a->stop_ms)
        mc_stop_begin(a, MC_STOP_GRACEFUL);
    else
        mc_arbiter_wake_at(a, a->stop_ms);
}

void mc_stop_halt(struct mc_arbiter *a, int code)
{
    if (a->code != MC_EXIT_OK)
        return;
    a->code = code;
    if (code == MC_EXIT_APP)
        a->reason = "App failed to load.";
    else if (code == MC_EXIT_BOOT)
        a->reason = "Worker failed to boot.";
    mc_stop_begin(a, MC_STOP_QUICK);
}

bool mc_stop_done(const struct mc_arbiter *a)
{
    for (unsigned i = 0; i < a->nkids; i++) {
        if (a->kids[i].life != MC_LIFE_NONE)
            return false;
    }
    for (const struct mc_arb_pool *p = mc_generation_next_pool(a, NULL); p; p = mc_generation_next_pool(a, p)) {
        if (p->zygote.life != MC_LIFE_NONE)
            return false;
    }
    return a->reload.loader == 0;
}
