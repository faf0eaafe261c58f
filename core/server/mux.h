/* Connections that carry streams (HTTP/2). A stream is a connection like any other, with states, timers, loans and buffers of its own; only that its bytes go
 * through a pipe to the carrier's codec instead of a socket. The carrier's socket and codec belong to the loop; a thread or coroutine that has a stream's
 * connection on loan fills the pipe and tells the loop. Private to core/server. */
#ifndef MC_SERVER_MUX_H
#define MC_SERVER_MUX_H

#include "core/server/conn.h"
#include "core/server/engine.h"

enum {
    MC_MUX_PIPE = 65536,      /* memory that a stream may have between its own queue and the codec: as much as a socket would take */
    MC_MUX_PIPE_LOW = 32768,  /* from here on a handler that waits goes on */
    MC_MUX_OUT = 131072,      /* encoded bytes that a carrier holds for its socket; what is not encoded can still be overtaken by what is more urgent */
    MC_MUX_OUT_LOW = 65536,
    MC_MUX_NOTICE_MS = 1000,  /* between the notice of the end and the end of taking new streams */
};

/* Of a carrier. */
struct mc_mux {
    struct mc_link streams; /* all, oldest first */
    struct mc_link ready;   /* those whose connections have to look at something */
    unsigned nstreams;
    uint8_t wait;           /* what it waits for, enum in mux.c */
    uint8_t leaving;        /* 1: the peer knows that the end is near; 2: no more streams begin */
    bool stepping;          /* mc_mux_step() is at work: it looks after all output itself */
    bool work;              /* output() has something to do */
    bool over;              /* the codec reads no more */
    bool lost;              /* no more I/O; it is closed when the last stream has come back from its handler */
};

/* A stream. What stands under the lock of the worker's mux is shared with the borrower. */
struct mc_mux_stream {
    struct mc_conn conn;
    struct mc_conn *carrier;
    struct mc_link link, ready;
    struct mc_link posted;  /* lock: in the worker's list */
    struct mc_chain pipe;   /* lock: written by a borrower, for the codec */
    off_t held;             /* lock: bytes in the pipe and in the codec */
    bool cut;               /* lock: the peer is gone: nothing more is taken */
    bool waiting;           /* lock: a handler waits for room */
    bool shared;            /* its connection has been lent: there is something to lock */
};

static inline struct mc_mux_stream *mc_mux_stream_of(struct mc_conn *c) { return mc_container(c, struct mc_mux_stream, conn); }

/* The codec of the connection's bytes carries streams: from now on it is a carrier. MC_OK or MC_ERROR (out of memory). */
int mc_mux_begin(struct mc_conn *c, const struct mc_protocol_ops *ops);
/* Which codec do the bytes ask for? After the handshake (ALPN), or by the first bytes in c's input: MC_OK: *ops, or NULL for that which it has;
 * MC_AGAIN: more bytes. */
int mc_mux_choose(struct mc_conn *c, const struct mc_protocol_ops **ops);
/* The state function of MC_CONN_CARRY. */
int mc_mux_step(struct mc_conn *c);
/* The timer of a carrier ran out: say farewell, or close. May free c. */
void mc_mux_expire(struct mc_conn *c);
/* Begin to leave, if it has not begun already: no stream is lost. c may be any connection. */
void mc_mux_leave(struct mc_conn *c);
/* Has it streams that are lent out, so that it cannot be closed now? */
bool mc_mux_busy(const struct mc_conn *c);
/* Into the log: the client of a carrier or a stream takes nothing. */
void mc_mux_stalled(struct mc_conn *c);
/* Part of closing a carrier: its streams are closed (none is lent), and the peer is told if possible. */
void mc_mux_close(struct mc_conn *c);
/* Part of closing a stream's connection. */
void mc_mux_close_stream(struct mc_mux_stream *st);

/* mc_conn_flush() of a stream: all that the pipe has room for. MC_OK: all of it has been encoded; MC_AGAIN; MC_ERROR: the peer is gone. */
int mc_mux_flush(struct mc_conn *c);
/* For a blocking handler: wait until the pipe has room; as worker.wait. May wait. */
int mc_mux_wait(struct mc_request *r, uint64_t deadline);
/* On the loop, each turn: what borrowers have written. */
void mc_mux_collect(struct mc_worker *w);
void mc_mux_init(struct mc_worker *w);
void mc_mux_fini(struct mc_worker *w);

/* ---- between mux.c and mux_stream.c */
static inline const struct mc_mux_ops *mc_mux_codec(const struct mc_conn *carrier) { return carrier->session.ops->mux; }
/* Come back to the carrier, unless it is at work. */
static inline void mc_mux_soon(struct mc_conn *carrier)
{
    if (!carrier->mux->stepping) {
        mc_conn_again(carrier);
    }
}
/* Encode and send. MC_OK: nothing is left; MC_AGAIN: the socket is full; MC_ERROR. */
int mc_mux_pump(struct mc_conn *carrier);
/* Read, and give it to the codec. MC_OK: something has come; MC_AGAIN; MC_ERROR: the end. */
int mc_mux_read(struct mc_conn *carrier);
/* For the carrier's session (struct mc_session_host). */
void mc_mux_blame(struct mc_session *carrier, enum mc_log_level level, struct mc_log_limit *limit, const char *why);
struct mc_session *mc_mux_stream_new(struct mc_session *carrier);
void mc_mux_stream_news(struct mc_session *stream, enum mc_stream_news what, size_t n);
/* Nobody is there any more for whom st could write. */
void mc_mux_cut(struct mc_mux_stream *st);

#endif
