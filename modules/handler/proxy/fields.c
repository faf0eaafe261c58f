/* Fields of the request to an upstream: Host, what the client sent, who the client is (X-Forwarded-…, Forwarded), and what the route sets.
 * What a client says about itself goes on only when it is a trusted proxy. Worker side, on the loop. */
#include "modules/handler/proxy/proxy.h"

#include "core/server/conn.h"
#include "core/server/forwarded.h"

#include <stdio.h>

static int add(struct mc_request *r, struct mc_exchange *x, struct mc_str name, struct mc_str value)
{
    if (!mc_field_value_ok(value)) {
        return 400; /* of a variable: what the client put there cannot stand in a field */
    }
    return mc_fields_add(&x->fields, &r->arena, name, value) == MC_OK ? MC_OK : 503;
}

/* One of ours, and a value that has passed for one already. */
static int add_own(struct mc_request *r, const struct mc_proxy *a, struct mc_exchange *x, enum mc_proxy_own which, struct mc_str value)
{
    struct mc_field f = a->own.v[which];
    f.value = value;
    return mc_fields_push(&x->fields, &r->arena, &f) == MC_OK ? MC_OK : 503;
}

/* ---- Host ---- */

static struct mc_str asked_host(const struct mc_request *r)
{
    const struct mc_field *f = mc_fields_get(&r->head.fields, MC_F_HOST);
    return r->head.uri.authority.p ? r->head.uri.authority : f ? f->value : MC_STR_NONE;
}

static int add_host(struct mc_request *r, const struct mc_proxy *a, struct mc_exchange *x)
{
    struct mc_str host = asked_host(r), name, port;
    if (a->host_vars && (mc_vars_expand(a->host_vars, r, &host) != MC_OK || mc_uri_host(host, &name, &port) != MC_OK)) {
        return 400;
    }
    return add_own(r, a, x, MC_PROXY_HOST, host.n ? host : a->own_host);
}

/* ---- who the client is ---- */

static const struct mc_str x_prefix = { "X-Forwarded-", 12 };

static bool about_client(struct mc_str name)
{
    return (name.n > x_prefix.n && mc_str_eq_nocase((struct mc_str){ name.p, x_prefix.n }, x_prefix)) || mc_str_eq_nocase(name, MC_STR("Forwarded"))
           || mc_str_eq_nocase(name, MC_STR("X-Real-IP"));
}

/* The value that a trusted proxy sent (several fields count as one list), with ours behind it. */
static struct mc_str append(struct mc_request *r, struct mc_str name, struct mc_str ours, bool trusted)
{
    char *all = NULL;
    int n = 0;
    for (uint32_t i = 0; trusted && i < r->head.fields.n; i++) {
        const struct mc_field *f = &r->head.fields.v[i];
        if (f->value.n == 0 || !mc_str_eq_nocase(f->name, name)) {
            continue;
        }
        char *longer = mc_arena_printf(&r->arena, "%.*s%s%.*s", n, all ? all : "", all ? ", " : "", (int) f->value.n, f->value.p);
        if (longer == NULL) {
            return MC_STR_NONE;
        }
        all = longer;
        n = (int) strlen(all);
    }
    if (all == NULL || ours.n == 0) {
        return all ? mc_str(all) : ours;
    }
    return mc_str(mc_arena_printf(&r->arena, "%s, %.*s", all, (int) ours.n, ours.p));
}

/* What a trusted proxy said stands; else what we know. */
static int add_once(struct mc_request *r, const struct mc_proxy *a, struct mc_exchange *x, enum mc_proxy_own which, struct mc_str ours, bool trusted)
{
    const struct mc_field *theirs = trusted ? mc_fields_find(&r->head.fields, a->own.v[which].name) : NULL;
    struct mc_str value = theirs ? theirs->value : ours;
    return value.n ? add_own(r, a, x, which, value) : MC_OK;
}

static struct mc_str local_port(struct mc_request *r)
{
    const struct mc_addr *l = &r->conn->listener->conf->addr;
    struct mc_addr bound;
    if (l->family != AF_INET && l->family != AF_INET6 && mc_addr_of_fd(r->conn->stream.fd, &bound) == MC_OK) {
        l = &bound; /* fd://N */
    }
    unsigned port = l->family == AF_INET ? ntohs(l->u.in.sin_port) : l->family == AF_INET6 ? ntohs(l->u.in6.sin6_port) : 0;
    char *text = port ? mc_arena_alloc(&r->arena, sizeof("65535")) : NULL;
    return text ? (struct mc_str){ text, mc_str_u64(text, port) } : MC_STR_NONE;
}

