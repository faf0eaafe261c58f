/* The connection engine's inner seams: what conn, step, request, body and response call of each other. Private to core/server. */
#ifndef MC_SERVER_ENGINE_H
#define MC_SERVER_ENGINE_H

#include "core/base/clock.h"
#include "core/server/conn.h"
#include "core/server/forwarded.h"

enum {
    MC_OUT_COALESCE = 65536,  /* pipelined replies gather up to here before they are sent */
    MC_OUT_HIGH = 131072,     /* a loop handler is asked to pause above this… */
    MC_OUT_LOW = 32768,       /* …and resumed below this */
    MC_DIRECT = 6144,         /* body pieces from here on go out by writev instead of a copy (measured: 4-8 KiB) */
    MC_RATE_BYTES = 1024,     /* a client that moves less than this… */
    MC_SLOW_WAITS = 10,       /* …in so many body_timeouts or send_timeouts is given up, however its bytes are spread */
    MC_WAIT_BYTES = 16384,    /* what a client must take in send_timeout while an app waits for it */
    MC_SLOW_US = 1000,        /* an app call over this is slow: what is finished is not held back behind it */
    MC_REST_CONNS = 128,      /* from here on idle connections give memory back at once, not after a while */
    MC_LINGER_MS = 5000,
    MC_LINGER_BYTES = 1 << 20,
    MC_DRAIN_IDLE_MS = 1000,  /* idle keep-alive connections live this long after a drain began */
    MC_DRAIN_RETIRE_MS = 5000, /* …and so long after only this worker was told to leave */
    MC_DRAIN_SETTLE_MS = 200, /* a draining listener is closed when nothing came for this long */
};

/* ---- conn.c ---- */
/* Read into the session's input: > 0, 0 end of stream, MC_AGAIN, MC_ERROR (broken or out of memory). */
ssize_t mc_conn_fill(struct mc_conn *c);
/* Memory back to the pool while nothing is unread. */
void mc_conn_release_input(struct mc_conn *c);
/* Out of the list of those that may go. */
void mc_conn_unlist(struct mc_conn *c);
/* Wait for the socket: MC_AGAIN, or MC_ERROR. ms: the timer; 0 = none, -1 = as it is. */
int mc_conn_park(struct mc_conn *c, int64_t ms);
/* Send the queue and then p[0,n) without copying; what the socket does not take is queued. MC_OK, MC_AGAIN (some is queued), MC_ERROR. */
int mc_conn_send_direct(struct mc_conn *c, const void *p, size_t n);
/* Move queued memory to the connection's unlinked temp file. MC_OK or MC_ERROR (disk): the queue is as before. */
int mc_conn_spool(struct mc_conn *c);
/* step.c: come back to this connection at the end of the turn. */
void mc_conn_again(struct mc_conn *c);
void mc_conn_more(struct mc_post *p); /* what comes of that */
/* ---- step.c: for the states of mux.c ---- */
/* Wait in this state; ms: 0 = without a timer. progress: the timer starts anew. MC_AGAIN or MC_ERROR. */
int mc_conn_wait(struct mc_conn *c, int64_t ms, bool progress);
/* As that for a body that comes or goes; moved: bytes since its client was called slow. */
int mc_conn_wait_moving(struct mc_conn *c, int64_t ms, bool progress, uint32_t *moved);
/* Nothing was promised to this client: it may be closed to make room. list: of the worker. */
void mc_conn_may_go(struct mc_conn *c, struct mc_link *list);
/* Send what is queued, then close, with lingering. MC_OK */
int mc_conn_end(struct mc_conn *c);
static inline bool mc_conn_closing(const struct mc_conn *c) { return c->session.close || c->broken; }

/* ---- rest.c ---- */
void mc_conn_rest_now(struct mc_conn *c); /* it is idle: its transport gives memory back */
/* Once a second: connections that have been idle since the last time give memory back, and so does the process when the crowd is gone. */
void mc_conn_rest(struct mc_worker *w);

/* ---- host.c ---- */
/* What the connections of a listener share. */
const struct mc_session_host *mc_host(struct mc_listener *l);

/* ---- request.c ---- */
struct mc_request *mc_request_new(struct mc_session *s);
void mc_request_free(struct mc_request *r);
/* Head complete: server, scheme, route, filters, handler, body mode and limits. A refusal becomes the request's handler (it answers when the body is
 * read), or, when the body must not be read, is answered now. MC_OK; MC_ERROR: answered, the connection closes; MC_AGAIN: a filter has not decided
 * yet (r->state is MC_REQ_ADMIT until it has, then MC_REQ_ADMITTED). */
int mc_request_route(struct mc_request *r);
/* r->error_page is set: find who answers with it; same returns. Its body counts as read. */
int mc_request_error(struct mc_request *r);
/* Go on after MC_AGAIN; same returns. */
int mc_request_admitted(struct mc_request *r);
/* The handler may start: give it to the worker module or run it here. */
void mc_request_dispatch(struct mc_request *r);
/* On the loop's thread: r, which is lent, may take as long as it likes from now on. */
void mc_request_untimed(struct mc_request *r);
/* Apply a handler's return value. */
void mc_request_result(struct mc_request *r, int rc);
/* Counters and access log of a response that has ended at `end` (us). */
void mc_request_account(struct mc_request *r, uint64_t end);
/* Response over (done or aborted): counters, access log, free. The connection is between requests afterwards. */
void mc_request_finish(struct mc_request *r);
static inline bool mc_request_over(const struct mc_request *r) { return r->resp.state >= MC_RESP_DONE; }
static inline bool mc_request_blocking(const struct mc_request *r) { return r->handler != NULL && (r->handler->needs & MC_NEED_BLOCKING) != 0; }
static inline const struct mc_values *mc_request_set(const struct mc_request *r)
{
    return r->route ? &r->route->set : &r->server->set;
}

