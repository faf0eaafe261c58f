/* TLS towards upstreams, as far as it is configuration: which settings go together, and a list of all, so that their files can be gathered.
 * Called by the check hooks of those that call upstreams. Arbiter and worker side. */
#include "core/config/tls_client.h"

#include <stdio.h>

int mc_tls_client_add(struct mc_conf *c, struct mc_tls_client *t, struct mc_conf_where at, bool image, char *err, size_t errcap)
{
    const char *flag = mc_module_absent_flag("transport", "tls");
    (void)image;
    if (!mc_module_find(MC_MODULE_TRANSPORT, "tls")) {
        snprintf(err, errcap, "https upstreams need the module tls, which was left out of this build: configure it with %s",
                 flag ? flag : "--with-tls");
        return MC_ERROR;
    }
    if (t->key && !t->cert) {
        snprintf(err, errcap, "tls_key: a key needs its tls_cert");
        return MC_ERROR;
    }
    for (const struct mc_tls_client *i = c->tls_clients; i; i = i->next) {
        if (i == t)
            return MC_OK;
    }
    t->at = at;
    t->index = c->ntls_clients++;
    t->next = c->tls_clients;
    c->tls_clients = t;
    return MC_OK;
}
