/* The event loop of a process: descriptors, timers, posts. One thread runs it at a time. Owns no descriptor.
 *
 * Readiness contract: each watched fd is a struct mc_io with sticky `ready` bits. The loop sets bits, and calls fn when a new bit is in `want` (others
 * are only noted); the owner CLEARS a bit when
 * its I/O returned EAGAIN or less than asked. Edge-triggered back ends register a stream once (MC_WANT_READ|MC_WANT_WRITE) and are never called
 * again; level back ends poll for `want & ~ready` only. So the owner that leaves bytes unread keeps the bit set and must come back by itself
 * (post, or when there is room): no event will come for what is already noted. MC_IO_LEVEL ios (listeners, eventfds, channels) are called on
 * each turn while readable, without sticky bits (during the call `ready` tells this event). */
#ifndef MC_EVENT_LOOP_H
#define MC_EVENT_LOOP_H

#include "core/base/base.h"
#include "core/base/heap.h"
#include "core/base/list.h"

enum { MC_WANT_READ = 1, MC_WANT_WRITE = 2, MC_READY_ERROR = 4, /* EPOLLERR|EPOLLHUP|EPOLLRDHUP: also sets READ and WRITE (RDHUP: READ) */
       MC_READY_HUP = 8 /* EPOLLERR|EPOLLHUP: no direction is left, whatever may still be read */ };

struct mc_loop;
struct mc_io;

struct mc_io {
    int fd;
    uint8_t want;  /* what the owner waits for now */
    uint8_t ready; /* sticky, see above */
    bool level;
    bool exclusive; /* level: where the back end can, an event wakes only one of the processes that watch it (EPOLLEXCLUSIVE) */
    bool registered; /* kept by the loop */
    uint32_t slot;   /* private to the back end */
    void (*fn)(struct mc_io *io);
    void *data;
};

struct mc_timer {
    struct mc_heap_node node; /* key: when the heap fires it (ms) */
    uint64_t when;            /* the real deadline; 0 = not set. Later deadlines are stored without touching the heap */
    void (*fn)(struct mc_timer *t);
    void *data;
};

/* Run once at the end of the current turn; adding a queued post does nothing. */
struct mc_post {
    struct mc_link link;
    void (*fn)(struct mc_post *p);
    void *data;
};

struct mc_ready { struct mc_io *io; uint8_t bits; };

struct mc_event_ops {
    const char *name;
    int (*open)(struct mc_loop *l);
    /* Register (when !io->registered) or change an io; a level io with want == 0 is taken out. io->want is still the old one.
     * MC_OK or MC_ERROR with errno. */
    int (*set)(struct mc_loop *l, struct mc_io *io, unsigned want);
    int (*del)(struct mc_loop *l, struct mc_io *io); /* registered ones only */
    /* Wait at most timeout ms (-1 = for ever, 0 = look only); the only function that sleeps. Number of entries, 0 on EINTR,
     * MC_ERROR with errno. */
    int (*poll)(struct mc_loop *l, int timeout, struct mc_ready *out, int max);
    int (*fd)(struct mc_loop *l); /* one fd that is readable when poll(0) would return something, or -1 */
    void (*close)(struct mc_loop *l);
};

struct mc_loop {
    const struct mc_event_ops *ops;
    void *backend;
    uint64_t now, now_us; /* ms and µs: the same reading of the clock, made after each poll at the latest */
    struct mc_heap timers;
    struct mc_link posts;
    struct mc_link gone;  /* ios removed during dispatch are skipped */
    bool stop;
    /* Called round a poll that may really sleep (release and take the GIL; heartbeat states). When set, a poll with timeout 0 comes first. */
    void (*before_sleep)(void *data);
    void (*after_sleep)(void *data);
    void *sleep_data;
    struct mc_ready *ready; /* the batch being dispatched */
    int ready_n, ready_i;
    unsigned long turns, events; /* so far; events that were dispatched */
};

int mc_loop_open(struct mc_loop *l, const struct mc_event_ops *ops);
void mc_loop_close(struct mc_loop *l);
/* One turn: poll (at most max_wait ms, -1 = for ever, less when a timer is due or a post waits), dispatch events, due timers, posts.
 * May sleep. The number of events, or MC_ERROR with errno. Posts added by posts run in the next turn, which does not sleep. */
int mc_loop_turn(struct mc_loop *l, int max_wait);
void mc_loop_run(struct mc_loop *l); /* turns until l->stop. May sleep */
/* How long the next turn may sleep: for foreign loops that watch ops->fd() and have timers of their own. ms, -1 = for ever. */
int mc_loop_timeout(struct mc_loop *l, int max_wait);
uint64_t mc_loop_refresh(struct mc_loop *l); /* re-read the clock into now and now_us; gives now */
void mc_loop_read(struct mc_loop *l, uint64_t us); /* somebody else has read it, as mc_clock_ns() / 1000 */

void mc_io_init(struct mc_io *io, int fd, void (*fn)(struct mc_io *), void *data);
/* Start or change the watch. Cheap when nothing needs to be told to the kernel. MC_OK or MC_ERROR with errno. */
int mc_io_watch(struct mc_loop *l, struct mc_io *io, unsigned want);
void mc_io_unwatch(struct mc_loop *l, struct mc_io *io); /* before the fd is closed; safe inside any callback */

void mc_timer_init(struct mc_timer *t, void (*fn)(struct mc_timer *), void *data);
/* Fire once in `ms` from loop->now (0 counts as 1: never within the turn that sets it). Moving a set timer later costs nothing. MC_OK, or MC_ERROR: out of memory. */
int mc_timer_set(struct mc_loop *l, struct mc_timer *t, uint64_t ms);
/* Lazy: the node may stay in the heap; the function is not called. */
void mc_timer_clear(struct mc_timer *t);
/* Take it out of the heap too: before the memory goes away. */
void mc_timer_remove(struct mc_loop *l, struct mc_timer *t);

void mc_post_init(struct mc_post *p, void (*fn)(struct mc_post *), void *data);
void mc_post_add(struct mc_loop *l, struct mc_post *p);
void mc_post_remove(struct mc_post *p);

#endif