/* ---- loan.c ---- */
enum { MC_LOAN_NONE, MC_LOAN_LENT, MC_LOAN_CALL /* inside the response or body API */, MC_LOAN_BACK /* the handler has ended */,
    MC_LOAN_REVOKED };
/* Round every call of the API by a borrower; nests. false: the loan is revoked, touch nothing but r itself. */
bool mc_loan_enter(struct mc_request *r);
void mc_loan_leave(struct mc_request *r);
/* On the loop: requests over request_timeout. Those of borrowers are revoked: 504 or a cut connection, and the worker asks to be replaced. */
void mc_loan_check(struct mc_worker *w);      /* each turn: borrowers */
void mc_loan_check_loop(struct mc_worker *w); /* once a second: loop handlers */
/* Until when (ms) r's handler may wait for its client: request_timeout, or send_timeout if that is sooner. 0: without end. */
uint64_t mc_loan_wait_until(const struct mc_request *r);
/* On the loop: the borrower has come back with a revoked request. */
void mc_loan_settle(struct mc_request *r);

/* ---- recycle.c ---- */
void mc_recycle_init(struct mc_worker *w);
void mc_recycle_check(struct mc_worker *w); /* once a second: age and size */

/* ---- body.c ---- */
/* Keep decoded body bytes. MC_OK or a status: 413, 500 (temp file). */
int mc_body_store(struct mc_request *r, struct mc_str data);
/* May the handler be given more now (streamed bodies)? */
bool mc_body_has_room(const struct mc_request *r);

/* ---- response.c ---- */
/* The end of the chain of filters: body bytes as they leave, the head before them. MC_OK or MC_ERROR. */
int mc_response_emit(struct mc_request *r, const void *p, size_t n, bool last);
/* On the loop: a piece of what waits for its filters; the end of the response with the last one, a cut when that fails. */
int mc_response_pump(struct mc_request *r);
/* Output is to be sent, kept or waited for, as the kind of the handler asks. Same returns as mc_response_write(). */
int mc_response_settle(struct mc_request *r);

/* ---- filter_body.c ---- */
/* Show the head to the filters of the route. n: body bytes at hand, all of them if `last`. Sets r->resp.run when one wants the body. MC_OK or MC_ERROR. */
int mc_filter_head(struct mc_request *r, size_t n, bool last);
/* Body bytes of the handler, or a range of a file, into the filters. What a loop handler gives faster than it can be filtered is kept and waits for
 * mc_filter_pump(). MC_OK, MC_AGAIN (some waits), MC_ERROR (also: the body is shorter than was promised). */
int mc_filter_write(struct mc_request *r, const void *p, size_t n, bool last);
int mc_filter_file(struct mc_request *r, struct mc_file *f, off_t off, off_t n);
/* What filters hold back is wanted now. */
int mc_filter_flush(struct mc_request *r);
/* On the loop: the next piece of what waits. MC_OK: there may be more, or the handler goes on; MC_DECLINED: that was the end; MC_ERROR: to be cut. */
int mc_filter_pump(struct mc_request *r);
bool mc_filter_waiting(const struct mc_request *r);
/* A stream has paused, and filters may hold back a part of it. */
bool mc_filter_holds(const struct mc_request *r);
/* The response begins anew. */
void mc_filter_reset(struct mc_request *r);

/* ---- page.c ---- */
/* Body of a plain error page; returns its length. Never contains text of the client. */
size_t mc_page_error(char *out, size_t cap, int status);

/* ---- errors.c ---- */
/* Read the pages of the servers of a pool. MC_OK or MC_ERROR (out of memory). */
int mc_errors_load(struct mc_conf *conf, const struct mc_conf_pool *pool);
/* The page for this status where r is, or NULL: the plain one. */
const struct mc_error_page *mc_errors_find(const struct mc_request *r, int status);
bool mc_errors_text(const struct mc_error_page *page, struct mc_str *text, struct mc_str *type); /* false: it is to be asked for */
int mc_errors_answer(const struct mc_error_page *page, int status); /* the status that goes with the text */
/* r->error_page is set: mc_request_error() goes on with it on the loop. */
void mc_errors_defer(struct mc_request *r, const struct mc_error_page *page, int status);
/* Make of r a GET of its page. MC_OK or a status. */
int mc_errors_restart(struct mc_request *r);

/* ---- facts.c ---- */
bool mc_facts_get(struct mc_request *r, enum mc_fact f, struct mc_str *out); /* r->fact of requests with a connection */

/* ---- forwarded.c (the rest is in forwarded.h) ---- */
/* https or not, as transport and (from trusted peers only) secure_scheme_headers say. MC_OK, or 400 when they contradict each other. */
int mc_forwarded_scheme(struct mc_request *r);

#endif
