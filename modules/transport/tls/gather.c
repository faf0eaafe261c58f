/* In the arbiter: what the workers of a pool need, and no more; read again on HUP and when files change. Warns of keys that others may read.
 * Keeps nothing. Arbiter side. */
#include "modules/transport/tls/tls.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

static void warn_of_mode(const struct mc_conf *conf, const char *path)
{
    char full[4096];
    struct stat st;
    snprintf(full, sizeof(full), "%s%s%s", path[0] == '/' ? "" : conf->cwd, path[0] == '/' ? "" : "/", path);
    if (stat(full, &st) == 0 && st.st_mode & 077)
        mc_warn("tls: key %s can be read by others than its owner (mode %04o)", path, (unsigned)st.st_mode & 07777);
}

static void watch(struct mc_gather *g, const char *path)
{
    if (path && g->watch)
        g->watch(g, path);
}

static int one_server(struct mc_gather *g, const struct mc_tls_conf *c)
{
    struct mc_conf_where at;
    SSL_CTX *ctx = NULL;
    if (mc_tls_read(g->conf, c, g->out, &at, g->err, g->errcap) != MC_OK)
        return MC_ERROR;
    ctx = mc_tls_context(c, g->out, NULL, &at, g->err, g->errcap);
    if (!ctx)
        return MC_ERROR;
    SSL_CTX_free(ctx);
    for (size_t i = 0; i < c->ncerts; i++) {
        if (c->set->stapling && !c->certs[i].ocsp_response && mc_tls_ocsp_gather(g, c, c->certs[i].cert) != MC_OK)
            return MC_ERROR;
        warn_of_mode(g->conf, c->certs[i].key ? c->certs[i].key : c->certs[i].cert);
        if (!c->set->watch)
            continue;
        watch(g, c->certs[i].cert);
        watch(g, c->certs[i].key);
        watch(g, c->certs[i].ocsp_response);
    }
    if (c->set->watch) {
        watch(g, c->set->client_ca);
        watch(g, c->set->client_crl);
        for (size_t i = 0; i < c->set->ticket_keys.n; i++)
            watch(g, c->set->ticket_keys.v[i]);
    }
    return MC_OK;
}

/* Keys of files, in the order of the servers; the first one makes tickets. */
static int file_keys(struct mc_gather *g, const struct mc_tls_conf *c, size_t *n)
{
    for (size_t i = 0; i < c->set->ticket_keys.n; i++) {
        struct mc_str key;
        char name[32];
        snprintf(name, sizeof(name), "ticket:file:%zu", (*n)++);
        if (!mc_secrets_get(g->out, c->set->ticket_keys.v[i], &key))
            continue;
        unsigned char copy[128];
        memcpy(copy, key.p, key.n); /* adding may move what key points to; its size was checked */
        int rc = mc_secrets_add(g->out, name, copy, key.n);
        explicit_bzero(copy, sizeof(copy));
        if (rc != MC_OK) {
            snprintf(g->err, g->errcap, "out of memory");
            return MC_ERROR;
        }
    }
    return MC_OK;
}

int mc_tls_gather(struct mc_gather *g)
{
    int64_t lifetime = 0;
    size_t keys = 0;
    for (size_t i = 0; i < g->conf->nservers; i++) {
        const struct mc_tls_conf *c = g->conf->servers[i].tls;
        if (!c || g->conf->servers[i].pool != g->pool)
            continue;
        if (one_server(g, c) != MC_OK || file_keys(g, c, &keys) != MC_OK)
            return MC_ERROR;
        if (c->set->tickets && (lifetime == 0 || c->set->ticket_lifetime < lifetime))
            lifetime = c->set->ticket_lifetime;
    }
    if (keys == 0 && lifetime && mc_tls_ticket_gather(g, lifetime) != MC_OK)
        return MC_ERROR;
    for (const struct mc_tls_client *c = g->conf->tls_clients; c; c = c->next) {
        if (mc_tls_read_client(g->conf, c, g->out, g->err, g->errcap) != MC_OK)
            return MC_ERROR;
    }
    return MC_OK;
}
