/* Event back end over poll(2), for systems without epoll and as a second opinion in tests. Level-triggered: a stream is asked for what is
 * wanted and not yet noted, so its owner sees the same contract as with edges. Costs time linear in the number of ios.
 * Called by core/event only; poll is where the process sleeps. */
#include "core/base/module.h"
#include "core/event/loop.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

struct backend {
    struct mc_io **ios; /* ios[i] and fds[i] belong together; io->slot = i */
    struct pollfd *fds;
    uint32_t n, cap;
    uint32_t next; /* where the next scan for events starts, so that a full batch starves nobody */
};

static int open_poll(struct mc_loop *l)
{
    l->backend = calloc(1, sizeof(struct backend));
    return l->backend ? MC_OK : MC_ERROR;
}

static void close_poll(struct mc_loop *l)
{
    struct backend *b = l->backend;
    free(b->ios);
    free(b->fds);
    free(b);
    l->backend = NULL;
}

static int grow(struct backend *b)
{
    uint32_t cap = b->cap ? b->cap * 2 : 64;
    struct mc_io **ios = realloc(b->ios, cap * sizeof(*ios));
    if (!ios)
        return MC_ERROR;
    b->ios = ios;
    struct pollfd *fds = realloc(b->fds, cap * sizeof(*fds));
    if (!fds)
        return MC_ERROR;
    b->fds = fds;
    b->cap = cap;
    return MC_OK;
}

static int del_io(struct mc_loop *l, struct mc_io *io)
{
    struct backend *b = l->backend;
    MC_ASSERT(io->slot < b->n && b->ios[io->slot] == io);
    struct mc_io *last = b->ios[--b->n];
    b->ios[io->slot] = last;
    last->slot = io->slot;
    return MC_OK;
}

static int set_io(struct mc_loop *l, struct mc_io *io, unsigned want)
{
    struct backend *b = l->backend;
    if (io->registered)
        return io->level && want == 0 ? del_io(l, io) : MC_OK; /* poll_events() reads io->want */
    if (b->n == b->cap && grow(b) != MC_OK)
        return MC_ERROR;
    io->slot = b->n;
    b->ios[b->n++] = io;
    return MC_OK;
}

static struct pollfd question(const struct mc_io *io)
{
    unsigned want = io->level ? io->want : io->want & ~(unsigned)io->ready;
    short events = 0;
    if (want & MC_WANT_READ)
        events |= io->level ? POLLIN : POLLIN | POLLRDHUP;
    if (want & MC_WANT_WRITE)
        events |= POLLOUT;
    /* That the peer is gone is told without being asked for, once. */
    bool asked = events || (!io->level && io->want && !(io->ready & MC_READY_HUP));
    return (struct pollfd){.fd = asked ? io->fd : -1, .events = events};
}

static uint8_t to_bits(int events)
{
    unsigned bits = 0;
    if (events & POLLIN)
        bits |= MC_WANT_READ;
    if (events & POLLOUT)
        bits |= MC_WANT_WRITE;
    if (events & POLLRDHUP)
        bits |= MC_WANT_READ | MC_READY_ERROR;
    if (events & (POLLERR | POLLHUP | POLLNVAL))
        bits |= MC_WANT_READ | MC_WANT_WRITE | MC_READY_ERROR | MC_READY_HUP;
    return (uint8_t)bits;
}

static int poll_events(struct mc_loop *l, int timeout, struct mc_ready *out, int max)
{
    struct backend *b = l->backend;
    int found = 0;
    for (uint32_t i = 0; i < b->n; i++)
        b->fds[i] = question(b->ios[i]);
    int n = poll(b->fds, b->n, timeout);
    if (n < 0)
        return errno == EINTR ? 0 : MC_ERROR;
    if (n == 0)
        return 0;
    if (b->next >= b->n)
        b->next = 0;
    for (uint32_t scanned = 0; scanned < b->n && found < n && found < max; scanned++) {
        uint32_t i = b->next;
        b->next = i + 1 < b->n ? i + 1 : 0;
        if (b->fds[i].revents)
            out[found++] = (struct mc_ready){.io = b->ios[i], .bits = to_bits(b->fds[i].revents)};
    }
    return found;
}

static int no_fd(struct mc_loop *l)
{
    (void)l;
    return -1;
}

static const struct mc_event_ops ops = {
    .name = "poll",
    .open = open_poll,
    .set = set_io,
    .del = del_io,
    .poll = poll_events,
    .fd = no_fd,
    .close = close_poll,
};

const struct mc_module mc_module_event_poll = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "poll",
    .kind = MC_MODULE_EVENT,
    .ops.event = &ops,
};
