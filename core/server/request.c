/* The run of a request: made for the codec, routed, given to its handler, finished, counted, freed. Worker side.
 * A request and the first piece of its arena share one pooled block, so a warm server allocates nothing for it. */
#include "core/server/engine.h"

#include "core/http/route.h"
#include "core/http/uri.h"
#include "core/server/access.h"
#include "core/server/tls.h"
#include "core/server/filter.h"
#include "core/server/hop.h"
#include "core/server/mux.h"
#include "core/server/proxied.h"
#include "core/server/sinks.h"

#include <pthread.h>
#include <string.h>

enum { REROUTES_MAX = 10 };

/* Stands in for the handler of a request that is refused once its body has been read. hctx is the status. */
static int answer_status(struct mc_request *r)
{
    return (int) (intptr_t) r->hctx;
}

static const struct mc_handler_ops refusal = { .body = MC_BODY_DISCARD, .start = answer_status, .quick = true };

struct mc_request *mc_request_new(struct mc_session *s)
{
    struct mc_request *r = mc_block_get(MC_BLOCK_SMALL);
    if (r == NULL) {
        return NULL;
    }
    memset(r, 0, sizeof *r);
    r->magic = MC_MAGIC_REQUEST;
    mc_arena_init(&r->arena);
    r->arena.pos = (char *) r + (sizeof *r + 15) / 16 * 16;
    r->arena.end = (char *) r + MC_BLOCK_SMALL;
    mc_chain_init(&r->body.data);
    r->body.length = r->resp.length = -1;
    r->session = s;
    r->conn = mc_container(s, struct mc_conn, session);
    if (r->conn) {
        r->server = r->conn->listener->conf->servers[0];
        r->tls = r->conn->stream.tls != NULL;
        r->client = &r->conn->peer;
        r->fact = mc_facts_get;
    }
    return r;
}

void mc_request_free(struct mc_request *r)
{
    MC_ASSERT(r->magic == MC_MAGIC_REQUEST);
    mc_chain_fini(&r->body.data);
    mc_arena_fini(&r->arena);
    r->magic = 0;
    mc_block_put(r, MC_BLOCK_SMALL);
}

/* ---- routing ---- */

int mc_request_retarget(struct mc_request *r, struct mc_str target)
{
    struct mc_uri uri = { .path = MC_STR_NONE };
    struct mc_str path;
    int rc = mc_uri_split(target, false, &uri);
    if (rc != MC_OK) {
        return rc;
    }
    rc = mc_uri_normalise(&r->arena, uri.path, &path);
    if (rc != MC_OK) {
        return rc;
    }
    r->uri = uri;
    r->path = path;
    return MC_OK;
}

/* What does not change with the route. */
static int locate(struct mc_request *r)
{
    int rc;
    if (r->uri.path.p == NULL) {
        rc = mc_uri_split(r->head.target, mc_str_eq(r->head.method, MC_STR("OPTIONS")), &r->uri);
        if (rc != MC_OK) {
            return rc;
        }
    }
    if (r->path.p == NULL && (rc = mc_uri_normalise(&r->arena, r->uri.path, &r->path)) != MC_OK) {
        return rc;
    }
    rc = mc_route_find_server(r, r->conn->listener->conf);
    if (rc == MC_OK && mc_tls_misdirected(r)) {
        return 421;
    }
    rc = rc == MC_OK ? mc_forwarded_scheme(r) : rc;
    return rc == MC_OK ? mc_proxied_client(r) : rc;
}

/* May the request enter r->route, and does its handler want it? */
static int enter_route(struct mc_request *r)
{
    int rc = mc_filter_access(r);
    if (rc != MC_OK) {
        return rc;
    }
    r->handler = r->route->app ? r->conn->worker->handlers[r->route->app->index] : r->route->module->ops.handler;
    r->body.mode = r->handler->body; /* or what prepare() says */
    return r->handler->prepare ? r->handler->prepare(r) : MC_OK;
}

/* Until a handler takes it: MC_OK, MC_AGAIN or a status. again: r->route is entered once more. */
static int find_handler(struct mc_request *r, bool again)
{
    for (;;) {
        int rc = again ? MC_OK : mc_route_find(r);
        again = false;
        rc = rc == MC_OK ? enter_route(r) : rc;
        switch (rc) {
        case MC_DECLINED:
            continue;
        case MC_REROUTE:
            if (r->reroutes++ < REROUTES_MAX) {
                r->route = NULL;
                continue;
            }
            mc_error("a request was given %d other targets without reaching a handler: see the routes of server \"%s\"", REROUTES_MAX, r->server->name);
            return 500;
        case MC_OK:
        case MC_AGAIN:
            return rc;
        default:
            return rc > 0 ? rc : 500;
        }
    }
}

