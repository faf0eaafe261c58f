/* Inside worker/greenlet: tasks (a request on a coroutine) and what they wait for. */
#ifndef MC_WORKER_GREENLET_H
#define MC_WORKER_GREENLET_H

#include "core/event/coro.h"
#include "core/server/conn.h"

#include <poll.h>

struct mc_greenlet_group;
struct mc_greenlet_watch;

/* What the worker's data points to. */
struct mc_greenlet {
    struct mc_worker *worker;
    struct mc_coro_pool stacks;
    struct mc_link tasks;  /* all of them */
    struct mc_link woken;  /* those that go on at the end of this turn */
    struct mc_post wake;
    struct mc_greenlet_watch **fds; /* by descriptor */
    size_t nfds;
    bool libc; /* greenlet_libc: calls of libraries wait in the loop */
    bool cut;  /* the worker stops: nobody waits any more */
};

/* Lies on the stack of its coroutine. */
struct mc_greenlet_task {
    struct mc_greenlet *g;
    struct mc_coro *co;
    struct mc_request *request;
    struct mc_link link, woken;
    struct mc_timer timer;
    bool late;     /* the deadline of this wait has passed */
    uint64_t since; /* ms, when it was resumed */
    unsigned cuts; /* waits that were refused since the worker stops */
    bool parked;   /* not running: mc_coro_resume() goes on with it */
    bool dump;     /* when it is resumed: write its stack to the log, and stay */
    struct mc_greenlet_group *group; /* not NULL: a part of its request, which ends before the request does */
    struct mc_link held;             /* mutexes that it has locked, where they are watched (locks.c) */
};

/* The task that this thread is in, or NULL. */
static inline struct mc_greenlet_task *mc_greenlet_task(void)
{
    return mc_coro_current ? mc_coro_data(mc_coro_current) : NULL;
}

/* ---- wait.c ---- */
void mc_greenlet_task_init(struct mc_greenlet_task *t, struct mc_greenlet *g, struct mc_coro *co, struct mc_request *r);
void mc_greenlet_task_fini(struct mc_greenlet_task *t);
void mc_greenlet_wait_init(struct mc_greenlet *g);
void mc_greenlet_wait_fini(struct mc_greenlet *g);
/* Run t until it waits or ends. true: it has ended, t is gone, and its request has gone on (perhaps gone, too) or has one part less. */
bool mc_greenlet_go(struct mc_greenlet_task *t);
/* It goes on at the end of this turn. */
void mc_greenlet_wake(struct mc_greenlet_task *t);
/* From inside a task: until somebody wakes it, whatever for. May wait. */
void mc_greenlet_park(struct mc_greenlet_task *t);
/* The stacks of all that belongs to r, to the error log. By the loop. */
void mc_greenlet_dump(struct mc_request *r);

/* From inside a task: wait until one of these may be ready (events as for poll(); revents are not touched), or until deadline (ms of the loop's
 * clock; 0: none). Entries with fd < 0 or no events count for nothing. May wait.
 * MC_OK: look now (perhaps for nothing), MC_AGAIN: the deadline has passed, MC_ERROR with errno: the worker stops (ECANCELED), no memory, or a
 * descriptor that the loop cannot watch. */
int mc_greenlet_poll(struct mc_greenlet_task *t, const struct pollfd *p, size_t n, uint64_t deadline);
/* The same for the task's own client, which the loop watches already. */
int mc_greenlet_wait_client(struct mc_greenlet_task *t, unsigned what, uint64_t deadline);

/* ---- together.c ---- */
/* From inside a task: fn(args[0]) here, the others on coroutines of their own; until all have returned. Without memory: one after the other. */
void mc_greenlet_together(struct mc_greenlet_task *t, void (*fn)(void *), void *const *args, size_t n);
/* A part has ended. */
void mc_greenlet_part_done(struct mc_greenlet_group *group);

/* ---- locks.c: only in programs built --with-debug ---- */
/* A mutex that a task holds. */
struct mc_greenlet_hold {
    struct mc_link link;
    const void *mutex;
    struct mc_greenlet_task *task;
    unsigned depth;
    bool told;
};

#endif
