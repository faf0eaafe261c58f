/* HTTP/2 as a pure codec (RFC 9113): frames by nghttp2, everything that is about requests by ours. Private to this folder. */
#ifndef MC_PROTOCOL_HTTP2_H
#define MC_PROTOCOL_HTTP2_H

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/small.h"
#include "core/http/protocol.h"

#include <nghttp2/nghttp2.h>

/* ---- what a peer may do without asking for anything (flood.c) */

enum mc_http2_cost { MC_COST_RESET, MC_COST_SETTINGS, MC_COST_PING, MC_COST_PRIORITY, MC_COST_EMPTY, MC_COST_UPDATE, MC_COST_CONTINUATION, MC_COSTS };

struct mc_http2_flood {
    struct {
        int64_t left;   /* thousandths */
        uint64_t since; /* ms, when it was last counted up */
    } v[MC_COSTS];
};

/* ---- a connection */

struct mc_http2_lengths { uint32_t name, value; };

struct mc_http2 {
    struct mc_session *s;    /* the carrier's */
    nghttp2_session *ng;
    size_t list_max;         /* http2_max_header_list_size */
    uint32_t streams_max;
    uint32_t nstreams;       /* whose connections are there: a reset frees no place before its handler has ended */
    struct mc_link streams;
    struct mc_http2_flood flood;
    size_t out_max;          /* of output() */
    bool over;               /* ended by us: nothing more is read */
    /* The header block that is arriving; there is but one at a time. */
    struct {
        char *text;          /* names and values, back to back */
        size_t text_n, text_cap;
        struct mc_http2_lengths *v;
        uint32_t n, cap;
        size_t size;         /* as SETTINGS_MAX_HEADER_LIST_SIZE counts */
        int status;          /* it is refused with this; 0 so far not */
        unsigned continuations;
    } head;
};

/* ---- a stream */

enum mc_http2_step { MC_H2_HEAD, MC_H2_BODY, MC_H2_WAIT };

struct mc_http2_stream {
    struct mc_link link;
    struct mc_http2 *h;
    struct mc_session *s;
    struct mc_request *r;     /* NULL once it is finished */
    int32_t id;
    /* in */
    enum mc_http2_step step;
    int status;               /* the head is refused with this */
    struct mc_chain in;       /* body bytes that wait for input() */
    size_t handed;            /* of these, with the last event */
    bool ended;               /* END_STREAM was seen */
    bool tunnel;              /* extended CONNECT: DATA both ways, once it is answered so */
    bool shut;                /* the end of our side of it is written */
    char *trailers;           /* trailers_n lengths, then trailers_text bytes of names and values; NULL: none */
    uint32_t trailers_n;
    size_t trailers_text;
    /* out */
    struct mc_chain raw;      /* records whose end is not here yet */
    struct mc_chain body;     /* bytes for DATA */
    uint64_t data_left;       /* of the record that is being read */
    bool data_last;
    bool headed;              /* the final head was submitted */
    bool waits;               /* nghttp2 has deferred its DATA */
    bool end;                 /* behind `body` comes the end of the stream */
    size_t end_held;          /* bytes of the last record: taken when END_STREAM has gone out */
    char *tail;               /* trailers: a record's fields */
    size_t tail_n;
    bool closed;              /* over, for nghttp2 */
    bool aborted;
};

static inline struct mc_http2_stream *mc_http2_stream_of(struct mc_http2 *h, int32_t id)
{
    return nghttp2_session_get_stream_user_data(h->ng, id);
}

static inline void mc_http2_tell(struct mc_http2_stream *st, enum mc_stream_news what, size_t n)
{
    st->h->s->host->stream_news(st->s, what, n);
}

/* ---- head.c: request heads and trailers, as they come */
void mc_http2_head_begin(struct mc_http2 *h);
/* One field. MC_OK; MC_ERROR: far beyond all limits, the connection is to end. */
int mc_http2_head_add(struct mc_http2 *h, struct mc_str name, struct mc_str value);
/* The block is complete: make a stream of it, with a request that is checked. MC_OK, MC_DECLINED (refused: too many), MC_ERROR (out of memory). */
int mc_http2_head_open(struct mc_http2 *h, int32_t id, bool ended);
/* The block is the trailer section of st. MC_OK; MC_ERROR: too large, the second one, or out of memory. */
int mc_http2_head_trailers(struct mc_http2 *h, struct mc_http2_stream *st);
/* They belong to the request now: those that may stand there. MC_OK or a status. */
int mc_http2_head_take_trailers(struct mc_http2_stream *st);
void mc_http2_head_free(struct mc_http2 *h);

/* ---- tunnel.c: extended CONNECT, and the handshake of WebSockets */
/* The request asks for a tunnel of this protocol: MC_OK or a status. */
int mc_http2_tunnel_ask(struct mc_request *r, struct mc_str protocol);
/* Has who answers it with these fields (NULL: none) read the request? */
bool mc_http2_tunnel_accepted(const struct mc_request *r, const struct mc_fields *answer);

/* ---- stream.c: the codec of a stream's session */
extern const struct mc_protocol_ops mc_http2_stream_ops;

/* What head() and body() write into the stream's queue. A record is this and `n` bytes; of DATA it may be a range of a file. */
enum mc_http2_record_kind { MC_RECORD_HEAD = 1, MC_RECORD_DATA, MC_RECORD_RESET };
struct mc_http2_record {
    uint64_t n;
    uint16_t status; /* HEAD */
    uint8_t kind;
    uint8_t flags;
    uint32_t code;   /* RESET */
};
enum { MC_RECORD_LAST = 1 /* the end of the stream follows */, MC_RECORD_TRAILERS = 2 /* DATA without body: the n bytes are fields */ };
/* Fields in a record: lengths of name and value (uint32_t each), then both. */

/* ---- output.c: records to frames */
int mc_http2_give(struct mc_session *stream, struct mc_chain *bytes);
int mc_http2_output(struct mc_session *carrier, size_t max);
/* For nghttp2: DATA goes to the carrier's output without a detour. */
int mc_http2_send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *framehd, size_t length, nghttp2_data_source *source, void *user);
/* END_STREAM of st has been encoded, or never will be. */
void mc_http2_ended(struct mc_http2_stream *st);

/* ---- flood.c */
void mc_http2_flood_init(struct mc_http2 *h);
/* The peer has done something that costs us and brings it nothing. false: too often, and it was told so. */
bool mc_http2_pay(struct mc_http2 *h, enum mc_http2_cost cost);
/* It may send so many more of these: we gave it reason to. */
void mc_http2_credit(struct mc_http2 *h, enum mc_http2_cost cost, unsigned n);
/* A header list without end: the same. */
void mc_http2_calm(struct mc_http2 *h);

#endif
