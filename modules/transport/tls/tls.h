/* What the files of the TLS module share. Private to it. */
#ifndef MC_TRANSPORT_TLS_H
#define MC_TRANSPORT_TLS_H

#include "core/config/secrets.h"
#include "core/config/tls_client.h"
#include "core/server/tls.h"
#include "core/server/worker.h"

#include <openssl/ssl.h>

/* ---- settings.c: sections, and what they amount to ---- */

enum mc_tls_verify { MC_TLS_VERIFY_OFF, MC_TLS_VERIFY_OPTIONAL, MC_TLS_VERIFY_ON, MC_TLS_VERIFY_NO_CA };

/* certificate "NAME" { … } */
struct mc_tls_cert {
    const char *cert, *key, *ocsp_response;
    /* filled */
    const char *name;
    struct mc_conf_where at;
};

/* tls { … } */
struct mc_tls_set {
    struct mc_strv protocols, ticket_keys;
    const char *ciphers, *ciphersuites, *groups, *verify_client, *client_ca, *client_crl, *sni, *stapling_responder;
    int64_t verify_depth, handshake_timeout, handshakes, session_timeout, ticket_lifetime;
    bool prefer_server_ciphers, tickets, ktls, stapling, watch;
    /* filled by check */
    enum mc_tls_verify verify;
    bool strict;
    int min, max; /* protocol versions */
};

/* TLS of one server: mc_conf_server.tls, when one of its listeners has it. */
struct mc_tls_conf {
    const struct mc_conf_server *server;
    const struct mc_tls_set *set;
    struct mc_tls_cert *certs;
    size_t ncerts;
    struct mc_conf_where at;
};

extern const struct mc_section *const mc_tls_sections[];
int mc_tls_settings_check(struct mc_conf *conf, bool image, struct mc_conf_where *at, char *err, size_t errcap);
int mc_tls_protocols(const struct mc_strv *list, int *min, int *max, char *err, size_t errcap);

struct mc_tls_staple;

/* ---- context.c: OpenSSL contexts out of bytes; the same in the arbiter, which only checks, and in workers ---- */

/* All that may be wrong with a server's TLS is said here. NULL with err, and *at when one certificate is to blame. staples: as many as certificates,
 * zeroed; filled even on failure; NULL: not wanted. */
SSL_CTX *mc_tls_context(const struct mc_tls_conf *c, const struct mc_secrets *s, struct mc_tls_staple *staples, struct mc_conf_where *at, char *err,
                        size_t errcap);
/* A certificate with its chain, and the key, into a context: both sides use it. key NULL: in the same file. */
int mc_tls_context_cert(SSL_CTX *ctx, const struct mc_secrets *s, const char *cert, const char *key, char *err, size_t errcap);
/* Certificates of a file into the store that peers are checked with. */
int mc_tls_context_trust(SSL_CTX *ctx, struct mc_str pem, const char *what, STACK_OF(X509_NAME) *names, char *err, size_t errcap);
SSL_CTX *mc_tls_context_client(const struct mc_tls_client *c, const struct mc_secrets *s, char *err, size_t errcap);
/* The first reason in OpenSSL's queue, which is empty afterwards. Lives for ever. */
const char *mc_tls_reason(void);
/* All files of a server's TLS. MC_OK, or MC_ERROR with err and *at. */
int mc_tls_read(const struct mc_conf *conf, const struct mc_tls_conf *c, struct mc_secrets *out, struct mc_conf_where *at, char *err, size_t errcap);
int mc_tls_read_client(const struct mc_conf *conf, const struct mc_tls_client *c, struct mc_secrets *out, char *err, size_t errcap);

/* ---- sites.c: a worker's contexts, and which one a handshake gets ---- */

enum { MC_TLS_SID = 32 };

/* An OCSP response that goes with a certificate. */
struct mc_tls_staple {
    const X509 *x;
    unsigned char *p; /* NULL: there is none */
    size_t n;
    int64_t until;    /* real time, s; 0: without end */
};

struct mc_tls_site {
    const struct mc_tls_conf *conf;
    SSL_CTX *ctx;
    struct mc_tls_staple *staples; /* of each certificate */
    unsigned char sid[MC_TLS_SID]; /* session id context: a session is worth nothing elsewhere */
};

int mc_tls_sites_adopt(struct mc_worker *w, const struct mc_secrets *s);
void mc_tls_sites_close(void);
/* Of a listener's first server; NULL: this worker has no such listener. */
const struct mc_tls_site *mc_tls_site(const struct mc_conf_server *server);
SSL_CTX *mc_tls_site_client(const struct mc_tls_client *c);

