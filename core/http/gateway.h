/* Gateways: pure codecs towards upstreams: HTTP/1.1, FastCGI, uwsgi. Bytes in, bytes out; no descriptor, no clock. One exchange at a time on a connection. */
#ifndef MC_HTTP_GATEWAY_H
#define MC_HTTP_GATEWAY_H

#include "core/base/chain.h"
#include "core/http/head.h"

/* One request to an upstream and its answer. */
struct mc_exchange {
    struct mc_arena *arena;
    void *state;               /* the codec's own, in the arena */
    /* The request, filled by the caller before head(): final fields, none of them connection-specific, no Content-Length. */
    struct mc_str method, target;
    struct mc_fields fields;
    struct mc_fields params;   /* variables of CGI (RFC 3875), for FastCGI and uwsgi; HTTP ignores them */
    int64_t length;            /* of the body; 0: none; -1: not known */
    struct mc_str upgrade;     /* "websocket"; empty: none */
    bool keep;                 /* we would like to keep the connection */
    bool is_head;
    bool te_trailers;          /* the client takes trailers: say TE: trailers */
    bool framed;               /* `fields` say how the body is delimited */
    const struct mc_fields *trail; /* behind a body whose length is not known; NULL: none */
    /* The answer, filled by the codec */
    struct mc_head reply;      /* status, reason, fields (slices in the arena), content_length; framing: how the codec saw it */
    struct mc_fields trailers;
    bool switched;             /* 101 to our upgrade: from here on the connection is a tunnel */
    bool reusable;             /* after MC_GW_END: another exchange may follow */
    int64_t received;          /* body bytes so far */
};

enum mc_gw_kind {
    MC_GW_MORE,    /* needs bytes */
    MC_GW_INTERIM, /* x->reply is a 1xx other than 101 */
    MC_GW_HEAD,
    MC_GW_DATA,    /* data: body bytes; valid until the next call */
    MC_GW_END,     /* complete; bytes behind it make the connection not reusable */
    MC_GW_ERROR,   /* not an answer that can be passed on; why says it for the log */
    MC_GW_STDERR,  /* data: a text for the error log (FastCGI) */
};

struct mc_gw_event {
    enum mc_gw_kind kind;
    struct mc_str data;
    const char *why;
};

struct mc_gateway_ops {
    const char *name;
    /* Make x->state and encode the request's head to `out`. MC_OK, MC_ERROR (out of memory, or it cannot be said in this protocol). */
    int (*head)(struct mc_exchange *x, struct mc_chain *out);
    /* Encode body bytes; `last` (n may be 0) ends the request. Called once with last for every exchange, bodyless ones too. */
    int (*body)(struct mc_exchange *x, struct mc_chain *out, const void *p, size_t n, bool last);
    /* The next event from p[0,n); *used bytes are consumed by it (with MC_GW_MORE too: the rest comes again, with more behind). eof: no more will come. */
    void (*input)(struct mc_exchange *x, const char *p, size_t n, bool eof, size_t *used, struct mc_gw_event *ev);
};

/* HTTP/1.1 (RFC 9112), gateway_http1.c */
extern const struct mc_gateway_ops mc_gateway_http1;
/* FastCGI 1.0, responder role, one request at a time; needs x->params, with CONTENT_LENGTH among them */
extern const struct mc_gateway_ops mc_gateway_fastcgi;
/* uwsgi: a packet of x->params, its two modifiers from x->target[0] and [1] when that is not empty; the reply is HTTP/1.x or a CGI head */
extern const struct mc_gateway_ops mc_gateway_uwsgi;

#endif
