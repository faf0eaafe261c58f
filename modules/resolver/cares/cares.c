/* Names through c-ares: its sockets and time-outs in the worker's loop, its answers as addresses of peers. Owns channels and what is being asked.
 * Never reads a message of a name server itself. Called by core/server/names.c. Worker side, on the loop. */
#define CARES_NO_DEPRECATED
#include "core/base/log.h"
#include "core/server/resolver.h"

#include <ares.h>
#include <stdio.h>
#include <stdlib.h>

enum { TRY_MS = 2000, TRIES = 3, SRV_TTL = 30, TARGETS = 64, CLASS_IN = 1, TYPE_SRV = 33 };

struct channel {
    ares_channel ares;
    struct mc_worker *worker;
    struct mc_timer timer;
    struct mc_link socks;
};

struct sock {
    struct mc_link link;
    struct mc_io io;
    struct channel *channel;
};

/* A question and all that c-ares is asked for it. It ends with the last answer, though the asker may be gone by then: c-ares cannot take back one. */
struct work {
    struct channel *channel;
    struct mc_query *q; /* NULL: nobody wants to know any more */
    struct mc_post post;
    unsigned open;
    int status; /* of c-ares: the first failure */
    uint32_t ttl;
    struct mc_peer_found *found;
    size_t n;
};

/* Whose addresses are asked for: the name itself, or a target of a SRV record. */
struct target {
    struct work *work;
    uint16_t port;
    int weight;
    bool backup;
};

/* ---- the loop */

static void arm(struct channel *c)
{
    struct timeval tv, *left = ares_timeout(c->ares, NULL, &tv);
    if (!left)
        mc_timer_clear(&c->timer);
    else if (mc_timer_set(&c->worker->loop, &c->timer, (uint64_t)left->tv_sec * 1000 + (uint64_t)left->tv_usec / 1000 + 1) != MC_OK)
        mc_warn("resolver: no memory for a timer");
}

