/* Action `proxy { to = "upstream:legacy" }`: requests go on to HTTP/1.1 servers. Settings, target and tunnels; the rest is core/server/relay.h.
 * A loop handler: works in every worker type. Worker side. */
#include "modules/handler/proxy/proxy.h"

#include "core/server/tls.h"

#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#define PROXY(field) .offset = offsetof(struct mc_proxy, field)

static const struct mc_setting settings[] = {
    MC_RELAY_SETTINGS(struct mc_proxy, relay),
    MC_TLS_CLIENT_SETTINGS(struct mc_proxy, tls),
    { .name = "host", .type = MC_SET_STRING, PROXY(host), .meta = "TEXT", .doc = "Host of the requests, with variables [the client's]" },
    { .name = "uri", .type = MC_SET_STRING, PROXY(uri), .meta = "TEXT", .doc = "target of the requests, with variables; the query follows when the text has none [the client's target as it stands]" },
    { .name = "strip_prefix", .type = MC_SET_STRING, PROXY(strip_prefix), .meta = "PATH", .doc = "cut this from the front of the path" },
    { .name = "set_header", .type = MC_SET_LIST, PROXY(set_header), .meta = "'NAME: TEXT'", .doc = "fields of the requests, with variables, in place of the client's; an empty text removes them" },
    { .name = "forwarded", .type = MC_SET_STRING, PROXY(forwarded_text), .dflt = "x", .meta = "WHAT", .doc = "tell who the client is: x (X-Forwarded-For, -Proto, -Host, -Port), rfc7239 (Forwarded), both or off" },
    { .name = "proxy_protocol", .type = MC_SET_STRING, PROXY(proxy_protocol), .dflt = "off", .meta = "VERSION", .doc = "v1 or v2: tell it before the first request, and keep no connection" },
    { .name = "upgrade", .type = MC_SET_LIST, PROXY(upgrade), .dflt = "websocket", .meta = "PROTOCOL", .doc = "protocols that clients may switch to (a tunnel); on: any but h2c; off: none" },
    { .name = "tunnel_timeout", .type = MC_SET_DURATION, PROXY(relay.tunnel_timeout), .dflt = "1h", .meta = "TIME", .doc = "of a tunnel without a byte in either direction; 0: no limit" },
    { .name = NULL },
};

/* ---- check ---- */

static int MC_PRINTF(3, 4) say(char *err, size_t errcap, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err, errcap, fmt, ap);
    va_end(ap);
    return MC_ERROR;
}

static struct mc_arena *arena_of(const struct mc_conf *conf)
{
    return (struct mc_arena *) (uintptr_t) &conf->arena; /* the configuration is still being built */
}

static int check_header(const struct mc_conf *conf, struct mc_proxy *a, const char *text, char *err, size_t errcap)
{
    const char *colon = strchr(text, ':');
    struct mc_str name = { text, colon ? (size_t) (colon - text) : 0 };
    if (!mc_field_name_ok(name)) {
        return say(err, errcap, "proxy: set_header wants 'NAME: TEXT', not \"%s\"", text);
    }
    enum mc_field_id id = mc_field_id(name);
    if (mc_field_hop_by_hop(id) || id == MC_F_CONTENT_LENGTH) {
        return say(err, errcap, "proxy: set_header cannot set %.*s: it belongs to the connection", (int) name.n, name.p);
    }
    const char *value = colon + 1 + strspn(colon + 1, " \t");
    if (!mc_field_value_ok(mc_str(value))) {
        return say(err, errcap, "proxy: control characters in set_header \"%.*s\"", (int) name.n, name.p);
    }
    if (id == MC_F_HOST) {
        a->host = value;
        return MC_OK;
    }
    struct mc_proxy_field *f = &a->fields[a->nfields++];
    f->name = name;
    f->value = mc_vars_compile(conf, a, value, err, errcap);
    return f->value ? MC_OK : MC_ERROR;
}

static int check_headers(const struct mc_conf *conf, struct mc_proxy *a, char *err, size_t errcap)
{
    a->fields = mc_arena_calloc(arena_of(conf), (a->set_header.n + 1) * sizeof *a->fields);
    if (a->fields == NULL) {
        return say(err, errcap, "out of memory");
    }
    for (size_t i = 0; i < a->set_header.n; i++) {
        if (check_header(conf, a, a->set_header.v[i], err, errcap) != MC_OK) {
            return MC_ERROR;
        }
    }
    return MC_OK;
}

/* Names are looked at once. */
static int name_own(const struct mc_conf *conf, struct mc_proxy *a, char *err, size_t errcap)
{
    static const struct mc_str names[MC_PROXY_OWN] = { [MC_PROXY_HOST] = MC_STR("Host"), [MC_PROXY_FOR] = MC_STR("X-Forwarded-For"),
        [MC_PROXY_PROTO] = MC_STR("X-Forwarded-Proto"), [MC_PROXY_XHOST] = MC_STR("X-Forwarded-Host"), [MC_PROXY_PORT] = MC_STR("X-Forwarded-Port") };
    for (unsigned i = 0; i < MC_PROXY_OWN; i++) {
        if (mc_fields_add(&a->own, arena_of(conf), names[i], MC_STR_NONE) != MC_OK) {
            return say(err, errcap, "out of memory");
        }
    }
    return MC_OK;
}

