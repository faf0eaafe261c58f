/* The section `compress { }`: responses leave in a coding that the client takes. Chooses by type, size and Accept-Encoding; the codings are modules of
 * their own. What could tell a secret by its compressed size (BREACH: a page with a token that repeats what the request said) is left alone unless
 * `cookies = yes`. Worker side; on the loop, or on the thread of a blocking handler. */
#include "core/base/module.h"
#include "core/http/negotiate.h"
#include "core/http/status.h"
#include "core/server/coding.h"
#include "core/server/filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CODINGS_MAX = 8, PIECE = 16384, ONE_PIECE_MAX = 256 * 1024 };

struct compress {
    bool enabled, cookies;
    struct mc_strv algorithms, types;
    int64_t min, level; /* level 0: each coding's own */
    /* compiled */
    unsigned n;
    const struct mc_coding_ops *codings[CODINGS_MAX];
    struct mc_str names[CODINGS_MAX];
};

static const struct mc_setting settings[] = {
    {.name = "enabled", .type = MC_SET_BOOL, .offset = offsetof(struct compress, enabled), .dflt = "yes", .doc = "no: leave out what an outer section asks for"},
    {.name = "algorithms", .type = MC_SET_LIST, .offset = offsetof(struct compress, algorithms), .dflt = "br,zstd,gzip", .meta = "CODING", .doc = "codings that may be used, the preferred first; those that are not built are passed over"},
    {.name = "types", .type = MC_SET_LIST, .offset = offsetof(struct compress, types), .dflt = "text/html,text/plain,text/css,text/javascript,text/xml,text/csv,text/markdown,application/javascript,application/json,application/ld+json,application/manifest+json,application/geo+json,application/xml,application/xhtml+xml,application/rss+xml,application/atom+xml,application/wasm,application/yaml,image/svg+xml,font/ttf,font/otf,application/vnd.ms-fontobject", .meta = "TYPE", .doc = "media types that are compressed: names, text/* or *"},
    {.name = "min", .type = MC_SET_SIZE, .offset = offsetof(struct compress, min), .dflt = "1k", .meta = "SIZE", .doc = "shorter responses are left as they are"},
    {.name = "level", .type = MC_SET_INT, .offset = offsetof(struct compress, level), .flags = MC_SETF_AUTO, .dflt = "auto", .min = 0, .max = 19, .meta = "INT", .doc = "how hard to try, within what each coding knows; auto: gzip 5, br 4, zstd 3"},
    {.name = "cookies", .type = MC_SET_BOOL, .offset = offsetof(struct compress, cookies), .dflt = "no", .doc = "also what answers a request with Cookie or Authorization, or sets a cookie: only where pages do not repeat what a request said beside a secret (BREACH)"},
    {.name = NULL},
};

/* ---- configuration */

static const struct mc_coding_ops *built(const char *coding)
{
    for (const struct mc_module *const *m = mc_modules; *m; m++) {
        if ((*m)->kind == MC_MODULE_CODING && strcmp((*m)->ops.coding->coding, coding) == 0)
            return (*m)->ops.coding;
    }
    return NULL;
}

static int check(struct mc_conf *conf, struct mc_conf_section *s, bool image, char *err, size_t errcap)
{
    struct compress *c = s->set;
    (void)conf;
    (void)image;
    c->n = 0;
    for (size_t i = 0; i < c->algorithms.n; i++) {
        const char *name = c->algorithms.v[i];
        const struct mc_coding_ops *ops = built(name);
        if (strcmp(name, "br") != 0 && strcmp(name, "zstd") != 0 && strcmp(name, "gzip") != 0 && !ops) {
            snprintf(err, errcap, "algorithms: '%.40s' is no coding that is known: br, zstd, gzip", name);
            return MC_ERROR;
        }
        for (unsigned k = 0; k < c->n; k++)
            ops = c->codings[k] == ops ? NULL : ops;
        if (!ops || c->n == CODINGS_MAX)
            continue;
        c->codings[c->n] = ops;
        c->names[c->n++] = mc_str(ops->coding);
    }
    if (c->n == 0 && c->enabled) {
        snprintf(err, errcap, "algorithms: none of them is in this build (configure --with-gzip, --with-brotli, --with-zstd)");
        return MC_ERROR;
    }
    return MC_OK;
}

