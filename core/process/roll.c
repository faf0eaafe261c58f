/* How many workers of each pool live: births, those too many, replacements of those that asked to be replaced, zygotes; and the exchange of the workers of
 * older generations for those of the one that serves. What to decide is in policy.c. Called by the arbiter's loop on each turn. */
#include "core/process/arbiter.h"

#include <string.h>

static void retire(struct mc_kid *k)
{
    uint64_t grace = (uint64_t)k->pool->conf->set.graceful_timeout;
    uint64_t most = k->life == MC_LIFE_READY ? 0 : MC_POLICY_PATIENCE_MS; /* an import that hangs does not get for ever */
    mc_kid_leave(k, MC_MSG_DRAIN, grace ? grace + MC_POLICY_GRACE_MS : most, MC_KILL_GRACE);
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
    if (best && !mc_notice_busy(a)) /* else on the next turn: nworkers_changed comes first */
        retire(best);
}

/* ---- counting ---- */

struct census {
    unsigned live, ready, unproved; /* workers of this pool that were not told to leave */
    unsigned older, older_ready;    /* the same of older generations, in pools of its name */
    unsigned all;                   /* everybody of its name */
};

static struct census count(const struct mc_arb_pool *p)
{
    const struct mc_arbiter *a = p->gen->arbiter;
    struct census c = {0};
    for (unsigned i = 0; i < a->nkids; i++) {
        const struct mc_kid *k = &a->kids[i];
        if (!mc_kid_live(k) || (k->pool != p && strcmp(k->pool->conf->name, p->conf->name) != 0))
            continue;
        bool ready = k->life == MC_LIFE_READY;
        c.all++;
        if (k->pool == p) {
            c.live++;
            c.ready += ready;
            c.unproved += !k->proved;
        } else if (k->pool->gen->number < p->gen->number) {
            c.older++;
            c.older_ready += ready;
        }
    }
    return c;
}

/* A busy worker may take all connections when there is nobody to leave them to. */
static void tell_if_alone(const struct mc_arb_pool *p, bool alone)
{
    const struct mc_arbiter *a = p->gen->arbiter;
    for (unsigned i = 0; i < a->nkids; i++) {
        if (a->kids[i].pool == p && mc_kid_live(&a->kids[i]))
            mc_slot_set(a->kids[i].slot->alone, alone);
    }
}

/* ---- births ---- */

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

static void bear(struct mc_arbiter *a, struct mc_arb_pool *p, unsigned births)
{
    while (births > 0 && mc_spawn_worker(a, p) == MC_OK)
        births--;
    if (p->births.next_ms > a->loop.now)
        mc_arbiter_wake_at(a, p->births.next_ms);
}

/* The worker that asked first to be replaced, one at a time; *booting: its successor, or another, is on its way. */
static struct mc_kid *recycler(struct mc_arbiter *a, const struct mc_arb_pool *p, bool *booting)
{
    struct mc_kid *first = NULL;
    *booting = false;
    for (unsigned i = 0; i < a->nkids; i++) {
        struct mc_kid *k = &a->kids[i];
        if (k->pool != p || !mc_kid_live(k))
            continue;
        *booting |= k->life != MC_LIFE_READY;
        if (k->recycling && (!first || k->started_ms < first->started_ms))
            first = k;
    }
    return first;
}

/* Replace those that ask for it. What is wanted for that; a reload replaces them anyway. */
static unsigned replace(struct mc_arbiter *a, struct mc_arb_pool *p, struct census *c)
{
    bool booting;
    struct mc_kid *old = recycler(a, p, &booting);
    if (old && c->live > p->wanted && !booting) { /* its successor is ready */
        retire(old);
        c->live--;
        old = recycler(a, p, &booting);
    }
    bool reloading = a->fresh || c->older > 0;
    return p->wanted + (old && (!reloading || c->live > p->wanted));
}

/* ---- a reload ---- */

/* Of the older workers of that name: those that are not ready first, then those whose socket somebody has already, then the oldest. */
static void retire_older(const struct mc_arb_pool *p)
{
    struct mc_arbiter *a = p->gen->arbiter;
    struct mc_kid *first = NULL;
    for (unsigned i = 0; i < a->nkids; i++) {
        struct mc_kid *k = &a->kids[i];
        if (!mc_kid_live(k) || k->pool->gen->number >= p->gen->number || strcmp(k->pool->conf->name, p->conf->name) != 0)
            continue;
        bool ready = k->life == MC_LIFE_READY, best_ready = first && first->life == MC_LIFE_READY;
        bool has = mc_seats_has_heir(k, p), best_has = first && mc_seats_has_heir(first, p);
        bool sooner = first && (has == best_has ? k->started_ms < first->started_ms : has);
        if (!first || (ready == best_ready ? sooner : best_ready))
            first = k;
    }
    if (first)
        retire(first);
}

/* The older ones of that name are asked by other pools, and these are not: one of them stays while there is somebody who may ask. */
static bool older_asked(const struct mc_arb_pool *p)
{
    const struct mc_arbiter *a = p->gen->arbiter;
    if (p->conf->hops || !mc_hops_asked(a))
        return false;
    for (const struct mc_generation *g = p->gen->older; g; g = g->older) {
        const struct mc_arb_pool *older = mc_generation_pool(g, p->conf->name);
        if (older && older->conf->hops)
            return true;
    }
    return false;
}

