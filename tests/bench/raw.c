/* The practical limit to measure against: a bare epoll loop with http-parser and OpenSSL, and nothing else. No part of the server.
 * raw PORT TLSPORT DIR: one process on 127.0.0.1; a fixed answer, and DIR/files/NAME for /files/NAME: small ones from memory. The
 * certificate is DIR/cert.pem and DIR/key.pem. Answers of one read leave in one send. */
#include <errno.h>
#include <fcntl.h>
#include <http_parser.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, INPUT = 16384, OUTPUT = 65536, ANSWER_MAX = 256, SMALL = 16384, CHUNK = 262144, FILES = 16, PIECE = 1 << 21 };

struct file {
    char name[16], *bytes;
    size_t n;
    int fd;
};

struct client {
    http_parser parser;
    SSL *ssl;
    const struct file *file; /* what is being sent, from at on */
    off_t at;
    size_t sent; /* of the records that wait in memory */
    int fd, last; /* last: close after the answer */
    const struct file *asked;
};

static char output[OUTPUT + SMALL + ANSWER_MAX], chunk[CHUNK], answer[ANSWER_MAX], date[64];
static size_t output_n, answer_n;
static time_t answered_at;
static struct file files[FILES];
static int files_n, epoll;
static SSL_CTX *ctx;

static size_t head(char *to, size_t length)
{
    return (size_t) snprintf(to, ANSWER_MAX,
        "HTTP/1.1 200 OK\r\nServer: raw/0.1\r\nDate: %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %zu\r\n\r\n", date, length);
}

static void make_answer(void)
{
    time_t now = time(NULL);
    if (now == answered_at) return;
    struct tm tm;
    answered_at = now;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
    answer_n = head(answer, 13);
    memcpy(answer + answer_n, "Hello, world!", 13);
    answer_n += 13;
}

static const struct file *find(const char *dir, const char *name, size_t n)
{
    for (int i = 0; i < files_n; i++) {
        if (strlen(files[i].name) == n && memcmp(files[i].name, name, n) == 0) return &files[i];
    }
    struct file *f = &files[files_n];
    char path[4096];
    struct stat st;
    if (files_n == FILES || n >= sizeof f->name) return NULL;
    snprintf(path, sizeof path, "%s/files/%.*s", dir, (int) n, name);
    if ((f->fd = open(path, O_RDONLY | O_CLOEXEC)) < 0 || fstat(f->fd, &st) != 0) return NULL;
    memcpy(f->name, name, n);
    f->n = (size_t) st.st_size;
    if (f->n <= SMALL && (!(f->bytes = malloc(f->n)) || pread(f->fd, f->bytes, f->n, 0) != st.st_size)) abort();
    files_n++;
    return f;
}

static const char *directory;

static int asks(http_parser *parser, const char *at, size_t n)
{
    struct client *c = parser->data;
    c->asked = n > 7 && memcmp(at, "/files/", 7) == 0 ? find(directory, at + 7, n - 7) : NULL;
    return 0;
}

static int complete(http_parser *parser)
{
    struct client *c = parser->data;
    const struct file *f = c->asked;
    if (!http_should_keep_alive(parser)) c->last = 1;
    if (!f) {
        memcpy(output + output_n, answer, answer_n);
        output_n += answer_n;
    } else {
        output_n += head(output + output_n, f->n);
        if (f->bytes) {
            memcpy(output + output_n, f->bytes, f->n);
            output_n += f->n;
        } else {
            c->file = f;
            c->at = 0;
        }
    }
    return output_n > OUTPUT || c->last; /* more than fits is a client that the load is not */
}

static const http_parser_settings settings = {.on_url = asks, .on_message_complete = complete};

/* What OpenSSL has written into memory leaves in one send. 1: all is sent, 0: it waits for the client, -1: the client has left. */
static int flush_records(struct client *c)
{
    BIO *records = SSL_get_wbio(c->ssl);
    char *bytes;
    long n = BIO_get_mem_data(records, &bytes);
    if (n == 0) return 1;
    ssize_t sent = send(c->fd, bytes + c->sent, (size_t) n - c->sent, MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN ? 0 : -1;
    c->sent += (size_t) sent;
    if (c->sent < (size_t) n) return 0;
    c->sent = 0;
    return BIO_reset(records) == 1 ? 1 : -1;
}

static void drop(struct client *c)
{
    if (c->ssl) {
        (void) SSL_shutdown(c->ssl);
        (void) flush_records(c);
        SSL_free(c->ssl);
    }
    close(c->fd);
    free(c);
}

static void watch(struct client *c, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event) != 0) abort();
}