/* ---- ticket.c ---- */

/* Keys of a pool: the first one makes tickets, all of them open them. */
int mc_tls_ticket_adopt(const struct mc_secrets *s);
void mc_tls_ticket_wipe(void);
void mc_tls_ticket_use(SSL_CTX *ctx);
/* In the arbiter: carry the keys of `old` over, or make new ones when it is time. */
int mc_tls_ticket_gather(struct mc_gather *g, int64_t lifetime);
/* MC_OK; MC_ERROR: its length is wrong; MC_DECLINED: all zeros. */
int mc_tls_ticket_check(struct mc_str key);

/* ---- gather.c ---- */
int mc_tls_gather(struct mc_gather *g);

/* ---- ocsp.c ---- */
/* The response for x: of a file, or fetched. MC_OK (there may be none), MC_ERROR with err. */
int mc_tls_ocsp_add(struct mc_tls_staple *to, const X509 *x, const char *file, const struct mc_secrets *s, char *err, size_t errcap);
int mc_tls_ocsp_status(SSL *ssl, void *data); /* OpenSSL's callback */
/* Carry the response of a certificate's file over, and put a question into g->ask when it is time. */
int mc_tls_ocsp_gather(struct mc_gather *g, const struct mc_tls_conf *c, const char *cert);
int mc_tls_ocsp_fetch(struct mc_gather *g);

/* ---- stream.c, bio.c ---- */

struct mc_tls {
    struct mc_tls_info info; /* first: core/server/tls.h */
    SSL *ssl;
    struct mc_stream *s;
    const struct mc_listener *listener; /* NULL: we are the client */
    unsigned char *left;    /* encrypted bytes that the socket has not taken */
    uint32_t left_at, left_n, left_cap;
    uint32_t train;         /* plain bytes in the train that is being put together */
    uint32_t ahead;         /* plain bytes whose records are in `left`: the caller will offer them again */
    size_t done;            /* plain bytes that the socket has taken during this call */
    BIO *socket;            /* for kernel TLS; NULL: none */
    bool held;              /* left was never offered to the socket: it goes out with the first response */
    bool drained;           /* the socket has nothing more */
    bool more;              /* there is more to read without an event */
    bool up;                /* the handshake is done */
    bool ended;             /* the peer closed the socket without close_notify */
    bool broken;
    bool shut;              /* our side is over: FIN follows the last byte */
    bool seen;              /* its first byte was looked at */
    bool ktls;              /* the kernel encrypts what we send */
    bool control;           /* the next write is a control record */
    bool http;              /* its first byte is a letter: not TLS at all */
    bool shares;            /* its BIO is that of all others, too */
};

extern const struct mc_transport_ops mc_tls_ops;

/* The first call of a process. */
int mc_tls_bio_init(bool alone); /* alone: no other thread has connections */
void mc_tls_bio_fini(void);
BIO *mc_tls_bio_new(struct mc_tls *t);
/* Whose handshake this is: for OpenSSL's callbacks. */
static inline struct mc_tls *mc_tls_of_ssl(const SSL *ssl) { return BIO_get_data(SSL_get_rbio(ssl)); }
/* The handshake is done: where one thread has all connections, one BIO is enough for them. */
void mc_tls_bio_share(struct mc_tls *t);
/* Before all that may call the BIO. */
void mc_tls_bio_enter(struct mc_tls *t, struct mc_stream *s);
/* Make the socket ready for kernel TLS; false: the kernel has none. */
bool mc_tls_bio_kernel(struct mc_tls *t);
/* Send the train, and what the socket does not take becomes `left`. */
void mc_tls_bio_push(struct mc_tls *t);
/* Keep the train for later: it becomes `left` unsent. */
void mc_tls_bio_hold(struct mc_tls *t);
/* Send what is left: MC_OK (nothing is left), MC_AGAIN, MC_ERROR. *moved: bytes that went out. */
int mc_tls_bio_catch_up(struct mc_tls *t, size_t *moved);
/* 64 KiB of the calling thread, for plain bytes; NULL: out of memory. */
enum { MC_TLS_RECORD = 16384, MC_TLS_SCRATCH = 4 * MC_TLS_RECORD };
unsigned char *mc_tls_bio_scratch(void);

/* ---- facts.c ---- */
int mc_tls_facts(struct mc_tls *t);
void mc_tls_facts_free(struct mc_tls *t);

/* ---- client.c ---- */
int mc_tls_client_open(struct mc_tls *t, const struct mc_tls_client *c);
const char *mc_tls_client_why(struct mc_tls *t, const char *reason);

#endif
