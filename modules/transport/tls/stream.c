/* The TLS transport: its operations over one stream. One write a response where it fits into a record, trains of records for bulk, one read a record
 * train; nothing is allocated for a record. Never waits. Worker side: by whoever has the connection. */
#include "modules/transport/tls/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FILE_MAX = 4 * MC_TLS_SCRATCH /* of one call: then the others have their turn */ };

/* ---- failures */

/* What others have left in this thread's queue of errors would be taken for ours. A look costs a fifth of clearing an empty queue. */
static void forget_errors(void)
{
    if (mc_unlikely(ERR_peek_error() != 0))
        ERR_clear_error();
}

static void count_failure(struct mc_tls *t, const char *why)
{
    static struct mc_log_limit limit;
    unsigned missed;
    if (!t->listener)
        return;
    mc_slot_add(t->listener->worker->slot->tls_failed, 1);
    if (mc_log_on(MC_LOG_INFO) && mc_log_limited(&limit, &missed))
        mc_info("TLS at %s failed: %s%s", t->listener->conf->text, why, missed ? " (and others)" : "");
}

static int failed(struct mc_tls *t, const char *fallback)
{
    bool io = t->broken && ERR_peek_error() == 0;
    const char *why = ERR_peek_error() ? mc_tls_reason() : fallback;
    t->broken = true;
    mc_tls_bio_push(t); /* drops it: what is left in the train would go to this thread's next connection */
    if (!t->s->why)
        t->s->why = t->listener ? why : mc_tls_client_why(t, why);
    if ((!io || !t->up) && t->seen) /* who connects and leaves again, as health checks do, has not failed */
        count_failure(t, t->s->why);
    return MC_ERROR;
}

/* ---- the handshake */

static struct mc_tls *create(struct mc_stream *s)
{
    const struct mc_listener *l = s->client ? NULL : s->setup;
    const struct mc_tls_site *site = l ? mc_tls_site(l->conf->servers[0]) : NULL;
    SSL_CTX *ctx = site ? site->ctx : s->client ? mc_tls_site_client(s->setup) : NULL;
    struct mc_tls *t = ctx ? calloc(1, sizeof(*t)) : NULL;
    if (!t)
        return NULL;
    t->s = s;
    t->listener = l;
    t->ssl = SSL_new(ctx);
    BIO *bio = t->ssl ? mc_tls_bio_new(t) : NULL;
    if (!bio) {
        SSL_free(t->ssl);
        free(t);
        return NULL;
    }
    SSL_set_bio(t->ssl, bio, bio);
    if (l)
        SSL_set_accept_state(t->ssl);
    if (l && site->conf->set->ktls && mc_tls_bio_kernel(t))
        SSL_set_options(t->ssl, SSL_OP_ENABLE_KTLS);
    return t;
}