/* 1: it is sent, 0: it waits for the client, -1: the client has left. */
static int send_file(struct client *c)
{
    const struct file *f = c->file;
    int flushed = c->ssl ? flush_records(c) : 1;
    if (flushed <= 0) return flushed;
    while ((size_t) c->at < f->n) {
        if (!c->ssl) {
            ssize_t n = sendfile(c->fd, f->fd, &c->at, PIECE);
            if (n < 0 && errno == EAGAIN) return 0;
            if (n <= 0) return -1;
            continue;
        }
        ssize_t n = pread(f->fd, chunk, sizeof chunk, c->at);
        if (n <= 0 || SSL_write(c->ssl, chunk, (int) n) != n) return -1;
        c->at += n;
        if ((flushed = flush_records(c)) <= 0) return flushed;
    }
    c->file = NULL;
    return 1;
}

static void go_on(struct client *c, int was_waiting)
{
    int rc = c->file ? send_file(c) : 1;
    if (rc < 0 || (rc > 0 && c->last)) drop(c);
    else if (rc == 0 && !was_waiting) watch(c, EPOLLOUT);
    else if (rc > 0 && was_waiting) watch(c, EPOLLIN);
}

static int answer_all(struct client *c, const char *input, size_t n)
{
    output_n = 0;
    http_parser_execute(&c->parser, &settings, input, n);
    if (c->parser.http_errno != HPE_OK && !c->last) return -1;
    if (!output_n) return 0;
    if (c->ssl) return SSL_write(c->ssl, output, (int) output_n) == (int) output_n && (c->file || flush_records(c) > 0) ? 0 : -1;
    return send(c->fd, output, output_n, MSG_NOSIGNAL | (c->file ? MSG_MORE : 0)) == (ssize_t) output_n ? 0 : -1;
}

static void serve(struct client *c)
{
    char input[INPUT];
    long n;
    if (c->file) {
        go_on(c, 1);
        return;
    }
    if (c->ssl) {
        int got = SSL_is_init_finished(c->ssl) ? 1 : SSL_do_handshake(c->ssl);
        if (got == 1) got = SSL_read(c->ssl, input, sizeof input);
        int waits = got <= 0 && SSL_get_error(c->ssl, got) == SSL_ERROR_WANT_READ;
        if (waits && flush_records(c) >= 0) return;
        n = got;
    } else {
        n = recv(c->fd, input, sizeof input, 0);
        if (n < 0 && errno == EAGAIN) return;
    }
    if (n <= 0 || answer_all(c, input, (size_t) n) != 0) {
        drop(c);
        return;
    }
    if (c->file || c->last) go_on(c, 0);
}

static void take(int listener, int tls)
{
    for (int i = 0; i < 8; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        struct client *c = calloc(1, sizeof *c);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (!c) abort();
        c->fd = fd;
        c->parser.data = c;
        http_parser_init(&c->parser, HTTP_REQUEST);
        if (tls) {
            BIO *in = BIO_new_socket(fd, BIO_NOCLOSE), *records = BIO_new(BIO_s_mem());
            if (!(c->ssl = SSL_new(ctx)) || !in || !records) abort();
            SSL_set_bio(c->ssl, in, records);
            SSL_set_accept_state(c->ssl);
        }
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) abort();
    }
}

static int listen_on(const char *port, void *mark)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t) atoi(port))};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = mark};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &one, sizeof one);
    if (bind(fd, (struct sockaddr *) &address, sizeof address) != 0 || listen(fd, 2048) != 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        perror("raw");
        exit(1);
    }
    return fd;
}

static void make_context(void)
{
    char cert[4096], key[4096];
    snprintf(cert, sizeof cert, "%s/cert.pem", directory);
    snprintf(key, sizeof key, "%s/key.pem", directory);
    ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx || SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 || SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1) {
        fputs("raw: certificate\n", stderr);
        exit(1);
    }
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
}

int main(int argc, char **argv)
{
    static char plain_mark, tls_mark;
    struct epoll_event events[EVENTS];
    if (argc != 4) return 2;
    epoll = epoll_create1(EPOLL_CLOEXEC);
    directory = argv[3];
    make_context();
    int plain = listen_on(argv[1], &plain_mark), tls = listen_on(argv[2], &tls_mark);
    for (;;) {
        int n = epoll_wait(epoll, events, EVENTS, -1);
        make_answer();
        for (int i = 0; i < n; i++) {
            void *mark = events[i].data.ptr;
            if (mark == &plain_mark) take(plain, 0);
            else if (mark == &tls_mark) take(tls, 1);
            else serve(mark);
        }
    }
}
