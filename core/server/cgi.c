/* Variables of CGI. What a client sent becomes HTTP_ names only; what it says of itself goes on from trusted proxies only. Called by handlers of gateways that
 * speak in such variables. Worker side, on the loop. */
#include "core/server/cgi.h"

#include "core/http/vars.h"
#include "core/server/conn.h"
#include "core/server/forwarded.h"

#include "mc_config.h"

#include <stdio.h>

struct list {
    struct mc_request *r;
    struct mc_fields *out;
};

static int add(struct list *l, struct mc_str name, struct mc_str value)
{
    return mc_fields_add(l->out, &l->r->arena, name, value.p ? value : MC_STR("")) == MC_OK ? MC_OK : 503;
}

/* ---- settings */

static bool param_name_ok(struct mc_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned c = mc_lower((unsigned char)s.p[i]);
        if (!(c - 'a' < 26 || c - '0' < 10 || c == '_'))
            return false;
    }
    return s.n > 0;
}

int mc_cgi_compile(const struct mc_conf *conf, const void *set, const struct mc_strv *params, const char *what, struct mc_cgi_param **out, char *err, size_t errcap)
{
    struct mc_arena *arena = (struct mc_arena *)(uintptr_t)&conf->arena; /* the configuration is still being built */
    *out = mc_arena_calloc(arena, (params->n + 1) * sizeof **out);
    if (!*out) {
        snprintf(err, errcap, "out of memory");
        return MC_ERROR;
    }
    for (size_t i = 0; i < params->n; i++) {
        const char *text = params->v[i], *value = text + strcspn(text, " \t");
        struct mc_cgi_param *p = &(*out)[i];
        p->name = (struct mc_str){text, (size_t)(value - text)};
        if (!param_name_ok(p->name)) {
            snprintf(err, errcap, "%s: params: expected 'NAME TEXT', not '%.80s'", what, text);
            return MC_ERROR;
        }
        p->value = mc_vars_compile(conf, set, value + strspn(value, " \t"), err, errcap);
        if (!p->value)
            return MC_ERROR;
    }
    return MC_OK;
}

/* ---- header fields */

/* Words about who the client is: from trusted proxies only. */
static bool claim(struct mc_str name)
{
    const struct mc_str prefix = MC_STR("X-Forwarded-");
    bool starts = name.n > prefix.n && mc_str_eq_nocase((struct mc_str){name.p, prefix.n}, prefix);
    return starts || mc_str_eq_nocase(name, MC_STR("Forwarded")) || mc_str_eq_nocase(name, MC_STR("X-Real-IP"));
}

static bool named_by_connection(const struct mc_fields *fields, struct mc_str name)
{
    for (uint32_t i = 0; i < fields->n; i++) {
        struct mc_str rest = fields->v[i].value, token;
        while (fields->v[i].id == MC_F_CONNECTION && mc_str_next_token(&rest, &token)) {
            if (mc_str_eq_nocase(token, name))
                return true;
        }
    }
    return false;
}

static bool any_name_passes(const struct mc_request *r)
{
    const char *map = r->server->set.header_map;
    return map && strcmp(map, "dangerous") == 0;
}

/* Letters, digits and '-': of other marks a reader makes '_' (PHP of the dot), and then X.Forwarded.For is the name of another field. */
static bool plain(struct mc_str name)
{
    for (size_t i = 0; i < name.n; i++) {
        unsigned c = mc_lower((unsigned char)name.p[i]);
        if (!(c - 'a' < 26 || c - '0' < 10 || c == '-'))
            return false;
    }
    return true;
}

static bool passes(const struct mc_request *r, const struct mc_field *f, bool trusted)
{
    switch (f->id) {
    case MC_F_HOST: /* ours: the target's host wins over it */
    case MC_F_CONTENT_TYPE:
    case MC_F_CONTENT_LENGTH:
    case MC_F_EXPECT:
    case MC_F_PROXY: /* libraries take HTTP_PROXY for a setting */
        return false;
    default:
        break;
    }
    if (mc_field_hop_by_hop(f->id) || (!trusted && claim(f->name)) || named_by_connection(&r->head.fields, f->name))
        return false;
    return plain(f->name) || any_name_passes(r);
}

static struct mc_str http_name(struct mc_request *r, struct mc_str name)
{
    char *p = mc_arena_alloc(&r->arena, name.n + 5);
    if (!p)
        return MC_STR_NONE;
    memcpy(p, "HTTP_", 5);
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        p[5 + i] = (char)(c == '-' ? '_' : c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    }
    return (struct mc_str){p, name.n + 5};
}

/* Repeated fields are one list (RFC 9110 §5.3; Cookie: RFC 6265 §5.4). */
static struct mc_str join(struct mc_request *r, uint32_t first)
{
    const struct mc_fields *in = &r->head.fields;
    const struct mc_field *f = &in->v[first];
    struct mc_str all = f->value;
    for (uint32_t i = first + 1; i < in->n; i++) {
        const struct mc_field *g = &in->v[i];
        if (g->hash != f->hash || !mc_str_eq_nocase(g->name, f->name))
            continue;
        const char *text = mc_arena_printf(&r->arena, "%.*s%s%.*s", (int)all.n, all.p, f->id == MC_F_COOKIE ? "; " : ", ", (int)g->value.n, g->value.p);
        if (!text)
            return MC_STR_NONE;
        all = mc_str(text);
    }
    return all;
}

