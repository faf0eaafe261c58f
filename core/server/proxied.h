/* Clients behind a balancer that speaks the PROXY protocol, and clients that a trusted proxy names in a header. Worker side, on the loop. */
#ifndef MC_SERVER_PROXIED_H
#define MC_SERVER_PROXIED_H

#include "core/server/conn.h"

/* What a PROXY header said; c->peer is the client that it names, this the rest. */
struct mc_proxied {
    union mc_sockaddr via, local; /* the balancer; where the client connected to (AF_UNIX: not said) */
    bool https;                   /* the client speaks TLS with the balancer */
    struct mc_str authority, unique_id /* in hex */, ssl_version, ssl_cipher, ssl_cn;
    bool ssl_verified;
};

/* Before anything else is read from a new connection: take the PROXY header off the socket, if its peer is one that sends it. MC_OK (c->peer and
 * c->proxied are set, or this peer sends none), MC_AGAIN, MC_ERROR: no header, a wrong one, out of memory (logged once a second at most). */
int mc_proxied_open(struct mc_conn *c);

/* The client of a request: its connection's peer or, with real_ip_header, whom trusted proxies name (the rightmost address that is not one of theirs). Sets
 * r->client. With real_ip_header, forwarding headers of peers that are not trusted are taken away. MC_OK or a status: 400, 503. */
int mc_proxied_client(struct mc_request *r);

/* A front says that this is the client. MC_OK or 503. */
int mc_proxied_named(struct mc_request *r, const union mc_sockaddr *client);
/* Who has connected, and what a PROXY header said of him (or NULL): to us, or to the worker that passed the request on. */
const union mc_sockaddr *mc_request_peer(const struct mc_request *r);
const struct mc_proxied *mc_request_proxied(const struct mc_request *r);
/* HTTP as the client speaks it: 10, 11. */
unsigned mc_request_version(const struct mc_request *r);

/* Text of r->client without port, "" for unix sockets. Lives as long as the request. Any thread that has the request. */
struct mc_str mc_request_client(struct mc_request *r);

#endif
