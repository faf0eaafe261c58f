/* load.c over TLS 1.3: load_tls PORT SECONDS CONNECTIONS keep|full|resumed|idle < REQUEST
 * keep: requests on connections that stay. full, resumed: each time a new connection, its handshake and one request. idle: one request on each connection;
 * when all are answered it says "ready" and holds them for SECONDS.
 * Prints one line: requests seconds errors p50 p90 p99 max (µs), as load.c, and how many handshakes were resumed.
 * load_tls limit SECONDS CERT KEY: no sockets; the CPU time in µs that OpenSSL itself takes for such a connection, full, at the server. For edge.py. */
#include <errno.h>
#include <fcntl.h>
#include <http_parser.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, INPUT = 262144, REQUEST = 1 << 16, BUCKETS = 1 << 23 };
enum mode { KEEP, FULL, RESUMED, IDLE, MODES };
static const char *const modes[MODES] = {[KEEP] = "keep", [FULL] = "full", [RESUMED] = "resumed", [IDLE] = "idle"};

struct client {
    http_parser parser;
    SSL *ssl;
    int fd, up, answered; /* up: the handshake is over */
    uint64_t since;
};

static struct sockaddr_in address = {.sin_family = AF_INET};
static char input[INPUT], request[REQUEST];
static size_t request_n;
static int epoll, count, resting; /* resting: idle connections that have their answer */
static enum mode mode;
static uint64_t requests, errors, resumed;
static uint32_t *buckets; /* by µs, up to 8 s */
static http_parser_settings settings;
static SSL_CTX *ctx;
static SSL_SESSION *session;

static void die(const char *what)
{
    perror(what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static uint64_t now_us(void)
{
    return (uint64_t) (now(CLOCK_MONOTONIC) * 1e6);
}

/* One suite and one group, whatever the server likes best: servers are compared. */
static SSL_CTX *context(const SSL_METHOD *method)
{
    SSL_CTX *c = SSL_CTX_new(method);
    if (!c || SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION) != 1 || SSL_CTX_set_ciphersuites(c, "TLS_AES_128_GCM_SHA256") != 1 ||
        SSL_CTX_set1_groups_list(c, "X25519") != 1) die("load_tls: context");
    SSL_CTX_set_read_ahead(c, 1);
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS);
    return c;
}

static int keep_session(SSL *ssl, SSL_SESSION *s)
{
    (void) ssl;
    SSL_SESSION_free(session);
    session = s;
    return 1;
}

static int complete(http_parser *parser)
{
    struct client *c = parser->data;
    if (parser->status_code != 200) errors++;
    requests++;
    c->answered = 1;
    return 0;
}

/* ---- clients */

static void begin(struct client *c)
{
    int one = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    c->since = now_us();
    c->up = c->answered = 0;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *) &address, sizeof address) != 0 || fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0)
        die("load_tls: connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->ssl = SSL_new(ctx);
    if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1 || epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) != 0) die("load_tls: connection");
    if (mode == RESUMED && session) SSL_set_session(c->ssl, session);
    SSL_set_connect_state(c->ssl);
    http_parser_init(&c->parser, HTTP_RESPONSE);
    c->parser.data = c;
    (void) SSL_do_handshake(c->ssl);
}

static void again(struct client *c)
{
    (void) SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    close(c->fd);
    begin(c);
}

static void ask(struct client *c)
{
    c->answered = 0;
    if (mode == KEEP) c->since = now_us();
    if (SSL_write(c->ssl, request, (int) request_n) != (int) request_n) errors++;
}

static void note(uint64_t took)
{
    buckets[took < BUCKETS ? took : BUCKETS - 1]++;
}

static void answered(struct client *c)
{
    note(now_us() - c->since);
    if (mode == IDLE) resting++;
    else if (mode == KEEP && http_should_keep_alive(&c->parser)) ask(c);
    else again(c);
}

static int over(struct client *c, int rc)
{
    int why = SSL_get_error(c->ssl, rc);
    return why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE;
}

static void hear(struct client *c)
{
    int n;
    ERR_clear_error();
    if (!c->up) {
        int rc = SSL_do_handshake(c->ssl);
        if (rc == 1) {
            c->up = 1;
            resumed += (uint64_t) SSL_session_reused(c->ssl);
            ask(c);
        } else if (over(c, rc)) {
            errors++;
            again(c);
        }
        return;
    }
    while ((n = SSL_read(c->ssl, input, sizeof input)) > 0) {
        size_t used = http_parser_execute(&c->parser, &settings, input, (size_t) n);
        if (used != (size_t) n || c->parser.http_errno != HPE_OK) errors++;
    }
    if (c->answered && (mode != IDLE || c->since)) {
        answered(c);
        if (mode == IDLE) c->since = 0;
    } else if (over(c, n)) {
        errors += mode != IDLE || c->since != 0;
        again(c);
    }
}