/* A body that nobody wants is read and dropped when that is cheap; else the connection ends. */
static int refuse_later(struct mc_request *r, int status)
{
    r->handler = &refusal;
    r->hctx = (void *) (intptr_t) status;
    r->body.mode = MC_BODY_DISCARD;
    bool cheap = r->head.framing == MC_BODY_NONE || (r->head.content_length >= 0 && r->head.content_length <= MC_OUT_COALESCE);
    if (cheap && status != 413 && !r->head.expect_continue) {
        return MC_OK;
    }
    r->session->close = r->resp.close = true;
    r->conn->linger = true;
    mc_response_error(r, status);
    return MC_ERROR;
}

static int settle(struct mc_request *r, int rc)
{
    if (rc == MC_AGAIN) {
        r->state = MC_REQ_ADMIT;
        return rc;
    }
    if (rc != MC_OK) {
        return refuse_later(r, rc);
    }
    int64_t limit = mc_request_set(r)->limit_request_body;
    if (limit > 0 && r->head.content_length > limit) {
        return refuse_later(r, 413);
    }
    if (!r->body.on_demand) {
        mc_body_want(r);
    }
    return MC_OK;
}

/* Nobody but us says this, and not here. */
static void drop_hop(struct mc_request *r)
{
    struct mc_fields *f = &r->head.fields;
    uint32_t kept = 0;
    if (mc_likely(!mc_fields_may_have(f, MC_F_HOP))) {
        return;
    }
    for (uint32_t i = 0; i < f->n; i++) {
        if (f->v[i].id != MC_F_HOP) {
            f->v[kept++] = f->v[i];
        }
    }
    f->n = kept;
}

int mc_request_route(struct mc_request *r)
{
    r->is_head = mc_str_eq(r->head.method, MC_STR("HEAD"));
    r->body.length = r->head.content_length;
    if (mc_unlikely(r->conn->listener->conf->hop)) {
        return settle(r, mc_hop_enter(r));
    }
    drop_hop(r);
    int rc = locate(r);
    return settle(r, rc == MC_OK ? find_handler(r, false) : rc);
}

int mc_request_error(struct mc_request *r)
{
    int rc = mc_errors_restart(r);
    if (rc == MC_OK) {
        rc = find_handler(r, r->route != NULL);
    }
    if (rc == MC_OK || rc == MC_AGAIN) {
        return settle(r, rc);
    }
    mc_response_error(r, r->error_status);
    return MC_ERROR;
}

int mc_request_admitted(struct mc_request *r)
{
    return settle(r, find_handler(r, true));
}

/* ---- running ---- */

void mc_request_dispatch(struct mc_request *r)
{
    if (mc_request_blocking(r)) {
        mc_worker_queue(r->conn->worker, r);
        return;
    }
    mc_hop_begun(r->conn);
    r->state = MC_REQ_RUNNING;
    mc_request_result(r, r->handler->start(r));
}

void mc_request_result(struct mc_request *r, int rc)
{
    if (r->loan == MC_LOAN_REVOKED || mc_request_over(r)) {
        return;
    }
    if (rc > 0) {
        mc_response_error(r, rc);
    } else if (rc != MC_OK && rc != MC_AGAIN) {
        mc_response_abort(r);
    } else if (mc_request_blocking(r)) {
        mc_error("a blocking handler returned without ending its response");
        mc_response_error(r, 500);
    }
}

/* The request line, for whoever has to explain why this worker hangs or died. The head lies in one piece. */
static void note_busy(struct mc_slot *slot, const struct mc_request *r)
{
    const char *from = r->head.method.p, *to = r->head.target.p + r->head.target.n;
    size_t n = to > from && (size_t) (to - from) < MC_SLOT_TEXT ? (size_t) (to - from) : MC_SLOT_TEXT - 1;
    if (to <= from) {
        n = 0;
    }
    memcpy(slot->busy, from, n);
    slot->busy[n] = '\0';
}

/* The slot tells of the oldest of those that run. */
static void note_oldest(struct mc_worker *w)
{
    struct mc_slot *slot = w->slot;
    if (mc_list_empty(&w->running)) {
        mc_slot_set(slot->busy_since_ms, 0);
        slot->busy[0] = '\0';
        if (!w->draining) {
            mc_slot_set(slot->state, MC_SLOT_IDLE);
        }
        return;
    }
    const struct mc_request *oldest = mc_container(w->running.next, struct mc_request, link);
    note_busy(slot, oldest);
    mc_slot_set(slot->busy_since_ms, oldest->run_us / 1000);
    if (!w->draining) {
        mc_slot_set(slot->state, MC_SLOT_BUSY);
    }
}

void mc_request_lend(struct mc_request *r)
{
    struct mc_conn *c = r->conn;
    struct mc_worker *w = c->worker;
    bool first = mc_list_empty(&w->running);
    r->run_us = mc_clock_ns() / 1000;
    r->state = MC_REQ_RUNNING;
    mc_list_push(&w->running, &r->link);
    w->nrunning++;
    mc_slot_set(w->slot->running, w->nrunning);
    if (first) {
        note_oldest(w);
    }
    (void) mc_conn_peer(c); /* filled in now: two sides may ask for it later */
    c->lent_ready = c->io.ready & MC_WANT_WRITE;
    c->io.ready &= (uint8_t) ~MC_WANT_WRITE; /* set again by an event that comes meanwhile */
    c->lent = true;
    if (c->stream_only) {
        mc_mux_stream_of(c)->shared = true;
    }
    r->loan = MC_LOAN_LENT;
}

