/* Pools whose apps are asked for by servers of other pools: each gets a listener of its own, behind all that stand in the file, and a server that has nothing
 * but its apps. No name of the file leads there. Called by sites.c, in the arbiter and for the image alike, so that both count the same descriptors. */
#include "core/config/resolve.h"

#include <stdio.h>

/* What the server in front has checked is not checked again, and its clocks are the only ones. */
static void relax(struct mc_values *set)
{
    set->limit_request_line = set->limit_request_fields = set->limit_request_field_size = set->limit_request_head = set->limit_request_body = 0;
    set->header_timeout = set->body_timeout = set->send_timeout = 0;
    set->error_page = (struct mc_strv){0};
    set->real_ip_header = NULL;
    set->proxy_protocol = "off";
    set->protocol = "http";
}

static int make_server(struct mc_build *b, struct mc_conf *c, struct mc_conf_pool *pool, struct mc_conf_listen *l)
{
    struct mc_conf_server *server = mc_build_alloc(b, sizeof *server);
    l->servers = mc_build_alloc(b, sizeof *l->servers);
    if (!server || !l->servers)
        return MC_ERROR;
    *server = (struct mc_conf_server){.name = l->text, .index = (unsigned)c->nservers, .pool = pool, .set = pool->set, .at = pool->at};
    relax(&server->set);
    server->routes = mc_build_alloc(b, c->napps * sizeof *server->routes);
    if (!server->routes)
        return MC_ERROR;
    for (size_t i = 0; i < c->napps; i++) {
        struct mc_conf_app *app = &c->apps[i];
        if (app->pool == pool)
            server->routes[server->nroutes++] =
                (struct mc_conf_route){.name = app->name, .match = MC_MATCH_ALL, .app = app, .internal = true, .set = server->set, .at = app->at};
    }
    l->servers[l->nservers++] = server;
    return MC_OK;
}

int mc_resolve_hops(struct mc_build *b, struct mc_conf *c)
{
    for (size_t i = 0; i < c->npools; i++) {
        struct mc_conf_pool *pool = &c->pools[i];
        if (!pool->hops)
            continue;
        struct mc_conf_listen *l = &c->listens[c->nlistens];
        *l = (struct mc_conf_listen){.index = (unsigned)c->nlistens, .addr = {.family = AF_UNIX, .fd = -1}, .hop = true, .pool = pool};
        l->text = mc_build_printf(b, "pool:%s", pool->name);
        if (!l->text || make_server(b, c, pool, l) != MC_OK)
            return MC_ERROR;
        c->nlistens++;
    }
    return MC_OK;
}
