/* Servers, their listeners, names and routes. Called by resolve.c when pools and apps are known. Never opens a socket. Arbiter and worker side. */
#include "core/config/resolve.h"

#include "core/config/error_page.h"
#include "core/config/schema.h"
#include "core/config/value.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

struct sites {
    struct mc_build *b;
    const struct mc_resolve_from *from;
    struct mc_conf *c;
};

/* ---- listeners */

/* Words after an address: "tls" now; each is a promise to the client, so an unknown one is never skipped. */
static int listen_option(struct mc_build *b, struct mc_conf_where at, struct mc_str word, bool *tls)
{
    const char *flag = mc_module_absent_flag("transport", "tls");
    if (!mc_str_eq(word, MC_STR("tls"))) {
        return mc_build_fail(b, at, "listen: unknown option '%.*s' after the address", word.n > 40 ? 40 : (int)word.n, word.p);
    }
    if (!mc_module_find(MC_MODULE_TRANSPORT, "tls")) {
        if (flag)
            return mc_build_fail(b, at, "listen: tls was left out of this build: configure it with %s", flag);
        return mc_build_fail(b, at, "listen: tls is not built yet in this version");
    }
    *tls = true;
    return MC_OK;
}

static struct mc_str next_word(struct mc_str *rest)
{
    struct mc_str word;
    *rest = mc_str_trim(*rest);
    word = *rest;
    for (word.n = 0; word.n < rest->n && word.p[word.n] != ' ' && word.p[word.n] != '\t'; word.n++) {
    }
    *rest = (struct mc_str){rest->p + word.n, rest->n - word.n};
    return word;
}

static int parse_listen(struct mc_build *b, struct mc_conf_where at, const char *text, struct mc_conf_listen *out)
{
    char err[256], normal[160];
    struct mc_str rest = mc_str(text), word = next_word(&rest);
    const char *address = mc_build_printf(b, "%.*s", (int)word.n, word.p);
    *out = (struct mc_conf_listen){0};
    if (!address)
        return MC_ERROR;
    /* A worker asks no name server: normal form holds numbers. */
    if (b->image && strncmp(address, "unix:", 5) != 0 && strncmp(address, "fd:", 3) != 0 &&
        address[strspn(address, "0123456789abcdefABCDEF.:[]")]) {
        return mc_build_fail(b, at, "listen: '%s' is not in normal form", address);
    }
    if (mc_addr_parse(address, &out->addr, err, sizeof err) != MC_OK)
        return mc_build_fail(b, at, "listen: %s", err);
    while ((word = next_word(&rest)).n) {
        if (listen_option(b, at, word, &out->tls) != MC_OK)
            return MC_ERROR;
    }
    mc_addr_print(&out->addr, normal, sizeof normal);
    out->text = mc_build_printf(b, "%s%s", normal, out->tls ? " tls" : "");
    return out->text ? MC_OK : MC_ERROR;
}

/* The listener for this address: an earlier server's, or a new one. */
static int add_listen(struct sites *s, struct mc_conf_server *server, struct mc_conf_where at, const char *text)
{
    struct mc_conf_listen l, *same = s->c->listens;
    size_t n = 0;
    if (parse_listen(s->b, at, text, &l) != MC_OK)
        return MC_ERROR;
    while (n < s->c->nlistens && !mc_addr_equal(&same->addr, &l.addr))
        n++, same++;
    if (n == s->c->nlistens) {
        *same = l;
        same->index = (unsigned)s->c->nlistens++;
        same->pool = server->pool;
        same->servers = mc_build_alloc(s->b, s->c->nservers * sizeof *same->servers);
        if (!same->servers)
            return MC_ERROR;
    }
    if (same->nservers && same->servers[same->nservers - 1] == server)
        return mc_build_fail(s->b, at, "listen: %s stands there twice", same->text);
    if (same->pool != server->pool) {
        return mc_build_fail(s->b, at, "listen: %s is served by pool \"%s\" (server \"%s\"), it cannot be by pool \"%s\", too", same->text,
                             same->pool->name, same->servers[0]->name, server->pool->name);
    }
    if (same->tls != l.tls) {
        return mc_build_fail(s->b, at, "listen: %.*s is with tls in one server and without in another", (int)strcspn(same->text, " "),
                             same->text);
    }
    same->servers[same->nservers++] = server;
    server->listens[server->nlistens++] = same;
    return MC_OK;
}

