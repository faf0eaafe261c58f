/* Requests of apps that bring a server of their own (Tornado, aiohttp): a relay over that server's private socket in this same process (hosts.py). Says who the
 * client is, in a field that clients cannot send. The reply, back-pressure, tunnels and ends are core/server/relay.h's. Never calls Python, but for
 * the page of an app that cannot be imported. Worker side, on the loop. */
#include "modules/python/host.h"

#include "core/server/engine.h"
#include "core/server/proxied.h"
#include "core/server/relay.h"
#include "modules/python/hosts.py.h"

#include <stdlib.h>

#define FIELD "Monoceros-Client" /* as in hosts.py */

const char *const mc_host_text = embedded;

/* The server of one app as the engine asks it. */
struct host {
    struct mc_relay_conf relay;
    struct mc_conf_upstream upstream;
    struct mc_conf_peer peer, *peers[1];
    const char *names[1];
};

static struct host **hosts; /* by index of the configuration; they last as long as the process, since kept connections refer to them to its end */
static size_t nhosts;

bool mc_host_is(const struct mc_conf_app *app)
{
    return app->type->ops == &mc_host_handler;
}

/* A pool of this server to the engine: connected at once, nothing of the reply is for us, and it is slowed down where the client is slow. */
static void fill(struct host *h, const struct mc_conf_app *app, const char *path, size_t n)
{
    struct sockaddr_un *un = &h->peer.addr.u.un;
    h->peers[0] = &h->peer;
    h->names[0] = app->name;
    h->upstream = (struct mc_conf_upstream){
        .name = app->name, .pool = true, .balance_text = "round_robin", .keepalive = app->pool->set.worker_connections, .keepalive_timeout = 60000,
        .keepalive_requests = INT64_MAX, .peers = h->peers, .names = h->names, .npeers = 1,
    };
    h->peer.weight = 1;
    h->peer.addr.family = un->sun_family = AF_UNIX;
    h->peer.addr.fd = -1;
    h->peer.addr.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    memcpy(un->sun_path, path, n);
    h->relay.policy = (struct mc_call_policy){.upstream = &h->upstream, .gateway = &mc_gateway_http1};
}

int mc_host_open(const struct mc_worker *w, const struct mc_conf_app *app, PyObject *address)
{
    char *path;
    Py_ssize_t n;
    if (PyBytes_AsStringAndSize(address, &path, &n) != 0)
        return MC_ERROR;
    if (!hosts && (hosts = calloc(w->conf->napps, sizeof(*hosts))))
        nhosts = w->conf->napps;
    struct host *h = hosts ? calloc(1, sizeof(*h)) : NULL;
    if (!h || (size_t)n > sizeof(h->peer.addr.u.un.sun_path)) {
        free(h);
        PyErr_NoMemory();
        return MC_ERROR;
    }
    fill(h, app, path, (size_t)n);
    hosts[app->index] = h;
    return MC_OK;
}

/* ---- the request ---- */

static bool named(const struct mc_fields *fields, struct mc_str name)
{
    for (uint32_t i = 0; i < fields->n; i++) {
        struct mc_str list = fields->v[i].value, token;
        while (fields->v[i].id == MC_F_CONNECTION && mc_str_next_token(&list, &token)) {
            if (mc_str_eq_nocase(token, name))
                return true;
        }
    }
    return false;
}

/* What the engine says itself, and what is no more true behind it. */
static bool stays(const struct mc_request *r, const struct mc_field *f)
{
    switch (f->id) {
    case MC_F_HOST:
    case MC_F_CONTENT_LENGTH:
    case MC_F_EXPECT:
    case MC_F_PROXY:
        return true;
    default:
        return mc_field_hop_by_hop(f->id) || mc_str_eq_nocase(f->name, MC_STR(FIELD)) || named(&r->head.fields, f->name);
    }
}

static int add(struct mc_request *r, struct mc_exchange *x, struct mc_str name, struct mc_str value)
{
    return value.p && mc_fields_add(&x->fields, &r->arena, name, value) == MC_OK ? MC_OK : 503;
}

static struct mc_str host_of(const struct mc_request *r)
{
    const struct mc_field *f = mc_fields_get(&r->head.fields, MC_F_HOST);
    struct mc_str host = r->head.uri.authority.p ? r->head.uri.authority : f ? f->value : MC_STR_NONE;
    return host.n ? host : MC_STR("localhost");
}

static struct mc_str client_of(struct mc_request *r)
{
    struct mc_str client = r->client->family == AF_UNIX ? MC_STR("-") : mc_request_client(r);
    return mc_str(mc_arena_printf(&r->arena, "%.*s %s", (int)client.n, client.p, r->https ? "https" : "http"));
}

static int add_fields(struct mc_request *r, struct mc_exchange *x)
{
    int rc = add(r, x, MC_STR("Host"), host_of(r));
    for (uint32_t i = 0; rc == MC_OK && i < r->head.fields.n; i++) {
        const struct mc_field *f = &r->head.fields.v[i];
        struct mc_str mount;
        int let = stays(r, f) ? MC_DECLINED : memchr(f->name.p, '_', f->name.n) ? mc_environ_admit(r, f, &mount) : MC_OK;
        if (let > 0)
            return let;
        if (let == MC_OK)
            rc = add(r, x, f->name, f->value);
    }
    return rc == MC_OK ? add(r, x, MC_STR(FIELD), client_of(r)) : rc;
}

/* Not what the request line says: it may have been sent here by a rewrite. */
static struct mc_str target_of(struct mc_request *r)
{
    struct mc_str path = r->uri.path, query = r->uri.query;
    if (!query.p)
        return path;
    return mc_str(mc_arena_printf(&r->arena, "%.*s?%.*s", (int)path.n, path.p, (int)query.n, query.p));
}

static struct mc_str upgrade_of(const struct mc_request *r)
{
    const struct mc_field *f = mc_fields_get(&r->head.fields, MC_F_UPGRADE);
    bool websocket = f && mc_str_eq_nocase(f->value, MC_STR("websocket"));
    return r->head.upgrade && websocket && r->head.framing == MC_BODY_NONE ? f->value : MC_STR_NONE;
}

static int start(struct mc_request *r)
{
    const struct mc_conf_app *app = r->route->app;
    if (mc_unlikely(mc_dev_is_failed()))
        return mc_dev_answer(r);
    MC_ASSERT(app->index < nhosts && hosts[app->index]);
    struct mc_relay *q = mc_relay_new(r, &hosts[app->index]->relay);
    if (!q)
        return 503;
    struct mc_exchange *x = &q->call.x;
    x->target = target_of(r);
    x->upgrade = upgrade_of(r);
    int rc = x->target.p ? add_fields(r, x) : 503;
    return rc == MC_OK ? mc_relay_run(q) : rc;
}

const struct mc_handler_ops mc_host_handler = {
    .needs = MC_NEED_PYTHON | MC_NEED_ITS_LOOP,
    .body = MC_BODY_STREAMED,
    .start = start,
    .resume = mc_relay_resume,
    .abort = mc_relay_abort,
};
