/* The sections `tls` and `certificate`, Gunicorn's settings for servers that have none, and what they amount to for each server.
 * Reads files in the arbiter only, to check them. Arbiter and worker side. */
#include "modules/transport/tls/tls.h"

#include "core/config/check.h"
#include "core/config/value.h"

#include <stdio.h>

#define AT(field) .offset = offsetof(struct mc_tls_set, field)

static int one_of(const char *value, const char *const *words, const char *text, char *err, size_t cap)
{
    for (; *words; words++) {
        if (strcmp(value, *words) == 0)
            return MC_OK;
    }
    (void)snprintf(err, cap, "expected %s, not '%.80s'", text, value);
    return MC_ERROR;
}

static const char *const verify_words[] = {[MC_TLS_VERIFY_OFF] = "off", [MC_TLS_VERIFY_OPTIONAL] = "optional", [MC_TLS_VERIFY_ON] = "on",
                                           [MC_TLS_VERIFY_NO_CA] = "optional_no_ca", NULL};

static int check_verify(const char *value, char *err, size_t cap)
{
    return one_of(value, verify_words, "off, optional, on or optional_no_ca", err, cap);
}

static int check_sni(const char *value, char *err, size_t cap)
{
    static const char *const words[] = {"default", "strict", NULL};
    return one_of(value, words, "default or strict", err, cap);
}

static int check_protocol(const char *value, char *err, size_t cap)
{
    static const char *const words[] = {"TLSv1.2", "TLSv1.3", NULL};
    return one_of(value, words, "TLSv1.2 or TLSv1.3", err, cap);
}

static int check_url(const char *value, char *err, size_t cap)
{
    if (strncmp(value, "http://", 7) == 0 && value[7])
        return MC_OK;
    (void)snprintf(err, cap, "expected http://HOST[:PORT][/PATH], not '%.80s'", value);
    return MC_ERROR;
}

/* Mozilla's "intermediate" of 2025 without its DHE suites, which cost a server more than their clients are worth. */
#define CIPHERS                                                                                                                               \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                     \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"

#define SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

static const struct mc_setting tls_settings[] = {
    {.name = "protocols", .type = MC_SET_LIST, AT(protocols), .dflt = "TLSv1.2, TLSv1.3", .check = check_protocol, .doc = "which versions: TLSv1.2, TLSv1.3"},
    {.name = "ciphers", .type = MC_SET_STRING, AT(ciphers), .dflt = CIPHERS, .check = mc_check_filled, .doc = "ciphers of TLS 1.2, as OpenSSL writes them"},
    {.name = "ciphersuites", .type = MC_SET_STRING, AT(ciphersuites), .dflt = SUITES, .check = mc_check_filled, .doc = "ciphers of TLS 1.3"},
    {.name = "groups", .type = MC_SET_STRING, AT(groups), .check = mc_check_filled,
     .doc = "groups of the key exchange [X25519:P-256:P-384, before them X25519MLKEM768 where OpenSSL has it]"},
    {.name = "prefer_server_ciphers", .type = MC_SET_BOOL, AT(prefer_server_ciphers), .dflt = "yes", .doc = "the server's order of ciphers counts"},
    {.name = "sni", .type = MC_SET_STRING, AT(sni), .dflt = "default", .check = check_sni,
     .doc = "strict (in the first server of a listener): refuse handshakes for unknown names"},
    {.name = "verify_client", .type = MC_SET_STRING, AT(verify_client), .dflt = "off", .check = check_verify,
     .doc = "client certificates: off, optional, on (required) or optional_no_ca (taken unchecked)"},
    {.name = "client_ca", .type = MC_SET_STRING, AT(client_ca), .check = mc_check_filled, .doc = "certificates (PEM) that theirs must come from"},
    {.name = "client_crl", .type = MC_SET_STRING, AT(client_crl), .check = mc_check_filled, .doc = "revocation lists (PEM), one of each CA in the chain"},
    {.name = "verify_depth", .type = MC_SET_INT, AT(verify_depth), .dflt = "4", .min = 0, .max = 100, .doc = "CA certificates between theirs and client_ca"},
    {.name = "tickets", .type = MC_SET_BOOL, AT(tickets), .dflt = "yes", .doc = "resume sessions by tickets"},
    {.name = "ticket_keys", .type = MC_SET_LIST, AT(ticket_keys), .check = mc_check_filled,
     .doc = "files of 80 or 48 random bytes, the first one makes tickets [keys of the server's own, shared by its workers]"},
    {.name = "ticket_lifetime", .type = MC_SET_DURATION, AT(ticket_lifetime), .dflt = "12h", .min = 60000, .max = INT64_C(604800000),
     .doc = "the server makes a new ticket key this often; two old ones still open tickets"},
    {.name = "session_timeout", .type = MC_SET_DURATION, AT(session_timeout), .dflt = "1d", .min = 1000, .max = INT64_C(604800000),
     .doc = "a session can be resumed for so long"},
    {.name = "stapling", .type = MC_SET_BOOL, AT(stapling), .dflt = "no", .doc = "fetch OCSP responses for the certificates and send them along"},
    {.name = "stapling_responder", .type = MC_SET_STRING, AT(stapling_responder), .check = check_url, .doc = "http:// URL to ask [as the certificate says]"},
    {.name = "handshake_timeout", .type = MC_SET_DURATION, AT(handshake_timeout), .dflt = "10s", .min = 10, .max = INT64_C(3600000),
     .doc = "a handshake must be done in this time (the listener's first server)"},
    {.name = "handshakes", .type = MC_SET_INT, AT(handshakes), .dflt = "1000", .min = 0, .max = 1000000,
     .doc = "unfinished handshakes of a worker and listener; beyond, the oldest one goes; 0: any number (the listener's first server)"},
    {.name = "ktls", .type = MC_SET_BOOL, AT(ktls), .dflt = "yes", .doc = "let the kernel encrypt and send files, where it can (the listener's first server)"},
    {.name = "watch", .type = MC_SET_BOOL, AT(watch), .dflt = "no", .doc = "read the files again when they change, not only on HUP"},
    {.name = NULL},
};