/* ---- names */

static int set_names(struct mc_build *b, struct mc_conf_server *server, const struct mc_given *g, const struct mc_strv *names)
{
    server->names = mc_build_alloc(b, names->n * sizeof *server->names);
    if (!server->names)
        return MC_ERROR;
    for (size_t i = 0; i < names->n; i++) {
        struct mc_str low = mc_arena_dup(b->arena, mc_str(names->v[i]));
        if (!low.p)
            return mc_build_fail(b, MC_NOWHERE, "out of memory");
        for (char *p = (char *)(uintptr_t)low.p; *p && low.p[0] != '~'; p++)
            *p = (char)mc_lower((unsigned char)*p);
        for (size_t k = 0; k < server->nnames; k++) {
            if (mc_str_eq(server->names[k], low))
                return mc_build_fail(b, g->words[i].at, "names: '%s' stands there twice", low.p);
        }
        server->names[server->nnames++] = low;
    }
    return MC_OK;
}

/* On one address a name, and "any name", belong to one server; with two the second would never be asked. */
static int check_names(struct mc_build *b, const struct mc_conf_listen *l, const struct mc_conf_server *server)
{
    for (size_t i = 0; i < l->nservers && l->servers[i] != server; i++) {
        const struct mc_conf_server *other = l->servers[i];
        if (other->nnames == 0 && server->nnames == 0) {
            return mc_build_fail(b, server->at, "servers \"%s\" and \"%s\" both take any name on %s: give one of them names", other->name,
                                 server->name, l->text);
        }
        for (size_t k = 0; k < server->nnames * other->nnames; k++) {
            struct mc_str name = server->names[k / other->nnames];
            if (!mc_str_eq(name, other->names[k % other->nnames]))
                continue;
            return mc_build_fail(b, server->at, "name '%.*s' belongs to server \"%s\" already on %s", (int)name.n, name.p, other->name,
                                 l->text);
        }
    }
    return MC_OK;
}

static struct mc_cidr *networks(struct mc_build *b, const struct mc_strv *ips)
{
    struct mc_cidr *out = mc_build_alloc(b, ips->n * sizeof *out);
    for (size_t i = 0; out && i < ips->n; i++)
        MC_ASSERT(mc_cidr_parse(mc_str(ips->v[i]), &out[i]) == MC_OK); /* the table checked it */
    return out;
}

static int set_trusted(struct mc_build *b, struct mc_conf_server *server)
{
    server->trusted = networks(b, &server->set.forwarded_allow_ips);
    server->ntrusted = server->set.forwarded_allow_ips.n;
    server->proxies = networks(b, &server->set.proxy_allow_ips);
    server->nproxies = server->set.proxy_allow_ips.n;
    server->fronts = networks(b, &server->set.uwsgi_allow_ips);
    server->nfronts = server->set.uwsgi_allow_ips.n;
    return server->trusted && server->proxies && server->fronts ? MC_OK : MC_ERROR;
}

/* It comes before the first byte of a request, so before its server is known. */
static int check_proxy_protocol(struct mc_build *b, const struct mc_conf *c)
{
    for (size_t i = 0; i < c->nlistens; i++) {
        const struct mc_conf_listen *l = &c->listens[i];
        for (size_t k = 1; k < l->nservers; k++) {
            if (strcmp(l->servers[k]->set.proxy_protocol, l->servers[0]->set.proxy_protocol) == 0)
                continue;
            return mc_build_fail(b, l->servers[k]->at, "proxy_protocol is %s in server \"%s\" and %s in server \"%s\", and both listen on %s",
                                 l->servers[k]->set.proxy_protocol, l->servers[k]->name, l->servers[0]->set.proxy_protocol, l->servers[0]->name,
                                 l->text);
        }
    }
    return MC_OK;
}

