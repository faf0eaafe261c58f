/* Sockets of a listener that nobody is to accept from for long: a worker gets one when there are too many (reuse_port), and closes it when it is empty.
 * Worker side. */
#include "core/os/fd.h"
#include "core/server/engine.h"

static struct mc_listener *find(struct mc_worker *w, unsigned index, bool extra)
{
    for (size_t i = 0; i < w->nlisteners; i++) {
        struct mc_listener *l = &w->listeners[i];
        if (l->conf->index == index && l->extra == extra && (!extra || l->done))
            return l;
    }
    return NULL;
}

void mc_worker_empty(struct mc_worker *w, unsigned index, int fd, bool shared)
{
    struct mc_listener *own = w->draining ? NULL : find(w, index, false), *l = own ? find(w, index, true) : NULL;
    if (!l && own && w->nlisteners < w->conf->nlistens * (1 + MC_WORKER_EXTRAS))
        l = &w->listeners[w->nlisteners++];
    if (!l) {
        mc_fd_close(&fd); /* the arbiter still has it, and sees when nobody empties it */
        return;
    }
    /* Connections of one that was here before find all as it was. */
    *l = (struct mc_listener){
        .worker = w,
        .conf = own->conf,
        .transport = own->transport,
        .protocol = own->protocol,
        .host = l->host,
        .nopening = l->nopening,
        .addr = own->addr,
        .extra = true,
        .shared = shared,
        .last_accept = w->loop.now,
    };
    mc_io_init(&l->io, fd, own->io.fn, l);
    l->io.level = true;
    l->io.exclusive = own->io.exclusive;
    mc_worker_changed(w);
}

void mc_worker_empty_tick(struct mc_worker *w)
{
    for (size_t i = 0; i < w->nlisteners; i++) {
        struct mc_listener *l = &w->listeners[i];
        if (!l->extra || l->done || !mc_worker_has_room(w, l) || w->loop.now < l->last_accept + MC_DRAIN_SETTLE_MS)
            continue;
        uint64_t before = l->last_accept;
        mc_conn_accept(l, 1024);
        if (l->last_accept == before && mc_worker_has_room(w, l))
            mc_worker_close_listener(l);
    }
}
