/* Active health checks: each peer of an upstream with `health { … }` is asked now and then, and taken out while its answers are bad. Owns checks and their timers;
 * balance.c reads mc_peer.sick. Each worker checks for itself, at times of its own. Called by peers.c, upstream.c and relay.c. Worker side, on the loop. */
#include "core/server/health.h"

#include <stdlib.h>
#include <unistd.h>

struct health {
    struct mc_peers *set;
    struct mc_call_policy how;
    uint32_t seed;
};

struct check {
    struct health *health;
    struct mc_peer *peer;
    struct mc_timer timer; /* the next check, or the end of this one's time */
    struct mc_call call;
    struct mc_arena arena; /* of a running call */
    bool asking;
    int status;            /* of the answer */
    unsigned bad, good;    /* in a row */
};

static const struct mc_conf_health *conf_of(const struct check *c)
{
    return &c->health->set->conf->health;
}

/* Workers, and the peers of one, are not to ask all at once. */
static uint64_t spread(struct health *h, uint64_t range)
{
    h->seed = h->seed * 1664525u + 1013904223u;
    return range ? (h->seed >> 8) % range : 0;
}

static void set_timer(struct check *c, uint64_t ms)
{
    if (mc_timer_set(&c->health->set->worker->loop, &c->timer, ms ? ms : 1) != MC_OK)
        mc_warn("upstream \"%s\": no memory for a timer: %s is not checked any more", c->health->set->conf->name, c->peer->text);
}

static void pause_check(struct check *c)
{
    uint64_t interval = (uint64_t)conf_of(c)->interval;
    set_timer(c, interval - interval / 20 + spread(c->health, interval / 10 + 1));
}

/* ---- results */

static bool expected(const struct check *c)
{
    const struct mc_conf_health *conf = conf_of(c);
    for (size_t i = 0; i < conf->nranges; i++) {
        if (c->status >= conf->ranges[i].first && c->status <= conf->ranges[i].last)
            return true;
    }
    return false;
}

static void judge(struct check *c, bool good, const char *why)
{
    const struct mc_conf_health *conf = conf_of(c);
    const char *name = c->health->set->conf->name;
    c->good = good ? c->good + 1 : 0;
    c->bad = good ? 0 : c->bad + 1;
    if (!c->peer->sick && c->bad >= (uint64_t)conf->fails) {
        c->peer->sick = true;
        if (c->status)
            mc_warn("upstream \"%s\": %s is sick: status %d to %s", name, c->peer->text, c->status, conf->path);
        else
            mc_warn("upstream \"%s\": %s is sick: %s", name, c->peer->text, why);
    } else if (c->peer->sick && c->good >= (uint64_t)conf->passes) {
        c->peer->sick = false;
        mc_info("upstream \"%s\": %s is well again", name, c->peer->text);
    }
}

static void end_check(struct check *c, bool good, const char *why)
{
    c->asking = false;
    mc_arena_fini(&c->arena);
    judge(c, good, why);
    pause_check(c);
}

static int on_head(struct mc_call *call)
{
    struct check *c = call->owner;
    c->status = call->x.reply.status;
    return MC_OK;
}

static int on_data(struct mc_call *call, const char *p, size_t n)
{
    (void)call;
    (void)p;
    (void)n;
    return MC_OK;
}

static void on_done(struct mc_call *call, int status)
{
    struct check *c = call->owner;
    if (status)
        c->status = 0;
    end_check(c, status == 0 && expected(c), call->fault == MC_FAULT_CONNECT ? "cannot connect" : "no valid answer");
}

static void hello(struct mc_call *call, struct mc_chain *out)
{
    if (call->policy->hello.n)
        (void)mc_chain_add(out, call->policy->hello.p, call->policy->hello.n);
}

static const struct mc_call_ops ops = {.prologue = hello, .head = on_head, .data = on_data, .done = on_done};

/* ---- asking */

static int add_param(struct mc_exchange *x, struct mc_str name, struct mc_str value)
{
    return mc_fields_add(&x->params, x->arena, name, value);
}

