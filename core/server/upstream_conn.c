/* Connections to upstreams: connecting, reading, writing, and the pool of those kept alive, which are watched: whatever comes while one is idle ends it.
 * Owns sockets and buffers. Knows nothing of requests and retries (upstream.c). Worker side, on the loop. */
#include "core/server/up.h"

#include "core/os/socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { IN_MAX = 1 << 18, IOV_MAX_SEND = 16 };

static void release_input(struct mc_up *u)
{
    if (u->in == NULL) {
        return;
    }
    if (u->cap == MC_BLOCK_LARGE || u->cap == MC_BLOCK_HUGE) {
        mc_block_put(u->in, u->cap);
    } else {
        free(u->in);
    }
    u->in = NULL;
    u->pos = u->len = u->cap = 0;
}

/* Nothing has come that nobody asked for, and the end of the stream neither. Under TLS there may be bytes that mean nothing. */
static bool quiet(struct mc_up *u)
{
    return u->pos == u->len && !u->eof && mc_up_fill(u) == MC_AGAIN;
}

static void on_idle(struct mc_up *u)
{
    if (!quiet(u)) {
        mc_debug("upstream %s (%s): a kept connection has ended", u->peers->conf->name, u->peer->text);
        mc_up_close(u);
        return;
    }
    release_input(u);
}

static void on_io(struct mc_io *io)
{
    struct mc_up *u = io->data;
    MC_ASSERT(u->magic == MC_MAGIC_UP);
    if (u->state == MC_UP_IDLE) {
        on_idle(u);
    } else {
        mc_up_on_io(u);
    }
}

static void on_timer(struct mc_timer *t)
{
    struct mc_up *u = t->data;
    MC_ASSERT(u->magic == MC_MAGIC_UP);
    if (u->state == MC_UP_IDLE) {
        mc_up_close(u);
    } else {
        mc_up_on_timer(u);
    }
}

/* ---- birth and death ---- */

struct mc_up *mc_up_connect(struct mc_worker *w, struct mc_peers *set, struct mc_peer *p, const struct mc_call_policy *how)
{
    struct mc_up *u = calloc(1, sizeof *u);
    if (u == NULL) {
        return NULL;
    }
    int fd = mc_socket_connect(&p->addr);
    if (fd < 0) {
        free(u);
        return NULL;
    }
    u->magic = MC_MAGIC_UP;
    u->state = MC_UP_CONNECTING;
    u->worker = w;
    u->peers = set;
    u->peer = p;
    u->gateway = how->gateway;
    u->stream = (struct mc_stream){ .ops = how->transport ? how->transport : &mc_transport_plain, .fd = fd, .client = true, .setup = how->setup };
    mc_chain_init(&u->out);
    mc_io_init(&u->io, fd, on_io, u);
    mc_timer_init(&u->timer, on_timer, u);
    return u;
}

static void leave_pool(struct mc_up *u)
{
    mc_list_remove(&u->link);
    u->peer->nidle--;
    u->peers->nidle--;
}

void mc_up_close(struct mc_up *u)
{
    struct mc_loop *loop = &u->worker->loop;
    if (u->state == MC_UP_IDLE) {
        leave_pool(u);
    }
    mc_timer_remove(loop, &u->timer);
    if (u->io.registered) {
        mc_io_unwatch(loop, &u->io);
    }
    u->stream.ops->close(&u->stream);
    mc_chain_fini(&u->out);
    release_input(u);
    close(u->io.fd);
    u->magic = 0;
    free(u);
}

/* ---- the pool ---- */

struct mc_up *mc_up_reuse(struct mc_worker *w, struct mc_peers *set, struct mc_peer *p, const struct mc_call_policy *how)
{
    const struct mc_transport_ops *transport = how->transport ? how->transport : &mc_transport_plain;
    struct mc_link *l, *next;
    if (p->nidle == 0 || how->fresh) {
        return NULL;
    }
    mc_list_each (&p->idle, l, next) {
        struct mc_up *u = mc_container(l, struct mc_up, link);
        if (u->gateway != how->gateway || u->stream.ops != transport || u->stream.setup != how->setup) {
            continue;
        }
        MC_ASSERT(u->worker == w && u->peers == set);
        leave_pool(u);
        mc_timer_clear(&u->timer);
        u->state = MC_UP_BUSY;
        u->reused = true;
        u->replied = u->heard = u->blocked = false;
        return u;
    }
    return NULL;
}

void mc_up_keep(struct mc_up *u, const struct mc_call_policy *how)
{
    const struct mc_conf_upstream *conf = u->peers->conf;
    u->call = NULL;
    u->requests++;
    bool full = u->peers->nidle >= (uint64_t) conf->keepalive || u->requests >= (uint64_t) conf->keepalive_requests;
    bool unwanted = full || how->fresh || u->peer->gone || u->worker->draining;
    if (unwanted || !mc_chain_empty(&u->out) || !quiet(u) || mc_up_watch(u) != MC_OK) {
        mc_up_close(u);
        return;
    }
    release_input(u);
    u->state = MC_UP_IDLE;
    mc_list_push_front(&u->peer->idle, &u->link);
    u->peer->nidle++;
    u->peers->nidle++;
    mc_up_set_timer(u, conf->keepalive_timeout);
}

