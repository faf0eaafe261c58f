/* Event back end over epoll. Streams are registered once, edge-triggered for everything, so that a request costs no epoll_ctl(); level ios
 * (listeners, eventfds, channels) follow their want. Owns the epoll descriptor. Called by core/event only; poll is where the process
 * sleeps. */
#include "core/base/module.h"
#include "core/event/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { BATCH = 256 };

struct backend {
    int fd;
    struct epoll_event events[BATCH];
};

static int open_epoll(struct mc_loop *l)
{
    struct backend *b = malloc(sizeof(*b));
    if (!b)
        return MC_ERROR;
    b->fd = epoll_create1(EPOLL_CLOEXEC);
    if (b->fd < 0) {
        free(b);
        return MC_ERROR;
    }
    l->backend = b;
    return MC_OK;
}

static void close_epoll(struct mc_loop *l)
{
    struct backend *b = l->backend;
    close(b->fd);
    free(b);
    l->backend = NULL;
}

static int control(struct mc_loop *l, int op, struct mc_io *io, uint32_t events)
{
    struct backend *b = l->backend;
    struct epoll_event ev = {.events = events, .data.ptr = io};
    int rc = epoll_ctl(b->fd, op, io->fd, &ev);
    /* A registration that could not be removed, with who knows what for its data: this one replaces it. */
    if (rc < 0 && op == EPOLL_CTL_ADD && errno == EEXIST && epoll_ctl(b->fd, EPOLL_CTL_DEL, io->fd, NULL) == 0)
        rc = epoll_ctl(b->fd, op, io->fd, &ev);
    return rc == 0 ? MC_OK : MC_ERROR;
}

static int set_level(struct mc_loop *l, struct mc_io *io, unsigned want)
{
    uint32_t events = (want & MC_WANT_READ ? EPOLLIN : 0) | (want & MC_WANT_WRITE ? EPOLLOUT : 0);
    if (want == 0)
        return control(l, EPOLL_CTL_DEL, io, 0);
    if (!io->registered)
        return control(l, EPOLL_CTL_ADD, io, events | (io->exclusive ? EPOLLEXCLUSIVE : 0));
    if (!io->exclusive)
        return control(l, EPOLL_CTL_MOD, io, events);
    /* The kernel changes no exclusive registration. */
    if (control(l, EPOLL_CTL_DEL, io, 0) != MC_OK)
        return MC_ERROR;
    io->registered = false;
    return control(l, EPOLL_CTL_ADD, io, events | EPOLLEXCLUSIVE);
}

static int set_io(struct mc_loop *l, struct mc_io *io, unsigned want)
{
    if (io->level)
        return set_level(l, io, want);
    if (io->registered)
        return MC_OK;
    return control(l, EPOLL_CTL_ADD, io, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

/* Explicit, although close() would do it: a copy of the descriptor in a child of the app would keep the registration alive, with a pointer
 * to freed memory. */
static int del_io(struct mc_loop *l, struct mc_io *io)
{
    return control(l, EPOLL_CTL_DEL, io, 0);
}

static uint8_t to_bits(uint32_t events)
{
    unsigned bits = 0;
    if (events & EPOLLIN)
        bits |= MC_WANT_READ;
    if (events & EPOLLOUT)
        bits |= MC_WANT_WRITE;
    if (events & EPOLLRDHUP)
        bits |= MC_WANT_READ | MC_READY_ERROR;
    if (events & (EPOLLERR | EPOLLHUP))
        bits |= MC_WANT_READ | MC_WANT_WRITE | MC_READY_ERROR | MC_READY_HUP;
    return (uint8_t)bits;
}

static int poll_events(struct mc_loop *l, int timeout, struct mc_ready *out, int max)
{
    struct backend *b = l->backend;
    int n = epoll_wait(b->fd, b->events, max < BATCH ? max : BATCH, timeout);
    if (n < 0)
        return errno == EINTR ? 0 : MC_ERROR;
    for (int i = 0; i < n; i++)
        out[i] = (struct mc_ready){.io = b->events[i].data.ptr, .bits = to_bits(b->events[i].events)};
    return n;
}

static int get_fd(struct mc_loop *l)
{
    return ((struct backend *)l->backend)->fd;
}

static const struct mc_event_ops ops = {
    .name = "epoll",
    .open = open_epoll,
    .set = set_io,
    .del = del_io,
    .poll = poll_events,
    .fd = get_fd,
    .close = close_epoll,
};

const struct mc_module mc_module_event_epoll = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "epoll",
    .kind = MC_MODULE_EVENT,
    .ops.event = &ops,
};
