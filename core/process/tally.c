/* The arbiter's own count of births, ends and reloads, and its copy for the scoreboard. Reads only the slots of its workers, whose numbers it adds
 * up when they end and never believes. Decides nothing. Called by the arbiter's loop. */
#include "core/process/tally.h"

#include "core/base/clock.h"
#include "core/process/arbiter.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

struct mc_tally {
    struct mc_board_head facts;
    struct mc_board_pool pools[MC_BOARD_POOLS];
    bool used[MC_BOARD_POOLS]; /* by a pool or a kid, as of this turn */
};

struct mc_tally *mc_tally_new(const struct mc_board *b)
{
    struct mc_tally *t = calloc(1, sizeof(*t));
    if (t) {
        t->facts = *b->head;
        t->facts.start_ms = mc_clock_ms();
        t->facts.start_time = (int64_t)time(NULL);
    }
    return t;
}

void mc_tally_listening(struct mc_arbiter *a, const char *text)
{
    snprintf(a->tally->facts.listening, sizeof(a->tally->facts.listening), "%s", text);
}

void mc_tally_reload(struct mc_arbiter *a, const char *failure)
{
    struct mc_board_head *h = &a->tally->facts;
    if (!failure) {
        h->reloads++;
        h->reload_time = (int64_t)time(NULL);
        return;
    }
    h->reloads_failed++;
    h->failed_time = (int64_t)time(NULL);
    snprintf(h->failure, sizeof(h->failure), "%s", failure);
}

/* ---- pools ---- */

/* The record of a pool's name. NULL: there are too many pools. */
static struct mc_board_pool *record(struct mc_tally *t, const char *name)
{
    struct mc_board_pool *free_one = NULL;
    for (size_t i = 0; i < MC_BOARD_POOLS; i++) {
        if (strncmp(t->pools[i].name, name, MC_BOARD_NAME - 1) == 0)
            return &t->pools[i];
        if (!free_one && !t->pools[i].name[0])
            free_one = &t->pools[i];
    }
    if (free_one)
        snprintf(free_one->name, sizeof(free_one->name), "%s", name);
    return free_one;
}

static struct mc_board_pool *of(const struct mc_arb_pool *p)
{
    return record(p->gen->arbiter->tally, p->conf->name);
}

static void describe_pool(const struct mc_arb_pool *p)
{
    struct mc_board_pool *r = of(p);
    if (!r)
        return;
    p->gen->arbiter->tally->used[r - p->gen->arbiter->tally->pools] = true;
    snprintf(r->worker, sizeof(r->worker), "%s", p->conf->set.worker_class);
    r->generation = p->gen->number;
    bool fixed = p->scale.min >= p->scale.max;
    r->wanted = p->wanted;
    r->min = fixed ? p->wanted : p->scale.min;
    r->max = fixed ? p->wanted : p->scale.max;
    r->load = p->busy;
    r->waiting = p->waiting;
    r->failing = p->births.next_ms ? p->births.failures : 0;
    r->retry_ms = p->births.next_ms;
    r->zygote = p->zygote.life != MC_LIFE_NONE ? p->zygote.pid : 0;
}

/* ---- ends ---- */

enum mc_restart mc_tally_reason(const char *text)
{
    static const enum mc_restart asked[] = {MC_RESTART_MAX_REQUESTS, MC_RESTART_MAX_RSS, MC_RESTART_MAX_LIFETIME};
    for (size_t i = 0; i < MC_COUNT(asked); i++) {
        if (strcmp(text, mc_scoreboard_restart(asked[i])) == 0)
            return asked[i];
    }
    return strcmp(text, "a request is stuck") == 0 ? MC_RESTART_REQUEST_TIMEOUT : MC_RESTART_EXIT;
}

static enum mc_restart reason(const struct mc_kid *k, int status)
{
    if (k->killed == MC_KILL_TIMEOUT || k->killed == MC_KILL_REQUEST)
        return k->killed == MC_KILL_TIMEOUT ? MC_RESTART_TIMEOUT : MC_RESTART_REQUEST_TIMEOUT;
    if (k->life == MC_LIFE_LEAVING)
        return k->recycling ? k->why : k->pool->gen != k->arbiter->gen ? MC_RESTART_RELOAD : MC_RESTART_SCALING;
    if (WIFEXITED(status))
        return MC_RESTART_EXIT;
    switch (WTERMSIG(status)) {
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGABRT:
    case SIGSYS:
    case SIGTRAP:
        return MC_RESTART_CRASH;
    default:
        return MC_RESTART_KILLED;
    }
}

