/* Texts with variables, and the variables themselves. What a request's own data tells is found here; facts of its connection come through r->fact.
 * Never knows a socket. Compiled with the configuration (both sides), expanded in the worker. */
#include "core/http/vars.h"

#include "core/http/params.h"
#include "core/http/pattern.h"

#include <stdio.h>
#include <time.h>

enum source {
    TEXT,
    GROUP,        /* of the route's patterns; number: index into r->captures */
    SERVER_GROUP, /* of its server's names; by name, because each pattern has its own numbers */
    FACT,         /* number: enum mc_fact */
    HEADER,
    COOKIE,
    ARG,
    REMOTE_ADDR,
    REMOTE_PORT,
    HOST,
    ARGS,
    IS_ARGS,
    PATH,
    REST,
    REQUEST_URI,
    METHOD,
    SCHEME,
    HTTPS,
    SERVER_NAME,
    PROTOCOL,
    USER,
    TIME,
    SECONDS,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    ROUTE,
};

struct part {
    enum source source;
    bool decoded; /* a piece of the normalised path: percent-encoded where a URI is wanted */
    unsigned number;
    struct mc_str text; /* TEXT; else the name of a header, cookie, argument or group */
};

struct mc_vars {
    size_t n;
    struct part parts[];
};

static const struct {
    struct mc_str name;
    enum source source;
    enum mc_fact fact;
} names[] = {
    {MC_STR("remote_addr"), REMOTE_ADDR, 0},
    {MC_STR("remote_port"), REMOTE_PORT, 0},
    {MC_STR("host"), HOST, 0},
    {MC_STR("args"), ARGS, 0},
    {MC_STR("query_string"), ARGS, 0},
    {MC_STR("is_args"), IS_ARGS, 0},
    {MC_STR("uri"), PATH, 0},
    {MC_STR("rest"), REST, 0},
    {MC_STR("request_uri"), REQUEST_URI, 0},
    {MC_STR("request_method"), METHOD, 0},
    {MC_STR("scheme"), SCHEME, 0},
    {MC_STR("https"), HTTPS, 0},
    {MC_STR("server_name"), SERVER_NAME, 0},
    {MC_STR("server_protocol"), PROTOCOL, 0},
    {MC_STR("remote_user"), USER, 0},
    {MC_STR("time_iso8601"), TIME, 0},
    {MC_STR("time_seconds"), SECONDS, 0},
    {MC_STR("content_length"), CONTENT_LENGTH, 0},
    {MC_STR("content_type"), CONTENT_TYPE, 0},
    {MC_STR("route"), ROUTE, 0},
    {MC_STR("server_addr"), FACT, MC_FACT_SERVER_ADDR},
    {MC_STR("server_port"), FACT, MC_FACT_SERVER_PORT},
    {MC_STR("realip_remote_addr"), FACT, MC_FACT_PEER_ADDR},
    {MC_STR("realip_remote_port"), FACT, MC_FACT_PEER_PORT},
    {MC_STR("proxy_protocol_addr"), FACT, MC_FACT_PROXY_ADDR},
    {MC_STR("proxy_protocol_port"), FACT, MC_FACT_PROXY_PORT},
    {MC_STR("proxy_protocol_server_addr"), FACT, MC_FACT_PROXY_SERVER_ADDR},
    {MC_STR("proxy_protocol_server_port"), FACT, MC_FACT_PROXY_SERVER_PORT},
    {MC_STR("proxy_protocol_tlv_authority"), FACT, MC_FACT_PROXY_AUTHORITY},
    {MC_STR("proxy_protocol_tlv_unique_id"), FACT, MC_FACT_PROXY_UNIQUE_ID},
    {MC_STR("proxy_protocol_tlv_ssl_version"), FACT, MC_FACT_PROXY_SSL_VERSION},
    {MC_STR("proxy_protocol_tlv_ssl_cipher"), FACT, MC_FACT_PROXY_SSL_CIPHER},
    {MC_STR("proxy_protocol_tlv_ssl_cn"), FACT, MC_FACT_PROXY_SSL_CN},
    {MC_STR("request_id"), FACT, MC_FACT_REQUEST_ID},
    {MC_STR("ssl_protocol"), FACT, MC_FACT_TLS_PROTOCOL},
    {MC_STR("ssl_cipher"), FACT, MC_FACT_TLS_CIPHER},
    {MC_STR("ssl_server_name"), FACT, MC_FACT_TLS_SNI},
    {MC_STR("ssl_alpn_protocol"), FACT, MC_FACT_TLS_ALPN},
    {MC_STR("ssl_session_reused"), FACT, MC_FACT_TLS_RESUMED},
    {MC_STR("ssl_client_verify"), FACT, MC_FACT_TLS_VERIFY},
    {MC_STR("ssl_client_s_dn"), FACT, MC_FACT_TLS_SUBJECT},
    {MC_STR("ssl_client_i_dn"), FACT, MC_FACT_TLS_ISSUER},
    {MC_STR("ssl_client_serial"), FACT, MC_FACT_TLS_SERIAL},
    {MC_STR("ssl_client_fingerprint"), FACT, MC_FACT_TLS_FINGERPRINT},
    {MC_STR("ssl_client_escaped_cert"), FACT, MC_FACT_TLS_CERT},
    {MC_STR("upstream_addr"), FACT, MC_FACT_UPSTREAM_ADDR},
    {MC_STR("upstream_status"), FACT, MC_FACT_UPSTREAM_STATUS},
    {MC_STR("upstream_connect_time"), FACT, MC_FACT_UPSTREAM_CONNECT},
    {MC_STR("upstream_header_time"), FACT, MC_FACT_UPSTREAM_HEAD},
    {MC_STR("upstream_response_time"), FACT, MC_FACT_UPSTREAM_TIME},
};

