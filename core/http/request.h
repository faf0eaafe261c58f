/* A request and its response, as every protocol, handler and filter sees them. Lives in its own arena; freed as a whole by the server. */
#ifndef MC_HTTP_REQUEST_H
#define MC_HTTP_REQUEST_H

#include "core/base/arena.h"
#include "core/base/chain.h"
#include "core/base/list.h"
#include "core/config/conf.h"
#include "core/http/fields.h"
#include "core/http/head.h"
#include "core/http/uri.h"

struct mc_session;
struct mc_conn;
struct mc_relay; /* server/relay.h */
struct mc_hop;   /* server/hop.h */

enum mc_body_mode {
    MC_BODY_BUFFERED, /* wholly read before the handler starts (default of blocking handlers) */
    MC_BODY_STREAMED, /* the handler pulls; back-pressure through MC_AGAIN */
    MC_BODY_DISCARD,  /* read and dropped */
};

/* Request body as the handler reads it: bytes waiting in `data` (memory, then an unlinked temp file). */
struct mc_body {
    enum mc_body_mode mode;
    int64_t length;       /* Content-Length, or the total once a chunked body is complete; -1 unknown */
    int64_t received;     /* decoded bytes so far */
    struct mc_chain data; /* received and not yet read */
    struct mc_file *file; /* temp file, once body_buffer was passed */
    off_t file_end;
    bool complete;        /* all of it has arrived */
    bool failed;          /* cut off, refused or timed out: reads give MC_ERROR */
    int status;           /* what to answer then, when nothing was answered yet; for handlers that take it as it comes */
    bool on_demand;       /* prepare() says: a client that waits for 100 (Continue) gets it by mc_body_want() */
    struct mc_fields trailers;
};

enum mc_resp_state { MC_RESP_NONE, MC_RESP_BEGUN /* status set, head not encoded */, MC_RESP_HEAD /* head in the output */, MC_RESP_DONE, MC_RESP_ABORTED };

struct mc_response {
    enum mc_resp_state state;
    int status;
    const char *date;        /* MC_HTTP_DATE_LEN bytes, current when the head is encoded; NULL: none is known */
    struct mc_str reason;    /* as the handler gave it; empty: standard text */
    struct mc_fields fields; /* without framing fields, Date and Server handled below */
    struct mc_fields trailers; /* behind a chunked body */
    int64_t length;          /* Content-Length, -1 unknown */
    bool has_date, has_server;
    bool close;              /* the connection ends after this response */
    /* decided by protocol.head(): */
    bool bodyless;           /* HEAD, 1xx, 204, 304: body bytes are dropped */
    bool chunked;
    bool direct;             /* plain bytes: they may also go straight to the session's output */
    int64_t sent;            /* body bytes handed to the protocol so far (before chunking) */
    bool paused;             /* the handler was told MC_AGAIN and waits for room */
    bool fixed;              /* its bytes hang on nothing that the client said, so that their compressed size gives nothing away */
    bool filtered;           /* the filters have seen the head */
    struct mc_filter_run *run; /* those at work on the body (server/filter_body.c); NULL: none */
    bool spool;              /* loop handlers: what the client does not take goes to memory and file as that of blocking ones does, before MC_AGAIN */
    bool switched;           /* 101: a tunnel */
    bool half_closed;        /* nothing more will be written to it */
    bool cut;                /* its other end is gone, while there was no room for what came before that */
};

/* What only the server knows of a request's connection; served through r->fact. */
enum mc_fact {
    MC_FACT_SERVER_ADDR, MC_FACT_SERVER_PORT, MC_FACT_PEER_ADDR, MC_FACT_PEER_PORT, MC_FACT_PROXY_ADDR, MC_FACT_PROXY_PORT,
    MC_FACT_PROXY_SERVER_ADDR, MC_FACT_PROXY_SERVER_PORT, MC_FACT_PROXY_AUTHORITY, MC_FACT_PROXY_UNIQUE_ID, MC_FACT_PROXY_SSL_VERSION,
    MC_FACT_PROXY_SSL_CIPHER, MC_FACT_PROXY_SSL_CN, MC_FACT_REQUEST_ID,
    MC_FACT_TLS_PROTOCOL, MC_FACT_TLS_CIPHER, MC_FACT_TLS_SNI, MC_FACT_TLS_ALPN, MC_FACT_TLS_RESUMED, MC_FACT_TLS_VERIFY, MC_FACT_TLS_SUBJECT,
    MC_FACT_TLS_ISSUER, MC_FACT_TLS_SERIAL, MC_FACT_TLS_FINGERPRINT, MC_FACT_TLS_CERT,
    MC_FACT_UPSTREAM_ADDR, MC_FACT_UPSTREAM_STATUS, MC_FACT_UPSTREAM_CONNECT, MC_FACT_UPSTREAM_HEAD, MC_FACT_UPSTREAM_TIME,
    MC_FACT_COUNT
};

