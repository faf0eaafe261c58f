/* How a task waits: it leaves its wishes with the loop (descriptors, a timer) and yields; the loop notes what came and, at the end of its turn,
 * resumes those that were woken. Several tasks may wait for one descriptor. Owns the table of watched descriptors. Never runs a handler. */
#include "modules/worker/greenlet/greenlet.h"

#include "core/base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    CUTS_MAX = 100, /* refused waits after which a task that will not end is left behind */
    FEW = 8,        /* wishes without malloc */
};

/* A descriptor that tasks wait for: watched exactly while there are some. */
struct mc_greenlet_watch {
    struct mc_io io;
    struct mc_link wishes;
};

struct wish {
    struct mc_link link;
    struct mc_greenlet_task *task;
    struct mc_greenlet_watch *watch;
    unsigned what;
};

/* ---- tasks ---- */

void mc_greenlet_wake(struct mc_greenlet_task *t)
{
    if (!mc_link_linked(&t->woken)) {
        mc_list_push(&t->g->woken, &t->woken);
        mc_post_add(&t->g->worker->loop, &t->g->wake);
    }
}

static void on_timer(struct mc_timer *timer)
{
    struct mc_greenlet_task *t = timer->data;
    t->late = true;
    mc_greenlet_wake(t);
}

void mc_greenlet_task_init(struct mc_greenlet_task *t, struct mc_greenlet *g, struct mc_coro *co, struct mc_request *r)
{
    *t = (struct mc_greenlet_task){ .g = g, .co = co, .request = r, .since = mc_clock_ms() };
    mc_list_init(&t->held);
    mc_timer_init(&t->timer, on_timer, t);
    mc_list_push(&g->tasks, &t->link);
    mc_coro_set_data(t->co, t);
}

void mc_greenlet_task_fini(struct mc_greenlet_task *t)
{
    if (!mc_list_empty(&t->held)) {
        mc_error("%.*s %.*s has ended with a mutex locked", (int) t->request->head.method.n, t->request->head.method.p,
            (int) t->request->path.n, t->request->path.p);
    }
    while (mc_list_pop(&t->held)) {
    }
    mc_list_remove(&t->link);
    mc_timer_remove(&t->g->worker->loop, &t->timer);
    mc_coro_set_data(t->co, NULL);
}

bool mc_greenlet_go(struct mc_greenlet_task *t)
{
    struct mc_request *r = t->request;
    struct mc_greenlet_group *group = t->group;
    mc_list_remove(&t->woken);
    if (!mc_coro_resume(t->co)) {
        return false;
    }
    if (group) {
        mc_greenlet_part_done(group);
    } else {
        mc_request_return(r);
    }
    return true;
}

void mc_greenlet_park(struct mc_greenlet_task *t)
{
    t->parked = true;
    for (;;) {
        mc_coro_yield();
        if (!t->dump) {
            break;
        }
        mc_worker_backtrace();
        t->dump = false;
    }
    t->parked = false;
    t->since = mc_clock_ms();
}

void mc_greenlet_dump(struct mc_request *r)
{
    struct mc_greenlet *g = r->conn->worker->data;
    struct mc_link *l, *next;
    mc_list_each (&g->tasks, l, next) {
        struct mc_greenlet_task *t = mc_container(l, struct mc_greenlet_task, link);
        if (t->request == r && t->parked) {
            t->dump = true;
            (void) mc_coro_resume(t->co);
        }
    }
}

/* The end of a turn: those that are woken by now. Who is woken meanwhile has the next turn. */
static void on_wake(struct mc_post *p)
{
    struct mc_greenlet *g = p->data;
    struct mc_link batch;
    if (mc_list_empty(&g->woken)) {
        return;
    }
    batch = g->woken;
    batch.next->prev = batch.prev->next = &batch;
    mc_list_init(&g->woken);
    for (struct mc_link *l; (l = mc_list_pop(&batch)) != NULL;) {
        mc_greenlet_go(mc_container(l, struct mc_greenlet_task, woken));
    }
}

/* Nobody waits in a worker that stops. A task that goes on and on nevertheless stays where it is; the process ends without it. */
static int refuse(struct mc_greenlet_task *t)
{
    if (++t->cuts > CUTS_MAX) {
        for (;;) {
            mc_greenlet_park(t);
        }
    }
    errno = ECANCELED;
    return MC_ERROR;
}

static int sleep_until(struct mc_greenlet_task *t, uint64_t deadline)
{
    struct mc_loop *l = &t->g->worker->loop;
    t->late = deadline && deadline <= l->now;
    if (t->late) {
        mc_greenlet_wake(t); /* let the others have a turn, at least */
    } else if (deadline && mc_timer_set(l, &t->timer, deadline - l->now) != MC_OK) {
        errno = ENOMEM;
        return MC_ERROR;
    }
    mc_greenlet_park(t);
    mc_timer_clear(&t->timer);
    if (t->g->cut) {
        return refuse(t);
    }
    return t->late ? MC_AGAIN : MC_OK;
}

/* ---- descriptors ---- */

static void on_fd(struct mc_io *io)
{
    struct mc_greenlet_watch *w = io->data;
    struct mc_link *l, *next;
    mc_list_each (&w->wishes, l, next) {
        struct wish *v = mc_container(l, struct wish, link);
        if (v->what & io->ready) {
            mc_greenlet_wake(v->task);
        }
    }
}