static void on_timer(struct mc_timer *t)
{
    struct channel *c = t->data;
    ares_process_fd(c->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm(c);
}

static void on_io(struct mc_io *io)
{
    struct sock *s = io->data;
    struct channel *c = s->channel; /* s may go in the call */
    ares_socket_t fd = io->fd;
    ares_process_fd(c->ares, io->ready & (MC_WANT_READ | MC_READY_ERROR) ? fd : ARES_SOCKET_BAD, io->ready & MC_WANT_WRITE ? fd : ARES_SOCKET_BAD);
    arm(c);
}

static struct sock *find(struct channel *c, int fd)
{
    struct mc_link *l, *next;
    mc_list_each (&c->socks, l, next) {
        struct sock *s = mc_container(l, struct sock, link);
        if (s->io.fd == fd)
            return s;
    }
    return NULL;
}

/* c-ares opened, closes, or wants other things of a socket. */
static void on_socket(void *data, ares_socket_t fd, int readable, int writable)
{
    struct channel *c = data;
    struct sock *s = find(c, fd);
    if (!readable && !writable) {
        if (s) {
            mc_io_unwatch(&c->worker->loop, &s->io);
            mc_list_remove(&s->link);
            free(s);
        }
        return;
    }
    if (!s) {
        s = calloc(1, sizeof *s);
        if (!s) {
            mc_warn("resolver: no memory to watch a socket"); /* its time-out comes */
            return;
        }
        s->channel = c;
        mc_io_init(&s->io, fd, on_io, s);
        s->io.level = true;
        mc_list_push(&c->socks, &s->link);
    }
    if (mc_io_watch(&c->worker->loop, &s->io, (readable ? MC_WANT_READ : 0u) | (writable ? MC_WANT_WRITE : 0u)) != MC_OK)
        mc_warn("resolver: cannot watch a socket");
}

/* ---- answers */

static void on_done(struct mc_post *p)
{
    struct work *w = p->data;
    struct mc_query *q = w->q;
    bool no_such = w->status == ARES_ENOTFOUND || w->status == ARES_ENODATA || w->status == ARES_SUCCESS;
    q->rc = w->n ? MC_OK : no_such ? MC_DECLINED : MC_ERROR;
    q->why = w->n ? "" : w->status == ARES_SUCCESS ? "no address in the answer" : ares_strerror(w->status);
    q->found = w->found;
    q->n = w->n;
    q->ttl = w->ttl;
    q->state = NULL;
    q->done(q);
    free(w->found);
    free(w);
}

/* One of the answers has come, or will not. */
static void close_one(struct work *w)
{
    if (--w->open > 0)
        return;
    if (w->q) {
        mc_post_add(&w->channel->worker->loop, &w->post);
        return;
    }
    free(w->found);
    free(w);
}

static void note_failure(struct work *w, int status)
{
    if (w->status == ARES_SUCCESS)
        w->status = status;
}

static void note_ttl(struct work *w, int ttl)
{
    if (ttl >= 0 && (uint32_t)ttl < w->ttl)
        w->ttl = (uint32_t)ttl;
}

static void add(const struct target *t, const struct ares_addrinfo_node *node)
{
    struct work *w = t->work;
    const void *raw = node->ai_family == AF_INET ? (const void *)&((const struct sockaddr_in *)(const void *)node->ai_addr)->sin_addr
                                                 : (const void *)&((const struct sockaddr_in6 *)(const void *)node->ai_addr)->sin6_addr;
    struct mc_peer_found one = {.weight = t->weight, .backup = t->backup};
    if ((node->ai_family != AF_INET && node->ai_family != AF_INET6) || w->n == MC_RESOLVER_MOST)
        return;
    mc_addr_inet(&one.addr, node->ai_family, raw, t->port);
    for (size_t i = 0; i < w->n; i++) {
        if (mc_addr_equal(&w->found[i].addr, &one.addr))
            return;
    }
    struct mc_peer_found *more = realloc(w->found, (w->n + 1) * sizeof *more);
    if (!more) {
        note_failure(w, ARES_ENOMEM);
        return;
    }
    w->found = more;
    w->found[w->n++] = one;
    note_ttl(w, node->ai_ttl);
}

static void on_addresses(void *data, int status, int timeouts, struct ares_addrinfo *answer)
{
    struct target *t = data;
    struct work *w = t->work;
    (void)timeouts;
    if (status != ARES_SUCCESS)
        note_failure(w, status);
    if (status == ARES_SUCCESS && w->q) {
        for (const struct ares_addrinfo_node *i = answer->nodes; i; i = i->ai_next)
            add(t, i);
        for (const struct ares_addrinfo_cname *i = answer->cnames; i; i = i->next)
            note_ttl(w, i->ttl);
    }
    if (answer)
        ares_freeaddrinfo(answer);
    free(t);
    close_one(w);
}

static int ask_addresses(struct work *w, const char *host, uint16_t port, int weight, bool backup)
{
    static const struct ares_addrinfo_hints hints = {.ai_flags = ARES_AI_NOSORT, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct target *t = calloc(1, sizeof *t);
    if (!t)
        return MC_ERROR;
    *t = (struct target){w, port, weight, backup};
    w->open++;
    ares_getaddrinfo(w->channel->ares, host, NULL, &hints, on_addresses, t);
    return MC_OK;
}

/* The records with the lowest priority are the peers, all others wait behind them. The parser tells no TTL, so it is a short one. */
static void use_records(struct work *w, const struct ares_srv_reply *records)
{
    unsigned best = UINT16_MAX, n = 0;
    w->ttl = SRV_TTL;
    for (const struct ares_srv_reply *i = records; i; i = i->next)
        best = i->priority < best ? i->priority : best;
    for (const struct ares_srv_reply *i = records; i && n < TARGETS; i = i->next, n++) {
        if (i->port == 0 || i->host[0] == '\0' || strcmp(i->host, ".") == 0)
            continue;
        if (ask_addresses(w, i->host, i->port, i->weight ? i->weight : 1, i->priority > best) != MC_OK)
            note_failure(w, ARES_ENOMEM);
    }
}

static void on_records(void *data, int status, int timeouts, unsigned char *message, int len)
{
    struct work *w = data;
    struct ares_srv_reply *records = NULL;
    (void)timeouts;
    if (status == ARES_SUCCESS)
        status = ares_parse_srv_reply(message, len, &records);
    if (status != ARES_SUCCESS)
        note_failure(w, status);
    else if (w->q)
        use_records(w, records);
    if (records)
        ares_free_data(records);
    close_one(w);
}

/* ---- what names.c calls */

static int ask(void *channel, struct mc_query *q)
{
    struct channel *c = channel;
    struct work *w = calloc(1, sizeof *w);
    char name[512];
    int rc = MC_OK;
    if (!w)
        return MC_ERROR;
    *w = (struct work){.channel = c, .q = q, .status = ARES_SUCCESS, .ttl = UINT32_MAX, .open = 1};
    mc_post_init(&w->post, on_done, w);
    q->state = w;
    if (q->service) {
        (void)snprintf(name, sizeof name, "%s.%s", q->service, q->host);
        w->open++;
        ares_query(c->ares, name, CLASS_IN, TYPE_SRV, on_records, w);
    } else {
        rc = ask_addresses(w, q->host, q->port, 0, false);
    }
    if (rc != MC_OK) {
        q->state = NULL;
        w->q = NULL;
    }
    close_one(w);
    arm(c);
    return rc;
}

static void cancel(struct mc_query *q)
{
    struct work *w = q->state;
    if (!w)
        return;
    q->state = NULL;
    w->q = NULL;
    if (w->open > 0)
        return;
    mc_post_remove(&w->post);
    free(w->found);
    free(w);
}

static int use_servers(struct channel *c, const struct mc_strv *servers)
{
    struct mc_sb csv;
    mc_sb_init(&csv, 4096);
    for (size_t i = 0; i < servers->n; i++)
        mc_sb_addf(&csv, "%s%s", i ? "," : "", servers->v[i]);
    int status = csv.bad ? ARES_ENOMEM : ares_set_servers_ports_csv(c->ares, mc_sb_z(&csv));
    mc_sb_fini(&csv);
    return status;
}

static void *open_channel(struct mc_worker *worker, const struct mc_strv *servers)
{
    char lookups[] = "fb"; /* /etc/hosts, then name servers */
    struct channel *c = calloc(1, sizeof *c);
    struct ares_options options = {.timeout = TRY_MS, .tries = TRIES, .lookups = lookups, .sock_state_cb = on_socket, .sock_state_cb_data = c};
    int mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB;
    if (!c)
        return NULL;
    c->worker = worker;
    mc_list_init(&c->socks);
    mc_timer_init(&c->timer, on_timer, c);
    int status = ares_library_init(ARES_LIB_INIT_ALL);
    if (status == ARES_SUCCESS)
        status = ares_init_options(&c->ares, &options, mask);
    if (status == ARES_SUCCESS && servers->n)
        status = use_servers(c, servers);
    if (status == ARES_SUCCESS)
        return c;
    mc_error("resolver: %s", ares_strerror(status));
    if (c->ares)
        ares_destroy(c->ares);
    free(c);
    return NULL;
}

static void close_channel(void *channel)
{
    struct channel *c = channel;
    ares_destroy(c->ares); /* ends what is open, closes its sockets */
    MC_ASSERT(mc_list_empty(&c->socks));
    mc_timer_remove(&c->worker->loop, &c->timer);
    free(c);
    ares_library_cleanup();
}

static const char *version(void)
{
    static char text[32];
    (void)snprintf(text, sizeof text, "c-ares %s", ares_version(NULL));
    return text;
}

static const struct mc_resolver_ops ops = {.name = "cares", .open = open_channel, .ask = ask, .cancel = cancel, .close = close_channel};

const struct mc_module mc_module_resolver_cares = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "cares",
    .kind = MC_MODULE_RESOLVER,
    .ops.resolver = &ops,
    .version = version,
};
