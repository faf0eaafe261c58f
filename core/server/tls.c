/* TLS as the rest of the server sees it: where the transport is, and which requests a connection may not carry.
 * Worker side. */
#include "core/server/tls.h"

#include "core/base/module.h"
#include "core/server/hop.h"

const struct mc_transport_ops *mc_transport_tls(void)
{
    const struct mc_module *m = mc_module_find(MC_MODULE_TRANSPORT, "tls");
    return m ? m->ops.transport : NULL;
}

const struct mc_tls_info *mc_tls_of(const struct mc_request *r)
{
    if (r->conn == NULL || !r->tls) {
        return NULL;
    }
    return r->hop ? &r->hop->tls : mc_tls_info(&r->conn->stream);
}

bool mc_tls_misdirected(const struct mc_request *r)
{
    const struct mc_tls_info *info = mc_tls_of(r);
    return info && info->server && info->server != r->server && info->server->client_policy != r->server->client_policy;
}
