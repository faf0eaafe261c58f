/* A worker's TLS: one context a server, chosen by the name that the client asks for before anything else is looked at, so that a session, too, is
 * judged by the server that it is for. New secrets make new contexts beside the old ones, which live as long as their connections. Loop only. */
#include "modules/transport/tls/tls.h"

#include "core/http/protocol.h"
#include "core/http/route.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

static struct {
    struct mc_tls_site *v; /* by index of the server; ctx NULL: none */
    size_t n;
    SSL_CTX **clients; /* by index of the upstream client */
    size_t nclients;
} now;

/* What a strict listener's names are tried in front of: who gets this one has named nobody. */
static struct mc_conf_server nobody = {.name = ""};

const struct mc_tls_site *mc_tls_site(const struct mc_conf_server *server)
{
    return server->index < now.n && now.v[server->index].ctx ? &now.v[server->index] : NULL;
}

SSL_CTX *mc_tls_site_client(const struct mc_tls_client *c)
{
    return c->index < now.nclients ? now.clients[c->index] : NULL;
}

/* ---- a handshake begins */

/* RFC 6066 §3: a list with one host name. In lower case; MC_ERROR: malformed; n = 0: none. */
static int read_name(SSL *ssl, char *out, size_t cap, size_t *n)
{
    const unsigned char *p;
    size_t len;
    *n = 0;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &len) != 1)
        return MC_OK;
    size_t list = len >= 2 ? (size_t)p[0] << 8 | p[1] : 0;
    size_t name = len >= 5 ? (size_t)p[3] << 8 | p[4] : 0;
    if (len < 5 || list != len - 2 || p[2] != TLSEXT_NAMETYPE_host_name || name == 0 || name > list - 3 || name >= cap)
        return MC_ERROR;
    for (size_t i = 0; i < name; i++) {
        unsigned char c = p[5 + i];
        if (c <= 0x20 || c >= 0x7f)
            return MC_ERROR;
        out[i] = (char)mc_lower(c);
    }
    out[name] = '\0';
    *n = name;
    return MC_OK;
}

static const struct mc_conf_server *server_for(const struct mc_conf_listen *l, struct mc_str name)
{
    const struct mc_tls_conf *first = l->servers[0]->tls;
    if (!first->set->strict)
        return name.n ? mc_route_server(l, name) : l->servers[0];
    if (name.n == 0)
        return NULL;
    struct mc_conf_server **list = malloc((l->nservers + 1) * sizeof(*list));
    if (!list)
        return NULL;
    struct mc_conf_listen probe = *l;
    probe.servers = list;
    probe.nservers = l->nservers + 1;
    list[0] = &nobody;
    for (size_t i = 0; i < l->nservers; i++) {
        list[i + 1] = l->servers[i];
        if (l->servers[i]->nnames == 0) /* takes any name */
            list[0] = l->servers[i];
    }
    const struct mc_conf_server *found = mc_route_server(&probe, name);
    free(list);
    return found == &nobody ? NULL : found;
}

/* SSL_set_SSL_CTX() changes certificates and the like; all else was copied from the first server's context. */
static int use_site(SSL *ssl, const struct mc_tls_site *site)
{
    SSL_CTX *ctx = site->ctx;
    if (SSL_get_SSL_CTX(ssl) == ctx)
        return MC_OK;
    if (!SSL_set_SSL_CTX(ssl, ctx))
        return MC_ERROR;
    uint64_t kernel = SSL_get_options(ssl) & SSL_OP_ENABLE_KTLS;
    SSL_clear_options(ssl, SSL_get_options(ssl) & ~SSL_CTX_get_options(ctx));
    SSL_set_options(ssl, SSL_CTX_get_options(ctx) | kernel);
    SSL_set_verify(ssl, SSL_CTX_get_verify_mode(ctx), SSL_CTX_get_verify_callback(ctx));
    SSL_set_verify_depth(ssl, SSL_CTX_get_verify_depth(ctx));
    SSL_set_num_tickets(ssl, SSL_CTX_get_num_tickets(ctx));
    bool ok = SSL_set_min_proto_version(ssl, SSL_CTX_get_min_proto_version(ctx)) == 1 &&
              SSL_set_max_proto_version(ssl, SSL_CTX_get_max_proto_version(ctx)) == 1 &&
              SSL_set_session_id_context(ssl, site->sid, MC_TLS_SID) == 1;
    if (ok && site->conf->set->groups)
        ok = SSL_set1_groups_list(ssl, site->conf->set->groups) == 1;
    return ok ? MC_OK : MC_ERROR;
}