/* Who sent a request to the server in front of us, as that says (uwsgi): it is believed, since only peers of the allow list may speak so. */
struct mc_front {
    struct mc_str addr, port; /* an IP address; empty: not said */
    bool https;
};

enum mc_req_state {
    MC_REQ_HEAD,    /* head parsed, not routed */
    MC_REQ_BODY,    /* body arriving */
    MC_REQ_QUEUED,  /* waits for an executor */
    MC_REQ_RUNNING, /* in its handler */
    MC_REQ_DONE,    /* response complete */
    MC_REQ_ADMIT,   /* a filter has not decided yet whether it may pass */
    MC_REQ_ADMITTED, /* it has */
    MC_REQ_COUNT
};

struct mc_request {
    uint32_t magic;
    uint8_t state;        /* enum mc_req_state */
    struct mc_arena arena;
    struct mc_session *session;
    struct mc_conn *conn; /* NULL in pure tests */
    struct mc_link link;  /* in the worker's queue of ready, then of running requests */
    struct mc_link done;  /* for worker modules: finished, on its way back to the loop */
    uint64_t id;          /* stream id; 0 for HTTP/1 */

    struct mc_head head;  /* method, raw target, fields, framing, host… */
    struct mc_uri uri;
    struct mc_str path;   /* normalised */
    bool is_head;         /* method HEAD */
    bool tls;             /* the client side is TLS */
    bool https;           /* scheme: TLS, or what a trusted proxy said */
    struct mc_body body;
    struct mc_response resp;

    const struct mc_conf_server *server;
    const struct mc_conf_route *route; /* NULL: none matched */
    void *server_pattern;       /* pcre2_code * of the server's name that matched the host, when it is a pattern */
    struct mc_str *server_captures; /* its groups; the server's ncaptures, or NULL */
    struct mc_str *captures;    /* groups of the route's patterns; the route's ncaptures, or NULL */
    const union mc_sockaddr *client; /* the peer, or whom a trusted proxy names; NULL in pure tests */
    const struct mc_front *front; /* a protocol's: what a front server says of the client; NULL: none */
    struct mc_hop *hop;         /* it came from another pool's worker: what that says of the client; or NULL */
    uint64_t deadline_us;       /* when that worker will have given up (as start_us); 0: it does not */
    struct mc_str user;         /* whom a filter has recognised; p NULL: nobody */
    struct mc_str request_id;   /* made when $request_id is asked for */
    struct mc_fields refusal_fields; /* go with the answer of a filter that refuses */
    const struct mc_error_page *error_page; /* server/errors.c: the answer is to come from there */
    bool error_routed;          /* an error was sent to another place: a second one is answered plainly */
    uint16_t error_status, error_answer; /* of that error; and what a 200 of the page becomes, 0: it stays */
    void *filtered;             /* server/filter.c: the filters that this request has passed */
    bool (*fact)(struct mc_request *r, enum mc_fact f, struct mc_str *out); /* false: there is none. NULL in pure tests */
    const struct mc_handler_ops *handler;
    void *hctx;           /* the handler's own state, in the arena */
    struct mc_relay *relay; /* server/relay.h: the last one that it was passed on with; or NULL */

    uint64_t start_us, end_us; /* µs: the loop's clock (now_us) when the head was parsed; mc_clock_ns()/1000 at a blocking handler's end (0: not yet) */
    uint64_t run_us;      /* the handler's start */
    _Atomic uint8_t loan; /* DESIGN 3.3: 0 = the loop's own; else core/server/loan.c */
    uint8_t loan_depth;   /* the borrower's nesting in API calls */
    _Atomic(unsigned long) runner; /* pthread_t that executes it */
    struct mc_conn *orphan; /* revoked: the closed connection whose memory it still needs */
    char *orphan_head;    /* … and the block that its head lies in */
    size_t orphan_cap;
    bool sent_continue;
    uint8_t reroutes;     /* how often its target was changed on the way to a handler */
    bool gone;            /* the client left */
};

#endif
