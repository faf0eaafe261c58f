/* Automatic scaling, the part with hands: samples what the slots and the listeners' queues say, asks scale.c, and changes what a pool wants. Nothing that
 * a worker writes can lead out of the bounds. Called by the arbiter's loop. */
#include "core/os/proc.h"
#include "core/process/arbiter.h"
#include "core/server/worker.h"

#include <string.h>

enum { FIXED_EVERY_MS = 1000, FIXED_SAMPLES = 5, MOST = 1 << 20 };

/* Processors that one worker can make use of. */
static unsigned processors(const struct mc_conf_pool *p)
{
    unsigned cpus = mc_proc_cpus(), threads = (unsigned)p->set.threads;
    if (p->python || !(p->worker->ops.worker->caps & MC_CAP_THREADS))
        return 1;
    return threads < cpus ? threads : cpus;
}

static bool automatic(const struct mc_arb_pool *p)
{
    return p->scale.min < p->scale.max;
}

/* What a pool of its name has come to want in the generation that serves. */
static const struct mc_arb_pool *forerunner(const struct mc_arb_pool *p)
{
    const struct mc_generation *g = p->gen->arbiter->gen;
    for (size_t i = 0; g && i < g->conf->npools; i++) {
        if (strcmp(g->conf->pools[i].name, p->conf->name) == 0)
            return &g->pools[i];
    }
    return NULL;
}

void mc_scaling_open(struct mc_arb_pool *p)
{
    const struct mc_values *set = &p->conf->set;
    const struct mc_arb_pool *before = forerunner(p);
    p->cpus = processors(p->conf);
    if (set->workers_min < 0 || set->workers_min >= set->workers_max)
        return;
    p->scale = (struct mc_scale){.min = (unsigned)set->workers_min, .max = (unsigned)set->workers_max, .calm_for = (uint64_t)set->workers_idle_timeout};
    unsigned n = before && before->wanted && automatic(before) ? before->wanted : p->wanted;
    p->wanted = n < p->scale.min ? p->scale.min : n > p->scale.max ? p->scale.max : n;
}

unsigned mc_scaling_most(const struct mc_arb_pool *p)
{
    return automatic(p) && p->scale.max > p->wanted ? p->scale.max : p->wanted;
}

/* ---- samples ---- */

static unsigned bounded(uint64_t n)
{
    return n < MOST ? (unsigned)n : MOST;
}

static unsigned share(unsigned n, unsigned of)
{
    return of == 0 ? 0 : n < of ? (unsigned)((uint64_t)n * 1000 / of) : 1000;
}

/* Connections with a request, and requests. */
unsigned mc_scaling_activity(const struct mc_kid *k)
{
    unsigned all = bounded(mc_slot_get(k->slot->connections)), idle = bounded(mc_slot_get(k->slot->idle));
    return bounded(mc_slot_get(k->slot->running)) + bounded(mc_slot_get(k->slot->queued)) + (all > idle ? all - idle : 0);
}

/* The scarcest of what it has, thousandths: places for requests, processor time, connections. */
static unsigned busy(const struct mc_kid *k)
{
    const struct mc_slot *s = k->slot;
    unsigned all = bounded(mc_slot_get(s->connections)), idle = bounded(mc_slot_get(s->idle));
    unsigned most = share(bounded(mc_slot_get(s->running)), bounded(mc_slot_get(s->places)));
    unsigned cpu = share(bounded(mc_slot_get(s->load)), k->pool->cpus * 1000);
    unsigned connections = share(all > idle ? all - idle : 0, (unsigned)k->pool->conf->set.worker_connections);
    most = cpu > most ? cpu : most;
    return connections > most ? connections : most;
}

static unsigned queues(const struct mc_arb_pool *p)
{
    const struct mc_generation *g = p->gen;
    unsigned sum = 0;
    for (size_t i = 0; i < g->conf->nlistens; i++) {
        int n = g->conf->listens[i].pool == p->conf && g->listen_fds[i] >= 0 ? mc_socket_backlog(g->listen_fds[i]) : 0;
        sum += n > 0 ? bounded((uint64_t)n) : 0;
    }
    return sum;
}

