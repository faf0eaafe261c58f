/* The TLS transport against itself: a server's stream and a client's over a wire that the test holds, so that bytes go in any pieces. */
#include "core/config/secrets.h"
#include "core/config/tls_client.h"
#include "core/os/fd.h"
#include "core/server/tls.h"
#include "core/http/protocol.h"
#include "core/server/worker.h"
#include "modules/transport/tls/tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const char text[] = "pool \"default\" { worker_class = WORKER }\n"
                           "server \"a\" { listen = {'127.0.0.1:1 tls'} names = {'a.test'} tls { certificate 'x' { cert = 'a.pem' } }\n"
                           "  route \"r\" { respond { } } }\n"
                           "server \"b\" { listen = {'127.0.0.1:1 tls'} names = {'*.b.test'} tls { certificate 'x' { cert = 'b.pem' } }\n"
                           "  route \"r\" { respond { } } }\n";

static struct {
    struct mc_conf *conf;
    struct mc_worker worker;
    struct mc_slot slot;
    struct mc_listener listener;
    struct mc_tls_client client;
    struct mc_secrets secrets;
} it;

/* ---- certificates */

static void add_certificate(struct mc_secrets *s, const char *path, const char *dns)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    char alt[64], *bytes;
    assert_non_null(key);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)dns, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, key);
    snprintf(alt, sizeof(alt), "DNS:%s", dns);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, alt);
    X509_add_ext(x, ext, -1);
    X509_EXTENSION_free(ext);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, x);
    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    long n = BIO_get_mem_data(bio, &bytes);
    assert_int_equal(mc_secrets_add(s, path, bytes, (size_t)n), MC_OK);
    BIO_free(bio);
    X509_free(x);
    EVP_PKEY_free(key);
}

static void add_ticket_key(struct mc_secrets *s, const char *name, int fill)
{
    unsigned char key[80];
    memset(key, fill, sizeof(key));
    assert_int_equal(mc_secrets_add(s, name, key, sizeof(key)), MC_OK);
}

static int adopt(void)
{
    return mc_module_find(MC_MODULE_TRANSPORT, "tls")->adopt(&it.worker, &it.secrets);
}

static int setup(void **state)
{
    char err[400] = "", conf[sizeof(text) + 32];
    static const char *protocols[] = {"TLSv1.2", "TLSv1.3"};
    const char *worker = NULL;
    (void)state;
    memset(&it, 0, sizeof(it));
    for (size_t i = 0; mc_modules[i] && !worker; i++)
        worker = mc_modules[i]->kind == MC_MODULE_WORKER ? mc_modules[i]->name : NULL;
    const char *at = strstr(text, "WORKER");
    snprintf(conf, sizeof(conf), "%.*s%s%s", (int)(at - text), text, worker, at + 6);
    it.conf = mc_conf_parse(conf, strlen(conf), "test", err, sizeof(err));
    if (!it.conf)
        fail_msg("%s", err);
    it.client = (struct mc_tls_client){.verify = true, .name = "a.test", .ca = "a.pem", .protocols = {protocols, 2}, .alpn = "http/1.1"};
    assert_int_equal(mc_tls_client_add(it.conf, &it.client, (struct mc_conf_where){0}, true, err, sizeof(err)), MC_OK);
    it.worker.conf = it.conf;
    it.worker.pool = &it.conf->pools[0];
    it.worker.slot = &it.slot;
    it.worker.http1 = mc_module_find(MC_MODULE_PROTOCOL, "http1")->ops.protocol;
    it.listener.worker = &it.worker;
    it.listener.conf = &it.conf->listens[0];
    add_certificate(&it.secrets, "a.pem", "a.test");
    add_certificate(&it.secrets, "b.pem", "*.b.test");
    add_ticket_key(&it.secrets, "ticket:1:0", 1);
    return adopt() == MC_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    mc_secrets_wipe(&it.secrets);
    mc_module_find(MC_MODULE_TRANSPORT, "tls")->exit_worker(&it.worker);
    mc_conf_free(&it.conf);
    return 0;
}

/* ---- a wire of two socket pairs; what goes over it is moved by hand */

struct end {
    struct mc_stream s;
    int far; /* the other end of its socket */
};
struct wire {
    struct end server, client;
};

static void open_end(struct end *e, const void *how, bool client, int sndbuf)
{
    int sv[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv), 0);
    if (sndbuf)
        setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf));
    *e = (struct end){.s = {.ops = mc_transport_tls(), .fd = sv[0], .client = client, .setup = how}, .far = sv[1]};
}

