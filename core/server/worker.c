/* The worker process: opens the modules, accepts, turns the loop, drains. What a request is, it does not know. Worker side. */
#include "core/server/worker.h"

#include "core/os/fd.h"
#include "core/os/socket.h"
#include "core/server/access.h"
#include "core/server/engine.h"
#include "core/server/hop.h"
#include "core/server/mux.h"
#include "core/server/tls.h"
#include "core/server/peers.h"
#include "core/server/filter.h"
#include "core/server/sinks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { ACCEPT_BATCH = 8, HANDSHAKE = 8 /* connections without TLS that one with it counts for */, TICK_MS = 1000, LOCK_MS = 3000 /* the looker comes by once a second */ };

struct mc_worker *mc_worker_current;

/* ---- clock and counters ---- */

void mc_worker_clock(struct mc_worker *w)
{
    uint64_t locked = w->lock_beat;
    if (locked == 0 || w->loop.now < locked + LOCK_MS) {
        mc_slot_set(w->slot->beat_ms, w->loop.now);
    }
    mc_slot_set(w->slot->queued, w->nqueued);
    mc_slot_set(w->slot->idle, w->nidle);
    if (w->retire_requests && mc_slot_get(w->slot->requests) >= w->retire_requests) {
        mc_worker_recycle(w, "max_requests");
    }
    time_t t = time(NULL);
    if (t != w->date_second) {
        char *next = w->dates[(unsigned long) t % MC_COUNT(w->dates)];
        w->date_second = t;
        mc_clock_http_date(next, t);
        atomic_store_explicit(&w->date, next, memory_order_release);
    }
    if (w->asked && !w->draining) {
        mc_worker_retire(w);
    }
}

static void tick(struct mc_timer *t)
{
    struct mc_worker *w = t->data;
    if (w->access) {
        mc_access_flush(w->access);
    }
    mc_sinks_tick();
    mc_conn_rest(w);
    mc_recycle_check(w);
    w->share = 0; /* there may be fewer connections now */
    mc_worker_empty_tick(w);
    mc_loan_check_loop(w);
    mc_timer_set(&w->loop, t, TICK_MS);
    mc_worker_changed(w); /* in case a listener could not be watched, or no timer set, for want of memory */
}

/* ---- accepting ---- */

bool mc_worker_has_room(const struct mc_worker *w, const struct mc_listener *l)
{
    if (w->rest_until > w->loop.now || w->nconns >= (unsigned) w->pool->set.worker_connections + w->nidle) {
        return false;
    }
    /* Requests that wait here already keep the door shut: another worker may be free. If there is none, fixed answers at least need not wait. */
    bool alone = w->ops->serve != NULL && mc_slot_get(w->slot->alone) != 0;
    if (w->loop_only || w->door || (alone && !l->conf->hop)) { /* what comes over a hop waits in its socket's queue, or `queue` would not bound it */
        return true;
    }
    return w->ops->room((struct mc_worker *) w) > w->nqueued + w->nhop_fresh;
}

bool mc_worker_shed(struct mc_worker *w)
{
    struct mc_link *from = !mc_list_empty(&w->idle) ? &w->idle : !mc_list_empty(&w->opening) ? &w->opening : &w->heads;
    if (mc_list_empty(from)) {
        return false;
    }
    mc_conn_close(mc_container(from->next, struct mc_conn, idle_link));
    return true;
}

static void rested(struct mc_timer *t)
{
    struct mc_worker *w = t->data;
    w->rest_until = 0;
    mc_worker_changed(w);
}

void mc_worker_rest(struct mc_worker *w, unsigned ms)
{
    w->rest_until = w->loop.now + ms;
    mc_timer_set(&w->loop, &w->rest_timer, ms);
    mc_worker_changed(w);
}