/* What the file or the command line asks for must be built. The default does not ask: without HTTP/2 there is HTTP/1.1. */
static int check_http2(struct mc_build *b, const struct mc_conf *c)
{
    if (mc_module_find(MC_MODULE_PROTOCOL, "http2"))
        return MC_OK;
    for (size_t i = 0; i < c->nservers; i++) {
        const struct mc_values *set = &c->servers[i].set;
        bool only = set->http_protocols.n == 1 && strcmp(set->http_protocols.v[0], "h2") == 0;
        if (only || strcmp(set->http2_cleartext, "off") != 0)
            return mc_build_fail(b, c->servers[i].at, "%s: HTTP/2 was left out of this build: configure it with %s",
                                 only ? "http_protocols" : "http2_cleartext", mc_module_absent_flag("protocol", "http2"));
    }
    return MC_OK;
}

static int check_protocol(struct mc_build *b, const struct mc_conf *c)
{
    for (size_t i = 0; i < c->nlistens; i++) {
        const struct mc_conf_listen *l = &c->listens[i];
        const char *first = l->servers[0]->set.protocol;
        for (size_t k = 1; k < l->nservers; k++) {
            if (strcmp(l->servers[k]->set.protocol, first) != 0)
                return mc_build_fail(b, l->servers[k]->at, "protocol is %s in server \"%s\" and %s in server \"%s\", and both listen on %s",
                                     l->servers[k]->set.protocol, l->servers[k]->name, first, l->servers[0]->name, l->text);
        }
        if (strcmp(first, "http") != 0 && !mc_module_find(MC_MODULE_PROTOCOL, first))
            return mc_build_fail(b, l->servers[0]->at, "protocol: %s was left out of this build: configure it with --with-protocol-%s", first, first);
    }
    return MC_OK;
}

/* ---- routes */

static int set_app(struct sites *s, const struct mc_conf_server *server, struct mc_conf_route *route, const struct mc_given *g)
{
    const char *name = g->words[0].text;
    for (size_t i = 0; i < s->c->napps; i++) {
        if (strcmp(s->c->apps[i].name, name) == 0)
            route->app = &s->c->apps[i];
    }
    if (!route->app)
        return mc_build_fail(s->b, g->words[0].at, "there is no app '%.80s'", name);
    if (route->app->pool != server->pool)
        route->app->pool->hops = true;
    return MC_OK;
}

static int set_action(struct sites *s, struct mc_conf_server *server, struct mc_conf_route *route, const struct mc_block *block)
{
    const struct mc_given *app = mc_tree_given(block->given, "app");
    const struct mc_block *action = NULL;
    const char *first = app ? "app" : NULL;
    for (const struct mc_block *i = block->inner; i; i = i->next) {
        if (!i->scope->module)
            continue; /* a match, or a section that is no action */
        if (first)
            return mc_build_fail(s->b, i->at, "route \"%s\" has two actions, %s and %s: it takes one", route->name, first, i->scope->name);
        first = i->scope->name;
        action = i;
    }
    if (app)
        return set_app(s, server, route, app);
    if (!action) {
        return mc_build_fail(s->b, block->at,
                             "route \"%s\" does nothing: give it app = NAME, or the section of a handler such as respond { ... }",
                             route->name);
    }
    route->module = action->scope->module;
    route->action = mc_build_alloc(s->b, route->module->conf_size);
    if (!route->action)
        return MC_ERROR;
    if (mc_value_defaults(s->b->arena, route->module->settings, route->action) != MC_OK)
        return mc_build_fail(s->b, MC_NOWHERE, "out of memory");
    return mc_tree_apply_all(s->b, action->given, route->module->settings, route->action);
}

