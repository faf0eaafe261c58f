/* OCSP stapling: responses of files and fetched ones, as workers send them along; and the fetching, in a child of the arbiter that has certificates but
 * no keys. What is fetched is verified and must say "good", and is thrown away when it is out of date. An entry "ocsp:SHA-256" of the secrets
 * holds when to ask again, when it ends, and the response. Arbiter and worker side. */
#include "modules/transport/tls/tls.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/http.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

enum { NAME = 5 + 64 + 1, TIMES = 16, SOONEST = 300, LATEST = 3600, WAIT_S = 10, MAX_RESPONSE = 64 << 10, SKEW = 300 };

struct staple {
    int64_t due, until; /* real time, s; until 0: it does not end */
    struct mc_str der;
};

static void name_of(const X509 *x, char out[NAME])
{
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (X509_digest(x, EVP_sha256(), md, &n) != 1)
        n = 0;
    int at = snprintf(out, NAME, "ocsp:");
    for (unsigned i = 0; i < n && i < 32; i++)
        at += snprintf(out + at, (size_t)(NAME - at), "%02x", md[i]);
}

static bool find(const struct mc_secrets *s, const char *name, struct staple *out)
{
    struct mc_str bytes;
    if (!mc_secrets_get(s, name, &bytes) || bytes.n <= TIMES)
        return false;
    memcpy(&out->due, bytes.p, 8);
    memcpy(&out->until, bytes.p + 8, 8);
    out->der = (struct mc_str){bytes.p + TIMES, bytes.n - TIMES};
    return true;
}

/* Seconds since the epoch; 0: absent or strange. */
static int64_t seconds_of(const ASN1_GENERALIZEDTIME *t)
{
    struct tm tm;
    return t && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* When the first of its answers ends. MC_ERROR: not a successful response. */
static int read_end(struct mc_str der, int64_t *until)
{
    const unsigned char *p = (const unsigned char *)der.p;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &p, (long)der.n);
    OCSP_BASICRESP *basic = response && OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL ? OCSP_response_get1_basic(response) : NULL;
    ASN1_GENERALIZEDTIME *next = NULL;
    OCSP_SINGLERESP *one = basic ? OCSP_resp_get0(basic, 0) : NULL;
    if (one)
        (void)OCSP_single_get0_status(one, NULL, NULL, NULL, &next);
    *until = seconds_of(next);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    return one ? MC_OK : MC_ERROR;
}

/* ---- workers */

int mc_tls_ocsp_add(struct mc_tls_staple *to, const X509 *x, const char *file, const struct mc_secrets *s, char *err, size_t errcap)
{
    char name[NAME];
    struct staple found = {0};
    *to = (struct mc_tls_staple){.x = x};
    name_of(x, name);
    if (file) {
        (void)mc_secrets_get(s, file, &found.der);
        if (read_end(found.der, &found.until) != MC_OK) {
            snprintf(err, errcap, "tls: there is no OCSP response (DER, successful) in %s", file);
            return MC_ERROR;
        }
    } else if (!find(s, name, &found)) {
        return MC_OK;
    }
    to->p = malloc(found.der.n);
    if (!to->p) {
        snprintf(err, errcap, "out of memory");
        return MC_ERROR;
    }
    memcpy(to->p, found.der.p, found.der.n);
    to->n = found.der.n;
    to->until = found.until;
    return MC_OK;
}

/* The client asks for the status of the certificate that was chosen. */
int mc_tls_ocsp_status(SSL *ssl, void *data)
{
    const struct mc_tls *t = mc_tls_of_ssl(ssl);
    const struct mc_tls_site *site = t->info.server ? mc_tls_site(t->info.server) : NULL;
    const X509 *x = SSL_get_certificate(ssl);
    (void)data;
    for (size_t i = 0; site && i < site->conf->ncerts; i++) {
        const struct mc_tls_staple *staple = &site->staples[i];
        if (staple->x != x || !staple->p || (staple->until && staple->until <= (int64_t)time(NULL)))
            continue;
        unsigned char *copy = OPENSSL_malloc(staple->n); /* OpenSSL frees it */
        if (!copy)
            return SSL_TLSEXT_ERR_NOACK;
        memcpy(copy, staple->p, staple->n);
        SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)staple->n);
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

