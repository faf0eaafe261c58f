/* Worker type `gthread`: `threads` blocking handlers at a time, on threads + 1 threads, of which one leads: it has the loop. The process's first
 * thread is none of them, so that it can end the process whatever the others do.
 *
 * Leader and followers. The leader turns the loop and runs ready requests itself while calls are short: no hand-off, no wake-up. After slow calls it
 * passes the loop on to a follower before it calls. And when a call that was expected to be short is not, a follower that watches takes the loop away
 * after 5 ms. So the loop never stands still for longer, and a pool of fast calls costs what one thread costs.
 *
 * `hold` is the loop's ownership in one word: epoch << 1, plus 1 while the leader is inside a call (only then it may be taken); 0 = free.
 * Knows nothing of HTTP, nothing of Python. Worker side. */
#include "core/base/clock.h"
#include "core/base/small.h"
#include "core/os/fd.h"
#include "core/server/conn.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    TAKE_MS = 5,       /* a call longer than this loses the loop */
    WATCH_IDLE = 40,   /* looks without a new call after which the watcher goes to sleep */
    BURST_US = 1000,   /* run ready requests for so long before the loop has its turn */
    LEAVE_MS = 100,    /* at a stop: what threads inside apps get */
    VISIT_MS = 1000,
};

struct gthread {
    struct mc_worker *worker;
    unsigned threads;
    _Atomic uint64_t hold;
    _Atomic uint64_t calls;      /* made by leaders: tells a watcher one long call from many */
    _Atomic bool watched;        /* a follower looks at the leader every TAKE_MS */
    _Atomic unsigned waiting;    /* followers at rest */
    pthread_mutex_t lock;
    pthread_cond_t wake, left;
    uint64_t epoch;              /* of the last leader; under lock */
    bool watching;               /* under lock */
    unsigned alive;              /* threads that have not left yet; under lock */
    struct mc_link done;         /* requests whose thread does not lead; under lock */
    _Atomic unsigned ndone;      /* so many; written under lock */
    int bell;                    /* eventfd: something is done, or the end */
    struct mc_io bell_io;
};

/* ---- requests that come back ---- */

static void on_bell(struct mc_io *io)
{
    uint64_t n;
    (void) !read(io->fd, &n, sizeof n);
}

static void ring(struct gthread *g)
{
    uint64_t one = 1;
    (void) !write(g->bell, &one, sizeof one);
}

/* From a thread that has lost the loop. */
static void give_back(struct gthread *g, struct mc_request *r)
{
    pthread_mutex_lock(&g->lock);
    mc_list_push(&g->done, &r->done);
    g->ndone++;
    pthread_mutex_unlock(&g->lock);
    ring(g);
}

/* Most turns have none. One that is not seen yet has its bell still to ring. */
static void take_back(struct gthread *g)
{
    while (g->ndone > 0) {
        pthread_mutex_lock(&g->lock);
        struct mc_link *l = mc_list_pop(&g->done);
        g->ndone--;
        pthread_mutex_unlock(&g->lock);
        mc_request_return(mc_container(l, struct mc_request, done));
    }
}

/* ---- the leader ---- */

/* Also when no follower rests just now: one that comes back in a moment must know. */
static void need_watcher(struct gthread *g)
{
    if (mc_likely(g->watched)) {
        return;
    }
    pthread_mutex_lock(&g->lock);
    g->watched = true;
    pthread_cond_signal(&g->wake);
    pthread_mutex_unlock(&g->lock);
}

static void pass_on(struct gthread *g)
{
    pthread_mutex_lock(&g->lock);
    g->hold = 0;
    pthread_cond_signal(&g->wake);
    pthread_mutex_unlock(&g->lock);
}

/* Run r. true: this thread still leads. */
static bool call(struct gthread *g, struct mc_request *r, uint64_t mine)
{
    mc_request_lend(r);
    if (!g->worker->fast && g->waiting > 0) {
        pass_on(g);
    } else {
        atomic_fetch_add_explicit(&g->calls, 1, memory_order_relaxed);
        atomic_store(&g->hold, mine | 1); /* before the look at `watched`, as the watcher writes that before it looks at `hold` */
        need_watcher(g);
        mc_request_execute(r);
        uint64_t expected = mine | 1;
        if (mc_likely(atomic_compare_exchange_strong(&g->hold, &expected, mine))) {
            mc_request_return(r);
            return true;
        }
        give_back(g, r);
        return false;
    }
    mc_request_execute(r);
    give_back(g, r);
    return false;
}