static const struct mc_setting cert_settings[] = {
    {.name = "cert", .type = MC_SET_STRING, .offset = offsetof(struct mc_tls_cert, cert), .check = mc_check_filled, .doc = "the certificate and its chain (PEM)"},
    {.name = "key", .type = MC_SET_STRING, .offset = offsetof(struct mc_tls_cert, key), .check = mc_check_filled, .doc = "its private key (PEM) [in cert]"},
    {.name = "ocsp_response", .type = MC_SET_STRING, .offset = offsetof(struct mc_tls_cert, ocsp_response), .check = mc_check_filled,
     .doc = "an OCSP response (DER) to send along"},
    {.name = NULL},
};

int mc_tls_protocols(const struct mc_strv *list, int *min, int *max, char *err, size_t errcap)
{
    *min = *max = 0;
    for (size_t i = 0; i < list->n; i++) {
        int v = strcmp(list->v[i], "TLSv1.2") == 0 ? TLS1_2_VERSION : strcmp(list->v[i], "TLSv1.3") == 0 ? TLS1_3_VERSION : 0;
        if (v == 0) {
            snprintf(err, errcap, "protocols: expected TLSv1.2 or TLSv1.3, not '%.80s'", list->v[i]);
            return MC_ERROR;
        }
        *min = *min == 0 || v < *min ? v : *min;
        *max = v > *max ? v : *max;
    }
    if (*max)
        return MC_OK;
    snprintf(err, errcap, "protocols: name TLSv1.2, TLSv1.3 or both");
    return MC_ERROR;
}

static int check_cert(struct mc_conf *conf, struct mc_conf_section *s, bool image, char *err, size_t errcap)
{
    struct mc_tls_cert *c = s->set;
    (void)conf;
    (void)image;
    c->name = s->title;
    c->at = s->at;
    if (c->cert)
        return MC_OK;
    snprintf(err, errcap, "certificate \"%s\" needs cert = FILE", s->title);
    return MC_ERROR;
}

static int compile(struct mc_tls_set *set, char *err, size_t errcap)
{
    for (size_t i = 0; verify_words[i]; i++) {
        if (strcmp(set->verify_client, verify_words[i]) == 0)
            set->verify = (enum mc_tls_verify)i;
    }
    set->strict = strcmp(set->sni, "strict") == 0;
    if ((set->verify == MC_TLS_VERIFY_ON || set->verify == MC_TLS_VERIFY_OPTIONAL) && !set->client_ca) {
        snprintf(err, errcap, "verify_client = %s needs client_ca = FILE", set->verify_client);
        return MC_ERROR;
    }
    if (set->client_crl && !set->client_ca) {
        snprintf(err, errcap, "client_crl needs client_ca = FILE");
        return MC_ERROR;
    }
    return mc_tls_protocols(&set->protocols, &set->min, &set->max, err, errcap);
}

