/* The PROXY protocol (haproxy's proxy-protocol.txt), receiving side: what a balancer says of the client before the first byte of it. */
#ifndef MC_HTTP_PROXY_PROTOCOL_H
#define MC_HTTP_PROXY_PROTOCOL_H

#include "core/base/str.h"
#include "core/os/socket.h"

enum { MC_PROXY_V1 = 1, MC_PROXY_V2 = 2 };
enum { MC_PROXY_V1_MAX = 107, MC_PROXY_MAX = 4096 /* bytes of a whole header that are taken */ };

struct mc_proxy_header {
    bool local;                 /* a health check of the balancer, or a protocol that it does not know: the connection's own addresses count */
    union mc_sockaddr src, dst; /* of the client, and where it connected to; AF_INET, AF_INET6 or AF_UNIX */
    /* v2 only; slices of the bytes; empty: not said */
    struct mc_str alpn, authority, unique_id;
    bool ssl;                   /* the client speaks TLS with the balancer… */
    bool ssl_verified;          /* …and has shown a certificate that holds */
    struct mc_str ssl_version, ssl_cipher, ssl_cn;
};

/* Read a header of one of these versions (MC_PROXY_ bits) at the start of p[0,n). MC_OK: *used bytes are the header; MC_AGAIN: more bytes are needed (never
 * with MC_PROXY_MAX of them); MC_ERROR: this is no header, or a wrong one. Every length is checked to lie inside the header; a checksum is checked. */
int mc_proxy_parse(const char *p, size_t n, unsigned versions, struct mc_proxy_header *out, size_t *used);

#endif
