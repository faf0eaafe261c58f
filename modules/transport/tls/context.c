/* OpenSSL contexts out of bytes, and the bytes out of files. The arbiter does both to check a configuration and keeps neither; a worker is given bytes.
 * Never asks for a passphrase. Arbiter and worker side. */
#include "modules/transport/tls/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

static const char groups_new[] = "X25519MLKEM768:X25519:P-256:P-384", groups_all[] = "X25519:P-256:P-384";

const char *mc_tls_reason(void)
{
    unsigned long e = ERR_peek_error();
    const char *why = e == 0 ? NULL : ERR_SYSTEM_ERROR(e) ? strerror(ERR_GET_REASON(e)) : ERR_reason_error_string(e);
    ERR_clear_error();
    return why ? why : "unknown error";
}

static int fail(char *err, size_t errcap, const char *what, const char *file)
{
    snprintf(err, errcap, "tls: %s %s: %s", what, file, mc_tls_reason());
    return MC_ERROR;
}

static BIO *bytes_of(const struct mc_secrets *s, const char *path)
{
    struct mc_str found;
    return mc_secrets_get(s, path, &found) ? BIO_new_mem_buf(found.p, (int)found.n) : NULL;
}

/* ---- certificates and keys */

/* A server that waits for somebody to type is no server. */
static int no_passphrase(char *buf, int size, int rwflag, void *asked)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    *(bool *)asked = true;
    return -1;
}

static EVP_PKEY *read_key(const struct mc_secrets *s, const char *path, char *err, size_t errcap)
{
    bool asked = false;
    BIO *bio = bytes_of(s, path);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked) : NULL;
    BIO_free(bio);
    if (!key && asked) {
        ERR_clear_error();
        snprintf(err, errcap, "tls: key %s is locked with a passphrase, which nobody can give here", path);
    } else if (!key) {
        ERR_clear_error();
        snprintf(err, errcap, "tls: there is no private key (PEM) in %s", path);
    }
    return key;
}

/* The certificate and those behind it. MC_ERROR with err. */
static int read_chain(const struct mc_secrets *s, const char *path, X509 **leaf, STACK_OF(X509) **chain, char *err, size_t errcap)
{
    X509 *more;
    BIO *bio = bytes_of(s, path);
    *leaf = bio ? PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL) : NULL;
    *chain = *leaf ? sk_X509_new_null() : NULL;
    while (*chain && (more = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
        if (!sk_X509_push(*chain, more))
            X509_free(more);
    }
    unsigned long e = ERR_peek_last_error();
    BIO_free(bio);
    if (!*leaf || !*chain) {
        ERR_clear_error();
        snprintf(err, errcap, "tls: there is no certificate (PEM) in %s", path);
        return MC_ERROR;
    }
    if (ERR_GET_LIB(e) != ERR_LIB_PEM || ERR_GET_REASON(e) != PEM_R_NO_START_LINE)
        return fail(err, errcap, "certificate", path);
    ERR_clear_error();
    return MC_OK;
}

int mc_tls_context_cert(SSL_CTX *ctx, const struct mc_secrets *s, const char *cert, const char *key, char *err, size_t errcap)
{
    X509 *leaf = NULL;
    STACK_OF(X509) *chain = NULL;
    EVP_PKEY *pkey = NULL;
    const char *file = key ? key : cert;
    int rc = read_chain(s, cert, &leaf, &chain, err, errcap);
    if (rc == MC_OK && !(pkey = read_key(s, file, err, errcap)))
        rc = MC_ERROR;
    if (rc == MC_OK && X509_check_private_key(leaf, pkey) != 1) {
        ERR_clear_error();
        snprintf(err, errcap, "tls: key %s does not belong to certificate %s", file, cert);
        rc = MC_ERROR;
    }
    if (rc == MC_OK && SSL_CTX_use_cert_and_key(ctx, leaf, pkey, sk_X509_num(chain) > 0 ? chain : NULL /* or each connection has a copy of nothing */, 0) != 1) {
        unsigned long e = ERR_peek_last_error();
        rc = MC_ERROR;
        if (ERR_GET_REASON(e) == SSL_R_NOT_REPLACING_CERTIFICATE) {
            ERR_clear_error();
            snprintf(err, errcap, "tls: certificate %s is of the same kind as another one of this server: one for each kind of key", cert);
        } else {
            (void)fail(err, errcap, "certificate", cert);
        }
    }
    X509_free(leaf);
    sk_X509_pop_free(chain, X509_free);
    EVP_PKEY_free(pkey);
    return rc;
}