static int check_tls(struct mc_conf *conf, struct mc_conf_section *s, bool image, char *err, size_t errcap)
{
    (void)conf;
    (void)image;
    return compile(s->set, err, errcap);
}

static const struct mc_section certificate = {
    .name = "certificate", .titled = true, .settings = cert_settings, .size = sizeof(struct mc_tls_cert), .check = check_cert,
    .doc = "a certificate with its key; clients are offered the one that fits"};
static const struct mc_section *const inner[] = {&certificate, NULL};
static const struct mc_section tls = {.name = "tls",
                                      .where = MC_AT_MAIN | MC_AT_SERVER,
                                      .settings = tls_settings,
                                      .size = sizeof(struct mc_tls_set),
                                      .inner = inner,
                                      .check = check_tls,
                                      .doc = "TLS of the addresses that a server listens on with the word tls"};
const struct mc_section *const mc_tls_sections[] = {&tls, NULL};

/* ---- servers */

static int no_memory(char *err, size_t errcap)
{
    snprintf(err, errcap, "out of memory");
    return MC_ERROR;
}

static int from_section(struct mc_conf *conf, struct mc_conf_section *s, struct mc_tls_conf *t, char *err, size_t errcap)
{
    t->set = s->set;
    t->at = s->at;
    for (struct mc_conf_section *i = mc_conf_section(s->inner, &certificate, NULL); i; i = mc_conf_section(s->inner, &certificate, i))
        t->ncerts++;
    t->certs = mc_arena_calloc(&conf->arena, (t->ncerts + 1) * sizeof(*t->certs));
    if (!t->certs)
        return no_memory(err, errcap);
    size_t n = 0;
    for (struct mc_conf_section *i = mc_conf_section(s->inner, &certificate, NULL); i; i = mc_conf_section(s->inner, &certificate, i))
        t->certs[n++] = *(const struct mc_tls_cert *)i->set;
    return MC_OK;
}

/* Gunicorn's settings. */
static int from_values(struct mc_conf *conf, struct mc_tls_conf *t, char *err, size_t errcap)
{
    static const char *const reqs[] = {"off", "optional", "on"};
    const struct mc_values *v = &conf->set;
    struct mc_tls_set *set = mc_arena_calloc(&conf->arena, sizeof(*set));
    t->certs = mc_arena_calloc(&conf->arena, sizeof(*t->certs));
    if (!set || !t->certs || mc_value_defaults(&conf->arena, tls_settings, set) != MC_OK)
        return no_memory(err, errcap);
    set->client_ca = v->ca_certs;
    set->verify_client = reqs[v->cert_reqs];
    if (v->ciphers)
        set->ciphers = v->ciphers;
    t->set = set;
    t->ncerts = 1;
    t->certs[0] = (struct mc_tls_cert){.name = "certfile", .cert = v->certfile, .key = v->keyfile};
    if (v->cert_reqs && !v->ca_certs) {
        snprintf(err, errcap, "cert_reqs needs ca_certs");
        return MC_ERROR;
    }
    return compile(set, err, errcap);
}

static struct mc_conf_listen *tls_listen(const struct mc_conf_server *server)
{
    for (size_t i = 0; i < server->nlistens; i++) {
        if (server->listens[i]->tls)
            return server->listens[i];
    }
    return NULL;
}

