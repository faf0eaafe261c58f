/* Watching descriptors: keeps what the owner wants and tells the back end only what changed. Called by owners of descriptors, on the
 * thread that runs the loop. Never closes a descriptor. */
#include "core/event/loop.h"

void mc_io_init(struct mc_io *io, int fd, void (*fn)(struct mc_io *), void *data)
{
    *io = (struct mc_io){.fd = fd, .fn = fn, .data = data};
}

int mc_io_watch(struct mc_loop *l, struct mc_io *io, unsigned want)
{
    bool out = io->level && want == 0;
    MC_ASSERT((want & ~(unsigned)(MC_WANT_READ | MC_WANT_WRITE)) == 0);
    if (io->registered ? want == io->want : out) {
        io->want = (uint8_t)want;
        return MC_OK;
    }
    if (l->ops->set(l, io, want) != MC_OK)
        return MC_ERROR;
    io->want = (uint8_t)want;
    io->registered = !out;
    return MC_OK;
}

void mc_io_unwatch(struct mc_loop *l, struct mc_io *io)
{
    if (io->registered)
        l->ops->del(l, io);
    io->registered = false;
    io->want = io->ready = 0;
    /* The memory may be reused before the rest of the batch is dispatched. */
    for (int i = l->ready_i; i < l->ready_n; i++) {
        if (l->ready[i].io == io)
            l->ready[i].io = NULL;
    }
}