/* A browser that was given http:// and our port: tell it in its own language, then close. */
static void answer_plain(struct mc_tls *t)
{
    static const char text[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 52\r\nConnection: close\r\n\r\n"
                               "The plain HTTP request was sent to an HTTPS address.\n";
    char rest[4096];
    _Static_assert(sizeof("The plain HTTP request was sent to an HTTPS address.") == 53, "Content-Length");
    (void)send(t->s->fd, text, sizeof(text) - 2, MSG_NOSIGNAL);
    shutdown(t->s->fd, SHUT_WR);
    for (int i = 0; i < 16 && recv(t->s->fd, rest, sizeof(rest), 0) > 0; i++) /* unread bytes would make of the end a reset */
        continue;
    t->s->why = "plain HTTP was sent to an HTTPS address";
}

/* Ours to check, because a session brings its own past: it must have been made under what this server demands. */
static bool resumes_here(struct mc_tls *t)
{
    unsigned n = 0;
    const SSL_SESSION *session = SSL_get0_session(t->ssl);
    const struct mc_tls_site *site = mc_tls_site(t->info.server);
    const unsigned char *sid = session ? SSL_SESSION_get0_id_context(session, &n) : NULL;
    return site && sid && n == MC_TLS_SID && memcmp(sid, site->sid, n) == 0;
}

/* What only the handshake needs, and OpenSSL keeps until the end: the keys of the exchange, which thereby also cannot leak any more. */
static void forget_keys(SSL *ssl)
{
    EVP_PKEY *v[2] = {NULL, NULL};
    (void)SSL_get_tmp_key(ssl, &v[0]);
    (void)SSL_get_peer_tmp_key(ssl, &v[1]);
    for (int i = 0; i < 2; i++) {
        if (v[i])
            (void)EVP_PKEY_set_type(v[i], EVP_PKEY_RSA); /* empties it */
        EVP_PKEY_free(v[i]);
    }
}

static int finish(struct mc_tls *t)
{
    bool resumed = SSL_session_reused(t->ssl) == 1;
    if (resumed && t->listener && !resumes_here(t)) {
        t->s->why = "a session of another server";
        return failed(t, t->s->why);
    }
    t->info.resumed = resumed;
    if (mc_tls_facts(t) != MC_OK)
        return failed(t, "out of memory");
    forget_keys(t->ssl);
    t->up = true;
    t->more = !t->drained || SSL_has_pending(t->ssl); /* what came behind the handshake may be here already */
    if (t->more && t->listener && SSL_version(t->ssl) == TLS1_3_VERSION)
        mc_tls_bio_hold(t); /* tickets: they go with the first response */
    else
        mc_tls_bio_push(t);
    if (t->listener) {
        struct mc_slot *slot = t->listener->worker->slot;
        mc_slot_add(slot->tls_handshakes, 1);
        mc_slot_add(slot->tls_resumed, resumed);
    }
    if (t->broken)
        return failed(t, "the connection broke");
    mc_tls_bio_share(t);
    return MC_OK;
}

static int tls_open(struct mc_stream *s)
{
    struct mc_tls *t = s->tls;
    size_t moved;
    s->wants = 0;
    forget_errors();
    if (!t) {
        t = s->tls = create(s);
        if (!t || (s->client && mc_tls_client_open(t, s->setup) != MC_OK)) {
            s->why = "out of memory, or no TLS context";
            return MC_ERROR;
        }
    }
    mc_tls_bio_enter(t, s);
    t->drained = false;
    int rc = mc_tls_bio_catch_up(t, &moved);
    if (rc != MC_OK)
        return rc == MC_AGAIN ? MC_AGAIN : failed(t, "the connection broke");
    if (SSL_do_handshake(t->ssl) == 1)
        return finish(t);
    mc_tls_bio_push(t); /* our part of it, or the alert */
    if (t->http) {
        answer_plain(t);
        return failed(t, t->s->why);
    }
    if (t->broken || ERR_peek_error())
        return failed(t, "the connection broke");
    if (t->ended)
        return failed(t, "the peer left in the handshake");
    return MC_AGAIN;
}

/* ---- in */

static ssize_t tls_recv(struct mc_stream *s, void *p, size_t n)
{
    struct mc_tls *t = s->tls;
    size_t got = 0, k = 0, moved;
    int ok = 1;
    mc_tls_bio_enter(t, s);
    s->wants = 0;
    t->drained = false;
    forget_errors();
    while (got < n && (ok = SSL_read_ex(t->ssl, (char *)p + got, n - got, &k)) == 1) {
        got += k;
        if (t->drained && !SSL_has_pending(t->ssl))
            break;
    }
    t->more = got == n;
    if (ok == 1) {
        mc_tls_bio_push(t); /* mostly nothing */
        return (ssize_t)got;
    }
    int why = SSL_get_error(t->ssl, 0);
    bool wait = why == SSL_ERROR_WANT_READ && !t->ended && !t->broken;
    mc_tls_bio_push(t);
    t->more = !wait; /* an end or a failure is told by the next call */
    if (got > 0)
        return (ssize_t)got;
    if (wait) {
        bool held = t->held;
        if (mc_tls_bio_catch_up(t, &moved) != MC_ERROR && held)
            mc_tls_bio_push(t); /* there is no response that they could go with */
        return MC_AGAIN;
    }
    if (why == SSL_ERROR_ZERO_RETURN)
        return 0;
    if (why != SSL_ERROR_WANT_READ || t->broken)
        return failed(t, "the connection broke");
    if (t->listener)
        return 0; /* HTTP requests say how long they are: a cut one is noticed there */
    s->why = "the peer closed without close_notify";
    return MC_ERROR;
}

static bool tls_pending(const struct mc_stream *s)
{
    const struct mc_tls *t = s->tls;
    return t && t->more;
}

/* ---- out */

/* Plain bytes that the caller offers and that have long been encrypted. > 0: that is all for now; MC_OK: *at is where to go on. */
static ssize_t settle(struct mc_tls *t, size_t total, size_t *at)
{
    size_t moved;
    t->s->wants = 0;
    t->done = t->train = 0;
    forget_errors();
    int rc = mc_tls_bio_catch_up(t, &moved);
    if (rc == MC_ERROR)
        return failed(t, "the connection broke");
    if (rc == MC_AGAIN) { /* tell of progress, but never of all before it is true */
        size_t some = t->ahead && moved > t->ahead - 1 ? t->ahead - 1 : t->ahead ? moved : 0;
        some = some < total ? some : total - 1;
        t->ahead -= some;
        return some ? (ssize_t)some : MC_AGAIN;
    }
    *at = t->ahead < total ? t->ahead : total;
    t->ahead -= *at;
    t->done = *at;
    return MC_OK;
}

static int record(struct mc_tls *t, const void *p, size_t n)
{
    size_t k = 0;
    if (SSL_write_ex(t->ssl, p, n, &k) != 1)
        return failed(t, "the connection broke");
    if (t->left)
        t->ahead += n;
    else
        t->train += n;
    return MC_OK;
}

static ssize_t result(struct mc_tls *t)
{
    mc_tls_bio_push(t);
    if (t->broken)
        return failed(t, "the connection broke");
    return t->done ? (ssize_t)t->done : MC_AGAIN;
}

/* Up to one record of plain bytes from `at` on: where they lie, or gathered. */
static size_t next_piece(const struct iovec *iov, int n, size_t at, unsigned char *scratch, const void **p)
{
    int i = 0;
    while (at >= iov[i].iov_len) {
        at -= iov[i].iov_len;
        i++;
    }
    size_t here = iov[i].iov_len - at, got = 0;
    *p = (const char *)iov[i].iov_base + at;
    if (here >= MC_TLS_RECORD || i + 1 == n)
        return here < MC_TLS_RECORD ? here : MC_TLS_RECORD;
    *p = scratch;
    for (; i < n && got < MC_TLS_RECORD; i++, at = 0) {
        here = iov[i].iov_len - at;
        if (here > MC_TLS_RECORD - got)
            here = MC_TLS_RECORD - got;
        memcpy(scratch + got, (const char *)iov[i].iov_base + at, here);
        got += here;
    }
    return got;
}

static ssize_t tls_send(struct mc_stream *s, const struct iovec *iov, int n)
{
    struct mc_tls *t = s->tls;
    size_t total = 0, at = 0;
    unsigned char *scratch = mc_tls_bio_scratch();
    for (int i = 0; i < n; i++)
        total += iov[i].iov_len;
    mc_tls_bio_enter(t, s);
    if (!scratch)
        return failed(t, "out of memory");
    ssize_t rc = settle(t, total, &at);
    if (rc != MC_OK)
        return rc;
    while (at < total && !t->left) {
        const void *p;
        size_t len = next_piece(iov, n, at, scratch, &p);
        if (record(t, p, len) != MC_OK)
            return MC_ERROR;
        at += len;
    }
    if (s->more && !t->left && total <= MC_TLS_RECORD) { /* no own send for a head that a file follows: as good as sent */
        mc_tls_bio_hold(t);
        return t->broken ? failed(t, "the connection broke") : (ssize_t)total;
    }
    return result(t);
}

static ssize_t tls_sendfile(struct mc_stream *s, int fd, off_t off, size_t n)
{
    struct mc_tls *t = s->tls;
    unsigned char *scratch = mc_tls_bio_scratch();
    size_t at = 0;
    mc_tls_bio_enter(t, s);
    if (n > FILE_MAX)
        n = FILE_MAX;
    if (!scratch)
        return failed(t, "out of memory");
    ssize_t rc = settle(t, n, &at);
    if (rc != MC_OK)
        return rc;
    if (t->ktls && at == 0) { /* the kernel encrypts as it sends */
        mc_tls_bio_push(t);
        ssize_t put = t->left || t->broken ? MC_AGAIN : mc_transport_plain.sendfile(s, fd, off, n);
        s->wants |= put == MC_AGAIN ? MC_WANT_WRITE : 0;
        return t->broken || put == MC_ERROR ? failed(t, "the connection broke") : put;
    }
    while (at < n && !t->left) {
        size_t want = n - at < MC_TLS_SCRATCH ? n - at : MC_TLS_SCRATCH;
        ssize_t got = pread(fd, scratch, want, off + (off_t)at);
        if (got < 0)
            return failed(t, "the file cannot be read");
        if (got == 0) { /* shorter than promised */
            mc_tls_bio_push(t);
            return t->broken ? MC_ERROR : (ssize_t)t->done;
        }
        for (size_t k = 0; k < (size_t)got; k += MC_TLS_RECORD) {
            size_t len = (size_t)got - k < MC_TLS_RECORD ? (size_t)got - k : MC_TLS_RECORD;
            if (record(t, scratch + k, len) != MC_OK)
                return MC_ERROR;
        }
        at += (size_t)got;
    }
    return result(t);
}

/* ---- the end */

/* close_notify, so that the peer can tell the end from a cut. */
static void say_goodbye(struct mc_tls *t)
{
    size_t moved;
    if (!t->up || t->broken || t->shut || t->s->reset)
        return;
    t->shut = true;
    forget_errors();
    if (mc_tls_bio_catch_up(t, &moved) == MC_ERROR)
        return;
    (void)SSL_shutdown(t->ssl);
    mc_tls_bio_push(t);
    forget_errors();
}

static int tls_shutdown(struct mc_stream *s)
{
    struct mc_tls *t = s->tls;
    mc_tls_bio_enter(t, s);
    say_goodbye(t);
    if (t->broken)
        return MC_ERROR;
    if (t->left)
        return MC_AGAIN;
    return shutdown(s->fd, SHUT_WR) == 0 ? MC_OK : MC_ERROR;
}

static void tls_close(struct mc_stream *s)
{
    struct mc_tls *t = s->tls;
    if (t) {
        mc_tls_bio_enter(t, s);
        say_goodbye(t);
        if (s->keep) {
            mc_transport_plain.close(s);
            return;
        }
        SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_free(t->ssl);
        BIO_free(t->socket);
        mc_tls_facts_free(t);
        free(t->left);
        free(t);
        s->tls = NULL;
    }
    mc_transport_plain.close(s);
}

static void tls_rest(struct mc_stream *s)
{
    struct mc_tls *t = s->tls;
    if (t && t->up)
        (void)SSL_free_buffers(t->ssl);
}

const struct mc_transport_ops mc_tls_ops = {
    .name = "tls",
    .open = tls_open,
    .recv = tls_recv,
    .send = tls_send,
    .sendfile = tls_sendfile,
    .pending = tls_pending,
    .shutdown = tls_shutdown,
    .close = tls_close,
    .rest = tls_rest,
};
