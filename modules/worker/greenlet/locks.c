/* Mutexes that are held across a wait, in programs built --with-debug: a coroutine that wants one which another coroutine holds would block the thread,
 * and with it the one that could unlock. Here that is told once, with both requests, and the coroutine waits in the loop instead. A recursive
 * mutex knows threads only and would let both in: the same. Condition variables block the thread in any case. Program only. */
#include "modules/worker/greenlet/next.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>

enum { HOLDS = 256, LOOK_MS = 1 };

static struct {
    int (*lock)(pthread_mutex_t *);
    int (*trylock)(pthread_mutex_t *);
    int (*unlock)(pthread_mutex_t *);
} next_lock;

/* Of the coroutines of this thread. A hold that is not in its task's list is free. */
static _Thread_local struct mc_greenlet_hold *holds;
static _Thread_local unsigned nholds;

__attribute__((constructor)) static void resolve(void)
{
    *(void **) &next_lock.trylock = dlsym(RTLD_NEXT, "pthread_mutex_trylock");
    *(void **) &next_lock.unlock = dlsym(RTLD_NEXT, "pthread_mutex_unlock");
    *(void **) &next_lock.lock = dlsym(RTLD_NEXT, "pthread_mutex_lock");
}

static inline void need(void)
{
    if (mc_unlikely(next_lock.lock == NULL)) {
        resolve();
    }
}

static struct mc_greenlet_hold *find(const void *mutex)
{
    for (unsigned i = 0; i < nholds; i++) {
        if (holds[i].mutex == mutex && mc_link_linked(&holds[i].link)) {
            return &holds[i];
        }
    }
    return NULL;
}

/* Where there is no room for one more, it is not watched. */
static void note(struct mc_greenlet_task *t, const void *mutex)
{
    static _Thread_local struct mc_greenlet_hold room[HOLDS];
    struct mc_greenlet_hold *h = find(mutex);
    if (h) {
        h->depth++;
        return;
    }
    holds = room;
    for (unsigned i = 0; i < HOLDS; i++) {
        h = &room[i];
        if (!mc_link_linked(&h->link)) {
            *h = (struct mc_greenlet_hold){ .mutex = mutex, .task = t, .depth = 1 };
            mc_list_push(&t->held, &h->link);
            nholds = i >= nholds ? i + 1 : nholds;
            return;
        }
    }
}

static void forget(const void *mutex)
{
    struct mc_greenlet_hold *h = find(mutex);
    if (h && --h->depth == 0) {
        mc_list_remove(&h->link);
    }
}

static void tell(struct mc_greenlet_hold *h, const struct mc_greenlet_task *wants)
{
    const struct mc_request *a = h->task->request, *b = wants ? wants->request : NULL;
    if (h->told) {
        return;
    }
    h->told = true;
    mc_critical("a mutex (%p) is held across a wait by %.*s %.*s and wanted by %.*s %.*s: a deadlock; unlock before calls that may wait", h->mutex,
        (int) a->head.method.n, a->head.method.p, (int) a->path.n, a->path.p, b ? (int) b->head.method.n : 3, b ? b->head.method.p : "the",
        b ? (int) b->path.n : 4, b ? b->path.p : "loop");
}

/* Until no other coroutine of this thread holds it. Nobody can wait on the loop itself: what follows there is the deadlock. */
static void wait_for_others(struct mc_greenlet_task *t, const void *mutex)
{
    for (struct mc_greenlet_hold *h; (h = find(mutex)) != NULL && h->task != t;) {
        tell(h, t);
        if (t == NULL) {
            return;
        }
        (void) mc_greenlet_poll(t, NULL, 0, t->g->worker->loop.now + LOOK_MS);
    }
}

MC_GREENLET_EXPORT int pthread_mutex_lock(pthread_mutex_t *m)
{
    need();
    if (mc_likely(nholds == 0 && mc_coro_current == NULL)) {
        return next_lock.lock(m);
    }
    struct mc_greenlet_task *t = mc_greenlet_task();
    wait_for_others(t, m);
    int rc = next_lock.lock(m);
    if (t && (rc == 0 || rc == EOWNERDEAD)) {
        note(t, m);
    }
    return rc;
}

MC_GREENLET_EXPORT int pthread_mutex_trylock(pthread_mutex_t *m)
{
    need();
    struct mc_greenlet_task *t = mc_greenlet_task();
    const struct mc_greenlet_hold *h = nholds > 0 ? find(m) : NULL;
    if (h && h->task != t) {
        return EBUSY;
    }
    int rc = next_lock.trylock(m);
    if (t && (rc == 0 || rc == EOWNERDEAD)) {
        note(t, m);
    }
    return rc;
}

MC_GREENLET_EXPORT int pthread_mutex_unlock(pthread_mutex_t *m)
{
    need();
    if (nholds > 0) {
        forget(m);
    }
    return next_lock.unlock(m);
}
