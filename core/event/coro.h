/* Stackful coroutines: a function on a stack of its own that can stop in the middle and be resumed by the loop. A coroutine belongs to the
 * thread that started it. Only the thread's own stack resumes coroutines: they never resume each other.
 *
 * Stacks come from mmap with a guard area below, so that an overflow is a fault instead of somebody else's data; they are used again. A
 * coroutine must not throw or longjmp out of its function. */
#ifndef MC_EVENT_CORO_H
#define MC_EVENT_CORO_H

#include "core/base/base.h"
#include "core/base/list.h"

struct mc_coro;

enum { MC_CORO_STACK_MIN = 65536 };

/* Stacks of one size, for one thread. */
struct mc_coro_pool {
    size_t size;      /* bytes of a stack, whole pages */
    unsigned keep;    /* free stacks that are kept */
    struct mc_link free;
    unsigned nfree, nused;
};

/* The coroutine that this thread runs on, or NULL: the thread's own stack. */
extern _Thread_local struct mc_coro *mc_coro_current;

/* size is rounded up to pages and to MC_CORO_STACK_MIN. Maps nothing yet. */
void mc_coro_pool_init(struct mc_coro_pool *p, size_t size, unsigned keep);
/* Unmap the free stacks. Coroutines in use stay as they are: nobody may resume them any more. */
void mc_coro_pool_fini(struct mc_coro_pool *p);
/* Is a free stack at hand? Maps one when there is none. */
bool mc_coro_reserve(struct mc_coro_pool *p);

/* A coroutine that will run fn(arg), or NULL with errno: no stack. */
struct mc_coro *mc_coro_new(struct mc_coro_pool *p, void (*fn)(void *), void *arg);
/* Run it until it yields (false) or has ended (true: its stack is back in the pool, co is gone). Not from a coroutine. */
bool mc_coro_resume(struct mc_coro *co);
/* On a coroutine: back to who resumed it. Returns when it is resumed. */
void mc_coro_yield(void);

/* A pointer of the owner's, NULL at first. */
void *mc_coro_data(const struct mc_coro *co);
void mc_coro_set_data(struct mc_coro *co, void *data);

/* ---- coro_*.c: one of them for each machine ---- */
/* Keep the present context in *save and go on in `to`. */
void mc_coro_switch(void **save, void *to);
/* A context that begins with fn() on this stack; fn never returns. */
void *mc_coro_context(void *stack, size_t size, void (*fn)(void));

#endif
