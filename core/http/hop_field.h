/* The field Monoceros-Hop: what a worker that has a client tells a worker of another pool about it, in the head of the request that it passes on. Text, so that
 * it travels as any field does: a token, then KEY=VALUE words. Pure: no descriptor, no clock, no decision. */
#ifndef MC_HTTP_HOP_FIELD_H
#define MC_HTTP_HOP_FIELD_H

#include "core/base/arena.h"
#include "core/os/socket.h"

#define MC_HOP_FIELD "Monoceros-Hop"
/* The value of the field in a reply whose body is the server's own error page: the front answers in its place, as it answers for its own errors. */
#define MC_HOP_ERROR "error"
enum { MC_HOP_TOKEN = 32 /* bytes of a token */ };

enum mc_hop_text {
    MC_HOP_APP,    /* names of the configuration */
    MC_HOP_SERVER,
    MC_HOP_URI,    /* path and query that the app is asked for, when they are no longer those of the request line */
    MC_HOP_USER,   /* whom a filter has recognised */
    MC_HOP_ID,     /* of the request */
    MC_HOP_TLS_VERSION, MC_HOP_TLS_CIPHER, MC_HOP_TLS_SNI, MC_HOP_TLS_ALPN,
    MC_HOP_CERT_VERIFY, MC_HOP_CERT_SUBJECT, MC_HOP_CERT_ISSUER, MC_HOP_CERT_SERIAL, MC_HOP_CERT_FINGERPRINT, MC_HOP_CERT_FROM, MC_HOP_CERT_TO, MC_HOP_CERT_PEM,
    MC_HOP_PROXY_AUTHORITY, MC_HOP_PROXY_ID, MC_HOP_PROXY_TLS_VERSION, MC_HOP_PROXY_TLS_CIPHER, MC_HOP_PROXY_CN, /* of a PROXY header */
    MC_HOP_TEXTS
};

enum mc_hop_addr {
    MC_HOP_PEER,        /* who has connected */
    MC_HOP_CLIENT,      /* who it is for: the peer, or whom a trusted proxy names */
    MC_HOP_LISTEN,      /* where the listener is bound */
    MC_HOP_LOCAL,       /* where the client has connected to; AF_UNIX: as the listener */
    MC_HOP_PROXY_VIA, MC_HOP_PROXY_LOCAL,
    MC_HOP_ADDRS
};

enum {
    MC_HOP_TLS = 1,          /* the client speaks TLS with us */
    MC_HOP_HTTPS = 2,        /* the scheme */
    MC_HOP_TRUSTED = 4,      /* the peer is a proxy whose word counts */
    MC_HOP_RESUMED = 8,
    MC_HOP_CERT = 16,        /* it sent a certificate */
    MC_HOP_CERT_ASKED = 32,  /* one was asked for */
    MC_HOP_PROXIED = 64,     /* a PROXY header named the peer */
    MC_HOP_PROXY_HTTPS = 128, MC_HOP_PROXY_VERIFIED = 256,
    MC_HOP_FLAGS = 511
};

struct mc_hop_field {
    struct mc_str text[MC_HOP_TEXTS];         /* p NULL: not said */
    union mc_sockaddr addr[MC_HOP_ADDRS];     /* family AF_UNIX (or 0): nothing is known */
    unsigned flags;                           /* MC_HOP_* */
    unsigned version;                         /* of HTTP, as the client speaks it: 10, 11, 20 */
    int64_t left;                             /* ms, what remains of request_timeout; 0: no limit */
};

/* The most that mc_hop_field_encode() writes. */
size_t mc_hop_field_size(const struct mc_hop_field *h);
/* The value, into `out`; its length. */
size_t mc_hop_field_encode(const struct mc_hop_field *h, const unsigned char token[MC_HOP_TOKEN], char *out);
/* MC_OK; MC_ERROR: another token, or not a value of encode(); 503: out of memory. Texts are copied into the arena. */
int mc_hop_field_decode(struct mc_str value, const unsigned char token[MC_HOP_TOKEN], struct mc_arena *a, struct mc_hop_field *out);

/* Names of fields that mean something to the connection, or could be taken for such a name, go over a hop with a dot in front. */
static inline bool mc_hop_field_dotted(struct mc_str name) { return name.n > 0 && name.p[0] == '.'; }

#endif
