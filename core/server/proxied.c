/* Who the client is, when others stand between: the PROXY header at the start of a connection. What requests say is realip.c's. Worker side. */
#include "core/server/proxied.h"

#include "core/http/proxy_protocol.h"
#include "core/server/engine.h"

#include <stdlib.h>
#include <string.h>

static unsigned versions(const char *mode)
{
    return strcmp(mode, "v1") == 0 ? MC_PROXY_V1 : strcmp(mode, "v2") == 0 ? MC_PROXY_V2 : strcmp(mode, "auto") == 0 ? MC_PROXY_V1 | MC_PROXY_V2 : 0;
}

/* A fresh record with its own copy of the header's bytes, then the id in hex. */
static struct mc_proxied *record(const struct mc_proxy_header *h, const union mc_sockaddr *via, const char *bytes, size_t n)
{
    struct mc_proxied *p = calloc(1, sizeof *p + n + 2 * h->unique_id.n);
    if (p == NULL) {
        return NULL;
    }
    char *copy = (char *) (p + 1), *hex = copy + n;
    memcpy(copy, bytes, n);
    const struct {
        struct mc_str from, *to;
    } texts[] = {
        { h->authority, &p->authority },
        { h->ssl_version, &p->ssl_version },
        { h->ssl_cipher, &p->ssl_cipher },
        { h->ssl_cn, &p->ssl_cn },
    };
    for (size_t i = 0; i < MC_COUNT(texts); i++) {
        if (texts[i].from.n) {
            *texts[i].to = (struct mc_str){ copy + (texts[i].from.p - bytes), texts[i].from.n };
        }
    }
    for (size_t i = 0; i < h->unique_id.n; i++) {
        hex[2 * i] = "0123456789abcdef"[(unsigned char) h->unique_id.p[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[(unsigned char) h->unique_id.p[i] & 15];
    }
    p->unique_id = (struct mc_str){ hex, 2 * h->unique_id.n };
    p->via = *via;
    p->local = h->dst;
    p->https = h->ssl;
    p->ssl_verified = h->ssl_verified;
    return p;
}

static int refuse(struct mc_conn *c, const char *why)
{
    static struct mc_log_limit limit;
    unsigned missed;
    if (mc_log_limited(&limit, &missed)) {
        struct mc_str peer = mc_conn_peer(c);
        mc_warn("PROXY protocol: %s from %.*s: closed", why, peer.n ? (int) peer.n : 11, peer.n ? peer.p : "unix socket");
    }
    return MC_ERROR;
}

/* The header was only looked at: now it goes, and not one byte more. */
static int take(struct mc_conn *c, const struct mc_proxy_header *h, const char *bytes, size_t n)
{
    char gone[MC_PROXY_MAX];
    if (mc_transport_take(c->stream.fd, gone, n) != (ssize_t) n) {
        return MC_ERROR;
    }
    if (h->local) {
        return MC_OK;
    }
    c->proxied = record(h, &c->peer, bytes, n);
    if (c->proxied == NULL) {
        return MC_ERROR;
    }
    c->peer = h->src;
    mc_conn_forget_peer(c);
    return MC_OK;
}

int mc_proxied_open(struct mc_conn *c)
{
    const struct mc_conf_server *s = c->listener->conf->servers[0];
    unsigned wanted = versions(s->set.proxy_protocol);
    if (mc_likely(wanted == 0) || c->proxy_done) {
        return MC_OK;
    }
    if (c->peer.family != AF_UNIX && !mc_cidr_match(s->proxies, s->nproxies, &c->peer)) {
        c->proxy_done = true;
        return MC_OK; /* a client like any other: if it sends a header, its codec will not understand it */
    }
    struct mc_proxy_header h;
    char bytes[MC_PROXY_MAX];
    size_t used;
    ssize_t n = mc_transport_peek(c->stream.fd, bytes, sizeof bytes);
    if (n == 0 || n == MC_ERROR) {
        return MC_ERROR;
    }
    int rc = n == MC_AGAIN ? MC_AGAIN : mc_proxy_parse(bytes, (size_t) n, wanted, &h, &used);
    if (rc == MC_AGAIN) {
        bool over = (c->io.ready & MC_READY_ERROR) != 0 && n > 0;
        c->io.ready &= (uint8_t) ~MC_WANT_READ;
        return over ? MC_ERROR : MC_AGAIN;
    }
    if (rc != MC_OK) {
        return refuse(c, "no valid header");
    }
    c->proxy_done = true;
    return take(c, &h, bytes, used);
}