void mc_request_untimed(struct mc_request *r)
{
    struct mc_worker *w = r->conn->worker;
    bool oldest = w->running.next == &r->link;
    mc_list_remove(&r->link);
    mc_list_init(&r->link); /* mc_request_unlend() takes it out of some list */
    if (oldest) {
        note_oldest(w);
    }
}

void mc_request_execute(struct mc_request *r)
{
    r->runner = (unsigned long) pthread_self();
    mc_request_result(r, r->handler->start(r));
    r->end_us = mc_clock_ns() / 1000;
    uint8_t expected = MC_LOAN_LENT; /* from here on, late or not, its response is whole */
    (void) atomic_compare_exchange_strong(&r->loan, &expected, MC_LOAN_BACK);
}

void mc_request_unlend(struct mc_request *r)
{
    struct mc_conn *c = r->conn;
    struct mc_worker *w = c->worker;
    bool oldest = w->running.next == &r->link, revoked = r->loan == MC_LOAN_REVOKED;
    c->lent = false;
    if (!revoked) {
        r->loan = MC_LOAN_NONE;
    }
    c->io.ready |= c->lent_ready;
    mc_list_remove(&r->link);
    w->nrunning--;
    w->turns += w->shut && w->nqueued > 0;
    mc_slot_set(w->slot->running, w->nrunning);
    if (oldest) {
        note_oldest(w);
    }
    w->fast = !revoked && r->end_us - r->run_us < MC_SLOW_US; /* of a revoked one the borrower may be writing the end */
    if (revoked) {
        mc_loop_refresh(&w->loop);
    } else {
        mc_loop_read(&w->loop, r->end_us);
    }
    if (!w->fast) {
        mc_worker_clock(w);
    }
}

void mc_request_run(struct mc_request *r)
{
    mc_request_lend(r);
    r->loan = MC_LOAN_NONE; /* nobody could take it back meanwhile */
    mc_request_execute(r);
    mc_request_unlend(r);
}

void mc_request_return(struct mc_request *r)
{
    struct mc_conn *c = r->conn;
    struct mc_worker *w = c->worker;
    if (r->loan == MC_LOAN_REVOKED) {
        mc_loan_settle(r);
        mc_worker_changed(w);
        return;
    }
    mc_request_unlend(r);
    mc_conn_step(c); /* may free it */
    if (!mc_list_empty(&w->ready) && w->ops->run) { /* there may be room again */
        mc_post_add(&w->loop, &w->dispatch);
    }
    mc_worker_moved(w);
}

/* ---- the end ---- */

static unsigned bucket(uint64_t usec)
{
    unsigned b = 0;
    for (uint64_t ms = usec / 1000; ms > 0 && b < MC_SLOT_BUCKETS - 1; ms >>= 1) {
        b++;
    }
    return b;
}

void mc_request_account(struct mc_request *r, uint64_t end)
{
    struct mc_conn *c = r->conn;
    struct mc_worker *w = c->worker;
    struct mc_slot *slot = w->slot;
    uint64_t usec = r->start_us && end > r->start_us ? end - r->start_us : 0;
    unsigned class = r->resp.state == MC_RESP_ABORTED ? 0 : (unsigned) r->resp.status / 100;
    mc_slot_add(slot->requests, 1);
    mc_slot_add(slot->bytes_out, c->sent);
    c->sent = 0;
    mc_slot_add(slot->status[class < 6 ? class : 5], 1);
    mc_slot_add(slot->latency[bucket(usec)], 1);
    mc_slot_add(slot->spent_us, usec);
    if (w->access && r->resp.status && r->hop == NULL && mc_request_set(r)->access_log) { /* over a hop it is the front that writes the line */
        mc_access_request(w->access, r, mc_request_client(r), r->resp.sent, usec);
    }
    if (w->conf->set.statsd_host && r->hop == NULL) {
        mc_sinks_request(r->resp.status, usec);
    }
}

void mc_request_finish(struct mc_request *r)
{
    struct mc_conn *c = r->conn;
    if (r->filtered) {
        mc_filter_leave(r);
    }
    if (!r->end_us && r->handler && (!r->handler->quick || r->resp.run)) {
        mc_loop_read(&c->worker->loop, mc_clock_ns() / 1000);
    }
    mc_request_account(r, r->end_us ? r->end_us : c->worker->loop.now_us);
    if (!r->body.complete && r->head.framing != MC_BODY_NONE) {
        c->session.close = c->linger = true;
    }
    if (r->resp.close) {
        c->session.close = true;
    }
    c->session.ops->finish(r);
    c->request = NULL;
    mc_request_free(r);
}