static const struct {
    struct mc_str prefix;
    enum source source;
} families[] = {{MC_STR("http_"), HEADER}, {MC_STR("cookie_"), COOKIE}, {MC_STR("arg_"), ARG}};

/* ---- names */

static bool begins(struct mc_str s, struct mc_str prefix)
{
    return s.n > prefix.n && memcmp(s.p, prefix.p, prefix.n) == 0;
}

/* Built in, or one of a family; name: of the part is a slice of it. */
static bool find_name(struct mc_str name, struct part *out)
{
    for (size_t i = 0; i < MC_COUNT(names); i++) {
        if (!mc_str_eq(names[i].name, name))
            continue;
        *out = (struct part){.source = names[i].source, .number = (unsigned)names[i].fact, .decoded = names[i].source == PATH || names[i].source == REST};
        return true;
    }
    for (size_t i = 0; i < MC_COUNT(families); i++) {
        size_t n = families[i].prefix.n;
        if (!begins(name, families[i].prefix))
            continue;
        *out = (struct part){.source = families[i].source, .text = {name.p + n, name.n - n}};
        return true;
    }
    return false;
}

static bool is_word(char c)
{
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* ---- compiling */

struct place {
    const struct mc_conf_server *server;
    const struct mc_conf_route *route;
};

static bool holds(const struct mc_conf_section *list, const void *set)
{
    for (; list; list = list->next) {
        if (list->set == set || holds(list->inner, set))
            return true;
    }
    return false;
}

static struct place find_place(const struct mc_conf *conf, const void *set)
{
    for (size_t i = 0; set && i < conf->nservers; i++) {
        const struct mc_conf_server *s = &conf->servers[i];
        if (holds(s->sections, set))
            return (struct place){s, NULL};
        for (size_t k = 0; k < s->nroutes; k++) {
            if (s->routes[k].action == set || holds(s->routes[k].sections, set))
                return (struct place){s, &s->routes[k]};
        }
    }
    return (struct place){NULL, NULL};
}

struct compiler {
    struct place at;
    struct mc_vars *out;
    const char *p;
    char *err;
    size_t cap;
};

static int fail(struct compiler *c, const char *what, struct mc_str name)
{
    snprintf(c->err, c->cap, "%s '$%.*s'", what, name.n > 60 ? 60 : (int)name.n, name.p);
    return MC_ERROR;
}

static int reference(struct compiler *c, struct mc_str name, struct part *out)
{
    if (is_digit(name.p[0])) {
        int group = name.n == 1 && c->at.route && c->at.route->regex ? mc_pattern_number(c->at.route->regex, (unsigned)(name.p[0] - '0')) : -1;
        if (group < 0)
            return fail(c, "the route's path has no group for", name);
        *out = (struct part){.source = GROUP, .number = (unsigned)group, .decoded = true};
        return MC_OK;
    }
    int at = c->at.route ? mc_pattern_of_route(c->at.route, name, &out->decoded) : -1;
    if (at >= 0) {
        *out = (struct part){.source = GROUP, .number = (unsigned)at, .decoded = out->decoded};
        return MC_OK;
    }
    if (c->at.server && mc_pattern_of_server(c->at.server, name)) {
        *out = (struct part){.source = SERVER_GROUP, .text = name};
        return MC_OK;
    }
    return find_name(name, out) ? MC_OK : fail(c, "unknown variable", name);
}

/* The next piece of text, or a variable. */
static int next_part(struct compiler *c, struct part *out)
{
    const char *start = c->p;
    if (*c->p == '$' && c->p[1] == '$') {
        c->p += 2;
        *out = (struct part){.source = TEXT, .text = {start, 1}};
        return MC_OK;
    }
    bool braces = c->p[0] == '$' && c->p[1] == '{';
    const char *word = c->p + 1 + braces, *end = word;
    if (*c->p == '$' && is_digit(*word))
        end = word + 1;
    else
        while (*c->p == '$' && is_word(*end))
            end++;
    if (*c->p == '$' && end > word) {
        if (braces && *end != '}')
            return fail(c, "a } is missing behind", (struct mc_str){word, (size_t)(end - word)});
        c->p = end + braces;
        return reference(c, (struct mc_str){word, (size_t)(end - word)}, out);
    }
    do
        c->p++;
    while (*c->p && *c->p != '$');
    *out = (struct part){.source = TEXT, .text = {start, (size_t)(c->p - start)}};
    return MC_OK;
}

struct mc_vars *mc_vars_compile(const struct mc_conf *conf, const void *set, const char *text, char *err, size_t errcap)
{
    struct mc_arena *a = &((struct mc_conf *)(uintptr_t)conf)->arena; /* while it is checked it is still being made */
    size_t parts = 1;
    for (const char *p = text; *p; p++)
        parts += *p == '$' ? 2 : 0;
    struct mc_vars *v = mc_arena_calloc(a, sizeof *v + parts * sizeof *v->parts);
    const char *copy = mc_arena_strdup(a, text);
    if (!v || !copy) {
        snprintf(err, errcap, "out of memory");
        return NULL;
    }
    struct compiler c = {.at = find_place(conf, set), .out = v, .p = copy, .err = err, .cap = errcap};
    while (*c.p) {
        MC_ASSERT(v->n < parts);
        if (next_part(&c, &v->parts[v->n++]) != MC_OK)
            return NULL;
    }
    return v;
}

bool mc_vars_constant(const struct mc_vars *v)
{
    for (size_t i = 0; i < v->n; i++) {
        if (v->parts[i].source != TEXT)
            return false;
    }
    return true;
}

struct mc_str mc_vars_text(const struct mc_vars *v)
{
    return v->n == 1 && v->parts[0].source == TEXT ? v->parts[0].text : MC_STR_NONE;
}

/* ---- values */

static int keep(struct mc_request *r, const char *text, size_t n, struct mc_str *out)
{
    *out = mc_arena_dup(&r->arena, (struct mc_str){text, n});
    return out->p ? MC_OK : MC_ERROR;
}

/* $http_x_y is the field X-Y; several are joined as RFC 9110 §5.3 says, cookies with "; ". */
static int header(struct mc_request *r, struct mc_str name, struct mc_str *out)
{
    const struct mc_fields *f = &r->head.fields;
    struct mc_sb sb;
    unsigned n = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        if (!mc_param_field_is(f->v[i].name, name))
            continue;
        if (n++ == 0) {
            *out = f->v[i].value;
            continue;
        }
        if (n == 2) {
            mc_sb_init(&sb, MC_VARS_MAX);
            mc_sb_add(&sb, out->p, out->n);
        }
        mc_sb_addz(&sb, f->v[i].id == MC_F_COOKIE ? "; " : ", ");
        mc_sb_add(&sb, f->v[i].value.p, f->v[i].value.n);
    }
    if (n < 2)
        return MC_OK;
    int rc = sb.bad ? MC_ERROR : keep(r, sb.p, sb.n, out);
    mc_sb_fini(&sb);
    return rc;
}