static int refuse(int *alert, int what)
{
    *alert = what;
    return SSL_CLIENT_HELLO_ERROR;
}

static int on_hello(SSL *ssl, int *alert, void *arg)
{
    struct mc_tls *t = mc_tls_of_ssl(ssl);
    char name[256];
    size_t n;
    (void)arg;
    if (read_name(ssl, name, sizeof(name), &n) != MC_OK)
        return refuse(alert, SSL_AD_DECODE_ERROR);
    const struct mc_conf_server *server = server_for(t->listener->conf, (struct mc_str){name, n});
    const struct mc_tls_site *site = server ? mc_tls_site(server) : NULL;
    if (!site) {
        t->s->why = "the client asks for an unknown name";
        return refuse(alert, SSL_AD_UNRECOGNIZED_NAME);
    }
    free((char *)(uintptr_t)t->info.server_name.p);
    t->info.server_name = mc_str(n ? strdup(name) : NULL);
    if ((n && !t->info.server_name.p) || use_site(ssl, site) != MC_OK)
        return refuse(alert, SSL_AD_INTERNAL_ERROR);
    t->info.server = server;
    return SSL_CLIENT_HELLO_SUCCESS;
}

/* What the server that was asked for offers (http_protocols), in its order, as far as it is built. */
static unsigned offers(const struct mc_tls *t, unsigned char *out, size_t cap)
{
    const struct mc_worker *w = t->listener->worker;
    const struct mc_strv *list = &t->info.server->set.http_protocols;
    const struct mc_protocol_ops *first = t->listener->protocol ? t->listener->protocol : w->http1;
    unsigned used = 0;
    for (size_t i = 0; i < list->n; i++) {
        bool h1 = strcmp(list->v[i], "h1") == 0;
        const struct mc_protocol_ops *ops = h1 ? first : first == w->http1 ? w->mux : NULL;
        if (!ops || !ops->alpn || (!h1 && strcmp(ops->alpn, list->v[i]) != 0))
            continue;
        size_t n = strlen(ops->alpn);
        if (used + n + 1 > cap)
            break; /* the same over and over */
        out[used] = (unsigned char)n;
        memcpy(out + used + 1, ops->alpn, n);
        used += (unsigned)n + 1;
    }
    return used;
}

/* RFC 7301: our order counts; who offers nothing that we speak is told so. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in, unsigned in_n, void *arg)
{
    unsigned char list[64];
    unsigned n = offers(mc_tls_of_ssl(ssl), list, sizeof(list));
    unsigned char *chosen;
    (void)arg;
    if (n == 0 || SSL_select_next_proto(&chosen, out_n, list, n, in, in_n) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    for (unsigned i = 0; i < in_n; i += in[i] + 1u) { /* list ends with this call; in does not */
        if (in[i] == *out_n && memcmp(in + i + 1, chosen, *out_n) == 0)
            *out = in + i + 1;
    }
    return SSL_TLSEXT_ERR_OK;
}

/* ---- new secrets */

/* The server, and what it demands of clients: a session that met other demands is not one of ours. Not the certificate: a new one breaks no session. */
static int make_sid(struct mc_tls_site *site, const struct mc_secrets *s)
{
    const struct mc_tls_set *set = site->conf->set;
    struct mc_str ca = MC_STR_NONE, crl = MC_STR_NONE;
    int64_t demands[2] = {set->verify, set->verify_depth};
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (set->client_ca)
        (void)mc_secrets_get(s, set->client_ca, &ca);
    if (set->client_crl)
        (void)mc_secrets_get(s, set->client_crl, &crl);
    size_t sizes[2] = {ca.n, crl.n};
    const char *name = site->conf->server->name;
    bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 && EVP_DigestUpdate(md, name, strlen(name) + 1) == 1 &&
              EVP_DigestUpdate(md, demands, sizeof(demands)) == 1 && EVP_DigestUpdate(md, sizes, sizeof(sizes)) == 1 &&
              EVP_DigestUpdate(md, ca.p, ca.n) == 1 && EVP_DigestUpdate(md, crl.p, crl.n) == 1 &&
              EVP_DigestFinal_ex(md, site->sid, NULL) == 1;
    EVP_MD_CTX_free(md);
    return ok && SSL_CTX_set_session_id_context(site->ctx, site->sid, MC_TLS_SID) == 1 ? MC_OK : MC_ERROR;
}

