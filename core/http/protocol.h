/* Protocols: pure codecs between bytes and requests. No fd, no clock. A session may carry many streams (requests). */
#ifndef MC_HTTP_PROTOCOL_H
#define MC_HTTP_PROTOCOL_H

#include "core/base/log.h"
#include "core/http/head.h"
#include "core/http/request.h"

/* Input bytes of a connection: [pos, len) of data is unread. data is a MC_BLOCK_LARGE block, or a larger malloc'ed piece while a long
 * head is incomplete, or NULL (idle connections hold none). Slices of a parsed head point into its first `keep` bytes, which must neither move
 * nor be overwritten while the session's request lives; keep is 0 otherwise. To make room the server may, between two calls of input(), move
 * [pos, len) down to keep (pos = keep); with keep == 0 it may also move all to another piece of memory, or free data when pos == len. Once a
 * head is complete the codec leaves at least MC_INBUF_ROOM bytes between keep and cap (a longer head is copied to the request's arena, and so is
 * one that asks for a tunnel). */
enum { MC_INBUF_ROOM = 4096 };
struct mc_inbuf {
    char *data;
    uint32_t pos, len, cap;
    uint32_t keep; /* set by the codec: leading bytes that must stay where they are */
    bool eof;      /* the peer will send no more */
};

/* What the codec of a carrier tells of one of its streams. Nothing is called back from inside: the server looks after it when the codec has returned. */
enum mc_stream_news {
    MC_STREAM_INPUT, /* there is something for its input(); n: body bytes that came */
    MC_STREAM_TAKEN, /* n of the bytes that were given with give() are gone: encoded, or no longer wanted */
    MC_STREAM_CUT,   /* the peer, or a fault of it, has ended the stream: its connection is to be closed */
    MC_STREAM_WORK,  /* output() of the carrier has something to do */
};

struct mc_session;

/* What all sessions of a listener share, so that none has to carry it while it is idle. */
struct mc_session_host {
    const struct mc_values *set;  /* of the listener's default server */
    struct mc_head_limits limits; /* the same, for heads */
    const uint64_t *now;          /* ms */
    /* makes and frees requests for the codec */
    struct mc_request *(*request_new)(struct mc_session *s);
    void (*request_free)(struct mc_request *r); /* of one that was never given out */
    /* Of a carrier (struct mc_mux_ops), for its codec: */
    struct mc_session *(*stream_new)(struct mc_session *carrier); /* a session with ops == mux->stream; NULL: out of memory */
    void (*stream_news)(struct mc_session *stream, enum mc_stream_news what, size_t n);
    /* The peer breaks a rule, or floods us: into the log, with who it is. limit: of lines of this kind. */
    void (*blame)(struct mc_session *carrier, enum mc_log_level level, struct mc_log_limit *limit, const char *why);
};

enum { MC_SESSION_OWN = 56 };

/* Part of every connection (struct mc_conn), so each byte counts. */
struct mc_session {
    const struct mc_protocol_ops *ops;
    const struct mc_session_host *host;
    void *proto;               /* the codec's own state; may be `own` */
    struct mc_inbuf in;
    struct mc_chain out;       /* encoded bytes on their way to the client */
    bool allow_keepalive;      /* false: every response ends its connection */
    bool inner;                /* it leads to another of our workers: no Server, no Date */
    bool close;                /* no further request after the current one(s); set by the codec or the server */
    _Alignas(8) unsigned char own[MC_SESSION_OWN]; /* room for the state of a codec that needs no more */
};

enum mc_input_kind {
    MC_IN_MORE,  /* everything usable is consumed: more bytes are needed (or the current request must end first: `busy`) */
    MC_IN_HEAD,  /* request r: head is complete and checked; route it, set r->body.mode, call input again */
    MC_IN_DATA,  /* request r: `data` are body bytes (slice, valid until the next call) */
    MC_IN_END,   /* request r: body complete */
    MC_IN_ERROR, /* status: the connection's input is unusable; answer (r may be NULL) and close with lingering; input() says EOF from now on */
    MC_IN_EOF,   /* orderly end between requests */
    MC_IN_CUT,   /* the peer ended in the middle of request r's head or body (r NULL: in the head) */
};