/* Newcomers have as many turns as those who are there have had since the listener's last one: with fewer, the last of a thousand would wait for as long as all
 * the others are served often. But no more than can be worked on, since another worker may be free. Few handshakes at once: each has 50 KB until it ends, which
 * is to stay in the cache. */
static unsigned at_once(struct mc_listener *l)
{
    struct mc_worker *w = l->worker;
    unsigned long turns = w->loop.events - l->events;
    unsigned old = turns < w->nconns ? (unsigned) turns : w->nconns, room = w->loop_only ? old : w->ops->room(w);
    l->events = w->loop.events;
    old = old < room ? old : room;
    old = old > ACCEPT_BATCH ? old : ACCEPT_BATCH;
    return l->conf->tls ? old / HANDSHAKE : old;
}

static void on_listener(struct mc_io *io)
{
    struct mc_listener *l = io->data;
    mc_conn_accept(l, mc_worker_is_ahead(l->worker, l) ? 1 : at_once(l));
    mc_worker_make_way(l->worker, l);
}

/* What passes is tried again, by tick() at the latest. What does not: an app has closed descriptors that are not its own, or used shutdown(). */
void mc_worker_listen_failed(struct mc_listener *l, int err)
{
    static struct mc_log_limit limit;
    struct mc_worker *w = l->worker;
    unsigned missed;
    if (err == EBADF || err == ENOTSOCK || err == EINVAL || err == EOPNOTSUPP || err == EPERM) {
        mc_critical("The listener of %s is lost (%s): this worker leaves", l->conf->text, strerror(err));
        mc_worker_retire(w);
    } else if (mc_log_limited(&limit, &missed)) {
        mc_error("cannot accept at %s: %s", l->conf->text, strerror(err));
    }
}

/* When the requests of kept connections always leave some waiting here, and at all the other workers too, a newcomer would never be served. So for
 * each one that has ended one connection may come in. It is no place that another worker has: one with a free slot has taken it already. */
static void let_in(struct mc_worker *w)
{
    unsigned most = w->turns < ACCEPT_BATCH ? w->turns : ACCEPT_BATCH;
    if (most == 0 || w->door_at == w->loop.now) {
        return;
    }
    w->turns = 0;
    w->door_at = w->loop.now;
    w->door = true;
    for (size_t i = 0; i < w->nlisteners; i++) {
        mc_conn_accept(&w->listeners[i], most);
    }
    w->door = false;
}

/* Listeners are watched exactly while there is room. */
static void adjust(struct mc_worker *w, struct mc_listener *l)
{
    bool room = mc_worker_has_room(w, l);
    if (l->done || l->watched == room) {
        return;
    }
    if (room && mc_io_watch(&w->loop, &l->io, MC_WANT_READ) != MC_OK) {
        mc_worker_listen_failed(l, errno);
        return;
    }
    if (!room) {
        mc_io_unwatch(&w->loop, &l->io);
    }
    l->watched = room;
}

static void on_changed(struct mc_post *p)
{
    struct mc_worker *w = p->data;
    mc_hop_trim(w);
    bool any = false;
    for (size_t i = 0; i < w->nlisteners; i++) {
        any |= mc_worker_has_room(w, &w->listeners[i]);
    }
    if (any) {
        w->turns = 0;
    } else {
        let_in(w);
    }
    w->shut = false;
    for (size_t i = 0; i < w->nlisteners; i++) {
        adjust(w, &w->listeners[i]);
        w->shut |= !w->listeners[i].watched && !w->listeners[i].done;
    }
    if (w->draining) {
        mc_timer_set(&w->loop, &w->drain_timer, 0);
    }
}

void mc_worker_changed(struct mc_worker *w)
{
    if (w->nlisteners > 0) {
        mc_post_add(&w->loop, &w->changed);
    }
}

/* What is posted between two turns costs a turn that does not sleep. */
void mc_worker_moved(struct mc_worker *w)
{
    bool room = w->loop_only || w->ops->room(w) > w->nqueued + w->nhop_fresh;
    if (!room || w->shut || w->draining || w->nhop_idle > 0) {
        mc_worker_changed(w);
    }
}

