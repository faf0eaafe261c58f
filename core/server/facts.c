/* Facts of a request's connection and of its upstream, for variables and whoever else asks by name. Called through r->fact. Worker side, on the loop. */
#include "core/server/engine.h"

#include "core/server/hop.h"
#include "core/server/relay.h"

#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>

enum { ID_BYTES = 16, ID_MAX = 128 };

static bool keep(struct mc_request *r, const char *text, size_t n, struct mc_str *out)
{
    *out = mc_arena_dup(&r->arena, (struct mc_str){ text, n });
    return out->p != NULL;
}

static bool address(struct mc_request *r, const union mc_sockaddr *a, struct mc_str *out)
{
    char text[64];
    return a->family != AF_UNIX && keep(r, text, mc_sockaddr_text(a, text, sizeof text), out);
}

static bool port(struct mc_request *r, const union mc_sockaddr *a, struct mc_str *out)
{
    char text[20];
    return a->family != AF_UNIX && keep(r, text, mc_str_u64(text, mc_sockaddr_port(a)), out);
}

/* Where the client has connected to. */
static bool local(struct mc_request *r, bool want_port, struct mc_str *out)
{
    struct sockaddr_storage s = { .ss_family = AF_UNIX };
    socklen_t n = sizeof s;
    if (r->hop) {
        const union mc_sockaddr *there = &r->hop->f.addr[r->hop->f.addr[MC_HOP_LOCAL].family == AF_UNIX ? MC_HOP_LISTEN : MC_HOP_LOCAL];
        return want_port ? port(r, there, out) : address(r, there, out);
    }
    if (getsockname(r->conn->stream.fd, (struct sockaddr *) &s, &n) != 0 || (s.ss_family != AF_INET && s.ss_family != AF_INET6)) {
        return false;
    }
    const union mc_sockaddr *a = (const void *) &s;
    return want_port ? port(r, a, out) : address(r, a, out);
}

const union mc_sockaddr *mc_request_peer(const struct mc_request *r)
{
    return r->hop ? &r->hop->f.addr[MC_HOP_PEER] : &r->conn->peer;
}

const struct mc_proxied *mc_request_proxied(const struct mc_request *r)
{
    return r->hop ? (r->hop->f.flags & MC_HOP_PROXIED ? &r->hop->proxied : NULL) : r->conn->proxied;
}

unsigned mc_request_version(const struct mc_request *r)
{
    if (r->hop) {
        return r->hop->f.version;
    }
    return r->id ? 20 : 10u + r->head.version;
}

/* ---- ids */

static bool fit_id(struct mc_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = mc_lower((unsigned char) s.p[i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || strchr("-_.=+/:", c)) || c == '\0') {
            return false;
        }
    }
    return s.n > 0 && s.n <= ID_MAX;
}

/* Random bytes by the dozen of ids: the call to the kernel costs more than all the rest. */
static const unsigned char *random_id(void)
{
    static _Thread_local unsigned char stock[32 * ID_BYTES];
    static _Thread_local size_t left;
    if (left == 0) {
        if (getrandom(stock, sizeof stock, 0) != (ssize_t) sizeof stock) {
            return NULL;
        }
        left = sizeof stock;
    }
    left -= ID_BYTES;
    return stock + left;
}

