/* A closed-loop load client in one thread: load PORT SECONDS CONNECTIONS [close] [pipeline=N] < REQUEST
 * Sends the request that it reads from stdin on each connection, waits for the answers, sends again; with "close" on a new
 * connection each time. Prints one line: requests seconds errors, and latencies in µs (p50 p90 p99 max). For bench.py and workers.py.
 * Who waits at the end for longer than p99 counts with what it has waited so far: a server that forgets clients must not look fast. */
#include <errno.h>
#include <http_parser.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, INPUT = 262144, REQUEST = 1 << 16, BUCKETS = 1 << 23 };

struct client {
    http_parser parser;
    int fd, waiting; /* answers that have not come */
    uint64_t sent_at;
};

static struct sockaddr_in address = {.sin_family = AF_INET};
static char input[INPUT], *train;
static size_t train_n;
static int epoll, pipeline = 1, close_each;
static uint64_t requests, errors;
static uint32_t *buckets; /* by µs, up to 8 s */
static http_parser_settings settings;

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

static int complete(http_parser *parser)
{
    struct client *c = parser->data;
    requests++;
    if (parser->status_code != 200) errors++;
    c->waiting--;
    return 0;
}

static void ask(struct client *c)
{
    c->waiting = pipeline;
    c->sent_at = now_us();
    if (send(c->fd, train, train_n, MSG_NOSIGNAL) != (ssize_t) train_n) errors++;
}

static void connect_client(struct client *c)
{
    int one = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *) &address, sizeof address) != 0) {
        perror("load: connect");
        exit(1);
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    http_parser_init(&c->parser, HTTP_RESPONSE);
    c->parser.data = c;
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
    ask(c);
}

static void again(struct client *c)
{
    close(c->fd);
    connect_client(c);
}

static void note(uint64_t took)
{
    buckets[took < BUCKETS ? took : BUCKETS - 1]++;
}

static void hear(struct client *c)
{
    ssize_t n = recv(c->fd, input, sizeof input, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n > 0) {
        size_t used = http_parser_execute(&c->parser, &settings, input, (size_t) n);
        if (used != (size_t) n || c->parser.http_errno != HPE_OK) errors++;
    } else {
        if (c->waiting) errors++;
        again(c);
        return;
    }
    if (c->waiting > 0) return;
    note(now_us() - c->sent_at);
    if (close_each || !http_should_keep_alive(&c->parser)) again(c);
    else ask(c);
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

static uint64_t total(void)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < BUCKETS; i++) sum += buckets[i];
    return sum;
}

static void count_waiting(const struct client *clients, int count)
{
    uint64_t now = now_us(), p99 = percentile(total(), .99);
    for (int i = 0; i < count; i++) {
        if (clients[i].waiting > 0 && now - clients[i].sent_at > p99) note(now - clients[i].sent_at);
    }
}

int main(int argc, char **argv)
{
    static char request[REQUEST];
    if (argc < 4) return 2;
    size_t n = fread(request, 1, sizeof request, stdin);
    int count = atoi(argv[3]);
    for (int i = 4; i < argc; i++) {
        if (strcmp(argv[i], "close") == 0) close_each = 1;
        else if (sscanf(argv[i], "pipeline=%d", &pipeline) != 1 || pipeline < 1) return 2;
    }
    train_n = n * (size_t) pipeline;
    train = malloc(train_n);
    buckets = calloc(BUCKETS, sizeof *buckets);
    struct client *clients = calloc((size_t) count, sizeof *clients);
    if (!train || !buckets || !clients) return 1;
    for (int i = 0; i < pipeline; i++) memcpy(train + n * (size_t) i, request, n);
    settings.on_message_complete = complete;
    address.sin_port = htons((uint16_t) atoi(argv[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    uint64_t start = now_us(), end = start + (uint64_t) (atof(argv[2]) * 1e6);
    for (int i = 0; i < count; i++) connect_client(&clients[i]);
    struct epoll_event events[EVENTS];
    while (now_us() < end) {
        int ready = epoll_wait(epoll, events, EVENTS, 100);
        for (int i = 0; i < ready; i++) hear(events[i].data.ptr);
    }
    double took = (double) (now_us() - start) / 1e6;
    count_waiting(clients, count);
    uint64_t all = total();
    printf("%llu %.6f %llu %llu %llu %llu %llu\n", (unsigned long long) requests, took, (unsigned long long) errors,
        (unsigned long long) percentile(all, .5), (unsigned long long) percentile(all, .9), (unsigned long long) percentile(all, .99),
        (unsigned long long) percentile(all, 1));
    return 0;
}