/* One in, one out: how many births there may be, after those who may go were told to. */
static unsigned roll(const struct mc_arb_pool *p, unsigned wanted, struct census *c)
{
    struct mc_policy_roll r = {wanted, (unsigned)p->conf->set.reload_surge, c->live, c->ready, c->older, c->older_ready};
    unsigned n = mc_policy_roll_retire(&r);
    if (n > 0 && n == r.old_live && older_asked(p))
        n--;
    for (; n > 0; n--) {
        retire_older(p);
        r.old_live--;
    }
    return mc_policy_roll_births(&r);
}

/* A zygote has nothing to finish, and one that imports does not listen: TERM ends it there. */
static void dismiss_zygote(struct mc_arb_pool *p)
{
    struct mc_kid *z = &p->zygote;
    if (!mc_kid_live(z))
        return;
    if (z->life == MC_LIFE_BOOTING)
        mc_kid_signal(z, SIGTERM, MC_KILL_NONE);
    mc_kid_leave(z, MC_MSG_STOP, MC_POLICY_QUICK_MS, MC_KILL_QUICK);
}

/* Pools of older generations: without a successor of their name they go when all successors of the others are there, and those that others ask when those
 * have gone; without workers their zygote goes. */
static void tend_older(struct mc_arbiter *a, bool all_here)
{
    for (struct mc_generation *g = a->gen->older; g; g = g->older) {
        for (size_t i = 0; i < g->conf->npools; i++) {
            struct mc_arb_pool *p = &g->pools[i];
            bool lives = false, orphan = !mc_generation_pool(a->gen, p->conf->name) && !(p->conf->hops && mc_hops_asked(a));
            for (unsigned j = 0; j < a->nkids; j++) {
                struct mc_kid *k = &a->kids[j];
                if (k->pool != p || !mc_kid_live(k))
                    continue;
                if (orphan && all_here)
                    retire(k);
                else
                    lives = true;
            }
            if (!lives && !mc_notice_needs(p))
                dismiss_zygote(p);
        }
    }
}

void mc_roll_dismiss(struct mc_generation *g)
{
    struct mc_arbiter *a = g->arbiter;
    for (unsigned i = 0; i < a->nkids; i++) {
        if (a->kids[i].pool && a->kids[i].pool->gen == g && mc_kid_live(&a->kids[i]))
            retire(&a->kids[i]);
    }
    for (size_t i = 0; i < g->conf->npools; i++)
        dismiss_zygote(&g->pools[i]);
}

bool mc_roll_done(const struct mc_arbiter *a)
{
    for (unsigned i = 0; i < a->nkids; i++) {
        if (mc_kid_live(&a->kids[i]) && a->kids[i].pool->gen != a->gen)
            return false;
    }
    return true;
}

/* ---- each turn ---- */

/* True when all that are wanted are there and ready. */
static bool tend_pool(struct mc_arbiter *a, struct mc_arb_pool *p)
{
    tend_zygote(a, p);
    struct census c = count(p);
    unsigned wanted = replace(a, p, &c);
    while (c.live > wanted) {
        retire_one(a, p);
        c.live--;
    }
    unsigned births = mc_policy_births(&p->births, wanted, c.live, c.unproved, a->loop.now);
    if (c.older > 0) {
        unsigned most = roll(p, wanted, &c);
        births = births < most ? births : most;
    }
    tell_if_alone(p, c.all + births == 1); /* before a second one may be ready */
    bear(a, p, births);
    return c.ready >= p->wanted;
}

/* The first worker of each pool shows what the generation is worth. */
static void tend_fresh(struct mc_arbiter *a)
{
    for (size_t i = 0; a->fresh && i < a->fresh->conf->npools; i++) {
        struct mc_arb_pool *p = &a->fresh->pools[i];
        struct census c = count(p);
        tend_zygote(a, p);
        bear(a, p, mc_policy_births(&p->births, 1, c.live, c.unproved, a->loop.now));
    }
}

static void tend_check(struct mc_arbiter *a)
{
    for (size_t i = 0; i < a->gen->conf->npools && a->stopping == MC_STOP_NOT; i++) {
        struct mc_arb_pool *p = &a->gen->pools[i];
        tend_zygote(a, p);
        if (mc_spawn_has_check(p) && p->zygote.started_ms == 0 && mc_spawn_check(a, p) != MC_OK)
            a->code = MC_EXIT_FAIL;
    }
}

void mc_roll_tend(struct mc_arbiter *a)
{
    bool all_here = true;
    if (a->check) {
        tend_check(a);
        return;
    }
    for (size_t i = 0; i < a->gen->conf->npools && a->stopping == MC_STOP_NOT; i++)
        all_here &= tend_pool(a, &a->gen->pools[i]);
    if (a->stopping != MC_STOP_NOT)
        return;
    tend_older(a, all_here);
    tend_fresh(a);
}