static void open_wire(struct wire *w, int sndbuf)
{
    open_end(&w->server, &it.listener, false, sndbuf);
    open_end(&w->client, &it.client, true, 0);
}

static void close_end(struct end *e)
{
    e->s.ops->close(&e->s);
    close(e->s.fd);
    close(e->far);
}

static void close_wire(struct wire *w)
{
    close_end(&w->server);
    close_end(&w->client);
}

/* Up to n bytes from one to the other; how many. */
static ssize_t carry(const struct end *from, const struct end *to, size_t n)
{
    char bytes[65536];
    ssize_t got = recv(from->far, bytes, n < sizeof(bytes) ? n : sizeof(bytes), 0);
    if (got > 0)
        assert_int_equal(send(to->far, bytes, (size_t)got, 0), got);
    return got;
}

/* Both handshakes, `step` bytes at a time. What the server said last; *client the client's. */
static int shake(struct wire *w, size_t step, int *client)
{
    int s = MC_AGAIN, c = MC_AGAIN;
    for (int i = 0; i < 20000 && (s == MC_AGAIN || c == MC_AGAIN); i++) {
        if (c == MC_AGAIN)
            c = w->client.s.ops->open(&w->client.s);
        (void)carry(&w->client, &w->server, step);
        if (s == MC_AGAIN)
            s = w->server.s.ops->open(&w->server.s);
        (void)carry(&w->server, &w->client, step);
    }
    *client = c;
    return s;
}

static void shaken(struct wire *w, size_t step)
{
    int client, server = shake(w, step, &client);
    assert_int_equal(client, MC_OK);
    assert_int_equal(server, MC_OK);
}

static ssize_t take(struct end *from, struct end *to, void *p, size_t n, size_t step)
{
    for (int i = 0; i < 20000; i++) {
        ssize_t got = to->s.ops->recv(&to->s, p, n);
        if (got != MC_AGAIN)
            return got;
        if (carry(from, to, step) <= 0)
            return MC_AGAIN;
    }
    return MC_AGAIN;
}

static ssize_t say(struct end *e, const char *z)
{
    struct iovec iov = {(void *)(uintptr_t)z, strlen(z)};
    return e->s.ops->send(&e->s, &iov, 1);
}

/* ---- tests */

static void both_sides_talk(void **state)
{
    static const size_t steps[] = {1, 7, 1000, 65536};
    (void)state;
    for (size_t i = 0; i < MC_COUNT(steps); i++) {
        struct wire w;
        char got[64];
        open_wire(&w, 0);
        shaken(&w, steps[i]);
        const struct mc_tls_info *info = mc_tls_info(&w.server.s);
        assert_string_equal(info->server->name, "a");
        assert_memory_equal(info->server_name.p, "a.test", 6);
        assert_memory_equal(info->version.p, "TLSv1.3", 7);
        assert_memory_equal(info->alpn.p, "http/1.1", 8);
        assert_false(info->resumed);
        assert_int_equal(say(&w.client, "hello"), 5);
        assert_int_equal(take(&w.client, &w.server, got, sizeof(got), steps[i]), 5);
        assert_int_equal(say(&w.server, "good day"), 8);
        assert_int_equal(take(&w.server, &w.client, got, sizeof(got), steps[i]), 8);
        assert_memory_equal(got, "good day", 8);
        close_wire(&w);
    }
    assert_int_equal(mc_slot_get(it.slot.tls_handshakes), 4);
    assert_int_equal(mc_slot_get(it.slot.tls_failed), 0);
}

static void what_was_read_is_told_as_pending(void **state)
{
    struct wire w;
    char got[3];
    (void)state;
    open_wire(&w, 0);
    shaken(&w, 65536);
    assert_int_equal(say(&w.client, "abcdef"), 6);
    assert_int_equal(take(&w.client, &w.server, got, 3, 65536), 3);
    assert_true(w.server.s.ops->pending(&w.server.s)); /* no event will come for the rest */
    assert_int_equal(w.server.s.ops->recv(&w.server.s, got, 3), 3);
    assert_memory_equal(got, "def", 3);
    assert_int_equal(w.server.s.ops->recv(&w.server.s, got, 3), MC_AGAIN);
    assert_false(w.server.s.ops->pending(&w.server.s));
    assert_true(w.server.s.wants & MC_WANT_READ);
    close_wire(&w);
}

enum { LOTS = 900000 };