struct view {
    struct mc_scale_sample sample;
    bool settled, idle;
};

static struct view look(const struct mc_arb_pool *p)
{
    const struct mc_arbiter *a = p->gen->arbiter;
    struct view v = {.settled = !a->fresh};
    unsigned live = 0, ready = 0, all = 0, sum = 0;
    for (unsigned i = 0; i < a->nkids; i++) {
        const struct mc_kid *k = &a->kids[i];
        if (!mc_kid_live(k))
            continue;
        v.settled &= k->pool->gen == p->gen; /* or a reload is under way */
        live += k->pool == p;
        ready += k->pool == p && k->life == MC_LIFE_READY;
        /* Older ones, too: they have their part of the load until they leave. */
        if (k->life != MC_LIFE_READY || strcmp(k->pool->conf->name, p->conf->name) != 0)
            continue;
        all++;
        sum += busy(k);
        v.sample.waiting += bounded(mc_slot_get(k->slot->queued));
        v.idle |= mc_scaling_activity(k) == 0;
    }
    v.sample.busy = all ? sum / all : 0;
    v.sample.waiting = bounded((uint64_t)v.sample.waiting + queues(p));
    v.settled &= ready == p->wanted && live == ready;
    return v;
}

/* ---- decisions ---- */

static void tell(const struct mc_arb_pool *p, enum mc_scale_why why, const struct view *v, unsigned second, unsigned window)
{
    const char *name = p->conf->name;
    switch (why) {
    case MC_SCALE_STAY:
        break;
    case MC_SCALE_MIN:
        mc_info("Pool \"%s\": %u workers wanted (workers_min)", name, p->wanted);
        break;
    case MC_SCALE_WAITING:
        mc_info("Pool \"%s\": %u workers wanted (%u wait, busy %u %% over 1 s)", name, p->wanted, v->sample.waiting, second / 10);
        break;
    case MC_SCALE_LOAD:
        mc_info("Pool \"%s\": %u workers wanted (busy %u %% over 5 s)", name, p->wanted, window / 10);
        break;
    case MC_SCALE_SPARE:
        mc_info("Pool \"%s\": %u workers wanted (less than %u %% busy for %llu s)", name, p->wanted, mc_scale_calm(p->wanted + 1) / 10,
                (unsigned long long)p->scale.calm_for / 1000);
        break;
    }
}

static void tend_pool(struct mc_arbiter *a, struct mc_arb_pool *p)
{
    uint64_t now = a->loop.now, every = automatic(p) ? MC_SCALE_EVERY_MS : FIXED_EVERY_MS;
    if (now < p->scale.last_ms + every) {
        mc_arbiter_wake_at(a, p->scale.last_ms + every);
        return;
    }
    struct view v = look(p);
    mc_scale_note(&p->scale, &v.sample, now);
    p->waiting = v.sample.waiting;
    p->busy = mc_scale_busy(&p->scale, automatic(p) ? MC_SCALE_WINDOW : FIXED_SAMPLES);
    mc_arbiter_wake_at(a, now + every);
    unsigned second = mc_scale_busy(&p->scale, MC_SCALE_WAITED), window = mc_scale_busy(&p->scale, MC_SCALE_WINDOW);
    enum mc_scale_why why = mc_scale_decide(&p->scale, p->wanted, v.settled, v.idle, now);
    if (why == MC_SCALE_STAY)
        return;
    unsigned before = mc_notice_wanted(a);
    p->wanted = why == MC_SCALE_SPARE ? p->wanted - 1 : p->wanted + 1;
    tell(p, why, &v, second, window);
    mc_notice_count(a, before);
}

void mc_scaling_tend(struct mc_arbiter *a)
{
    for (size_t i = 0; i < a->gen->conf->npools && a->stopping == MC_STOP_NOT; i++)
        tend_pool(a, &a->gen->pools[i]);
}