static struct mc_greenlet_watch *watch_of(struct mc_greenlet *g, int fd)
{
    size_t i = (size_t) fd;
    if (i >= g->nfds) {
        size_t n = g->nfds ? g->nfds : 64;
        while (n <= i) {
            n *= 2;
        }
        struct mc_greenlet_watch **p = realloc(g->fds, n * sizeof(struct mc_greenlet_watch *));
        if (p == NULL) {
            return NULL;
        }
        memset(p + g->nfds, 0, (n - g->nfds) * sizeof(struct mc_greenlet_watch *));
        g->fds = p;
        g->nfds = n;
    }
    if (g->fds[i] == NULL) {
        struct mc_greenlet_watch *w = calloc(1, sizeof *w);
        if (w == NULL) {
            return NULL;
        }
        mc_list_init(&w->wishes);
        mc_io_init(&w->io, fd, on_fd, w);
        w->io.level = true;
        g->fds[i] = w;
    }
    return g->fds[i];
}

static unsigned wanted(const struct mc_greenlet_watch *w)
{
    struct mc_link *l, *next;
    unsigned what = 0;
    mc_list_each (&w->wishes, l, next) {
        what |= mc_container(l, struct wish, link)->what;
    }
    return what;
}

static void unwish(struct mc_greenlet *g, struct wish *v)
{
    mc_list_remove(&v->link);
    if (mc_list_empty(&v->watch->wishes)) {
        mc_io_unwatch(&g->worker->loop, &v->watch->io);
    } else {
        mc_io_watch(&g->worker->loop, &v->watch->io, wanted(v->watch)); /* a failure costs wake-ups for nothing */
    }
}

/* MC_OK; MC_DECLINED: always ready, or for the call itself to complain about; MC_ERROR. */
static int wish(struct mc_greenlet_task *t, struct wish *v, int fd, short events)
{
    struct mc_greenlet *g = t->g;
    *v = (struct wish){ .task = t };
    v->what = (events & ~POLLOUT ? MC_WANT_READ : 0u) | (events & POLLOUT ? MC_WANT_WRITE : 0u);
    v->watch = watch_of(g, fd);
    if (v->watch == NULL) {
        errno = ENOMEM;
        return MC_ERROR;
    }
    mc_list_push(&v->watch->wishes, &v->link);
    if (mc_io_watch(&g->worker->loop, &v->watch->io, wanted(v->watch)) == MC_OK) {
        return MC_OK;
    }
    int why = errno;
    mc_list_remove(&v->link);
    errno = why;
    return why == EPERM || why == EBADF ? MC_DECLINED : MC_ERROR;
}

int mc_greenlet_poll(struct mc_greenlet_task *t, const struct pollfd *p, size_t n, uint64_t deadline)
{
    struct wish few[FEW], *v = few;
    size_t made = 0;
    int rc = MC_OK;
    if (t->g->cut) {
        return refuse(t);
    }
    if (n > FEW && (v = calloc(n, sizeof *v)) == NULL) {
        errno = ENOMEM;
        return MC_ERROR;
    }
    for (size_t i = 0; i < n && rc == MC_OK; i++) {
        if (p[i].fd >= 0 && p[i].events != 0) {
            rc = wish(t, &v[made], p[i].fd, p[i].events);
            made += rc == MC_OK;
        }
    }
    if (rc == MC_OK) {
        rc = sleep_until(t, deadline);
    }
    int why = errno;
    for (size_t i = 0; i < made; i++) {
        unwish(t->g, &v[i]);
    }
    if (v != few) {
        free(v);
    }
    errno = why;
    return rc == MC_DECLINED ? MC_OK : rc;
}

/* ---- the client ---- */

static void on_client(struct mc_io *io)
{
    mc_greenlet_wake(io->data);
}

static bool client_ready(struct mc_conn *c, unsigned what)
{
    if ((c->io.ready & what) == 0) {
        return false;
    }
    c->io.ready &= (uint8_t) ~MC_WANT_WRITE; /* this edge is used up: the next one comes when the socket was full again */
    return true;
}

/* The connection is lent to this task, so nobody else needs its events. */
int mc_greenlet_wait_client(struct mc_greenlet_task *t, unsigned what, uint64_t deadline)
{
    struct mc_conn *c = t->request->conn;
    struct mc_io *io = &c->io;
    int rc = MC_OK;
    if (t->g->cut) {
        return refuse(t);
    }
    if (mc_io_watch(&t->g->worker->loop, io, MC_WANT_READ | MC_WANT_WRITE) != MC_OK) {
        return MC_ERROR;
    }
    void (*fn)(struct mc_io *) = io->fn;
    void *data = io->data;
    io->fn = on_client;
    io->data = t;
    while (rc == MC_OK && !client_ready(c, what)) {
        rc = sleep_until(t, deadline);
    }
    io->fn = fn;
    io->data = data;
    return rc;
}

/* ---- start and end ---- */

void mc_greenlet_wait_init(struct mc_greenlet *g)
{
    mc_list_init(&g->tasks);
    mc_list_init(&g->woken);
    mc_post_init(&g->wake, on_wake, g);
}

void mc_greenlet_wait_fini(struct mc_greenlet *g)
{
    for (size_t i = 0; i < g->nfds; i++) {
        if (g->fds[i]) {
            mc_io_unwatch(&g->worker->loop, &g->fds[i]->io);
            free(g->fds[i]);
        }
    }
    free(g->fds);
    mc_post_remove(&g->wake);
}
