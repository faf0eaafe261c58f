/* Session tickets: the keys that make and open them. The arbiter makes keys, or reads them from files, and every worker of the pool has the same, so a
 * session resumes in any of them. What a session may be used for is not decided here but by its session id context (sites.c). */
#include "modules/transport/tls/tls.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>

enum { KEYS = 16 /* of files */, OWN = 3 /* made by us: the newest and two old ones */, NAME = 16, LONG = 80, SHORT = 48 };

struct key {
    unsigned char name[NAME], mac[32], aes[32];
    size_t mac_n, aes_n;
};

static struct {
    struct key v[KEYS];
    size_t n;
} ring;

/* The layouts of nginx's files, so that a fleet may share them. */
static void take(struct key *k, struct mc_str bytes)
{
    const unsigned char *p = (const unsigned char *)bytes.p;
    memset(k, 0, sizeof(*k));
    memcpy(k->name, p, NAME);
    if (bytes.n == LONG) {
        k->mac_n = k->aes_n = 32;
        memcpy(k->mac, p + 16, 32);
        memcpy(k->aes, p + 48, 32);
    } else {
        k->mac_n = k->aes_n = 16;
        memcpy(k->aes, p + 16, 16);
        memcpy(k->mac, p + 32, 16);
    }
}

int mc_tls_ticket_check(struct mc_str key)
{
    if (key.n != LONG && key.n != SHORT)
        return MC_ERROR;
    for (size_t i = NAME; i < key.n; i++) {
        if (key.p[i] != 0)
            return MC_OK;
    }
    return MC_DECLINED;
}

void mc_tls_ticket_wipe(void)
{
    explicit_bzero(&ring, sizeof(ring));
}

int mc_tls_ticket_adopt(const struct mc_secrets *s)
{
    struct mc_str name, bytes;
    static const char prefix[] = "ticket:";
    mc_tls_ticket_wipe();
    for (size_t at = 0; mc_secrets_next(s, &at, &name, &bytes) && ring.n < KEYS;) {
        if (name.n < sizeof(prefix) || memcmp(name.p, prefix, sizeof(prefix) - 1) != 0)
            continue;
        if (mc_tls_ticket_check(bytes) != MC_OK)
            return MC_ERROR;
        take(&ring.v[ring.n++], bytes);
    }
    return MC_OK;
}

/* ---- the callback: a ticket is to be made, or opened */

static int set_key(const struct key *k, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int enc)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)k->mac, k->mac_n),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    const EVP_CIPHER *aes = k->aes_n == 32 ? EVP_aes_256_cbc() : EVP_aes_128_cbc();
    return EVP_CipherInit_ex(cipher, aes, NULL, k->aes, iv, enc) == 1 && EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* > 0: ok (2: make a new ticket, too), 0: no such key, < 0: failure, which ends the handshake. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int enc)
{
    (void)ssl;
    if (enc) {
        if (ring.n == 0)
            return 0;
        if (RAND_bytes(iv, EVP_MAX_IV_LENGTH) != 1 || !set_key(&ring.v[0], iv, cipher, mac, 1))
            return -1;
        memcpy(name, ring.v[0].name, NAME);
        return 1;
    }
    for (size_t i = 0; i < ring.n; i++) {
        if (memcmp(name, ring.v[i].name, NAME) != 0)
            continue;
        if (!set_key(&ring.v[i], iv, cipher, mac, 0))
            return -1;
        /* TLS 1.3 makes a new one in any case. */
        return i == 0 && SSL_version(ssl) != TLS1_3_VERSION ? 1 : 2;
    }
    return 0;
}

void mc_tls_ticket_use(SSL_CTX *ctx)
{
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket);
}

/* ---- in the arbiter: keys of our own, "ticket:SECONDS:N" with the time when they were made */

static bool made_at(struct mc_str name, int64_t *when)
{
    struct mc_str rest = {name.p + 7, name.n - 7};
    uint64_t v;
    if (name.n < 8 || memcmp(name.p, "ticket:", 7) != 0)
        return false;
    rest.n = (size_t)((const char *)memchr(rest.p, ':', rest.n) ? (const char *)memchr(rest.p, ':', rest.n) - rest.p : 0);
    if (mc_str_to_u64(rest, INT64_MAX, &v) != MC_OK)
        return false;
    *when = (int64_t)v;
    return true;
}

static int add_new(struct mc_gather *g)
{
    unsigned char bytes[LONG];
    char name[64];
    snprintf(name, sizeof(name), "ticket:%lld:0", (long long)g->now);
    if (RAND_priv_bytes(bytes, sizeof(bytes)) != 1) { /* no key at all rather than one that can be guessed */
        snprintf(g->err, g->errcap, "tls: cannot make a ticket key: %s", mc_tls_reason());
        return MC_ERROR;
    }
    int rc = mc_secrets_add(g->out, name, bytes, sizeof(bytes));
    explicit_bzero(bytes, sizeof(bytes));
    if (rc != MC_OK)
        snprintf(g->err, g->errcap, "out of memory");
    return rc;
}

int mc_tls_ticket_gather(struct mc_gather *g, int64_t lifetime)
{
    struct mc_str name, bytes;
    int64_t newest = -1, when;
    size_t kept = 0;
    char z[64];
    for (size_t at = 0; mc_secrets_next(g->old, &at, &name, &bytes);) {
        if (made_at(name, &when) && when > newest)
            newest = when;
    }
    bool renew = newest < 0 || newest > g->now || g->now - newest >= lifetime / 1000;
    if (renew && add_new(g) != MC_OK)
        return MC_ERROR;
    if (renew)
        newest = g->now, kept = 1;
    for (size_t at = 0; kept < OWN && mc_secrets_next(g->old, &at, &name, &bytes);) {
        if (!made_at(name, &when) || name.n >= sizeof(z))
            continue;
        memcpy(z, name.p, name.n);
        z[name.n] = '\0';
        if (mc_secrets_add(g->out, z, bytes.p, bytes.n) != MC_OK) {
            snprintf(g->err, g->errcap, "out of memory");
            return MC_ERROR;
        }
        kept++;
    }
    if (g->next == 0 || newest + lifetime / 1000 < g->next)
        g->next = newest + lifetime / 1000;
    return MC_OK;
}
