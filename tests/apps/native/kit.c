/* A blocking app that does one thing a path: what tests/integration/native asks for. */
#include <monoceros/app.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

static long argument(struct monoceros_request *req)
{
    char *text = monoceros_copy(req, monoceros_query(req));
    return text ? atol(text) : 0;
}

static int text(struct monoceros_request *req, const char *body)
{
    if (monoceros_status(req, 200) != MONOCEROS_OK || monoceros_header_add(req, "Content-Type", "text/plain") != MONOCEROS_OK)
        return MONOCEROS_ERROR;
    return monoceros_end(req, body, strlen(body));
}

/* The head of an answer that is of the request's type. */
static int same_type(struct monoceros_request *req)
{
    struct monoceros_str type = monoceros_header(req, "Content-Type");
    int rc = monoceros_status(req, 200);
    return rc == MONOCEROS_OK && type.n > 0 ? monoceros_header_add(req, "Content-Type", monoceros_copy(req, type)) : rc;
}

static int echo(struct monoceros_request *req)
{
    struct monoceros_str body;
    int rc = monoceros_body_whole(req, 1 << 20, &body);
    if (rc != MONOCEROS_OK)
        return rc;
    same_type(req);
    return monoceros_end(req, body.p, body.n);
}

/* The body in pieces, and how many there were, as a trailer. */
static int count(struct monoceros_request *req)
{
    char piece[1000], number[32];
    long pieces = 0;
    ssize_t n;
    same_type(req);
    while ((n = monoceros_body_read(req, piece, sizeof(piece))) > 0) {
        pieces++;
        if (monoceros_write(req, piece, (size_t)n) != MONOCEROS_OK)
            return MONOCEROS_ERROR;
    }
    snprintf(number, sizeof(number), "%ld", pieces);
    int rc = n < 0 ? MONOCEROS_ERROR : monoceros_trailer_add(req, "X-Pieces", number);
    if (rc != (monoceros_version(req) > 10 ? MONOCEROS_OK : MONOCEROS_IGNORED) || monoceros_trailer_add(req, "Host", "x") == MONOCEROS_OK)
        return MONOCEROS_ERROR;
    return monoceros_end(req, NULL, 0);
}

static size_t put(char *to, size_t used, size_t cap, const char *name, struct monoceros_str s)
{
    int n = snprintf(to + used, cap - used, "%s=%.*s\n", name, (int)s.n, s.p ? s.p : "");
    return used + (size_t)n < cap ? used + (size_t)n : cap - 1;
}

static int facts(struct monoceros_request *req)
{
    char out[8192], number[64];
    struct monoceros_str name, value;
    size_t n = 0;
    n = put(out, n, sizeof(out), "method", monoceros_method(req));
    n = put(out, n, sizeof(out), "target", monoceros_target(req));
    n = put(out, n, sizeof(out), "path", monoceros_path(req));
    n = put(out, n, sizeof(out), monoceros_query(req).p ? "query" : "no-query", monoceros_query(req));
    n = put(out, n, sizeof(out), "scheme", monoceros_scheme(req));
    n = put(out, n, sizeof(out), "host", monoceros_host(req));
    n = put(out, n, sizeof(out), "peer", monoceros_peer(req));
    n = put(out, n, sizeof(out), "x-one", monoceros_header(req, "x-ONE"));
    n = put(out, n, sizeof(out), monoceros_header(req, "X-None").p ? "x-none" : "no-x-none", monoceros_header(req, "X-None"));
    n = put(out, n, sizeof(out), monoceros_tls(req, MONOCEROS_TLS_VERSION, &value) ? "tls" : "no-tls", value);
    for (size_t i = 0; monoceros_header_at(req, i, &name, &value); i++)
        n = put(out, n, sizeof(out), monoceros_copy(req, name), value);
    snprintf(number, sizeof(number), "version=%d length=%lld\n", monoceros_version(req), (long long)monoceros_body_length(req));
    memcpy(out + n, number, strlen(number) + 1);
    return text(req, out);
}

static int stream(struct monoceros_request *req)
{
    char piece[4096];
    long left = argument(req);
    memset(piece, 's', sizeof(piece));
    monoceros_status(req, 200);
    for (; left > 0; left -= (long)sizeof(piece)) {
        if (monoceros_write(req, piece, left < (long)sizeof(piece) ? (size_t)left : sizeof(piece)) != MONOCEROS_OK)
            return MONOCEROS_ERROR;
    }
    return monoceros_end(req, NULL, 0);
}

