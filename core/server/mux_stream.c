/* A stream as a connection: how its carrier's codec is told of what it writes, and it of what comes. Streams that are lent to a thread or coroutine fill a pipe
 * under the worker's one lock, which is held for a few pointers only; the loop empties it. Worker side, on the loop, but for mc_mux_flush() and
 * mc_mux_wait(). */
#include "core/server/mux.h"

#include "core/base/module.h"
#include "core/base/small.h"
#include "core/os/fd.h"
#include "core/server/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct mc_mux_stream *of(struct mc_session *stream)
{
    return mc_mux_stream_of(mc_container(stream, struct mc_conn, session));
}

/* The loop stands still while this stream's handler runs on its thread. */
static bool runs_inline(const struct mc_conn *c)
{
    return c->lent && c->request && c->request->loan == MC_LOAN_NONE;
}

/* Of a stream that only the loop knows there is nothing to lock. */
static void lock(struct mc_mux_stream *st)
{
    if (st->shared) {
        pthread_mutex_lock(&st->conn.worker->mux_lock);
    }
}

static void unlock(struct mc_mux_stream *st)
{
    if (st->shared) {
        pthread_mutex_unlock(&st->conn.worker->mux_lock);
    }
}

/* ---- what the codec says */

struct mc_session *mc_mux_stream_new(struct mc_session *carrier)
{
    struct mc_conn *c = mc_container(carrier, struct mc_conn, session);
    struct mc_mux_stream *st = mc_small_zero(sizeof *st);
    if (st == NULL) {
        return NULL;
    }
    mc_chain_init(&st->pipe);
    mc_conn_open_stream(st, c);
    mc_list_push(&c->mux->streams, &st->link);
    c->mux->nstreams++;
    c->requests++;
    c->orphans++; /* until its struct is gone */
    c->resting = 0;
    c->mux->wait = 0; /* whatever it waits for next begins anew */
    mc_conn_unlist(c);
    return &st->conn.session;
}

static void make_ready(struct mc_mux_stream *st)
{
    if (!mc_link_linked(&st->ready)) {
        mc_list_push(&st->carrier->mux->ready, &st->ready);
    }
    mc_mux_soon(st->carrier);
}

/* Under the lock: a handler that waits sees its descriptor become writable. */
static void wake(struct mc_mux_stream *st)
{
    uint64_t n;
    if (st->waiting) {
        st->waiting = false;
        (void) !read(st->conn.io.fd, &n, sizeof n);
    }
}

static void count(uint32_t *moved, size_t n)
{
    if (*moved < MC_RATE_BYTES) {
        *moved += (uint32_t) (n < MC_RATE_BYTES ? n : MC_RATE_BYTES);
    }
}

static void taken(struct mc_mux_stream *st, size_t n)
{
    lock(st);
    MC_ASSERT(st->held >= (off_t) n);
    st->held -= (off_t) n;
    if (st->held <= MC_MUX_PIPE_LOW) {
        wake(st);
    }
    unlock(st);
    if (!st->conn.lent) {
        st->conn.progress = true;
        count(&st->conn.moved_out, n);
        make_ready(st);
    }
}

void mc_mux_cut(struct mc_mux_stream *st)
{
    lock(st);
    st->cut = true;
    wake(st);
    unlock(st);
    make_ready(st);
}

void mc_mux_stream_news(struct mc_session *stream, enum mc_stream_news what, size_t n)
{
    struct mc_mux_stream *st = of(stream);
    switch (what) {
    case MC_STREAM_INPUT:
        if (!st->conn.lent) {
            count(&st->conn.moved_in, n);
            make_ready(st);
        }
        break;
    case MC_STREAM_TAKEN:
        taken(st, n);
        break;
    case MC_STREAM_CUT:
        mc_mux_cut(st);
        break;
    case MC_STREAM_WORK:
        st->carrier->mux->work = true;
        mc_mux_soon(st->carrier);
        break;
    }
}

/* ---- the pipe of a stream */

static int refill(struct mc_mux_stream *st)
{
    struct mc_chain *out = &st->conn.session.out;
    while (!mc_chain_empty(out)) {
        const struct mc_seg *g = out->head;
        off_t n = g->kind == MC_SEG_MEM ? (off_t) (g->last - g->pos) : g->len;
        if (st->held >= MC_MUX_PIPE) {
            break; /* what is in a file stays, too: its maker is held back by what waits here */
        }
        if (mc_chain_take(&st->pipe, out, n) != MC_OK) {
            return MC_ERROR;
        }
        st->held += n;
    }
    return MC_OK;
}

static int give(struct mc_mux_stream *st)
{
    struct mc_chain bytes;
    mc_chain_init(&bytes);
    lock(st);
    mc_chain_move(&bytes, &st->pipe);
    unlock(st);
    if (mc_chain_empty(&bytes)) {
        return MC_OK;
    }
    st->carrier->mux->work = true;
    int rc = mc_mux_codec(st->carrier)->give(&st->conn.session, &bytes);
    mc_chain_fini(&bytes);
    return rc;
}

/* Of a stream whose connection is the loop's, or whose handler runs where the loop would. */
static int pass_on(struct mc_conn *c)
{
    struct mc_mux_stream *st = mc_mux_stream_of(c);
    struct mc_conn *carrier = st->carrier;
    if (give(st) != MC_OK) {
        return MC_ERROR;
    }
    if (!runs_inline(c)) {
        mc_mux_soon(carrier);
        return MC_OK;
    }
    if (carrier->mux->lost || mc_mux_pump(carrier) == MC_ERROR) {
        mc_conn_again(carrier); /* which finds out by itself */
        return MC_ERROR;
    }
    if (!mc_list_empty(&carrier->mux->ready)) {
        mc_conn_again(carrier);
    }
    return MC_OK;
}