/* ---- whom to trust */

static int push_name(STACK_OF(X509_NAME) *names, const X509 *x)
{
    X509_NAME *name = X509_NAME_dup(X509_get_subject_name(x));
    if (name && sk_X509_NAME_push(names, name))
        return MC_OK;
    X509_NAME_free(name);
    return MC_ERROR;
}

int mc_tls_context_trust(SSL_CTX *ctx, struct mc_str pem, const char *what, STACK_OF(X509_NAME) *names, char *err, size_t errcap)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    X509 *x = NULL;
    size_t n = 0;
    int rc = MC_OK;
    while (bio && rc == MC_OK && (x = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL))) {
        rc = X509_STORE_add_cert(store, x) == 1 && (!names || push_name(names, x) == MC_OK) ? MC_OK : MC_ERROR;
        X509_free(x);
        n++;
    }
    BIO_free(bio);
    if (rc != MC_OK)
        return fail(err, errcap, "certificates of", what);
    ERR_clear_error();
    if (n)
        return MC_OK;
    snprintf(err, errcap, "tls: there is no certificate (PEM) in %s", what);
    return MC_ERROR;
}

static int add_crls(SSL_CTX *ctx, struct mc_str pem, const char *what, char *err, size_t errcap)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    X509_CRL *crl;
    size_t n = 0;
    int rc = MC_OK;
    while (bio && rc == MC_OK && (crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL))) {
        rc = X509_STORE_add_crl(store, crl) == 1 ? MC_OK : MC_ERROR;
        X509_CRL_free(crl);
        n++;
    }
    BIO_free(bio);
    if (rc != MC_OK || n == 0) {
        ERR_clear_error();
        snprintf(err, errcap, "tls: there is no revocation list (PEM) in %s", what);
        return MC_ERROR;
    }
    ERR_clear_error();
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    return MC_OK;
}

/* optional_no_ca: whatever is wrong is told to the app. */
static int take_any(int ok, X509_STORE_CTX *x)
{
    (void)ok;
    (void)x;
    return 1;
}

static int set_clients(SSL_CTX *ctx, const struct mc_tls_set *set, const struct mc_secrets *s, char *err, size_t errcap)
{
    static const int modes[] = {[MC_TLS_VERIFY_OFF] = SSL_VERIFY_NONE, [MC_TLS_VERIFY_OPTIONAL] = SSL_VERIFY_PEER,
                                [MC_TLS_VERIFY_ON] = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, [MC_TLS_VERIFY_NO_CA] = SSL_VERIFY_PEER};
    struct mc_str pem;
    SSL_CTX_set_verify(ctx, modes[set->verify], set->verify == MC_TLS_VERIFY_NO_CA ? take_any : NULL);
    SSL_CTX_set_verify_depth(ctx, (int)set->verify_depth);
    if (set->verify == MC_TLS_VERIFY_OFF || !set->client_ca)
        return MC_OK;
    STACK_OF(X509_NAME) *names = sk_X509_NAME_new_null();
    (void)mc_secrets_get(s, set->client_ca, &pem);
    if (!names || mc_tls_context_trust(ctx, pem, set->client_ca, names, err, errcap) != MC_OK) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return MC_ERROR;
    }
    SSL_CTX_set_client_CA_list(ctx, names);
    if (!set->client_crl)
        return MC_OK;
    (void)mc_secrets_get(s, set->client_crl, &pem);
    return add_crls(ctx, pem, set->client_crl, err, errcap);
}

/* ---- a server */

static int set_words(SSL_CTX *ctx, const struct mc_tls_set *set, char *err, size_t errcap)
{
    const char *groups = set->groups;
    if (SSL_CTX_set_cipher_list(ctx, set->ciphers) != 1)
        return fail(err, errcap, "ciphers", set->ciphers);
    if (set->ciphersuites && SSL_CTX_set_ciphersuites(ctx, set->ciphersuites) != 1)
        return fail(err, errcap, "ciphersuites", set->ciphersuites);
    if (!groups && SSL_CTX_set1_groups_list(ctx, groups_new) == 1)
        return MC_OK;
    ERR_clear_error();
    if (SSL_CTX_set1_groups_list(ctx, groups ? groups : groups_all) != 1)
        return fail(err, errcap, "groups", groups ? groups : groups_all);
    return MC_OK;
}

