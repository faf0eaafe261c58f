/* The client engine: calls to upstreams over the worker's loop. Peers, connections kept alive, time-outs, retries, back-pressure in both directions.
 * What the bytes mean is a gateway's (http/gateway.h). Loop only; never blocks. Handlers that pass a request on use server/relay.h, which is made of calls.
 *
 * How to use it: fill a zeroed struct mc_call (policy, ops, owner, x: the request; memory that lives as long as the call, such as the arena of a request),
 * mc_call_start(), then wait for the ops. They are called from the loop only, never from within mc_call_start() or another mc_call_ function; each
 * may call mc_call_ functions; source(), replay() and prologue() also from mc_call_start(). done() or mc_call_cancel() is the end: after them the engine does not know the call any more. */
#ifndef MC_SERVER_UPSTREAM_H
#define MC_SERVER_UPSTREAM_H

#include "core/base/log.h"
#include "core/http/gateway.h"
#include "core/server/peers.h"

/* What went wrong with a try. */
enum mc_call_fault {
    MC_FAULT_NONE,
    MC_FAULT_CONNECT,  /* refused, unreachable, TLS handshake failed: not a byte of the request was sent */
    MC_FAULT_RESET,    /* broke before the reply was complete */
    MC_FAULT_STALE,    /* a kept connection ended before any byte of a reply: the peer had closed it meanwhile */
    MC_FAULT_REPLY,    /* not a reply that can be passed on */
    MC_FAULT_TIMEOUT,
    MC_FAULT_STATUS,   /* 502, 503 or 504 from the peer itself, and retry_on names it */
    MC_FAULT_NO_PEER,  /* nobody to ask */
    MC_FAULT_QUEUE,    /* a pool of this server has too much to do: not begun */
    MC_FAULT_INTERNAL, /* out of memory; the request's body failed */
};

enum { MC_RETRY_ERROR = 1, MC_RETRY_TIMEOUT = 2, MC_RETRY_502 = 4, MC_RETRY_503 = 8, MC_RETRY_504 = 16 };

/* How to call: settings, constant while calls run. */
struct mc_call_policy {
    const struct mc_conf_upstream *upstream;
    const struct mc_gateway_ops *gateway;
    const struct mc_transport_ops *transport; /* NULL: plain */
    const void *setup;               /* of the transport (TLS: what to verify); connections are shared among calls of the same gateway, transport and setup */
    int64_t connect_timeout, send_timeout, read_timeout; /* ms; 0: none */
    int64_t queue_timeout;           /* ms until a pool of this server must have begun to read; 0: none */
    int64_t tunnel_timeout;          /* ms without a byte in either direction */
    int64_t retries;                 /* further tries after the first */
    int64_t retry_timeout;           /* ms from the start; later no other try begins; 0: none */
    unsigned retry_on;               /* MC_RETRY_* */
    bool fresh;                      /* keep no connections, use none kept (PROXY protocol) */
    struct mc_str hello;             /* begins connections that are on nobody's behalf (health checks): a PROXY header; n == 0: none */
};

struct mc_call;
struct mc_up;

struct mc_call_ops {
    /* The request's body from offset `off` on, for calls whose x.length is not 0: > 0 bytes, 0 end, MC_AGAIN (mc_call_more() will tell), MC_ERROR. Offsets grow; they start
     * again at 0 for a retry, if replay says that nothing was dropped. In a tunnel: what the client sends, 0 is its half-close. */
    ssize_t (*source)(struct mc_call *c, int64_t off, void *p, size_t n);
    bool (*replay)(struct mc_call *c);  /* could the body be given again from 0? NULL: no, once any was taken */
    void (*prologue)(struct mc_call *c, struct mc_chain *out); /* bytes before the first request of a connection: PROXY protocol; or NULL */
    int (*interim)(struct mc_call *c);  /* c->x.reply is a 1xx. MC_OK, MC_ERROR: give up. NULL: dropped */
    int (*head)(struct mc_call *c);     /* c->x.reply is the reply's head (x.switched: 101, a tunnel begins). As interim */
    /* Body (or tunnel) bytes, gone afterwards. MC_OK; MC_AGAIN: taken, but no more before mc_call_resume(); MC_ERROR: give up. */
    int (*data)(struct mc_call *c, const char *p, size_t n);
    void (*half)(struct mc_call *c);    /* tunnels: the upstream will send no more */
    /* The end. status 0: the reply is complete, trailers in x.trailers; else 502, 503 or 504 (500: out of memory, the body failed) and the reason is logged; when
     * head() was called before, the reply is cut. Not after mc_call_cancel() or an MC_ERROR of yours. */
    void (*done)(struct mc_call *c, int status);
};

