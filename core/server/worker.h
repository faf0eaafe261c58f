/* The worker process: its loop, listeners and connections, and how it executes blocking handlers. */
#ifndef MC_SERVER_WORKER_H
#define MC_SERVER_WORKER_H

#include "core/base/list.h"
#include "core/base/log.h"
#include "core/config/conf.h"
#include "core/event/loop.h"
#include "core/http/protocol.h"
#include "core/server/slot.h"

#include <pthread.h>
#include <stdatomic.h>

struct mc_worker;
struct mc_access;
struct mc_hops;

enum {
    MC_CAP_BLOCKING = 1,  /* takes blocking handlers */
    MC_CAP_KEEPALIVE = 2, /* keep-alive unless told otherwise */
    MC_CAP_THREADS = 4,   /* runs handlers on threads of its own: has serve(), and the loop runs without the interpreter's lock */
};

struct mc_worker_ops {
    const char *name;
    unsigned caps;
    int (*start)(struct mc_worker *w);
    /* Blocking requests that could start now. Nothing is accepted while as many wait already. */
    unsigned (*room)(struct mc_worker *w);
    /* Take a ready request: mc_request_run(r) at once, or mc_request_lend(r) and later mc_request_return(r). NULL with serve(): requests wait in
     * w->ready for it. */
    void (*run)(struct mc_request *r);
    /* In place of the plain loop of mc_worker_run(), until w->stopped: turns the loop, takes requests with mc_worker_next(), and for each calls
     * mc_request_lend(), mc_request_execute() (on any thread) and mc_request_return(). NULL: the plain loop. May wait. */
    void (*serve)(struct mc_worker *w);
    /* From inside a blocking handler: wait until the connection is readable/writable (MC_WANT_*) or deadline (ms, loop clock; 0: none). May wait.
     * MC_OK, MC_AGAIN (deadline passed), MC_ERROR (client gone, stop). */
    int (*wait)(struct mc_request *r, unsigned what, uint64_t deadline);
    void (*wake)(struct mc_request *r);
    void (*stop)(struct mc_worker *w);
    /* As wait(), for a descriptor of the app's own (-1: none, only the time passes). NULL: a plain poll of the calling thread. */
    int (*wait_fd)(struct mc_request *r, int fd, unsigned what, uint64_t deadline);
    /* From inside a blocking handler: fn(args[i]) for each, at the same time; returns when all have returned. NULL: one after the other. May wait. */
    void (*together)(struct mc_request *r, void (*fn)(void *), void *const *args, size_t n);
};

struct mc_listener {
    struct mc_io io;
    struct mc_worker *worker;
    const struct mc_conf_listen *conf;
    const struct mc_transport_ops *transport;
    const struct mc_protocol_ops *protocol;
    struct mc_session_host host; /* host.set NULL: no connection yet */
    unsigned nopening; /* connections in their handshake */
    struct mc_addr addr; /* where it is really bound */
    bool watched, done; /* done: closed while draining */
    bool extra;         /* only to be emptied: mc_worker_empty() */
    uint64_t last_accept;
    unsigned long events; /* of the loop, when it was its turn last */
    bool shared;        /* others serve it, too: mc_worker_share() */
    bool lone;          /* nobody else serves it any more: when this worker leaves, it serves the queue first */
};

enum { MC_WORKER_EXTRAS = 4 };