static int check_words(struct mc_proxy *a, char *err, size_t errcap)
{
    static const char *const names[] = { "off", "x", "rfc7239", "both" }; /* bits of MC_PROXY_* */
    while (a->forwarded < MC_COUNT(names) && strcmp(names[a->forwarded], a->forwarded_text) != 0) {
        a->forwarded++;
    }
    if (a->forwarded == MC_COUNT(names)) {
        return say(err, errcap, "proxy: forwarded is x, rfc7239, both or off, not \"%s\"", a->forwarded_text);
    }
    if (strcmp(a->proxy_protocol, "off") != 0) {
        if (strcmp(a->proxy_protocol, "v1") != 0 && strcmp(a->proxy_protocol, "v2") != 0) {
            return say(err, errcap, "proxy: proxy_protocol is v1, v2 or off, not \"%s\"", a->proxy_protocol);
        }
        a->proxy_version = (unsigned) (a->proxy_protocol[1] - '0');
        a->relay.policy.fresh = true;
        a->relay.policy.hello = mc_proxy_nobody(a->proxy_version);
    }
    for (size_t i = 0; i < a->upgrade.n; i++) {
        if (strcasecmp(a->upgrade.v[i], "h2c") == 0) {
            return say(err, errcap, "proxy: upgrade: h2c is not passed on");
        }
    }
    return MC_OK;
}

static int check_paths(const struct mc_conf *conf, struct mc_proxy *a, char *err, size_t errcap)
{
    if (a->uri && a->strip_prefix) {
        return say(err, errcap, "proxy: uri and strip_prefix exclude each other");
    }
    if (a->strip_prefix && a->strip_prefix[0] != '/') {
        return say(err, errcap, "proxy: strip_prefix \"%s\" does not begin with '/'", a->strip_prefix);
    }
    if (a->uri && a->uri[0] != '/' && a->uri[0] != '$') {
        return say(err, errcap, "proxy: uri \"%s\" does not begin with '/'", a->uri);
    }
    if (a->uri && (a->uri_vars = mc_vars_compile(conf, a, a->uri, err, errcap)) == NULL) {
        return MC_ERROR;
    }
    if (a->host && (a->host_vars = mc_vars_compile(conf, a, a->host, err, errcap)) == NULL) {
        return MC_ERROR;
    }
    struct mc_str host, port;
    if (a->host_vars && mc_vars_constant(a->host_vars) && mc_uri_host(mc_str(a->host), &host, &port) != MC_OK) {
        return say(err, errcap, "proxy: host \"%s\" is not a host", a->host);
    }
    return MC_OK;
}

/* The host of https://HOST[:PORT], without brackets. */
static const char *host_of(const struct mc_conf *conf, const char *to)
{
    const char *p = to + strlen("https://");
    size_t n = strcspn(p, *p == '[' ? "]" : ":/");
    if (*p == '[') {
        p++;
        n--;
    }
    return mc_arena_printf(arena_of(conf), "%.*s", (int) n, p);
}

static int check_tls(const struct mc_conf *conf, struct mc_proxy *a, char *err, size_t errcap)
{
    if (!a->relay.tls) {
        return MC_OK;
    }
    if (a->tls.name == NULL && strncmp(a->relay.to, "https://upstream:", 17) == 0) {
        if (a->tls.verify) {
            return say(err, errcap, "proxy: tls_name is missing: the name that certificates of %s must be for", a->relay.to);
        }
    } else if (a->tls.name == NULL && (a->tls.name = host_of(conf, a->relay.to)) == NULL) {
        return say(err, errcap, "out of memory");
    }
    a->tls.alpn = "http/1.1";
    a->relay.policy.transport = mc_transport_tls();
    a->relay.policy.setup = &a->tls;
    return mc_tls_client_add((struct mc_conf *) (uintptr_t) conf, &a->tls, (struct mc_conf_where){ NULL, 0 }, false, err, errcap);
}

static int check_conf(const struct mc_conf *conf, void *action, char *err, size_t errcap)
{
    struct mc_proxy *a = action;
    if (mc_relay_check(conf, &a->relay, &mc_gateway_http1, "proxy", err, errcap) != MC_OK || check_headers(conf, a, err, errcap) != MC_OK
        || name_own(conf, a, err, errcap) != MC_OK || check_words(a, err, errcap) != MC_OK || check_paths(conf, a, err, errcap) != MC_OK || check_tls(conf, a, err, errcap) != MC_OK) {
        return MC_ERROR;
    }
    const struct mc_conf_upstream *u = a->relay.policy.upstream;
    bool inet = u->npeers > 0 && u->peers[0]->addr.family != AF_UNIX;
    a->own_host = mc_str(inet ? u->names[0] : "localhost");
    return MC_OK;
}

/* ---- target ---- */