static int set_routes(struct sites *s, struct mc_conf_server *server, const struct mc_block *block)
{
    const struct mc_block *i = NULL;
    const char *all = NULL;
    server->routes = mc_build_alloc(s->b, mc_tree_count(block, "route") * sizeof *server->routes);
    if (!server->routes)
        return MC_ERROR;
    while ((i = mc_tree_inner(block, "route", i))) {
        struct mc_conf_route *route = &server->routes[server->nroutes++];
        const struct mc_block *match = mc_tree_inner(i, "match", NULL);
        route->name = i->title;
        route->at = i->at;
        route->set = server->set;
        struct mc_route_words words = {0};
        if (mc_tree_apply_all(s->b, i->given, NULL, &route->set) != MC_OK || mc_tree_apply_all(s->b, i->given, i->scope->own, &words) != MC_OK)
            return MC_ERROR;
        route->internal = words.internal;
        if (match && mc_resolve_match(s->b, route, match) != MC_OK)
            return MC_ERROR;
        if (set_action(s, server, route, i) != MC_OK)
            return MC_ERROR;
        if (mc_resolve_sections(s->b, i, &route->sections) != MC_OK)
            return MC_ERROR;
        if (all)
            mc_build_warn(s->b, i->at, "route \"%s\" is never reached: route \"%s\" takes every path", route->name, all);
        if (route->match == MC_MATCH_ALL && route->nconds == 0 && !route->internal)
            all = route->name;
    }
    if (server->nroutes == 0)
        return mc_build_fail(s->b, block->at, "server \"%s\" has no route", server->name);
    return MC_OK;
}

/* ---- servers */

static int one_server(struct sites *s, struct mc_conf_server *server, const struct mc_block *block)
{
    struct mc_build *b = s->b;
    struct mc_server_words words = {0};
    const struct mc_given *listen = mc_tree_given(block->given, "listen");
    server->name = block->title;
    server->at = block->at;
    if (mc_tree_apply_all(b, block->given, block->scope->own, &words) != MC_OK)
        return MC_ERROR;
    server->pool = mc_resolve_pool(b, s->c, mc_tree_given(block->given, "pool"));
    if (!server->pool)
        return MC_ERROR;
    server->set = server->pool->set; /* which holds the values of the process, too */
    if (mc_tree_apply_all(b, block->given, NULL, &server->set) != MC_OK)
        return MC_ERROR;
    mc_resolve_limits(&server->set);
    if (words.listen.n == 0)
        return mc_build_fail(b, block->at, "server \"%s\" needs listen = {\"ADDRESS\"}", server->name);
    server->listens = mc_build_alloc(b, words.listen.n * sizeof(struct mc_conf_listen *));
    if (!server->listens)
        return MC_ERROR;
    for (size_t i = 0; i < words.listen.n; i++) {
        if (add_listen(s, server, listen->words[i].at, words.listen.v[i]) != MC_OK)
            return MC_ERROR;
    }
    if (set_names(b, server, mc_tree_given(block->given, "names"), &words.names) != MC_OK)
        return MC_ERROR;
    if (mc_resolve_name_patterns(b, server, mc_tree_given(block->given, "names")) != MC_OK)
        return MC_ERROR;
    for (size_t i = 0; i < server->nlistens; i++) {
        if (check_names(b, server->listens[i], server) != MC_OK)
            return MC_ERROR;
    }
    if (set_trusted(b, server) != MC_OK || mc_resolve_sections(b, block, &server->sections) != MC_OK)
        return MC_ERROR;
    return set_routes(s, server, block);
}

/* Without a server in the file: all of `bind` to the one app. */
static int plain_server(struct sites *s)
{
    struct mc_build *b = s->b;
    struct mc_conf_server *server = &s->c->servers[0];
    struct mc_conf_route *route = mc_build_alloc(b, sizeof *route);
    const struct mc_strv *bind = &s->from->bind;
    const struct mc_given *given = mc_resolve_given(s->from, "bind");
    if (!route)
        return MC_ERROR;
    *server = (struct mc_conf_server){.name = "default", .pool = &s->c->pools[0], .set = s->c->pools[0].set, .routes = route, .nroutes = 1};
    *route = (struct mc_conf_route){.name = "default", .match = MC_MATCH_ALL, .app = &s->c->apps[s->c->napps - 1], .set = server->set};
    server->listens = mc_build_alloc(b, bind->n * sizeof(struct mc_conf_listen *));
    if (!server->listens)
        return MC_ERROR;
    if (bind->n == 0)
        return mc_build_fail(b, given ? given->at : MC_NOWHERE, "bind: there is no address");
    for (size_t i = 0; i < bind->n; i++) {
        const char *text = s->c->set.certfile ? mc_build_printf(b, "%s tls", bind->v[i]) : bind->v[i];
        if (!text || add_listen(s, server, given ? given->at : MC_NOWHERE, text) != MC_OK)
            return MC_ERROR;
    }
    return set_trusted(b, server);
}

