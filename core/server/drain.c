/* Leaving without losing anything: accept what is queued until nothing came for a while, serve what is open, then stop. Worker side.
 * The arbiter has already told the kernel to take no new connections (DESIGN 2, reference: TERM). */
#include "core/os/fd.h"
#include "core/server/engine.h"
#include "core/server/hop.h"
#include "core/server/mux.h"
#include "core/server/upstream.h"
#include "core/server/websocket.h"

#include <string.h>

enum { DRAIN_TICK_MS = 20 };

void mc_worker_close_listener(struct mc_listener *l)
{
    if (l->done) {
        return;
    }
    l->done = true;
    if (l->watched) {
        mc_io_unwatch(&l->worker->loop, &l->io);
        l->watched = false;
    }
    mc_fd_close(&l->io.fd);
}

/* Those who drain in front of us still come here. */
static bool stays(const struct mc_listener *l)
{
    return l->conf->hop && l->worker->hops_stay;
}

static void tell_no_clients(struct mc_worker *w)
{
    struct mc_link *l, *next;
    if (w->told_no_clients) {
        return;
    }
    w->told_no_clients = true;
    mc_list_each (&w->conns, l, next) {
        struct mc_conn *c = mc_container(l, struct mc_conn, link);
        if (!c->session.inner && !c->lent && !mc_mux_busy(c)) {
            mc_conn_close(c);
        }
    }
    if (w->no_clients) {
        w->no_clients();
    }
}

static void tell_late(const struct mc_worker *w, unsigned left)
{
    char line[4 * MC_SLOT_TEXT];
    size_t n = mc_str_escape(line, sizeof(line), mc_str(w->slot->busy));
    mc_warn("graceful_timeout is over: %u connection%s cut%s%.*s", left, left == 1 ? " is" : "s are", n ? ", the oldest request is " : "", (int) n, line);
}

void mc_worker_drain_tick(struct mc_timer *t)
{
    struct mc_worker *w = t->data;
    uint64_t now = w->loop.now;
    if (w->stopped) { /* what still turns the loop is the end of the apps */
        return;
    }
    for (size_t i = 0; i < w->nlisteners; i++) {
        struct mc_listener *l = &w->listeners[i];
        if (l->done || stays(l)) {
            continue;
        }
        mc_conn_accept(l, 1024);
        uint64_t last = w->last_accept > w->drain_start ? w->last_accept : w->drain_start;
        if (now >= last + MC_DRAIN_SETTLE_MS && mc_worker_has_room(w, l)) {
            mc_worker_close_listener(l);
        }
    }
    bool open = false;
    for (size_t i = 0; i < w->nlisteners; i++) {
        open |= !w->listeners[i].done && !stays(&w->listeners[i]);
    }
    unsigned left = w->nconns - (w->hops_stay ? w->nhop : 0);
    bool late = w->drain_deadline && now >= w->drain_deadline;
    if (late && (open || left > 0)) {
        tell_late(w, left);
    } else if (late && w->nbehind > 0) {
        mc_warn("graceful_timeout is over: work behind %u response%s cancelled", w->nbehind, w->nbehind == 1 ? " is" : "s is");
    }
    left += w->hops_stay ? 0 : w->nbehind;
    if (w->hops_stay && (late || (!open && left == 0))) {
        tell_no_clients(w);
        return;
    }
    if (late || (!open && left == 0)) {
        mc_worker_stop(w);
        return;
    }
    mc_timer_set(&w->loop, t, DRAIN_TICK_MS);
}

/* Until when requests may go on; 0: without end. */
static uint64_t deadline(const struct mc_worker *w)
{
    uint64_t grace = (uint64_t) w->pool->set.graceful_timeout;
    return grace ? w->loop.now + grace - (w->reserve < grace ? w->reserve : grace) : 0;
}

static void begin(struct mc_worker *w)
{
    struct mc_link *l, *next;
    if (w->draining) {
        return;
    }
    w->draining = true;
    mc_slot_set(w->slot->state, MC_SLOT_DRAINING);
    mc_loop_refresh(&w->loop);
    w->drain_start = w->loop.now;
    mc_upstream_close_idle(w);
    mc_hop_trim(w);
    mc_ws_drain();
    w->drain_deadline = deadline(w);
    /* A socket that we were given (fd://) stays with its owner, queue and all; nobody stops the clients there. */
    for (size_t i = 0; i < w->nlisteners; i++) {
        if (w->listeners[i].conf->addr.fd >= 0 || w->listeners[i].shared) {
            mc_worker_close_listener(&w->listeners[i]);
        }
    }
    mc_list_each (&w->conns, l, next) {
        mc_mux_leave(mc_container(l, struct mc_conn, link));
    }
    mc_timer_set(&w->loop, &w->drain_timer, 0);
}

/* Idle connections: their next request is answered with Connection: close. They get a while to send it; who is silent for so long would be closed soon
 * anyway, and what has arrived at that moment is answered still. */
static void hurry_idle(struct mc_worker *w, unsigned ms)
{
    struct mc_link *l, *next;
    mc_list_each (&w->idle, l, next) {
        struct mc_conn *c = mc_container(l, struct mc_conn, idle_link);
        if (c->mux) {
            continue; /* it leaves by itself */
        }
        if (!c->timer.when || c->timer.when > w->loop.now + ms) {
            mc_timer_set(&w->loop, &c->timer, ms);
        }
    }
}

static bool has_hops(const struct mc_worker *w)
{
    for (size_t i = 0; i < w->nlisteners; i++) {
        if (w->listeners[i].conf->hop && !w->listeners[i].done) {
            return true;
        }
    }
    return false;
}

void mc_worker_drain(struct mc_worker *w)
{
    w->hops_stay = w->hops_stay || (!w->draining && has_hops(w));
    begin(w);
    hurry_idle(w, MC_DRAIN_IDLE_MS);
}

void mc_worker_share(struct mc_worker *w, unsigned index, bool shared)
{
    for (size_t i = 0; i < w->nlisteners; i++) {
        struct mc_listener *l = &w->listeners[i];
        if (l->conf->index != index) {
            continue;
        }
        l->shared = shared;
        if (shared && w->draining) {
            mc_worker_close_listener(l);
        }
    }
}

void mc_worker_end_hops(struct mc_worker *w)
{
    if (!w->hops_stay) {
        return;
    }
    mc_loop_refresh(&w->loop);
    w->drain_deadline = deadline(w);
    mc_worker_retire(w);
}

void mc_worker_retire(struct mc_worker *w)
{
    w->hops_stay = false;
    begin(w);
    hurry_idle(w, MC_DRAIN_RETIRE_MS);
    mc_hop_trim(w);
    mc_timer_set(&w->loop, &w->drain_timer, 0);
    for (size_t i = 0; i < w->nlisteners; i++) {
        if (!w->listeners[i].lone) {
            mc_worker_close_listener(&w->listeners[i]);
        }
    }
}

void mc_worker_stop(struct mc_worker *w)
{
    w->stopped = true;
    w->draining = true;
}
