/* The sockets over which pools ask each other: one a pool that is asked, with a random abstract address and a token, made once and kept over reloads by the
 * pool's name, queue and all. Each generation has a copy of the descriptor among its listeners; workers learn address and token from their secrets.
 * The order of the end, too: who is asked stays until nobody is left who might ask. Called by the arbiter. */
#include "core/os/fd.h"
#include "core/process/arbiter.h"
#include "core/server/hop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { NAME_BYTES = 16 };

struct mc_arb_hop {
    struct mc_arb_hop *next;
    char *pool;
    int fd;
    unsigned char token[MC_HOP_TOKEN];
    struct sockaddr_un addr;
    size_t path; /* bytes of addr.sun_path, the first of which is 0 */
};

static struct mc_arb_hop *find(const struct mc_arbiter *a, const char *pool)
{
    struct mc_arb_hop *h = a->hops;
    while (h && strcmp(h->pool, pool) != 0)
        h = h->next;
    return h;
}

/* An abstract address: no file that anybody would have to remove, and gone with the last descriptor. */
static int bind_to_random(struct mc_arb_hop *h)
{
    unsigned char bytes[NAME_BYTES];
    h->addr.sun_family = AF_UNIX;
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes) || getrandom(h->token, sizeof(h->token), 0) != (ssize_t)sizeof(h->token))
        return MC_ERROR;
    int n = snprintf(h->addr.sun_path + 1, sizeof(h->addr.sun_path) - 1, "monoceros/");
    for (size_t i = 0; i < sizeof(bytes); i++)
        n += snprintf(h->addr.sun_path + 1 + n, 3, "%02x", bytes[i]);
    h->path = 1 + (size_t)n;
    h->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return h->fd < 0 ? MC_ERROR : bind(h->fd, (struct sockaddr *)&h->addr, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + h->path));
}

static void drop(struct mc_arb_hop *h)
{
    mc_fd_close(&h->fd);
    explicit_bzero(h->token, sizeof(h->token));
    free(h->pool);
    free(h);
}

static struct mc_arb_hop *make(const char *pool)
{
    struct mc_arb_hop *h = calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    h->fd = -1;
    h->pool = strdup(pool);
    if (h->pool && bind_to_random(h) == 0)
        return h;
    drop(h);
    return NULL;
}

/* The kernel would make a longer queue shorter without a word. */
static void check_queue(const struct mc_conf_pool *pool)
{
    char text[24] = "";
    int fd = open("/proc/sys/net/core/somaxconn", O_RDONLY | O_CLOEXEC);
    long most = fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 ? strtol(text, NULL, 10) : 0;
    mc_fd_close(&fd);
    if (most > 0 && pool->set.queue > most)
        mc_warn("pool \"%s\": queue = %lld, but the system (net.core.somaxconn) allows %ld", pool->name, (long long)pool->set.queue, most);
}

static int open_one(struct mc_arbiter *a, const struct mc_conf_pool *pool)
{
    struct mc_arb_hop *h = find(a, pool->name);
    if (!h) {
        h = make(pool->name);
        if (!h) {
            mc_error("cannot make the socket of pool \"%s\": %m", pool->name);
            return MC_ERROR;
        }
        h->next = a->hops;
        a->hops = h;
    }
    check_queue(pool);
    /* One more than it is told may wait there. Of a socket that listens already this changes the length only. */
    if (listen(h->fd, (int)pool->set.queue - 1) == 0)
        return MC_OK;
    mc_error("cannot listen at the socket of pool \"%s\": %m", pool->name);
    return MC_ERROR;
}

int mc_hops_open(struct mc_generation *g)
{
    for (size_t i = 0; i < g->conf->npools; i++) {
        if (g->conf->pools[i].hops && open_one(g->arbiter, &g->conf->pools[i]) != MC_OK)
            return MC_ERROR;
    }
    return MC_OK;
}

