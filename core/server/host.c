/* What all connections of a listener share: limits of heads, and what their codecs may ask for. Filled in for the first of them. Worker side, on the loop. */
#include "core/server/engine.h"
#include "core/server/mux.h"

enum {
    HEAD_MAX = 1 << 20,  /* limit_request_head = 0 */
    FIELDS_MAX = 32768,  /* limit_request_fields = 0 */
};

static size_t limit(int64_t value, size_t none)
{
    return value > 0 ? (size_t) value : none;
}

static void fill(struct mc_listener *l)
{
    const struct mc_values *set = &l->conf->servers[0]->set;
    l->host = (struct mc_session_host){
        .set = set,
        .limits = {
            .line = limit(set->limit_request_line, SIZE_MAX),
            .fields = limit(set->limit_request_fields, FIELDS_MAX),
            .field_size = limit(set->limit_request_field_size, SIZE_MAX),
            .head = limit(set->limit_request_head, HEAD_MAX),
            .any_method = set->permit_unconventional_http_method,
        },
        .now = &l->worker->loop.now,
        .request_new = mc_request_new,
        .request_free = mc_request_free,
        .stream_new = mc_mux_stream_new,
        .stream_news = mc_mux_stream_news,
        .blame = mc_mux_blame,
    };
}

const struct mc_session_host *mc_host(struct mc_listener *l)
{
    if (mc_unlikely(l->host.set == NULL)) {
        fill(l);
    }
    return &l->host;
}
