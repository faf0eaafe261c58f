/* Replies of HTTP/1.1 upstreams: the same events, body and end however the bytes arrive. First byte: how many at a time; second: what was asked. */
#include "core/http/gateway.h"
#include "tests/fuzz/exact.h"

struct result {
    enum mc_gw_kind last; /* END, ERROR, or MORE: not over */
    unsigned interims, heads;
    int status;
    bool reusable, switched;
    size_t used;
    uint32_t trailers;
    struct mc_sb body;
};

static void take(struct result *r, const struct mc_exchange *x, const struct mc_gw_event *ev)
{
    r->last = ev->kind;
    switch (ev->kind) {
    case MC_GW_INTERIM:
        MC_ASSERT(r->heads == 0 && x->reply.status >= 100 && x->reply.status < 200 && x->reply.status != 101);
        r->interims++;
        break;
    case MC_GW_HEAD:
        MC_ASSERT(r->heads == 0 && (x->reply.status == 101 || (x->reply.status >= 200 && x->reply.status < 600)));
        MC_ASSERT((x->reply.status == 101) == x->switched && mc_field_value_ok(x->reply.reason));
        for (uint32_t i = 0; i < x->reply.fields.n; i++) {
            MC_ASSERT(mc_field_name_ok(x->reply.fields.v[i].name) && mc_field_value_ok(x->reply.fields.v[i].value));
        }
        r->heads++;
        r->status = x->reply.status;
        break;
    case MC_GW_DATA:
        MC_ASSERT(r->heads == 1 && ev->data.n > 0);
        mc_sb_add(&r->body, ev->data.p, ev->data.n);
        break;
    case MC_GW_ERROR:
        MC_ASSERT(ev->why != NULL);
        break;
    default:
        break;
    }
}

static struct result read_reply(const char *p, size_t n, size_t step, unsigned asked)
{
    struct result r = { .last = MC_GW_MORE };
    struct mc_arena a;
    struct mc_chain out;
    mc_arena_init(&a);
    mc_chain_init(&out);
    mc_sb_init(&r.body, 1 << 26);
    struct mc_exchange x = { .arena = &a, .method = asked & 1 ? MC_STR("HEAD") : MC_STR("GET"), .target = MC_STR("/"), .is_head = asked & 1, .keep = true };
    x.upgrade = asked & 2 ? MC_STR("websocket") : MC_STR_NONE;
    bool eof = asked & 4;
    MC_ASSERT(mc_gateway_http1.head(&x, &out) == MC_OK && mc_gateway_http1.body(&x, &out, NULL, 0, true) == MC_OK);
    for (size_t have = 0; r.last != MC_GW_END && r.last != MC_GW_ERROR;) {
        struct mc_gw_event ev;
        size_t used;
        bool ended = eof && have == n;
        char *copy = exact_copy(p + r.used, have - r.used);
        mc_gateway_http1.input(&x, copy, have - r.used, ended, &used, &ev);
        MC_ASSERT(used <= have - r.used);
        MC_ASSERT(ev.kind != MC_GW_DATA || (ev.data.p >= copy && ev.data.p + ev.data.n <= copy + used));
        r.used += used;
        take(&r, &x, &ev);
        free(copy);
        if (ev.kind == MC_GW_MORE && used == 0) {
            MC_ASSERT(!ended); /* the end of the stream decides */
            if (have == n && !eof) {
                break;
            }
            have = n - have < step ? n : have + step;
        }
    }
    MC_ASSERT(r.last != MC_GW_END || r.heads == 1);
    MC_ASSERT((size_t) x.received == r.body.n);
    r.reusable = x.reusable;
    r.switched = x.switched;
    r.trailers = x.trailers.n;
    mc_chain_fini(&out);
    mc_arena_fini(&a);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) {
        return 0;
    }
    const char *p = (const char *) data + 2;
    struct result whole = read_reply(p, size - 2, size - 2, data[1]), pieces = read_reply(p, size - 2, 1 + data[0] % 32u, data[1]);
    MC_ASSERT(whole.last == pieces.last && whole.interims == pieces.interims && whole.heads == pieces.heads && whole.status == pieces.status);
    MC_ASSERT(whole.last != MC_GW_END || (whole.used == pieces.used && whole.reusable == pieces.reusable && whole.trailers == pieces.trailers));
    MC_ASSERT(whole.body.n == pieces.body.n && (whole.body.n == 0 || memcmp(whole.body.p, pieces.body.p, whole.body.n) == 0));
    MC_ASSERT(!whole.reusable || (!whole.switched && whole.last == MC_GW_END));
    mc_sb_fini(&whole.body);
    mc_sb_fini(&pieces.body);
    return 0;
}