static int file(struct monoceros_request *req)
{
    int fd = open(getenv("KIT_FILE"), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 404;
    monoceros_status(req, 200);
    int rc = monoceros_sendfile(req, fd, argument(req), -1);
    close(fd);
    return rc == MONOCEROS_OK ? monoceros_end(req, "end", 3) : 416;
}

static int hints(struct monoceros_request *req)
{
    static const struct monoceros_field link = {"Link", "</style.css>; rel=preload; as=style"};
    if (monoceros_early_hints(req, &link, 1) != MONOCEROS_OK)
        return MONOCEROS_ERROR;
    return text(req, "hinted");
}

/* What the server must refuse, in one place. */
static int refusals(struct monoceros_request *req)
{
    struct monoceros_field bad = {"A", "b\r\nC: d"};
    bool ok = monoceros_status(req, 99) == MONOCEROS_ERROR && monoceros_write(req, "x", 1) == MONOCEROS_ERROR && monoceros_length(req, 3) == MONOCEROS_ERROR;
    ok = ok && monoceros_status(req, 200) == MONOCEROS_OK && monoceros_header_add(req, "bad name", "x") == MONOCEROS_ERROR;
    ok = ok && monoceros_header_add(req, "A", bad.value) == MONOCEROS_ERROR && monoceros_early_hints(req, &bad, 1) == MONOCEROS_ERROR;
    ok = ok && monoceros_header_add(req, "Transfer-Encoding", "chunked") == MONOCEROS_IGNORED && monoceros_sendfile(req, -1, 0, -1) == MONOCEROS_ERROR;
    ok = ok && monoceros_timer_new(req->worker, free, NULL) == NULL && monoceros_post(req->worker, free, NULL) == MONOCEROS_ERROR;
    ok = ok && monoceros_length(req, 2) == MONOCEROS_OK && monoceros_trailer_add(req, "X-Late", "1") == MONOCEROS_IGNORED;
    int rc = monoceros_end(req, ok ? "ok" : "no", 2);
    return rc == MONOCEROS_OK && monoceros_write(req, "x", 1) == MONOCEROS_ERROR && monoceros_status(req, 200) == MONOCEROS_ERROR ? MONOCEROS_OK : 500;
}

static int pause_(struct monoceros_request *req)
{
    return monoceros_sleep(req, argument(req)) == MONOCEROS_OK ? text(req, "rested") : MONOCEROS_ERROR;
}

/* Until so many requests are inside at the same time; for coroutines, which nothing interrupts. */
static int meet(struct monoceros_request *req)
{
    static _Atomic long inside, most;
    long wanted = argument(req);
    long now = ++inside;
    most = now > most ? now : most;
    for (int i = 0; i < 20000 && most < wanted; i++)
        monoceros_sleep(req, 1);
    inside--;
    return text(req, most >= wanted ? "met" : "alone");
}

/* Deaf for a time, and what it was told before is still true after it. */
static int deaf(struct monoceros_request *req)
{
    struct monoceros_str name, again;
    bool known = monoceros_tls(req, MONOCEROS_TLS_SERVER_NAME, &name);
    usleep((useconds_t)argument(req) * 1000);
    bool same = known && monoceros_tls(req, MONOCEROS_TLS_SERVER_NAME, &again) && again.p == name.p;
    monoceros_log(req->worker, MONOCEROS_INFO, "kit: deaf for %.*s, %s", known ? (int)name.n : 0, known ? name.p : "", same ? "as before" : "another");
    return text(req, "deaf");
}

/* Asks a server on 127.0.0.1:N and passes its answer on. */
static int upstream(struct monoceros_request *req)
{
    static const char ask[] = "GET / HTTP/1.0\r\n\r\n";
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)argument(req)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char piece[2048];
    ssize_t n;
    int fd = monoceros_connect(req, (struct sockaddr *)&to, sizeof(to), 2000);
    if (fd < 0)
        return fd == MONOCEROS_AGAIN ? 504 : 502;
    int rc = monoceros_send(req, fd, ask, sizeof(ask) - 1, 2000);
    monoceros_status(req, 200);
    while (rc == MONOCEROS_OK && (n = monoceros_recv(req, fd, piece, sizeof(piece), 300)) != 0)
        rc = n > 0 ? monoceros_write(req, piece, (size_t)n) : n == MONOCEROS_AGAIN ? 504 : MONOCEROS_ERROR;
    close(fd);
    return rc == MONOCEROS_OK ? monoceros_end(req, NULL, 0) : rc;
}

/* Every way a wait can end, on a pair of sockets. */
static int waits(struct monoceros_request *req)
{
    int pair[2];
    char byte;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) < 0)
        return 500;
    bool ok = monoceros_wait(req, pair[0], MONOCEROS_READ, 0) == MONOCEROS_AGAIN && monoceros_wait(req, pair[0], MONOCEROS_READ, 20) == MONOCEROS_AGAIN;
    ok = ok && monoceros_wait(req, pair[0], MONOCEROS_READ | MONOCEROS_WRITE, 20) == MONOCEROS_OK;
    ok = ok && monoceros_recv(req, pair[0], &byte, 1, 20) == MONOCEROS_AGAIN;
    ok = ok && monoceros_send(req, pair[1], "x", 1, 20) == MONOCEROS_OK && monoceros_wait(req, pair[0], MONOCEROS_READ, -1) == MONOCEROS_OK;
    ok = ok && monoceros_recv(req, pair[0], &byte, 1, 20) == 1 && byte == 'x';
    char *much = monoceros_alloc(req, 4 << 20);
    if (much)
        memset(much, 'm', 4 << 20);
    ok = ok && much && monoceros_send(req, pair[1], much, 4 << 20, 20) == MONOCEROS_AGAIN;
    close(pair[0]);
    ok = ok && monoceros_send(req, pair[1], "x", 1, 20) == MONOCEROS_ERROR && errno == EPIPE;
    ok = ok && monoceros_wait(req, pair[1], MONOCEROS_READ, -1) == MONOCEROS_OK;
    close(pair[1]);
    ok = ok && monoceros_recv(req, -1, &byte, 1, 20) == MONOCEROS_ERROR && errno == EBADF;
    return text(req, ok ? "ok" : "no");
}