int mc_worker_listen(struct mc_worker *w)
{
    mc_slot_set(w->slot->state, MC_SLOT_IDLE);
    mc_worker_changed(w);
    return MC_OK;
}

/* ---- blocking requests ---- */

/* Those that waited here for so long that their fronts have given up are not begun any more. */
static void drop_left(struct mc_worker *w)
{
    while (!mc_list_empty(&w->ready)) {
        struct mc_request *r = mc_container(w->ready.next, struct mc_request, link);
        if (!mc_hop_left(r)) {
            return;
        }
        mc_conn_close(r->conn);
    }
}

struct mc_request *mc_worker_next(struct mc_worker *w)
{
    drop_left(w);
    if (mc_list_empty(&w->ready) || w->ops->room(w) == 0) {
        return NULL;
    }
    w->nqueued--;
    return mc_container(mc_list_pop(&w->ready), struct mc_request, link);
}

static void dispatch(struct mc_post *p)
{
    struct mc_worker *w = p->data;
    mc_loop_refresh(&w->loop);
    uint64_t start = w->loop.now_us;
    for (struct mc_request *r; (r = mc_worker_next(w)) != NULL;) {
        struct mc_conn *c = r->conn;
        w->ops->run(r);
        if (!c->lent) {
            mc_conn_step(c);
        } else {
            mc_loop_refresh(&w->loop);
        }
        if (w->loop.now_us - start > MC_SLOW_US) { /* the loop first, then the rest */
            break;
        }
    }
    if (!mc_list_empty(&w->ready) && w->ops->room(w) > 0) { /* without room: when one is returned */
        mc_post_add(&w->loop, p);
    }
    mc_worker_moved(w);
}

void mc_worker_queue(struct mc_worker *w, struct mc_request *r)
{
    if (mc_unlikely(r->conn->fresh) && mc_hop_left(r)) { /* it may have waited in the listener's queue until its front gave up */
        r->conn->broken = true;
        return;
    }
    mc_hop_begun(r->conn);
    /* While calls are short the request runs at once, its bytes still in the cache; after a slow one all waiting I/O goes first. */
    if (w->ops->run && w->fast && mc_list_empty(&w->ready) && w->ops->room(w) > 0) {
        w->ops->run(r);
        return;
    }
    r->state = MC_REQ_QUEUED;
    mc_list_push(&w->ready, &r->link);
    w->nqueued++;
    if (w->ops->run) {
        mc_post_add(&w->loop, &w->dispatch);
    }
    mc_worker_moved(w);
}

/* ---- opening ---- */

static int open_listeners(struct mc_worker *w, const int *fds)
{
    const struct mc_conf *conf = w->conf;
    /* Room for some that are only to be emptied: connections point to their listener, so it never moves. */
    w->listeners = calloc(conf->nlistens * (1 + MC_WORKER_EXTRAS), sizeof *w->listeners);
    if (w->listeners == NULL) {
        return MC_EXIT_BOOT;
    }
    for (size_t i = 0; i < conf->nlistens; i++) {
        if (conf->listens[i].pool != w->pool) {
            continue;
        }
        struct mc_listener *l = &w->listeners[w->nlisteners++];
        l->worker = w;
        l->conf = &conf->listens[i];
        const char *protocol = l->conf->servers[0]->set.protocol;
        const struct mc_module *other = protocol ? mc_module_find(MC_MODULE_PROTOCOL, protocol) : NULL; /* "http" is http1 */
        l->protocol = other ? other->ops.protocol : w->http1;
        l->transport = l->conf->tls ? mc_transport_tls() : &mc_transport_plain;
        if (fds[i] < 0 || mc_addr_of_fd(fds[i], &l->addr) != MC_OK) {
            l->addr = l->conf->addr;
        }
        mc_io_init(&l->io, fds[i], on_listener, l);
        l->io.level = true;
        /* Without blocking handlers a woken worker accepts at once, so one is enough; else the connection would wait behind an app. */
        l->io.exclusive = w->loop_only;
    }
    return MC_OK;
}

