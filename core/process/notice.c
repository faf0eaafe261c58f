/* What Gunicorn's server hooks are told: which messages go to the zygote that runs them, in Gunicorn's order, and what happens when one does not
 * come back. The hooks of a generation live in the zygote of its first Python pool; each that lives knows all workers, and the one of a worker's own
 * generation hears of its end, as it has the object that pre_fork was given. Never waits: the channel keeps the order.
 * Called by the arbiter's loop; does nothing where the setting hooks is not set. */
#include "core/process/arbiter.h"

#include <stdio.h>

enum {
    LIMIT_MS = 5000, /* what a hook gets in the zygote itself (modules/python/hooks.py) */
    STUCK_MS = 8000, /* then it is in code that nobody can interrupt */
};

static struct mc_arb_pool *home(struct mc_generation *g)
{
    for (size_t i = 0; g && g->conf->set.hooks && i < g->conf->npools; i++) {
        if (g->conf->pools[i].python)
            return &g->pools[i];
    }
    return NULL;
}

/* The zygote that runs the server hooks of a generation; NULL: none does now. */
static struct mc_kid *hearer(struct mc_generation *g)
{
    struct mc_arb_pool *p = home(g);
    return p && p->zygote.life == MC_LIFE_READY && p->zygote.io.fd >= 0 ? &p->zygote : NULL;
}

static struct mc_generation *newest(const struct mc_arbiter *a)
{
    return a->fresh ? a->fresh : a->gen;
}

static void expect(struct mc_kid *k)
{
    if (k->hooks++ == 0)
        k->hook_ms = k->arbiter->loop.now;
}

static int say(struct mc_kid *k, enum mc_hook hook, uint32_t value, const char *text)
{
    struct mc_msg m = {.kind = MC_MSG_HOOK, .code = hook, .value = value};
    snprintf(m.text, sizeof(m.text), "%s", text);
    int rc = k ? mc_channel_send(k->io.fd, &m, NULL, 0) : MC_ERROR;
    if (rc == MC_OK)
        expect(k);
    return rc;
}

static int say_worker(struct mc_kid *k, enum mc_hook hook, pid_t pid, unsigned age)
{
    char text[16];
    snprintf(text, sizeof(text), "%u", age);
    return say(k, hook, (uint32_t)pid, text);
}

static unsigned wanted(const struct mc_generation *g)
{
    unsigned n = 0;
    for (size_t i = 0; i < g->conf->npools; i++)
        n += g->conf->pools[i].python ? g->pools[i].wanted : 0;
    return n;
}

/* A generation comes to life: the first of all, or one that was read anew. */
static void say_begin(struct mc_generation *g, struct mc_kid *zygote)
{
    char before[16] = "";
    bool first = !g->older && g->number == 1;
    if (g->older)
        snprintf(before, sizeof(before), "%u", wanted(g->older));
    say(zygote, MC_HOOK_NWORKERS, wanted(g), before);
    if (first) {
        say(zygote, MC_HOOK_STARTING, 0, "");
        say(zygote, MC_HOOK_READY, 0, "");
    } else {
        say(zygote, MC_HOOK_RELOAD, 0, "");
    }
}

static void say_owed(struct mc_arbiter *a, struct mc_kid *zygote)
{
    unsigned done = 0;
    while (done < a->nowed && say_worker(zygote, MC_HOOK_CHILD_EXIT, a->gone[done].pid, a->gone[done].age) == MC_OK)
        done++;
    for (unsigned i = done; i < a->nowed; i++)
        a->gone[i - done] = a->gone[i];
    a->nowed -= done;
}

void mc_notice_zygote(struct mc_kid *k)
{
    struct mc_arbiter *a = k->arbiter;
    struct mc_generation *g = k->pool->gen;
    if (a->check || k->pool != home(g))
        return;
    for (unsigned i = 0; i < a->nkids; i++) {
        const struct mc_kid *w = &a->kids[i];
        if (w->life > MC_LIFE_ASKED && w->pid > 0 && w->pool->conf->python)
            say_worker(k, MC_HOOK_BORN, w->pid, w->age);
    }
    if (!g->announced)
        say_begin(g, k);
    g->announced = true;
    if (g == a->gen)
        say_owed(a, k);
}

