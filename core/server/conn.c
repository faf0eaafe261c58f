/* Client connections: birth, reading, writing, waiting, death. What happens between (requests) is step.c's.
 * Owns the socket, the input buffer, the output queue and the timer. Never calls a handler. Worker side, on the loop. */
#include "core/server/engine.h"

#include "core/base/small.h"
#include "core/os/fd.h"
#include "core/server/hop.h"
#include "core/server/mux.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { IOV_MAX_SEND = 16, SENDFILE_MAX = 2 << 20, FLUSH_MAX = 2 << 20 /* then the others have their turn */, REST_MS = 100 /* after an accept that failed */ };

static void on_io(struct mc_io *io)
{
    struct mc_conn *c = io->data;
    MC_ASSERT(c->magic == MC_MAGIC_CONN);
    if (!c->lent) { /* of a lent connection events are only noted (in io->ready) */
        mc_conn_step(c);
    }
}

static void on_timer(struct mc_timer *t)
{
    struct mc_conn *c = t->data;
    MC_ASSERT(c->magic == MC_MAGIC_CONN);
    if (!c->lent) {
        mc_conn_expire(c);
    }
}

/* With what malloc() writes before it an idle connection takes seven lines of the cache: who adds a field takes another one away. */
_Static_assert(sizeof(void *) != 8 || sizeof(struct mc_conn) <= 440, "an idle connection has grown");

/* ---- birth and death ---- */

/* A stream's bytes go through its carrier: there is nothing to call. */
static ssize_t no_recv(struct mc_stream *s, void *p, size_t n)
{
    (void) s, (void) p, (void) n;
    return MC_AGAIN;
}

static bool no_pending(const struct mc_stream *s)
{
    (void) s;
    return false;
}

/* A tunnel (server/tunnel.c) is closed in one direction. */
static int end_output(struct mc_stream *s)
{
    struct mc_conn *c = mc_container(s, struct mc_conn, stream);
    int rc = c->session.ops->body(c->request, NULL, 0, true);
    mc_conn_again(c);
    return rc;
}

static void no_close(struct mc_stream *s)
{
    (void) s;
}

static const struct mc_transport_ops no_socket = { .name = "stream", .recv = no_recv, .pending = no_pending, .shutdown = end_output, .close = no_close };

static void init(struct mc_conn *c, struct mc_worker *w, const struct mc_listener *l, int fd, const union mc_sockaddr *peer)
{
    struct mc_session *s = &c->session;
    c->magic = MC_MAGIC_CONN;
    c->worker = w;
    c->listener = l;
    c->peer = *peer;
    c->state = MC_CONN_OPEN;
    mc_io_init(&c->io, fd, on_io, c);
    mc_timer_init(&c->timer, on_timer, c);
    s->host = mc_host((struct mc_listener *) (uintptr_t) l);
    mc_chain_init(&s->out);
}

struct mc_conn *mc_conn_open(struct mc_worker *w, const struct mc_listener *l, int fd, const union mc_sockaddr *peer, const struct mc_transport_ops *t)
{
    struct mc_conn *c = mc_small_bare_zero(sizeof *c);
    if (c == NULL) {
        close(fd);
        return NULL;
    }
    init(c, w, l, fd, peer);
    c->stream = (struct mc_stream){ .ops = t, .fd = fd, .setup = l };
    c->io.ready = MC_WANT_READ | MC_WANT_WRITE; /* tried before it is registered: most replies never need to be */
    struct mc_session *s = &c->session;
    s->ops = l->protocol ? l->protocol : w->http1;
    s->inner = l->conf->hop;
    if (s->ops->open(s) != MC_OK) {
        close(fd);
        mc_small_bare_put(c, sizeof *c);
        return NULL;
    }
    c->fresh = l->conf->hop;
    w->nhop_fresh += c->fresh;
    w->nhop += c->fresh;
    mc_list_push(&w->conns, &c->link);
    w->nconns++;
    mc_slot_set(w->slot->connections, w->nconns);
    mc_slot_add(w->slot->accepted, 1);
    return c;
}