/* ---- the arbiter: what is there, and what is to be asked for */

/* The certificate and its issuer, which must stand behind it, without the key that may be in the same file. */
static int add_question(struct mc_gather *g, const char *name, X509 *x, X509 *issuer, const struct mc_tls_conf *c)
{
    char *bytes;
    BIO *bio = BIO_new(BIO_s_mem());
    STACK_OF(OPENSSL_STRING) *urls = X509_get1_ocsp(x);
    const char *url = c->set->stapling_responder ? c->set->stapling_responder : sk_OPENSSL_STRING_num(urls) > 0 ? sk_OPENSSL_STRING_value(urls, 0) : NULL;
    int rc = MC_OK;
    if (!issuer || !url) {
        mc_warn("tls: no OCSP response for server \"%s\": %s", c->server->name,
                url ? "the issuer is not in the certificate's file" : "the certificate names no responder");
    } else if (bio && BIO_printf(bio, "%s\n", url) > 0 && PEM_write_bio_X509(bio, x) == 1 && PEM_write_bio_X509(bio, issuer) == 1) {
        long n = BIO_get_mem_data(bio, &bytes);
        rc = mc_secrets_add(g->ask, name, bytes, (size_t)n);
    } else {
        rc = MC_ERROR;
    }
    if (rc != MC_OK)
        snprintf(g->err, g->errcap, "out of memory");
    X509_email_free(urls);
    BIO_free(bio);
    return rc;
}

int mc_tls_ocsp_gather(struct mc_gather *g, const struct mc_tls_conf *c, const char *cert)
{
    char name[NAME];
    struct mc_str pem, old;
    struct staple known;
    (void)mc_secrets_get(g->out, cert, &pem);
    BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    X509 *x = bio ? PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL) : NULL;
    X509 *issuer = x ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    int rc = x ? MC_OK : MC_ERROR;
    if (x)
        name_of(x, name);
    bool have = x && find(g->old, name, &known) && (known.until == 0 || known.until > g->now);
    if (have) {
        (void)mc_secrets_get(g->old, name, &old);
        rc = mc_secrets_add(g->out, name, old.p, old.n);
        if (g->next == 0 || known.due < g->next)
            g->next = known.due;
    }
    if (rc == MC_OK && (!have || known.due <= g->now))
        rc = add_question(g, name, x, issuer, c);
    else if (rc != MC_OK)
        snprintf(g->err, g->errcap, "out of memory");
    X509_free(issuer);
    X509_free(x);
    BIO_free(bio);
    ERR_clear_error();
    return rc;
}

/* ---- in the child: ask */

static OCSP_RESPONSE *ask(const char *url, OCSP_REQUEST *request)
{
    char *host = NULL, *port = NULL, *path = NULL;
    int ssl = 0;
    OCSP_RESPONSE *response = NULL;
    BIO *body = ASN1_item_i2d_mem_bio(ASN1_ITEM_rptr(OCSP_REQUEST), (const ASN1_VALUE *)request), *answer = NULL;
    if (body && OSSL_HTTP_parse_url(url, &ssl, NULL, &host, &port, NULL, &path, NULL, NULL) == 1 && !ssl)
        answer = OSSL_HTTP_transfer(NULL, host, port, path, 0, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, "application/ocsp-request", body,
                                    "application/ocsp-response", 1, MAX_RESPONSE, WAIT_S, 0);
    if (answer)
        response = (OCSP_RESPONSE *)ASN1_item_d2i_bio(ASN1_ITEM_rptr(OCSP_RESPONSE), answer, NULL);
    BIO_free(answer);
    BIO_free(body);
    OPENSSL_free(host);
    OPENSSL_free(port);
    OPENSSL_free(path);
    return response;
}

