/* A closed-loop load client in one thread: load PORT SECONDS CONNECTIONS REQUEST [WORD...]
 * Sends what is in the file REQUEST on each connection, waits for the answers, sends again. Words:
 *   close, pipeline=N               a new connection each time; so many requests in one send
 *   tls=keep|full|resumed           TLS 1.3; full, resumed: a connection and its handshake for each request
 *   status=N, length=N, body=FILE   what an answer must be (200): else it is an error and no request
 *   ws=echo|broadcast               REQUEST is the upgrade; body=FILE the message that each sends and gets back, or one sends and all get
 *   idle, slow=N                    one request each, then all hold their connections; so many bytes/s are read of each answer
 * 0.1 s after each client has had an answer (or after a second) it says "ready" and waits for a line: then the time starts. At the end
 * it prints one line of JSON, latencies in µs. Who waits then for longer than p99 counts with what it has waited so far: a server that
 * forgets clients must not look fast. */
#include "load.h"
#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, INPUT = 262144, FINE = 1 << 14, HALF = FINE / 2, OCTAVES = 10, BUCKETS = FINE + OCTAVES * HALF };
enum { CROWD = 256, WARM_US = 100000, WARM_MAX_US = 1000000, TICK_US = 50000 };

struct load_settings load_is = {.pipeline = 1, .status = 200};
uint64_t load_errors, load_resumed, load_connects;

static char input[INPUT];
static int epoll, count, begun, answered, left; /* left: who has not got the message that is broadcast */
static int running;                             /* the time has started */
static struct load_client *clients;
static uint64_t requests, broadcast_at;
static uint32_t buckets[BUCKETS]; /* of latencies: each µs below FINE, then HALF for each octave */
static http_parser_settings settings;

