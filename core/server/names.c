/* Names of peers: asked again when their answers grow old. An answer changes the set of peers; a failure changes nothing, so what is known is used on.
 * Owns questions, timers and the channels of the worker. Knows no DNS: a resolver module does. Worker side, on the loop. */
#include "core/server/resolver.h"

#include <stdlib.h>

enum { LEAST_MS = 1000, MOST_MS = 300000, RETRY_MS = 1000, RETRY_MOST_MS = 30000 };

struct channel {
    struct mc_link link; /* of the worker */
    const struct mc_resolver_ops *ops;
    struct mc_strv servers;
    void *state;
};

struct name {
    struct mc_link link; /* of the set */
    struct mc_peers *set;
    const struct mc_conf_peer *conf;
    struct channel *channel;
    struct mc_query query;
    struct mc_timer timer;
    unsigned failures; /* in a row */
    bool answered;
};

static const struct mc_resolver_ops *resolver(void)
{
    for (const struct mc_module *const *m = mc_modules; *m; m++) {
        if ((*m)->kind == MC_MODULE_RESOLVER)
            return (*m)->ops.resolver;
    }
    return NULL;
}

static bool same(const struct mc_strv *a, const struct mc_strv *b)
{
    bool equal = a->n == b->n;
    for (size_t i = 0; equal && i < a->n; i++)
        equal = strcmp(a->v[i], b->v[i]) == 0;
    return equal;
}

static struct channel *channel_for(struct mc_worker *w, const struct mc_strv *servers)
{
    const struct mc_resolver_ops *ops = resolver();
    struct mc_link *l, *next;
    mc_list_each (&w->resolvers, l, next) {
        struct channel *c = mc_container(l, struct channel, link);
        if (same(&c->servers, servers))
            return c;
    }
    struct channel *c = ops ? calloc(1, sizeof *c) : NULL;
    if (!c)
        return NULL;
    *c = (struct channel){.ops = ops, .servers = *servers, .state = ops->open(w, servers)};
    if (!c->state) {
        free(c);
        return NULL;
    }
    mc_list_push(&w->resolvers, &c->link);
    return c;
}

static void ask_later(struct name *n, uint64_t ms)
{
    if (mc_timer_set(&n->set->worker->loop, &n->timer, ms) != MC_OK)
        mc_warn("upstream \"%s\": no memory for a timer: %s is not asked for again", n->set->conf->name, n->conf->host);
}

/* When to ask again: as the answer says, not sooner than `resolve`; after failures later and later. */
static uint64_t pause_of(const struct name *n)
{
    uint64_t floor = n->set->conf->resolve > LEAST_MS ? (uint64_t)n->set->conf->resolve : LEAST_MS, ms;
    if (n->failures == 0) {
        ms = (uint64_t)n->query.ttl * 1000;
        ms = ms > MOST_MS ? MOST_MS : ms;
    } else {
        ms = (uint64_t)RETRY_MS << (n->failures < 6 ? n->failures - 1 : 5);
        ms = ms > RETRY_MOST_MS ? RETRY_MOST_MS : ms;
        floor = LEAST_MS;
    }
    return ms > floor ? ms : floor;
}

static void on_answer(struct mc_query *q)
{
    struct name *n = mc_container(q, struct name, query);
    struct mc_peers *set = n->set;
    bool first = !n->answered;
    if (q->rc == MC_OK) {
        if (n->failures > 0)
            mc_info("upstream \"%s\": %s is found again", set->conf->name, n->conf->host);
        n->failures = 0;
        mc_peers_update(set, n->conf, q->found, q->n);
    } else {
        if (n->failures++ == 0)
            mc_warn("upstream \"%s\": cannot resolve %s: %s%s", set->conf->name, n->conf->host, q->why, first ? "" : "; the addresses known before are used on");
    }
    ask_later(n, pause_of(n));
    if (!first)
        return;
    n->answered = true;
    set->nasking--;
    mc_peers_wake(set);
}

static void ask(struct name *n)
{
    if (n->channel->ops->ask(n->channel->state, &n->query) != MC_OK)
        ask_later(n, RETRY_MS);
}

static void on_timer(struct mc_timer *t)
{
    ask(t->data);
}

static int open_name(struct mc_peers *u, const struct mc_conf_peer *conf)
{
    struct name *n = calloc(1, sizeof *n);
    struct channel *c = n ? channel_for(u->worker, &u->conf->resolver) : NULL;
    if (!c) {
        free(n);
        return MC_ERROR;
    }
    n->set = u;
    n->conf = conf;
    n->channel = c;
    n->query = (struct mc_query){.host = conf->host, .service = conf->service, .port = conf->port, .done = on_answer};
    mc_timer_init(&n->timer, on_timer, n);
    mc_list_push(&u->names, &n->link);
    u->nasking++;
    ask(n);
    return MC_OK;
}

int mc_names_open(struct mc_peers *u)
{
    for (size_t i = 0; i < u->conf->npeers; i++) {
        const struct mc_conf_peer *conf = u->conf->peers[i];
        if (!conf->host || conf->naddrs > 0)
            continue;
        if (open_name(u, conf) != MC_OK) {
            mc_error("upstream \"%s\": cannot ask for %s: out of memory, or no resolver", u->conf->name, conf->host);
            return MC_ERROR;
        }
    }
    return MC_OK;
}

void mc_names_close(struct mc_peers *u)
{
    struct mc_link *l;
    while ((l = mc_list_pop(&u->names))) {
        struct name *n = mc_container(l, struct name, link);
        n->channel->ops->cancel(&n->query);
        mc_timer_remove(&u->worker->loop, &n->timer);
        free(n);
    }
}

void mc_names_exit(struct mc_worker *w)
{
    struct mc_link *l;
    while ((l = mc_list_pop(&w->resolvers))) {
        struct channel *c = mc_container(l, struct channel, link);
        c->ops->close(c->state);
        free(c);
    }
}
