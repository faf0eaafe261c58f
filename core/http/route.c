/* Which server and which route a request belongs to. Patterns are compiled by the configuration and matched within bounds (pattern.c).
 * Called by the server between head and handler. Worker side. */
#include "core/http/route.h"

#include "core/http/params.h"
#include "core/http/pattern.h"

static bool match_prefix(struct mc_str prefix, struct mc_str path)
{
    if (path.n < prefix.n || memcmp(path.p, prefix.p, prefix.n) != 0)
        return false;
    return path.n == prefix.n || prefix.n == 0 || prefix.p[prefix.n - 1] == '/' || path.p[prefix.n] == '/';
}

static int match_path(const struct mc_conf_route *route, struct mc_str path, struct mc_str *groups, unsigned n)
{
    switch (route->match) {
    case MC_MATCH_ALL:
        return MC_OK;
    case MC_MATCH_EXACT:
        return mc_str_eq(route->pattern, path) ? MC_OK : MC_DECLINED;
    case MC_MATCH_PREFIX:
        return match_prefix(route->pattern, path) ? MC_OK : MC_DECLINED;
    case MC_MATCH_REGEX:
        return mc_pattern_match(route->regex, path, groups, n);
    }
    return MC_ERROR;
}

int mc_route_match(const struct mc_conf_route *route, struct mc_str path)
{
    return match_path(route, path, NULL, 0);
}

/* ---- further conditions */

/* MC_OK when one of the condition's patterns matches, or it has none. */
static int match_value(struct mc_request *r, const struct mc_conf_cond *c, struct mc_str value)
{
    int rc = c->nregexes == 0 ? MC_OK : MC_DECLINED;
    for (size_t i = 0; rc == MC_DECLINED && i < c->nregexes; i++) {
        struct mc_str *groups = r->captures && !c->absent ? r->captures + c->first[i] : NULL;
        rc = mc_pattern_match(c->regexes[i], value, groups, mc_conf_groups(c->regexes[i]));
    }
    return rc;
}

static int match_fields(struct mc_request *r, const struct mc_conf_cond *c)
{
    int rc = MC_DECLINED;
    for (uint32_t i = 0; rc == MC_DECLINED && i < r->head.fields.n; i++) {
        if (mc_str_eq_nocase(r->head.fields.v[i].name, c->name))
            rc = match_value(r, c, r->head.fields.v[i].value);
    }
    return rc;
}

static int match_arg(struct mc_request *r, const struct mc_conf_cond *c)
{
    struct mc_str value, plain;
    if (!mc_param_arg(r->uri.query, c->name, &value))
        return MC_DECLINED;
    if (mc_uri_decode(&r->arena, value, &plain) != MC_OK)
        return MC_ERROR;
    return match_value(r, c, plain);
}

static bool listed(const struct mc_strv *words, struct mc_str s)
{
    for (size_t i = 0; i < words->n; i++) {
        if (mc_str_eq(mc_str(words->v[i]), s))
            return true;
    }
    return false;
}

/* Does "*.example.org" cover this host? It stands for one or more labels. */
static bool covers(struct mc_str name, struct mc_str host)
{
    if (name.n < 3 || name.p[0] != '*' || name.p[1] != '.')
        return false;
    struct mc_str suffix = {name.p + 1, name.n - 1};
    return host.n > suffix.n && mc_str_eq_nocase((struct mc_str){host.p + host.n - suffix.n, suffix.n}, suffix);
}

static struct mc_str without_dot(struct mc_str host)
{
    if (host.n && host.p[host.n - 1] == '.')
        host.n--;
    return host;
}

/* As the names of a server; patterns see lower case. */
static int match_host(struct mc_request *r, const struct mc_conf_cond *c)
{
    struct mc_str host = without_dot(r->head.host);
    for (size_t i = 0; i < c->words.n; i++) {
        struct mc_str name = mc_str(c->words.v[i]);
        if (mc_str_eq_nocase(name, host) || covers(name, host))
            return MC_OK;
    }
    if (c->nregexes == 0)
        return MC_DECLINED;
    struct mc_str low = mc_route_lower(r, host);
    return low.p ? match_value(r, c, low) : MC_ERROR;
}

static int hold(bool yes)
{
    return yes ? MC_OK : MC_DECLINED;
}

static int match_kind(struct mc_request *r, const struct mc_conf_cond *c)
{
    struct mc_str value;
    switch (c->kind) {
    case MC_COND_METHOD:
        return hold(listed(&c->words, r->head.method));
    case MC_COND_SCHEME:
        return hold(listed(&c->words, r->https ? MC_STR("https") : MC_STR("http")));
    case MC_COND_CLIENT:
        return hold(r->client && mc_cidr_match(c->nets, c->nnets, r->client));
    case MC_COND_HOST:
        return match_host(r, c);
    case MC_COND_HEADER:
        return match_fields(r, c);
    case MC_COND_QUERY:
        return match_arg(r, c);
    case MC_COND_COOKIE:
        return mc_param_cookie(&r->head.fields, c->name, &value) ? match_value(r, c, value) : MC_DECLINED;
    }
    return MC_ERROR;
}

