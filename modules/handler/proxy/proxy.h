/* What the files of this module share: the action's settings, and the pieces of a request to an upstream. Worker side, on the loop. */
#ifndef MC_MODULES_HANDLER_PROXY_PROXY_H
#define MC_MODULES_HANDLER_PROXY_PROXY_H

#include "core/config/tls_client.h"
#include "core/http/vars.h"
#include "core/server/relay.h"

struct mc_proxy_field {
    struct mc_str name;
    struct mc_vars *value;
};

enum { MC_PROXY_X = 1, MC_PROXY_RFC7239 = 2 };

/* Fields that are always ours to write. */
enum mc_proxy_own { MC_PROXY_HOST, MC_PROXY_FOR, MC_PROXY_PROTO, MC_PROXY_XHOST, MC_PROXY_PORT, MC_PROXY_OWN };

struct mc_proxy {
    struct mc_relay_conf relay;
    struct mc_tls_client tls;
    const char *host, *uri, *strip_prefix, *forwarded_text, *proxy_protocol;
    struct mc_strv set_header, upgrade;
    /* compiled */
    struct mc_vars *host_vars, *uri_vars;
    struct mc_proxy_field *fields;
    size_t nfields;
    struct mc_fields own;   /* by enum mc_proxy_own, without values */
    struct mc_str own_host; /* in place of a Host that the client did not send */
    unsigned forwarded;     /* MC_PROXY_* */
    unsigned proxy_version; /* of the PROXY protocol; 0: none */
};

/* fields.c: all fields of the request to the upstream. MC_OK or a status. */
int mc_proxy_fields(struct mc_request *r, const struct mc_proxy *a, struct mc_exchange *x);
/* pp.c: who the client is, for the first bytes of a connection. */
void mc_proxy_protocol(struct mc_relay *q, struct mc_chain *out);
/* The same for connections on nobody's behalf. */
struct mc_str mc_proxy_nobody(unsigned version);

#endif