static void count_cleanup(void *data)
{
    ++*(int *)data;
}

static int cleanups(struct monoceros_request *req)
{
    static int done; /* the tests run this on one thread */
    char number[32];
    snprintf(number, sizeof(number), "%d", done);
    if (monoceros_cleanup(req, count_cleanup, &done) != MONOCEROS_OK)
        return 503;
    return text(req, number);
}

static int status(struct monoceros_request *req)
{
    return (int)argument(req);
}

static int half(struct monoceros_request *req)
{
    monoceros_status(req, 200);
    monoceros_write(req, "half", 4);
    monoceros_flush(req);
    return MONOCEROS_ERROR;
}

static int crash(struct monoceros_request *req)
{
    (void)req;
    return raise(SIGSEGV);
}

static int forgets(struct monoceros_request *req)
{
    return monoceros_status(req, 200);
}

struct crew {
    struct monoceros_request *req;
    int hands, arrived, inside, most, sum;
    bool meet, refused;
};

struct hand {
    struct crew *crew;
    int number;
};

static void add_number(void *data)
{
    struct hand *h = data;
    h->crew->sum += h->number;
}

static void work(void *data)
{
    struct hand *h = data;
    struct crew *c = h->crew;
    void *both[] = {h, h};
    c->arrived++;
    c->most = ++c->inside > c->most ? c->inside : c->most;
    do {
        monoceros_sleep(c->req, 1);
    } while (c->meet && c->arrived < c->hands);
    c->refused = c->refused && monoceros_status(c->req, 200) == MONOCEROS_ERROR && monoceros_write(c->req, "x", 1) == MONOCEROS_ERROR &&
                 monoceros_end(c->req, NULL, 0) == MONOCEROS_ERROR && monoceros_header_add(c->req, "A", "b") == MONOCEROS_ERROR;
    monoceros_together(c->req, add_number, both, 2);
    c->inside--;
}

/* As many hands as the query says; negative: none ends before all are there. */
static int together(struct monoceros_request *req)
{
    enum { MOST = 64 };
    long n = argument(req);
    struct crew crew = {.req = req, .hands = (int)labs(n), .meet = n < 0, .refused = true};
    struct hand hands[MOST];
    void *each[MOST];
    char line[100];
    for (int i = 0; i < crew.hands && i < MOST; i++) {
        hands[i] = (struct hand){&crew, i};
        each[i] = &hands[i];
    }
    if (crew.hands > MOST || monoceros_together(req, work, each, (size_t)crew.hands) != MONOCEROS_OK)
        return 500;
    snprintf(line, sizeof(line), "sum=%d most=%d inside=%d refused=%d", crew.sum, crew.most, crew.inside, crew.refused);
    return text(req, line);
}

static const struct {
    const char *path;
    int (*fn)(struct monoceros_request *);
} paths[] = {
    {"/echo", echo},         {"/count", count}, {"/facts", facts},     {"/stream", stream}, {"/file", file},       {"/hints", hints},
    {"/refusals", refusals}, {"/sleep", pause_}, {"/upstream", upstream}, {"/waits", waits},   {"/cleanups", cleanups}, {"/status", status},
    {"/half", half},         {"/crash", crash}, {"/forgets", forgets}, {"/together", together}, {"/deaf", deaf}, {"/meet", meet},
};

static int request(struct monoceros_request *req)
{
    struct monoceros_str path = monoceros_path(req);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (monoceros_is(path, paths[i].path))
            return paths[i].fn(req);
    }
    return 404;
}

static int init(struct monoceros_worker *worker)
{
    monoceros_log(worker, MONOCEROS_INFO, "kit: init of %s on %s", worker->app, worker->api->version);
    return MONOCEROS_OK;
}

static void leave(struct monoceros_worker *worker)
{
    monoceros_log(worker, MONOCEROS_INFO, "kit: exit of %s", worker->app);
}

MONOCEROS_APP monoceros_app = {MONOCEROS_ABI_HEAD, .kind = MONOCEROS_BLOCKING, .name = "kit", .init = init, .exit = leave, .request = request};