struct mc_worker {
    uint32_t magic;
    const struct mc_conf *conf;
    const struct mc_conf_pool *pool;
    const struct mc_worker_ops *ops; /* the worker type's, or what an interpreter's hub has put in their place */
    const struct mc_protocol_ops *http1;
    const struct mc_protocol_ops *mux; /* whose connections carry streams; NULL: this build has none */
    pthread_mutex_t mux_lock;  /* mux.c: pipes of streams that are lent */
    struct mc_link mux_posted; /* under mux_lock: streams that borrowers have written to */
    _Atomic bool mux_news;     /* there are some */
    struct mc_slot *slot;      /* never NULL (a private one in tests) */
    const struct mc_slot *slots; /* the whole scoreboard; NULL in tests */
    unsigned nslots;
    unsigned share;              /* up to so many connections this worker need not ask whether others have fewer; asked again each second */
    struct mc_loop loop;
    struct mc_listener *listeners;
    size_t nlisteners;
    struct mc_link conns;      /* all connections */
    struct mc_link again;      /* connections that go on at the end of the turn… */
    struct mc_post more;       /* …with this */
    struct mc_link idle;       /* connections between requests, oldest first */
    struct mc_link opening;    /* those in their handshake, oldest first */
    struct mc_link heads;      /* those with a part of a head, oldest first */
    struct mc_link hop_idle;   /* kept connections from fronts (hop.h), those that have waited longest first */
    unsigned nhop, nhop_idle, nhop_fresh; /* nhop: all of them; nhop_fresh: accepted, and the first request is still to run */
    struct mc_hops *hops;      /* other pools, as this worker asks them; NULL: none */
    unsigned nconns, nidle, nqueued; /* nidle: in one of these lists, so they may go when newcomers need their place */
    struct mc_link ready;      /* requests that wait for the worker module */
    struct mc_link running;    /* those in their handlers, oldest first */
    unsigned nrunning;
    struct mc_access *access;  /* NULL: no access log */
    struct mc_link upstreams;  /* struct mc_peers */
    struct mc_link resolvers;  /* names.c */
    uint64_t moves_seen, moves_given; /* rest.c: connections that came and went, until the last second; until memory was given back */
    struct mc_timer tick;      /* once a second: date, heartbeat, access log flush */
    struct mc_post dispatch;
    char dates[4][32];         /* by turns, because a handler on another thread may still be reading the one before */
    _Atomic(const char *) date;
    const struct mc_handler_ops **handlers; /* of each app, in the order of conf->apps */
    bool loop_only;            /* no app of this pool blocks */
    _Atomic bool draining, stopped;
    bool hops_stay;            /* draining, but still there for the other pools' workers */
    void (*no_clients)(void);  /* tell that nobody else is left here; NULL: nobody wants to know */
    bool told_no_clients;
    _Atomic bool asked;        /* mc_worker_ask_retire() */
    uint64_t drain_start, drain_deadline, last_accept, rest_until;
    struct mc_timer drain_timer, rest_timer;
    struct mc_post changed;
    bool fast;                 /* the last app call was short: run the next one as soon as it is ready */
    bool door;                 /* open to a few newcomers although requests wait here */
    bool shut;                 /* some listener is not watched, for want of room */
    unsigned turns;            /* requests that have ended while it was shut and others waited: as many newcomers may come in */
    uint64_t door_at;          /* ms, when they last could */
    long date_second;
    struct mc_secure { struct mc_str name, value; uint32_t hash; } *secure; /* secure_scheme_headers, parsed */
    size_t nsecure;
    uint64_t secure_bits;      /* the bits hash % 64 of their names: most fields are none of them */
    int64_t keepalive;         /* ms, resolved for this worker type */
    /* The lock of an interpreter, for the calling thread; NULL: there is none. spawn: a thread that the interpreter knows. */
    void (*release)(void);
    void (*acquire)(void);
    int (*spawn)(void (*fn)(void *), void *arg, unsigned number);
    void (*visit)(struct mc_worker *w); /* by the process's first thread, once a second while others serve: signal handlers of the app, lock_beat */
    _Atomic uint64_t lock_beat; /* ms when that lock was last to be had; 0: nobody looks. A loop without it must not hide an app that keeps it */
    void (*interrupted)(struct mc_worker *w); /* before a stop in which requests are cut; NULL: nobody wants to know */
    void (*dump)(struct mc_request *r); /* stack of a request that is stuck, to the error log; NULL: backtrace of its thread */
    unsigned nstuck;           /* revoked requests whose threads have not come back */
    unsigned left_behind;      /* threads that are inside handlers still, when all else has ended: nothing of theirs may be freed */
    uint64_t opened, measured; /* ms */
    uint64_t retire_requests;  /* recycle at this count; 0: never */
    void (*recycle)(const char *why); /* ask the arbiter for a successor; NULL: leave at once */
    bool recycling;            /* asked already */
    char failure[240];         /* why it could not be opened, in one line, if somebody knows */
    /* In place of the plain loop of mc_worker_run(), until w->stopped: an interpreter's event loop, which turns ours; NULL: none. May wait. */
    void (*drive)(struct mc_worker *w);
    unsigned nbehind;          /* work that goes on behind responses: a drain waits for it as for connections */
    uint64_t reserve;          /* ms of graceful_timeout that requests do not get: the end of the apps needs them */
    void *data;                /* the worker module's */
    void *python;              /* modules/python's */
};