static void lead(struct gthread *g, uint64_t mine)
{
    struct mc_worker *w = g->worker;
    while (!w->stopped) {
        take_back(g);
        if (!mc_list_empty(&w->ready)) { /* the turn took its time, too */
            mc_loop_refresh(&w->loop);
        }
        uint64_t start = w->loop.now_us;
        struct mc_request *r;
        while ((r = mc_worker_next(w)) != NULL) {
            if (!call(g, r, mine)) {
                return;
            }
            if (w->loop.now_us - start > BURST_US) {
                break;
            }
        }
        bool more = !mc_list_empty(&w->ready) && w->ops->room(w) > 0;
        mc_worker_turn(w, !more);
    }
    pthread_mutex_lock(&g->lock);
    g->hold = 0;
    pthread_cond_broadcast(&g->wake);
    pthread_cond_signal(&g->left);
    pthread_mutex_unlock(&g->lock);
}

/* ---- the followers ---- */

static struct timespec after(unsigned ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += (long) (ms % 1000) * 1000000;
    t.tv_sec += ms / 1000 + t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

static void rest(struct gthread *g, unsigned ms)
{
    g->waiting++;
    if (ms == 0) {
        pthread_cond_wait(&g->wake, &g->lock);
    } else {
        struct timespec t = after(ms);
        pthread_cond_timedwait(&g->wake, &g->lock, &t);
    }
    g->waiting--;
}

/* One follower at a time looks whether the leader is stuck in the same call at two looks in a row; then the loop is its own. Called with the
 * lock. The new hold, or 0: nothing happened. */
static uint64_t watch(struct gthread *g)
{
    uint64_t hold = 0, calls = 0, mine = 0;
    unsigned idle = 0;
    g->watching = true;
    while (!g->worker->stopped && g->watched && mine == 0) {
        rest(g, TAKE_MS);
        uint64_t now = g->hold, count = g->calls;
        if (now == 0) {
            break;
        }
        if ((now & 1) && now == hold && count == calls) {
            uint64_t next = (g->epoch + 1) << 1;
            if (atomic_compare_exchange_strong(&g->hold, &now, next)) {
                g->epoch++;
                mine = next;
            }
        }
        idle = count == calls ? idle + 1 : 0;
        if (idle > WATCH_IDLE && !(now & 1)) {
            g->watched = false;
            g->watched = (g->hold & 1) != 0; /* a call that began meanwhile has seen a watcher */
        }
        hold = now;
        calls = count;
    }
    g->watching = false;
    return mine;
}

/* The hold of this thread as the new leader, or 0: the worker stops. */
static uint64_t follow(struct gthread *g)
{
    uint64_t mine = 0;
    pthread_mutex_lock(&g->lock);
    while (!g->worker->stopped && mine == 0) {
        if (g->hold == 0) {
            mine = ++g->epoch << 1;
            g->hold = mine;
        } else if (g->watched && !g->watching) {
            mine = watch(g);
        } else {
            rest(g, 0);
        }
    }
    if (mine && g->watched) {
        pthread_cond_signal(&g->wake); /* another one watches from now on */
    }
    pthread_mutex_unlock(&g->lock);
    return mine;
}

static void thread_main(void *arg)
{
    struct gthread *g = arg;
    uint64_t mine;
    while ((mine = follow(g)) != 0) {
        lead(g, mine);
    }
    mc_block_trim();
    mc_small_trim();
    pthread_mutex_lock(&g->lock);
    g->alive--;
    pthread_cond_signal(&g->left);
    pthread_mutex_unlock(&g->lock);
}

/* ---- start and end ---- */

struct birth {
    void (*fn)(void *);
    void *arg;
};

static void *plain_main(void *arg)
{
    struct birth b = *(struct birth *) arg;
    free(arg);
    b.fn(b.arg);
    return NULL;
}

static int plain_spawn(void (*fn)(void *), void *arg, unsigned number)
{
    pthread_t id;
    char name[16];
    struct birth *b = malloc(sizeof *b);
    if (b == NULL) {
        return MC_ERROR;
    }
    *b = (struct birth){ fn, arg };
    int rc = pthread_create(&id, NULL, plain_main, b);
    if (rc != 0) {
        free(b);
        errno = rc;
        return MC_ERROR;
    }
    snprintf(name, sizeof name, "gthread-%u", number);
    pthread_setname_np(id, name);
    pthread_detach(id);
    return MC_OK;
}

static int start(struct mc_worker *w)
{
    struct gthread *g = calloc(1, sizeof *g);
    if (g == NULL) {
        return MC_ERROR;
    }
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->wake, &attr);
    pthread_cond_init(&g->left, &attr);
    pthread_condattr_destroy(&attr);
    mc_list_init(&g->done);
    g->worker = w;
    g->threads = w->pool->set.threads > 0 ? (unsigned) w->pool->set.threads : 1;
    g->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->data = g;
    if (g->bell < 0) {
        mc_critical("cannot make an eventfd: %s", strerror(errno));
        return MC_ERROR;
    }
    mc_io_init(&g->bell_io, g->bell, on_bell, g);
    g->bell_io.level = true;
    return mc_io_watch(&w->loop, &g->bell_io, MC_WANT_READ);
}

