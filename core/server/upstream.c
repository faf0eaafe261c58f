/* Calls: which peer, what to send, what came back, what to do when it fails. Drives a connection (upstream_conn.c) through a gateway's codec, under
 * time-outs, with back-pressure both ways. Never touches a client: callers do, in their ops. Worker side, on the loop. */
#include "core/server/up.h"

#include "core/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { PIECE = 16384, FILLS_MAX = 16 /* then the others have their turn */ };

enum phase { PHASE_NONE, PHASE_CONNECT, PHASE_SEND, PHASE_READ, PHASE_TUNNEL };

static void attempt(struct mc_call *c, struct mc_peer *next);

/* ---- the log ---- */

static void tell(const struct mc_call *c, enum mc_log_level level, const char *what, const char *then)
{
    char target[512];
    if (c->quiet || !mc_log_on(level)) {
        return;
    }
    size_t n = mc_str_escape(target, sizeof target, c->x.target);
    mc_log_line(level, "upstream %s (%s): %s; %s: %.*s %.*s", c->policy->upstream->name, c->peer ? c->peer_text : "-", what, then, (int) c->x.method.n,
        c->x.method.p, (int) n, target);
}

/* ---- the end ---- */

static void let_go(struct mc_call *c, enum mc_peer_result how)
{
    if (c->peer) {
        struct mc_peer *p = c->peer;
        c->peer = NULL;
        if (c->only == NULL) {
            mc_peers_done(c->peers, p, how);
        }
    }
}

static void drop(struct mc_call *c, enum mc_peer_result how)
{
    if (c->up) {
        mc_up_close(c->up);
        c->up = NULL;
    }
    let_go(c, how);
}

static void finish(struct mc_call *c, int status)
{
    MC_ASSERT(c->up == NULL && c->peer == NULL);
    if (c->starting) {
        c->late = status;
        mc_post_add(&c->worker->loop, &c->post);
        return;
    }
    c->running = false;
    mc_post_remove(&c->post);
    c->ops->done(c, status);
}

/* One of the caller's ops wants no more. */
static void give_up(struct mc_call *c)
{
    drop(c, MC_PEER_NEUTRAL);
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
    give_up(c);
}

/* ---- failures ---- */