void mc_conn_open_stream(struct mc_mux_stream *st, struct mc_conn *carrier)
{
    struct mc_conn *c = &st->conn;
    init(c, carrier->worker, carrier->listener, -1, &carrier->peer);
    st->carrier = carrier;
    c->stream_only = true;
    c->state = MC_CONN_HEAD;
    c->stream = (struct mc_stream){ .ops = &no_socket, .fd = carrier->stream.fd, .tls = carrier->stream.tls }; /* whose facts are its own, too */
    c->proxied = carrier->proxied;
    c->session.in.eof = true; /* no byte comes this way */
}

void mc_conn_unlist(struct mc_conn *c)
{
    struct mc_listener *l = (struct mc_listener *) (uintptr_t) c->listener;
    if (!mc_link_linked(&c->idle_link)) {
        return;
    }
    if (l->conf->hop) {
        mc_hop_busy(c);
        return;
    }
    mc_list_remove(&c->idle_link);
    c->worker->nidle--;
    if (c->state == MC_CONN_OPEN) {
        l->nopening--;
    }
}

/* What a late borrower may still read goes when the last one is back. */
static void dispose(struct mc_conn *c)
{
    mc_conn_forget_peer(c);
    if (c->stream_only) {
        struct mc_mux_stream *st = mc_mux_stream_of(c);
        mc_conn_release(st->carrier);
        mc_small_put(st);
        return;
    }
    free(c->proxied);
    mc_small_bare_put(c, sizeof *c);
}

static void forget(struct mc_conn *c)
{
    struct mc_worker *w = c->worker;
    free(c->mux);
    c->mux = NULL;
    close(c->io.fd);
    mc_conn_unlist(c);
    mc_hop_begun(c);
    mc_list_remove(&c->link);
    w->nconns--;
    w->nhop -= c->session.inner;
    mc_slot_set(w->slot->connections, w->nconns);
}

void mc_conn_close(struct mc_conn *c)
{
    struct mc_worker *w = c->worker;
    MC_ASSERT(c->magic == MC_MAGIC_CONN && !c->lent);
    if (c->mux) {
        mc_mux_close(c);
    }
    c->broken = true;
    if (c->request) {
        struct mc_request *r = c->request;
        if (r->state == MC_REQ_QUEUED) {
            mc_list_remove(&r->link);
            w->nqueued--;
        } else if (r->state == MC_REQ_RUNNING && !mc_request_over(r) && r->handler && r->handler->abort) {
            r->gone = true;
            r->handler->abort(r);
        }
        if (!mc_request_over(r)) {
            mc_response_abort(r);
        }
        mc_request_finish(r);
    }
    mc_timer_remove(&w->loop, &c->timer);
    mc_list_remove(&c->again);
    if (c->io.registered) {
        mc_io_unwatch(&w->loop, &c->io);
    }
    c->stream.keep = c->orphans > 0;
    c->stream.ops->close(&c->stream);
    c->session.ops->close(&c->session);
    c->session.in.pos = c->session.in.len;
    c->session.in.keep = 0;
    mc_conn_release_input(c);
    mc_chain_fini(&c->session.out);
    mc_file_unref(&c->spool);
    if (c->stream_only) {
        mc_mux_close_stream(mc_mux_stream_of(c));
    } else {
        forget(c);
    }
    c->magic = 0;
    if (c->orphans == 0) {
        dispose(c);
    }
    mc_worker_changed(w);
}

void mc_conn_release(struct mc_conn *c)
{
    if (--c->orphans > 0 || c->magic != 0) {
        return;
    }
    if (c->stream.keep) {
        c->stream.keep = c->stream.reset = false; /* the descriptor is another's by now */
        c->stream.fd = -1;
        c->stream.ops->close(&c->stream);
    }
    dispose(c);
}

struct mc_str mc_conn_peer(struct mc_conn *c)
{
    if (c->peer_text == NULL && c->peer.family != AF_UNIX) {
        char text[46];
        size_t n = mc_sockaddr_text(&c->peer, text, sizeof text);
        c->peer_text = mc_small_get(n + 1);
        if (c->peer_text) {
            memcpy(c->peer_text, text, n + 1);
            c->peer_text_len = (uint8_t) n;
        }
    }
    return c->peer_text ? (struct mc_str){ c->peer_text, c->peer_text_len } : MC_STR("");
}

void mc_conn_forget_peer(struct mc_conn *c)
{
    mc_small_put(c->peer_text);
    c->peer_text = NULL;
}

/* ---- input ---- */

