/* Replies of FastCGI and uwsgi upstreams: the same events however the bytes arrive; what is passed on is clean. First byte: which codec, and how many
 * bytes at a time. */
#include "core/http/gateway.h"
#include "tests/fuzz/exact.h"

struct result {
    enum mc_gw_kind end;
    size_t used;
    struct mc_sb body;
    int status;
    uint32_t fields;
    bool reusable;
};

static void check_head(const struct mc_exchange *x, struct result *r)
{
    MC_ASSERT(r->status == 0); /* one head */
    r->status = x->reply.status;
    r->fields = x->reply.fields.n;
    MC_ASSERT(r->status >= 200 && r->status <= 599 && mc_field_value_ok(x->reply.reason));
    for (uint32_t i = 0; i < r->fields; i++) {
        const struct mc_field *f = &x->reply.fields.v[i];
        MC_ASSERT(mc_field_name_ok(f->name) && mc_field_value_ok(f->value) && f->id != MC_F_TRANSFER_ENCODING);
    }
}

/* One call; what it took and gave lies inside of what it was shown. */
static enum mc_gw_kind read_once(const struct mc_gateway_ops *ops, struct mc_exchange *x, const char *p, size_t n, bool eof, struct result *r)
{
    struct mc_gw_event ev;
    size_t used;
    char *copy = exact_copy(p, n);
    ops->input(x, copy, n, eof, &used, &ev);
    MC_ASSERT(used <= n);
    r->used += used;
    if (ev.kind == MC_GW_HEAD)
        check_head(x, r);
    if (ev.kind == MC_GW_DATA || ev.kind == MC_GW_STDERR)
        MC_ASSERT(ev.data.n > 0 && ev.data.p >= copy && ev.data.p + ev.data.n <= copy + used);
    if (ev.kind == MC_GW_DATA) {
        MC_ASSERT(r->status != 0);
        mc_sb_add(&r->body, ev.data.p, ev.data.n);
    }
    MC_ASSERT(ev.kind != MC_GW_END || r->status != 0);
    MC_ASSERT(ev.kind != MC_GW_ERROR || ev.why);
    free(copy);
    return ev.kind;
}

static struct result run(const struct mc_gateway_ops *ops, bool head, const char *p, size_t n, size_t step)
{
    struct result r = {.end = MC_GW_MORE};
    struct mc_arena a;
    struct mc_chain out;
    size_t shown = 0;
    bool eof = false;
    mc_arena_init(&a);
    mc_chain_init(&out);
    mc_sb_init(&r.body, 1 << 26);
    struct mc_exchange x = {.arena = &a, .method = MC_STR("GET"), .is_head = head, .keep = true};
    MC_ASSERT(ops->head(&x, &out) == MC_OK && ops->body(&x, &out, NULL, 0, true) == MC_OK);
    mc_chain_fini(&out);
    while (r.end != MC_GW_END && r.end != MC_GW_ERROR) {
        r.end = read_once(ops, &x, p + r.used, shown - r.used, eof, &r);
        if (r.end != MC_GW_MORE)
            continue;
        MC_ASSERT(!eof);
        eof = shown == n;
        shown = n - shown < step ? n : shown + step;
    }
    r.reusable = x.reusable;
    mc_arena_fini(&a);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const struct mc_gateway_ops *ops = data[0] & 0x80 ? &mc_gateway_uwsgi : &mc_gateway_fastcgi;
    const char *p = (const char *)data + 1;
    bool head = data[0] & 0x40;
    struct result whole = run(ops, head, p, size - 1, size), pieces = run(ops, head, p, size - 1, 1 + data[0] % 32u);
    MC_ASSERT(whole.end == pieces.end && whole.status == pieces.status && whole.fields == pieces.fields);
    MC_ASSERT(whole.end == MC_GW_ERROR || (whole.used == pieces.used && whole.body.n == pieces.body.n && whole.reusable == pieces.reusable));
    MC_ASSERT(whole.end == MC_GW_ERROR || whole.body.n == 0 || memcmp(whole.body.p, pieces.body.p, whole.body.n) == 0);
    mc_sb_fini(&whole.body);
    mc_sb_fini(&pieces.body);
    return 0;
}