void load_die(const char *what)
{
    perror(what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

uint64_t load_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}

static void note(uint64_t took)
{
    if (took < FINE) {
        buckets[took]++;
        return;
    }
    int octave = 63 - __builtin_clzll(took) - 14; /* 2^14 is FINE */
    if (octave < OCTAVES) buckets[FINE + octave * HALF + (int) (took >> (octave + 1)) - HALF]++;
    else buckets[BUCKETS - 1]++;
}

static uint64_t value(int bucket)
{
    int octave = (bucket - FINE) / HALF;
    return bucket < FINE ? (uint64_t) bucket : (uint64_t) ((bucket - FINE) % HALF + HALF) << (octave + 1);
}

/* ---- HTTP */

static int begin(http_parser *parser)
{
    struct load_client *c = parser->data;
    c->body_n = 0;
    c->wrong = 0;
    return 0;
}

static int body(http_parser *parser, const char *at, size_t n)
{
    struct load_client *c = parser->data;
    if (load_is.body && (c->body_n + n > load_is.body_n || memcmp(load_is.body + c->body_n, at, n) != 0)) c->wrong = 1;
    c->body_n += n;
    return 0;
}

static int complete(http_parser *parser)
{
    struct load_client *c = parser->data;
    if (load_is.ws) return 0;
    if (c->wrong || parser->status_code != (unsigned) load_is.status || (load_is.has_body && c->body_n != load_is.body_n)) load_errors++;
    else requests++;
    if (!c->answered) answered++;
    c->answered = 1;
    c->waiting--;
    return 0;
}

static void ask(struct load_client *c)
{
    c->waiting = load_is.pipeline;
    c->out = load_is.train;
    c->out_n = load_is.train_n;
    load_io_send(c);
}

static void connect_client(struct load_client *c)
{
    c->open = c->in_frame = c->head_n = 0;
    c->body_n = 0;
    c->sent_at = load_now();
    c->waiting = 1;
    http_parser_init(&c->parser, HTTP_RESPONSE);
    c->parser.data = c;
    load_io_connect(c);
    if (load_io_handshake(c) == 1) ask(c);
}

static void again(struct load_client *c)
{
    load_io_close(c);
    connect_client(c);
}

static void finish(struct load_client *c)
{
    note(load_now() - c->sent_at);
    if (load_is.idle) return;
    if (load_is.tls > TLS_KEEP || load_is.close_each || !http_should_keep_alive(&c->parser)) {
        again(c); /* its time counts from here, too */
    } else {
        c->sent_at = load_now();
        ask(c);
    }
}

/* ---- WebSockets */

static void broadcast(void)
{
    left = count;
    broadcast_at = load_now();
    load_ws_ask(&clients[0]);
}

static void opened(struct load_client *c)
{
    if (c->parser.status_code != 101) load_die("load: no upgrade");
    c->open = 1;
    c->body_n = 0;
    c->waiting = 0;
    answered += !c->answered;
    c->answered = 1;
    if (load_is.idle || load_is.ws == WS_BROADCAST) return;
    c->waiting = 1;
    c->sent_at = load_now();
    load_ws_ask(c);
}

static int heard(struct load_client *c, const char *bytes, size_t n)
{
    int messages = load_ws_take(c, bytes, n);
    if (messages < 0) return -1;
    for (int i = 0; i < messages; i++) {
        requests++;
        if (load_is.ws == WS_BROADCAST) {
            note(load_now() - broadcast_at);
            if (--left == 0) broadcast();
        } else {
            note(load_now() - c->sent_at);
            c->sent_at = load_now();
            load_ws_ask(c);
        }
    }
    return 0;
}

/* ---- the loop */

/* What came: 0, or -1 when it makes no sense. */
static int take(struct load_client *c, const char *bytes, size_t n)
{
    if (c->open) return heard(c, bytes, n);
    size_t used = http_parser_execute(&c->parser, &settings, bytes, n);
    if (c->parser.http_errno != HPE_OK) return -1;
    if (load_is.ws && c->parser.upgrade) {
        opened(c);
        return used < n ? heard(c, bytes + used, n - used) : 0;
    }
    return used == n ? 0 : -1;
}

static void hear(struct load_client *c, size_t most)
{
    int up = c->up, state = load_io_handshake(c);
    if (state < 0) {
        load_errors++;
        again(c);
    }
    if (state <= 0) return;
    if (!up) ask(c);
    if (c->blocked) load_io_send(c);
    long n;
    do {
        n = load_io_read(c, input, most);
        if (n > 0 && take(c, input, (size_t) n) != 0) load_errors++, n = 0;
    } while (n > 0 && c->ssl);
    if (n == 0 && (load_is.ws || load_is.idle)) {
        load_errors++; /* it would not be idle, and a broadcast would not end */
        load_die("load: the server has closed a connection");
    }
    if (!load_is.ws && c->waiting <= 0) {
        finish(c);
    } else if (n == 0) {
        load_errors += c->waiting > 0;
        again(c);
    }
}

static void turn(void)
{
    struct epoll_event events[EVENTS];
    while (!running && begun < count && begun - answered < CROWD) connect_client(&clients[begun++]);
    if (load_is.slow) {
        usleep(TICK_US);
        for (int i = 0; i < begun; i++) hear(&clients[i], (size_t) load_is.slow * TICK_US / 1000000);
        return;
    }
    int ready = epoll_wait(epoll, events, EVENTS, 100);
    for (int i = 0; i < ready; i++) hear(events[i].data.ptr, sizeof input);
}

/* All that came before is forgotten: the time starts for all that wait. */
static void ready(void)
{
    char line[16];
    puts("ready");
    fflush(stdout);
    if (read(STDIN_FILENO, line, sizeof line) < 0) load_die("load: stdin");
    running = 1;
    requests = load_errors = load_resumed = load_connects = 0;
    memset(buckets, 0, sizeof buckets);
    for (int i = 0; i < begun; i++) clients[i].sent_at = load_now();
    if (load_is.ws == WS_BROADCAST && !load_is.idle) broadcast();
}

static void warm(void)
{
    uint64_t start = load_now(), all_at = 0;
    for (uint64_t now = start; all_at == 0 || now - all_at < WARM_US; now = load_now()) {
        if (all_at == 0 && answered >= count) all_at = now;
        if (now - start >= WARM_MAX_US && !load_is.ws && !load_is.idle) break;
        turn();
    }
    while (begun < count) connect_client(&clients[begun++]);
}

static uint64_t percentile(uint64_t total, double part)
{
    uint64_t seen = 0;
    for (int i = 0; i < BUCKETS; i++) {
        seen += buckets[i];
        if ((double) seen >= (double) total * part) return value(i);
    }
    return value(BUCKETS - 1);
}

static uint64_t total(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < BUCKETS; i++) sum += buckets[i];
    return sum;
}