static void set_options(SSL_CTX *ctx, const struct mc_tls_set *set)
{
    uint64_t on = SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_ENABLE_MIDDLEBOX_COMPAT;
    if (set->prefer_server_ciphers)
        on |= SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA;
    if (!set->tickets)
        on |= SSL_OP_NO_TICKET;
    SSL_CTX_set_options(ctx, on);
    SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* sessions live in tickets only */
    SSL_CTX_set_timeout(ctx, (long)(set->session_timeout / 1000));
    SSL_CTX_set_num_tickets(ctx, set->tickets ? 1 : 0);
    SSL_CTX_set_max_early_data(ctx, 0);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_min_proto_version(ctx, set->min);
    SSL_CTX_set_max_proto_version(ctx, set->max);
}

static int add_cert(SSL_CTX *ctx, const struct mc_tls_cert *c, const struct mc_secrets *s, struct mc_tls_staple *staple, char *err, size_t errcap)
{
    struct mc_tls_staple unused = {0};
    if (mc_tls_context_cert(ctx, s, c->cert, c->key, err, errcap) != MC_OK)
        return MC_ERROR;
    int rc = mc_tls_ocsp_add(staple ? staple : &unused, SSL_CTX_get0_certificate(ctx), c->ocsp_response, s, err, errcap);
    free(unused.p);
    return rc;
}

SSL_CTX *mc_tls_context(const struct mc_tls_conf *c, const struct mc_secrets *s, struct mc_tls_staple *staples, struct mc_conf_where *at, char *err,
                        size_t errcap)
{
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx) {
        (void)fail(err, errcap, "a context for server", c->server->name);
        return NULL;
    }
    *at = c->at;
    set_options(ctx, c->set);
    int rc = set_words(ctx, c->set, err, errcap);
    if (rc == MC_OK)
        rc = set_clients(ctx, c->set, s, err, errcap);
    for (size_t i = 0; rc == MC_OK && i < c->ncerts; i++) {
        if (c->certs[i].at.file)
            *at = c->certs[i].at;
        rc = add_cert(ctx, &c->certs[i], s, staples ? &staples[i] : NULL, err, errcap);
    }
    if (rc == MC_OK)
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

/* ---- files */

static int read_one(const struct mc_conf *conf, const char *what, const char *path, struct mc_secrets *out, char *err, size_t errcap)
{
    if (!path || mc_secrets_add_file(out, conf, path) == MC_OK)
        return MC_OK;
    snprintf(err, errcap, "tls: cannot read %s %s: %s", what, path, strerror(errno));
    return MC_ERROR;
}

int mc_tls_read(const struct mc_conf *conf, const struct mc_tls_conf *c, struct mc_secrets *out, struct mc_conf_where *at, char *err, size_t errcap)
{
    *at = c->at;
    if (read_one(conf, "client_ca", c->set->client_ca, out, err, errcap) != MC_OK ||
        read_one(conf, "client_crl", c->set->client_crl, out, err, errcap) != MC_OK)
        return MC_ERROR;
    for (size_t i = 0; i < c->set->ticket_keys.n; i++) {
        struct mc_str key;
        const char *path = c->set->ticket_keys.v[i];
        if (read_one(conf, "ticket key", path, out, err, errcap) != MC_OK)
            return MC_ERROR;
        int rc = mc_secrets_get(out, path, &key) ? mc_tls_ticket_check(key) : MC_OK;
        if (rc == MC_DECLINED)
            snprintf(err, errcap, "tls: ticket key %s is all zeros, which anybody can guess: 80 or 48 random bytes are needed", path);
        else if (rc != MC_OK)
            snprintf(err, errcap, "tls: ticket key %s has %zu bytes: 80 or 48 random ones are needed", path, key.n);
        if (rc != MC_OK)
            return MC_ERROR;
    }
    for (size_t i = 0; i < c->ncerts; i++) {
        const struct mc_tls_cert *x = &c->certs[i];
        if (x->at.file)
            *at = x->at;
        if (read_one(conf, "certificate", x->cert, out, err, errcap) != MC_OK || read_one(conf, "key", x->key, out, err, errcap) != MC_OK ||
            read_one(conf, "OCSP response", x->ocsp_response, out, err, errcap) != MC_OK)
            return MC_ERROR;
    }
    return MC_OK;
}

int mc_tls_read_client(const struct mc_conf *conf, const struct mc_tls_client *c, struct mc_secrets *out, char *err, size_t errcap)
{
    if (read_one(conf, "tls_ca", c->ca, out, err, errcap) != MC_OK || read_one(conf, "tls_cert", c->cert, out, err, errcap) != MC_OK)
        return MC_ERROR;
    return read_one(conf, "tls_key", c->key, out, err, errcap);
}
