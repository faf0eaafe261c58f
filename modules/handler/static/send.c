/* Sends a file as the request asks: whole, in parts, or not at all because the client has it (RFC 9110 §13.2.2, §14.2). Small files come out of the cache's
 * memory in the same send as the head; large ones are ranges of a file in the output queue. Worker side, on the loop. */
#include "modules/handler/static/static.h"

#include "core/http/condition.h"
#include "core/http/mime.h"
#include "core/http/negotiate.h"
#include "core/http/range.h"
#include "core/server/handler.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum { FIELD_MAX = 256, PART_MAX = 512 };

#define BOUNDARY "monoceros-"
enum { BOUNDARY_LEN = sizeof(BOUNDARY) - 1 + 16 };

static struct mc_str print(struct mc_request *r, const char *fmt, ...) MC_PRINTF(2, 3);
static struct mc_str print(struct mc_request *r, const char *fmt, ...)
{
    char text[FIELD_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return n > 0 && (size_t)n < sizeof text ? mc_arena_dup(&r->arena, (struct mc_str){text, (size_t)n}) : MC_STR_NONE;
}

static struct mc_str media_type(struct mc_request *r, const struct mc_static_found *f)
{
    struct mc_str extension = mc_mime_extension(f->name), type = mc_static_type(f->s, extension);
    if (!type.p)
        type = mc_mime_type(extension);
    if (!type.p)
        type = mc_str(f->s->default_type);
    if (!mc_mime_is_text(type) || strcmp(f->s->charset, "off") == 0 || memchr(type.p, ';', type.n))
        return type;
    size_t n = type.n + 10 + strlen(f->s->charset);
    char *p = mc_arena_alloc(&r->arena, n);
    if (!p)
        return type;
    memcpy(p, type.p, type.n);
    memcpy(p + type.n, "; charset=", 10);
    memcpy(p + type.n + 10, f->s->charset, n - type.n - 10);
    return (struct mc_str){p, n};
}

/* The strong validator of this representation: one coding more is another sequence of bytes. */
static struct mc_str entity_tag(struct mc_request *r, const struct mc_static_found *f)
{
    size_t n = f->entry->etag_len, suffix = f->coding ? f->coding->suffix.n : 0;
    char *p = mc_arena_alloc(&r->arena, n + suffix + 2);
    if (!p)
        return MC_STR_NONE;
    p[0] = '"';
    memcpy(p + 1, f->entry->etag, n);
    if (suffix) {
        memcpy(p + 1 + n, f->coding->suffix.p, suffix);
        p[1 + n] = '-';
    }
    p[1 + n + suffix] = '"';
    return (struct mc_str){p, n + suffix + 2};
}

/* ---- heads ---- */

struct answer {
    struct mc_request *r;
    const struct mc_static_found *f;
    struct mc_validators v;
    struct mc_range ranges[MC_RANGES_MAX];
    unsigned nranges; /* 0: the whole */
    char boundary[BOUNDARY_LEN];
};

/* All values are made here, or were checked with the configuration. */
static bool add(struct answer *a, struct mc_str name, struct mc_str value)
{
    struct mc_field f = mc_field(name, value);
    return mc_response_add(a->r, &f) == MC_OK;
}

/* The fields of 200, 206 and 304 alike (§15.4.5). */
static bool begin(struct answer *a, int status)
{
    const struct mc_static *s = a->f->s;
    if (mc_response_begin(a->r, status, MC_STR_NONE) != MC_OK)
        return false;
    a->r->resp.fixed = true;
    if (!add(a, MC_STR("Last-Modified"), (struct mc_str){a->f->entry->modified, sizeof a->f->entry->modified}) || !add(a, MC_STR("ETag"), a->v.etag))
        return false;
    if (s->caching.n && !add(a, MC_STR("Cache-Control"), s->caching))
        return false;
    return s->ncodings == 0 || add(a, MC_STR("Vary"), MC_STR("Accept-Encoding"));
}

static bool describe(struct answer *a, struct mc_str type)
{
    return add(a, MC_STR("Content-Type"), type) && add(a, MC_STR("Accept-Ranges"), MC_STR("bytes")) &&
           (!a->f->coding || add(a, MC_STR("Content-Encoding"), a->f->coding->name));
}

static struct mc_str content_range(struct answer *a, const struct mc_range *g)
{
    return print(a->r, "bytes %lld-%lld/%lld", (long long)g->from, (long long)(g->from + g->n - 1), (long long)a->f->entry->size);
}

/* ---- bodies ---- */

static int put(struct answer *a, int64_t from, int64_t n)
{
    const struct mc_static_entry *e = a->f->entry;
    if (n == 0)
        return MC_OK;
    return e->file ? mc_response_file(a->r, e->file, from, n) : mc_response_write(a->r, e->data + from, (size_t)n);
}

/* A whole piece, and the end: in one send when it lies in memory. */
static int put_last(struct answer *a, int64_t from, int64_t n)
{
    const struct mc_static_entry *e = a->f->entry;
    mc_response_length(a->r, n);
    if (a->r->is_head)
        return mc_response_end(a->r, NULL, 0);
    if (!e->file)
        return mc_response_end(a->r, e->data + from, (size_t)n);
    return put(a, from, n) == MC_ERROR ? MC_ERROR : mc_response_end(a->r, NULL, 0);
}

static struct mc_str part_head(struct answer *a, char *text, size_t cap, struct mc_str type, const struct mc_range *g)
{
    int n = snprintf(text, cap, "\r\n--%.*s\r\nContent-Type: %.*s\r\nContent-Range: bytes %lld-%lld/%lld\r\n\r\n", BOUNDARY_LEN, a->boundary, (int)type.n,
                     type.p, (long long)g->from, (long long)(g->from + g->n - 1), (long long)a->f->entry->size);
    return n > 0 && (size_t)n < cap ? (struct mc_str){text, (size_t)n} : MC_STR_NONE;
}

static void make_boundary(struct answer *a)
{
    uint64_t number;
    if (getrandom(&number, sizeof number, GRND_NONBLOCK) != (ssize_t)sizeof number)
        number = (uint64_t)(uintptr_t)a ^ a->r->start_us * 0x9e3779b97f4a7c15u;
    memcpy(a->boundary, BOUNDARY, sizeof(BOUNDARY) - 1);
    for (unsigned i = 0; i < 16; i++, number >>= 4)
        a->boundary[sizeof(BOUNDARY) - 1 + i] = "0123456789abcdef"[number & 15];
}

/* multipart/byteranges (§14.6). All of it fits the queue: ranges of a file take no memory there, and a file in memory is small. */
static int send_parts(struct answer *a, struct mc_str type)
{
    char text[PART_MAX], end[BOUNDARY_LEN + 8];
    int64_t total = BOUNDARY_LEN + 8;
    make_boundary(a);
    for (unsigned i = 0; i < a->nranges; i++) {
        struct mc_str head = part_head(a, text, sizeof text, type, &a->ranges[i]);
        if (!head.p)
            return 500;
        total += (int64_t)head.n + a->ranges[i].n;
    }
    struct mc_str media = print(a->r, "multipart/byteranges; boundary=%.*s", BOUNDARY_LEN, a->boundary);
    if (!begin(a, 206) || !media.p || !describe(a, media))
        return 500;
    mc_response_length(a->r, total);
    for (unsigned i = 0; i < a->nranges && !a->r->is_head; i++) {
        struct mc_str head = part_head(a, text, sizeof text, type, &a->ranges[i]);
        if (mc_response_write(a->r, head.p, head.n) == MC_ERROR || put(a, a->ranges[i].from, a->ranges[i].n) == MC_ERROR)
            return MC_ERROR;
    }
    snprintf(end, sizeof end, "\r\n--%.*s--", BOUNDARY_LEN, a->boundary);
    memcpy(end + BOUNDARY_LEN + 6, "\r\n", 2);
    return mc_response_end(a->r, end, a->r->is_head ? 0 : sizeof end);
}

static int refuse_range(struct answer *a)
{
    struct mc_str range = print(a->r, "bytes */%lld", (long long)a->f->entry->size);
    if (!begin(a, 416) || !range.p || !add(a, MC_STR("Content-Range"), range) || !add(a, MC_STR("Accept-Ranges"), MC_STR("bytes")))
        return 500;
    return mc_response_end(a->r, NULL, 0);
}

/* Which parts are wanted. MC_OK or 416. */
static int choose_ranges(struct answer *a)
{
    const struct mc_field *range = a->r->is_head ? NULL : mc_fields_get(&a->r->head.fields, MC_F_RANGE); /* §14.2: defined for GET */
    if (!range || !mc_condition_range(&a->r->head.fields, &a->v))
        return MC_OK;
    int rc = mc_range_parse(range->value, a->f->entry->size, a->ranges, &a->nranges);
    if (rc == MC_DECLINED)
        a->nranges = 0;
    return rc == 416 ? 416 : MC_OK;
}

int mc_static_send(struct mc_request *r, const struct mc_static_found *f)
{
    struct answer a; /* without its ranges: they take longer to clear than the rest */
    a.r = r;
    a.f = f;
    a.nranges = 0;
    a.v = (struct mc_validators){.etag = entity_tag(r, f), .modified = f->entry->mtime.tv_sec};
    if (!a.v.etag.p)
        return 503;
    int rc = mc_condition(&r->head.fields, &a.v);
    if (rc == 304)
        return begin(&a, 304) ? mc_response_end(r, NULL, 0) : 500;
    if (rc != MC_OK)
        return rc;
    if (choose_ranges(&a) == 416)
        return refuse_range(&a);
    struct mc_str type = media_type(r, f);
    if (a.nranges > 1)
        return send_parts(&a, type);
    if (!begin(&a, a.nranges ? 206 : 200) || !describe(&a, type))
        return 500;
    if (a.nranges == 0)
        return put_last(&a, 0, f->entry->size);
    struct mc_str range = content_range(&a, &a.ranges[0]);
    return range.p && add(&a, MC_STR("Content-Range"), range) ? put_last(&a, a.ranges[0].from, a.ranges[0].n) : 500;
}
