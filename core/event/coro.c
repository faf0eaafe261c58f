/* Coroutines and their stacks (contract: coro.h). Owns the stacks; a coroutine's own data lies at the top of its stack. The switch itself is
 * coro_asm.c's or coro_ucontext.c's. Knows neither loop nor requests. Called by executors, on the worker side. */
#include "core/event/coro.h"

#include "core/event/fiber.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { GUARD = 65536 /* frames with large arrays must not step over it */ };

/* A finished coroutine stays in entry() and takes the next function there: what its lowest frames have on the stack is always alive. */
enum state {
    CORO_FREE,    /* in the pool */
    CORO_READY,   /* has a function, not begun */
    CORO_RUNNING,
    CORO_WAITING, /* has yielded */
    CORO_DONE,    /* its function has returned */
};

struct mc_coro {
    enum state state;
    bool begun; /* entry() is on this stack */
    void *sp, *back; /* contexts: its own, and that of who resumed it */
    void (*fn)(void *);
    void *arg, *data;
    struct mc_coro_pool *pool;
    struct mc_link link;
    char *map;
    struct mc_fiber fiber, outer;
};

_Thread_local struct mc_coro *mc_coro_current;

static void leave(struct mc_coro *co, bool last)
{
    mc_fiber_leave(&co->fiber, &co->outer, last);
    mc_coro_switch(&co->sp, co->back);
    mc_fiber_arrive(&co->fiber, &co->outer);
}

static void entry(void)
{
    struct mc_coro *co = mc_coro_current;
    mc_fiber_arrive(&co->fiber, &co->outer);
    while (co->fn) {
        co->fn(co->arg);
        co->state = CORO_DONE;
        leave(co, false);
    }
    leave(co, true);
    mc_bug(__FILE__, __LINE__, "a coroutine came back from its end");
}

static void enter(struct mc_coro *co)
{
    mc_coro_current = co;
    co->state = CORO_RUNNING;
    co->begun = true;
    mc_fiber_here(&co->outer);
    mc_fiber_leave(&co->outer, &co->fiber, false);
    mc_coro_switch(&co->back, co->sp);
    mc_fiber_arrive(&co->outer, &co->fiber);
    mc_coro_current = NULL;
}

/* ---- stacks ---- */

static struct mc_coro *map_stack(struct mc_coro_pool *p)
{
    size_t all = GUARD + p->size;
    char *map = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) {
        return NULL;
    }
    if (mprotect(map + GUARD, p->size, PROT_READ | PROT_WRITE) != 0) {
        munmap(map, all);
        return NULL;
    }
    madvise(map + GUARD, p->size, MADV_NOHUGEPAGE); /* else neighbours grow together, and each stack costs 2 MiB */
    size_t own = (sizeof(struct mc_coro) + 63) / 64 * 64;
    struct mc_coro *co = (void *) (map + all - own);
    memset(co, 0, sizeof *co);
    co->map = map;
    co->pool = p;
    co->sp = mc_coro_context(map + GUARD, p->size - own, entry);
    mc_fiber_init(&co->fiber, map + GUARD, p->size - own);
    return co;
}

/* An ASan build keeps memory for each stack that has begun: it is freed when the stack is left for the last time. */
static void unmap_stack(struct mc_coro *co)
{
    if (co->begun) {
        co->fn = NULL;
        enter(co);
    }
    struct mc_fiber fiber = co->fiber;
    mc_fiber_fini(&fiber);
    munmap(co->map, GUARD + co->pool->size);
}

static void put(struct mc_coro *co)
{
    struct mc_coro_pool *p = co->pool;
    co->state = CORO_FREE;
    co->data = NULL;
    if (p->nfree >= p->keep) {
        unmap_stack(co);
        return;
    }
    /* The one used last comes first: it is still in the cache. */
    mc_list_push_front(&p->free, &co->link);
    p->nfree++;
}

void mc_coro_pool_init(struct mc_coro_pool *p, size_t size, unsigned keep)
{
    size_t page = (size_t) sysconf(_SC_PAGESIZE);
    size = size < MC_CORO_STACK_MIN ? MC_CORO_STACK_MIN : size;
    *p = (struct mc_coro_pool){ .size = (size + page - 1) / page * page, .keep = keep > 0 ? keep : 1 };
    mc_list_init(&p->free);
}

void mc_coro_pool_fini(struct mc_coro_pool *p)
{
    for (struct mc_link *l; (l = mc_list_pop(&p->free)) != NULL;) {
        unmap_stack(mc_container(l, struct mc_coro, link));
    }
    p->nfree = 0;
}

bool mc_coro_reserve(struct mc_coro_pool *p)
{
    if (mc_likely(p->nfree > 0)) {
        return true;
    }
    struct mc_coro *co = map_stack(p);
    if (co == NULL) {
        return false;
    }
    mc_list_push(&p->free, &co->link);
    p->nfree++;
    return true;
}

/* ---- coroutines ---- */

struct mc_coro *mc_coro_new(struct mc_coro_pool *p, void (*fn)(void *), void *arg)
{
    MC_ASSERT(fn != NULL);
    if (!mc_coro_reserve(p)) {
        return NULL;
    }
    struct mc_coro *co = mc_container(mc_list_pop(&p->free), struct mc_coro, link);
    MC_ASSERT(co->state == CORO_FREE && co->pool == p);
    p->nfree--;
    p->nused++;
    co->state = CORO_READY;
    co->fn = fn;
    co->arg = arg;
    co->data = NULL;
    return co;
}

bool mc_coro_resume(struct mc_coro *co)
{
    MC_ASSERT(mc_coro_current == NULL);
    MC_ASSERT(co->state == CORO_READY || co->state == CORO_WAITING);
    enter(co);
    if (co->state == CORO_WAITING) {
        return false;
    }
    MC_ASSERT(co->state == CORO_DONE);
    co->pool->nused--;
    put(co);
    return true;
}

void mc_coro_yield(void)
{
    struct mc_coro *co = mc_coro_current;
    MC_ASSERT(co != NULL && co->state == CORO_RUNNING);
    co->state = CORO_WAITING;
    leave(co, false);
}

void *mc_coro_data(const struct mc_coro *co)
{
    return co->data;
}

void mc_coro_set_data(struct mc_coro *co, void *data)
{
    co->data = data;
}
