/* TLS towards upstreams: contexts that trust what they are told to, and the name that a peer must prove. Verified unless the file says otherwise. */
#include "modules/transport/tls/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>

static int set_trust(SSL_CTX *ctx, const struct mc_tls_client *c, const struct mc_secrets *s, char *err, size_t errcap)
{
    struct mc_str pem;
    SSL_CTX_set_verify(ctx, c->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if (!c->verify)
        return MC_OK;
    if (c->ca) {
        (void)mc_secrets_get(s, c->ca, &pem);
        return mc_tls_context_trust(ctx, pem, c->ca, NULL, err, errcap);
    }
    if (SSL_CTX_set_default_verify_paths(ctx) == 1)
        return MC_OK;
    snprintf(err, errcap, "tls: cannot use the system's certificates: %s", mc_tls_reason());
    return MC_ERROR;
}

SSL_CTX *mc_tls_context_client(const struct mc_tls_client *c, const struct mc_secrets *s, char *err, size_t errcap)
{
    int min = TLS1_2_VERSION, max = TLS1_3_VERSION;
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx) {
        snprintf(err, errcap, "tls: %s", mc_tls_reason());
        return NULL;
    }
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(ctx, 1);
    int rc = mc_tls_protocols(&c->protocols, &min, &max, err, errcap);
    SSL_CTX_set_min_proto_version(ctx, min);
    SSL_CTX_set_max_proto_version(ctx, max);
    if (rc == MC_OK && c->ciphers && SSL_CTX_set_cipher_list(ctx, c->ciphers) != 1) {
        snprintf(err, errcap, "tls: ciphers %s: %s", c->ciphers, mc_tls_reason());
        rc = MC_ERROR;
    }
    if (rc == MC_OK)
        rc = set_trust(ctx, c, s, err, errcap);
    if (rc == MC_OK && c->cert)
        rc = mc_tls_context_cert(ctx, s, c->cert, c->key, err, errcap);
    if (rc == MC_OK)
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

static bool is_address(const char *name)
{
    struct in6_addr any;
    return inet_pton(AF_INET, name, &any) == 1 || inet_pton(AF_INET6, name, &any) == 1;
}

static int set_alpn(SSL *ssl, const char *name)
{
    unsigned char wire[64];
    size_t n = strlen(name);
    if (n == 0 || n >= sizeof(wire))
        return MC_ERROR;
    wire[0] = (unsigned char)n;
    memcpy(wire + 1, name, n);
    return SSL_set_alpn_protos(ssl, wire, (unsigned)n + 1) == 0 ? MC_OK : MC_ERROR; /* 0 is success here */
}

int mc_tls_client_open(struct mc_tls *t, const struct mc_tls_client *c)
{
    bool ok = true, address = c->name && is_address(c->name);
    SSL_set_connect_state(t->ssl);
    if (c->name && !address)
        ok = SSL_set_tlsext_host_name(t->ssl, c->name) == 1;
    if (ok && c->name && c->verify) {
        X509_VERIFY_PARAM_set_hostflags(SSL_get0_param(t->ssl), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        ok = address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(t->ssl), c->name) == 1 : SSL_set1_host(t->ssl, c->name) == 1;
    }
    return ok && (!c->alpn || set_alpn(t->ssl, c->alpn) == MC_OK) ? MC_OK : MC_ERROR;
}

const char *mc_tls_client_why(struct mc_tls *t, const char *reason)
{
    long result = SSL_get_verify_result(t->ssl);
    return result != X509_V_OK && !t->up ? X509_verify_cert_error_string(result) : reason;
}
