/* The worker process: its loop, listeners and connections, and how it executes blocking handlers. */
#ifndef MC_SERVER_WORKER_H
#define MC_SERVER_WORKER_H

#include "core/base/list.h"
#include "core/base/log.h"
#include "core/config/conf.h"
#include "core/event/loop.h"
#include "core/http/request.h"
#include "core/server/slot.h"

struct mc_worker;
struct mc_access;

enum { MC_CAP_BLOCKING = 1 /* takes blocking handlers */, MC_CAP_KEEPALIVE = 2 /* keep-alive unless told otherwise */ };

struct mc_worker_ops {
    const char *name;
    unsigned caps;
    int (*start)(struct mc_worker *w);
    /* Blocking requests that could start now. Nothing is accepted while as many wait already. */
    unsigned (*room)(struct mc_worker *w);
    /* Take a ready request (r->link is free for the module). It calls mc_request_run(r) when and where it likes. */
    void (*run)(struct mc_request *r);
    /* From inside a blocking handler: wait until the connection is readable/writable (MC_WANT_*) or deadline (ms, loop clock; 0: none). May wait.
     * MC_OK, MC_AGAIN (deadline passed), MC_ERROR (client gone, stop). */
    int (*wait)(struct mc_request *r, unsigned what, uint64_t deadline);
    void (*wake)(struct mc_request *r);
    void (*stop)(struct mc_worker *w);
};

struct mc_listener {
    struct mc_io io;
    struct mc_worker *worker;
    const struct mc_conf_listen *conf;
    bool watched, done; /* done: closed while draining */
};

struct mc_worker {
    uint32_t magic;
    const struct mc_conf *conf;
    const struct mc_conf_pool *pool;
    const struct mc_worker_ops *ops;
    const struct mc_protocol_ops *http1;
    struct mc_slot *slot;      /* never NULL (a private one in tests) */
    struct mc_loop loop;
    struct mc_listener *listeners;
    size_t nlisteners;
    struct mc_link conns;      /* all connections */
    struct mc_link idle;       /* connections between requests, oldest first */
    struct mc_link heads;      /* those with a part of a head, oldest first */
    unsigned nconns, nidle, nqueued; /* nidle: in one of these lists, so they may go when newcomers need their place */
    struct mc_link ready;      /* requests that wait for the worker module */
    struct mc_access *access;  /* NULL: no access log */
    struct mc_timer tick;      /* once a second: date, heartbeat, access log flush */
    struct mc_post dispatch;
    char date[32];
    bool loop_only;            /* no app of this pool blocks */
    bool draining, stopped;
    uint64_t drain_start, drain_deadline, last_accept, rest_until;
    struct mc_timer drain_timer, rest_timer;
    struct mc_post changed;
    bool fast;                 /* the last app call was short: run the next one as soon as it is ready */
    long date_second;
    struct mc_secure { struct mc_str name, value; uint32_t hash; } *secure; /* secure_scheme_headers, parsed */
    size_t nsecure;
    int64_t keepalive;         /* ms, resolved for this worker type */
    void *data;                /* the worker module's */
    void *python;              /* modules/python's */
};

/* The one worker of this process (NULL in the arbiter). For modules that are called without context (Python callbacks). */
extern struct mc_worker *mc_worker_current;

/* Open loop and modules (init_worker of each), prepare listeners on these inherited fds (conf->listens order; those of other pools are ignored).
 * MC_OK, or a positive exit code (MC_EXIT_*), already logged. */
int mc_worker_open(struct mc_worker *w, const struct mc_conf *conf, const struct mc_conf_pool *pool, struct mc_slot *slot, const int *listen_fds);
/* Start accepting. */
int mc_worker_listen(struct mc_worker *w);
/* Until stopped: mc_loop_turn and what is ready. May sleep. */
void mc_worker_run(struct mc_worker *w);
/* Stop accepting once the queue is empty (accept until EAGAIN, then close), finish requests, close idle connections; then w->stopped.
 * After graceful_timeout what is left is cut. */
void mc_worker_drain(struct mc_worker *w);
/* Leave the queue to the other workers: stop accepting now, then as drain. Also turns a drain into this. */
void mc_worker_retire(struct mc_worker *w);
/* Stop now: requests in flight are cut. */
void mc_worker_stop(struct mc_worker *w);
void mc_worker_close(struct mc_worker *w);

/* ---- inside core/server ---- */
bool mc_worker_has_room(const struct mc_worker *w);
bool mc_worker_shed(struct mc_worker *w);            /* close the oldest idle connection, or else half head; false: there is none */
void mc_worker_rest(struct mc_worker *w, unsigned ms); /* accept nothing for a moment */
void mc_worker_listen_failed(struct mc_listener *l, int err); /* accept() or the watch: report it; leave when the listener is lost */
void mc_worker_changed(struct mc_worker *w);         /* room, connections or queue changed: adjust listeners and drain, at the end of the turn */
void mc_worker_queue(struct mc_worker *w, struct mc_request *r); /* r is ready for the worker module */
void mc_worker_clock(struct mc_worker *w);           /* refresh date and heartbeat */

/* drain.c */
void mc_worker_drain_tick(struct mc_timer *t);
void mc_worker_close_listener(struct mc_listener *l);

/* ---- for worker modules ---- */
/* Run r's handler to its end here (blocking handlers) and hand the connection back to the loop. */
void mc_request_run(struct mc_request *r);

#endif
