/* Request heads and trailers. nghttp2 has unpacked them and holds them to RFC 9113 8.2 and 8.3 (names in lower case, pseudo-header fields, nothing that
 * belongs to a connection); then the same rules as for HTTP/1.1 apply (core/http/head.h). A stream gets its connection when its head is complete, so
 * that a peer who begins many costs little. Worker side, on the loop. */
#include "modules/protocol/http2/http2.h"

#include "core/http/chunk.h"

#include <stdlib.h>

enum { FIELD_COST = 32 /* RFC 9113 6.5.2 */, BOMB = 4 /* times the limit: the connection ends */, FIELDS_FEW = 32, TEXT_SHORT = 496 };

void mc_http2_head_begin(struct mc_http2 *h)
{
    mc_http2_head_free(h);
    h->head.n = 0;
    h->head.text_n = h->head.size = 0;
    h->head.status = 0;
    h->head.continuations = 0;
}

/* Idle connections hold no memory for it. */
void mc_http2_head_free(struct mc_http2 *h)
{
    mc_small_put(h->head.text);
    mc_small_put(h->head.v);
    h->head.text = NULL;
    h->head.v = NULL;
    h->head.text_cap = 0;
    h->head.cap = 0;
}

static int grow(struct mc_http2 *h, size_t text)
{
    uint32_t cap = h->head.n < h->head.cap ? h->head.cap : h->head.cap ? h->head.cap * 2 : FIELDS_FEW;
    size_t text_cap = h->head.text_cap ? h->head.text_cap : TEXT_SHORT;
    while (text_cap < h->head.text_n + text)
        text_cap *= 2;
    void *v = cap == h->head.cap ? h->head.v : mc_small_resize(h->head.v, cap * sizeof(*h->head.v));
    if (!v)
        return MC_ERROR;
    h->head.v = v;
    h->head.cap = cap;
    void *p = text_cap == h->head.text_cap ? h->head.text : mc_small_resize(h->head.text, text_cap);
    if (!p)
        return MC_ERROR;
    h->head.text = p;
    h->head.text_cap = text_cap;
    return MC_OK;
}

int mc_http2_head_add(struct mc_http2 *h, struct mc_str name, struct mc_str value)
{
    size_t n = name.n + value.n;
    h->head.size += n + FIELD_COST;
    if (h->head.size > h->list_max || h->head.n > h->s->host->limits.fields + 4) { /* with the pseudo-header fields */
        h->head.status = 431;
        return h->head.size > BOMB * h->list_max ? MC_ERROR : MC_OK;
    }
    if ((h->head.n == h->head.cap || h->head.text_cap - h->head.text_n < n) && grow(h, n) != MC_OK) {
        h->head.status = 503;
        return MC_OK;
    }
    memcpy(mempcpy(h->head.text + h->head.text_n, name.p, name.n), value.p, value.n);
    h->head.text_n += n;
    h->head.v[h->head.n++] = (struct mc_http2_lengths){(uint32_t)name.n, (uint32_t)value.n};
    return MC_OK;
}

/* ---- a request */

struct pseudo {
    struct mc_str method, scheme, authority, path, protocol;
};

static struct mc_str *pseudo_field(struct pseudo *p, struct mc_str name)
{
    if (mc_str_eq(name, MC_STR(":method")))
        return &p->method;
    if (mc_str_eq(name, MC_STR(":scheme")))
        return &p->scheme;
    if (mc_str_eq(name, MC_STR(":authority")))
        return &p->authority;
    if (mc_str_eq(name, MC_STR(":protocol")))
        return &p->protocol;
    return mc_str_eq(name, MC_STR(":path")) ? &p->path : NULL;
}

/* The crumbs of a cookie become one field again (RFC 9113 8.2.3). */
static int join_cookies(struct mc_request *r)
{
    struct mc_fields *f = &r->head.fields;
    size_t size = 0, crumbs = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        if (f->v[i].id == MC_F_COOKIE) {
            size += f->v[i].value.n + 2;
            crumbs++;
        }
    }
    if (crumbs < 2)
        return MC_OK;
    char *text = mc_arena_alloc(&r->arena, size), *w = text;
    struct mc_field *first = NULL;
    uint32_t kept = 0;
    if (!text)
        return 503;
    for (uint32_t i = 0; i < f->n; i++) {
        bool cookie = f->v[i].id == MC_F_COOKIE;
        if (cookie) {
            w = w == text ? w : mempcpy(w, "; ", 2);
            w = mempcpy(w, f->v[i].value.p, f->v[i].value.n);
        }
        if (cookie && first)
            continue;
        f->v[kept] = f->v[i];
        if (cookie)
            first = &f->v[kept];
        kept++;
    }
    f->n = kept;
    first->value = (struct mc_str){text, (size_t)(w - text)};
    return MC_OK;
}

