/* Calls: which peer is asked, what happens when that fails, and the end. What goes over a connection is upstream_flow.c's. Never touches a client: callers do,
 * in their ops. Worker side, on the loop. */
#include "core/server/up.h"
#include "core/server/health.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void attempt(struct mc_call *c, struct mc_peer *next);

/* ---- the log ---- */

void mc_call_tell(const struct mc_call *c, enum mc_log_level level, const char *what, const char *then)
{
    char target[512];
    if (c->quiet || !mc_log_on(level)) {
        return;
    }
    size_t n = mc_str_escape(target, sizeof target, c->x.target);
    if (c->policy->upstream->pool) {
        mc_log_line(level, "pool \"%s\": %s; %s: %.*s %.*s", c->policy->upstream->name, what, then, (int) c->x.method.n, c->x.method.p, (int) n, target);
        return;
    }
    mc_log_line(level, "upstream %s (%s): %s; %s: %.*s %.*s", c->policy->upstream->name, c->peer ? c->peer_text : "-", what, then, (int) c->x.method.n,
        c->x.method.p, (int) n, target);
}

/* A pool that has too much to do has it with many requests: one line a second. */
static void tell_queue(const struct mc_call *c, const char *what)
{
    static struct mc_log_limit limit;
    char then[48] = "503";
    unsigned missed;
    if (!mc_log_limited(&limit, &missed)) {
        return;
    }
    if (missed > 0) {
        snprintf(then, sizeof then, "503, and %u times more before", missed);
    }
    mc_call_tell(c, MC_LOG_ERROR, what, then);
}

/* ---- the end ---- */

void mc_call_let_go(struct mc_call *c, enum mc_peer_result how)
{
    if (c->peer) {
        struct mc_peer *p = c->peer;
        c->peer = NULL;
        if (c->only == NULL) {
            mc_peers_done(c->peers, p, how);
        }
    }
}

void mc_call_drop(struct mc_call *c, enum mc_peer_result how)
{
    if (c->up) {
        mc_up_close(c->up);
        c->up = NULL;
    }
    mc_call_let_go(c, how);
}

void mc_call_finish(struct mc_call *c, int status)
{
    MC_ASSERT(c->up == NULL && c->peer == NULL);
    if (c->starting) {
        c->late = status;
        mc_post_add(&c->worker->loop, &c->post);
        return;
    }
    c->running = false;
    c->ended = c->worker->loop.now;
    mc_post_remove(&c->post);
    c->ops->done(c, status);
}

void mc_call_give_up(struct mc_call *c)
{
    mc_call_drop(c, MC_PEER_NEUTRAL);
    c->running = false;
    mc_post_remove(&c->post);
}

void mc_call_cancel(struct mc_call *c)
{
    if (!c->running) {
        return;
    }
    if (mc_link_linked(&c->wait.link)) {
        mc_list_remove(&c->wait.link);
    }
    mc_call_give_up(c);
}

/* ---- failures ---- */

static int status_of(enum mc_call_fault fault)
{
    switch (fault) {
    case MC_FAULT_TIMEOUT:
        return 504;
    case MC_FAULT_NO_PEER:
    case MC_FAULT_QUEUE:
        return 503;
    case MC_FAULT_INTERNAL:
        return 500;
    default:
        return 502;
    }
}

static bool replayable(struct mc_call *c)
{
    return !c->taken || (c->ops->replay && c->ops->replay(c));
}

static enum mc_retry_how may_retry(struct mc_call *c, enum mc_call_fault fault, int status)
{
    const struct mc_call_policy *how = c->policy;
    uint64_t now = c->worker->loop.now;
    const struct mc_retry q = {
        .fault = fault,
        .status = status,
        .on = how->retry_on,
        .tries_left = c->only == NULL && c->tries <= (uint64_t) how->retries && c->ntried < MC_CALL_TRIED,
        .in_time = how->retry_timeout == 0 || now < c->started + (uint64_t) how->retry_timeout,
        .idempotent = mc_call_idempotent(c->x.method),
        .wired = c->wired,
        .passed = c->passed,
        .replayable = replayable(c),
        .stale_before = c->stale_before,
    };
    return mc_call_retry(&q);
}

static struct mc_peer *choose(struct mc_call *c, int *rc, const char **reason)
{
    c->choice.tried = c->tried;
    c->choice.ntried = c->ntried;
    *rc = MC_OK;
    return mc_peers_choose(c->peers, &c->choice, rc, reason);
}

void mc_call_failed(struct mc_call *c, enum mc_call_fault fault, const char *what)
{
    char then[32];
    enum mc_peer_result result = fault == MC_FAULT_STALE || fault == MC_FAULT_INTERNAL || fault == MC_FAULT_QUEUE ? MC_PEER_NEUTRAL : MC_PEER_FAILED;
    enum mc_retry_how how = may_retry(c, fault, 0);
    struct mc_peer *same = c->peer, *next = NULL;
    int rc, status = status_of(fault);
    const char *reason;
    c->fault = fault;
    if (how == MC_RETRY_FRESH) {
        mc_debug("upstream %s (%s): %s; on a new connection", c->policy->upstream->name, c->peer_text, what);
        c->stale_before = true;
        mc_up_close(c->up);
        c->up = NULL;
        c->peer = NULL;
        attempt(c, same);
        return;
    }
    if (how == MC_RETRY_NEXT) {
        next = choose(c, &rc, &reason);
    }
    if (next) {
        mc_call_tell(c, MC_LOG_WARNING, what, "another peer is asked");
    } else if (fault == MC_FAULT_QUEUE) {
        tell_queue(c, what);
    } else {
        snprintf(then, sizeof then, c->answered ? "the reply is cut" : "%d", status);
        mc_call_tell(c, c->tunnel ? MC_LOG_INFO : MC_LOG_ERROR, what, then);
    }
    mc_call_drop(c, result);
    if (next) {
        attempt(c, next);
    } else {
        mc_call_finish(c, status);
    }
}

