/* monoceros --status --json: the scoreboard as one JSON object, for scripts. The keys are documented in docs/operations.md and stay; new ones may
 * come. Writes into a buffer only. */
#include "core/process/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Writes values with the comma that they need. */
struct json {
    struct mc_sb *out;
    bool more; /* something stands before in this object or list */
};

static void key(struct json *j, const char *name)
{
    if (j->more)
        mc_sb_addc(j->out, ',');
    j->more = true;
    if (name)
        mc_sb_addf(j->out, "\"%s\":", name);
}

static void open(struct json *j, const char *name, char bracket)
{
    key(j, name);
    mc_sb_addc(j->out, bracket);
    j->more = false;
}

static void close(struct json *j, char bracket)
{
    mc_sb_addc(j->out, bracket);
    j->more = true;
}

/* Printable ASCII: mc_scoreboard_text() has seen to it. */
static void text(struct json *j, const char *name, const char *z)
{
    key(j, name);
    mc_sb_addc(j->out, '"');
    for (; *z; z++) {
        if (*z == '"' || *z == '\\')
            mc_sb_addc(j->out, '\\');
        mc_sb_addc(j->out, *z);
    }
    mc_sb_addc(j->out, '"');
}

static void shared(struct json *j, const char *name, const char *in, size_t n)
{
    char out[512];
    text(j, name, mc_scoreboard_text(in, n, out, sizeof(out)));
}

/* Whole numbers that every reader can hold; one that cannot be is 0. */
static void number(struct json *j, const char *name, uint64_t n)
{
    key(j, name);
    mc_sb_addf(j->out, "%llu", n <= UINT64_C(1) << 53 ? (unsigned long long)n : 0);
}

static void null(struct json *j, const char *name)
{
    key(j, name);
    mc_sb_addz(j->out, "null");
}

static void thousandths(struct json *j, const char *name, uint64_t n)
{
    key(j, name);
    n = n <= UINT64_C(1) << 53 ? n : 0;
    mc_sb_addf(j->out, "%llu.%03llu", (unsigned long long)n / 1000, (unsigned long long)n % 1000);
}

