/* The handler of routes whose app runs in another pool: a relay to that pool's socket (contract: hop.h). Says who the client is, and sends its fields as they
 * came. Owns the sets of one peer that stand for the other pools. Never reads what comes over a hop (hop_in.c). Worker side, on the loop. */
#include "core/server/hop.h"

#include "core/server/engine.h"
#include "core/server/relay.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

/* Another pool as this worker asks it. */
struct target {
    bool known;
    unsigned char token[MC_HOP_TOKEN];
    struct mc_relay_conf relay;
    struct mc_conf_upstream upstream;
    struct mc_conf_peer peer, *peers[1];
    const char *names[1];
};

struct mc_hops {
    struct target *own; /* of this worker's pool; NULL: nobody asks it */
    struct target v[];  /* in the order of conf->pools */
};

/* ---- tokens and addresses */

void mc_hop_secret_name(const struct mc_conf_pool *pool, char out[MC_HOP_SECRET_MAX])
{
    (void) snprintf(out, MC_HOP_SECRET_MAX, "pool:%s", pool->name);
}

static void fill(struct target *t, const struct mc_conf_pool *pool)
{
    t->peers[0] = &t->peer;
    t->names[0] = pool->name;
    t->upstream = (struct mc_conf_upstream) {
        .name = pool->name, .pool = true, .balance_text = "round_robin", .keepalive = pool->set.worker_connections * pool->set.workers, .keepalive_timeout = 60000,
        .keepalive_requests = INT64_MAX, .peers = t->peers, .names = t->names, .npeers = 1,
    };
    t->peer.weight = 1;
    t->relay.policy = (struct mc_call_policy) { .upstream = &t->upstream, .gateway = &mc_gateway_http1, .queue_timeout = pool->set.queue_timeout };
}

static bool read_secret(struct target *t, struct mc_str s)
{
    struct sockaddr_un *un = &t->peer.addr.u.un;
    if (s.n <= MC_HOP_TOKEN || s.n - MC_HOP_TOKEN > sizeof un->sun_path) {
        return false;
    }
    size_t n = s.n - MC_HOP_TOKEN;
    memcpy(t->token, s.p, MC_HOP_TOKEN);
    memcpy(un->sun_path, s.p + MC_HOP_TOKEN, n);
    un->sun_family = AF_UNIX;
    t->peer.addr.family = AF_UNIX;
    t->peer.addr.fd = -1;
    t->peer.addr.len = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + n);
    return t->known = true;
}

int mc_hop_adopt(struct mc_worker *w, const struct mc_secrets *s)
{
    const struct mc_conf *conf = w->conf;
    char name[MC_HOP_SECRET_MAX];
    struct mc_str secret;
    if (w->hops) {
        return MC_OK; /* neither changes while a worker lives */
    }
    w->hops = calloc(1, sizeof *w->hops + conf->npools * sizeof *w->hops->v);
    if (w->hops == NULL) {
        mc_error("out of memory");
        return MC_ERROR;
    }
    for (size_t i = 0; i < conf->npools; i++) {
        struct target *t = &w->hops->v[i];
        mc_hop_secret_name(&conf->pools[i], name);
        if (!mc_secrets_get(s, name, &secret)) {
            continue;
        }
        fill(t, &conf->pools[i]);
        if (!read_secret(t, secret)) {
            mc_error("the secret of pool \"%s\" is not what it should be", conf->pools[i].name);
            return MC_ERROR;
        }
        if (w->pool == &conf->pools[i]) {
            w->hops->own = t;
        }
    }
    return MC_OK;
}

void mc_hop_close(struct mc_worker *w)
{
    free(w->hops);
    w->hops = NULL;
}

const unsigned char *mc_hop_token(const struct mc_worker *w)
{
    return w->hops && w->hops->own ? w->hops->own->token : NULL;
}

/* ---- what is said of the client */

static void copy_addr(const struct mc_addr *from, union mc_sockaddr *to)
{
    if (from->family == AF_INET) {
        to->in = from->u.in;
    } else if (from->family == AF_INET6) {
        to->in6 = from->u.in6;
    }
}

static bool any_address(const struct mc_addr *a)
{
    return (a->family == AF_INET && a->u.in.sin_addr.s_addr == INADDR_ANY) || (a->family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->u.in6.sin6_addr));
}

