/* Whose a listening socket is, beside ours. Shared ones are served by another program too (an upgrade, while both live), given ones belong to who
 * started us: neither is switched off, nor its file removed, and who leaves leaves their queues alone. Workers are told, because they must know it
 * when nobody can tell them any more: when the arbiter is dead. Called by the arbiter. */
#include "core/os/fd.h"
#include "core/process/arbiter.h"
#include "core/process/inherit.h"

#include <netinet/tcp.h>
#include <string.h>

static bool foreign(const struct mc_generation *g, size_t i)
{
    return g->places[i].shared || g->places[i].given;
}

static void tell(struct mc_kid *k, size_t i)
{
    const struct mc_generation *g = k->pool->gen;
    struct mc_msg m = {.kind = MC_MSG_SHARE, .value = (uint32_t)i, .code = foreign(g, i) && !mc_seats_own(k, i)};
    if (k->io.fd >= 0 && k->slot && g->conf->listens[i].pool == k->pool->conf && mc_channel_send(k->io.fd, &m, NULL, 0) != MC_OK)
        mc_warn("cannot tell pid %ld whose its sockets are: %m", (long)k->pid);
}

void mc_shares_tell(struct mc_kid *k)
{
    const struct mc_generation *g = k->pool->gen;
    for (size_t i = 0; i < g->conf->nlistens; i++) {
        if (foreign(g, i))
            tell(k, i);
    }
}

static void set(struct mc_generation *g, size_t i, bool shared)
{
    struct mc_arbiter *a = g->arbiter;
    if (g->places[i].shared == shared)
        return;
    g->places[i].shared = shared;
    for (unsigned k = 0; k < a->nkids; k++) {
        if (a->kids[k].life != MC_LIFE_NONE && a->kids[k].pool->gen == g)
            tell(&a->kids[k], i);
    }
}

/* Sockets of our own making: all but those that somebody gave us, and those between our own pools. */
static bool ours(const struct mc_generation *g, size_t i)
{
    return g->listen_fds[i] >= 0 && !g->places[i].given && g->conf->listens[i].addr.fd < 0 &&
           !g->conf->listens[i].hop;
}

static bool is_in(const struct mc_inherit *in, const struct mc_addr *addr)
{
    char text[160];
    mc_addr_print(addr, text, sizeof(text));
    for (size_t i = 0; i < in->n; i++) {
        if (strcmp(in->v[i].text, text) == 0)
            return true;
    }
    return false;
}

static struct mc_generation *first(const struct mc_arbiter *a)
{
    return a->fresh ? a->fresh : a->gen;
}

void mc_shares_set(struct mc_arbiter *a, const struct mc_inherit *with)
{
    if (!with)
        mc_seats_share(a, true);
    for (struct mc_generation *g = first(a); g; g = g->older) {
        for (size_t i = 0; i < g->conf->nlistens; i++) {
            if (ours(g, i))
                set(g, i, !with || is_in(with, &g->conf->listens[i].addr));
        }
    }
}

void mc_shares_end(struct mc_arbiter *a)
{
    for (struct mc_generation *g = first(a); g; g = g->older) {
        for (size_t i = 0; i < g->conf->nlistens; i++) {
            bool was = g->places[i].shared;
            set(g, i, false);
            /* A worker whose arbiter was killed may have switched it off. */
            if (was && g->listen_fds[i] >= 0)
                mc_listeners_admit(g, i);
        }
    }
    mc_seats_share(a, false);
}

void mc_shares_print(const struct mc_arbiter *a, struct mc_sb *out)
{
    char text[160];
    for (size_t i = 0; i < a->gen->conf->nlistens; i++) {
        if (!ours(a->gen, i))
            continue;
        mc_addr_print(&a->gen->conf->listens[i].addr, text, sizeof(text));
        mc_inherit_print(out, text, a->gen->listen_fds[i]);
        mc_seats_print(a, &a->gen->conf->listens[i].addr, out);
    }
}

void mc_shares_bequeath(const struct mc_arbiter *a)
{
    for (size_t i = 0; i < a->gen->conf->nlistens; i++) {
        const struct mc_conf_listen *l = &a->gen->conf->listens[i];
        if (l->addr.fd >= 0)
            (void)mc_fd_cloexec(l->addr.fd, false);
        else if (ours(a->gen, i))
            (void)mc_fd_cloexec(a->gen->listen_fds[i], false);
        mc_seats_bequeath(a, &l->addr);
    }
}
