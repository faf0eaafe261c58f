/* What codecs have in common. Worker side. */
#include "core/http/protocol.h"
#include "mc_config.h"

struct mc_str mc_protocol_server(const struct mc_request *r)
{
    const char *text = (r->server ? &r->server->set : r->session->host->set)->server_tokens;
    struct mc_str given = mc_str(text);
    if (r->resp.has_server || mc_str_eq(given, MC_STR("off")))
        return MC_STR_NONE;
    if (mc_str_eq(given, MC_STR("on")))
        return MC_STR("monoceros/" MC_VERSION);
    return mc_str_eq(given, MC_STR("name")) ? MC_STR("monoceros") : given;
}
