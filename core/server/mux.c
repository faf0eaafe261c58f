/* Carriers: connections whose codec deals in streams. Their sockets are read and written here, the codec is turned, the streams are stepped; each of these is a
 * connection of its own (mux_stream.c). What a request is, and HTTP/2, it does not know. Worker side, on the loop. */
#include "core/server/mux.h"

#include "core/server/engine.h"
#include "core/server/tls.h"

#include <stdlib.h>
#include <string.h>

enum { TURNS_MAX = 64 /* then the other connections have their turn */, OUTPUTS_MAX = 16, PREFACE_MAX = 64 };
enum { WAIT_NONE, WAIT_OUT, WAIT_IDLE, WAIT_LEAVE, WAIT_STREAMS };

/* ---- the beginning */

void mc_mux_blame(struct mc_session *carrier, enum mc_log_level level, struct mc_log_limit *limit, const char *why)
{
    char text[200];
    unsigned missed;
    if (!mc_log_on(level) || !mc_log_limited(limit, &missed)) {
        return;
    }
    struct mc_str peer = mc_conn_peer(mc_container(carrier, struct mc_conn, session));
    size_t n = mc_str_escape(text, sizeof text, mc_str(why)); /* there may be names of fields in it */
    mc_log_line(level, "Invalid HTTP/2 from ip=%.*s: %.*s%s", (int) peer.n, peer.p, (int) n, text, missed ? " (and others)" : "");
}

int mc_mux_begin(struct mc_conn *c, const struct mc_protocol_ops *ops)
{
    struct mc_session *s = &c->session;
    struct mc_mux *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return MC_ERROR;
    }
    mc_list_init(&m->streams);
    mc_list_init(&m->ready);
    s->ops->close(s);
    s->ops = ops;
    if (ops->open(s) != MC_OK) {
        s->ops = c->worker->http1; /* whose close() finds nothing */
        free(m);
        return MC_ERROR;
    }
    c->mux = m;
    m->work = true;
    return MC_OK;
}

/* Over TLS: is HTTP/1 among what the server offers? */
static bool speaks_h1(const struct mc_tls_info *tls)
{
    const struct mc_strv *list = &tls->server->set.http_protocols;
    for (size_t i = 0; i < list->n; i++) {
        if (strcmp(list->v[i], "h1") == 0) {
            return true;
        }
    }
    return false;
}

int mc_mux_choose(struct mc_conn *c, const struct mc_protocol_ops **ops)
{
    const struct mc_worker *w = c->worker;
    const struct mc_conf_server *s = c->listener->conf->servers[0];
    const struct mc_tls_info *tls = mc_tls_info(&c->stream);
    char bytes[PREFACE_MAX];
    *ops = NULL;
    if (w->mux == NULL || c->session.ops != w->http1 || c->session.inner) { /* other pools speak HTTP/1.1 */
        return MC_OK;
    }
    if (tls) {
        *ops = mc_str_eq(tls->alpn, mc_str(w->mux->alpn)) ? w->mux : NULL;
        return *ops || speaks_h1(tls) ? MC_OK : MC_ERROR; /* who does not know of ALPN gets HTTP/1 or nothing */
    }
    if (mc_likely(strcmp(s->set.http2_cleartext, "off") == 0)) {
        return MC_OK;
    }
    if (c->peer.family != AF_UNIX && !mc_cidr_match(s->trusted, s->ntrusted, &c->peer)) {
        return MC_OK; /* HTTP/1 refuses what it does not know */
    }
    size_t n = strlen(w->mux->mux->preface);
    MC_ASSERT(n <= sizeof bytes);
    ssize_t got = mc_transport_peek(c->stream.fd, bytes, n);
    if (got == MC_AGAIN || (got > 0 && (size_t) got < n && memcmp(bytes, w->mux->mux->preface, (size_t) got) == 0 && !(c->io.ready & MC_READY_ERROR))) {
        c->io.ready &= (uint8_t) ~MC_WANT_READ;
        return MC_AGAIN;
    }
    *ops = got == (ssize_t) n && memcmp(bytes, w->mux->mux->preface, n) == 0 ? w->mux : NULL;
    return MC_OK;
}