/* The same question in the words of each gateway. */
static int fill_request(struct check *c)
{
    struct mc_exchange *x = &c->call.x;
    struct mc_str path = mc_str(conf_of(c)->path), host = mc_str(c->peer->addr.family == AF_UNIX ? "localhost" : c->peer->text);
    x->method = MC_STR("GET");
    if (c->health->how.gateway == &mc_gateway_http1) {
        x->target = path;
        return mc_fields_add(&x->fields, x->arena, MC_STR("Host"), host) | mc_fields_add(&x->fields, x->arena, MC_STR("User-Agent"), MC_STR("monoceros health check"));
    }
    size_t n = strcspn(path.p, "?");
    struct mc_str script = {path.p, n}, query = path.p[n] ? mc_str(path.p + n + 1) : MC_STR("");
    bool uwsgi = c->health->how.gateway == &mc_gateway_uwsgi;
    return add_param(x, MC_STR("REQUEST_METHOD"), x->method) | add_param(x, MC_STR("REQUEST_URI"), path) | add_param(x, MC_STR("QUERY_STRING"), query) |
           add_param(x, MC_STR("SCRIPT_NAME"), uwsgi ? MC_STR("") : script) | add_param(x, MC_STR("SCRIPT_FILENAME"), script) |
           add_param(x, MC_STR("PATH_INFO"), uwsgi ? script : MC_STR("")) | add_param(x, MC_STR("SERVER_PROTOCOL"), MC_STR("HTTP/1.1")) |
           add_param(x, MC_STR("SERVER_NAME"), MC_STR("localhost")) | add_param(x, MC_STR("SERVER_PORT"), MC_STR("80")) |
           add_param(x, MC_STR("REMOTE_ADDR"), MC_STR("127.0.0.1")) | add_param(x, MC_STR("CONTENT_LENGTH"), MC_STR("")) |
           add_param(x, MC_STR("CONTENT_TYPE"), MC_STR(""));
}

static void start_check(struct check *c)
{
    struct mc_worker *w = c->health->set->worker;
    if (w->draining)
        return;
    c->status = 0;
    mc_arena_init(&c->arena);
    c->call = (struct mc_call){.policy = &c->health->how, .ops = &ops, .owner = c, .worker = w, .only = c->peer, .quiet = true, .x.arena = &c->arena};
    if (fill_request(c) != MC_OK || mc_call_start(&c->call) != MC_OK) {
        mc_arena_fini(&c->arena); /* out of memory says nothing about the peer */
        pause_check(c);
        return;
    }
    c->asking = true;
    set_timer(c, (uint64_t)conf_of(c)->timeout);
}

static void on_timer(struct mc_timer *t)
{
    struct check *c = t->data;
    if (!c->asking) {
        start_check(c);
        return;
    }
    mc_call_cancel(&c->call);
    c->status = 0;
    end_check(c, false, "time-out");
}

/* ---- peers come and go */

void mc_health_add(struct mc_peers *u, struct mc_peer *p)
{
    struct health *h = u->health;
    if (!h || p->check || p->conf->down)
        return;
    struct check *c = calloc(1, sizeof *c);
    if (!c) {
        mc_warn("upstream \"%s\": no memory to check %s", u->conf->name, p->text);
        return;
    }
    c->health = h;
    c->peer = p;
    mc_timer_init(&c->timer, on_timer, c);
    p->check = c;
    set_timer(c, spread(h, u->conf->health.interval < 1000 ? (uint64_t)u->conf->health.interval : 1000));
}

void mc_health_remove(struct mc_peer *p)
{
    struct check *c = p->check;
    if (!c)
        return;
    p->check = NULL;
    mc_timer_remove(&c->health->set->worker->loop, &c->timer);
    if (c->asking) {
        mc_call_cancel(&c->call);
        mc_arena_fini(&c->arena);
    }
    free(c);
}

void mc_health_start(struct mc_peers *u, const struct mc_call_policy *how)
{
    struct mc_link *l, *next;
    if (!u->conf->health.on || u->health)
        return;
    struct health *h = calloc(1, sizeof *h);
    if (!h)
        return; /* the next call tries again */
    int64_t timeout = u->conf->health.timeout;
    *h = (struct health){.set = u, .how = *how, .seed = (uint32_t)getpid() * 2654435761u};
    h->how.connect_timeout = h->how.send_timeout = h->how.read_timeout = timeout;
    h->how.retries = 0;
    h->how.retry_on = 0;
    h->how.fresh = true; /* that it takes connections is what is asked */
    u->health = h;
    mc_list_each (&u->peers, l, next)
        mc_health_add(u, mc_container(l, struct mc_peer, link));
}

void mc_health_close(struct mc_peers *u)
{
    struct mc_link *l, *next;
    mc_list_each (&u->peers, l, next)
        mc_health_remove(mc_container(l, struct mc_peer, link));
    free(u->health);
    u->health = NULL;
}
