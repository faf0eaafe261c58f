/* The life of a connection as a table of states. mc_conn_step() runs the function of the present state until it must wait.
 *
 *   OPEN ─► IDLE ─► HEAD ─► BODY ─► RUN ─► (IDLE | WRITE) ─► IDLE | LINGER | closed
 *
 * A state function returns MC_OK (the state may have changed: go on), MC_AGAIN (it waits; the watch and the timer are set) or MC_ERROR (close).
 * All transitions stand in this file. Only here are handlers started and resumed. Worker side, on the loop. */
#include "core/server/engine.h"
#include "core/server/hop.h"
#include "core/server/mux.h"
#include "core/server/proxied.h"

enum { STEPS_MAX = 256 /* then the others have their turn */ };

static void enter(struct mc_conn *c, unsigned state)
{
    if (c->state == state) {
        return;
    }
    mc_debug("connection %d: %s -> %s", c->io.fd, mc_conn_state_name(c->state), mc_conn_state_name(state));
    mc_conn_unlist(c);
    c->resting = 0;
    c->state = (uint8_t) state;
    c->parked = 0;
}

/* Nothing was promised to this client yet: when there is no room left, it makes way for others. */
void mc_conn_may_go(struct mc_conn *c, struct mc_link *list)
{
    struct mc_worker *w = c->worker;
    if (mc_link_linked(&c->idle_link)) {
        return;
    }
    mc_list_push(list, &c->idle_link);
    w->nidle++;
    if (w->nconns >= (unsigned) w->pool->set.worker_connections) {
        mc_worker_changed(w);
    }
}

/* Wait in this state: the timer starts with the first wait that has one and, for waits that follow progress, anew. */
int mc_conn_wait(struct mc_conn *c, int64_t ms, bool progress)
{
    bool timed = ms > 0;
    if (c->parked > timed && !progress) {
        return mc_conn_park(c, -1);
    }
    c->parked = (uint8_t) (1 + timed);
    return mc_conn_park(c, ms);
}

/* The same for a body that comes or goes: each byte starts the timer anew, but only MC_SLOW_WAITS times as long, unless enough has moved. */
int mc_conn_wait_moving(struct mc_conn *c, int64_t ms, bool progress, uint32_t *moved)
{
    uint32_t now = (uint32_t) c->worker->loop.now;
    if (c->parked < 2 || *moved >= MC_RATE_BYTES) {
        c->slow_since = now;
        *moved = 0;
    } else if (progress && ms > 0) {
        int64_t left = MC_SLOW_WAITS * ms - (int64_t) (now - c->slow_since);
        if (ms > left) {
            ms = left > 0 ? left : 1;
        }
    }
    return mc_conn_wait(c, ms, progress);
}

void mc_conn_more(struct mc_post *p)
{
    struct mc_worker *w = p->data;
    struct mc_link now, *l;
    mc_list_init(&now);
    mc_list_move(&now, &w->again);
    while ((l = mc_list_pop(&now))) {
        struct mc_conn *c = mc_container(l, struct mc_conn, again);
        if (!c->lent) {
            mc_conn_step(c);
        }
    }
}

void mc_conn_again(struct mc_conn *c)
{
    struct mc_worker *w = c->worker;
    if (!mc_link_linked(&c->again)) {
        mc_list_push(&w->again, &c->again);
        mc_post_add(&w->loop, &w->more);
    }
}

static int close_after_output(struct mc_conn *c)
{
    c->session.close = true;
    enter(c, MC_CONN_WRITE);
    return MC_OK;
}

int mc_conn_end(struct mc_conn *c)
{
    c->linger = true;
    return close_after_output(c);
}

/* In a handshake; when there are too many of them the oldest one goes. */
static void note_opening(struct mc_conn *c)
{
    struct mc_worker *w = c->worker;
    struct mc_listener *l = (struct mc_listener *) (uintptr_t) c->listener;
    struct mc_link *i, *next;
    if (mc_link_linked(&c->idle_link)) {
        return;
    }
    mc_conn_may_go(c, &w->opening);
    l->nopening++;
    mc_list_each (&w->opening, i, next) {
        struct mc_conn *oldest = mc_container(i, struct mc_conn, idle_link);
        if (l->conf->handshakes == 0 || l->nopening <= (uint64_t) l->conf->handshakes) {
            return;
        }
        if (oldest->listener == l) {
            mc_conn_close(oldest); /* never c, which is the newest */
        }
    }
}