void mc_conn_release_input(struct mc_conn *c)
{
    struct mc_inbuf *in = &c->session.in;
    if (in->data == NULL || in->pos < in->len || in->keep > 0) {
        return;
    }
    if (in->cap == MC_BLOCK_LARGE) {
        mc_block_put(in->data, MC_BLOCK_LARGE);
    } else {
        free(in->data);
    }
    in->data = NULL;
    in->pos = in->len = in->cap = 0;
}

/* Room for at least one byte behind len: move unread bytes down to what must stay, else (a long head) grow. */
static int make_room(struct mc_conn *c)
{
    struct mc_inbuf *in = &c->session.in;
    if (in->data == NULL) {
        in->data = mc_block_get(MC_BLOCK_LARGE);
        in->cap = in->data ? MC_BLOCK_LARGE : 0;
        return in->data ? MC_OK : MC_ERROR;
    }
    if (in->pos > in->keep && (in->pos == in->len || in->len == in->cap)) {
        memmove(in->data + in->keep, in->data + in->pos, in->len - in->pos);
        in->len = in->keep + (in->len - in->pos);
        in->pos = in->keep;
    }
    if (in->len < in->cap) {
        return MC_OK;
    }
    /* The codec bounds a head long before this; it only stops a codec that does not. */
    if (in->keep > 0 || in->cap > (size_t) c->session.host->set->limit_request_head * 2 + MC_BLOCK_LARGE || in->cap > UINT32_MAX / 2) {
        return MC_ERROR;
    }
    char *p = malloc(in->cap * 2);
    if (p == NULL) {
        return MC_ERROR;
    }
    memcpy(p, in->data, in->len);
    uint32_t len = in->len, cap = in->cap * 2, pos = in->pos;
    in->pos = in->len;
    mc_conn_release_input(c);
    *in = (struct mc_inbuf){ .data = p, .pos = pos, .len = len, .cap = cap };
    return MC_OK;
}

static void moved(uint32_t *count, ssize_t n)
{
    if (*count < MC_RATE_BYTES) {
        *count += (uint32_t) (n < MC_RATE_BYTES ? n : MC_RATE_BYTES);
    }
}

ssize_t mc_conn_fill(struct mc_conn *c)
{
    struct mc_inbuf *in = &c->session.in;
    if (!(c->io.ready & MC_WANT_READ) && !c->stream.ops->pending(&c->stream)) {
        return MC_AGAIN;
    }
    if (make_room(c) != MC_OK) {
        return MC_ERROR;
    }
    size_t room = in->cap - in->len;
    ssize_t n = c->stream.ops->recv(&c->stream, in->data + in->len, room);
    if (n > 0) {
        in->len += (uint32_t) n;
        moved(&c->moved_in, n);
        mc_slot_add(c->worker->slot->bytes_in, n);
        /* A short read has emptied the socket, unless the end of the stream is already announced. */
        if ((size_t) n < room && !(c->io.ready & MC_READY_ERROR)) {
            c->io.ready &= (uint8_t) ~MC_WANT_READ;
        }
    } else if (n == 0) {
        in->eof = true;
    } else if (n == MC_AGAIN) {
        c->io.ready &= (uint8_t) ~(MC_WANT_READ | MC_READY_ERROR);
    }
    return n;
}

/* ---- output ---- */

/* Output is the business of whoever has the connection: the loop, or the thread that it is lent to. */
static uint8_t *ready_bits(struct mc_conn *c)
{
    return c->lent ? &c->lent_ready : &c->io.ready;
}

static bool writable(struct mc_conn *c)
{
    return (*ready_bits(c) & MC_WANT_WRITE) != 0;
}

static void full(struct mc_conn *c)
{
    *ready_bits(c) &= (uint8_t) ~MC_WANT_WRITE;
}

static void advance(struct mc_conn *c, size_t n)
{
    struct mc_chain *out = &c->session.out;
    c->sent += n;
    mc_chain_consume(out, (off_t) n);
    if (mc_chain_empty(out) && c->spool) {
        mc_file_unref(&c->spool);
    }
}

static int sent(struct mc_conn *c, ssize_t n)
{
    if (n == MC_AGAIN) {
        full(c);
        return MC_AGAIN;
    }
    if (n <= 0) {
        c->broken = true;
        return MC_ERROR;
    }
    c->progress = true;
    moved(&c->moved_out, n);
    return MC_OK;
}

