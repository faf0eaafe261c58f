/* The peers of upstreams in this worker: made from the configuration, changed by answers of name servers, freed when nobody asks them any more.
 * Owns the sets and their peers. Never chooses (balance.c) and never connects (upstream.c). Worker side, on the loop. */
#include "core/server/peers.h"

#include "core/server/health.h"

#include <stdio.h>
#include <stdlib.h>

static struct mc_peer *peer_of(const struct mc_link *l)
{
    return mc_container(l, struct mc_peer, link);
}

/* The same in every worker and after every restart. */
static uint32_t hash_of(const struct mc_peers *u, const char *text)
{
    char all[256];
    int n = snprintf(all, sizeof all, "%s|%s", text, u->conf->name);
    uint32_t h = mc_str_hash((struct mc_str){all, n > 0 && (size_t)n < sizeof all ? (size_t)n : sizeof all - 1});
    return h ? h : 1;
}

static struct mc_peer *add(struct mc_peers *u, const struct mc_conf_peer *conf, const struct mc_peer_found *found)
{
    struct mc_peer *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->conf = conf;
    p->addr = found->addr;
    p->weight = p->effective = found->weight > 0 ? found->weight : (int)conf->weight;
    p->backup = conf->backup || found->backup;
    if (u->conf->pool)
        (void)snprintf(p->text, sizeof p->text, "pool:%s", u->conf->name);
    else
        mc_addr_print(&p->addr, p->text, sizeof p->text);
    p->hash = hash_of(u, p->text);
    mc_list_init(&p->idle);
    mc_list_push(&u->peers, &p->link);
    u->npeers++;
    mc_health_add(u, p);
    return p;
}

static void drop(struct mc_peers *u, struct mc_peer *p)
{
    mc_upstream_forget(p);
    mc_list_remove(&p->link);
    u->npeers--;
    free(p);
}

void mc_peers_release(struct mc_peers *u, struct mc_peer *p)
{
    MC_ASSERT(p->active > 0);
    p->active--;
    if (p->gone && p->active == 0)
        drop(u, p);
}

static struct mc_peer *find(struct mc_peers *u, const struct mc_conf_peer *conf, const struct mc_addr *addr)
{
    struct mc_link *l, *next;
    mc_list_each (&u->peers, l, next) {
        struct mc_peer *p = peer_of(l);
        if (p->conf == conf && mc_addr_equal(&p->addr, addr))
            return p;
    }
    return NULL;
}

static bool among(const struct mc_addr *addr, const struct mc_peer_found *found, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (mc_addr_equal(addr, &found[i].addr))
            return true;
    }
    return false;
}

/* One that comes back while its last calls end is the same one. */
static void take(struct mc_peers *u, const struct mc_conf_peer *conf, const struct mc_peer_found *found)
{
    struct mc_peer *p = find(u, conf, &found->addr);
    if (!p) {
        p = add(u, conf, found);
        if (!p)
            mc_warn("upstream \"%s\": no memory for another peer", u->conf->name);
        else if (conf->host)
            mc_info("upstream \"%s\": %s is at %s", u->conf->name, conf->host, p->text);
        return;
    }
    p->gone = false;
    mc_health_add(u, p);
    p->backup = conf->backup || found->backup;
    p->weight = found->weight > 0 ? found->weight : (int)conf->weight;
    if (p->effective > p->weight)
        p->effective = p->weight;
}

void mc_peers_update(struct mc_peers *u, const struct mc_conf_peer *conf, const struct mc_peer_found *found, size_t n)
{
    struct mc_link *l, *next;
    mc_list_each (&u->peers, l, next) {
        struct mc_peer *p = peer_of(l);
        if (p->conf != conf || p->gone || among(&p->addr, found, n))
            continue;
        mc_info("upstream \"%s\": %s is no longer at %s", u->conf->name, conf->host, p->text);
        mc_health_remove(p);
        p->gone = true;
        mc_upstream_forget(p);
        if (p->active == 0)
            drop(u, p);
    }
    for (size_t i = 0; i < n; i++)
        take(u, conf, &found[i]);
}

void mc_peers_wake(struct mc_peers *u)
{
    struct mc_link all, *l;
    mc_list_init(&all);
    while ((l = mc_list_pop(&u->waiting)))
        mc_list_push(&all, l);
    while ((l = mc_list_pop(&all))) {
        struct mc_peer_wait *w = mc_container(l, struct mc_peer_wait, link);
        w->wake(w);
    }
}

static void close_set(struct mc_peers *u)
{
    struct mc_link *l, *next;
    mc_names_close(u);
    mc_health_close(u);
    mc_list_each (&u->peers, l, next)
        drop(u, peer_of(l));
    mc_list_remove(&u->link);
    free(u);
}

static int fill(struct mc_peers *u)
{
    for (size_t i = 0; i < u->conf->npeers; i++) {
        const struct mc_conf_peer *conf = u->conf->peers[i];
        size_t n = conf->host ? conf->naddrs : 1;
        for (size_t k = 0; k < n; k++) {
            struct mc_peer_found found = {.addr = conf->host ? conf->addrs[k] : conf->addr};
            if (!find(u, conf, &found.addr) && !add(u, conf, &found))
                return MC_ERROR;
        }
    }
    return mc_names_open(u);
}

struct mc_peers *mc_peers_get(struct mc_worker *w, const struct mc_conf_upstream *conf)
{
    struct mc_link *l, *next;
    mc_list_each (&w->upstreams, l, next) {
        struct mc_peers *u = mc_container(l, struct mc_peers, link);
        if (u->conf == conf)
            return u;
    }
    struct mc_peers *u = calloc(1, sizeof *u);
    if (!u)
        return NULL;
    u->conf = conf;
    u->worker = w;
    mc_list_init(&u->peers);
    mc_list_init(&u->names);
    mc_list_init(&u->waiting);
    mc_list_push(&w->upstreams, &u->link);
    if (fill(u) == MC_OK)
        return u;
    close_set(u);
    return NULL;
}

void mc_peers_close(struct mc_worker *w)
{
    struct mc_link *l, *next;
    mc_list_each (&w->upstreams, l, next)
        close_set(mc_container(l, struct mc_peers, link));
    mc_names_exit(w);
}