/* As the engine does: offer what is not yet taken again, from its first byte. */
static void send_all(struct wire *w, const unsigned char *data, int fd, size_t pieces, size_t step)
{
    unsigned char *got = malloc(LOTS);
    size_t sent = 0, have = 0;
    assert_non_null(got);
    for (int i = 0; i < 2000000 && have < LOTS; i++) {
        ssize_t n = MC_AGAIN;
        if (sent < LOTS && fd >= 0) {
            n = w->server.s.ops->sendfile(&w->server.s, fd, (off_t)sent, LOTS - sent);
        } else if (sent < LOTS) {
            struct iovec iov[16];
            int k = 0;
            for (size_t at = sent; k < 16 && at < LOTS; at += pieces, k++)
                iov[k] = (struct iovec){(void *)(uintptr_t)(data + at), LOTS - at < pieces ? LOTS - at : pieces};
            n = w->server.s.ops->send(&w->server.s, iov, k);
        }
        assert_true(n > 0 || n == MC_AGAIN);
        sent += n > 0 ? (size_t)n : 0;
        assert_true(sent <= LOTS);
        (void)carry(&w->server, &w->client, step);
        ssize_t m = w->client.s.ops->recv(&w->client.s, got + have, LOTS - have);
        assert_true(m > 0 || m == MC_AGAIN);
        have += m > 0 ? (size_t)m : 0;
    }
    assert_int_equal(sent, LOTS);
    assert_int_equal(have, LOTS);
    assert_memory_equal(got, data, LOTS);
    free(got);
}

static unsigned char *noise(void)
{
    unsigned char *data = malloc(LOTS);
    assert_non_null(data);
    for (size_t i = 0; i < LOTS; i++)
        data[i] = (unsigned char)(i * 2654435761u >> 13);
    return data;
}

static void slow_readers_get_it_all(void **state)
{
    static const size_t pieces[] = {10, 5000, 16384, 100000}, steps[] = {333, 20000};
    unsigned char *data = noise();
    (void)state;
    for (size_t i = 0; i < MC_COUNT(pieces); i++) {
        for (size_t k = 0; k < MC_COUNT(steps); k++) {
            struct wire w;
            open_wire(&w, 4096);
            shaken(&w, 65536);
            send_all(&w, data, -1, pieces[i], pieces[i] == 10 ? 20000 : steps[k]);
            close_wire(&w);
        }
    }
    free(data);
}

static void files_too(void **state)
{
    unsigned char *data = noise();
    int fd = mc_fd_memfd("test", data, LOTS, false);
    char byte;
    struct wire w;
    (void)state;
    for (int sndbuf = 0; sndbuf < 8192; sndbuf += 4096) {
        open_wire(&w, sndbuf);
        shaken(&w, 65536);
        send_all(&w, data, fd, 0, 20000);
        assert_int_equal(w.server.s.ops->sendfile(&w.server.s, fd, LOTS, 10), 0); /* shorter than promised */
        close_wire(&w);
    }
    open_wire(&w, 0);
    shaken(&w, 65536);
    w.server.s.more = true; /* a head waits for its file */
    assert_int_equal(say(&w.server, "head"), 4);
    w.server.s.more = false;
    assert_int_equal(take(&w.server, &w.client, &byte, 1, 65536), MC_AGAIN);
    assert_int_equal(w.server.s.ops->sendfile(&w.server.s, fd, 0, 100), 100);
    unsigned char got[200];
    assert_int_equal(take(&w.server, &w.client, got, sizeof(got), 65536), 104);
    assert_memory_equal(got, "head", 4);
    assert_memory_equal(got + 4, data, 100);
    close_wire(&w);
    close(fd);
    free(data);
}

static void an_end_is_told_from_a_cut(void **state)
{
    struct wire w;
    char got[8];
    (void)state;
    open_wire(&w, 0);
    shaken(&w, 65536);
    assert_int_equal(w.server.s.ops->shutdown(&w.server.s), MC_OK);
    assert_int_equal(take(&w.server, &w.client, got, sizeof(got), 65536), 0);
    close_wire(&w);

    open_wire(&w, 0);
    shaken(&w, 65536);
    (void)carry(&w.server, &w.client, 65536);
    shutdown(w.client.far, SHUT_WR); /* no close_notify came */
    ssize_t n = take(&w.server, &w.client, got, sizeof(got), 65536); /* the ticket */
    assert_int_equal(n, MC_AGAIN);
    assert_int_equal(w.client.s.ops->recv(&w.client.s, got, sizeof(got)), MC_ERROR);
    assert_non_null(strstr(w.client.s.why, "close_notify"));
    shutdown(w.server.far, SHUT_WR); /* of a server's side HTTP itself tells */
    assert_int_equal(w.server.s.ops->recv(&w.server.s, got, sizeof(got)), 0);
    assert_int_equal(say(&w.server, "still"), 5); /* who has stopped sending may still read */
    close_wire(&w);
}