static uint64_t percentile(uint64_t total, double part)
{
    uint64_t seen = 0;
    for (uint32_t i = 0; i < BUCKETS; i++) {
        seen += buckets[i];
        if ((double) seen >= (double) total * part) return i;
    }
    return BUCKETS;
}

static void run(double seconds)
{
    struct client *clients = calloc((size_t) count, sizeof *clients);
    struct epoll_event events[EVENTS];
    int begun = 0, said = 0;
    double start = now(CLOCK_MONOTONIC), until = start + seconds;
    if (!clients) die("load_tls");
    while (now(CLOCK_MONOTONIC) < until || (mode == IDLE && !said)) {
        /* Idle ones come in small groups: a crowd of handshakes is not what is measured with them. */
        while (begun < count && (mode != IDLE || begun - resting < 64)) begin(&clients[begun++]);
        int ready = epoll_wait(epoll, events, EVENTS, 100);
        for (int i = 0; i < ready; i++) hear(events[i].data.ptr);
        if (mode == IDLE && resting == count && !said) {
            said = 1;
            until = now(CLOCK_MONOTONIC) + seconds;
            puts("ready");
            fflush(stdout);
        }
    }
    printf("%llu %.6f %llu %llu %llu %llu %llu %llu\n", (unsigned long long) requests, now(CLOCK_MONOTONIC) - start, (unsigned long long) errors,
        (unsigned long long) percentile(requests, .5), (unsigned long long) percentile(requests, .9), (unsigned long long) percentile(requests, .99),
        (unsigned long long) percentile(requests, 1), (unsigned long long) resumed);
}

/* ---- OpenSSL's own price */

static SSL *side(SSL_CTX *c, BIO *in, BIO *out)
{
    SSL *ssl = SSL_new(c);
    if (!ssl || !BIO_up_ref(in) || !BIO_up_ref(out)) die("load_tls: memory");
    SSL_set_bio(ssl, in, out);
    return ssl;
}

/* All that OpenSSL does for a server's connection with one request, between two pieces of memory. */
static double connection(SSL_CTX *server_ctx)
{
    static const char text[200];
    BIO *a = BIO_new(BIO_s_mem()), *b = BIO_new(BIO_s_mem());
    if (!a || !b) die("load_tls: memory");
    SSL *client = side(ctx, b, a);
    SSL_set_connect_state(client);
    double used = 0, before = now(CLOCK_PROCESS_CPUTIME_ID);
    SSL *server = side(server_ctx, a, b);
    SSL_set_accept_state(server);
    used += now(CLOCK_PROCESS_CPUTIME_ID) - before;
    while (!SSL_is_init_finished(client) || !SSL_is_init_finished(server)) {
        (void) SSL_do_handshake(client);
        before = now(CLOCK_PROCESS_CPUTIME_ID);
        (void) SSL_do_handshake(server);
        used += now(CLOCK_PROCESS_CPUTIME_ID) - before;
    }
    (void) SSL_write(client, text, sizeof text);
    before = now(CLOCK_PROCESS_CPUTIME_ID);
    if (SSL_read(server, input, sizeof input) != sizeof text || SSL_write(server, text, sizeof text) != sizeof text) die("load_tls: record");
    (void) SSL_shutdown(server);
    SSL_free(server);
    used += now(CLOCK_PROCESS_CPUTIME_ID) - before;
    SSL_free(client);
    BIO_free(a);
    BIO_free(b);
    return used;
}

static int limit(double seconds, const char *cert, const char *key)
{
    SSL_CTX *server_ctx = context(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(server_ctx, cert) != 1 || SSL_CTX_use_PrivateKey_file(server_ctx, key, SSL_FILETYPE_PEM) != 1)
        die("load_tls: certificate");
    SSL_CTX_set_num_tickets(server_ctx, 1);
    SSL_CTX_set_session_cache_mode(server_ctx, SSL_SESS_CACHE_OFF);
    double used = 0, until = now(CLOCK_MONOTONIC) + seconds;
    int n = 0;
    for (; now(CLOCK_MONOTONIC) < until; n++) used += connection(server_ctx);
    printf("%.2f\n", used * 1e6 / n);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 5) return 2;
    ctx = context(TLS_client_method());
    if (strcmp(argv[1], "limit") == 0) return limit(atof(argv[2]), argv[3], argv[4]);
    while (mode < MODES && strcmp(modes[mode], argv[4]) != 0) mode++;
    count = atoi(argv[3]);
    request_n = fread(request, 1, sizeof request, stdin);
    buckets = calloc(BUCKETS, sizeof *buckets);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (mode == MODES || count < 1 || request_n == 0 || !buckets || epoll < 0) return 2;
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
    settings.on_message_complete = complete;
    address.sin_port = htons((uint16_t) atoi(argv[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    run(atof(argv[2]));
    return 0;
}
