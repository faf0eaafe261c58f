/* The seams between upstream.c (calls and their tries), upstream_flow.c (bytes of a try) and upstream_conn.c (sockets, the pool). Private to these three. */
#ifndef MC_SERVER_UP_H
#define MC_SERVER_UP_H

#include "core/base/log.h"
#include "core/server/transport.h"
#include "core/server/upstream.h"

enum { MC_UP_HIGH = 131072, MC_UP_LOW = 32768 /* bytes of a request that wait to be sent: its body is asked for below the second mark */ };

enum mc_up_state { MC_UP_CONNECTING, MC_UP_OPENING /* the transport's handshake */, MC_UP_BUSY, MC_UP_IDLE };

struct mc_up {
    uint32_t magic;
    enum mc_up_state state;
    struct mc_worker *worker;
    struct mc_peers *peers;
    struct mc_peer *peer;
    const struct mc_gateway_ops *gateway;
    struct mc_call *call;  /* BUSY and before: whose */
    struct mc_io io;
    struct mc_timer timer;
    struct mc_stream stream;
    struct mc_link link;   /* IDLE: in peer->idle */
    struct mc_chain out;
    char *in;              /* [pos, len) is unread; NULL while nothing is */
    size_t pos, len, cap;
    bool eof;
    bool reused;           /* served a call before this one */
    bool replied;          /* bytes came in this call */
    bool blocked;          /* the socket took no more */
    bool heard;            /* of this call, the other side has begun to read */
    unsigned requests;
};

/* What calls do when a connection moves. */
void mc_up_on_io(struct mc_up *u);    /* BUSY and before */
void mc_up_on_timer(struct mc_up *u);

/* A kept connection, or NULL. */
struct mc_up *mc_up_reuse(struct mc_worker *w, struct mc_peers *set, struct mc_peer *p, const struct mc_call_policy *how);
/* A new one, connecting. NULL with errno. */
struct mc_up *mc_up_connect(struct mc_worker *w, struct mc_peers *set, struct mc_peer *p, const struct mc_call_policy *how);
/* As far as it goes: MC_OK (ready for requests), MC_AGAIN, MC_ERROR with errno (0: the handshake). */
int mc_up_open(struct mc_up *u);
int mc_up_watch(struct mc_up *u);
ssize_t mc_up_fill(struct mc_up *u);  /* > 0, 0 end of stream, MC_AGAIN, MC_ERROR with errno */
int mc_up_flush(struct mc_up *u);     /* MC_OK (all out), MC_AGAIN, MC_ERROR with errno */
void mc_up_set_timer(struct mc_up *u, int64_t ms); /* 0: none */
/* The call is over and nothing is left over: into the pool, if it may be kept. */
void mc_up_keep(struct mc_up *u, const struct mc_call_policy *how);
void mc_up_close(struct mc_up *u);

/* ---- upstream_flow.c ---- */
/* Encode the request's head. MC_OK, or MC_ERROR: the call has moved on. */
int mc_call_begin(struct mc_call *c);
/* Send what can be sent. As mc_call_begin(). */
int mc_call_send(struct mc_call *c);
/* Wait for the connection, under the timer of what is going on. */
void mc_call_park(struct mc_call *c);
/* As far as it goes. */
void mc_call_go(struct mc_call *c);

/* ---- upstream.c: the call moves on; c->up is another one afterwards, or none, and the call may be over ---- */
void mc_call_failed(struct mc_call *c, enum mc_call_fault fault, const char *what);
void mc_call_fail(struct mc_call *c, enum mc_call_fault fault, const char *fmt, ...) MC_PRINTF(3, 4);
/* A reply with a status that retry_on names: true: another peer is asked now. */
bool mc_call_try_another(struct mc_call *c);
/* Close the connection, if there is one; the peer is told how it went. */
void mc_call_drop(struct mc_call *c, enum mc_peer_result how);
void mc_call_let_go(struct mc_call *c, enum mc_peer_result how); /* the peer only */
void mc_call_finish(struct mc_call *c, int status);              /* done() */
void mc_call_give_up(struct mc_call *c);                         /* one of the caller's ops wants no more */

#endif