/* Which protocol is it to be? */
static int opened(struct mc_conn *c)
{
    const struct mc_protocol_ops *ops;
    int rc = mc_mux_choose(c, &ops);
    if (rc == MC_AGAIN) {
        return mc_conn_wait(c, c->session.host->set->header_timeout, false);
    }
    if (rc == MC_OK && ops == NULL) {
        enter(c, MC_CONN_IDLE);
        return MC_OK;
    }
    enter(c, MC_CONN_CARRY);
    return rc == MC_OK ? mc_mux_begin(c, ops) : rc;
}

static int step_open(struct mc_conn *c)
{
    if (c->parked && !((c->io.ready & ~MC_WANT_WRITE) | (c->io.ready & c->stream.wants))) {
        return MC_AGAIN; /* that it could write is no news to who waits for bytes */
    }
    int rc = mc_proxied_open(c);
    if (rc != MC_OK) {
        return rc == MC_AGAIN ? mc_conn_wait(c, c->session.host->set->header_timeout, false) : rc;
    }
    rc = c->stream.ops->open(&c->stream);
    c->io.ready &= (uint8_t) ~c->stream.wants;
    if (rc == MC_AGAIN) {
        note_opening(c);
        return mc_conn_wait(c, c->listener->conf->handshake_timeout, false);
    }
    return rc == MC_OK ? opened(c) : rc;
}

/* ---- input ---- */

static int wait_input(struct mc_conn *c)
{
    struct mc_worker *w = c->worker;
    const struct mc_values *set = c->session.host->set;
    switch (c->state) {
    case MC_CONN_IDLE: {
        mc_conn_release_input(c);
        if (w->nconns > MC_REST_CONNS) {
            mc_conn_rest_now(c);
        }
        if (c->session.inner) { /* a front closes it, not we */
            mc_hop_idle(c);
            return mc_conn_wait(c, 0, false);
        }
        mc_conn_may_go(c, &w->idle);
        int64_t ms = c->requests ? w->keepalive : set->header_timeout;
        if (w->draining && (ms <= 0 || ms > MC_DRAIN_IDLE_MS)) {
            ms = MC_DRAIN_IDLE_MS;
        }
        return mc_conn_wait(c, ms, false);
    }
    case MC_CONN_HEAD:
        if (!c->session.inner) {
            mc_conn_may_go(c, &w->heads);
        }
        return mc_conn_wait(c, set->header_timeout, false);
    default:
        return mc_conn_wait_moving(c, mc_request_set(c->request)->body_timeout, true, &c->moved_in);
    }
}

static int read_more(struct mc_conn *c)
{
    if (!mc_chain_empty(&c->session.out)) { /* replies gathered so far: nothing more will join them */
        int rc = mc_conn_flush(c);
        if (rc == MC_ERROR) {
            return rc;
        }
        if (rc == MC_AGAIN && c->state != MC_CONN_BODY) {
            enter(c, MC_CONN_WRITE);
            return MC_OK;
        }
    }
    ssize_t n = mc_conn_fill(c);
    if (n == MC_AGAIN) {
        return wait_input(c);
    }
    return n < 0 ? MC_ERROR : MC_OK;
}

/* The input cannot be understood, or did not come in time: answer and close. */
static int refuse(struct mc_conn *c, struct mc_request *r, int status)
{
    if (r == NULL) {
        r = mc_request_new(&c->session);
        if (r == NULL) {
            return MC_ERROR;
        }
        r->head.version = 1;
    }
    c->request = r;
    static struct mc_log_limit limit;
    unsigned missed;
    if (mc_log_on(MC_LOG_INFO) && mc_log_limited(&limit, &missed)) {
        struct mc_str peer = mc_conn_peer(c);
        mc_info("Invalid request from ip=%.*s: %d", (int) peer.n, peer.p, status);
    }
    c->session.close = true;
    c->linger = true;
    r->resp.close = true;
    enter(c, MC_CONN_RUN);
    mc_response_error(r, status);
    return MC_OK;
}

/* The head has found its handler, or its answer, or waits for a filter. */
static int routed(struct mc_conn *c, struct mc_request *r, int rc)
{
    if (rc == MC_AGAIN) {
        enter(c, MC_CONN_RUN);
        return MC_OK;
    }
    r->state = MC_REQ_BODY;
    if (rc != MC_OK) {
        enter(c, MC_CONN_RUN); /* answered already */
    } else if (r->body.complete || r->error_routed || (r->body.mode == MC_BODY_STREAMED && r->head.framing != MC_BODY_NONE)) {
        enter(c, MC_CONN_RUN); /* there is no body, or it need not be here */
        mc_request_dispatch(r);
    } else {
        enter(c, MC_CONN_BODY);
    }
    return MC_OK;
}