static void wrong_names_and_strangers_are_refused(void **state)
{
    struct wire w;
    int client;
    (void)state;
    it.client.name = "other.test"; /* a.pem is not for it */
    open_wire(&w, 0);
    (void)shake(&w, 65536, &client);
    assert_int_equal(client, MC_ERROR);
    assert_non_null(strstr(w.client.s.why, "hostname mismatch"));
    close_wire(&w);
    it.client.name = "x.b.test"; /* b.pem is not trusted */
    open_wire(&w, 0);
    (void)shake(&w, 65536, &client);
    assert_int_equal(client, MC_ERROR);
    assert_non_null(strstr(w.client.s.why, "self-signed"));
    assert_true(mc_slot_get(it.slot.tls_failed) > 0);
    close_wire(&w);
}

static void plain_http_is_answered(void **state)
{
    struct end server;
    char got[512];
    (void)state;
    open_end(&server, &it.listener, false, 0);
    assert_int_equal(server.s.ops->open(&server.s), MC_AGAIN);
    assert_int_equal(send(server.far, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
    assert_int_equal(server.s.ops->open(&server.s), MC_ERROR);
    ssize_t n = recv(server.far, got, sizeof(got) - 1, 0);
    assert_true(n > 0);
    got[n] = '\0';
    assert_memory_equal(got, "HTTP/1.1 400 ", 13);
    assert_int_equal(recv(server.far, got, sizeof(got), 0), 0);
    close_end(&server);
}

static void noise_is_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
    } cases[] = {{"\0\0\0\0\0\0\0\0\0\0\0", 11}, {"\x16\x03\x01\x00\x04\x01\x00\x00\x00", 9}, {"\x16\x03\x01\xff\xff", 5}, {"\x80\x2e\x01\x00\x02\x00\x15", 7}};
    (void)state;
    for (size_t i = 0; i < MC_COUNT(cases); i++) {
        struct end server;
        open_end(&server, &it.listener, false, 0);
        assert_int_equal(send(server.far, cases[i].bytes, cases[i].n, 0), cases[i].n);
        shutdown(server.far, SHUT_WR);
        int rc = server.s.ops->open(&server.s);
        if (rc == MC_AGAIN)
            rc = server.s.ops->open(&server.s);
        assert_int_equal(rc, MC_ERROR);
        assert_non_null(server.s.why);
        close_end(&server);
    }
}

/* ---- tickets */

static SSL_SESSION *session_of(struct wire *w)
{
    char byte;
    assert_int_equal(say(&w->server, "x"), 1); /* the ticket comes with it */
    assert_int_equal(take(&w->server, &w->client, &byte, 1, 65536), 1);
    return SSL_get1_session(((struct mc_tls *)w->client.s.tls)->ssl);
}

static bool resumes(SSL_SESSION *session)
{
    struct wire w;
    open_wire(&w, 0);
    (void)w.client.s.ops->open(&w.client.s); /* makes the SSL, and the first flight, which is thrown away */
    w.client.s.ops->close(&w.client.s);
    SSL_CTX *ctx = mc_tls_site_client(&it.client);
    SSL *ssl = SSL_new(ctx);
    int sv[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv), 0);
    struct mc_stream server = {.ops = mc_transport_tls(), .fd = sv[0], .setup = &it.listener};
    SSL_set_fd(ssl, sv[1]);
    SSL_set_tlsext_host_name(ssl, "a.test");
    SSL_set_session(ssl, session);
    for (int i = 0; i < 10; i++) {
        (void)SSL_connect(ssl);
        (void)server.ops->open(&server);
    }
    assert_true(SSL_is_init_finished(ssl));
    bool reused = SSL_session_reused(ssl) == 1;
    assert_int_equal(mc_tls_info(&server)->resumed, reused);
    SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* or the session would count as broken */
    SSL_free(ssl);
    server.ops->close(&server);
    close(sv[0]);
    close(sv[1]);
    close_wire(&w);
    return reused;
}