void mc_call_fail(struct mc_call *c, enum mc_call_fault fault, const char *fmt, ...)
{
    char what[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    mc_call_failed(c, fault, what);
}

bool mc_call_try_another(struct mc_call *c)
{
    char what[32];
    const char *reason;
    int rc, status = c->x.reply.status;
    if (mc_likely(status < 502 || status > 504)) {
        return false;
    }
    struct mc_peer *next = may_retry(c, MC_FAULT_STATUS, status) == MC_RETRY_NEXT ? choose(c, &rc, &reason) : NULL;
    if (next == NULL) {
        return false;
    }
    snprintf(what, sizeof what, "it says %d", status);
    mc_call_tell(c, MC_LOG_WARNING, what, "another peer is asked");
    c->fault = MC_FAULT_STATUS;
    mc_call_drop(c, MC_PEER_FAILED);
    attempt(c, next);
    return true;
}

/* ---- tries ---- */

/* Ask `next`, or else whoever is chosen. */
static void attempt(struct mc_call *c, struct mc_peer *next)
{
    int rc = MC_OK;
    const char *reason = "no memory";
    struct mc_peer *p = next ? next : c->only ? c->only : choose(c, &rc, &reason);
    if (p == NULL && rc == MC_AGAIN) {
        mc_list_push(&c->peers->waiting, &c->wait.link);
        return;
    }
    if (p == NULL) {
        snprintf(c->peer_text, sizeof c->peer_text, "-");
        c->fault = MC_FAULT_NO_PEER;
        mc_call_tell(c, MC_LOG_ERROR, reason, "503");
        mc_call_finish(c, 503);
        return;
    }
    c->peer = p;
    memcpy(c->peer_text, p->text, sizeof c->peer_text);
    if (c->ntried == 0 || c->tried[c->ntried - 1] != p) {
        c->tried[c->ntried++] = p;
        c->tries++;
    }
    c->offset = 0;
    c->wired = c->mute = c->paused = c->thirsty = c->body_done = false;
    c->send_errno = 0;
    c->phase = 0;
    c->up = c->stale_before ? NULL : mc_up_reuse(c->worker, c->peers, p, c->policy);
    if (c->up) {
        c->up->call = c;
        c->x.keep = !c->policy->fresh;
        if (mc_call_begin(c) == MC_OK && mc_call_send(c) == MC_OK) {
            if (c->up->io.ready & MC_WANT_READ) { /* no event will tell */
                mc_post_add(&c->worker->loop, &c->post);
            }
            mc_call_park(c);
        }
        return;
    }
    c->x.keep = !c->policy->fresh && c->policy->upstream->keepalive > 0;
    c->up = mc_up_connect(c->worker, c->peers, p, c->policy);
    if (c->up == NULL && c->policy->upstream->pool) {
        mc_call_failed(c, MC_FAULT_QUEUE, errno == EAGAIN ? "as many requests wait already as may (queue)" : "its socket is not there");
        return;
    }
    if (c->up == NULL) {
        mc_call_fail(c, MC_FAULT_CONNECT, "cannot connect: %s", strerror(errno));
        return;
    }
    c->up->call = c;
    if (c->policy->upstream->pool) { /* it is connected: whoever accepts finds the request there */
        c->up->io.ready |= MC_WANT_WRITE;
        mc_call_go(c);
        return;
    }
    mc_call_park(c);
}

/* ---- for callers ---- */

static void on_post(struct mc_post *p)
{
    struct mc_call *c = p->data;
    if (c->late) {
        int status = c->late;
        c->late = 0;
        mc_call_finish(c, status);
    } else if (c->up && c->up->state == MC_UP_BUSY) {
        mc_call_go(c);
    }
}

static void on_wake(struct mc_peer_wait *w)
{
    attempt(mc_container(w, struct mc_call, wait), NULL);
}

int mc_call_start(struct mc_call *c)
{
    c->peers = mc_peers_get(c->worker, c->policy->upstream);
    if (c->peers == NULL) {
        return MC_ERROR;
    }
    mc_health_start(c->peers, c->policy);
    c->wait.wake = on_wake;
    mc_post_init(&c->post, on_post, c);
    c->started = c->worker->loop.now;
    c->running = c->starting = true;
    attempt(c, NULL);
    c->starting = false;
    return MC_OK;
}

void mc_call_more(struct mc_call *c)
{
    if (c->running && c->thirsty) {
        c->thirsty = false;
        mc_post_add(&c->worker->loop, &c->post);
    }
}

void mc_call_resume(struct mc_call *c)
{
    if (c->running && c->paused) {
        c->paused = false;
        mc_post_add(&c->worker->loop, &c->post);
    }
}
