/* Connections of the load client, plain or TLS 1.3. */
#include "load.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in address = {.sin_family = AF_INET};
static int epoll;
static SSL_CTX *ctx;
static SSL_SESSION *session;

static int keep_session(SSL *ssl, SSL_SESSION *s)
{
    (void) ssl;
    SSL_SESSION_free(session);
    session = s;
    return 1;
}

/* One suite and one group, whatever the server likes best: servers are compared. */
static void make_context(void)
{
    ctx = SSL_CTX_new(TLS_client_method());
    if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 || SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256") != 1 ||
        SSL_CTX_set1_groups_list(ctx, "X25519") != 1) load_die("load: TLS");
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep_session);
}

void load_io_start(int port, int ep)
{
    epoll = ep;
    address.sin_port = htons((uint16_t) port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (load_is.tls) make_context();
}

void load_io_connect(struct load_client *c)
{
    int one = 1, small = 4096;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0) load_die("load: socket");
    if (load_is.slow) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (connect(c->fd, (struct sockaddr *) &address, sizeof address) != 0 || fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0) load_die("load: connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (!load_is.slow && epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) != 0) load_die("load: epoll");
    load_connects++;
    c->up = !load_is.tls;
    c->out_n = 0;
    c->blocked = 0;
    if (c->up) return;
    c->ssl = SSL_new(ctx);
    if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1) load_die("load: TLS");
    if (load_is.tls == TLS_RESUMED && session) SSL_set_session(c->ssl, session);
    SSL_set_connect_state(c->ssl);
}

void load_io_close(struct load_client *c)
{
    if (c->ssl) {
        (void) SSL_shutdown(c->ssl);
        SSL_free(c->ssl);
        c->ssl = NULL;
    }
    close(c->fd);
    c->fd = -1;
}

static int over(struct load_client *c, int rc)
{
    int why = SSL_get_error(c->ssl, rc);
    return why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE;
}

int load_io_handshake(struct load_client *c)
{
    if (c->up) return 1;
    ERR_clear_error();
    int rc = SSL_do_handshake(c->ssl);
    if (rc != 1) return over(c, rc) ? -1 : 0;
    c->up = 1;
    load_resumed += (uint64_t) SSL_session_reused(c->ssl);
    return 1;
}

long load_io_read(struct load_client *c, char *to, size_t n)
{
    if (!c->ssl) {
        ssize_t got = recv(c->fd, to, n, 0);
        return got >= 0 ? got : errno == EAGAIN ? -1 : 0;
    }
    ERR_clear_error();
    int got = SSL_read(c->ssl, to, (int) n);
    return got > 0 ? got : over(c, got) ? 0 : -1;
}

static void watch(struct load_client *c, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (!load_is.slow && epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event) != 0) load_die("load: epoll");
}

/* A connection that cannot be written to will say so to the reader, who counts it. */
void load_io_send(struct load_client *c)
{
    while (c->out_n > 0) {
        long n;
        if (c->ssl) {
            int rc = SSL_write(c->ssl, c->out, (int) c->out_n);
            n = rc > 0 ? rc : over(c, rc) ? 0 : -1;
        } else {
            n = send(c->fd, c->out, c->out_n, MSG_NOSIGNAL);
            if (n < 0 && errno != EAGAIN) n = 0;
        }
        if (n < 0) {
            if (!c->blocked) watch(c, EPOLLIN | EPOLLOUT);
            c->blocked = 1;
            return;
        }
        if (n == 0) {
            c->out_n = 0;
            break;
        }
        c->out += n;
        c->out_n -= (size_t) n;
    }
    if (c->blocked) watch(c, EPOLLIN);
    c->blocked = 0;
}