static bool seen_before(const struct mc_fields *in, uint32_t at)
{
    for (uint32_t i = 0; i < at; i++) {
        if (in->v[i].hash == in->v[at].hash && mc_str_eq_nocase(in->v[i].name, in->v[at].name))
            return true;
    }
    return false;
}

static int add_fields(struct list *l)
{
    struct mc_request *r = l->r;
    const struct mc_fields *in = &r->head.fields;
    bool trusted = mc_forwarded_trusted(r);
    for (uint32_t i = 0; i < in->n; i++) {
        if (!passes(r, &in->v[i], trusted) || seen_before(in, i))
            continue;
        struct mc_str name = http_name(r, in->v[i].name), value = join(r, i);
        if (!name.p || !value.p || add(l, name, value) != MC_OK)
            return 503;
    }
    return MC_OK;
}

/* ---- the others */

/* From variables of http/vars.h; the last column: left out when empty. */
static const struct {
    struct mc_str name, variable;
    bool optional;
} from_vars[] = {
    {MC_STR("QUERY_STRING"), MC_STR("query_string"), false},    {MC_STR("REQUEST_METHOD"), MC_STR("request_method"), false},
    {MC_STR("CONTENT_TYPE"), MC_STR("content_type"), false},    {MC_STR("REQUEST_URI"), MC_STR("request_uri"), false},
    {MC_STR("SERVER_PROTOCOL"), MC_STR("server_protocol"), false}, {MC_STR("REQUEST_SCHEME"), MC_STR("scheme"), false},
    {MC_STR("HTTPS"), MC_STR("https"), true},                   {MC_STR("REMOTE_ADDR"), MC_STR("remote_addr"), false},
    {MC_STR("REMOTE_PORT"), MC_STR("remote_port"), true},       {MC_STR("SERVER_ADDR"), MC_STR("server_addr"), true},
    {MC_STR("SERVER_PORT"), MC_STR("server_port"), false},      {MC_STR("REMOTE_USER"), MC_STR("remote_user"), true},
};

static int add_vars(struct list *l)
{
    for (size_t i = 0; i < MC_COUNT(from_vars); i++) {
        struct mc_str value = MC_STR("");
        if (mc_vars_get(l->r, from_vars[i].variable, &value) == MC_ERROR)
            return 503;
        if ((value.n || !from_vars[i].optional) && add(l, from_vars[i].name, value) != MC_OK)
            return 503;
    }
    return MC_OK;
}

static int add_length(struct list *l)
{
    const struct mc_request *r = l->r;
    int64_t n = r->head.framing != MC_BODY_NONE && r->body.complete ? r->body.received : r->head.content_length;
    char text[24];
    if (n < 0)
        return add(l, MC_STR("CONTENT_LENGTH"), MC_STR(""));
    struct mc_str copy = mc_arena_dup(&l->r->arena, (struct mc_str){text, mc_str_u64(text, (uint64_t)n)});
    return copy.p ? add(l, MC_STR("CONTENT_LENGTH"), copy) : 503;
}

static int add_host(struct list *l)
{
    const struct mc_request *r = l->r;
    const struct mc_field *f = mc_fields_get(&r->head.fields, MC_F_HOST);
    struct mc_str whole = r->head.uri.authority.p ? r->head.uri.authority : f ? f->value : MC_STR_NONE;
    struct mc_str name = r->head.host.n ? r->head.host : r->server->nnames ? r->server->names[0] : MC_STR("localhost");
    int rc = add(l, MC_STR("SERVER_NAME"), name);
    return rc == MC_OK && whole.n ? add(l, MC_STR("HTTP_HOST"), whole) : rc;
}

static int add_script(struct list *l, const struct mc_cgi_script *s)
{
    int rc = add(l, MC_STR("SCRIPT_NAME"), s->name);
    return rc == MC_OK ? add(l, MC_STR("PATH_INFO"), s->path_info) : rc;
}

/* In place of one of ours; an empty text takes it out. */
static int add_own(struct list *l, const struct mc_cgi_param *p)
{
    struct mc_fields *out = l->out;
    struct mc_str value;
    if (mc_vars_expand(p->value, l->r, &value) != MC_OK)
        return 503;
    for (uint32_t i = 0; i < out->n; i++) {
        if (!mc_str_eq(out->v[i].name, p->name))
            continue;
        out->v[i].value = value;
        if (value.n == 0)
            out->v[i] = out->v[--out->n];
        return MC_OK;
    }
    return value.n ? add(l, p->name, value) : MC_OK;
}

int mc_cgi_params(struct mc_request *r, const struct mc_cgi_script *script, const struct mc_cgi_param *own, size_t nown, struct mc_fields *out)
{
    struct list l = {r, out};
    int rc = add(&l, MC_STR("GATEWAY_INTERFACE"), MC_STR("CGI/1.1"));
    if (rc == MC_OK)
        rc = add(&l, MC_STR("SERVER_SOFTWARE"), MC_STR("monoceros/" MC_VERSION));
    if (rc == MC_OK)
        rc = add_vars(&l);
    if (rc == MC_OK)
        rc = add_length(&l);
    if (rc == MC_OK)
        rc = add_host(&l);
    if (rc == MC_OK)
        rc = add_script(&l, script);
    if (rc == MC_OK)
        rc = add_fields(&l);
    for (size_t i = 0; rc == MC_OK && i < nown; i++)
        rc = add_own(&l, &own[i]);
    return rc;
}