/* The authority stands where HTTP/1.1 has Host: first, and the only one (RFC 9113 8.3.1). */
static int put_host(struct mc_request *r, struct mc_str authority)
{
    struct mc_fields *f = &r->head.fields;
    for (uint32_t i = 1; i < f->n; i++) {
        if (f->v[i].id != MC_F_HOST)
            continue;
        if (authority.p && !mc_str_eq_nocase(f->v[i].value, authority))
            return 400;
        if (!authority.p)
            return MC_OK;
        memmove(&f->v[i], &f->v[i + 1], (f->n - i - 1) * sizeof(*f->v));
        f->n--;
        i--;
    }
    return MC_OK;
}

/* "GET /path HTTP/2.0" in one piece, as whoever tells of a request expects it. */
static int put_line(struct mc_request *r, const struct pseudo *p)
{
    char *line = mc_arena_alloc(&r->arena, p->method.n + p->path.n + 16);
    if (!line)
        return 503;
    char *w = mempcpy(line, p->method.p, p->method.n);
    *w++ = ' ';
    r->head.method = (struct mc_str){line, p->method.n};
    r->head.target = (struct mc_str){w, p->path.n};
    if (p->path.n)
        w = mempcpy(w, p->path.p, p->path.n);
    memcpy(w, " HTTP/2.0", 9);
    return MC_OK;
}

static int split(struct mc_http2 *h, struct mc_request *r, struct pseudo *p)
{
    struct mc_str all = mc_arena_dup(&r->arena, (struct mc_str){h->head.text, h->head.text_n});
    const char *at = all.p;
    if (!all.p)
        return 503;
    for (uint32_t i = 0; i < h->head.n; i++) {
        struct mc_str name = {at, h->head.v[i].name}, value = {at + name.n, h->head.v[i].value};
        at += name.n + value.n;
        struct mc_str *slot = name.n && name.p[0] == ':' ? pseudo_field(p, name) : NULL;
        if (slot)
            *slot = value;
        else if (mc_fields_add(&r->head.fields, &r->arena, name, value) != MC_OK)
            return 503;
    }
    return MC_OK;
}

/* The place of Host is kept free at the front, for the authority. */
static int gather(struct mc_http2 *h, struct mc_request *r, struct pseudo *p)
{
    struct mc_fields *f = &r->head.fields;
    if (mc_fields_add(f, &r->arena, MC_STR("host"), MC_STR("")) != MC_OK)
        return 503;
    int rc = split(h, r, p);
    if (!rc && p->protocol.n)
        p->method = MC_STR("GET"); /* see tunnel.c */
    if (!rc)
        rc = put_line(r, p); /* the log wants it, whatever comes next */
    if (!rc)
        rc = put_host(r, p->authority);
    if (p->authority.p) {
        f->v[0].value = p->authority;
    } else {
        memmove(&f->v[0], &f->v[1], (f->n - 1) * sizeof(*f->v));
        f->n--;
    }
    return rc ? rc : join_cookies(r);
}

/* RFC 9113 8.3.1: a path unless the method is CONNECT; what is said of the body must fit the frames. */
static int check(struct mc_http2_stream *st, const struct pseudo *p)
{
    struct mc_request *r = st->r;
    if (mc_str_eq(r->head.method, MC_STR("CONNECT")))
        return 501;
    if (!mc_str_eq_nocase(p->scheme, MC_STR("http")) && !mc_str_eq_nocase(p->scheme, MC_STR("https")))
        return 400;
    if (!p->path.n || (p->path.p[0] != '/' && !(p->path.n == 1 && p->path.p[0] == '*')))
        return 400;
    int rc = mc_head_check(&st->s->host->limits, !st->ended && p->protocol.n == 0, &r->head);
    if (!rc && p->protocol.n)
        rc = mc_http2_tunnel_ask(r, p->protocol);
    if (rc)
        return rc;
    r->uri = r->head.uri;
    r->path = r->uri.path;
    return r->path.p[0] == '*' ? MC_OK : mc_uri_normalise(&r->arena, r->uri.path, &r->path);
}

