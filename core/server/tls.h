/* What the rest of the server knows of TLS: facts of a connection's handshake, and where the transport is. */
#ifndef MC_SERVER_TLS_H
#define MC_SERVER_TLS_H

#include "core/base/str.h"
#include "core/config/conf.h"
#include "core/http/request.h"
#include "core/server/transport.h"

/* The client's certificate, when it sent one. Texts live as long as the connection. */
struct mc_tls_peer {
    struct mc_str verify;      /* "SUCCESS", or "FAILED:reason" (verify_client = optional_no_ca) */
    struct mc_str subject;     /* RFC 2253: "CN=joe,O=Example" */
    struct mc_str issuer;
    struct mc_str serial;      /* hex, upper case */
    struct mc_str fingerprint; /* SHA-256 of the DER form, hex, lower case */
    struct mc_str not_before, not_after; /* "Nov 22 10:00:00 2026 GMT" */
    struct mc_str pem;
};

/* Complete when the transport's open() has said MC_OK; constant from then on. */
struct mc_tls_info {
    const struct mc_conf_server *server; /* the one whose certificate and client policy were used; NULL: we are the client */
    struct mc_str version;     /* "TLSv1.3" */
    struct mc_str cipher;      /* "TLS_AES_128_GCM_SHA256" */
    struct mc_str server_name; /* what the client asked for, lower case; empty: nothing */
    struct mc_str alpn;        /* chosen; empty: none */
    bool resumed;
    const struct mc_tls_peer *peer; /* NULL: no client certificate */
};

/* Of a stream whose handshake is done; NULL: it has no TLS. */
static inline const struct mc_tls_info *mc_tls_info(const struct mc_stream *s)
{
    return s->tls; /* every TLS transport's state begins with it */
}

/* Of the connection that a request came on, when it has TLS; or NULL. */
const struct mc_tls_info *mc_tls_of(const struct mc_request *r);
/* It is for another server than the handshake was, and that one demands something else of clients: 421 (RFC 9110 §15.5.20). */
bool mc_tls_misdirected(const struct mc_request *r);

/* The TLS transport; NULL: this build has none. */
const struct mc_transport_ops *mc_transport_tls(void);

#endif