static int match_cond(struct mc_request *r, const struct mc_conf_cond *c)
{
    int rc = match_kind(r, c);
    return c->absent && rc != MC_ERROR ? hold(rc == MC_DECLINED) : rc;
}

/* ---- routes */

static int match_route(struct mc_request *r, const struct mc_conf_route *route)
{
    r->captures = NULL;
    if (route->ncaptures) {
        r->captures = mc_arena_calloc(&r->arena, route->ncaptures * sizeof *r->captures);
        if (!r->captures)
            return MC_ERROR;
    }
    int rc = match_path(route, r->path, r->captures, route->regex ? mc_conf_groups(route->regex) : 0);
    for (size_t i = 0; rc == MC_OK && i < route->nconds; i++)
        rc = match_cond(r, &route->conds[i]);
    return rc;
}

int mc_route_find(struct mc_request *r)
{
    const struct mc_conf_server *s = r->server;
    size_t from = r->route ? (size_t)(r->route - s->routes) + 1 : 0;
    for (size_t i = from; i < s->nroutes; i++) {
        if (s->routes[i].internal && !r->error_routed && r->reroutes == 0)
            continue;
        int rc = match_route(r, &s->routes[i]);
        if (rc == MC_DECLINED)
            continue;
        if (rc != MC_OK)
            return 500;
        r->route = &s->routes[i];
        return MC_OK;
    }
    r->route = NULL;
    r->captures = NULL;
    return 404;
}

/* ---- servers */

struct mc_str mc_route_lower(struct mc_request *r, struct mc_str host)
{
    struct mc_str low = mc_arena_dup(&r->arena, host);
    for (size_t i = 0; low.p && i < low.n; i++)
        ((char *)(uintptr_t)low.p)[i] = (char)mc_lower((unsigned char)low.p[i]);
    return low;
}

/* By exact name, then by the longest wildcard. */
static const struct mc_conf_server *by_name(const struct mc_conf_listen *l, struct mc_str host)
{
    const struct mc_conf_server *best = NULL;
    size_t length = 0;
    for (size_t i = 0; i < l->nservers; i++) {
        const struct mc_conf_server *s = l->servers[i];
        for (size_t k = 0; k < s->nnames; k++) {
            if (mc_str_eq_nocase(s->names[k], host))
                return s;
            if (s->names[k].n <= length || !covers(s->names[k], host))
                continue;
            best = s;
            length = s->names[k].n;
        }
    }
    return best;
}

/* By the first pattern; *code tells which. */
static const struct mc_conf_server *by_pattern(const struct mc_conf_listen *l, struct mc_str host, void **code)
{
    char low[256];
    if (host.n == 0 || host.n > sizeof low)
        return NULL;
    for (size_t i = 0; i < l->nservers; i++) {
        const struct mc_conf_server *s = l->servers[i];
        for (size_t k = 0; s->regexes && k < s->nnames; k++) {
            for (size_t n = 0; n < host.n; n++)
                low[n] = (char)mc_lower((unsigned char)host.p[n]);
            if (!s->regexes[k] || mc_pattern_match(s->regexes[k], (struct mc_str){low, host.n}, NULL, 0) != MC_OK)
                continue;
            *code = s->regexes[k];
            return s;
        }
    }
    return NULL;
}

static const struct mc_conf_server *pick(const struct mc_conf_listen *l, struct mc_str host, void **code)
{
    *code = NULL;
    if (l->nservers == 1 && l->servers[0]->ncaptures == 0)
        return l->servers[0];
    host = without_dot(host);
    const struct mc_conf_server *s = by_name(l, host);
    s = s ? s : by_pattern(l, host, code);
    return s ? s : l->servers[0];
}

const struct mc_conf_server *mc_route_server(const struct mc_conf_listen *l, struct mc_str host)
{
    void *code;
    return pick(l, host, &code);
}

int mc_route_find_server(struct mc_request *r, const struct mc_conf_listen *l)
{
    r->server = pick(l, r->head.host, &r->server_pattern);
    r->server_captures = NULL;
    if (!r->server_pattern)
        return MC_OK;
    struct mc_str low = mc_route_lower(r, without_dot(r->head.host));
    r->server_captures = mc_arena_calloc(&r->arena, r->server->ncaptures * sizeof *r->server_captures);
    if (!low.p || !r->server_captures)
        return 503;
    return mc_pattern_match(r->server_pattern, low, r->server_captures, r->server->ncaptures) == MC_OK ? MC_OK : 500;
}
