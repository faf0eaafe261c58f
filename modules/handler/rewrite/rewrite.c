/* Action `rewrite { to = '/x/$1' }`: the request gets another target, and its way through the routes begins anew. Worker side. */
#include "core/config/setting.h"
#include "core/http/vars.h"
#include "core/server/handler.h"

#include <stdio.h>

struct rewrite {
    const char *to;
    struct mc_vars *vars;
};

static const struct mc_setting settings[] = {
    { .name = "to", .type = MC_SET_STRING, .offset = offsetof(struct rewrite, to), .meta = "TARGET", .doc = "the new path, and the new query if it has a '?'; $1, $uri and so on are replaced" },
    { .name = NULL },
};

static int check_conf(const struct mc_conf *conf, void *action, char *err, size_t errcap)
{
    struct rewrite *a = action;
    char why[160];
    if (a->to == NULL || (a->to[0] != '/' && a->to[0] != '$')) {
        snprintf(err, errcap, "rewrite: needs to = '/PATH'");
        return MC_ERROR;
    }
    a->vars = mc_vars_compile(conf, a, a->to, why, sizeof why);
    if (a->vars == NULL) {
        snprintf(err, errcap, "rewrite: to: %s", why);
        return MC_ERROR;
    }
    return MC_OK;
}

static int prepare(struct mc_request *r)
{
    const struct rewrite *a = r->route->action;
    struct mc_str target, query = r->uri.query;
    if (mc_vars_expand_uri(a->vars, r, &target) != MC_OK) {
        return 500;
    }
    int rc = mc_request_retarget(r, target);
    if (rc != MC_OK) {
        return rc;
    }
    if (r->uri.query.p == NULL) {
        r->uri.query = query;
    }
    return MC_REROUTE;
}

/* prepare() has sent the request elsewhere. */
static int start(struct mc_request *r)
{
    (void) r;
    return 500;
}

static const struct mc_handler_ops ops = { .body = MC_BODY_DISCARD, .prepare = prepare, .start = start, .quick = true };

const struct mc_module mc_module_handler_rewrite = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "rewrite",
    .kind = MC_MODULE_HANDLER,
    .settings = settings,
    .conf_size = sizeof(struct rewrite),
    .check_conf = check_conf,
    .ops.handler = &ops,
    .doc = "changes the path and looks for a route again",
};