/* That of a trusted proxy, or a random one. */
static bool request_id(struct mc_request *r, struct mc_str *out)
{
    const unsigned char *bytes;
    char text[2 * ID_BYTES];
    if (r->request_id.p == NULL) {
        const struct mc_field *f = mc_fields_find(&r->head.fields, MC_STR("X-Request-Id"));
        if (f && fit_id(f->value) && mc_forwarded_trusted(r)) {
            r->request_id = f->value;
        } else if ((bytes = random_id()) != NULL) {
            for (size_t i = 0; i < ID_BYTES; i++) {
                text[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
                text[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
            }
            keep(r, text, sizeof text, &r->request_id);
        }
    }
    *out = r->request_id;
    return out->p != NULL;
}

/* ---- TLS */

static bool encoded(struct mc_request *r, struct mc_str pem, struct mc_str *out)
{
    struct mc_sb sb;
    mc_sb_init(&sb, 65536);
    mc_uri_encode(&sb, pem, true);
    bool ok = !sb.bad && keep(r, sb.p, sb.n, out);
    mc_sb_fini(&sb);
    return ok;
}

static bool of_client(struct mc_request *r, const struct mc_tls_peer *p, enum mc_fact f, struct mc_str *out)
{
    if (p == NULL) {
        *out = MC_STR("NONE");
        return f == MC_FACT_TLS_VERIFY;
    }
    switch (f) {
    case MC_FACT_TLS_VERIFY:
        *out = p->verify;
        return true;
    case MC_FACT_TLS_SUBJECT:
        *out = p->subject;
        return true;
    case MC_FACT_TLS_ISSUER:
        *out = p->issuer;
        return true;
    case MC_FACT_TLS_SERIAL:
        *out = p->serial;
        return true;
    case MC_FACT_TLS_FINGERPRINT:
        *out = p->fingerprint;
        return true;
    case MC_FACT_TLS_CERT:
        return encoded(r, p->pem, out);
    default:
        return false;
    }
}

static bool of_tls(struct mc_request *r, enum mc_fact f, struct mc_str *out)
{
    const struct mc_tls_info *info = mc_tls_of(r);
    if (info == NULL) {
        return false;
    }
    switch (f) {
    case MC_FACT_TLS_PROTOCOL:
        *out = info->version;
        return true;
    case MC_FACT_TLS_CIPHER:
        *out = info->cipher;
        return true;
    case MC_FACT_TLS_SNI:
        *out = info->server_name;
        return true;
    case MC_FACT_TLS_ALPN:
        *out = info->alpn;
        return true;
    case MC_FACT_TLS_RESUMED:
        *out = info->resumed ? MC_STR("r") : MC_STR(".");
        return true;
    default:
        return of_client(r, info->peer, f, out);
    }
}

/* ---- the upstream */

static bool seconds(struct mc_request *r, uint64_t from, uint64_t to, struct mc_str *out)
{
    char text[32];
    if (to < from || from == 0) {
        return false;
    }
    int n = snprintf(text, sizeof text, "%llu.%03llu", (unsigned long long) (to - from) / 1000, (unsigned long long) (to - from) % 1000);
    return keep(r, text, (size_t) n, out);
}

static bool of_upstream(struct mc_request *r, enum mc_fact f, struct mc_str *out)
{
    char text[16];
    const struct mc_call *c = r->relay ? &r->relay->call : NULL;
    if (c == NULL || c->started == 0) {
        return false;
    }
    switch (f) {
    case MC_FACT_UPSTREAM_ADDR:
        *out = mc_str(c->peer_text);
        return true;
    case MC_FACT_UPSTREAM_STATUS:
        return c->headed && keep(r, text, (size_t) snprintf(text, sizeof text, "%d", c->x.reply.status), out);
    case MC_FACT_UPSTREAM_CONNECT:
        return seconds(r, c->started, c->connected, out);
    case MC_FACT_UPSTREAM_HEAD:
        return seconds(r, c->started, c->headed, out);
    default:
        return seconds(r, c->started, c->ended ? c->ended : r->conn->worker->loop.now, out);
    }
}

bool mc_facts_get(struct mc_request *r, enum mc_fact f, struct mc_str *out)
{
    const struct mc_proxied *p = mc_request_proxied(r);
    const union mc_sockaddr *peer = mc_request_peer(r);
    switch (f) {
    case MC_FACT_SERVER_ADDR:
    case MC_FACT_SERVER_PORT:
        return local(r, f == MC_FACT_SERVER_PORT, out);
    case MC_FACT_PEER_ADDR:
        return address(r, p ? &p->via : peer, out);
    case MC_FACT_PEER_PORT:
        return port(r, p ? &p->via : peer, out);
    case MC_FACT_PROXY_ADDR:
        return p && address(r, peer, out);
    case MC_FACT_PROXY_PORT:
        return p && port(r, peer, out);
    case MC_FACT_PROXY_SERVER_ADDR:
        return p && address(r, &p->local, out);
    case MC_FACT_PROXY_SERVER_PORT:
        return p && port(r, &p->local, out);
    case MC_FACT_PROXY_AUTHORITY:
        *out = p ? p->authority : MC_STR_NONE;
        return out->n > 0;
    case MC_FACT_PROXY_UNIQUE_ID:
        *out = p ? p->unique_id : MC_STR_NONE;
        return out->n > 0;
    case MC_FACT_PROXY_SSL_VERSION:
        *out = p ? p->ssl_version : MC_STR_NONE;
        return out->n > 0;
    case MC_FACT_PROXY_SSL_CIPHER:
        *out = p ? p->ssl_cipher : MC_STR_NONE;
        return out->n > 0;
    case MC_FACT_PROXY_SSL_CN:
        *out = p && p->ssl_verified ? p->ssl_cn : MC_STR_NONE;
        return out->n > 0;
    case MC_FACT_REQUEST_ID:
        return request_id(r, out);
    case MC_FACT_UPSTREAM_ADDR:
    case MC_FACT_UPSTREAM_STATUS:
    case MC_FACT_UPSTREAM_CONNECT:
    case MC_FACT_UPSTREAM_HEAD:
    case MC_FACT_UPSTREAM_TIME:
        return of_upstream(r, f, out);
    default:
        return of_tls(r, f, out);
    }
}