static int set_server(struct mc_conf *conf, struct mc_conf_server *server, char *err, size_t errcap)
{
    const struct mc_conf_listen *l = tls_listen(server);
    struct mc_conf_section *s = mc_conf_section_for(conf, server, NULL, &tls);
    struct mc_tls_conf *t = mc_arena_calloc(&conf->arena, sizeof(*t));
    if (!t)
        return no_memory(err, errcap);
    t->server = server;
    t->at = server->at;
    server->tls = t;
    int rc = s ? from_section(conf, s, t, err, errcap) : conf->set.certfile ? from_values(conf, t, err, errcap) : MC_OK;
    if (rc == MC_OK && t->ncerts == 0) {
        snprintf(err, errcap, "server \"%s\" listens at %s and has no certificate: write tls { certificate \"NAME\" { cert = FILE  key = FILE } }",
                 server->name, l->text);
        rc = MC_ERROR;
    }
    return rc;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_policy(const struct mc_tls_set *a, const struct mc_tls_set *b)
{
    return a->verify == b->verify && a->verify_depth == b->verify_depth && same_text(a->client_ca, b->client_ca) &&
           same_text(a->client_crl, b->client_crl);
}

/* Requests for one server on a connection that was verified for another are refused when these numbers differ. */
static void number_policies(struct mc_conf *conf)
{
    for (size_t i = 0; i < conf->nservers; i++) {
        struct mc_conf_server *server = &conf->servers[i];
        const struct mc_tls_conf *t = server->tls;
        if (!t || t->set->verify == MC_TLS_VERIFY_OFF)
            continue;
        server->client_policy = (unsigned)i + 1;
        for (size_t k = 0; k < i; k++) {
            const struct mc_tls_conf *other = conf->servers[k].tls;
            if (other && same_policy(t->set, other->set))
                server->client_policy = conf->servers[k].client_policy;
        }
    }
}

/* In the arbiter: would a worker be content with these files? */
static int try_files(const struct mc_conf *conf, const struct mc_tls_conf *t, struct mc_conf_where *at, char *err, size_t errcap)
{
    struct mc_secrets s = {0};
    SSL_CTX *ctx = NULL;
    *at = t->at;
    if (mc_tls_read(conf, t, &s, at, err, errcap) == MC_OK)
        ctx = mc_tls_context(t, &s, NULL, at, err, errcap);
    mc_secrets_wipe(&s);
    SSL_CTX_free(ctx);
    return ctx ? MC_OK : MC_ERROR;
}

static int try_client(const struct mc_conf *conf, const struct mc_tls_client *c, struct mc_conf_where *at, char *err, size_t errcap)
{
    struct mc_secrets s = {0};
    SSL_CTX *ctx = NULL;
    *at = c->at;
    if (mc_tls_read_client(conf, c, &s, err, errcap) == MC_OK)
        ctx = mc_tls_context_client(c, &s, err, errcap);
    mc_secrets_wipe(&s);
    SSL_CTX_free(ctx);
    return ctx ? MC_OK : MC_ERROR;
}

/* Gunicorn's certificate is for servers that listen with TLS and have no tls section. Nobody must believe that it is in use when it is not. */
static int certfile_used(const struct mc_conf *conf, char *err, size_t errcap)
{
    bool any = false;
    for (size_t i = 0; i < conf->nservers; i++) {
        const struct mc_tls_conf *t = conf->servers[i].tls;
        if (t && t->ncerts > 0 && t->certs[0].cert == conf->set.certfile)
            return MC_OK;
        any |= t != NULL;
    }
    snprintf(err, errcap, any ? "certfile: the servers that listen with TLS have certificates in tls sections, so nobody takes this one: leave one of the two out"
                              : "certfile: no server listens with TLS: write 'tls' behind an address, listen = \"ADDRESS tls\", or leave certfile out");
    return MC_ERROR;
}

int mc_tls_settings_check(struct mc_conf *conf, bool image, struct mc_conf_where *at, char *err, size_t errcap)
{
    if (conf->set.keyfile && !conf->set.certfile) {
        snprintf(err, errcap, "keyfile: a key needs its certfile");
        return MC_ERROR;
    }
    for (size_t i = 0; i < conf->nservers; i++) {
        struct mc_conf_server *server = &conf->servers[i];
        *at = server->at;
        if (tls_listen(server) && set_server(conf, server, err, errcap) != MC_OK)
            return MC_ERROR;
        if (!image && server->tls && try_files(conf, server->tls, at, err, errcap) != MC_OK)
            return MC_ERROR;
    }
    *at = (struct mc_conf_where){NULL, 0};
    if (!image && conf->set.certfile && certfile_used(conf, err, errcap) != MC_OK)
        return MC_ERROR;
    number_policies(conf);
    for (size_t i = 0; i < conf->nlistens; i++) {
        struct mc_conf_listen *l = &conf->listens[i];
        const struct mc_tls_conf *t = l->servers[0]->tls;
        if (l->tls && t) {
            l->handshake_timeout = t->set->handshake_timeout;
            l->handshakes = t->set->handshakes;
        }
    }
    for (const struct mc_tls_client *c = conf->tls_clients; !image && c; c = c->next) {
        if (try_client(conf, c, at, err, errcap) != MC_OK)
            return MC_ERROR;
    }
    return MC_OK;
}