/* Load the apps of a pool as its workers will, and look whether they can: for --check-config, in a process that ends after it. */
int mc_worker_check(const struct mc_conf *conf, const struct mc_conf_pool *pool);

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
/* With a listener for other pools' workers (hop.h) it goes on serving those until this is called: they have gone. */
void mc_worker_end_hops(struct mc_worker *w);
/* The same from any thread, as soon as the loop turns. */
void mc_worker_ask_retire(struct mc_worker *w);
/* This worker is to be replaced (why: one phrase for the log). It serves on until its successor is ready. */
void mc_worker_recycle(struct mc_worker *w, const char *why);
/* A listener by its index in conf->listens belongs to others, too, or no longer: its queue is left to them when this worker leaves. */
void mc_worker_share(struct mc_worker *w, unsigned index, bool shared);
/* A further socket of a listener, which becomes this worker's: accepted from until nothing came for a while, then closed. shared: as above. */
void mc_worker_empty(struct mc_worker *w, unsigned index, int fd, bool shared);
void mc_worker_empty_tick(struct mc_worker *w);
/* Leave the queue to the other workers: stop accepting now, then as drain. Also turns a drain into this. */
void mc_worker_retire(struct mc_worker *w);
/* Stop now: requests in flight are cut. */
void mc_worker_stop(struct mc_worker *w);
void mc_worker_close(struct mc_worker *w);

/* ---- inside core/server ---- */
bool mc_worker_has_room(const struct mc_worker *w, const struct mc_listener *l); /* for one more connection of l */
bool mc_worker_shed(struct mc_worker *w);            /* close the oldest idle connection, or else half head; false: there is none */
/* It has more than its share of the connections: others are to accept. */
bool mc_worker_is_ahead(struct mc_worker *w, const struct mc_listener *l);
/* After an accept, which is then some other worker's turn if this one is ahead. */
void mc_worker_make_way(struct mc_worker *w, struct mc_listener *l);
void mc_worker_rest(struct mc_worker *w, unsigned ms); /* accept nothing for a moment */
void mc_worker_listen_failed(struct mc_listener *l, int err); /* accept() or the watch: report it; leave when the listener is lost */
void mc_worker_changed(struct mc_worker *w);         /* room, connections or queue changed: adjust listeners and drain, at the end of the turn */
void mc_worker_moved(struct mc_worker *w);           /* a request was queued or has ended: the same, where that makes a difference */
void mc_worker_queue(struct mc_worker *w, struct mc_request *r); /* r is ready for the worker module */
void mc_worker_clock(struct mc_worker *w);           /* refresh date and heartbeat */

/* apps.c */
/* Fill w->handlers and w->loop_only. MC_OK or an exit code: an app cannot be loaded, or blocks where nothing may (logged). */
int mc_worker_load_apps(struct mc_worker *w);

/* drain.c */
void mc_worker_drain_tick(struct mc_timer *t);
void mc_worker_close_listener(struct mc_listener *l);

/* Draining, for this kind of connection. */
static inline bool mc_worker_leaves(const struct mc_worker *w, bool inner) { return w->draining && !(inner && w->hops_stay); }
static inline const char *mc_worker_date(struct mc_worker *w) { return atomic_load_explicit(&w->date, memory_order_acquire); }

/* ---- for worker modules ---- */
/* Run r's handler to its end here, on the loop's thread; what follows is the caller's (mc_conn_step). lend + execute + unlend. */
void mc_request_run(struct mc_request *r);
/* The next request that may start now, or NULL. */
struct mc_request *mc_worker_next(struct mc_worker *w);
void mc_request_lend(struct mc_request *r);    /* on the loop: its connection now belongs to whoever executes it */
void mc_request_execute(struct mc_request *r); /* on any thread: the handler, to its end */
void mc_request_unlend(struct mc_request *r);  /* on the loop */
void mc_request_return(struct mc_request *r);  /* on the loop: unlend and go on with the connection. May free r */
void mc_worker_backtrace(void);                /* the caller's stack, to the error log */
/* One turn of the loop and the worker's own housekeeping. wait: false = look only. May sleep. */
void mc_worker_turn(struct mc_worker *w, bool wait);
/* The same; waits for at most `ms` (-1: as long as the loop likes). */
void mc_worker_turn_for(struct mc_worker *w, int ms);

/* ---- for handlers ---- */
/* From inside a blocking handler: wait for a descriptor of the app's own, whatever the worker type; contract as wait_fd() above. May wait. */
int mc_worker_wait_fd(struct mc_request *r, int fd, unsigned what, uint64_t deadline);
/* The same for mc_worker_ops.together. May wait. */
void mc_worker_together(struct mc_request *r, void (*fn)(void *), void *const *args, size_t n);

#endif