static int on_head(struct mc_conn *c, struct mc_request *r, bool whole)
{
    MC_ASSERT(r->magic == MC_MAGIC_REQUEST);
    c->request = r;
    c->requests++;
    c->session.allow_keepalive = (c->worker->keepalive > 0 || c->session.inner) && !c->nudged;
    r->body.complete = whole;
    r->start_us = c->worker->loop.now_us; /* of the turn, or of the end of the request before */
    enter(c, MC_CONN_BODY);
    return routed(c, r, mc_request_route(r));
}

static int step_input(struct mc_conn *c)
{
    struct mc_session *s = &c->session;
    struct mc_input ev;
    s->ops->input(s, &ev);
    switch (ev.kind) {
    case MC_IN_MORE:
        MC_ASSERT(!ev.busy);
        if (ev.started && c->state == MC_CONN_IDLE) {
            enter(c, MC_CONN_HEAD);
        }
        return read_more(c);
    case MC_IN_HEAD:
        return on_head(c, ev.r, ev.whole);
    case MC_IN_DATA: {
        int rc = mc_body_store(ev.r, ev.data);
        return rc > 0 ? refuse(c, ev.r, rc) : rc;
    }
    case MC_IN_END:
        ev.r->body.complete = true;
        enter(c, MC_CONN_RUN);
        mc_request_dispatch(ev.r);
        return MC_OK;
    case MC_IN_ERROR:
        return refuse(c, ev.r ? ev.r : c->request, ev.status);
    case MC_IN_CUT:
        if (ev.r) {
            return refuse(c, ev.r, 400);
        }
        return close_after_output(c);
    case MC_IN_EOF:
        return close_after_output(c);
    }
    return MC_ERROR;
}

/* ---- a handler is at work ---- */

static int finished(struct mc_conn *c)
{
    struct mc_worker *w = c->worker;
    mc_request_finish(c->request);
    if (c->broken) {
        return MC_ERROR;
    }
    if (c->session.close) {
        enter(c, MC_CONN_WRITE);
        return MC_OK;
    }
    if (c->session.out.total >= MC_OUT_COALESCE || !w->fast) {
        int rc = mc_conn_flush(c);
        if (rc != MC_OK) {
            enter(c, MC_CONN_WRITE);
            return rc == MC_AGAIN ? MC_OK : rc;
        }
    }
    enter(c, MC_CONN_IDLE);
    return MC_OK;
}

static void fail_body(struct mc_conn *c, struct mc_request *r, int status)
{
    r->body.failed = true;
    r->body.status = status;
    c->session.close = c->linger = true;
}

/* Body bytes for a handler that takes them as they come. MC_OK: there is something new (or the end), MC_AGAIN: not yet. */
static int pull_body(struct mc_conn *c, struct mc_request *r)
{
    bool news = false;
    while (!r->body.complete && !r->body.failed && mc_body_has_room(r)) {
        struct mc_input ev;
        c->session.ops->input(&c->session, &ev);
        if (ev.kind == MC_IN_MORE) {
            ssize_t n = mc_conn_fill(c);
            if (n == MC_AGAIN) {
                break;
            }
            if (n < 0) {
                return MC_ERROR;
            }
            continue;
        }
        news = true;
        int status = ev.kind == MC_IN_DATA ? mc_body_store(r, ev.data) : ev.kind == MC_IN_END ? MC_OK : ev.kind == MC_IN_ERROR ? ev.status : 400;
        r->body.complete = ev.kind == MC_IN_END;
        if (status != MC_OK) {
            fail_body(c, r, status);
        }
    }
    return news ? MC_OK : MC_AGAIN;
}

/* It is the client's turn: more of a body is to come. */
static bool awaits_body(const struct mc_request *r)
{
    if (r->state != MC_REQ_RUNNING || r->body.mode != MC_BODY_STREAMED || r->body.complete || r->body.failed || r->resp.switched) {
        return false;
    }
    bool asked = !r->head.expect_continue || r->sent_continue || r->body.received > 0 || mc_response_started(r);
    return asked && mc_body_has_room(r);
}

/* A loop handler is at work. With its whole body all that may still come is the next request, or the client's end; before, only the end of both
 * directions tells, since what comes first is not read while there is no room for it. */
static bool client_left(struct mc_conn *c, bool whole)
{
    const struct mc_inbuf *in = &c->session.in;
    if ((c->io.ready & MC_READY_HUP) && !c->lingering) {
        return true;
    }
    if (!whole) {
        return false;
    }
    while (c->io.ready & MC_READY_ERROR) {
        if (in->data && in->len == in->cap && in->pos <= in->keep) {
            return false;
        }
        ssize_t n = mc_conn_fill(c);
        if (n <= 0) {
            return n != MC_AGAIN;
        }
    }
    return false;
}