static void count_waiting(void)
{
    uint64_t now = load_now(), p99 = percentile(total(), .99);
    for (int i = 0; i < begun; i++) {
        if (clients[i].waiting > 0 && now - clients[i].sent_at > p99) note(now - clients[i].sent_at);
    }
}

/* ---- words */

static char *contents(const char *name, size_t *n)
{
    FILE *file = fopen(name, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) load_die(name);
    *n = (size_t) ftell(file);
    char *bytes = malloc(*n + 1);
    rewind(file);
    if (!bytes || fread(bytes, 1, *n, file) != *n) load_die(name);
    fclose(file);
    return bytes;
}

static int word(const char *text)
{
    struct load_settings *s = &load_is;
    unsigned long n;
    if (sscanf(text, "pipeline=%d", &s->pipeline) == 1) return s->pipeline < 1 ? -1 : 0;
    if (sscanf(text, "status=%d", &s->status) == 1) return 0;
    if (sscanf(text, "slow=%d", &s->slow) == 1) return 0;
    if (sscanf(text, "length=%lu", &n) == 1) {
        s->body_n = n;
        s->has_body = 1;
    } else if (strncmp(text, "body=", 5) == 0) {
        s->body = contents(text + 5, &s->body_n);
        s->has_body = 1;
    } else if (strcmp(text, "close") == 0) s->close_each = 1;
    else if (strcmp(text, "idle") == 0) s->idle = 1;
    else if (strcmp(text, "tls=keep") == 0) s->tls = TLS_KEEP;
    else if (strcmp(text, "tls=full") == 0) s->tls = TLS_FULL;
    else if (strcmp(text, "tls=resumed") == 0) s->tls = TLS_RESUMED;
    else if (strcmp(text, "ws=echo") == 0) s->ws = WS_ECHO;
    else if (strcmp(text, "ws=broadcast") == 0) s->ws = WS_BROADCAST;
    else return -1;
    return 0;
}

static void make_train(const char *name)
{
    size_t n;
    char *request = contents(name, &n), *train = malloc(n * (size_t) load_is.pipeline + 1);
    if (!train || n == 0) load_die("load: request");
    for (int i = 0; i < load_is.pipeline; i++) memcpy(train + n * (size_t) i, request, n);
    load_is.train = train;
    load_is.train_n = n * (size_t) load_is.pipeline;
    free(request);
}

int main(int argc, char **argv)
{
    if (argc < 5) return 2;
    for (int i = 5; i < argc; i++) {
        if (word(argv[i]) != 0) {
            fprintf(stderr, "load: \"%s\"?\n", argv[i]);
            return 2;
        }
    }
    make_train(argv[4]);
    count = atoi(argv[3]);
    clients = calloc((size_t) count, sizeof *clients);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!clients || epoll < 0 || (load_is.ws && !load_is.body)) load_die("load: start");
    settings.on_message_begin = begin;
    settings.on_body = body;
    settings.on_message_complete = complete;
    load_io_start(atoi(argv[1]), epoll);
    if (load_is.ws) load_ws_start();
    warm();
    ready();
    uint64_t start = load_now(), end = start + (uint64_t) (atof(argv[2]) * 1e6);
    while (load_now() < end) turn();
    double took = (double) (load_now() - start) / 1e6;
    count_waiting();
    uint64_t all = total();
    printf("{\"requests\": %llu, \"seconds\": %.6f, \"errors\": %llu, \"connects\": %llu, \"resumed\": %llu, \"p50\": %llu, \"p99\": %llu, \"max\": %llu}\n",
        (unsigned long long) requests, took, (unsigned long long) load_errors, (unsigned long long) load_connects, (unsigned long long) load_resumed,
        (unsigned long long) percentile(all, .5), (unsigned long long) percentile(all, .99), (unsigned long long) percentile(all, 1));
    return 0;
}