static const struct mc_section section = {.name = "compress",
                                          .where = MC_AT_MAIN | MC_AT_SERVER | MC_AT_ROUTE,
                                          .settings = settings,
                                          .size = sizeof(struct compress),
                                          .check = check,
                                          .doc = "compresses responses for clients that take it"};
static const struct mc_section *const sections[] = {&section, NULL};

static int attach(struct mc_conf *conf, const struct mc_conf_server *server, const struct mc_conf_route *route, void **data)
{
    const struct mc_conf_section *s = mc_conf_section_for(conf, server, route, &section);
    const struct compress *c = s ? s->set : NULL;
    if (!c || !c->enabled)
        return MC_DECLINED;
    *data = s->set;
    return MC_OK;
}

/* ---- which responses */

static bool type_matches(const char *pattern, struct mc_str type)
{
    size_t n = strlen(pattern);
    if (strcmp(pattern, "*") == 0)
        return true;
    if (n > 2 && pattern[n - 1] == '*' && pattern[n - 2] == '/')
        return type.n >= n && mc_str_eq_nocase((struct mc_str){type.p, n - 1}, (struct mc_str){pattern, n - 1});
    return mc_str_eq_nocase(type, (struct mc_str){pattern, n});
}

static bool type_listed(const struct compress *c, const struct mc_response *resp)
{
    const struct mc_field *f = mc_fields_get(&resp->fields, MC_F_CONTENT_TYPE);
    if (!f)
        return false;
    const char *semi = memchr(f->value.p, ';', f->value.n);
    struct mc_str type = mc_str_trim((struct mc_str){f->value.p, semi ? (size_t)(semi - f->value.p) : f->value.n});
    for (size_t i = 0; i < c->types.n; i++) {
        if (type_matches(c->types.v[i], type))
            return true;
    }
    return false;
}

/* May this representation be given another coding? */
static bool suits(const struct compress *c, const struct mc_response *resp, int64_t whole)
{
    int64_t size = whole >= 0 ? whole : resp->length;
    if (resp->status == 206 || resp->status == 304 || mc_status_bodyless(resp->status) || (size >= 0 && size < c->min))
        return false;
    const struct mc_field *coded = mc_fields_get(&resp->fields, MC_F_CONTENT_ENCODING);
    if (coded && !mc_str_eq_nocase(coded->value, MC_STR("identity")))
        return false;
    if (mc_negotiate_has(&resp->fields, MC_F_CACHE_CONTROL, MC_STR("no-transform")) || mc_fields_find(&resp->fields, MC_STR("Content-Range")))
        return false;
    return type_listed(c, resp);
}

/* Does its length, once compressed, tell nothing that an attacker could use? */
static bool harmless(const struct compress *c, const struct mc_request *r)
{
    if (c->cookies || r->resp.fixed || mc_negotiate_has(&r->resp.fields, MC_F_CACHE_CONTROL, MC_STR("public")))
        return true;
    return !mc_fields_get(&r->head.fields, MC_F_COOKIE) && !mc_fields_get(&r->head.fields, MC_F_AUTHORIZATION) &&
           !mc_fields_get(&r->resp.fields, MC_F_SET_COOKIE);
}

/* ---- the head */

static void drop_field(struct mc_fields *f, struct mc_str name)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        if (!mc_str_eq_nocase(f->v[i].name, name))
            f->v[n++] = f->v[i];
    }
    f->n = n;
}

/* What was said of the bytes as they were is true no more (RFC 9110 §8.8.1, §14.3; RFC 9530). */
static int change_head(struct mc_request *r, struct mc_str coding)
{
    static const struct mc_str gone[] = {MC_STR("Accept-Ranges"),  MC_STR("Content-Encoding"), MC_STR("Content-MD5"),
                                         MC_STR("Content-Digest"), MC_STR("Repr-Digest"),      MC_STR("Digest")};
    struct mc_fields *f = &r->resp.fields;
    for (size_t i = 0; i < MC_COUNT(gone); i++)
        drop_field(f, gone[i]);
    for (uint32_t i = 0; i < f->n; i++) {
        struct mc_str tag = f->v[i].value;
        if (f->v[i].id != MC_F_ETAG || tag.n < 2 || tag.p[0] != '"')
            continue;
        char *weak = mc_arena_alloc(&r->arena, tag.n + 2);
        if (!weak)
            return MC_ERROR;
        memcpy(weak, "W/", 2);
        memcpy(weak + 2, tag.p, tag.n);
        f->v[i].value = (struct mc_str){weak, tag.n + 2};
    }
    r->resp.length = -1;
    return mc_fields_add(f, &r->arena, MC_STR("Content-Encoding"), coding);
}