/* ---- the carrier at work */

static void step_streams(struct mc_mux *m)
{
    for (struct mc_link *l; (l = mc_list_pop(&m->ready)) != NULL;) {
        struct mc_mux_stream *st = mc_container(l, struct mc_mux_stream, ready);
        if (st->conn.lent) {
            continue; /* its borrower finds out */
        }
        if (st->cut) {
            mc_conn_close(&st->conn);
        } else {
            mc_conn_step(&st->conn);
        }
    }
}

int mc_mux_pump(struct mc_conn *c)
{
    struct mc_mux *m = c->mux;
    struct mc_chain *out = &c->session.out;
    for (int i = 0; i < OUTPUTS_MAX; i++) {
        if (m->work && out->total <= MC_MUX_OUT_LOW) {
            m->work = false;
            int rc = mc_mux_codec(c)->output(&c->session, MC_MUX_OUT);
            if (rc == MC_ERROR) {
                return MC_ERROR;
            }
            m->over |= rc == MC_DECLINED;
            m->work |= out->total >= MC_MUX_OUT;
        }
        int rc = mc_conn_flush(c);
        if (rc != MC_OK || !m->work) {
            return rc;
        }
    }
    mc_mux_soon(c);
    return MC_OK;
}

static void end_all(struct mc_mux *m)
{
    struct mc_link *l, *next;
    mc_list_each (&m->streams, l, next) {
        struct mc_mux_stream *st = mc_container(l, struct mc_mux_stream, link);
        mc_mux_cut(st);
        if (!st->conn.lent) {
            mc_conn_close(&st->conn);
        }
    }
}

/* The socket is of no use any more. */
static int lose(struct mc_conn *c)
{
    struct mc_mux *m = c->mux;
    m->lost = true;
    end_all(m);
    mc_conn_unlist(c);
    if (m->nstreams == 0) {
        return MC_ERROR;
    }
    c->broken = false; /* who sees that closes it; that must wait */
    mc_timer_clear(&c->timer);
    mc_io_unwatch(&c->worker->loop, &c->io);
    return MC_AGAIN;
}

int mc_mux_read(struct mc_conn *c)
{
    struct mc_session *s = &c->session;
    struct mc_mux *m = c->mux;
    if (m->over) {
        return MC_AGAIN;
    }
    if (s->in.pos == s->in.len) {
        ssize_t n = mc_conn_fill(c);
        if (n <= 0) {
            return n == MC_AGAIN ? MC_AGAIN : MC_ERROR;
        }
    }
    m->work = true;
    if (mc_mux_codec(c)->input(s) != MC_OK) {
        m->over = true;
        s->in.pos = s->in.len;
    }
    return MC_OK;
}

static void wait_mode(struct mc_conn *c, uint8_t mode)
{
    if (c->mux->wait != mode) {
        c->mux->wait = mode;
        c->parked = 0;
    }
}

static void leave(struct mc_conn *c, bool last)
{
    struct mc_mux *m = c->mux;
    m->leaving = last ? 2 : 1;
    m->work = true;
    mc_mux_codec(c)->leave(&c->session, last);
}

static int rest_idle(struct mc_conn *c)
{
    struct mc_worker *w = c->worker;
    if (c->requests > 0 && (w->keepalive <= 0 || w->draining)) {
        leave(c, w->keepalive <= 0);
        return MC_OK;
    }
    if (w->nconns > MC_REST_CONNS) {
        mc_conn_rest_now(c);
    }
    mc_conn_may_go(c, &w->idle);
    wait_mode(c, WAIT_IDLE);
    int64_t ms = c->requests ? w->keepalive : c->session.host->set->header_timeout;
    if (w->draining && (ms <= 0 || ms > MC_DRAIN_IDLE_MS)) {
        ms = MC_DRAIN_IDLE_MS;
    }
    return mc_conn_wait(c, ms, false);
}

