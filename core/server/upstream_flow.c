/* One try of a call: drives a connection (upstream_conn.c) through a gateway's codec, under time-outs, with back-pressure both ways. What becomes of the call
 * when a try fails is upstream.c's. Worker side, on the loop. */
#include "core/server/up.h"

#include "core/os/socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { PIECE = 16384, FILLS_MAX = 16 /* then the others have their turn */ };

enum phase { PHASE_NONE, PHASE_CONNECT, PHASE_SEND, PHASE_READ, PHASE_TUNNEL, PHASE_QUEUE };

static const char *why(const struct mc_up *u, int e)
{
    return u->stream.why ? u->stream.why : e ? strerror(e) : "the transport failed";
}

/* The connection broke before the reply was complete. how: errno, 0: its end. */
static void broke(struct mc_call *c, int how, const char *what)
{
    struct mc_up *u = c->up;
    bool stale = u->reused && !u->replied;
    /* Of a unix socket this means: there is something of ours that its process had not read when it died. So it has not begun. */
    if (c->policy->upstream->pool && !u->replied && how == ECONNRESET) {
        c->wired = false;
        stale = true;
    }
    if (c->send_errno) {
        mc_call_fail(c, stale ? MC_FAULT_STALE : MC_FAULT_RESET, "%s (it took the request in part: %s)", what, strerror(c->send_errno));
    } else {
        mc_call_failed(c, stale ? MC_FAULT_STALE : MC_FAULT_RESET, what);
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
    case PHASE_QUEUE:
        return c->policy->queue_timeout;
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
    if (c->policy->queue_timeout && !c->up->heard) {
        return PHASE_QUEUE;
    }
    if (c->paused || (c->thirsty && !c->passed)) {
        return PHASE_NONE; /* the client's turn */
    }
    return mc_chain_empty(&c->up->out) ? PHASE_READ : PHASE_SEND;
}

/* The timer of a phase starts with it, and anew with each byte that moves. */
void mc_call_park(struct mc_call *c)
{
    enum phase p = phase_of(c);
    if (mc_up_watch(c->up) != MC_OK) {
        mc_call_fail(c, MC_FAULT_INTERNAL, "cannot be watched: %s", strerror(errno));
        return;
    }
    if (p != c->phase || (c->progress && p != PHASE_QUEUE)) {
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
    case PHASE_QUEUE:
        if (mc_socket_unread(u->io.fd)) {
            mc_call_fail(c, MC_FAULT_QUEUE, "no worker was free for it within %g s", s);
        } else {
            u->heard = true;
            mc_call_park(c);
        }
        break;
    case PHASE_CONNECT:
        mc_call_fail(c, MC_FAULT_TIMEOUT, u->state == MC_UP_CONNECTING ? "no connection within %g s" : "no TLS handshake within %g s", s);
        break;
    case PHASE_SEND:
        mc_call_fail(c, MC_FAULT_TIMEOUT, "it took nothing of the request for %g s", s);
        break;
    case PHASE_TUNNEL:
        mc_call_fail(c, MC_FAULT_TIMEOUT, "no byte through the tunnel for %g s", s);
        break;
    default:
        mc_call_fail(c, MC_FAULT_TIMEOUT, "no byte of a reply for %g s", s);
    }
}

/* ---- sending ---- */

/* Ask for more of the body while little is waiting. MC_OK or MC_ERROR (mc_call_failed() was called). */
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
            mc_call_failed(c, MC_FAULT_INTERNAL, "the body of the request was cut");
            return MC_ERROR;
        }
        c->taken |= n > 0;
        c->body_done = n == 0;
        c->offset += n;
        if (u->gateway->body(&c->x, &u->out, piece, (size_t) n, n == 0) != MC_OK) {
            mc_call_failed(c, MC_FAULT_INTERNAL, "out of memory");
            return MC_ERROR;
        }
    }
    return MC_OK;
}

static int flush(struct mc_call *c)
{
    off_t before = c->up->out.total;
    int rc = mc_up_flush(c->up);
    bool moved = c->up->out.total != before;
    c->up->heard |= moved && c->up->blocked;
    c->up->blocked = rc == MC_AGAIN;
    c->progress |= moved;
    return rc;
}

/* MC_OK, or MC_ERROR: the call has moved on. */
int mc_call_send(struct mc_call *c)
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
    if (!c->headed) {
        c->headed = c->worker->loop.now;
    }
    if (mc_call_try_another(c)) {
        return MC_ERROR;
    }
    c->passed = c->answered = true;
    if (c->x.switched) {
        c->tunnel = true;
        c->body_done = c->thirsty = false;
        c->offset = 0;
    }
    int rc = c->ops->head(c);
    if (!c->running) {
        return MC_ERROR;
    }
    if (rc != MC_OK) {
        mc_call_give_up(c);
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
        mc_call_give_up(c);
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
        mc_call_give_up(c);
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
    mc_call_let_go(c, bad & c->policy->retry_on ? MC_PEER_FAILED : MC_PEER_OK);
    mc_call_finish(c, 0);
}

/* Nothing more can come through a tunnel whose both ends are closed. */
static void end_tunnel(struct mc_call *c)
{
    mc_call_drop(c, MC_PEER_OK);
    mc_call_finish(c, 0);
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
        mc_call_tell(c, MC_LOG_WARNING, "it says on stderr", (text[mc_str_escape(text, sizeof text - 1, mc_str_trim(ev->data))] = '\0', text));
        return MC_OK;
    }
    default:
        if (c->up->eof) {
            broke(c, 0, ev->why);
        } else {
            mc_call_failed(c, MC_FAULT_REPLY, ev->why);
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
                    broke(c, 0, "it closed the connection within a reply");
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

/* As mc_call_send(). */
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
            int how = errno;
            snprintf(what, sizeof what, "reading from it failed: %s", why(u, how));
            broke(c, how, what);
            return MC_ERROR;
        }
        c->progress = u->heard = true;
    }
}

/* ---- the way of a try ---- */

/* The connection is ready: encode what can be. */
int mc_call_begin(struct mc_call *c)
{
    struct mc_up *u = c->up;
    if (!u->reused && c->ops->prologue) {
        c->ops->prologue(c, &u->out);
    }
    if (u->gateway->head(&c->x, &u->out) != MC_OK) {
        mc_call_failed(c, MC_FAULT_INTERNAL, "the request cannot be said to it");
        return MC_ERROR;
    }
    return MC_OK;
}

void mc_call_go(struct mc_call *c)
{
    struct mc_up *u = c->up;
    if (u->state != MC_UP_BUSY) {
        int rc = mc_up_open(u);
        if (rc == MC_AGAIN) {
            mc_call_park(c);
            return;
        }
        if (rc != MC_OK) {
            mc_call_fail(c, MC_FAULT_CONNECT, "cannot connect: %s", why(u, errno));
            return;
        }
        c->connected = c->worker->loop.now;
        if (mc_call_begin(c) != MC_OK) {
            return;
        }
    }
    if (mc_call_send(c) != MC_OK || receive(c) != MC_OK) {
        return;
    }
    if (c->tunnel) {
        if (!c->thirsty && !c->body_done && mc_call_send(c) != MC_OK) { /* it has begun just now */
            return;
        }
        if (c->up_ended && c->mute) {
            end_tunnel(c);
            return;
        }
    }
    mc_call_park(c);
}

void mc_up_on_io(struct mc_up *u)
{
    mc_call_go(u->call);
}
