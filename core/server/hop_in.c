/* What comes over a hop, in the worker that has the app: whose word it is, the facts of the client's side in place of the connection's own, and the
 * connections that fronts keep (contract: hop.h). Worker side, on the loop. */
#include "core/server/hop.h"

#include "core/server/engine.h"
#include "core/server/transport.h"

#include <string.h>
#include <unistd.h>

/* ---- who may */

bool mc_hop_welcome(const struct mc_listener *l, int fd)
{
    static struct mc_log_limit limit;
    const struct mc_conf *conf = l->worker->conf;
    struct ucred who;
    socklen_t n = sizeof who;
    unsigned missed;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0) {
        if (who.uid == 0 || who.uid == geteuid()) {
            return true;
        }
        for (size_t i = 0; i < conf->npools; i++) {
            if (conf->pools[i].uid == who.uid) {
                return true;
            }
        }
        if (mc_log_limited(&limit, &missed)) {
            mc_warn("pool \"%s\": process %ld of user %ld has connected to its socket: closed", l->worker->pool->name, (long) who.pid, (long) who.uid);
        }
    }
    return false;
}

/* ---- the client's side */

static const struct mc_conf_server *find_server(const struct mc_worker *w, struct mc_str name)
{
    for (size_t i = 0; i < w->conf->nservers; i++) {
        if (mc_str_eq(mc_str(w->conf->servers[i].name), name)) {
            return &w->conf->servers[i];
        }
    }
    return NULL;
}

static const struct mc_conf_route *find_route(const struct mc_conf_server *own, struct mc_str app)
{
    for (size_t i = 0; i < own->nroutes; i++) {
        if (mc_str_eq(mc_str(own->routes[i].name), app)) {
            return &own->routes[i];
        }
    }
    return NULL;
}

static struct mc_str text_of(const struct mc_hop *h, enum mc_hop_text t)
{
    return h->f.text[t].p ? h->f.text[t] : MC_STR("");
}

static void take_tls(struct mc_hop *h)
{
    static const struct mc_conf_server asks = { .client_policy = 1 };
    h->tls = (struct mc_tls_info) {
        .server = h->f.flags & MC_HOP_CERT_ASKED ? &asks : NULL,
        .version = text_of(h, MC_HOP_TLS_VERSION),
        .cipher = text_of(h, MC_HOP_TLS_CIPHER),
        .server_name = text_of(h, MC_HOP_TLS_SNI),
        .alpn = text_of(h, MC_HOP_TLS_ALPN),
        .resumed = h->f.flags & MC_HOP_RESUMED,
        .peer = h->f.flags & MC_HOP_CERT ? &h->cert : NULL,
    };
    h->cert = (struct mc_tls_peer) {
        .verify = text_of(h, MC_HOP_CERT_VERIFY),
        .subject = text_of(h, MC_HOP_CERT_SUBJECT),
        .issuer = text_of(h, MC_HOP_CERT_ISSUER),
        .serial = text_of(h, MC_HOP_CERT_SERIAL),
        .fingerprint = text_of(h, MC_HOP_CERT_FINGERPRINT),
        .not_before = text_of(h, MC_HOP_CERT_FROM),
        .not_after = text_of(h, MC_HOP_CERT_TO),
        .pem = text_of(h, MC_HOP_CERT_PEM),
    };
}

static void take_proxied(struct mc_hop *h)
{
    h->proxied = (struct mc_proxied) {
        .via = h->f.addr[MC_HOP_PROXY_VIA],
        .local = h->f.addr[MC_HOP_PROXY_LOCAL],
        .https = h->f.flags & MC_HOP_PROXY_HTTPS,
        .authority = h->f.text[MC_HOP_PROXY_AUTHORITY],
        .unique_id = h->f.text[MC_HOP_PROXY_ID],
        .ssl_version = h->f.text[MC_HOP_PROXY_TLS_VERSION],
        .ssl_cipher = h->f.text[MC_HOP_PROXY_TLS_CIPHER],
        .ssl_cn = h->f.text[MC_HOP_PROXY_CN],
        .ssl_verified = h->f.flags & MC_HOP_PROXY_VERIFIED,
    };
}

static void take_listen(struct mc_hop *h)
{
    const union mc_sockaddr *a = &h->f.addr[MC_HOP_LISTEN];
    if (a->family == AF_INET) {
        mc_addr_inet(&h->listen, AF_INET, &a->in.sin_addr, ntohs(a->in.sin_port));
    } else if (a->family == AF_INET6) {
        mc_addr_inet(&h->listen, AF_INET6, &a->in6.sin6_addr, ntohs(a->in6.sin6_port));
    } else {
        h->listen = (struct mc_addr) { .family = AF_UNIX, .fd = -1 };
    }
}

/* The field, once the client's, which stand before it, have their own names back. NULL: there is none, or two. */
static const struct mc_field *restore_fields(struct mc_request *r)
{
    struct mc_fields *all = &r->head.fields;
    uint32_t at = all->n;
    bool host = false;
    for (uint32_t i = 0; i < all->n; i++) {
        struct mc_field *f = &all->v[i];
        if (f->id == MC_F_HOP) {
            if (at < all->n) {
                return NULL;
            }
            at = i;
        } else if (at == all->n && mc_hop_field_dotted(f->name)) {
            mc_fields_set(all, i, mc_field((struct mc_str) { f->name.p + 1, f->name.n - 1 }, f->value));
            if (f->name.n == 0 || f->id == MC_F_HOP) {
                return NULL;
            }
        }
        host |= f->id == MC_F_HOST && at == all->n;
    }
    if (at == all->n) {
        return NULL;
    }
    all->n = at;
    if (!host && r->head.uri.authority.p == NULL) { /* HTTP/1.0: the one behind was ours */
        r->head.host = r->head.port = MC_STR_NONE;
    }
    return &all->v[at];
}