/* Nothing more to do now. */
static int rest(struct mc_conn *c, int out)
{
    struct mc_mux *m = c->mux;
    mc_conn_release_input(c);
    if (out == MC_AGAIN) {
        bool progress = c->progress;
        c->progress = false;
        wait_mode(c, WAIT_OUT);
        return mc_conn_wait_moving(c, c->session.host->set->send_timeout, progress, &c->moved_out);
    }
    if (m->nstreams == 0 && (m->over || m->leaving == 2)) {
        return mc_conn_end(c);
    }
    if (m->leaving == 1) {
        wait_mode(c, WAIT_LEAVE);
        return mc_conn_wait(c, MC_MUX_NOTICE_MS, false);
    }
    if (m->nstreams == 0) {
        return rest_idle(c);
    }
    wait_mode(c, WAIT_STREAMS);
    return mc_conn_wait(c, 0, false);
}

static int turn(struct mc_conn *c)
{
    struct mc_mux *m = c->mux;
    step_streams(m);
    int out = mc_mux_pump(c);
    if (out == MC_ERROR) {
        return lose(c);
    }
    if (m->over) {
        end_all(m); /* nobody will hear them */
    }
    if (!mc_list_empty(&m->ready)) {
        return MC_OK;
    }
    int in = mc_mux_read(c);
    if (in == MC_ERROR) {
        return lose(c);
    }
    return in == MC_OK || (m->work && out == MC_OK) ? MC_OK : rest(c, out); /* while the socket is full no work can be done */
}

int mc_mux_step(struct mc_conn *c)
{
    struct mc_mux *m = c->mux;
    int rc = MC_OK;
    if (m->lost) {
        return m->nstreams == 0 ? MC_ERROR : MC_AGAIN;
    }
    m->stepping = true;
    for (int i = 0; i < TURNS_MAX && rc == MC_OK && c->state == MC_CONN_CARRY; i++) {
        rc = turn(c);
    }
    m->stepping = false;
    return rc;
}

/* ---- the end */

void mc_mux_leave(struct mc_conn *c)
{
    struct mc_mux *m = c->mux;
    if (m == NULL || c->state != MC_CONN_CARRY || m->lost || m->over || m->leaving) {
        return;
    }
    leave(c, false);
    mc_conn_again(c);
}

void mc_mux_stalled(struct mc_conn *c)
{
    static struct mc_log_limit limits[2];
    unsigned missed;
    if (mc_log_limited(&limits[c->stream_only], &missed)) {
        struct mc_str peer = mc_conn_peer(c);
        mc_info("HTTP/2 client ip=%.*s takes nothing (send_timeout): %s%s", (int) peer.n, peer.p, c->stream_only ? "stream reset" : "connection closed",
            missed ? " (and others)" : "");
    }
}

void mc_mux_expire(struct mc_conn *c)
{
    struct mc_mux *m = c->mux;
    if (m->wait == WAIT_OUT) {
        mc_mux_stalled(c);
        if (lose(c) == MC_ERROR) {
            mc_conn_close(c);
        }
        return;
    }
    if (m->leaving == 1) {
        leave(c, true);
    } else {
        mc_mux_leave(c);
    }
    c->io.ready |= MC_WANT_READ; /* a request may have arrived just now */
    mc_conn_step(c);
}

bool mc_mux_busy(const struct mc_conn *c)
{
    struct mc_link *l, *next;
    if (c->mux == NULL) {
        return false;
    }
    mc_list_each (&c->mux->streams, l, next) {
        if (mc_container(l, struct mc_mux_stream, link)->conn.lent) {
            return true;
        }
    }
    return false;
}

void mc_mux_close(struct mc_conn *c)
{
    struct mc_mux *m = c->mux;
    MC_ASSERT(!mc_mux_busy(c));
    m->stepping = true; /* nobody needs to come back */
    if (!m->lost && !m->over && c->state == MC_CONN_CARRY && mc_chain_empty(&c->session.out)) {
        leave(c, true);
        end_all(m);
        (void) mc_mux_pump(c);
    }
    m->lost = true;
    end_all(m);
    MC_ASSERT(m->nstreams == 0);
}
