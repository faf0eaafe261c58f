/* The PROXY protocol towards upstreams, versions 1 and 2 (haproxy's proxy-protocol.txt). Called by the relay when a connection is new. Worker side. */
#include "modules/handler/proxy/proxy.h"

#include "core/server/conn.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

struct ends {
    int family; /* 0: not known, or of different kinds */
    uint8_t from[16], to[16];
    uint16_t from_port, to_port;
};

static bool read_ends(struct mc_relay *q, struct ends *e)
{
    const union mc_sockaddr *from = q->r->client ? q->r->client : &q->r->conn->peer;
    struct mc_addr to;
    *e = (struct ends){ .family = from->family };
    if (mc_addr_of_fd(q->r->conn->stream.fd, &to) != MC_OK || to.family != from->family) {
        return false;
    }
    e->from_port = (uint16_t) mc_sockaddr_port(from);
    if (from->family == AF_INET) {
        memcpy(e->from, &from->in.sin_addr, 4);
        memcpy(e->to, &to.u.in.sin_addr, 4);
        e->to_port = ntohs(to.u.in.sin_port);
        return true;
    }
    if (from->family == AF_INET6) {
        memcpy(e->from, &from->in6.sin6_addr, 16);
        memcpy(e->to, &to.u.in6.sin6_addr, 16);
        e->to_port = ntohs(to.u.in6.sin6_port);
        return true;
    }
    return false;
}

static const char version2_local[] = "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
enum { HEAD2 = sizeof version2_local - 1 };

struct mc_str mc_proxy_nobody(unsigned version)
{
    return version == 1 ? MC_STR("PROXY UNKNOWN\r\n") : (struct mc_str){ version2_local, HEAD2 };
}

static void version1(const struct ends *e, struct mc_chain *out)
{
    char line[108], from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
    (void) inet_ntop(e->family, e->from, from, sizeof from); /* the family is known, and there is room */
    (void) inet_ntop(e->family, e->to, to, sizeof to);
    int n = snprintf(line, sizeof line, "PROXY %s %s %s %u %u\r\n", e->family == AF_INET ? "TCP4" : "TCP6", from, to, e->from_port, e->to_port);
    (void) mc_chain_add(out, line, (size_t) n);
}

static void version2(const struct ends *e, struct mc_chain *out)
{
    uint8_t head[HEAD2 + 36], *w = head + HEAD2;
    size_t len = e->family == AF_INET ? 4 : 16;
    memcpy(head, version2_local, HEAD2);
    head[12] = 0x21; /* PROXY */
    head[13] = e->family == AF_INET ? 0x11 : 0x21;
    memcpy(w, e->from, len);
    memcpy(w + len, e->to, len);
    w += 2 * len;
    *w++ = (uint8_t) (e->from_port >> 8);
    *w++ = (uint8_t) e->from_port;
    *w++ = (uint8_t) (e->to_port >> 8);
    *w++ = (uint8_t) e->to_port;
    head[15] = (uint8_t) (w - head - HEAD2);
    (void) mc_chain_add(out, head, (size_t) (w - head));
}

void mc_proxy_protocol(struct mc_relay *q, struct mc_chain *out)
{
    const struct mc_proxy *a = q->data;
    struct ends e;
    if (!read_ends(q, &e)) {
        struct mc_str nobody = mc_proxy_nobody(a->proxy_version);
        (void) mc_chain_add(out, nobody.p, nobody.n);
    } else if (a->proxy_version == 1) {
        version1(&e, out);
    } else {
        version2(&e, out);
    }
}