static void moment(struct json *j, const char *name, int64_t t)
{
    struct tm tm;
    char out[32];
    time_t when = (time_t)t;
    if (t <= 0 || t > INT64_C(253402300799) || !gmtime_r(&when, &tm) || strftime(out, sizeof(out), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        null(j, name);
    else
        text(j, name, out);
}

static void quantile(struct json *j, const char *name, const uint64_t *latency, double share)
{
    double ms = mc_scoreboard_quantile(latency, share);
    if (ms < 0)
        null(j, name);
    else
        thousandths(j, name, (uint64_t)(ms * 1000));
}

/* {"lt_ms":1,"count":7},…: the last bucket has no limit. */
static void latency(struct json *j, const uint64_t buckets[MC_SLOT_BUCKETS])
{
    open(j, "latency", '{');
    quantile(j, "p50_ms", buckets, 0.5);
    quantile(j, "p95_ms", buckets, 0.95);
    quantile(j, "p99_ms", buckets, 0.99);
    open(j, "buckets", '[');
    for (unsigned i = 0; i < MC_SLOT_BUCKETS; i++) {
        open(j, NULL, '{');
        if (i == MC_SLOT_BUCKETS - 1)
            null(j, "lt_ms");
        else
            number(j, "lt_ms", UINT64_C(1) << i);
        number(j, "count", buckets[i]);
        close(j, '}');
    }
    close(j, ']');
    close(j, '}');
}

static void sums(struct json *j, const struct mc_board_sums *s)
{
    static const char *const classes[] = {"aborted", "1xx", "2xx", "3xx", "4xx", "5xx"};
    number(j, "requests", s->requests);
    open(j, "status", '{');
    for (unsigned i = 0; i < MC_COUNT(classes); i++)
        number(j, classes[i], s->status[i]);
    close(j, '}');
    number(j, "accepted", s->accepted);
    number(j, "bytes_in", s->bytes_in);
    number(j, "bytes_out", s->bytes_out);
    thousandths(j, "request_ms_total", s->spent_us);
    thousandths(j, "cpu_ms_total", s->cpu_us);
    open(j, "tls", '{');
    number(j, "handshakes", s->tls_handshakes);
    number(j, "resumed", s->tls_resumed);
    number(j, "failed", s->tls_failed);
    close(j, '}');
    latency(j, s->latency);
}

static void arbiter(struct json *j, const struct mc_status *s)
{
    static const char *const stages[MC_BOARD_RELOADS] = {"none", "loading", "proving", "rolling"};
    const struct mc_board_head *h = s->board.head;
    open(j, "arbiter", '{');
    number(j, "pid", (uint64_t)s->pid);
    shared(j, "version", h->build, sizeof(h->build));
    shared(j, "name", h->name, sizeof(h->name));
    shared(j, "listening", h->listening, sizeof(h->listening));
    moment(j, "started", h->start_time);
    thousandths(j, "uptime_s", s->now_ms > h->start_ms ? s->now_ms - h->start_ms : 0);
    thousandths(j, "last_turn_s", s->now_ms > h->turn_ms ? s->now_ms - h->turn_ms : 0);
    number(j, "generation", h->generation);
    key(j, "stopping");
    mc_sb_addz(j->out, h->stopping ? "true" : "false");
    open(j, "reload", '{');
    text(j, "state", h->reload < MC_BOARD_RELOADS ? stages[h->reload] : "none");
    if (h->fresh)
        number(j, "generation", h->fresh);
    else
        null(j, "generation");
    number(j, "done", h->reloads);
    number(j, "failed", h->reloads_failed);
    moment(j, "last_done", h->reload_time);
    moment(j, "last_failed", h->failed_time);
    if (h->failure[0])
        shared(j, "failure", h->failure, sizeof(h->failure));
    else
        null(j, "failure");
    close(j, '}');
    close(j, '}');
}

static void pool(struct json *j, const struct mc_status *s, unsigned i)
{
    const struct mc_board_pool *p = &s->board.pools[i];
    struct mc_board_sums all;
    unsigned lives[MC_BOARD_LIVES] = {0};
    for (size_t k = 0; k < s->board.n; k++) {
        if (s->board.kids[k].pool == i && s->board.kids[k].life < MC_BOARD_LIVES)
            lives[s->board.kids[k].life]++;
    }
    open(j, NULL, '{');
    shared(j, "name", p->name, sizeof(p->name));
    shared(j, "worker_class", p->worker, sizeof(p->worker));
    number(j, "generation", p->generation);
    open(j, "workers", '{');
    number(j, "wanted", p->wanted);
    number(j, "min", p->min);
    number(j, "max", p->max);
    number(j, "starting", lives[MC_BOARD_STARTING]);
    number(j, "ready", lives[MC_BOARD_READY]);
    number(j, "draining", lives[MC_BOARD_DRAINING]);
    close(j, '}');
    if (p->zygote > 0)
        number(j, "zygote", (uint64_t)p->zygote);
    else
        null(j, "zygote");
    thousandths(j, "busy", p->load);
    number(j, "waiting", p->waiting);
    open(j, "restarts", '{');
    for (unsigned r = 0; r < MC_RESTARTS; r++)
        number(j, mc_scoreboard_restart(r), p->restarts[r]);
    close(j, '}');
    number(j, "births", p->births);
    number(j, "births_failed", p->births_failed);
    number(j, "births_failed_in_a_row", p->failing);
    mc_status_sums(s, i, &all);
    sums(j, &all);
    close(j, '}');
}

static void worker(struct json *j, const struct mc_status_worker *w)
{
    struct mc_board_sums own = {0};
    open(j, NULL, '{');
    if (w->kid->pid > 0)
        number(j, "pid", (uint64_t)w->kid->pid);
    else
        null(j, "pid");
    text(j, "pool", w->pool_name);
    number(j, "generation", w->kid->generation);
    text(j, "state", w->state);
    thousandths(j, "age_s", w->age_ms);
    thousandths(j, "heartbeat_s", w->beat_ms);
    if (w->kid->recycling)
        text(j, "to_be_replaced", mc_scoreboard_restart(w->kid->recycling - 1));
    else
        null(j, "to_be_replaced");
    open(j, "connections", '{');
    number(j, "open", w->connections);
    number(j, "idle", w->idle);
    close(j, '}');
    number(j, "running", w->requests_running);
    number(j, "places", mc_slot_get(w->slot->places));
    number(j, "queued", w->requests_queued);
    if (w->busy_ms)
        thousandths(j, "busy_s", w->busy_ms - 1);
    else
        null(j, "busy_s");
    if (*w->busy)
        text(j, "busy_with", w->busy);
    else
        null(j, "busy_with");
    thousandths(j, "cpu", mc_slot_get(w->slot->load));
    number(j, "rss_bytes", mc_slot_get(w->slot->rss));
    mc_scoreboard_add(&own, w->slot);
    sums(j, &own);
    close(j, '}');
}

void mc_status_json(const struct mc_status *s, struct mc_sb *out)
{
    struct json j = {.out = out};
    size_t n;
    struct mc_status_worker *v = mc_status_workers(s, &n);
    out->bad |= !v;
    open(&j, NULL, '{');
    arbiter(&j, s);
    open(&j, "pools", '[');
    for (unsigned i = 0; i < MC_BOARD_POOLS; i++) {
        if (s->board.pools[i].name[0])
            pool(&j, s, i);
    }
    close(&j, ']');
    open(&j, "workers", '[');
    for (size_t i = 0; v && i < n; i++)
        worker(&j, &v[i]);
    close(&j, ']');
    close(&j, '}');
    mc_sb_addc(out, '\n');
    free(v);
}