static int open_site(struct mc_tls_site *site, const struct mc_secrets *s)
{
    char err[320] = "";
    struct mc_conf_where at;
    site->staples = calloc(site->conf->ncerts, sizeof(*site->staples));
    site->ctx = site->staples ? mc_tls_context(site->conf, s, site->staples, &at, err, sizeof(err)) : NULL;
    if (!site->ctx || make_sid(site, s) != MC_OK) {
        mc_error("server \"%s\": %s", site->conf->server->name, *err ? err : "tls: out of memory");
        return MC_ERROR;
    }
    SSL_CTX_set_client_hello_cb(site->ctx, on_hello, NULL);
    SSL_CTX_set_alpn_select_cb(site->ctx, on_alpn, NULL);
    SSL_CTX_set_tlsext_status_cb(site->ctx, mc_tls_ocsp_status);
    mc_tls_ticket_use(site->ctx);
    return MC_OK;
}

static void free_all(struct mc_tls_site *v, size_t n, SSL_CTX **clients, size_t nclients)
{
    for (size_t i = 0; v && i < n; i++) {
        for (size_t k = 0; v[i].staples && k < v[i].conf->ncerts; k++)
            free(v[i].staples[k].p);
        free(v[i].staples);
        SSL_CTX_free(v[i].ctx);
    }
    for (size_t i = 0; clients && i < nclients; i++)
        SSL_CTX_free(clients[i]);
    free(v);
    free(clients);
}

static int open_clients(const struct mc_conf *conf, SSL_CTX **clients, const struct mc_secrets *s)
{
    char err[320] = "";
    for (const struct mc_tls_client *c = conf->tls_clients; c; c = c->next) {
        clients[c->index] = mc_tls_context_client(c, s, err, sizeof(err));
        if (clients[c->index])
            continue;
        mc_error("%s", err);
        return MC_ERROR;
    }
    return MC_OK;
}

/* OpenSSL is not even started in a worker without TLS. */
static bool wanted(const struct mc_worker *w)
{
    bool any = w->conf->tls_clients != NULL;
    for (size_t i = 0; i < w->conf->nservers; i++)
        any |= w->conf->servers[i].tls && w->conf->servers[i].pool == w->pool;
    return any;
}

int mc_tls_sites_adopt(struct mc_worker *w, const struct mc_secrets *s)
{
    const struct mc_conf *conf = w->conf;
    if (!wanted(w))
        return MC_OK;
    struct mc_tls_site *v = calloc(conf->nservers, sizeof(*v));
    SSL_CTX **clients = calloc(conf->ntls_clients + 1, sizeof(*clients));
    int rc = v && clients && mc_tls_bio_init(!(w->pool->worker->ops.worker->caps & MC_CAP_THREADS)) == MC_OK ? MC_OK : MC_ERROR;
    for (size_t i = 0; rc == MC_OK && i < conf->nservers; i++) {
        if (!conf->servers[i].tls || conf->servers[i].pool != w->pool)
            continue;
        v[i].conf = conf->servers[i].tls;
        rc = open_site(&v[i], s);
    }
    if (rc == MC_OK)
        rc = open_clients(conf, clients, s);
    if (rc != MC_OK || mc_tls_ticket_adopt(s) != MC_OK) {
        free_all(v, conf->nservers, clients, conf->ntls_clients);
        return MC_ERROR;
    }
    free_all(now.v, now.n, now.clients, now.nclients);
    now.v = v;
    now.n = conf->nservers;
    now.clients = clients;
    now.nclients = conf->ntls_clients;
    return MC_OK;
}

void mc_tls_sites_close(void)
{
    free_all(now.v, now.n, now.clients, now.nclients);
    now.v = NULL;
    now.clients = NULL;
    now.n = now.nclients = 0;
    mc_tls_ticket_wipe();
}
