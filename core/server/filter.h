/* Filters: what modules do to a request of a route before its handler, and to the response on its way out. Never block.
 * Which filters take part is settled once for each route when a worker starts; a route without any pays nothing. */
#ifndef MC_SERVER_FILTER_H
#define MC_SERVER_FILTER_H

#include "core/server/handler.h"

/* The order of access() calls, and of head() and body(): from the handler to the client. */
enum mc_filter_phase {
    MC_FILTER_ADDRESS, /* allow, deny */
    MC_FILTER_LIMIT,   /* rates and numbers of connections */
    MC_FILTER_AUTH,    /* who is it? */
    MC_FILTER_RANGE,   /* a part of the content */
    MC_FILTER_ENCODE,  /* gzip, br, zstd */
    MC_FILTER_HEADERS, /* the last word on header fields */
};

/* A filter at work in a route. */
struct mc_filter_use {
    const struct mc_filter_ops *ops;
    void *data; /* attach()'s */
};

struct mc_filter_ops {
    enum mc_filter_phase phase;
    /* At the start of a worker, for each route: does it take part there? Compile what it needs into *data (memory: conf->arena).
     * MC_OK: yes; MC_DECLINED: no; MC_ERROR: logged, the worker does not start. */
    int (*attach)(struct mc_conf *conf, const struct mc_conf_server *server, const struct mc_conf_route *route, void **data);
    /* Before the handler's prepare(), when nothing of the body has been read. MC_OK: go on; a status: refused (fields that were put into
     * r->refusal_fields go with the answer); MC_AGAIN: it will call mc_request_admit() when it knows. A request that comes to another route for which
     * attach() gave the same data is not asked again. May be NULL. */
    int (*access)(struct mc_request *r, void *data);
    /* r is over or given up; called once for each access() of r with these data, also for one that refused, or that said MC_AGAIN and has not called
     * mc_request_admit(). May be NULL. */
    void (*leave)(struct mc_request *r, void *data);
    /* Before the head is encoded: may change status, fields and length of r->resp. `last` with the whole body's length when it is known to be in hand,
     * else -1. MC_OK: body() is wanted, *state is given to it; MC_DECLINED: not. May be NULL. */
    int (*head)(struct mc_request *r, void *data, int64_t whole, void **state);
    /* Body bytes on their way out; gives what they become to mc_filter_next(), `last` exactly once. p NULL, n 0 and not last: what is held back is wanted now
     * (a flush); the call goes on to the next filter as it came, behind the bytes. On the loop, or on the thread of a blocking handler. Returns as
     * mc_response_write(). */
    int (*body)(struct mc_request *r, void *state, unsigned index, const void *p, size_t n, bool last);
};

/* For access() that said MC_AGAIN, later and on the loop: MC_OK or a status. */
void mc_request_admit(struct mc_request *r, int rc);
/* From body(): these bytes to the filter behind `index`, or out. MC_OK, MC_AGAIN (taken, pause), MC_ERROR. */
int mc_filter_next(struct mc_request *r, unsigned index, const void *p, size_t n, bool last);
/* ---- inside core/server ---- */
/* r->route is new, or a filter has decided: the access() of its filters that r has not passed yet. MC_OK, MC_AGAIN or a status. */
int mc_filter_access(struct mc_request *r);
/* r is over: the leave() of all filters whose access() was called. */
void mc_filter_leave(struct mc_request *r);
/* Fill filters of every route of the servers of a pool. MC_OK or MC_ERROR (logged). */
int mc_filter_attach(struct mc_conf *conf, const struct mc_conf_pool *pool);

#endif