/* It wakes us when it has decided; what was answered before goes out meanwhile. */
static int wait_for_filter(struct mc_conn *c, struct mc_request *r)
{
    int out = mc_conn_flush(c);
    if (out == MC_ERROR || client_left(c, r->head.framing == MC_BODY_NONE)) {
        return MC_ERROR;
    }
    bool progress = c->progress;
    c->progress = false;
    return mc_conn_wait(c, out == MC_AGAIN ? mc_request_set(r)->send_timeout : 0, progress);
}

/* A tunnel that the client has reset: what is there can still be read, but who reads nothing would never know. Said once. */
static bool cut_off(const struct mc_conn *c, struct mc_request *r)
{
    if (!r->resp.switched || r->resp.cut || !(c->io.ready & MC_READY_HUP) || c->lingering || mc_request_blocking(r)) {
        return false;
    }
    r->resp.cut = true;
    return true;
}

static int step_run(struct mc_conn *c)
{
    struct mc_request *r = c->request;
    if (mc_request_over(r)) {
        return finished(c);
    }
    if (r->state == MC_REQ_QUEUED) {
        if (r->hop && client_left(c, true)) {
            return MC_ERROR;
        }
        return mc_conn_wait(c, 0, false);
    }
    if (r->error_page) {
        return routed(c, r, mc_request_error(r));
    }
    if (r->state == MC_REQ_ADMITTED) {
        return routed(c, r, mc_request_admitted(r));
    }
    if (r->state == MC_REQ_ADMIT) {
        return wait_for_filter(c, r);
    }
    int out = mc_conn_flush(c);
    if (out == MC_ERROR) {
        return MC_ERROR;
    }
    if (r->resp.run && mc_filter_waiting(r) && c->session.out.total < MC_OUT_LOW) {
        if (mc_response_pump(r) == MC_ERROR || mc_request_over(r)) {
            return MC_OK;
        }
        mc_conn_again(c); /* a piece at a time: filters cost */
        return mc_conn_wait(c, mc_request_set(r)->send_timeout, true);
    }
    if (r->resp.paused && c->session.out.total < MC_OUT_LOW) {
        r->resp.paused = false;
        mc_request_result(r, r->handler->resume(r, MC_RESUME_ROOM));
        return MC_OK;
    }
    if (r->body.mode == MC_BODY_STREAMED) {
        int rc = pull_body(c, r);
        if (rc == MC_OK) {
            mc_request_result(r, r->handler->resume(r, MC_RESUME_BODY));
        }
        if (rc != MC_AGAIN) {
            return rc;
        }
    }
    if (r->resp.run && !mc_request_blocking(r) && mc_filter_holds(r)) { /* a stream pauses: what there is of it is seen */
        if (mc_filter_flush(r) == MC_ERROR || (out = mc_conn_flush(c)) == MC_ERROR) {
            return MC_ERROR;
        }
    }
    if (cut_off(c, r)) {
        mc_request_result(r, r->handler->resume(r, MC_RESUME_BODY));
        return MC_OK;
    }
    if (out == MC_OK && r->resp.half_closed && !c->lingering) {
        c->lingering = true;
        if (c->stream.ops->shutdown(&c->stream) == MC_ERROR) {
            return MC_ERROR;
        }
    }
    if (!mc_request_blocking(r) && !r->resp.switched && client_left(c, r->body.complete)) {
        return MC_ERROR;
    }
    if (r->resp.switched) {
        mc_conn_release_input(c); /* a tunnel is silent for most of its time */
    }
    bool progress = c->progress;
    c->progress = false;
    if (out == MC_AGAIN) {
        return mc_conn_wait_moving(c, mc_request_set(r)->send_timeout, progress, &c->moved_out);
    }
    if (!awaits_body(r)) {
        return mc_conn_wait(c, 0, true);
    }
    int64_t ms = mc_request_set(r)->body_timeout;
    /* With an answer under way it is a dialogue, which may have its pauses. */
    return mc_response_started(r) ? mc_conn_wait(c, ms, true) : mc_conn_wait_moving(c, ms, true, &c->moved_in);
}

/* ---- closing ---- */