static int now(struct mc_request *r, bool iso, struct mc_str *out)
{
    time_t t = time(NULL);
    char text[40];
    if (!iso)
        return keep(r, text, mc_str_u64(text, (uint64_t)t), out);
    struct tm tm;
    gmtime_r(&t, &tm);
    return keep(r, text, strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S+00:00", &tm), out);
}

static int host(struct mc_request *r, struct mc_str *out)
{
    struct mc_str h = r->head.host;
    bool upper = false;
    for (size_t i = 0; i < h.n; i++)
        upper |= h.p[i] >= 'A' && h.p[i] <= 'Z';
    *out = h;
    if (!upper)
        return MC_OK;
    if (keep(r, h.p, h.n, out) != MC_OK)
        return MC_ERROR;
    for (char *p = (char *)(uintptr_t)out->p; *p; p++)
        *p = (char)mc_lower((unsigned char)*p);
    return MC_OK;
}

/* The path behind the route's prefix, or all of it, without the slash in front. */
static struct mc_str rest(const struct mc_request *r)
{
    struct mc_str path = r->path;
    size_t n = r->route && r->route->match == MC_MATCH_PREFIX && r->route->pattern.n <= path.n ? r->route->pattern.n : 0;
    while (n < path.n && path.p[n] == '/')
        n++;
    return (struct mc_str){path.p + n, path.n - n};
}

/* The first name that is one; of a server without names what the client asked for. */
static int server_name(struct mc_request *r, struct mc_str *out)
{
    const struct mc_conf_server *s = r->server;
    for (size_t i = 0; s && i < s->nnames; i++) {
        if (s->names[i].p[0] != '*' && s->names[i].p[0] != '~') {
            *out = s->names[i];
            return MC_OK;
        }
    }
    return host(r, out);
}

static int address(struct mc_request *r, struct mc_str *out)
{
    char text[64];
    return r->client && r->client->family != AF_UNIX ? keep(r, text, mc_sockaddr_text(r->client, text, sizeof text), out) : MC_OK;
}

static int port(struct mc_request *r, struct mc_str *out)
{
    char text[20];
    return r->client && r->client->family != AF_UNIX ? keep(r, text, mc_str_u64(text, mc_sockaddr_port(r->client)), out) : MC_OK;
}

/* Those of the request line. */
static struct mc_str of_line(const struct mc_request *r, enum source source)
{
    const struct mc_head *h = &r->head;
    switch (source) {
    case ARGS:
        return r->uri.query;
    case IS_ARGS:
        return r->uri.query.n ? MC_STR("?") : MC_STR("");
    case PATH:
        return r->path;
    case REST:
        return rest(r);
    case REQUEST_URI:
        return h->target;
    case METHOD:
        return h->method;
    case PROTOCOL:
        return r->id ? MC_STR("HTTP/2.0") : h->version ? MC_STR("HTTP/1.1") : MC_STR("HTTP/1.0");
    case SCHEME:
        return r->https ? MC_STR("https") : MC_STR("http");
    case HTTPS:
        return r->https ? MC_STR("on") : MC_STR("");
    case USER:
        return r->user;
    case ROUTE:
        return r->route ? mc_str(r->route->name) : MC_STR("");
    default:
        return MC_STR_NONE;
    }
}

static struct mc_str known_field(const struct mc_request *r, enum mc_field_id id)
{
    const struct mc_field *f = mc_fields_get(&r->head.fields, id);
    return f ? f->value : MC_STR_NONE;
}

static int value(const struct part *p, struct mc_request *r, struct mc_str *out)
{
    *out = MC_STR_NONE;
    switch (p->source) {
    case TEXT:
        *out = p->text;
        return MC_OK;
    case GROUP: /* of another route, when this request came back to the section of a server */
        if (r->captures && r->route && p->number < r->route->ncaptures)
            *out = r->captures[p->number];
        return MC_OK;
    case SERVER_GROUP:
        *out = mc_pattern_server_value(r, p->text);
        return MC_OK;
    case FACT:
        if (r->fact && !r->fact(r, (enum mc_fact)p->number, out))
            *out = MC_STR_NONE;
        return MC_OK;
    case HEADER:
        return header(r, p->text, out);
    case COOKIE:
        (void)mc_param_cookie(&r->head.fields, p->text, out);
        return MC_OK;
    case ARG:
        (void)mc_param_arg(r->uri.query, p->text, out);
        return MC_OK;
    case REMOTE_ADDR:
        return address(r, out);
    case REMOTE_PORT:
        return port(r, out);
    case HOST:
        return r->head.host.n ? host(r, out) : server_name(r, out);
    case SERVER_NAME:
        return server_name(r, out);
    case TIME:
    case SECONDS:
        return now(r, p->source == TIME, out);
    case CONTENT_LENGTH:
        *out = known_field(r, MC_F_CONTENT_LENGTH);
        return MC_OK;
    case CONTENT_TYPE:
        *out = known_field(r, MC_F_CONTENT_TYPE);
        return MC_OK;
    default:
        *out = of_line(r, p->source);
        return MC_OK;
    }
}

int mc_vars_get(struct mc_request *r, struct mc_str name, struct mc_str *out)
{
    struct part p;
    if (!find_name(name, &p))
        return MC_DECLINED;
    return value(&p, r, out);
}

bool mc_vars_known(struct mc_str name)
{
    struct part p;
    return find_name(name, &p);
}

/* ---- expanding */

static int expand(const struct mc_vars *v, struct mc_request *r, bool uri, struct mc_str *out)
{
    struct mc_sb sb;
    struct mc_str piece;
    int rc = MC_OK;
    *out = MC_STR("");
    if (v->n == 0)
        return MC_OK;
    if (v->n == 1 && (!uri || v->parts[0].source == TEXT)) {
        rc = value(&v->parts[0], r, out);
        return rc == MC_OK && out->n > MC_VARS_MAX ? MC_ERROR : rc;
    }
    mc_sb_init(&sb, MC_VARS_MAX);
    for (size_t i = 0; rc == MC_OK && i < v->n; i++) {
        const struct part *p = &v->parts[i];
        rc = value(p, r, &piece);
        if (rc != MC_OK)
            break;
        if (uri && p->source != TEXT)
            mc_uri_encode(&sb, piece, p->decoded);
        else if (piece.n)
            mc_sb_add(&sb, piece.p, piece.n);
    }
    if (rc == MC_OK)
        rc = sb.bad ? MC_ERROR : sb.n ? keep(r, sb.p, sb.n, out) : MC_OK;
    mc_sb_fini(&sb);
    return rc;
}

int mc_vars_expand(const struct mc_vars *v, struct mc_request *r, struct mc_str *out)
{
    if (v->n == 1 && v->parts[0].source == TEXT && v->parts[0].text.n <= MC_VARS_MAX) {
        *out = v->parts[0].text;
        return MC_OK;
    }
    return expand(v, r, false, out);
}

int mc_vars_expand_uri(const struct mc_vars *v, struct mc_request *r, struct mc_str *out)
{
    return expand(v, r, true, out);
}
