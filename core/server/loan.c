/* Loans: who may touch the connection of a request that another thread (or coroutine) executes, and what happens when it takes too long.
 * One atomic word a request: lent, in a call of the API, revoked. The loop revokes only outside calls; a borrower that finds its loan revoked
 * gets errors from then on and touches nothing. What it may still read (request, head, connection struct) stays until it comes back.
 * Worker side. */
#include "core/server/engine.h"
#include "core/server/filter.h"
#include "core/server/mux.h"

#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { STACK_MAX = 64 };

/* ---- the borrower ---- */

bool mc_loan_enter(struct mc_request *r)
{
    uint8_t expected = MC_LOAN_LENT;
    if (atomic_load_explicit(&r->loan, memory_order_relaxed) == MC_LOAN_NONE) {
        return true;
    }
    if (r->loan_depth == 0 && !atomic_compare_exchange_strong(&r->loan, &expected, MC_LOAN_CALL)) {
        return false;
    }
    r->loan_depth++;
    return true;
}

void mc_loan_leave(struct mc_request *r)
{
    if (r->loan_depth > 0 && --r->loan_depth == 0) {
        atomic_store_explicit(&r->loan, MC_LOAN_LENT, memory_order_release);
    }
}

/* ---- stacks ---- */

void mc_worker_backtrace(void)
{
    void *frames[STACK_MAX];
    backtrace_symbols_fd(frames, backtrace(frames, STACK_MAX), mc_log_fd());
}

static void on_dump(int sig)
{
    int saved = errno;
    (void) sig;
    mc_worker_backtrace();
    errno = saved;
}

static void dump_thread(struct mc_request *r)
{
    static bool ready;
    if (!ready) {
        void *warm[1];
        struct sigaction sa = { .sa_handler = on_dump, .sa_flags = SA_RESTART };
        backtrace(warm, 1); /* loads what it needs outside of a signal handler */
        sigaction(SIGRTMIN + 3, &sa, NULL);
        ready = true;
    }
    pthread_kill((pthread_t) r->runner, SIGRTMIN + 3);
}

/* ---- the loop ---- */

static void tell(struct mc_worker *w, struct mc_request *r, uint64_t us)
{
    char line[512];
    size_t n = mc_str_escape(line, sizeof line, r->head.target);
    mc_critical("REQUEST TIMEOUT (pid:%ld) %.*s %.*s after %llu.%llu s", (long) getpid(), (int) r->head.method.n, r->head.method.p, (int) n, line,
        (unsigned long long) us / 1000000, (unsigned long long) us / 100000 % 10);
    if (w->dump) {
        w->dump(r);
    } else if (r->loan != MC_LOAN_NONE) {
        dump_thread(r);
    }
}

/* The answer in place of the borrower's. */
static void answer(struct mc_conn *c, const struct mc_request *lost)
{
    struct mc_request *r = mc_request_new(&c->session);
    if (r == NULL) {
        c->broken = true;
        mc_conn_close(c);
        return;
    }
    r->head = lost->head;
    r->head.framing = MC_BODY_NONE;
    r->head.keepalive = false;
    r->id = lost->id;
    r->is_head = lost->is_head;
    r->server = lost->server;
    r->route = lost->route;
    r->start_us = lost->start_us;
    c->request = r;
    c->session.close = c->linger = true;
    mc_response_error(r, 504);
    mc_conn_step(c);
}

static void take_away(struct mc_worker *w, struct mc_request *r)
{
    struct mc_conn *c = r->conn;
    struct mc_inbuf *in = &c->session.in;
    bool started = mc_response_started(r);
    c->request = NULL;
    mc_request_unlend(r);
    w->fast = false;
    w->nstuck++;
    r->orphan = c;
    r->orphan_head = in->data;
    r->orphan_cap = in->cap;
    in->data = NULL;
    in->pos = in->len = in->cap = in->keep = 0;
    c->orphans++;
    if (started) {
        mc_request_account(r, mc_clock_ns() / 1000);
        c->broken = true;
        c->stream.reset = true;
        mc_conn_close(c);
    } else {
        answer(c, r);
    }
    mc_worker_recycle(w, "a request is stuck");
}

void mc_loan_settle(struct mc_request *r)
{
    struct mc_conn *c = r->orphan;
    c->worker->nstuck--;
    if (r->filtered) { /* they may look at the head */
        mc_filter_leave(r);
    }
    if (r->orphan_cap == MC_BLOCK_LARGE) {
        mc_block_put(r->orphan_head, MC_BLOCK_LARGE);
    } else {
        free(r->orphan_head);
    }
    mc_request_free(r);
    mc_conn_release(c);
}

void mc_loan_check(struct mc_worker *w)
{
    struct mc_link *l, *next;
    uint64_t limit_us = (uint64_t) w->pool->set.request_timeout * 1000;
    if (mc_likely((limit_us == 0 && w->nhop == 0) || mc_list_empty(&w->running))) {
        return;
    }
    uint64_t now_us = mc_clock_ns() / 1000;
    mc_list_each (&w->running, l, next) {
        struct mc_request *r = mc_container(l, struct mc_request, link);
        uint8_t expected = MC_LOAN_LENT;
        bool late = r->deadline_us && now_us >= r->deadline_us; /* its front has given up */
        if (!late && (limit_us == 0 || now_us < r->run_us + limit_us)) {
            if (w->nhop == 0) {
                return; /* the oldest come first */
            }
            continue;
        }
        if (atomic_compare_exchange_strong(&r->loan, &expected, MC_LOAN_REVOKED)) {
            tell(w, r, now_us - r->run_us);
            take_away(w, r);
        }
    }
}

static void check_loop(struct mc_conn *c, uint64_t limit_us, uint64_t now_us)
{
    struct mc_request *r = c->request;
    bool running = c->state == MC_CONN_RUN && !c->lent && r && r->state == MC_REQ_RUNNING && r->handler && !mc_request_over(r);
    if (!running || r->resp.switched || now_us < r->start_us + limit_us) { /* without a handler: its error page is to be found yet */
        return;
    }
    tell(c->worker, r, now_us - r->start_us);
    if (r->handler->abort) {
        r->handler->abort(r);
    }
    c->session.close = c->linger = true;
    mc_response_error(r, 504); /* or a cut, when the head is out */
    mc_conn_step(c);
}

void mc_loan_check_loop(struct mc_worker *w)
{
    struct mc_link *l, *next, *k, *after;
    uint64_t limit_us = (uint64_t) w->pool->set.request_timeout * 1000, now_us = mc_clock_ns() / 1000;
    if (limit_us == 0) {
        return;
    }
    mc_list_each (&w->conns, l, next) {
        struct mc_conn *c = mc_container(l, struct mc_conn, link);
        if (c->mux == NULL) {
            check_loop(c, limit_us, now_us);
            continue;
        }
        mc_list_each (&c->mux->streams, k, after) { /* none of them ends the carrier: it comes back later */
            check_loop(&mc_container(k, struct mc_mux_stream, link)->conn, limit_us, now_us);
        }
    }
}

uint64_t mc_loan_wait_until(const struct mc_request *r)
{
    uint64_t send = (uint64_t) mc_request_set(r)->send_timeout, whole = (uint64_t) r->conn->worker->pool->set.request_timeout;
    uint64_t until = send ? mc_clock_ms() + send : UINT64_MAX, end = whole ? r->run_us / 1000 + whole : UINT64_MAX;
    until = end < until ? end : until;
    return until < UINT64_MAX ? until : 0;
}