/* At most: each pool may get one more. */
static size_t count_listens(const struct mc_resolve_from *from, const struct mc_conf *c)
{
    size_t n = from->bind.n + c->npools;
    for (struct mc_block *i = mc_tree_inner(from->file, "server", NULL); i; i = mc_tree_inner(from->file, "server", i)) {
        const struct mc_given *listen = mc_tree_given(i->given, "listen");
        n += listen ? listen->n : 0;
    }
    return n;
}

static int check_actions(struct sites *s)
{
    char err[256] = "";
    if (mc_resolve_check_sections(s->b, s->c, s->c->sections) != MC_OK)
        return MC_ERROR;
    for (size_t i = 0; i < s->c->nservers; i++) {
        if (mc_resolve_check_sections(s->b, s->c, s->c->servers[i].sections) != MC_OK)
            return MC_ERROR;
        for (size_t k = 0; k < s->c->servers[i].nroutes; k++) {
            if (mc_resolve_check_sections(s->b, s->c, s->c->servers[i].routes[k].sections) != MC_OK)
                return MC_ERROR;
        }
    }
    for (size_t i = 0; i < s->c->nservers; i++) {
        for (size_t k = 0; k < s->c->servers[i].nroutes; k++) {
            struct mc_conf_route *route = &s->c->servers[i].routes[k];
            if (!route->module || !route->module->check_conf)
                continue;
            if (route->module->check_conf(s->c, route->action, err, sizeof err) == MC_OK)
                continue;
            return mc_build_fail(s->b, route->at, "%s", err);
        }
    }
    return MC_OK;
}

/* That what error_page names is there: the file (not in a worker, which need not see it), the route. */
static int check_error_pages(struct mc_build *b, const struct mc_conf_server *server, const struct mc_strv *pages, struct mc_conf_where at)
{
    for (size_t i = 0; i < pages->n; i++) {
        struct mc_error_words w;
        struct stat st;
        char err[160];
        MC_ASSERT(mc_error_page_parse(pages->v[i], &w, err, sizeof err) == MC_OK); /* the table checked it */
        size_t k = 0;
        while (k < server->nroutes && !mc_str_eq(mc_str(server->routes[k].name), w.target))
            k++;
        if (w.kind == MC_ERROR_ROUTE && k == server->nroutes)
            return mc_build_fail(b, at, "error_page: server \"%s\" has no route '%s'", server->name, w.target.p);
        if (w.kind != MC_ERROR_FILE || b->image)
            continue;
        const char *path = mc_build_printf(b, "%.*s", (int)w.target.n, w.target.p);
        if (!path)
            return MC_ERROR;
        if (stat(path, &st) != 0)
            return mc_build_fail(b, at, "error_page: %s: %s", path, strerror(errno));
        if (!S_ISREG(st.st_mode) || st.st_size > MC_ERROR_FILE_MAX)
            return mc_build_fail(b, at, "error_page: %s is no file of at most 1m", path);
    }
    return MC_OK;
}

static int check_pages(struct sites *s)
{
    for (size_t i = 0; i < s->c->nservers; i++) {
        const struct mc_conf_server *server = &s->c->servers[i];
        if (check_error_pages(s->b, server, &server->set.error_page, server->at) != MC_OK)
            return MC_ERROR;
        for (size_t k = 0; k < server->nroutes; k++) {
            const struct mc_conf_route *route = &server->routes[k];
            if (route->set.error_page.v != server->set.error_page.v &&
                check_error_pages(s->b, server, &route->set.error_page, route->at) != MC_OK)
                return MC_ERROR;
        }
    }
    return MC_OK;
}