static int take_client(struct mc_request *r, struct mc_hop *h)
{
    const unsigned char *token = mc_hop_token(r->conn->worker);
    const struct mc_field *f = restore_fields(r);
    if (token == NULL || f == NULL) {
        return MC_ERROR;
    }
    int rc = mc_hop_field_decode(f->value, token, &r->arena, &h->f);
    if (rc != MC_OK) {
        return rc;
    }
    take_listen(h);
    take_tls(h);
    take_proxied(h);
    r->hop = h;
    r->tls = h->f.flags & MC_HOP_TLS;
    r->https = h->f.flags & MC_HOP_HTTPS;
    r->request_id = h->f.text[MC_HOP_ID];
    r->user = h->f.text[MC_HOP_USER];
    r->deadline_us = h->f.left ? r->start_us + (uint64_t) h->f.left * 1000 : 0;
    return mc_proxied_named(r, &h->f.addr[MC_HOP_CLIENT]);
}

static int refuse(struct mc_request *r, int rc)
{
    static struct mc_log_limit limit;
    unsigned missed;
    r->session->close = true;
    if (rc > 0) {
        return rc;
    }
    if (mc_log_limited(&limit, &missed)) {
        mc_warn("pool \"%s\": a request without a valid " MC_HOP_FIELD " has come to its socket: 400", r->conn->worker->pool->name);
    }
    return 400;
}

int mc_hop_enter(struct mc_request *r)
{
    static struct mc_log_limit limit;
    const struct mc_conf_server *own = r->conn->listener->conf->servers[0];
    struct mc_worker *w = r->conn->worker;
    unsigned missed;
    struct mc_hop *h = mc_arena_calloc(&r->arena, sizeof *h);
    int rc = h ? take_client(r, h) : 503;
    if (rc != MC_OK) {
        return refuse(r, rc);
    }
    if (h->f.text[MC_HOP_URI].p && mc_request_retarget(r, h->f.text[MC_HOP_URI]) != MC_OK) {
        return refuse(r, MC_ERROR);
    }
    const struct mc_conf_server *server = find_server(w, text_of(h, MC_HOP_SERVER));
    r->server = server ? server : own; /* a front of another generation may know another one */
    r->route = find_route(own, h->f.text[MC_HOP_APP]);
    r->handler = r->route ? w->handlers[r->route->app->index] : NULL;
    if (r->handler == NULL) {
        if (mc_log_limited(&limit, &missed)) {
            mc_error("pool \"%s\" is asked for app \"%s\", which it does not have (any more): 503", w->pool->name, h->f.text[MC_HOP_APP].p);
        }
        return 503;
    }
    r->body.mode = r->handler->body;
    return r->handler->prepare ? r->handler->prepare(r) : MC_OK;
}

bool mc_hop_left(const struct mc_request *r)
{
    char byte;
    return r->hop && r->session->in.pos == r->session->in.len && mc_transport_peek(r->conn->stream.fd, &byte, 1) == 0;
}

/* ---- connections that fronts keep */

/* To an idle one this says: close, please. A front that has just sent a request takes it for what it is, an interim reply, and gets its answer with
 * Connection: close. So no request is ever lost by the end of a connection. */
static void nudge(struct mc_conn *c)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    c->nudged = true;
    if (mc_chain_add(&c->session.out, text, sizeof text - 1) != MC_OK || mc_conn_flush(c) != MC_OK) {
        mc_conn_again(c); /* it is broken, or waits to be written */
    }
}

static unsigned places(const struct mc_worker *w)
{
    if (mc_worker_leaves(w, true)) {
        return 0;
    }
    if (w->loop_only) {
        return w->nconns < (unsigned) w->pool->set.worker_connections ? w->nhop_idle : w->nhop_idle - 1;
    }
    unsigned room = w->ops->room((struct mc_worker *) (uintptr_t) w), promised = w->nqueued + w->nhop_fresh;
    return room > promised ? room - promised : 0;
}

void mc_hop_trim(struct mc_worker *w)
{
    if (w->nhop_idle == 0) {
        return;
    }
    unsigned most = places(w);
    struct mc_link *l, *next;
    mc_list_each (&w->hop_idle, l, next) {
        struct mc_conn *c = mc_container(l, struct mc_conn, idle_link);
        if (w->nhop_idle <= most) {
            break;
        }
        mc_list_remove(&c->idle_link);
        w->nhop_idle--;
        nudge(c);
    }
}

void mc_hop_idle(struct mc_conn *c)
{
    struct mc_worker *w = c->worker;
    if (c->fresh || c->nudged || mc_link_linked(&c->idle_link)) {
        return;
    }
    mc_list_push(&w->hop_idle, &c->idle_link);
    w->nhop_idle++;
    mc_worker_changed(w);
}

void mc_hop_busy(struct mc_conn *c)
{
    mc_list_remove(&c->idle_link);
    c->worker->nhop_idle--;
}

void mc_hop_begun(struct mc_conn *c)
{
    if (mc_unlikely(c->fresh)) {
        c->fresh = false;
        c->worker->nhop_fresh--;
        mc_worker_changed(c->worker);
    }
}