int mc_conn_flush(struct mc_conn *c)
{
    struct mc_chain *out = &c->session.out;
    size_t done = 0;
    if (c->stream_only) {
        return mc_mux_flush(c);
    }
    while (!mc_chain_empty(out)) {
        if (c->broken) {
            return MC_ERROR;
        }
        if (!writable(c)) {
            return MC_AGAIN;
        }
        if (done >= FLUSH_MAX && !c->lent) { /* a client that takes as fast as we send */
            mc_conn_again(c);
            return MC_AGAIN;
        }
        struct iovec iov[IOV_MAX_SEND];
        int k = mc_chain_iov(out, iov, IOV_MAX_SEND);
        ssize_t n;
        size_t asked = 0;
        if (k > 0) {
            for (int i = 0; i < k; i++) {
                asked += iov[i].iov_len;
            }
            c->stream.more = asked < (size_t) out->total && k < IOV_MAX_SEND; /* a file is next */
            n = c->stream.ops->send(&c->stream, iov, k);
            c->stream.more = false;
        } else {
            const struct mc_seg *f = out->head;
            asked = f->len < SENDFILE_MAX ? (size_t) f->len : SENDFILE_MAX;
            n = c->stream.ops->sendfile(&c->stream, f->file->fd, f->off, asked);
        }
        int rc = sent(c, n);
        if (rc != MC_OK) {
            return rc;
        }
        advance(c, (size_t) n);
        done += (size_t) n;
        if (k > 0 && (size_t) n < asked) {
            full(c);
        }
    }
    return c->broken ? MC_ERROR : MC_OK;
}

int mc_conn_send_direct(struct mc_conn *c, const void *p, size_t n)
{
    struct mc_chain *out = &c->session.out;
    struct iovec iov[IOV_MAX_SEND + 1];
    if (c->broken) {
        return MC_ERROR;
    }
    size_t queued = (size_t) out->total;
    bool all_memory = out->mem == queued;
    int k = all_memory && writable(c) ? mc_chain_iov(out, iov, IOV_MAX_SEND) : 0;
    size_t covered = 0;
    for (int i = 0; i < k; i++) {
        covered += iov[i].iov_len;
    }
    if (all_memory && covered == queued && writable(c)) {
        iov[k] = (struct iovec){ (void *) (uintptr_t) p, n };
        ssize_t put = c->stream.ops->send(&c->stream, iov, k + 1);
        int rc = sent(c, put);
        if (rc == MC_ERROR) {
            return rc;
        }
        size_t done = put > 0 ? (size_t) put : 0;
        if (done < queued + n) {
            full(c);
        }
        size_t of_queue = done < queued ? done : queued;
        advance(c, of_queue);
        c->sent += done - of_queue;
        p = (const char *) p + (done - of_queue);
        n -= done - of_queue;
    }
    if (n > 0 && mc_chain_add(out, p, n) != MC_OK) {
        c->broken = true; /* a part of the stream is lost: nothing more may follow */
        return MC_ERROR;
    }
    return mc_chain_empty(out) ? MC_OK : MC_AGAIN;
}

int mc_conn_spool(struct mc_conn *c)
{
    struct mc_chain *out = &c->session.out;
    if (c->spool == NULL) {
        int fd = mc_fd_tmpfile(c->worker->conf->set.tmp_upload_dir);
        if (fd < 0 || (c->spool = mc_file_new(fd)) == NULL) {
            mc_fd_close(&fd);
            return MC_ERROR;
        }
    }
    struct mc_chain spooled;
    mc_chain_init(&spooled);
    off_t at = c->spool->end;
    for (const struct mc_seg *g = out->head; g; g = g->next) {
        int rc;
        if (g->kind == MC_SEG_FILE) {
            rc = mc_chain_add_file(&spooled, g->file, g->off, g->len);
        } else {
            size_t n = (size_t) (g->last - g->pos);
            ssize_t done = pwrite(c->spool->fd, g->pos, n, at);
            if (done != (ssize_t) n) {
                errno = done < 0 ? errno : ENOSPC;
                rc = MC_ERROR;
            } else {
                rc = mc_chain_add_file(&spooled, c->spool, at, (off_t) n);
                at += (off_t) n;
            }
        }
        if (rc != MC_OK) {
            mc_chain_fini(&spooled);
            return MC_ERROR;
        }
    }
    c->spool->end = at;
    mc_chain_fini(out);
    mc_chain_move(out, &spooled);
    return MC_OK;
}