int mc_mux_flush(struct mc_conn *c)
{
    struct mc_mux_stream *st = mc_mux_stream_of(c);
    struct mc_worker *w = c->worker;
    bool ours = !c->lent || runs_inline(c), bell = false;
    lock(st);
    off_t before = st->held;
    int rc = st->cut ? MC_ERROR : refill(st);
    bool moved = st->held > before;
    if (rc == MC_OK && moved && !ours && !mc_link_linked(&st->posted)) {
        mc_list_push(&w->mux_posted, &st->posted);
        w->mux_news = bell = true;
    }
    unlock(st);
    if (rc == MC_OK && moved && ours) {
        rc = pass_on(c);
    }
    if (rc != MC_OK) {
        c->broken = true;
        return MC_ERROR;
    }
    if (bell) {
        w->ops->wake(c->request);
    }
    lock(st);
    bool all = mc_chain_empty(&c->session.out) && st->held == 0;
    unlock(st);
    return all ? MC_OK : MC_AGAIN;
}

void mc_mux_collect(struct mc_worker *w)
{
    while (w->mux_news) {
        pthread_mutex_lock(&w->mux_lock);
        struct mc_link *l = mc_list_pop(&w->mux_posted);
        if (l == NULL) {
            w->mux_news = false;
        }
        pthread_mutex_unlock(&w->mux_lock);
        if (l == NULL) {
            return;
        }
        struct mc_mux_stream *st = mc_container(l, struct mc_mux_stream, posted);
        if (give(st) != MC_OK) {
            mc_mux_cut(st);
        }
        mc_mux_soon(st->carrier);
    }
}

/* ---- a blocking handler waits */

/* Nobody else turns the loop: the carrier's socket is looked after here. Its streams are not stepped, as this is inside of a step already. */
static int wait_inline(struct mc_request *r, uint64_t deadline)
{
    struct mc_conn *c = r->conn;
    struct mc_mux_stream *st = mc_mux_stream_of(c);
    struct mc_conn *carrier = st->carrier;
    int in;
    while ((in = mc_mux_read(carrier)) == MC_OK) {
    }
    if (in == MC_ERROR || carrier->mux->over || st->cut || mc_mux_pump(carrier) == MC_ERROR) {
        mc_conn_again(carrier);
        return MC_ERROR;
    }
    mc_conn_again(carrier);
    if (st->held < MC_MUX_PIPE) {
        return MC_OK;
    }
    c->io.fd = carrier->io.fd;
    int rc = c->worker->ops->wait(r, MC_WANT_READ | (mc_chain_empty(&carrier->session.out) ? 0u : (unsigned) MC_WANT_WRITE), deadline);
    c->io.fd = -1;
    carrier->io.ready |= MC_WANT_READ | MC_WANT_WRITE;
    return rc;
}

/* An eventfd that is full stands for a socket that is: it becomes writable when it is read. */
static int hold_up(struct mc_mux_stream *st)
{
    uint64_t full = UINT64_MAX - 1;
    if (st->conn.io.fd < 0) {
        st->conn.io.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    if (st->conn.io.fd < 0 || write(st->conn.io.fd, &full, sizeof full) != sizeof full) {
        mc_warn("cannot wait for a stream: %s", strerror(errno));
        return MC_ERROR;
    }
    st->waiting = true;
    return MC_AGAIN;
}

int mc_mux_wait(struct mc_request *r, uint64_t deadline)
{
    struct mc_conn *c = r->conn;
    struct mc_worker *w = c->worker;
    struct mc_mux_stream *st = mc_mux_stream_of(c);
    if (runs_inline(c)) {
        return wait_inline(r, deadline);
    }
    lock(st);
    int rc = st->cut ? MC_ERROR : st->held < MC_MUX_PIPE ? MC_OK : hold_up(st);
    unlock(st);
    if (rc != MC_AGAIN) {
        return rc;
    }
    rc = w->ops->wait(r, MC_WANT_WRITE, deadline);
    lock(st);
    wake(st); /* whatever has ended the wait: the next one begins with an empty counter */
    unlock(st);
    return rc;
}

void mc_mux_close_stream(struct mc_mux_stream *st)
{
    struct mc_conn *carrier = st->carrier;
    struct mc_mux *m = carrier->mux;
    lock(st);
    mc_list_remove(&st->posted);
    mc_chain_fini(&st->pipe);
    unlock(st);
    mc_list_remove(&st->ready);
    mc_list_remove(&st->link);
    mc_fd_close(&st->conn.io.fd);
    m->nstreams--;
    m->work = true; /* the codec may have to tell the peer */
    mc_mux_soon(carrier);
}

/* ---- a worker's */

void mc_mux_init(struct mc_worker *w)
{
    mc_list_init(&w->mux_posted);
    for (size_t i = 0; mc_modules[i]; i++) {
        const struct mc_module *m = mc_modules[i];
        if (m->kind == MC_MODULE_PROTOCOL && m->ops.protocol->mux) {
            w->mux = m->ops.protocol;
        }
    }
    pthread_mutex_init(&w->mux_lock, NULL);
}

void mc_mux_fini(struct mc_worker *w)
{
    pthread_mutex_destroy(&w->mux_lock);
}
