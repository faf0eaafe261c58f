/* What a trusted proxy in front of us says about the client's side: today the scheme (Gunicorn's secure_scheme_headers). Worker side. */
#include "core/server/engine.h"
#include "core/server/hop.h"

bool mc_forwarded_trusted(const struct mc_request *r)
{
    const union mc_sockaddr *peer = &r->conn->peer;
    if (mc_unlikely(r->hop != NULL)) {
        return (r->hop->f.flags & MC_HOP_TRUSTED) != 0;
    }
    return peer->family == AF_UNIX || mc_cidr_match(r->server->trusted, r->server->ntrusted, peer);
}

static MC_NOINLINE int read_fields(struct mc_request *r, const struct mc_worker *w)
{
    int said = -1; /* nobody said anything */
    for (uint32_t i = 0; i < r->head.fields.n; i++) {
        const struct mc_field *f = &r->head.fields.v[i];
        for (size_t k = 0; (w->secure_bits >> f->hash % 64 & 1) && k < w->nsecure; k++) {
            const struct mc_secure *s = &w->secure[k];
            if (f->hash != s->hash || !mc_str_eq_nocase(f->name, s->name)) {
                continue;
            }
            if (said == -1 && !mc_forwarded_trusted(r)) {
                return MC_OK;
            }
            int https = mc_str_eq(f->value, s->value);
            if (said != -1 && said != https) {
                return 400;
            }
            said = https;
        }
    }
    if (said != -1) {
        r->https = said;
    }
    return MC_OK;
}

int mc_forwarded_scheme(struct mc_request *r)
{
    const struct mc_worker *w = r->conn->worker;
    r->https = r->tls || (r->conn->proxied && r->conn->proxied->https) || (r->front && r->front->https);
    return r->head.fields.hashes & w->secure_bits ? read_fields(r, w) : MC_OK;
}