static unsigned room(struct mc_worker *w)
{
    struct gthread *g = w->data;
    unsigned taken = w->nrunning + w->nstuck;
    return taken < g->threads ? g->threads - taken : 0;
}

/* The number of threads that are there. */
static unsigned make_threads(struct gthread *g)
{
    struct mc_worker *w = g->worker;
    int (*spawn)(void (*)(void *), void *, unsigned) = w->spawn ? w->spawn : plain_spawn;
    unsigned made = 0;
    g->hold = ++g->epoch << 1; /* until all are there */
    g->alive = g->threads + 1;
    while (made <= g->threads && spawn(thread_main, g, made + 1) == MC_OK) {
        made++;
    }
    if (made <= g->threads) {
        mc_error("cannot start thread %u of %u: %s", made + 1, g->threads + 1, strerror(errno));
        pthread_mutex_lock(&g->lock);
        g->alive = made;
        pthread_mutex_unlock(&g->lock);
        g->threads = made > 1 ? made - 1 : 1;
    }
    return made;
}

/* What is left to the first thread while the others serve. */
static void look_after(struct gthread *g)
{
    struct mc_worker *w = g->worker;
    while (!w->stopped) {
        struct timespec t = after(VISIT_MS);
        if (w->visit) {
            w->visit(w);
        }
        pthread_mutex_lock(&g->lock);
        while (!w->stopped && pthread_cond_timedwait(&g->left, &g->lock, &t) == 0) {
        }
        pthread_mutex_unlock(&g->lock);
    }
}

static void serve(struct mc_worker *w)
{
    struct gthread *g = w->data;
    unsigned made = make_threads(g);
    if (w->release) {
        w->release();
    }
    if (made > 0) {
        pass_on(g);
        look_after(g);
    }
    struct timespec until = after(LEAVE_MS);
    pthread_mutex_lock(&g->lock);
    while (g->alive > 0 && pthread_cond_timedwait(&g->left, &g->lock, &until) == 0) {
    }
    unsigned stuck = g->alive;
    pthread_mutex_unlock(&g->lock);
    if (w->acquire) {
        w->acquire();
    }
    w->left_behind = stuck;
    if (stuck > 0) {
        mc_warn("%u thread%s still inside the app: left behind", stuck, stuck == 1 ? " is" : "s are");
    } else {
        take_back(g);
    }
}

/* Inside a handler, on its thread. */
static int wait_ready(struct mc_request *r, unsigned what, uint64_t deadline)
{
    struct mc_worker *w = r->conn->worker;
    struct pollfd p = { .fd = r->conn->io.fd, .events = (short) ((what & MC_WANT_READ ? POLLIN : 0) | (what & MC_WANT_WRITE ? POLLOUT : 0)) };
    int rc = MC_AGAIN;
    if (w->release) {
        w->release();
    }
    while (rc == MC_AGAIN) {
        uint64_t now = mc_clock_ms();
        if (w->stopped) {
            rc = MC_ERROR;
            break;
        }
        if (deadline && now >= deadline) {
            break;
        }
        int n = poll(&p, 1, deadline && deadline - now < 1000 ? (int) (deadline - now) : 1000);
        if (n > 0) {
            rc = p.revents & (POLLERR | POLLNVAL) ? MC_ERROR : MC_OK;
        } else if (n < 0 && errno != EINTR) {
            rc = MC_ERROR;
        }
    }
    if (w->acquire) {
        w->acquire();
    }
    return rc;
}

static void wake(struct mc_request *r)
{
    ring(r->conn->worker->data);
}

static void stop(struct mc_worker *w)
{
    struct gthread *g = w->data;
    if (g == NULL) {
        return;
    }
    mc_io_unwatch(&w->loop, &g->bell_io);
    mc_fd_close(&g->bell);
    free(g);
    w->data = NULL;
}

static const struct mc_worker_ops ops = {
    .name = "gthread",
    .caps = MC_CAP_BLOCKING | MC_CAP_KEEPALIVE | MC_CAP_THREADS,
    .start = start,
    .room = room,
    .serve = serve,
    .wait = wait_ready,
    .wake = wake,
    .stop = stop,
};

const struct mc_module mc_module_worker_gthread = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "gthread",
    .kind = MC_MODULE_WORKER,
    .ops.worker = &ops,
    .takes = MC_NEED_BLOCKING | MC_NEED_PYTHON,
};
