/* Facts of a finished handshake, for apps and logs: read once, constant for the connection's life. Worker side. */
#include "modules/transport/tls/tls.h"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

/* All texts of a certificate, one behind the other, each with a NUL; then the struct points into them. */
struct texts {
    BIO *bio;
    size_t at[8];
    unsigned n;
};

static void next(struct texts *t)
{
    BIO_write(t->bio, "", 1);
    char *p;
    t->at[++t->n] = (size_t)BIO_get_mem_data(t->bio, &p);
}

static void add_serial(struct texts *t, X509 *x)
{
    BIGNUM *bn = ASN1_INTEGER_to_BN(X509_get_serialNumber(x), NULL);
    char *hex = bn ? BN_bn2hex(bn) : NULL;
    BIO_puts(t->bio, hex ? hex : "");
    OPENSSL_free(hex);
    BN_free(bn);
    next(t);
}

static void add_fingerprint(struct texts *t, X509 *x)
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (X509_digest(x, EVP_sha256(), md, &n) != 1)
        n = 0;
    for (unsigned i = 0; i < n; i++)
        BIO_printf(t->bio, "%02x", md[i]);
    next(t);
}

static struct mc_str piece(const char *base, const struct texts *t, unsigned i)
{
    return (struct mc_str){base + t->at[i], t->at[i + 1] - t->at[i] - 1};
}

static int read_peer(struct mc_tls *t, X509 *x)
{
    struct texts texts = {.bio = BIO_new(BIO_s_mem())};
    long result = SSL_get_verify_result(t->ssl);
    char *from;
    if (!texts.bio)
        return MC_ERROR;
    if (result == X509_V_OK)
        BIO_puts(texts.bio, "SUCCESS");
    else
        BIO_printf(texts.bio, "FAILED:%s", X509_verify_cert_error_string(result));
    next(&texts);
    X509_NAME_print_ex(texts.bio, X509_get_subject_name(x), 0, XN_FLAG_RFC2253);
    next(&texts);
    X509_NAME_print_ex(texts.bio, X509_get_issuer_name(x), 0, XN_FLAG_RFC2253);
    next(&texts);
    add_serial(&texts, x);
    add_fingerprint(&texts, x);
    ASN1_TIME_print(texts.bio, X509_get0_notBefore(x));
    next(&texts);
    ASN1_TIME_print(texts.bio, X509_get0_notAfter(x));
    next(&texts);
    PEM_write_bio_X509(texts.bio, x);
    size_t n = (size_t)BIO_get_mem_data(texts.bio, &from);
    struct mc_tls_peer *peer = malloc(sizeof(*peer) + n);
    if (peer) {
        char *to = (char *)(peer + 1);
        memcpy(to, from, n);
        *peer = (struct mc_tls_peer){piece(to, &texts, 0), piece(to, &texts, 1), piece(to, &texts, 2), piece(to, &texts, 3),
                                     piece(to, &texts, 4), piece(to, &texts, 5), piece(to, &texts, 6), {to + texts.at[7], n - texts.at[7]}};
    }
    BIO_free(texts.bio);
    t->info.peer = peer;
    return peer ? MC_OK : MC_ERROR;
}

int mc_tls_facts(struct mc_tls *t)
{
    const unsigned char *alpn;
    unsigned n = 0;
    t->info.version = mc_str(SSL_get_version(t->ssl));
    t->info.cipher = mc_str(SSL_get_cipher_name(t->ssl));
    SSL_get0_alpn_selected(t->ssl, &alpn, &n);
    t->info.alpn = (struct mc_str){(const char *)alpn, n};
    X509 *x = t->listener ? SSL_get0_peer_certificate(t->ssl) : NULL;
    int rc = x ? read_peer(t, x) : MC_OK;
    ERR_clear_error();
    return rc;
}

void mc_tls_facts_free(struct mc_tls *t)
{
    free((struct mc_tls_peer *)(uintptr_t)t->info.peer);
    free((char *)(uintptr_t)t->info.server_name.p);
    t->info.peer = NULL;
    t->info.server_name = MC_STR_NONE;
}
