/* Chunked bodies: the same data, trailers and end however the bytes arrive. First byte: how many at a time. */
#include "core/base/base.h"
#include "core/http/chunk.h"
#include "tests/fuzz/exact.h"

struct result {
    int rc;
    size_t used;
    struct mc_sb body;
    uint32_t trailers;
};

/* One call; what it took and gave lies inside of what it was shown. */
static void decode_once(struct mc_chunk *c, const char *p, size_t n, struct result *r, struct mc_arena *a, struct mc_fields *trailers)
{
    struct mc_str data;
    size_t used;
    char *copy = exact_copy(p, n);
    r->rc = mc_chunk_decode(c, copy, n, &used, &data, a, trailers);
    MC_ASSERT(used <= n && (data.n == 0 || (data.p >= copy && data.p + data.n == copy + used)));
    MC_ASSERT(r->rc != MC_OK || data.n > 0);
    MC_ASSERT(r->rc != MC_AGAIN || used == n);
    mc_sb_add(&r->body, data.p, data.n);
    r->used += used;
    free(copy);
}

static struct result decode(const char *p, size_t n, size_t step)
{
    struct result r = {.rc = MC_AGAIN};
    struct mc_fields trailers = {.v = NULL};
    struct mc_chunk c;
    struct mc_arena a;
    size_t shown = 0;
    mc_arena_init(&a);
    mc_sb_init(&r.body, 1 << 26);
    mc_chunk_init(&c);
    while (r.rc == MC_AGAIN && shown < n) {
        shown = n - shown < step ? n : shown + step;
        do
            decode_once(&c, p + r.used, shown - r.used, &r, &a, &trailers);
        while (r.rc == MC_OK);
    }
    for (uint32_t i = 0; i < trailers.n; i++) {
        const struct mc_field *f = &trailers.v[i];
        MC_ASSERT(f->id == MC_F_OTHER && mc_field_name_ok(f->name) && mc_field_value_ok(f->value));
    }
    r.trailers = trailers.n;
    mc_arena_fini(&a);
    MC_ASSERT(r.rc == MC_AGAIN || r.rc == MC_DECLINED || r.rc == 400 || r.rc == 431);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *p = (const char *)data + 1;
    struct result whole = decode(p, size - 1, size - 1), pieces = decode(p, size - 1, 1 + data[0] % 32u);
    MC_ASSERT(whole.rc == pieces.rc && whole.used == pieces.used && whole.trailers == pieces.trailers);
    MC_ASSERT(whole.body.n == pieces.body.n && (whole.body.n == 0 || memcmp(whole.body.p, pieces.body.p, whole.body.n) == 0));
    MC_ASSERT(whole.rc != MC_DECLINED || (whole.used >= 5 && memcmp(p + whole.used - 4, "\r\n\r\n", 4) == 0));
    mc_sb_fini(&whole.body);
    mc_sb_fini(&pieces.body);
    return 0;
}
