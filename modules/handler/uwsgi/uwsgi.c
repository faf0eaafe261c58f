/* Action `uwsgi { to = … }`: requests go on to uwsgi servers. Mount point and modifiers; the rest is core/server/relay.h.
 * A loop handler: works in every worker type. Worker side. */
#include "core/base/log.h"
#include "core/server/cgi.h"
#include "core/server/relay.h"

#include <stdio.h>

struct uwsgi {
    struct mc_relay_conf relay;
    const char *mount;
    int64_t modifier1, modifier2;
    struct mc_strv params;
    /* filled by check_conf() */
    struct mc_cgi_param *own;
    char modifiers[2];
};

#define AT(field) .offset = offsetof(struct uwsgi, field)

static const struct mc_setting settings[] = {
    MC_RELAY_SETTINGS(struct uwsgi, relay),
    {.name = "mount", .type = MC_SET_STRING, AT(mount), .meta = "PATH", .doc = "where the app stands: SCRIPT_NAME; PATH_INFO is the path behind it"},
    {.name = "modifier1", .type = MC_SET_INT, AT(modifier1), .max = 255, .meta = "INT", .doc = "kind of the request; 0: WSGI"},
    {.name = "modifier2", .type = MC_SET_INT, AT(modifier2), .max = 255, .meta = "INT", .doc = "second modifier"},
    {.name = "params", .type = MC_SET_LIST, AT(params), .meta = "'NAME TEXT'", .doc = "more variables, or others in place of ours; TEXT may hold variables"},
    {.name = NULL},
};

static int check_conf(const struct mc_conf *conf, void *action, char *err, size_t cap)
{
    struct uwsgi *a = action;
    if (mc_relay_check(conf, &a->relay, &mc_gateway_uwsgi, "uwsgi", err, cap) != MC_OK)
        return MC_ERROR;
    if (a->relay.tls) {
        snprintf(err, cap, "uwsgi: uwsgi over TLS is not supported: %s", a->relay.to);
        return MC_ERROR;
    }
    if (a->mount && (a->mount[0] != '/' || a->mount[strlen(a->mount) - 1] == '/')) {
        snprintf(err, cap, "uwsgi: mount begins with / and does not end with it, not as '%s'", a->mount);
        return MC_ERROR;
    }
    a->relay.policy.fresh = true;
    a->modifiers[0] = (char)a->modifier1;
    a->modifiers[1] = (char)a->modifier2;
    return mc_cgi_compile(conf, a, &a->params, "uwsgi", &a->own, err, cap);
}

static int prepare(struct mc_request *r)
{
    const struct uwsgi *a = r->route->action;
    int rc = mc_relay_prepare(r, &a->relay);
    if (r->head.framing == MC_BODY_CHUNKED)
        r->body.mode = MC_BODY_BUFFERED; /* CONTENT_LENGTH must be known */
    return rc;
}

static struct mc_cgi_script divide(const struct mc_request *r, const struct uwsgi *a)
{
    struct mc_str mount = a->mount ? mc_str(a->mount) : MC_STR(""), path = r->path;
    bool below = path.n >= mount.n && memcmp(path.p, mount.p, mount.n) == 0 && (path.n == mount.n || path.p[mount.n] == '/');
    if (mount.n == 0 || !below)
        return (struct mc_cgi_script){MC_STR(""), path};
    return (struct mc_cgi_script){mount, {path.p + mount.n, path.n - mount.n}};
}

static int start(struct mc_request *r)
{
    const struct uwsgi *a = r->route->action;
    struct mc_relay *q = mc_relay_new(r, &a->relay);
    struct mc_cgi_script script = divide(r, a);
    if (!q)
        return 503;
    q->call.x.target = (struct mc_str){a->modifiers, sizeof a->modifiers};
    int rc = mc_cgi_params(r, &script, a->own, a->params.n, &q->call.x.params);
    return rc == MC_OK ? mc_relay_run(q) : rc;
}

extern const struct mc_module mc_module_handler_uwsgi;

static const struct mc_handler_ops ops = {
    .body = MC_BODY_BUFFERED, .prepare = prepare, .start = start, .resume = mc_relay_resume, .abort = mc_relay_abort, .quick = true};

static int init_worker(struct mc_worker *w)
{
    return mc_relay_open(w, &mc_module_handler_uwsgi, offsetof(struct uwsgi, relay));
}

const struct mc_module mc_module_handler_uwsgi = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "uwsgi",
    .kind = MC_MODULE_HANDLER,
    .settings = settings,
    .conf_size = sizeof(struct uwsgi),
    .check_conf = check_conf,
    .ops.handler = &ops,
    .init_worker = init_worker,
    .doc = "sends requests to a uwsgi server",
};