struct stream {
    const struct mc_coding_ops *ops;
    void *coder;
    size_t have; /* bytes in out */
    bool any;    /* something has gone through */
    unsigned char out[PIECE];
};

static void close_coder(void *data)
{
    struct stream *s = data;
    if (s->coder)
        s->ops->close(s->coder);
    free(s);
}

static struct stream *open_coder(struct mc_request *r, const struct compress *c, const struct mc_coding_ops *ops, int64_t size)
{
    int level = c->level == 0 ? ops->level : (int)c->level;
    struct stream *s = malloc(sizeof *s);
    if (!s)
        return NULL;
    s->ops = ops;
    s->have = 0;
    s->any = false;
    s->coder = ops->open(level < ops->least ? ops->least : level > ops->most ? ops->most : level, size);
    if (!s->coder || mc_arena_cleanup(&r->arena, close_coder, s) != MC_OK) {
        close_coder(s);
        return NULL;
    }
    return s;
}

static int head(struct mc_request *r, void *data, int64_t whole, void **state)
{
    const struct compress *c = data;
    int64_t size = whole >= 0 ? whole : r->resp.length;
    if (!suits(c, &r->resp, whole))
        return MC_DECLINED;
    if (mc_negotiate_vary(&r->resp.fields, &r->arena, MC_STR("Accept-Encoding")) != MC_OK)
        return MC_ERROR;
    if (r->head.version == 0 || !harmless(c, r)) /* HTTP/1.0 has no chunks */
        return MC_DECLINED;
    int best = mc_negotiate_coding(&r->head.fields, c->names, c->n);
    if (best < 0)
        return MC_DECLINED;
    if (!r->is_head && (*state = open_coder(r, c, c->codings[best], size)) == NULL)
        return MC_DECLINED; /* no memory for it: then as it is */
    return change_head(r, c->names[best]) == MC_OK ? MC_OK : MC_ERROR;
}

/* ---- the body */

/* All of a short body at once: its length is known before the head goes out. MC_DECLINED: it does not fit, nothing was taken. */
static int whole_body(struct mc_request *r, struct stream *s, unsigned index, const void *p, size_t n)
{
    size_t cap = n + n / 8 + 256;
    unsigned char *out = malloc(cap);
    if (!out)
        return MC_ERROR;
    struct mc_coding_io io = {p, n, out, cap};
    int rc = s->ops->run(s->coder, &io, MC_CODING_END);
    if (rc == MC_OK)
        rc = mc_filter_next(r, index, out, cap - io.out_n, true);
    else
        rc = MC_ERROR; /* no coding makes that much more of it */
    free(out);
    return rc;
}

static int body(struct mc_request *r, void *state, unsigned index, const void *p, size_t n, bool last)
{
    struct stream *s = state;
    bool flush = p == NULL && n == 0 && !last;
    if (last && !s->any && n <= ONE_PIECE_MAX)
        return whole_body(r, s, index, p, n);
    s->any = true;
    enum mc_coding_op op = last ? MC_CODING_END : flush ? MC_CODING_FLUSH : MC_CODING_MORE;
    struct mc_coding_io io = {p, n, NULL, 0};
    for (;;) {
        io.out = s->out + s->have;
        io.out_n = sizeof s->out - s->have;
        int rc = s->ops->run(s->coder, &io, op);
        s->have = sizeof s->out - io.out_n;
        if (rc == MC_ERROR)
            return rc;
        bool done = rc == MC_OK;
        if (s->have == sizeof s->out || (done && op != MC_CODING_MORE && s->have)) {
            rc = mc_filter_next(r, index, s->out, s->have, done && last);
            s->have = 0;
            if (rc == MC_ERROR)
                return rc;
            if (done && last)
                return rc;
        }
        if (done)
            return last || flush ? mc_filter_next(r, index, last ? "" : NULL, 0, last) : MC_OK;
    }
}

static const struct mc_filter_ops ops = {.phase = MC_FILTER_ENCODE, .attach = attach, .head = head, .body = body};

const struct mc_module mc_module_filter_compress = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "compress",
    .kind = MC_MODULE_FILTER,
    .sections = sections,
    .ops.filter = &ops,
};