static int step_write(struct mc_conn *c)
{
    c->stream.last = c->session.close && !c->stream.reset; /* one packet, not two, and the client is woken once */
    int rc = mc_conn_flush(c);
    if (rc == MC_AGAIN) {
        bool progress = c->progress;
        c->progress = false;
        return mc_conn_wait_moving(c, c->session.host->set->send_timeout, progress, &c->moved_out);
    }
    if (rc != MC_OK) {
        return rc;
    }
    if (!c->session.close) {
        enter(c, MC_CONN_IDLE);
        return MC_OK;
    }
    const struct mc_inbuf *in = &c->session.in;
    bool unread = c->linger || in->pos < in->len || (c->io.ready & MC_WANT_READ);
    if (in->eof || c->stream.reset || !unread) {
        return MC_ERROR;
    }
    enter(c, MC_CONN_LINGER);
    return MC_OK;
}

static int step_linger(struct mc_conn *c)
{
    struct mc_inbuf *in = &c->session.in;
    if (!c->lingering) {
        c->lingering = true;
        c->moved_out = MC_LINGER_BYTES;
        if (c->stream.ops->shutdown(&c->stream) == MC_ERROR) {
            return MC_ERROR;
        }
    }
    for (;;) {
        in->keep = 0;
        in->pos = in->len;
        ssize_t n = mc_conn_fill(c);
        if (n == MC_AGAIN) {
            mc_conn_release_input(c);
            return mc_conn_wait(c, MC_LINGER_MS, false);
        }
        if (n <= 0 || (size_t) n >= c->moved_out) {
            return MC_ERROR;
        }
        c->moved_out -= (uint32_t) n;
    }
}

static const struct {
    const char *name;
    int (*step)(struct mc_conn *c);
} states[MC_CONN_STATES] = {
    [MC_CONN_OPEN] = { "open", step_open },
    [MC_CONN_IDLE] = { "idle", step_input },
    [MC_CONN_HEAD] = { "head", step_input },
    [MC_CONN_BODY] = { "body", step_input },
    [MC_CONN_RUN] = { "run", step_run },
    [MC_CONN_WRITE] = { "write", step_write },
    [MC_CONN_LINGER] = { "linger", step_linger },
    [MC_CONN_CARRY] = { "carry", mc_mux_step },
};

const char *mc_conn_state_name(unsigned state)
{
    return state < MC_CONN_STATES ? states[state].name : "?";
}

bool mc_request_rests(struct mc_request *r)
{
    struct mc_conn *c = r->conn;
    if (c->state != MC_CONN_RUN || c->parked != 1 || c->stream_only || c->broken || !mc_chain_empty(&c->session.out)) {
        return false;
    }
    if (mc_request_over(r) || r->resp.run || r->resp.paused || awaits_body(r) || mc_link_linked(&c->again)) {
        return false;
    }
    mc_slot_add(c->worker->slot->bytes_out, c->sent);
    c->sent = 0;
    return true;
}

void mc_request_wake(struct mc_request *r)
{
    mc_conn_again(r->conn);
}

void mc_conn_step(struct mc_conn *c)
{
    MC_ASSERT(c->magic == MC_MAGIC_CONN);
    for (int i = 0; i < STEPS_MAX; i++) {
        int rc = states[c->state].step(c);
        if (c->lent) {
            return;
        }
        if (rc == MC_ERROR || c->broken) {
            mc_conn_close(c);
            return;
        }
        if (rc == MC_AGAIN) {
            return;
        }
    }
    mc_conn_again(c);
}

/* The handler that takes the body as it comes hears that no more will: it answers, or that is done for it. */
static bool late_body(struct mc_conn *c)
{
    struct mc_request *r = c->request;
    if (!awaits_body(r) || mc_response_started(r)) {
        return false;
    }
    fail_body(c, r, 408);
    mc_request_result(r, r->handler->resume(r, MC_RESUME_BODY));
    mc_conn_step(c);
    return true;
}

void mc_conn_expire(struct mc_conn *c)
{
    switch (c->state) {
    case MC_CONN_CARRY:
        mc_mux_expire(c);
        return;
    case MC_CONN_IDLE:
        /* A request may have arrived just now: take it rather than close in its face. */
        c->io.ready |= MC_WANT_READ;
        if (mc_conn_fill(c) <= 0) {
            break;
        }
        mc_conn_step(c);
        return;
    case MC_CONN_HEAD:
    case MC_CONN_BODY:
        if (refuse(c, c->request, 408) != MC_OK) {
            break;
        }
        mc_conn_step(c);
        return;
    case MC_CONN_RUN:
        if (late_body(c)) {
            return;
        }
        break;
    default:
        break;
    }
    mc_debug("connection %d: timed out in state %s", c->io.fd, mc_conn_state_name(c->state));
    if (c->stream_only && !(c->state == MC_CONN_RUN && awaits_body(c->request))) {
        mc_mux_stalled(c);
    }
    mc_conn_close(c);
}