/* Signed by the issuer or by whom it has sent, about this certificate, of now, and good. NULL, or what is wrong. */
static const char *check(OCSP_RESPONSE *response, OCSP_CERTID *id, X509 *issuer, struct staple *out)
{
    ASN1_GENERALIZEDTIME *made = NULL, *next = NULL;
    int status = -1;
    const char *wrong = NULL;
    if (OCSP_response_status(response) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
        return OCSP_response_status_str(OCSP_response_status(response));
    OCSP_BASICRESP *basic = OCSP_response_get1_basic(response);
    X509_STORE *store = X509_STORE_new();
    STACK_OF(X509) *chain = sk_X509_new_null();
    if (!basic || !store || !chain || X509_STORE_add_cert(store, issuer) != 1 || !sk_X509_push(chain, issuer))
        wrong = "out of memory, or no response";
    if (!wrong) {
        X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
        if (OCSP_basic_verify(basic, chain, store, OCSP_TRUSTOTHER) != 1)
            wrong = mc_tls_reason();
        else if (OCSP_resp_find_status(basic, id, &status, NULL, NULL, &made, &next) != 1)
            wrong = "it is about another certificate";
        else if (OCSP_check_validity(made, next, SKEW, -1) != 1)
            wrong = "it is out of date";
        else if (status != V_OCSP_CERTSTATUS_GOOD)
            wrong = OCSP_cert_status_str(status);
    }
    out->until = seconds_of(next);
    sk_X509_free(chain);
    X509_STORE_free(store);
    OCSP_BASICRESP_free(basic);
    return wrong;
}

static const char *fetch_one(const char *url, X509 *x, X509 *issuer, struct staple *out, unsigned char **der)
{
    OCSP_REQUEST *request = OCSP_REQUEST_new();
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), x, issuer), *mine = id ? OCSP_CERTID_dup(id) : NULL;
    const char *wrong = NULL;
    OCSP_RESPONSE *response = NULL;
    if (!request || !mine || !OCSP_request_add0_id(request, id))
        wrong = "out of memory";
    else if (!(response = ask(url, request)))
        wrong = mc_tls_reason();
    else
        wrong = check(response, mine, issuer, out);
    int n = wrong ? 0 : i2d_OCSP_RESPONSE(response, der);
    out->der = (struct mc_str){(const char *)*der, n > 0 ? (size_t)n : 0};
    OCSP_RESPONSE_free(response);
    OCSP_CERTID_free(mine);
    OCSP_REQUEST_free(request);
    return wrong ? wrong : n > 0 ? NULL : "it cannot be kept";
}

static int keep(struct mc_gather *g, const char *name, struct staple *s)
{
    int64_t half = s->until ? (s->until - g->now) / 2 : LATEST;
    s->due = g->now + (half < SOONEST ? SOONEST : half > LATEST ? LATEST : half);
    unsigned char *all = malloc(TIMES + s->der.n);
    if (!all)
        return MC_ERROR;
    memcpy(all, &s->due, 8);
    memcpy(all + 8, &s->until, 8);
    memcpy(all + TIMES, s->der.p, s->der.n);
    int rc = mc_secrets_add(g->out, name, all, TIMES + s->der.n);
    free(all);
    return rc;
}

static int answer(struct mc_gather *g, struct mc_str name, struct mc_str question)
{
    char url[1024], z[NAME];
    struct staple s = {0};
    unsigned char *der = NULL;
    const char *end = memchr(question.p, '\n', question.n);
    size_t n = end ? (size_t)(end - question.p) : 0;
    if (n == 0 || n >= sizeof(url) || name.n >= sizeof(z))
        return MC_ERROR;
    memcpy(url, question.p, n);
    url[n] = '\0';
    memcpy(z, name.p, name.n);
    z[name.n] = '\0';
    BIO *bio = BIO_new_mem_buf(end + 1, (int)(question.n - n - 1));
    X509 *x = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL, *issuer = x ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    const char *wrong = issuer ? fetch_one(url, x, issuer, &s, &der) : "no certificate";
    int rc = wrong ? MC_ERROR : keep(g, z, &s);
    if (wrong)
        mc_warn("tls: no OCSP response from %s: %s", url, wrong);
    OPENSSL_free(der);
    X509_free(issuer);
    X509_free(x);
    BIO_free(bio);
    return rc;
}

int mc_tls_ocsp_fetch(struct mc_gather *g)
{
    struct mc_str name, question;
    int rc = MC_OK;
    for (size_t at = 0; mc_secrets_next(g->ask, &at, &name, &question);) {
        if (name.n > 5 && memcmp(name.p, "ocsp:", 5) == 0 && answer(g, name, question) != MC_OK)
            rc = MC_ERROR; /* the others all the same */
    }
    return rc;
}
