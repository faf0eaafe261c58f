/* TLS as the rest of the server sees it: where the transport is, facts of a connection, and which requests a connection may not carry.
 * Worker side; the facts by whoever has the request. */
#include "core/server/tls.h"

#include "core/base/module.h"
#include "core/server/conn.h"

const struct mc_transport_ops *mc_transport_tls(void)
{
    const struct mc_module *m = mc_module_find(MC_MODULE_TRANSPORT, "tls");
    return m ? m->ops.transport : NULL;
}

const struct mc_tls_info *mc_tls_of(const struct mc_request *r)
{
    return r->conn && r->tls ? mc_tls_info(&r->conn->stream) : NULL;
}

bool mc_tls_misdirected(const struct mc_request *r)
{
    const struct mc_tls_info *info = mc_tls_of(r);
    return info && info->server && info->server != r->server && info->server->client_policy != r->server->client_policy;
}

/* With every byte that is not unreserved as %XX, so that the lines of a PEM fit into a header. */
static struct mc_str escaped(struct mc_request *r, struct mc_str s)
{
    static const char hex[] = "0123456789ABCDEF";
    char *p = mc_arena_alloc(&r->arena, s.n * 3 + 1), *to = p;
    for (size_t i = 0; p && i < s.n; i++) {
        unsigned char c = (unsigned char) s.p[i];
        if ((mc_lower(c) >= 'a' && mc_lower(c) <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_') {
            *to++ = (char) c;
        } else {
            *to++ = '%';
            *to++ = hex[c >> 4];
            *to++ = hex[c & 15];
        }
    }
    return (struct mc_str){ p, p ? (size_t) (to - p) : 0 };
}

static bool peer_fact(struct mc_request *r, const struct mc_tls_info *info, enum mc_fact f, struct mc_str *out)
{
    const struct mc_tls_peer *p = info->peer;
    if (f == MC_FACT_TLS_VERIFY && !p) {
        *out = MC_STR("NONE");
        return info->server && info->server->client_policy != 0;
    }
    if (!p) {
        return false;
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
        *out = escaped(r, p->pem);
        return out->n > 0;
    default:
        return false;
    }
}

bool mc_tls_fact(struct mc_request *r, enum mc_fact f, struct mc_str *out)
{
    const struct mc_tls_info *info = mc_tls_of(r);
    if (!info) {
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
        return out->n > 0;
    case MC_FACT_TLS_ALPN:
        *out = info->alpn;
        return out->n > 0;
    case MC_FACT_TLS_RESUMED:
        *out = info->resumed ? MC_STR("r") : MC_STR(".");
        return true;
    default:
        return peer_fact(r, info, f, out);
    }
}
