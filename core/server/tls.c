/* Finds the TLS transport of this build. Worker side. */
#include "core/server/tls.h"

#include "core/base/module.h"

const struct mc_transport_ops *mc_transport_tls(void)
{
    const struct mc_module *m = mc_module_find(MC_MODULE_TRANSPORT, "tls");
    return m ? m->ops.transport : NULL;
}
