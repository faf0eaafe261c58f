/* A client connection: transport, session, timers. Owned by the loop; a worker module may borrow the request that runs on it. */
#ifndef MC_SERVER_CONN_H
#define MC_SERVER_CONN_H

#include "core/event/loop.h"
#include "core/http/protocol.h"
#include "core/os/socket.h"
#include "core/server/handler.h"
#include "core/server/transport.h"
#include "core/server/worker.h"

enum mc_conn_state {
    MC_CONN_OPEN,   /* transport handshake */
    MC_CONN_IDLE,   /* between requests, no byte of the next one */
    MC_CONN_HEAD,   /* a head has begun */
    MC_CONN_BODY,   /* a body is arriving */
    MC_CONN_RUN,    /* a handler is at work */
    MC_CONN_WRITE,  /* response complete, output waits for the client */
    MC_CONN_LINGER, /* closing: discard input for a bounded time */
    MC_CONN_CARRY,  /* it carries streams, each with a connection of its own (mux.h) */
    MC_CONN_STATES
};

struct mc_mux_stream;

/* What each request touches comes first. Idle ones are many: an idle connection is this struct, and a place in the heap of timers. */
struct mc_conn {
    uint32_t magic;
    uint8_t state;
    bool lent;         /* a blocking handler runs its request (DESIGN 3.3): set and cleared by the loop, read by the borrower */
    uint8_t lent_ready; /* the borrower's MC_WANT_WRITE, so that it shares no byte with the loop */
    bool broken;       /* the client is gone: no more I/O */
    bool progress;     /* bytes went out since the last wait for room */
    uint8_t parked;    /* it waits in this state: 1 without a timer, 2 with one; 0: not yet */
    uint8_t resting;   /* seconds of idleness seen so far, at most 2: then its memory was given back */
    bool stream_only;  /* it is a stream of another connection (mc_mux_stream_of()); else it has a socket */
    bool linger;       /* the client may still be sending: discard for a while before closing */
    bool lingering : 1; /* our side is shut down */
    bool proxy_done : 1; /* no PROXY header is to come any more */
    bool fresh : 1;    /* from a front (server/hop.h): no request of its own has begun to run */
    bool nudged : 1;   /* from a front: it was asked to close */
    uint8_t peer_text_len;
    uint32_t requests;
    uint32_t moved_in;          /* bytes since slow_since, counted up to MC_RATE_BYTES */
    struct mc_worker *worker;
    struct mc_request *request; /* HTTP/1: the one being handled */
    struct mc_io io;
    struct mc_stream stream;
    struct mc_session session;
    struct mc_timer timer;
    uint64_t sent;              /* bytes that the scoreboard does not know yet */
    uint32_t moved_out;         /* as moved_in; when it lingers: bytes still to discard */
    uint32_t slow_since;        /* ms, the lower bits; so long has the client been slow in this wait */
    struct mc_link idle_link;
    const struct mc_listener *listener;
    struct mc_link link;
    struct mc_link again;       /* more to do, but others first */
    char *peer_text;            /* filled on demand */
    struct mc_proxied *proxied; /* what a PROXY header said; NULL: there was none */
    struct mc_mux *mux;         /* its streams (mux.h); NULL: it carries none */
    struct mc_file *spool;      /* unlinked temp file of the output */
    unsigned orphans;           /* revoked requests and streams that still point here: the struct stays until they are gone */
    union mc_sockaddr peer;
};

/* Accept from a listener until EAGAIN, `max` connections, or no room. */
void mc_conn_accept(struct mc_listener *l, unsigned max);
/* Take over an accepted socket. NULL (socket closed) when out of memory. */
struct mc_conn *mc_conn_open(struct mc_worker *w, const struct mc_listener *l, int fd, const union mc_sockaddr *peer, const struct mc_transport_ops *t);
/* A stream of `carrier` becomes a connection: st->conn is filled in. Its session's ops are the caller's. */
void mc_conn_open_stream(struct mc_mux_stream *st, struct mc_conn *carrier);
/* The loop's entry: read, parse, start handlers, write, until it must wait. May free c. */
void mc_conn_step(struct mc_conn *c);
/* Write what is queued. MC_OK (all out), MC_AGAIN, MC_ERROR (broken). Never calls a handler. */
int mc_conn_flush(struct mc_conn *c);
/* The timer of the present state ran out: 408, close, or one more look at an idle connection. May free c. */
void mc_conn_expire(struct mc_conn *c);
void mc_conn_close(struct mc_conn *c); /* now; frees c */
void mc_conn_release(struct mc_conn *c); /* one orphan less; frees a closed c with the last */
struct mc_str mc_conn_peer(struct mc_conn *c); /* its address as text; "" for unix sockets (and when out of memory) */
void mc_conn_forget_peer(struct mc_conn *c);   /* the text: it is made again when somebody asks */
/* Local port text and name for SERVER_PORT/SERVER_NAME come from listener->conf->addr. */

const char *mc_conn_state_name(unsigned state);

#endif
