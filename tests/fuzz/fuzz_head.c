/* Heads of requests and responses: the search must not depend on how bytes arrive, and what is accepted is what it claims to be.
 * First byte: limits, kind, and how many bytes arrive at a time. */
#include "core/base/base.h"
#include "core/http/head.h"
#include "tests/fuzz/exact.h"

static const struct mc_head_limits limits[] = {
    {.line = 4094, .fields = 100, .field_size = 8190, .head = 65536},
    {.line = 40, .fields = 4, .field_size = 40, .head = 150},
};

/* The head among the bytes when they arrive `step` at a time. */
static int find(const char *p, size_t n, size_t step, bool response, const struct mc_head_limits *lim, struct mc_str *head)
{
    struct mc_head_scan scan = {.response = response};
    size_t from = 0, shown = 0;
    int rc = MC_AGAIN;
    *head = MC_STR_NONE;
    while (rc == MC_AGAIN && shown < n) {
        size_t skip = 0, len = 0;
        shown = n - shown < step ? n : shown + step;
        char *copy = exact_copy(p + from, shown - from);
        rc = mc_head_find(&scan, copy, shown - from, lim, &skip, &len);
        free(copy);
        if (rc > 0)
            break;
        from += skip;
        MC_ASSERT(from <= shown && (rc != MC_OK || from + len <= shown));
        if (rc == MC_OK)
            *head = (struct mc_str){p + from, len};
    }
    MC_ASSERT(rc == MC_OK || rc == MC_AGAIN || rc == 400 || rc == 414 || rc == 431 || rc == 505);
    return rc;
}

static bool inside(struct mc_str part, struct mc_str whole)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

/* Counted by name, not by id: the ids are what is under test. */
static void check_fields(const struct mc_head *h, struct mc_str head)
{
    unsigned lengths = 0, codings = 0;
    for (uint32_t i = 0; i < h->fields.n; i++) {
        const struct mc_field *f = &h->fields.v[i];
        MC_ASSERT(inside(f->name, head) && inside(f->value, head));
        MC_ASSERT(mc_field_name_ok(f->name) && mc_field_value_ok(f->value));
        MC_ASSERT(mc_str_eq(f->value, mc_str_trim(f->value)));
        lengths += mc_str_eq_nocase(f->name, MC_STR("content-length"));
        codings += mc_str_eq_nocase(f->name, MC_STR("transfer-encoding"));
    }
    MC_ASSERT(lengths + codings <= 1); /* the heart of request smuggling */
    MC_ASSERT(codings == 0 || h->version == 1);
    MC_ASSERT((h->content_length >= 0) == (lengths == 1));
    if (!h->status)
        MC_ASSERT(h->framing == (codings ? MC_BODY_CHUNKED : h->content_length > 0 ? MC_BODY_LENGTH : MC_BODY_NONE));
}

/* Lines of the head as anybody would count them. */
static unsigned lines(struct mc_str head)
{
    unsigned n = 0;
    for (size_t i = 0; i < head.n; i++) {
        MC_ASSERT(head.p[i] != 0 && (head.p[i] == '\r') == (i + 1 < head.n && head.p[i + 1] == '\n'));
        n += head.p[i] == '\n';
    }
    return n;
}

static void check_head(struct mc_str head, const struct mc_head_limits *lim, bool response, bool head_request)
{
    struct mc_arena a;
    struct mc_head h;
    mc_arena_init(&a);
    int rc = response ? mc_head_response(&a, head.p, head.n, head_request, &h) : mc_head_request(&a, head.p, head.n, lim, &h);
    MC_ASSERT(rc == MC_OK || rc == MC_ERROR || (rc >= 400 && rc <= 505 && rc != 500));
    if (rc == MC_OK) {
        check_fields(&h, head);
        MC_ASSERT(lines(head) == h.fields.n + 2 && h.fields.n <= lim->fields);
        MC_ASSERT(inside(h.method, head) && inside(h.target, head) && inside(h.host, head) && inside(h.port, head));
        MC_ASSERT(response || (h.method.n && h.uri.path.n && (h.host.n || h.version == 0)));
    }
    mc_arena_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const struct mc_head_limits *lim = &limits[data[0] & 1];
    bool response = data[0] & 2;
    const char *p = (const char *)data + 1;
    struct mc_str whole, pieces;
    int rc = find(p, size - 1, size - 1, response, lim, &whole);
    int again = find(p, size - 1, 1 + (data[0] >> 3), response, lim, &pieces);
    MC_ASSERT(again == rc || (rc > 0 && again > 0)); /* with several faults the order of checks decides */
    MC_ASSERT(whole.p == pieces.p && whole.n == pieces.n);
    if (rc != MC_OK)
        return 0;
    MC_ASSERT(whole.n <= lim->head);
    char *copy = exact_copy(whole.p, whole.n);
    check_head((struct mc_str){copy, whole.n}, lim, response, data[0] & 4);
    free(copy);
    return 0;
}
