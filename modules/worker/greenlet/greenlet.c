/* Worker type `greenlet`: each blocking handler runs on a coroutine of its own. When it waits, the loop goes on; when what it waits for is there,
 * it goes on where it was. One thread, so a handler is never interrupted anywhere else. Native apps only: Python checks its stack and must
 * never run on these. wait.c knows how to wait, libc*.c lets libraries wait that know nothing of this. Knows nothing of HTTP. Worker side. */
#include "modules/worker/greenlet/greenlet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { KEEP_MAX = 1024 /* free stacks: a few touched pages each */ };

static int start(struct mc_worker *w)
{
    const struct mc_values *set = &w->pool->set;
    struct mc_greenlet *g;
    if (w->pool->python) {
        return MC_OK; /* a hub executes its requests: modules/python puts its operations in the place of these */
    }
    g = calloc(1, sizeof *g);
    if (g == NULL) {
        return MC_ERROR;
    }
    int64_t keep = set->worker_connections < KEEP_MAX ? set->worker_connections : KEEP_MAX;
    mc_coro_pool_init(&g->stacks, (size_t) set->greenlet_stack, (unsigned) keep);
    mc_greenlet_wait_init(g);
    g->worker = w;
    g->libc = set->greenlet_libc;
    w->data = g;
    w->dump = mc_greenlet_dump;
    if (!mc_coro_reserve(&g->stacks)) {
        mc_critical("cannot map a stack of %zu bytes: %s", g->stacks.size, strerror(errno));
        return MC_ERROR;
    }
    return MC_OK;
}

/* Without memory for one more stack it waits until one comes back; the first one was there from the start. */
static unsigned room(struct mc_worker *w)
{
    struct mc_greenlet *g = w->data;
    unsigned most = (unsigned) w->pool->set.worker_connections;
    return w->nrunning < most && mc_coro_reserve(&g->stacks) ? most - w->nrunning : 0;
}

static void execute(void *arg)
{
    struct mc_request *r = arg;
    struct mc_greenlet_task t;
    mc_greenlet_task_init(&t, r->conn->worker->data, mc_coro_current, r);
    mc_request_execute(r);
    mc_greenlet_task_fini(&t);
}

/* Ends at once, or with the connection lent: then wait.c gives it back. */
static void run(struct mc_request *r)
{
    struct mc_greenlet *g = r->conn->worker->data;
    mc_request_lend(r);
    struct mc_coro *co = mc_coro_new(&g->stacks, execute, r);
    MC_ASSERT(co != NULL); /* room() has seen to it */
    if (mc_coro_resume(co)) {
        mc_request_unlend(r);
    }
}

/* Requests in flight see their waits fail and end; those that do not end are left where they are. The youngest first: parts end before their wholes. */
static void cut(struct mc_greenlet *g)
{
    struct mc_link tasks = g->tasks;
    unsigned left = 0;
    if (mc_list_empty(&g->tasks)) {
        return;
    }
    g->cut = true;
    tasks.next->prev = tasks.prev->next = &tasks;
    mc_list_init(&g->tasks);
    while (!mc_list_empty(&tasks)) {
        struct mc_greenlet_task *t = mc_container(tasks.prev, struct mc_greenlet_task, link);
        bool whole = t->group == NULL;
        mc_list_remove(&t->link);
        if (!mc_greenlet_go(t)) {
            left += whole;
        }
    }
    if (left > 0) {
        mc_warn("%u requests do not end although their waits fail: left behind", left);
    }
}

static void serve(struct mc_worker *w)
{
    while (!w->stopped) {
        mc_worker_turn(w, true);
    }
    cut(w->data);
}

static int wait_client(struct mc_request *r, unsigned what, uint64_t deadline)
{
    struct mc_greenlet_task *t = mc_greenlet_task();
    MC_ASSERT(t != NULL && t->request == r);
    return mc_greenlet_wait_client(t, what, deadline);
}

static int wait_fd(struct mc_request *r, int fd, unsigned what, uint64_t deadline)
{
    struct mc_greenlet_task *t = mc_greenlet_task();
    struct pollfd p = { .fd = fd };
    p.events = (short) ((what & MC_WANT_READ ? POLLIN : 0) | (what & MC_WANT_WRITE ? POLLOUT : 0));
    MC_ASSERT(t != NULL && t->request == r);
    if (fd >= 0 && fd == r->conn->io.fd) {
        return mc_greenlet_wait_client(t, what, deadline);
    }
    if ((fd < 0 || what == 0) && deadline == 0) {
        deadline = 1; /* long past: only let the others have a turn */
    }
    return mc_greenlet_poll(t, &p, 1, deadline);
}

static void together(struct mc_request *r, void (*fn)(void *), void *const *args, size_t n)
{
    struct mc_greenlet_task *t = mc_greenlet_task();
    MC_ASSERT(t != NULL && t->request == r);
    mc_greenlet_together(t, fn, args, n);
}

/* Tasks are woken by what they wait for. */
static void wake(struct mc_request *r)
{
    (void) r;
}

static void stop(struct mc_worker *w)
{
    struct mc_greenlet *g = w->data;
    if (g == NULL) {
        return;
    }
    mc_greenlet_wait_fini(g);
    mc_coro_pool_fini(&g->stacks);
    free(g);
    w->data = NULL;
}

static const struct mc_worker_ops ops = {
    .name = "greenlet",
    .caps = MC_CAP_BLOCKING | MC_CAP_KEEPALIVE,
    .start = start,
    .room = room,
    .run = run,
    .serve = serve,
    .wait = wait_client,
    .wait_fd = wait_fd,
    .wake = wake,
    .stop = stop,
    .together = together,
};

const struct mc_module mc_module_worker_greenlet = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "greenlet",
    .kind = MC_MODULE_WORKER,
    .takes = MC_NEED_BLOCKING,
    .ops.worker = &ops,
};