void mc_tally_born(struct mc_kid *k)
{
    struct mc_board_pool *r = of(k->pool);
    if (r)
        r->births++;
}

void mc_tally_ended(struct mc_kid *k, int status)
{
    struct mc_board_pool *r = k->slot ? of(k->pool) : NULL;
    if (!r)
        return;
    if (status != -1)
        mc_scoreboard_add(&r->past, k->slot);
    if (k->arbiter->stopping != MC_STOP_NOT)
        return;
    if (k->ready_ms)
        r->restarts[reason(k, status)]++;
    else if (k->life != MC_LIFE_LEAVING)
        r->births_failed++;
}

/* ---- the board ---- */

static struct mc_board_kid describe_kid(struct mc_tally *t, const struct mc_kid *k)
{
    static const enum mc_board_life lives[] = {
        [MC_LIFE_NONE] = MC_BOARD_NONE,   [MC_LIFE_ASKED] = MC_BOARD_STARTING,   [MC_LIFE_BOOTING] = MC_BOARD_STARTING,
        [MC_LIFE_READY] = MC_BOARD_READY, [MC_LIFE_LEAVING] = MC_BOARD_DRAINING,
    };
    if (k->life == MC_LIFE_NONE)
        return (struct mc_board_kid){.life = MC_BOARD_NONE};
    const struct mc_board_pool *r = of(k->pool);
    if (r)
        t->used[r - t->pools] = true;
    return (struct mc_board_kid){
        .life = lives[k->life],
        .pid = k->pid,
        .pool = r ? (uint32_t)(r - t->pools) : UINT32_MAX,
        .generation = k->pool->gen->number,
        .started_ms = k->started_ms,
        .ready_ms = k->ready_ms,
        .recycling = k->recycling ? 1 + (uint32_t)k->why : 0,
    };
}

static void publish_kids(struct mc_arbiter *a)
{
    for (unsigned i = 0; i < a->nkids; i++) {
        struct mc_board_kid now = describe_kid(a->tally, &a->kids[i]);
        memcpy(&a->board.kids[i], &now, sizeof(now));
    }
}

static void publish_pools(const struct mc_generation *g)
{
    for (size_t i = 0; g && i < g->conf->npools; i++)
        describe_pool(&g->pools[i]);
}

static enum mc_board_reload stage(const struct mc_arbiter *a)
{
    static const enum mc_board_reload stages[] = {
        [MC_RELOAD_NONE] = MC_BOARD_STEADY,
        [MC_RELOAD_LOADING] = MC_BOARD_LOADING,
        [MC_RELOAD_PROVING] = MC_BOARD_PROVING,
        [MC_RELOAD_ROLLING] = MC_BOARD_ROLLING,
    };
    return stages[a->reload.state];
}

static void publish_head(struct mc_arbiter *a)
{
    struct mc_board_head *h = &a->tally->facts;
    h->pid = a->pid;
    h->stopping = a->stopping != MC_STOP_NOT || a->stop_ms;
    h->generation = a->gen->number;
    h->fresh = a->fresh ? a->fresh->number : 0;
    h->reload = stage(a);
    h->turn_ms = a->loop.now;
    snprintf(h->name, sizeof(h->name), "%s", mc_arbiter_name(a->gen->conf));
    memcpy(a->board.head, h, sizeof(*h));
}

void mc_tally_publish(struct mc_arbiter *a)
{
    struct mc_tally *t = a->tally;
    memset(t->used, 0, sizeof(t->used));
    publish_pools(a->fresh);
    publish_pools(a->gen); /* of a pool that both have this is what counts still */
    publish_kids(a);
    for (size_t i = 0; i < MC_BOARD_POOLS; i++) {
        if (!t->used[i])
            t->pools[i] = (struct mc_board_pool){.name = ""};
    }
    memcpy(a->board.pools, t->pools, sizeof(t->pools));
    publish_head(a);
}