int mc_hops_fd(const struct mc_generation *g, const struct mc_conf_listen *l)
{
    const struct mc_arb_hop *h = find(g->arbiter, l->pool->name);
    int fd = h ? fcntl(h->fd, F_DUPFD_CLOEXEC, 3) : -1;
    if (fd < 0)
        mc_error("cannot open the socket of pool \"%s\": %m", l->pool->name);
    return fd;
}

static bool wanted(const struct mc_generation *g, const char *name)
{
    const struct mc_arb_pool *p = g ? mc_generation_pool(g, name) : NULL;
    return p && p->conf->hops;
}

void mc_hops_sweep(struct mc_arbiter *a)
{
    for (struct mc_arb_hop **at = &a->hops, *h; (h = *at);) {
        bool any = wanted(a->fresh, h->pool);
        for (const struct mc_generation *g = a->gen; g; g = g->older)
            any |= wanted(g, h->pool);
        if (any) {
            at = &h->next;
            continue;
        }
        *at = h->next;
        drop(h);
    }
}

bool mc_hops_asked(const struct mc_arbiter *a)
{
    for (unsigned i = 0; i < a->nkids; i++) {
        const struct mc_kid *k = &a->kids[i];
        if (k->life != MC_LIFE_NONE && k->pool->gen != a->gen && !k->pool->conf->hops)
            return true;
    }
    return false;
}

void mc_hops_close(struct mc_arbiter *a)
{
    while (a->hops) {
        struct mc_arb_hop *h = a->hops;
        a->hops = h->next;
        drop(h);
    }
}

/* ---- secrets */

/* Does a server of this pool ask for an app of that one? */
static bool asks(const struct mc_conf *conf, const struct mc_conf_pool *pool, const struct mc_conf_pool *other)
{
    for (size_t i = 0; i < conf->nservers; i++) {
        const struct mc_conf_server *s = &conf->servers[i];
        for (size_t k = 0; s->pool == pool && k < s->nroutes; k++) {
            if (s->routes[k].app && s->routes[k].app->pool == other)
                return true;
        }
    }
    return false;
}

int mc_hops_gather(const struct mc_arb_pool *p, struct mc_secrets *out)
{
    const struct mc_conf *conf = p->gen->conf;
    unsigned char secret[MC_HOP_TOKEN + sizeof(((struct sockaddr_un *)0)->sun_path)];
    int rc = MC_OK;
    for (size_t i = 0; i < conf->npools && rc == MC_OK; i++) {
        const struct mc_conf_pool *other = &conf->pools[i];
        const struct mc_arb_hop *h = other->hops ? find(p->gen->arbiter, other->name) : NULL;
        char name[MC_HOP_SECRET_MAX];
        if (!h || (other != p->conf && !asks(conf, p->conf, other)))
            continue;
        mc_hop_secret_name(other, name);
        memcpy(secret, h->token, sizeof(h->token));
        memcpy(secret + sizeof(h->token), h->addr.sun_path, h->path);
        rc = mc_secrets_add(out, name, secret, sizeof(h->token) + h->path);
    }
    explicit_bzero(secret, sizeof(secret));
    return rc;
}

/* ---- the end */

/* Nobody who has clients of his own is left. */
static bool fronts_left(const struct mc_arbiter *a)
{
    for (unsigned i = 0; i < a->nkids; i++) {
        const struct mc_kid *k = &a->kids[i];
        if (k->life != MC_LIFE_NONE && k->slot && !k->no_clients)
            return true;
    }
    return false;
}

void mc_hops_tend(struct mc_arbiter *a)
{
    if (a->stopping != MC_STOP_GRACEFUL || a->hops_ended || fronts_left(a))
        return;
    a->hops_ended = true;
    for (unsigned i = 0; i < a->nkids; i++) {
        struct mc_kid *k = &a->kids[i];
        if (k->life == MC_LIFE_NONE)
            continue;
        uint64_t grace = (uint64_t)k->pool->conf->set.graceful_timeout;
        (void)mc_kid_tell(k, MC_MSG_HOPS_END);
        k->kill_ms = grace ? a->loop.now + grace + MC_POLICY_GRACE_MS : 0;
        if (k->kill_ms)
            mc_arbiter_wake_at(a, k->kill_ms);
    }
}