static void say_places(struct mc_request *r, struct mc_hop_field *h)
{
    const struct mc_listener *l = r->conn->listener;
    struct mc_addr local;
    h->addr[MC_HOP_PEER] = r->conn->peer;
    h->addr[MC_HOP_CLIENT] = *r->client;
    copy_addr(&l->addr, &h->addr[MC_HOP_LISTEN]);
    if (any_address(&l->addr) && mc_addr_of_fd(r->conn->stream.fd, &local) == MC_OK) {
        copy_addr(&local, &h->addr[MC_HOP_LOCAL]);
    }
}

static struct mc_str filled(struct mc_str s)
{
    return s.n ? s : MC_STR_NONE;
}

static void say_cert(const struct mc_tls_peer *p, struct mc_hop_field *h)
{
    h->flags |= MC_HOP_CERT;
    h->text[MC_HOP_CERT_VERIFY] = filled(p->verify);
    h->text[MC_HOP_CERT_SUBJECT] = filled(p->subject);
    h->text[MC_HOP_CERT_ISSUER] = filled(p->issuer);
    h->text[MC_HOP_CERT_SERIAL] = filled(p->serial);
    h->text[MC_HOP_CERT_FINGERPRINT] = filled(p->fingerprint);
    h->text[MC_HOP_CERT_FROM] = filled(p->not_before);
    h->text[MC_HOP_CERT_TO] = filled(p->not_after);
    h->text[MC_HOP_CERT_PEM] = filled(p->pem);
}

static void say_tls(const struct mc_request *r, struct mc_hop_field *h)
{
    const struct mc_tls_info *t = mc_tls_of(r);
    if (t == NULL) {
        return;
    }
    h->flags |= MC_HOP_TLS | (t->resumed ? MC_HOP_RESUMED : 0) | (t->server && t->server->client_policy ? MC_HOP_CERT_ASKED : 0);
    h->text[MC_HOP_TLS_VERSION] = t->version;
    h->text[MC_HOP_TLS_CIPHER] = t->cipher;
    h->text[MC_HOP_TLS_SNI] = filled(t->server_name);
    h->text[MC_HOP_TLS_ALPN] = filled(t->alpn);
    if (t->peer) {
        say_cert(t->peer, h);
    }
}

static void say_proxied(const struct mc_proxied *p, struct mc_hop_field *h)
{
    if (p == NULL) {
        return;
    }
    h->flags |= MC_HOP_PROXIED | (p->https ? MC_HOP_PROXY_HTTPS : 0) | (p->ssl_verified ? MC_HOP_PROXY_VERIFIED : 0);
    h->addr[MC_HOP_PROXY_VIA] = p->via;
    h->addr[MC_HOP_PROXY_LOCAL] = p->local;
    h->text[MC_HOP_PROXY_AUTHORITY] = filled(p->authority);
    h->text[MC_HOP_PROXY_ID] = filled(p->unique_id);
    h->text[MC_HOP_PROXY_TLS_VERSION] = filled(p->ssl_version);
    h->text[MC_HOP_PROXY_TLS_CIPHER] = filled(p->ssl_cipher);
    h->text[MC_HOP_PROXY_CN] = filled(p->ssl_cn);
}

/* What is left of request_timeout, ms; 0: there is none. */
static int64_t time_left(const struct mc_request *r)
{
    int64_t limit = r->conn->worker->pool->set.request_timeout, gone = (int64_t) (mc_clock_ns() / 1000000 - r->start_us / 1000);
    return limit <= 0 ? 0 : gone >= limit ? 1 : limit - gone < INT32_MAX ? limit - gone : INT32_MAX;
}

/* It was sent here by a rewrite, by try or by error_page: the request line does not say any more what the app is asked for. */
static struct mc_str other_uri(struct mc_request *r)
{
    const struct mc_uri *now = &r->uri, *said = &r->head.uri;
    if (mc_str_eq(now->path, said->path) && mc_str_eq(now->query, said->query)) {
        return MC_STR_NONE;
    }
    const char *text = now->query.p ? mc_arena_printf(&r->arena, "%.*s?%.*s", (int) now->path.n, now->path.p, (int) now->query.n, now->query.p)
                                    : mc_arena_printf(&r->arena, "%.*s", (int) now->path.n, now->path.p);
    return mc_str(text);
}