/* A front server that is trusted to speak cleartext HTTP/2 says which scheme its client used. */
static int believe_scheme(struct mc_request *r, const struct pseudo *p)
{
    if (r->tls || !mc_str_eq_nocase(p->scheme, MC_STR("https")))
        return MC_OK;
    struct mc_front *front = mc_arena_calloc(&r->arena, sizeof(*front));
    if (!front)
        return 503;
    front->https = true;
    r->front = front;
    return MC_OK;
}

static struct mc_http2_stream *add_stream(struct mc_http2 *h, int32_t id, bool ended)
{
    struct mc_http2_stream *st = mc_small_get(sizeof(*st));
    struct mc_session *s = st ? h->s->host->stream_new(h->s) : NULL;
    if (!s) {
        mc_small_put(st);
        return NULL;
    }
    *st = (struct mc_http2_stream){.h = h, .s = s, .id = id, .ended = ended};
    mc_chain_init(&st->in);
    mc_chain_init(&st->raw);
    mc_chain_init(&st->body);
    mc_list_push(&h->streams, &st->link);
    h->nstreams++;
    s->ops = &mc_http2_stream_ops;
    s->proto = st;
    return st;
}

int mc_http2_head_open(struct mc_http2 *h, int32_t id, bool ended)
{
    struct pseudo p = {.authority = MC_STR_NONE};
    if (h->nstreams >= h->streams_max)
        return MC_DECLINED;
    struct mc_http2_stream *st = add_stream(h, id, ended);
    if (!st)
        return MC_ERROR;
    (void)nghttp2_session_set_stream_user_data(h->ng, id, st);
    struct mc_request *r = st->r = st->s->host->request_new(st->s);
    if (!r) {
        mc_http2_tell(st, MC_STREAM_CUT, 0);
        return MC_OK;
    }
    r->id = (uint64_t)id;
    r->head.version = 1; /* what is said of 1.1 holds: interim answers, trailers, bodies of unknown length */
    r->head.content_length = -1;
    int rc = h->head.status;
    if (!rc || rc == 431) { /* of one that is too long as much as there is, for the log */
        int bad = gather(h, r, &p);
        rc = rc ? rc : bad;
    }
    if (!rc)
        rc = check(st, &p);
    if (!rc)
        rc = believe_scheme(r, &p);
    r->is_head = mc_str_eq(r->head.method, MC_STR("HEAD"));
    st->status = rc;
    st->tunnel = !rc && p.protocol.n > 0;
    mc_http2_tell(st, MC_STREAM_INPUT, 0);
    return MC_OK;
}

/* ---- trailers */

/* Kept as they are until the stream's connection asks: its request may be in use elsewhere. */
int mc_http2_head_trailers(struct mc_http2 *h, struct mc_http2_stream *st)
{
    size_t lengths = h->head.n * sizeof(*h->head.v);
    if (h->head.status || st->trailers)
        return MC_ERROR;
    if (h->head.n == 0)
        return MC_OK;
    st->trailers = malloc(lengths + h->head.text_n);
    if (!st->trailers)
        return MC_ERROR;
    memcpy(mempcpy(st->trailers, h->head.v, lengths), h->head.text, h->head.text_n);
    st->trailers_n = h->head.n;
    st->trailers_text = h->head.text_n;
    return MC_OK;
}

int mc_http2_head_take_trailers(struct mc_http2_stream *st)
{
    struct mc_request *r = st->r;
    struct mc_fields *f = &r->body.trailers;
    const struct mc_http2_lengths *v = (const void *)st->trailers;
    struct mc_str all = MC_STR_NONE;
    if (st->trailers_n == 0)
        return MC_OK;
    all = mc_arena_dup(&r->arena, (struct mc_str){st->trailers + st->trailers_n * sizeof(*v), st->trailers_text});
    const char *at = all.p;
    for (uint32_t i = 0; at && i < st->trailers_n; i++) {
        struct mc_str name = {at, v[i].name}, value = {at + name.n, v[i].value};
        at += name.n + value.n;
        if (!mc_field_name_ok(name) || !mc_field_value_ok(value))
            return 400;
        if (mc_fields_add(f, &r->arena, name, value) != MC_OK)
            return 503;
        if (!mc_chunk_may_trail(&f->v[f->n - 1]))
            f->n--;
    }
    return at ? MC_OK : 503;
}