static void set_keys(const char *first, int fill, const char *second, int fill2)
{
    struct mc_secrets s = {0};
    struct mc_str pem;
    static const char *const files[] = {"a.pem", "b.pem"};
    for (size_t i = 0; i < 2; i++) {
        assert_true(mc_secrets_get(&it.secrets, files[i], &pem));
        assert_int_equal(mc_secrets_add(&s, files[i], pem.p, pem.n), MC_OK);
    }
    if (first)
        add_ticket_key(&s, first, fill);
    if (second)
        add_ticket_key(&s, second, fill2);
    mc_secrets_wipe(&it.secrets);
    it.secrets = s;
    assert_int_equal(adopt(), MC_OK);
}

static void keys_open_what_they_have_made(void **state)
{
    struct wire w;
    (void)state;
    open_wire(&w, 0);
    shaken(&w, 65536);
    SSL_SESSION *session = session_of(&w);
    close_wire(&w);
    assert_true(SSL_SESSION_has_ticket(session) && SSL_SESSION_is_resumable(session));
    assert_true(resumes(session));
    set_keys("ticket:2:0", 2, "ticket:1:0", 1); /* a new one before it */
    assert_true(resumes(session));
    set_keys("ticket:3:0", 3, "ticket:2:0", 2); /* it is gone */
    assert_false(resumes(session));
    set_keys(NULL, 0, NULL, 0); /* none: nothing opens, not even by a key of zeros */
    assert_false(resumes(session));
    SSL_SESSION_free(session);
}

static struct mc_str key_at(const struct mc_secrets *s, size_t index, struct mc_str *name)
{
    struct mc_str bytes = MC_STR_NONE;
    size_t at = 0;
    for (size_t i = 0; i <= index; i++) {
        if (!mc_secrets_next(s, &at, name, &bytes))
            return MC_STR_NONE;
    }
    return bytes;
}

static void keys_are_renewed_and_two_old_ones_kept(void **state)
{
    struct mc_secrets old = {0};
    char err[100];
    (void)state;
    for (int round = 0; round < 6; round++) {
        struct mc_secrets out = {0};
        struct mc_str name, first, second;
        struct mc_gather g = {.old = &old, .out = &out, .now = 1000000 + round * 3600, .err = err, .errcap = sizeof(err)};
        assert_int_equal(mc_tls_ticket_gather(&g, 3600 * 1000), MC_OK);
        assert_int_equal(g.next, g.now + 3600);
        size_t n = 0;
        while (key_at(&out, n, &name).n)
            n++;
        assert_int_equal(n, round < 2 ? round + 1 : 3);
        first = key_at(&out, 0, &name);
        assert_int_equal(first.n, 80);
        if (round) {
            second = key_at(&out, 1, &name);
            assert_memory_not_equal(first.p, second.p, 80);
            assert_memory_equal(second.p, key_at(&old, 0, &name).p, 80); /* the newest stands first */
        }
        /* Before its time nothing changes. */
        struct mc_secrets again = {0};
        struct mc_gather early = {.old = &out, .out = &again, .now = g.now + 3599, .err = err, .errcap = sizeof(err)};
        assert_int_equal(mc_tls_ticket_gather(&early, 3600 * 1000), MC_OK);
        assert_true(mc_secrets_equal(&out, &again));
        mc_secrets_wipe(&again);
        mc_secrets_wipe(&old);
        old = out;
    }
    mc_secrets_wipe(&old);
}

static void broken_secrets_change_nothing(void **state)
{
    struct wire w;
    struct mc_secrets good = it.secrets;
    (void)state;
    it.secrets = (struct mc_secrets){0};
    assert_int_equal(mc_secrets_add(&it.secrets, "a.pem", "nonsense", 8), MC_OK);
    assert_int_equal(adopt(), MC_ERROR);
    mc_secrets_wipe(&it.secrets);
    it.secrets = good;
    open_wire(&w, 0);
    shaken(&w, 65536);
    close_wire(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_sides_talk, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_read_is_told_as_pending, setup, teardown),
        cmocka_unit_test_setup_teardown(slow_readers_get_it_all, setup, teardown),
        cmocka_unit_test_setup_teardown(files_too, setup, teardown),
        cmocka_unit_test_setup_teardown(an_end_is_told_from_a_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_names_and_strangers_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(plain_http_is_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(noise_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_open_what_they_have_made, setup, teardown),
        cmocka_unit_test_setup_teardown(broken_secrets_change_nothing, setup, teardown),
        cmocka_unit_test(keys_are_renewed_and_two_old_ones_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