/* Settings of log modules stand in the main table, so that a build without the module says so. */
static int check_logs(struct sites *s)
{
    const struct mc_values *set = &s->c->set;
    const struct {
        const char *setting, *module;
        bool wanted;
    } rows[] = {{"syslog", "syslog", set->syslog}, {"statsd_host", "statsd", set->statsd_host != NULL}, {"accesslog", "file", set->accesslog != NULL}};
    for (size_t i = 0; i < MC_COUNT(rows); i++) {
        const char *flag = rows[i].wanted ? mc_module_absent_flag("log", rows[i].module) : NULL;
        if (flag)
            return mc_build_fail(s->b, mc_resolve_where(s->from, rows[i].setting), "%s was left out of this build: configure it with %s", rows[i].setting, flag);
    }
    return MC_OK;
}

static int check_modules(struct sites *s)
{
    char err[320] = "";
    for (size_t i = 0; mc_modules[i]; i++) {
        struct mc_conf_where at = MC_NOWHERE;
        if (mc_modules[i]->check_all && mc_modules[i]->check_all(s->c, s->b->image, &at, err, sizeof err) != MC_OK)
            return mc_build_fail(s->b, at.file ? at : mc_resolve_where(s->from, "certfile"), "%s", err); /* Gunicorn's settings have no section */
    }
    return MC_OK;
}

static void warn_idle_pools(struct sites *s)
{
    for (size_t i = 0; i < s->c->npools; i++) {
        size_t n = 0;
        while (n < s->c->nservers && s->c->servers[n].pool != &s->c->pools[i])
            n++;
        if (n == s->c->nservers && !s->c->pools[i].hops)
            mc_build_warn(s->b, s->c->pools[i].at, "pool \"%s\" has nothing to do: no server names it and none asks for its apps", s->c->pools[i].name);
    }
}

int mc_resolve_sites(struct mc_build *b, const struct mc_resolve_from *from, struct mc_conf *c)
{
    struct sites s = {b, from, c};
    const struct mc_given *bind = mc_resolve_given(from, "bind");
    const struct mc_block *block = mc_tree_inner(from->file, "server", NULL);
    size_t n = mc_tree_count(from->file, "server");
    if (!block && !from->app) {
        return mc_build_fail(b, MC_NOWHERE, "%s: nothing to serve: the file has no server section, and no APP is given",
                             c->set.config ? c->set.config : "configuration");
    }
    if (block && bind) {
        return mc_build_fail(b, bind->at, "%s: server \"%s\" says where to listen (%s:%d): leave %s away", bind->label, block->title,
                             block->at.file, block->at.line, bind->label);
    }
    if (from->file && mc_resolve_sections(b, from->file, &c->sections) != MC_OK)
        return MC_ERROR;
    c->nservers = n ? n : 1;
    c->servers = mc_build_alloc(b, c->nservers * sizeof *c->servers);
    c->listens = mc_build_alloc(b, count_listens(from, c) * sizeof *c->listens);
    if (!c->servers || !c->listens)
        return MC_ERROR;
    for (n = 0; block; block = mc_tree_inner(from->file, "server", block)) {
        c->servers[n].index = (unsigned)n;
        if (one_server(&s, &c->servers[n++], block) != MC_OK)
            return MC_ERROR;
    }
    if (n == 0 && plain_server(&s) != MC_OK)
        return MC_ERROR;
    warn_idle_pools(&s);
    if (check_proxy_protocol(b, c) != MC_OK || check_protocol(b, c) != MC_OK || check_http2(b, c) != MC_OK || check_pages(&s) != MC_OK)
        return MC_ERROR;
    if (check_actions(&s) != MC_OK || check_logs(&s) != MC_OK || mc_resolve_hops(b, c) != MC_OK)
        return MC_ERROR;
    return check_modules(&s);
}