void mc_upstream_forget(struct mc_peer *p)
{
    while (p->nidle > 0) {
        mc_up_close(mc_container(p->idle.next, struct mc_up, link));
    }
}

void mc_upstream_close_idle(struct mc_worker *w)
{
    struct mc_link *l, *next, *m, *after;
    mc_list_each (&w->upstreams, l, next) {
        struct mc_peers *set = mc_container(l, struct mc_peers, link);
        mc_list_each (&set->peers, m, after) {
            mc_upstream_forget(mc_container(m, struct mc_peer, link));
        }
    }
}

/* ---- bytes ---- */

int mc_up_watch(struct mc_up *u)
{
    return mc_io_watch(&u->worker->loop, &u->io, MC_WANT_READ | MC_WANT_WRITE);
}

void mc_up_set_timer(struct mc_up *u, int64_t ms)
{
    if (ms <= 0) {
        mc_timer_clear(&u->timer);
    } else if (mc_timer_set(&u->worker->loop, &u->timer, (uint64_t) ms) != MC_OK) {
        mc_warn("no memory for a timer of an upstream");
    }
}

int mc_up_open(struct mc_up *u)
{
    if (u->state == MC_UP_CONNECTING) {
        if (!(u->io.ready & MC_WANT_WRITE)) {
            return MC_AGAIN;
        }
        errno = mc_socket_error(u->io.fd);
        if (errno) {
            return MC_ERROR;
        }
        u->state = MC_UP_OPENING;
    }
    if (u->state == MC_UP_OPENING) {
        errno = 0;
        int rc = u->stream.ops->open(&u->stream);
        u->io.ready &= (uint8_t) ~u->stream.wants;
        if (rc != MC_OK) {
            return rc;
        }
        u->state = MC_UP_BUSY;
    }
    return MC_OK;
}

static int make_room(struct mc_up *u)
{
    if (u->in == NULL) {
        u->in = mc_block_get(MC_BLOCK_LARGE);
        u->cap = u->in ? MC_BLOCK_LARGE : 0;
        return u->in ? MC_OK : MC_ERROR;
    }
    if (u->pos == u->len) {
        if (u->len == u->cap && u->cap == MC_BLOCK_LARGE) { /* it was filled, and all of it is gone: a long body */
            char *huge = mc_block_get(MC_BLOCK_HUGE);
            if (huge) {
                release_input(u);
                u->in = huge;
                u->cap = MC_BLOCK_HUGE;
            }
        }
        u->pos = u->len = 0;
    } else if (u->pos > 0 && u->len == u->cap) {
        memmove(u->in, u->in + u->pos, u->len - u->pos);
        u->len -= u->pos;
        u->pos = 0;
    }
    if (u->len < u->cap) {
        return MC_OK;
    }
    /* Codecs bound their heads below this: it only stops one that does not. */
    size_t len = u->len, cap = u->cap == MC_BLOCK_LARGE ? MC_BLOCK_HUGE : u->cap * 2;
    char *p = u->cap >= IN_MAX ? NULL : cap == MC_BLOCK_HUGE ? mc_block_get(cap) : malloc(cap);
    if (p == NULL) {
        return MC_ERROR;
    }
    memcpy(p, u->in, len);
    release_input(u);
    u->in = p;
    u->len = len;
    u->cap = cap;
    return MC_OK;
}

ssize_t mc_up_fill(struct mc_up *u)
{
    if (!(u->io.ready & MC_WANT_READ) && !u->stream.ops->pending(&u->stream)) {
        return MC_AGAIN;
    }
    errno = ENOMEM;
    if (make_room(u) != MC_OK) {
        return MC_ERROR;
    }
    size_t room = u->cap - u->len;
    errno = 0;
    ssize_t n = u->stream.ops->recv(&u->stream, u->in + u->len, room);
    if (n > 0) {
        u->len += (size_t) n;
        u->replied = true;
        if ((size_t) n < room && !(u->io.ready & MC_READY_ERROR)) {
            u->io.ready &= (uint8_t) ~MC_WANT_READ;
        }
    } else if (n == 0) {
        u->eof = true;
    } else if (n == MC_AGAIN) {
        u->io.ready &= (uint8_t) ~(MC_WANT_READ | MC_READY_ERROR);
    }
    return n;
}

int mc_up_flush(struct mc_up *u)
{
    while (!mc_chain_empty(&u->out)) {
        struct iovec iov[IOV_MAX_SEND];
        if (!(u->io.ready & MC_WANT_WRITE)) {
            return MC_AGAIN;
        }
        int k = mc_chain_iov(&u->out, iov, IOV_MAX_SEND);
        size_t asked = 0;
        for (int i = 0; i < k; i++) {
            asked += iov[i].iov_len;
        }
        errno = 0;
        ssize_t n = u->stream.ops->send(&u->stream, iov, k);
        if (n == MC_AGAIN) {
            u->io.ready &= (uint8_t) ~MC_WANT_WRITE;
            return MC_AGAIN;
        }
        if (n <= 0) {
            return MC_ERROR;
        }
        u->call->wired = true;
        mc_chain_consume(&u->out, n);
        if ((size_t) n < asked) {
            u->io.ready &= (uint8_t) ~MC_WANT_WRITE;
        }
    }
    return MC_OK;
}