static int status_of(enum mc_call_fault fault)
{
    switch (fault) {
    case MC_FAULT_TIMEOUT:
        return 504;
    case MC_FAULT_NO_PEER:
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

/* This try has failed. */
static void failed(struct mc_call *c, enum mc_call_fault fault, const char *what)
{
    char then[32];
    enum mc_peer_result result = fault == MC_FAULT_STALE || fault == MC_FAULT_INTERNAL ? MC_PEER_NEUTRAL : MC_PEER_FAILED;
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
        tell(c, MC_LOG_WARNING, what, "another peer is asked");
    } else {
        snprintf(then, sizeof then, c->answered ? "the reply is cut" : "%d", status);
        tell(c, c->tunnel ? MC_LOG_INFO : MC_LOG_ERROR, what, then);
    }
    drop(c, result);
    if (next) {
        attempt(c, next);
    } else {
        finish(c, status);
    }
}

static void MC_PRINTF(3, 4) fail(struct mc_call *c, enum mc_call_fault fault, const char *fmt, ...)
{
    char what[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    failed(c, fault, what);
}

static const char *why(const struct mc_up *u, int e)
{
    return u->stream.why ? u->stream.why : e ? strerror(e) : "the transport failed";
}

/* The connection broke before the reply was complete. */
static void broke(struct mc_call *c, const char *what)
{
    struct mc_up *u = c->up;
    bool stale = u->reused && !u->replied;
    if (c->send_errno) {
        fail(c, stale ? MC_FAULT_STALE : MC_FAULT_RESET, "%s (it took the request in part: %s)", what, strerror(c->send_errno));
    } else {
        failed(c, stale ? MC_FAULT_STALE : MC_FAULT_RESET, what);
    }
}

/* ---- time ---- */

static int64_t phase_ms(const struct mc_call *c, enum phase p)
{
    switch (p) {
    case PHASE_CONNECT:
        return c->policy->connect_timeout;
    case PHASE_SEND:
        return c->policy->send_timeout;
    case PHASE_READ:
        return c->policy->read_timeout;
    case PHASE_TUNNEL: {
        bool half = c->up_ended || c->body_done;
        return half && c->policy->read_timeout ? c->policy->read_timeout : c->policy->tunnel_timeout;
    }
    default:
        return 0;
    }
}

static enum phase phase_of(const struct mc_call *c)
{
    if (c->up->state != MC_UP_BUSY) {
        return PHASE_CONNECT;
    }
    if (c->tunnel) {
        return PHASE_TUNNEL;
    }
    if (c->paused || (c->thirsty && !c->passed)) {
        return PHASE_NONE; /* the client's turn */
    }
    return mc_chain_empty(&c->up->out) ? PHASE_READ : PHASE_SEND;
}

/* The timer of a phase starts with it, and anew with each byte that moves. */
static void park(struct mc_call *c)
{
    enum phase p = phase_of(c);
    if (mc_up_watch(c->up) != MC_OK) {
        fail(c, MC_FAULT_INTERNAL, "cannot be watched: %s", strerror(errno));
        return;
    }
    if (p != c->phase || c->progress) {
        c->phase = (uint8_t) p;
        mc_up_set_timer(c->up, phase_ms(c, p));
    }
    c->progress = false;
}

void mc_up_on_timer(struct mc_up *u)
{
    struct mc_call *c = u->call;
    double s = (double) phase_ms(c, c->phase) / 1000;
    switch (c->phase) {
    case PHASE_CONNECT:
        fail(c, MC_FAULT_TIMEOUT, u->state == MC_UP_CONNECTING ? "no connection within %g s" : "no TLS handshake within %g s", s);
        break;
    case PHASE_SEND:
        fail(c, MC_FAULT_TIMEOUT, "it took nothing of the request for %g s", s);
        break;
    case PHASE_TUNNEL:
        fail(c, MC_FAULT_TIMEOUT, "no byte through the tunnel for %g s", s);
        break;
    default:
        fail(c, MC_FAULT_TIMEOUT, "no byte of a reply for %g s", s);
    }
}

/* ---- sending ---- */

/* Ask for more of the body while little is waiting. MC_OK or MC_ERROR (failed() was called). */
static int pull(struct mc_call *c)
{
    struct mc_up *u = c->up;
    char piece[PIECE];
    while (!c->body_done && !c->thirsty && u->out.total < MC_UP_LOW) {
        ssize_t n = c->x.length == 0 && !c->tunnel ? 0 : c->ops->source(c, c->offset, piece, sizeof piece);
        if (n == MC_AGAIN) {
            c->thirsty = true;
            break;
        }
        if (n < 0) {
            failed(c, MC_FAULT_INTERNAL, "the body of the request was cut");
            return MC_ERROR;
        }
        c->taken |= n > 0;
        c->body_done = n == 0;
        c->offset += n;
        if (u->gateway->body(&c->x, &u->out, piece, (size_t) n, n == 0) != MC_OK) {
            failed(c, MC_FAULT_INTERNAL, "out of memory");
            return MC_ERROR;
        }
    }
    return MC_OK;
}

static int flush(struct mc_call *c)
{
    off_t before = c->up->out.total;
    int rc = mc_up_flush(c->up);
    c->progress |= c->up->out.total != before;
    return rc;
}

/* MC_OK, or MC_ERROR: the call has moved on. */
static int send_some(struct mc_call *c)
{
    struct mc_up *u = c->up;
    while (!c->mute) {
        if (pull(c) != MC_OK) {
            return MC_ERROR;
        }
        int rc = flush(c);
        if (rc == MC_ERROR) {
            /* It may have answered before it closed: look. */
            c->send_errno = errno;
            c->mute = true;
            mc_chain_fini(&u->out);
            u->io.ready |= MC_WANT_READ;
        }
        if (rc != MC_OK || c->thirsty) {
            return MC_OK;
        }
        if (c->body_done) {
            if (c->tunnel && !c->mute) {
                c->mute = true;
                (void) u->stream.ops->shutdown(&u->stream); /* the client's half-close, passed on */
            }
            return MC_OK;
        }
    }
    return MC_OK;
}

/* ---- receiving ---- */

static int on_head(struct mc_call *c)
{
    int rc, status = c->x.reply.status;
    const char *reason;
    if (!c->headed) {
        c->headed = c->worker->loop.now;
    }
    if (may_retry(c, MC_FAULT_STATUS, status) == MC_RETRY_NEXT) {
        struct mc_peer *next = choose(c, &rc, &reason);
        if (next) {
            char what[32];
            snprintf(what, sizeof what, "it says %d", status);
            tell(c, MC_LOG_WARNING, what, "another peer is asked");
            c->fault = MC_FAULT_STATUS;
            drop(c, MC_PEER_FAILED);
            attempt(c, next);
            return MC_ERROR;
        }
    }
    c->passed = c->answered = true;
    if (c->x.switched) {
        c->tunnel = true;
        c->body_done = c->thirsty = false;
        c->offset = 0;
    }
    rc = c->ops->head(c);
    if (!c->running) {
        return MC_ERROR;
    }
    if (rc != MC_OK) {
        give_up(c);
        return MC_ERROR;
    }
    return MC_OK;
}

static int on_interim(struct mc_call *c)
{
    if (c->ops->interim == NULL) {
        return MC_OK;
    }
    c->passed |= c->x.reply.status != 100;
    int rc = c->ops->interim(c);
    if (c->running && rc != MC_OK) {
        give_up(c);
    }
    return c->running ? MC_OK : MC_ERROR;
}

static int on_data(struct mc_call *c, struct mc_str data)
{
    int rc = c->ops->data(c, data.p, data.n);
    if (!c->running) {
        return MC_ERROR;
    }
    if (rc == MC_AGAIN) {
        c->paused = true;
    } else if (rc != MC_OK) {
        give_up(c);
        return MC_ERROR;
    }
    return MC_OK;
}

/* The reply is complete. */
static void on_end(struct mc_call *c)
{
    struct mc_up *u = c->up;
    unsigned bad = c->x.reply.status == 502 ? MC_RETRY_502 : c->x.reply.status == 503 ? MC_RETRY_503 : c->x.reply.status == 504 ? MC_RETRY_504 : 0;
    c->up = NULL;
    c->fault = MC_FAULT_NONE;
    if (c->x.reusable && c->body_done && !c->mute) {
        mc_up_keep(u, c->policy);
    } else {
        mc_up_close(u);
    }
    let_go(c, bad & c->policy->retry_on ? MC_PEER_FAILED : MC_PEER_OK);
    finish(c, 0);
}

/* Nothing more can come through a tunnel whose both ends are closed. */
static void end_tunnel(struct mc_call *c)
{
    drop(c, MC_PEER_OK);
    finish(c, 0);
}

static int on_event(struct mc_call *c, const struct mc_gw_event *ev)
{
    switch (ev->kind) {
    case MC_GW_INTERIM:
        return on_interim(c);
    case MC_GW_HEAD:
        return on_head(c);
    case MC_GW_DATA:
        return on_data(c, ev->data);
    case MC_GW_END:
        if (c->tunnel) {
            c->up_ended = true;
            c->ops->half(c);
            return c->running ? MC_OK : MC_ERROR;
        }
        on_end(c);
        return MC_ERROR;
    case MC_GW_STDERR: {
        char text[1024];
        tell(c, MC_LOG_WARNING, "it says on stderr", (text[mc_str_escape(text, sizeof text - 1, mc_str_trim(ev->data))] = '\0', text));
        return MC_OK;
    }
    default:
        if (c->up->eof) {
            broke(c, ev->why);
        } else {
            failed(c, MC_FAULT_REPLY, ev->why);
        }
        return MC_ERROR;
    }
}

/* What lies in the buffer, to the codec. MC_OK: all that can be, MC_ERROR: the call has moved on. */
static int digest(struct mc_call *c)
{
    struct mc_up *u = c->up;
    while (!c->paused && !c->up_ended) {
        struct mc_gw_event ev;
        size_t used;
        u->gateway->input(&c->x, u->in + u->pos, u->len - u->pos, u->eof, &used, &ev);
        u->pos += used;
        if (ev.kind == MC_GW_MORE) {
            if (used == 0 || u->pos == u->len) {
                if (!u->eof) {
                    return MC_OK;
                }
                if (used == 0) {
                    broke(c, "it closed the connection within a reply");
                    return MC_ERROR;
                }
            }
            continue;
        }
        if (on_event(c, &ev) != MC_OK || c->up != u) {
            return MC_ERROR;
        }
    }
    return MC_OK;
}

/* As send_some(). */
static int receive(struct mc_call *c)
{
    struct mc_up *u = c->up;
    for (unsigned i = 0;; i++) {
        if ((u->pos < u->len || u->eof) && digest(c) != MC_OK) {
            return MC_ERROR;
        }
        if (c->paused || c->up_ended) {
            return MC_OK;
        }
        if (i == FILLS_MAX) {
            mc_post_add(&c->worker->loop, &c->post);
            return MC_OK;
        }
        ssize_t n = mc_up_fill(u);
        if (n == MC_AGAIN) {
            return MC_OK;
        }
        if (n < 0) {
            char what[128];
            snprintf(what, sizeof what, "reading from it failed: %s", why(u, errno));
            broke(c, what);
            return MC_ERROR;
        }
        c->progress = true;
    }
}

/* ---- the way of a try ---- */

/* The connection is ready: encode what can be. */
static int begin(struct mc_call *c)
{
    struct mc_up *u = c->up;
    if (!u->reused && c->ops->prologue) {
        c->ops->prologue(c, &u->out);
    }
    if (u->gateway->head(&c->x, &u->out) != MC_OK) {
        failed(c, MC_FAULT_INTERNAL, "the request cannot be said to it");
        return MC_ERROR;
    }
    return MC_OK;
}

static void go(struct mc_call *c)
{
    struct mc_up *u = c->up;
    if (u->state != MC_UP_BUSY) {
        int rc = mc_up_open(u);
        if (rc == MC_AGAIN) {
            park(c);
            return;
        }
        if (rc != MC_OK) {
            fail(c, MC_FAULT_CONNECT, "cannot connect: %s", why(u, errno));
            return;
        }
        c->connected = c->worker->loop.now;
        if (begin(c) != MC_OK) {
            return;
        }
    }
    if (send_some(c) != MC_OK || receive(c) != MC_OK) {
        return;
    }
    if (c->tunnel) {
        if (!c->thirsty && !c->body_done && send_some(c) != MC_OK) { /* it has begun just now */
            return;
        }
        if (c->up_ended && c->mute) {
            end_tunnel(c);
            return;
        }
    }
    park(c);
}

void mc_up_on_io(struct mc_up *u)
{
    go(u->call);
}

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
        tell(c, MC_LOG_ERROR, reason, "503");
        finish(c, 503);
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
    c->phase = PHASE_NONE;
    c->up = c->stale_before ? NULL : mc_up_reuse(c->worker, c->peers, p, c->policy);
    if (c->up) {
        c->up->call = c;
        c->x.keep = !c->policy->fresh;
        if (begin(c) == MC_OK && send_some(c) == MC_OK) {
            if (c->up->io.ready & MC_WANT_READ) { /* no event will tell */
                mc_post_add(&c->worker->loop, &c->post);
            }
            park(c);
        }
        return;
    }
    c->x.keep = !c->policy->fresh && c->policy->upstream->keepalive > 0;
    c->up = mc_up_connect(c->worker, c->peers, p, c->policy);
    if (c->up == NULL) {
        fail(c, MC_FAULT_CONNECT, "cannot connect: %s", strerror(errno));
        return;
    }
    c->up->call = c;
    park(c);
}

/* ---- for callers ---- */

static void on_post(struct mc_post *p)
{
    struct mc_call *c = p->data;
    if (c->late) {
        int status = c->late;
        c->late = 0;
        finish(c, status);
    } else if (c->up && c->up->state == MC_UP_BUSY) {
        go(c);
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