struct mc_input {
    enum mc_input_kind kind;
    struct mc_request *r;
    struct mc_str data;
    int status;
    bool busy;    /* MORE only: bytes may be there, but the current request is not finished */
    bool whole;   /* HEAD only: there is no body, and no END comes. Without it one comes even so, if only right after HEAD */
    bool started; /* MORE only: a head has begun but is not complete (header_timeout applies, else idle) */
};

struct mc_protocol_ops {
    const char *name;
    const char *alpn;
    int (*open)(struct mc_session *s); /* MC_OK, MC_ERROR: out of memory */
    /* The next event, all of *ev. Never blocks, never calls a handler. */
    void (*input)(struct mc_session *s, struct mc_input *ev);
    /* Encode r's response head to s->out; decides framing (RFC 9112 §6), fills resp.bodyless, resp.chunked, may set resp.close and s->close.
     * With `body`/`n`/`last` known the head and a small body go out in one piece (Content-Length is inferred when last and none was given).
     * r may be a request that the codec never gave out (an answer to MC_IN_ERROR without one).
     * Bytes that pass through head(), body() and file() are added to resp.sent. MC_OK or MC_ERROR (out of memory). */
    int (*head)(struct mc_request *r, const void *body, size_t n, bool last);
    /* Body bytes (n may be 0); `last` ends the response. Bytes beyond Content-Length are the caller's to cut. */
    int (*body)(struct mc_request *r, const void *p, size_t n, bool last);
    /* As body() for a range of a file. */
    int (*file)(struct mc_request *r, struct mc_file *f, off_t off, off_t n, bool last);
    /* An interim response: 100 without fields, 103 with. */
    int (*interim)(struct mc_request *r, int status, const struct mc_fields *fields);
    /* Answer r with 101 (upgrade: the value of Upgrade; fields may be NULL): from now on its body are the raw bytes of the connection, both ways. MC_OK or
     * MC_ERROR. NULL: the protocol has no such thing. */
    int (*switch_to)(struct mc_request *r, struct mc_str upgrade, const struct mc_fields *fields);
    /* r is over (complete or aborted) and will be freed: the codec forgets it and may parse the next one. */
    void (*finish)(struct mc_request *r);
    void (*close)(struct mc_session *s);
    bool any_trailers; /* a body of known length may have trailers, too */
    const struct mc_mux_ops *mux; /* NULL: one request after the other on one connection */
};

/* Protocols that carry many requests at once. Their connection, the carrier, has a session whose ops make no requests (open() and close() only); each
 * stream has a session of its own, with ops == mux->stream, which makes one request and then sets `close`. On the loop, but for head(), body(), file() and
 * interim() of a stream, which may run elsewhere: they touch nothing but r and the stream's `out`. What they leave there only give() understands. */
struct mc_mux_ops {
    const struct mc_protocol_ops *stream;
    const char *preface; /* what a client begins with who knows that we speak it */
    /* Take what is in carrier->in. MC_OK; MC_ERROR: nothing more will be read, the connection ends behind what output() still has to say. */
    int (*input)(struct mc_session *carrier);
    /* Encode into carrier->out until it holds `max` bytes or nothing is left that may go now. MC_OK; MC_DECLINED: and nothing more will
     * come or go; MC_ERROR (out of memory). */
    int (*output)(struct mc_session *carrier, size_t max);
    /* The next bytes that were written to a stream's `out`; all are taken. MC_OK, MC_ERROR (out of memory, or a file cannot be read). */
    int (*give)(struct mc_session *stream, struct mc_chain *bytes);
    /* Tell the peer that the end is near. last: what has not begun by now is not served; else it is a notice, and true comes later. */
    void (*leave)(struct mc_session *carrier, bool last);
};

/* The value of the Server field of r's response, as server_tokens says; empty: there is none. */
struct mc_str mc_protocol_server(const struct mc_request *r);

#endif