enum { MC_CALL_TRIED = 8 /* peers at most */ };

struct mc_call {
    /* the caller's */
    const struct mc_call_policy *policy;
    const struct mc_call_ops *ops;
    void *owner;
    struct mc_worker *worker;
    struct mc_exchange x;            /* the request's part filled */
    struct mc_peer_choice choice;    /* hash, sticky */
    struct mc_peer *only;            /* ask this one and no other (health checks); or NULL */
    bool quiet;                      /* log nothing (health checks) */
    /* for logs and variables */
    struct mc_peer *peer;            /* asked now or last */
    char peer_text[sizeof ((struct mc_peer *) 0)->text];
    enum mc_call_fault fault;        /* of the last try */
    unsigned tries;
    uint64_t started, connected, headed, ended; /* ms, loop clock; 0: not yet */
    /* the engine's */
    struct mc_up *up;
    struct mc_peers *peers;
    struct mc_peer_wait wait;
    struct mc_post post;
    const struct mc_peer *tried[MC_CALL_TRIED];
    unsigned ntried;
    int64_t offset;                  /* of the body, in this try */
    bool running, starting;
    bool paused;                     /* data() said MC_AGAIN */
    bool thirsty;                    /* source() said so */
    bool taken;                      /* source() gave something, in whichever try */
    bool body_done, wired /* a byte of the request was sent */, mute /* the peer does not read any more */, passed /* interim() or head() was called */, answered /* head() */;
    bool tunnel, up_ended, stale_before, progress;
    uint8_t phase;                   /* what the timer measures */
    int send_errno, late;            /* late: done()'s status, told by post */
};

/* Begin. MC_OK (all else comes through ops, failures too), MC_ERROR: out of memory. */
int mc_call_start(struct mc_call *c);
/* There is more of the body (or its end, or its failure). */
void mc_call_more(struct mc_call *c);
/* data() may be called again. */
void mc_call_resume(struct mc_call *c);
/* Nobody wants the reply any more: the connection is closed. Harmless when the call is over or was never started. */
void mc_call_cancel(struct mc_call *c);
/* Something for the error log: what was wrong, and what comes of it. */
void mc_call_tell(const struct mc_call *c, enum mc_log_level level, const char *what, const char *then);
static inline bool mc_call_running(const struct mc_call *c) { return c->running; }

/* ---- retries, as a pure function ---- */
struct mc_retry {
    enum mc_call_fault fault;
    int status;           /* MC_FAULT_STATUS: which */
    unsigned on;          /* MC_RETRY_* */
    bool tries_left, in_time;
    bool idempotent;      /* RFC 9110 §9.2.2 */
    bool wired, passed, replayable;
    bool stale_before;    /* this call met a stale connection already */
};
enum mc_retry_how { MC_RETRY_NO, MC_RETRY_NEXT /* another peer */, MC_RETRY_FRESH /* the same one, on a new connection; free of charge */ };
enum mc_retry_how mc_call_retry(const struct mc_retry *q);
bool mc_call_idempotent(struct mc_str method);

/* ---- for peers.c ---- */
/* Close the kept connections of a peer; call it before a peer's memory goes away (its `active` being 0). */
void mc_upstream_forget(struct mc_peer *p);
/* Close all kept connections of a worker (drain, exit). */
void mc_upstream_close_idle(struct mc_worker *w);

#endif