/* ---- waiting ---- */

int mc_conn_park(struct mc_conn *c, int64_t ms)
{
    struct mc_worker *w = c->worker;
    mc_slot_add(w->slot->bytes_out, c->sent);
    c->sent = 0;
    if (!c->stream_only && mc_io_watch(&w->loop, &c->io, MC_WANT_READ | MC_WANT_WRITE) != MC_OK) {
        mc_warn("cannot watch a connection: %s", strerror(errno));
        return MC_ERROR;
    }
    if (ms < 0) {
        return MC_AGAIN;
    }
    if (ms == 0) {
        mc_timer_clear(&c->timer);
        return MC_AGAIN;
    }
    return mc_timer_set(&w->loop, &c->timer, (uint64_t) ms) == MC_OK ? MC_AGAIN : MC_ERROR;
}

/* ---- accepting ---- */

/* No descriptor for a client that waits: close the oldest idle connection, or rest for a moment, but never spin. */
static void short_of_fds(struct mc_worker *w, int err)
{
    static struct mc_log_limit limit;
    unsigned missed;
    if (mc_log_limited(&limit, &missed)) {
        mc_error("accept: %s (%u open connections%s)", strerror(err), w->nconns, w->nidle ? ", closing idle ones" : "");
    }
    if (!mc_worker_shed(w)) {
        mc_worker_rest(w, REST_MS);
    }
}

static void accept_failed(struct mc_listener *l, int err)
{
    struct mc_worker *w = l->worker;
    if (err == EAGAIN || err == EWOULDBLOCK || err == EINTR) {
        return;
    }
    if (err == EMFILE || err == ENFILE || err == ENOMEM || err == ENOBUFS) {
        short_of_fds(w, err);
        return;
    }
    if (err != EPERM) { /* a firewall's word about one connection; of the watch it would say that this is no socket */
        mc_worker_listen_failed(l, err);
    }
    mc_worker_rest(w, REST_MS);
}

/* What a front server says is believed, so not everybody may be one. */
static bool welcome(const struct mc_listener *l, int fd, const union mc_sockaddr *peer)
{
    if (l->conf->hop) {
        return mc_hop_welcome(l, fd);
    }
    static struct mc_log_limit limit;
    const struct mc_conf_server *s = l->conf->servers[0];
    char text[46];
    unsigned missed;
    if (mc_likely(l->protocol == l->worker->http1) || peer->family == AF_UNIX || mc_cidr_match(s->fronts, s->nfronts, peer)) {
        return true;
    }
    (void) mc_sockaddr_text(peer, text, sizeof text);
    if (mc_log_limited(&limit, &missed)) {
        mc_warn("uwsgi: %s is not in uwsgi_allow_ips: closed", text);
    }
    return false;
}

void mc_conn_accept(struct mc_listener *l, unsigned max)
{
    struct mc_worker *w = l->worker;
    while (max-- > 0 && !l->done && mc_worker_has_room(w, l)) {
        union mc_sockaddr peer;
        int fd = mc_socket_accept(l->io.fd, &peer);
        if (fd < 0) {
            accept_failed(l, errno);
            return;
        }
        l->last_accept = w->loop.now;
        if (!(l->conf->hop && w->hops_stay)) {
            w->last_accept = w->loop.now;
        }
        if (w->draining) {
            (void) mc_socket_min_ttl(fd, 0); /* inherited from a listener that the arbiter has switched off */
        }
        if (!welcome(l, fd, &peer)) {
            close(fd);
            continue;
        }
        if (w->nconns >= (unsigned) w->pool->set.worker_connections) {
            mc_worker_shed(w); /* full, but some only idle: the newcomer takes the place of the oldest of them */
        }
        struct mc_conn *c = mc_conn_open(w, l, fd, &peer, l->transport);
        if (c == NULL) {
            mc_worker_rest(w, REST_MS);
            return;
        }
        mc_conn_step(c);
    }
    if (!mc_worker_has_room(w, l)) {
        mc_worker_changed(w); /* or a full queue would wake us without end */
    }
}