static int open_modules(struct mc_worker *w)
{
    for (size_t i = 0; mc_modules[i]; i++) {
        const struct mc_module *m = mc_modules[i];
        int rc = m->init_worker ? m->init_worker(w) : MC_OK;
        if (rc != MC_OK) {
            return rc > 0 ? rc : MC_EXIT_BOOT;
        }
    }
    return MC_OK;
}

/* "X-FORWARDED-PROTO: https" or "…=https" */
static int parse_secure(struct mc_worker *w)
{
    const struct mc_strv *list = &w->conf->set.secure_scheme_headers;
    w->secure = calloc(list->n + 1, sizeof *w->secure);
    for (size_t i = 0; w->secure && i < list->n; i++) {
        const char *sep = strpbrk(list->v[i], ":=");
        if (sep == NULL) {
            continue;
        }
        struct mc_secure *s = &w->secure[w->nsecure++];
        s->name = mc_str_trim((struct mc_str){ list->v[i], (size_t) (sep - list->v[i]) });
        s->value = mc_str_trim(mc_str(sep + 1));
        s->hash = mc_str_hash_nocase(s->name);
        w->secure_bits |= 1ull << s->hash % 64;
    }
    return w->secure ? MC_OK : MC_EXIT_BOOT;
}

static const struct mc_event_ops *pick_event(void)
{
    const struct mc_module *m = mc_module_find(MC_MODULE_EVENT, "epoll");
    for (size_t i = 0; m == NULL && mc_modules[i]; i++) {
        m = mc_modules[i]->kind == MC_MODULE_EVENT ? mc_modules[i] : NULL;
    }
    return m ? m->ops.event : NULL;
}

int mc_worker_open(struct mc_worker *w, const struct mc_conf *conf, const struct mc_conf_pool *pool, struct mc_slot *slot, const int *listen_fds)
{
    memset(w, 0, sizeof *w);
    w->magic = MC_MAGIC_WORKER;
    w->conf = conf;
    w->pool = pool;
    w->slot = slot;
    w->ops = pool->worker->ops.worker;
    w->fast = true;
    mc_list_init(&w->conns);
    mc_list_init(&w->again);
    mc_list_init(&w->idle);
    mc_list_init(&w->opening);
    mc_list_init(&w->heads);
    mc_list_init(&w->ready);
    mc_list_init(&w->running);
    mc_list_init(&w->upstreams);
    mc_list_init(&w->resolvers);
    mc_mux_init(w);
    mc_list_init(&w->hop_idle);
    mc_timer_init(&w->tick, tick, w);
    mc_timer_init(&w->rest_timer, rested, w);
    mc_timer_init(&w->drain_timer, mc_worker_drain_tick, w);
    mc_post_init(&w->changed, on_changed, w);
    mc_post_init(&w->more, mc_conn_more, w);
    mc_post_init(&w->dispatch, dispatch, w);
    w->keepalive = pool->set.keepalive >= 0 ? pool->set.keepalive : w->ops->caps & MC_CAP_KEEPALIVE ? 2000 : 0;

    const struct mc_module *http1 = mc_module_find(MC_MODULE_PROTOCOL, "http1");
    const struct mc_event_ops *event = pick_event();
    if (http1 == NULL || event == NULL) {
        mc_critical("this build has no %s module", http1 ? "event" : "http1");
        return MC_EXIT_BOOT;
    }
    w->http1 = http1->ops.protocol;
    if (mc_loop_open(&w->loop, event) != MC_OK) {
        mc_critical("cannot open the event loop: %s", strerror(errno));
        return MC_EXIT_BOOT;
    }
    mc_worker_current = w;
    int rc = mc_worker_load_apps(w);
    if (rc != MC_OK) {
        return rc; /* said already */
    }
    if (parse_secure(w) != MC_OK || open_listeners(w, listen_fds) != MC_OK) {
        mc_critical("out of memory");
        rc = MC_EXIT_BOOT;
    }
    if (rc == MC_OK && w->ops->start(w) != MC_OK) {
        rc = MC_EXIT_BOOT;
    }
    if (rc == MC_OK) {
        rc = open_modules(w);
    }
    if (rc == MC_OK && mc_errors_load((struct mc_conf *) (uintptr_t) conf, pool) != MC_OK) {
        mc_critical("out of memory");
        rc = MC_EXIT_BOOT;
    }
    if (rc == MC_OK && mc_filter_attach((struct mc_conf *) (uintptr_t) conf, pool) != MC_OK) { /* this process's own copy */
        rc = MC_EXIT_BOOT;
    }
    if (rc == MC_OK) {
        mc_loop_refresh(&w->loop);
        mc_recycle_init(w);
        mc_worker_clock(w);
        mc_timer_set(&w->loop, &w->tick, TICK_MS);
    }
    return rc;
}