static int say(struct mc_request *r, const struct target *t, struct mc_fields *out)
{
    struct mc_hop_field h = { .flags = (r->https ? MC_HOP_HTTPS : 0) | (mc_forwarded_trusted(r) ? MC_HOP_TRUSTED : 0) };
    h.version = mc_request_version(r);
    h.left = time_left(r);
    h.text[MC_HOP_APP] = mc_str(r->route->app->name);
    h.text[MC_HOP_SERVER] = mc_str(r->server->name);
    h.text[MC_HOP_URI] = other_uri(r);
    h.text[MC_HOP_USER] = r->user;
    (void) mc_facts_get(r, MC_FACT_REQUEST_ID, &h.text[MC_HOP_ID]);
    say_places(r, &h);
    say_tls(r, &h);
    say_proxied(r->conn->proxied, &h);
    char *value = mc_arena_alloc(&r->arena, mc_hop_field_size(&h));
    if (value == NULL) {
        return MC_ERROR;
    }
    return mc_fields_add(out, &r->arena, MC_STR(MC_HOP_FIELD), (struct mc_str) { value, mc_hop_field_encode(&h, t->token, value) });
}

/* ---- the request */

/* The hop's own connection must not take it for its business. */
static bool means_connection(const struct mc_field *f)
{
    return f->id == MC_F_CONNECTION || f->id == MC_F_UPGRADE || f->id == MC_F_EXPECT || mc_hop_field_dotted(f->name);
}

static struct mc_str dotted(struct mc_request *r, struct mc_str name)
{
    char *p = mc_arena_alloc(&r->arena, name.n + 1);
    if (p == NULL) {
        return MC_STR_NONE;
    }
    p[0] = '.';
    memcpy(p + 1, name.p, name.n);
    return (struct mc_str) { p, name.n + 1 };
}

/* The client's fields in their order, then ours; what stands behind ours is the connection's. */
static int add_fields(struct mc_request *r, const struct target *t, struct mc_exchange *x)
{
    const struct mc_fields *in = &r->head.fields;
    bool host = false, framed = r->head.framing == MC_BODY_NONE;
    for (uint32_t i = 0; i < in->n; i++) {
        const struct mc_field *f = &in->v[i];
        struct mc_str name = means_connection(f) ? dotted(r, f->name) : f->name;
        host |= f->id == MC_F_HOST;
        framed |= f->id == MC_F_CONTENT_LENGTH || f->id == MC_F_TRANSFER_ENCODING;
        if (name.p == NULL || mc_fields_add(&x->fields, &r->arena, name, f->value) != MC_OK) {
            return 503;
        }
    }
    if (say(r, t, &x->fields) != MC_OK || (!host && mc_fields_add(&x->fields, &r->arena, MC_STR("Host"), MC_STR("localhost")) != MC_OK)
        || (!framed && mc_fields_add(&x->fields, &r->arena, MC_STR("Transfer-Encoding"), MC_STR("chunked")) != MC_OK)) {
        return 503;
    }
    return MC_OK;
}

static struct mc_str upgrade_of(const struct mc_request *r)
{
    const struct mc_field *f = mc_fields_get(&r->head.fields, MC_F_UPGRADE);
    return r->head.upgrade && f && r->head.framing == MC_BODY_NONE ? f->value : MC_STR_NONE;
}

/* An app that may block starts when it has the whole body, so that is gathered here, where a slow client costs the other pool nothing. */
static int prepare(struct mc_request *r)
{
    r->body.mode = r->route->app->type->needs & MC_NEED_BLOCKING ? MC_BODY_BUFFERED : MC_BODY_STREAMED;
    return MC_OK;
}

static int start(struct mc_request *r)
{
    const struct mc_conf_pool *pool = r->route->app->pool;
    struct target *t = r->conn->worker->hops ? &r->conn->worker->hops->v[pool->index] : NULL;
    if (t == NULL || !t->known) {
        mc_error("nothing is known of the socket of pool \"%s\": 503", pool->name);
        return 503;
    }
    struct mc_relay *q = mc_relay_new(r, &t->relay);
    if (q == NULL) {
        return 503;
    }
    struct mc_exchange *x = &q->call.x;
    x->target = r->head.target;
    x->framed = true;
    x->te_trailers = false;
    x->length = r->head.framing == MC_BODY_NONE ? 0 : r->head.content_length;
    x->trail = &r->body.trailers;
    x->upgrade = upgrade_of(r);
    int rc = add_fields(r, t, x);
    return rc == MC_OK ? mc_relay_run(q) : rc;
}

const struct mc_handler_ops mc_hop_handler = {
    .body = MC_BODY_BUFFERED,
    .prepare = prepare,
    .start = start,
    .resume = mc_relay_resume,
    .abort = mc_relay_abort,
};