/* "/path?query" of two slices, which mostly lie side by side already. */
static int join(struct mc_request *r, struct mc_str path, struct mc_str query, struct mc_str *out)
{
    if (query.p == NULL) {
        *out = path;
        return MC_OK;
    }
    if (query.p == path.p + path.n + 1) {
        *out = (struct mc_str){ path.p, path.n + 1 + query.n };
        return MC_OK;
    }
    char *all = mc_arena_alloc(&r->arena, path.n + 1 + query.n);
    if (all == NULL) {
        return 503;
    }
    memcpy(all, path.p, path.n);
    all[path.n] = '?';
    memcpy(all + path.n + 1, query.p, query.n);
    *out = (struct mc_str){ all, path.n + 1 + query.n };
    return MC_OK;
}

/* The path behind the prefix. Of the normal form: what routes have matched, and no dots can lead out of the prefix. */
static int strip(struct mc_request *r, struct mc_str prefix, struct mc_str *out)
{
    struct mc_str path = r->path;
    if (prefix.n > 0 && prefix.p[prefix.n - 1] == '/') {
        prefix.n--;
    }
    bool below = path.n >= prefix.n && memcmp(path.p, prefix.p, prefix.n) == 0 && (path.n == prefix.n || path.p[prefix.n] == '/');
    bool raw = path.p == r->uri.path.p; /* nothing had to be decoded */
    if (!below) {
        *out = r->uri.path;
        return MC_OK;
    }
    path.p += prefix.n;
    path.n -= prefix.n;
    if (path.n == 0) {
        path = MC_STR("/");
    }
    if (raw) {
        *out = path;
        return MC_OK;
    }
    struct mc_sb sb;
    mc_sb_init(&sb, MC_VARS_MAX);
    mc_uri_encode(&sb, path, true);
    *out = sb.bad ? MC_STR_NONE : mc_arena_dup(&r->arena, (struct mc_str){ sb.p, sb.n });
    mc_sb_fini(&sb);
    return out->p ? MC_OK : 503;
}

static int make_target(struct mc_request *r, const struct mc_proxy *a, struct mc_str *out)
{
    struct mc_str path = r->uri.path;
    if (a->uri_vars) {
        if (mc_vars_expand_uri(a->uri_vars, r, &path) != MC_OK) {
            return 503;
        }
        if (path.n == 0 || path.p[0] != '/') {
            return 400;
        }
        if (memchr(path.p, '?', path.n)) {
            *out = path;
            return MC_OK;
        }
    } else if (a->strip_prefix) {
        int rc = strip(r, mc_str(a->strip_prefix), &path);
        if (rc != MC_OK) {
            return rc;
        }
    }
    return join(r, path, r->uri.query, out);
}

/* The protocol that the client may switch to, as it wrote it; or nothing. */
static struct mc_str pick_upgrade(const struct mc_request *r, const struct mc_proxy *a)
{
    const struct mc_field *f = mc_fields_get(&r->head.fields, MC_F_UPGRADE);
    if (!r->head.upgrade || f == NULL || r->head.framing != MC_BODY_NONE) {
        return MC_STR_NONE;
    }
    struct mc_str list = f->value, token;
    while (mc_str_next_token(&list, &token)) {
        for (size_t i = 0; i < a->upgrade.n; i++) {
            struct mc_str word = mc_str(a->upgrade.v[i]);
            bool any = (mc_str_eq(word, MC_STR("on")) || mc_str_eq(word, MC_STR("yes"))) && !mc_str_eq_nocase(token, MC_STR("h2c"));
            if (any || mc_str_eq_nocase(word, token)) {
                return token;
            }
        }
    }
    return MC_STR_NONE;
}

/* ---- handler ---- */

static int prepare(struct mc_request *r)
{
    const struct mc_proxy *a = r->route->action;
    return mc_relay_prepare(r, &a->relay);
}

static int start(struct mc_request *r)
{
    struct mc_proxy *a = r->route->action;
    struct mc_relay *q = mc_relay_new(r, &a->relay);
    if (q == NULL) {
        return 503;
    }
    struct mc_exchange *x = &q->call.x;
    int rc = make_target(r, a, &x->target);
    if (rc == MC_OK) {
        rc = mc_proxy_fields(r, a, x);
    }
    if (rc != MC_OK) {
        return rc;
    }
    x->upgrade = pick_upgrade(r, a);
    q->data = a;
    if (a->proxy_version) {
        q->prologue = mc_proxy_protocol;
    }
    return mc_relay_run(q);
}

extern const struct mc_module mc_module_handler_proxy;

static const struct mc_handler_ops ops = {
    .body = MC_BODY_BUFFERED,
    .prepare = prepare,
    .start = start,
    .resume = mc_relay_resume,
    .abort = mc_relay_abort,
    .quick = true,
};

static int init_worker(struct mc_worker *w)
{
    return mc_relay_open(w, &mc_module_handler_proxy, offsetof(struct mc_proxy, relay));
}

const struct mc_module mc_module_handler_proxy = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "proxy",
    .kind = MC_MODULE_HANDLER,
    .settings = settings,
    .conf_size = sizeof(struct mc_proxy),
    .check_conf = check_conf,
    .ops.handler = &ops,
    .init_worker = init_worker,
    .doc = "sends requests to another HTTP server",
};