void mc_worker_turn(struct mc_worker *w, bool wait)
{
    mc_worker_turn_for(w, wait ? -1 : 0);
}

void mc_worker_turn_for(struct mc_worker *w, int ms)
{
    int64_t timeout = w->pool->set.timeout;
    int max = timeout > 0 && timeout / 2 < TICK_MS ? (int) (timeout / 2) : TICK_MS;
    if (mc_loop_turn(&w->loop, ms < 0 || ms > max ? max : ms) < 0) {
        mc_fatal(MC_EXIT_FAIL, "Event back end %s failed: %s", w->loop.ops->name, strerror(errno));
    }
    if (w->mux_news) {
        mc_mux_collect(w);
    }
    mc_worker_clock(w);
    mc_loan_check(w);
}

void mc_worker_run(struct mc_worker *w)
{
    void (*other)(struct mc_worker *) = w->drive ? w->drive : w->ops->serve;
    if (other) {
        other(w);
        return;
    }
    while (!w->stopped) {
        mc_worker_turn(w, true);
    }
}

void mc_worker_ask_retire(struct mc_worker *w)
{
    w->asked = true;
}

/* A connection whose handler cannot be stopped stays as it is: the process ends. */
static void close_all(struct mc_worker *w)
{
    struct mc_link *l, *next;
    mc_list_each (&w->conns, l, next) {
        struct mc_conn *c = mc_container(l, struct mc_conn, link);
        if (!c->lent && !mc_mux_busy(c)) {
            mc_conn_close(c);
        }
    }
}

void mc_worker_close(struct mc_worker *w)
{
    close_all(w);
    for (size_t i = 0; i < w->nlisteners; i++) {
        mc_worker_close_listener(&w->listeners[i]);
    }
    if (w->left_behind > 0) { /* the process ends around them */
        if (w->access) {
            mc_access_flush(w->access);
        }
        mc_sinks_tick();
        return;
    }
    mc_peers_close(w); /* their connections need the transports still */
    mc_hop_close(w);
    for (size_t i = 0; mc_modules[i]; i++) {
        if (mc_modules[i]->exit_worker) {
            mc_modules[i]->exit_worker(w);
        }
    }
    w->ops->stop(w);
    if (w->access) {
        mc_access_close(&w->access);
    }
    mc_sinks_tick();
    mc_loop_close(&w->loop);
    mc_mux_fini(w);
    free(w->listeners);
    free(w->secure);
    free(w->handlers);
    w->listeners = NULL;
    w->secure = NULL;
    w->handlers = NULL;
    w->nlisteners = 0;
    w->magic = 0;
    mc_worker_current = NULL;
}