static int add_x(struct mc_request *r, const struct mc_proxy *a, struct mc_exchange *x, struct mc_str peer, bool trusted)
{
    struct mc_str list = append(r, a->own.v[MC_PROXY_FOR].name, peer, trusted);
    int rc = !list.n ? MC_OK : mc_field_value_ok(list) ? add_own(r, a, x, MC_PROXY_FOR, list) : 400; /* a front may have said anything */
    if (rc == MC_OK) {
        rc = add_own(r, a, x, MC_PROXY_PROTO, r->https ? MC_STR("https") : MC_STR("http"));
    }
    if (rc == MC_OK) {
        rc = add_once(r, a, x, MC_PROXY_XHOST, asked_host(r), trusted);
    }
    return rc == MC_OK ? add_once(r, a, x, MC_PROXY_PORT, local_port(r), trusted) : rc;
}

/* RFC 7239: an element of ours behind those of trusted proxies. */
static int add_rfc7239(struct mc_request *r, struct mc_exchange *x, struct mc_str peer, bool trusted)
{
    bool v6 = peer.n && memchr(peer.p, ':', peer.n);
    struct mc_str host = asked_host(r);
    char quoted[300] = "";
    if (host.n && host.n < 256 && !memchr(host.p, '"', host.n) && !memchr(host.p, '\\', host.n)) {
        snprintf(quoted, sizeof quoted, ";host=\"%.*s\"", (int) host.n, host.p);
    }
    char *ours = mc_arena_printf(&r->arena, "for=%s%.*s%s%s;proto=%s", v6 ? "\"[" : "", (int) (peer.n ? peer.n : 7), peer.n ? peer.p : "unknown", v6 ? "]\"" : "",
        quoted, r->https ? "https" : "http");
    if (ours == NULL) {
        return 503;
    }
    return add(r, x, MC_STR("Forwarded"), append(r, MC_STR("Forwarded"), mc_str(ours), trusted));
}

/* A front server's connection is not its client's. */
static int add_forwarded(struct mc_request *r, const struct mc_proxy *a, struct mc_exchange *x, bool trusted)
{
    struct mc_str peer = r->front && r->front->addr.n ? r->front->addr : mc_conn_peer(r->conn);
    int rc = a->forwarded & MC_PROXY_X ? add_x(r, a, x, peer, trusted) : MC_OK;
    return rc == MC_OK && (a->forwarded & MC_PROXY_RFC7239) ? add_rfc7239(r, x, peer, trusted) : rc;
}

/* ---- all of them ---- */

static bool is_set(const struct mc_proxy *a, struct mc_str name)
{
    for (size_t i = 0; i < a->nfields; i++) {
        if (mc_str_eq_nocase(a->fields[i].name, name)) {
            return true;
        }
    }
    return false;
}

/* Does forwarded = … write this field itself? */
static bool ours(const struct mc_proxy *a, struct mc_str name)
{
    static const struct mc_str x[] = { MC_STR("X-Forwarded-For"), MC_STR("X-Forwarded-Proto"), MC_STR("X-Forwarded-Host"), MC_STR("X-Forwarded-Port") };
    if (mc_str_eq_nocase(name, MC_STR("Forwarded"))) {
        return a->forwarded & MC_PROXY_RFC7239;
    }
    for (unsigned i = 0; i < MC_COUNT(x); i++) {
        if (mc_str_eq_nocase(name, x[i])) {
            return a->forwarded & MC_PROXY_X;
        }
    }
    return false;
}

/* The client's fields, without those that somebody else answers for. */
static int add_clients(struct mc_request *r, const struct mc_proxy *a, struct mc_exchange *x, bool trusted)
{
    uint32_t from = x->fields.n, to = from;
    if (mc_relay_fields(r, &x->fields) != MC_OK) {
        return 503;
    }
    for (uint32_t i = from; i < x->fields.n; i++) {
        struct mc_str name = x->fields.v[i].name;
        bool claim = about_client(name) && (!trusted || ours(a, name));
        if (!claim && !is_set(a, name)) {
            x->fields.v[to++] = x->fields.v[i];
        }
    }
    x->fields.n = to;
    return MC_OK;
}

int mc_proxy_fields(struct mc_request *r, const struct mc_proxy *a, struct mc_exchange *x)
{
    bool trusted = mc_forwarded_trusted(r);
    int rc = add_host(r, a, x);
    if (rc == MC_OK) {
        rc = add_clients(r, a, x, trusted);
    }
    if (rc == MC_OK) {
        rc = add_forwarded(r, a, x, trusted);
    }
    for (size_t i = 0; i < a->nfields && rc == MC_OK; i++) {
        struct mc_str value;
        if (mc_vars_expand(a->fields[i].value, r, &value) != MC_OK) {
            return 503;
        }
        if (value.n) {
            rc = add(r, x, a->fields[i].name, mc_str_trim(value));
        }
    }
    return rc;
}
