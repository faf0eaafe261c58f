/* How many workers of each pool live: births, those too many, replacements of those that asked to be replaced, and zygotes. What to decide is in
 * policy.c. Called by the arbiter's loop on each turn. */
#include "core/process/arbiter.h"

static void retire(struct mc_kid *k)
{
    uint64_t grace = (uint64_t) k->pool->conf->set.graceful_timeout;
    mc_kid_leave(k, MC_MSG_DRAIN, grace ? grace + MC_POLICY_GRACE_MS : 0, MC_KILL_GRACE);
}

/* One too many: rather one that is not ready yet, or is least busy; of equals the oldest. */
static void retire_one(struct mc_arbiter *a, struct mc_arb_pool *p)
{
    struct mc_kid *best = NULL;
    unsigned least = 0;
    for (unsigned i = 0; i < a->nkids; i++) {
        struct mc_kid *k = &a->kids[i];
        if (k->pool != p || !mc_kid_live(k))
            continue;
        unsigned activity = k->life == MC_LIFE_READY ? 1 + mc_scaling_activity(k) : 0;
        bool seat = mc_seats_first_to_leave(k), before = best && mc_seats_first_to_leave(best);
        bool less = activity < least || (activity == least && best && k->started_ms < best->started_ms);
        if (!best || (seat != before ? seat : less)) {
            best = k;
            least = activity;
        }
    }
    if (best)
        retire(best);
}

struct census {
    unsigned live, unproved;
};

static struct census count(const struct mc_arbiter *a, const struct mc_arb_pool *p)
{
    struct census c = {0, 0};
    for (unsigned i = 0; i < a->nkids; i++) {
        const struct mc_kid *k = &a->kids[i];
        if (k->pool != p || !mc_kid_live(k))
            continue;
        c.live++;
        c.unproved += !k->proved;
    }
    return c;
}

static void tend_zygote(struct mc_arbiter *a, struct mc_arb_pool *p)
{
    if (!p->conf->python || p->zygote.life != MC_LIFE_NONE)
        return;
    if (a->check && p->zygote.started_ms)
        return;
    if (mc_policy_births(&p->births, 1, 0, 0, a->loop.now) == 0)
        return;
    if (mc_spawn_zygote(a, p) == MC_ERROR)
        mc_policy_failed(&p->births, a->loop.now);
}

/* The worker that asked first to be replaced, one at a time; *booting: its successor, or another, is on its way. */
static struct mc_kid *recycler(struct mc_arbiter *a, const struct mc_arb_pool *p, bool *booting)
{
    struct mc_kid *first = NULL;
    *booting = false;
    for (unsigned i = 0; i < a->nkids; i++) {
        struct mc_kid *k = &a->kids[i];
        if (k->pool != p || !mc_kid_live(k)) continue;
        *booting |= k->life != MC_LIFE_READY;
        if (k->recycling && (!first || k->started_ms < first->started_ms)) first = k;
    }
    return first;
}

static void tell_if_alone(struct mc_arbiter *a, const struct mc_arb_pool *p, bool alone)
{
    for (unsigned i = 0; i < a->nkids; i++) {
        if (a->kids[i].pool == p && mc_kid_live(&a->kids[i]))
            mc_slot_set(a->kids[i].slot->alone, alone);
    }
}

static void tend_pool(struct mc_arbiter *a, struct mc_arb_pool *p)
{
    bool booting;
    tend_zygote(a, p);
    if (a->check) {
        if (mc_spawn_has_check(p) && p->zygote.started_ms == 0 && mc_spawn_check(a, p) != MC_OK)
            a->code = MC_EXIT_FAIL;
        return;
    }
    struct census c = count(a, p);
    struct mc_kid *old = recycler(a, p, &booting);
    if (old && c.live > p->wanted && !booting) { /* its successor is ready */
        retire(old);
        c.live--;
        old = recycler(a, p, &booting);
    }
    unsigned wanted = p->wanted + (old != NULL);
    while (c.live > wanted) {
        retire_one(a, p);
        c.live--;
    }
    unsigned births = mc_policy_births(&p->births, wanted, c.live, c.unproved, a->loop.now);
    tell_if_alone(a, p, c.live + births == 1); /* before a second one may be ready */
    while (births > 0 && mc_spawn_worker(a, p) == MC_OK) births--;
    if (p->births.next_ms > a->loop.now) mc_arbiter_wake_at(a, p->births.next_ms);
}

void mc_roll_tend(struct mc_arbiter *a)
{
    for (size_t i = 0; i < a->gen->conf->npools && a->stopping == MC_STOP_NOT; i++)
        tend_pool(a, &a->gen->pools[i]);
}