void mc_notice_hooked(struct mc_kid *k)
{
    if (k->hooks > 0)
        k->hooks--;
    k->hook_ms = k->arbiter->loop.now; /* the next one begins */
    if (k->pool->gen == k->arbiter->gen && k->arbiter->nowed && k == hearer(k->pool->gen))
        say_owed(k->arbiter, k);
}

void mc_notice_spawned(struct mc_kid *zygote)
{
    if (zygote->pool->gen->conf->set.hooks)
        expect(zygote);
}

void mc_notice_born(struct mc_kid *k)
{
    for (struct mc_generation *g = newest(k->arbiter); g; g = g->older)
        say_worker(hearer(g), MC_HOOK_BORN, k->pid, k->age);
}

void mc_notice_gone(struct mc_kid *k)
{
    struct mc_arbiter *a = k->arbiter;
    struct mc_kid *own = hearer(k->pool->gen);
    if (!k->slot || k->pid <= 0 || !k->pool->conf->python)
        return;
    for (struct mc_generation *g = newest(a); g; g = g->older) {
        if (hearer(g) != own)
            say_worker(hearer(g), MC_HOOK_GONE, k->pid, k->age);
    }
    if (k->pool->gen != a->gen && say_worker(own, MC_HOOK_CHILD_EXIT, k->pid, k->age) == MC_OK)
        return;
    if (!home(a->gen))
        return;
    if (a->nowed == 0 && say_worker(hearer(a->gen), MC_HOOK_CHILD_EXIT, k->pid, k->age) == MC_OK)
        return;
    /* For the zygote that comes next, or when this one listens again. */
    if (a->nowed < MC_COUNT(a->gone))
        a->gone[a->nowed++] = (struct mc_arb_gone){k->pid, k->age};
    else
        mc_warn("child_exit is not told of worker (pid:%ld): too many wait", (long)k->pid);
}

void mc_notice_count(struct mc_arbiter *a, unsigned before)
{
    char text[16];
    snprintf(text, sizeof(text), "%u", before);
    if (before != wanted(a->gen))
        say(hearer(a->gen), MC_HOOK_NWORKERS, wanted(a->gen), text);
}

unsigned mc_notice_wanted(const struct mc_arbiter *a)
{
    return wanted(a->gen);
}

bool mc_notice_busy(const struct mc_arbiter *a)
{
    const struct mc_kid *zygote = hearer(a->gen);
    return zygote && zygote->hooks > 0;
}

void mc_notice_exec(struct mc_arbiter *a)
{
    say(hearer(a->gen), MC_HOOK_PRE_EXEC, 0, "");
}

void mc_notice_watch(struct mc_kid *k, uint64_t now)
{
    if (k->slot || k->hooks == 0)
        return;
    if (now < k->hook_ms + STUCK_MS) {
        mc_arbiter_wake_at(k->arbiter, k->hook_ms + STUCK_MS);
        return;
    }
    mc_error("%s (pid:%ld) does not come back from a hook: killed", mc_kid_kind(k), (long)k->pid);
    k->hooks = 0;
    mc_kid_signal(k, SIGKILL, MC_KILL_TIMEOUT);
}

bool mc_notice_needs(struct mc_arb_pool *p)
{
    const struct mc_arbiter *a = p->gen->arbiter;
    if (p != home(p->gen))
        return false;
    for (unsigned i = 0; i < a->nkids; i++) {
        if (a->kids[i].life != MC_LIFE_NONE && a->kids[i].pool->gen == p->gen && a->kids[i].pool->conf->python)
            return true;
    }
    return p->zygote.hooks > 0;
}

/* ---- the end ---- */

bool mc_notice_keeps(struct mc_kid *zygote)
{
    struct mc_arbiter *a = zygote->arbiter;
    return !a->check && zygote == hearer(a->gen);
}

void mc_notice_end(struct mc_arbiter *a)
{
    struct mc_kid *zygote = a->check ? NULL : hearer(a->gen);
    for (unsigned i = 0; i < a->nkids && zygote; i++) {
        if (a->kids[i].life != MC_LIFE_NONE)
            return;
    }
    if (!zygote)
        return;
    say_owed(a, zygote);
    say(zygote, MC_HOOK_EXIT, 0, "");
    mc_kid_leave(zygote, MC_MSG_STOP, LIMIT_MS + MC_POLICY_QUICK_MS, MC_KILL_QUICK);
}
