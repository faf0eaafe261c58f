/* Timers of loop apps, and posts: calls that other threads of an app ask for, handed over by an eventfd. Worker side: the loop; mc_native_post()
 * on any thread. */
#include "modules/handler/native/native.h"

#include "core/os/fd.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct timer {
    struct monoceros_timer public; /* what the app sees */
    struct mc_timer node;
    struct mc_link link;
    struct mc_native *native;
    void (*fn)(void *data);
    void *data;
};

struct post {
    struct mc_link link;
    struct mc_native *native;
    void (*fn)(void *data);
    void *data;
};

static struct {
    pthread_mutex_t lock;
    struct mc_link posts;
    struct mc_io io;
    bool open;
} self = {.lock = PTHREAD_MUTEX_INITIALIZER, .io.fd = -1};

/* ---- timers ---- */

static struct timer *timer_of(struct monoceros_timer *t)
{
    return mc_container(t, struct timer, public);
}

static void fire(struct mc_timer *node)
{
    struct timer *t = node->data;
    mc_native_note(NULL, t->native, "timer of app ");
    t->fn(t->data); /* may free it */
    mc_native_noted();
}

struct monoceros_timer *mc_native_timer_new(struct monoceros_worker *worker, void (*fn)(void *data), void *data)
{
    struct mc_native *n = mc_native_of(worker);
    struct timer *t = mc_native_blocking(n) ? NULL : calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->public.api = &mc_native_api;
    t->native = n;
    t->fn = fn;
    t->data = data;
    mc_timer_init(&t->node, fire, t);
    mc_list_push(&n->timers, &t->link);
    return &t->public;
}

int mc_native_timer_set(struct monoceros_timer *timer, int64_t ms)
{
    return mc_timer_set(&mc_worker_current->loop, &timer_of(timer)->node, ms < 0 ? 0 : (uint64_t)ms);
}

void mc_native_timer_clear(struct monoceros_timer *timer)
{
    mc_timer_clear(&timer_of(timer)->node);
}

void mc_native_timer_free(struct monoceros_timer *timer)
{
    struct timer *t = timer_of(timer);
    mc_timer_remove(&mc_worker_current->loop, &t->node);
    mc_list_remove(&t->link);
    free(t);
}

void mc_native_drop_timers(struct mc_native *n)
{
    while (!mc_list_empty(&n->timers))
        mc_native_timer_free(&mc_container(n->timers.next, struct timer, link)->public);
}

/* ---- posts ---- */

static struct post *next_post(void)
{
    pthread_mutex_lock(&self.lock);
    struct mc_link *l = mc_list_pop(&self.posts);
    pthread_mutex_unlock(&self.lock);
    return l ? mc_container(l, struct post, link) : NULL;
}

/* Those that are there now; what they post themselves waits for the next turn. */
static void take(struct mc_io *io)
{
    uint64_t count = 0;
    ssize_t got = read(io->fd, &count, sizeof(count));
    for (struct post *p; got > 0 && count > 0 && (p = next_post()); count--) {
        mc_native_note(NULL, p->native, "post of app ");
        p->fn(p->data);
        mc_native_noted();
        free(p);
    }
}

int mc_native_post(struct monoceros_worker *worker, void (*fn)(void *data), void *data)
{
    struct mc_native *n = mc_native_of(worker);
    struct post *p = mc_native_blocking(n) ? NULL : malloc(sizeof(*p));
    if (!p)
        return MONOCEROS_ERROR;
    *p = (struct post){.native = n, .fn = fn, .data = data};
    pthread_mutex_lock(&self.lock);
    bool open = self.open;
    if (open) {
        uint64_t one = 1;
        mc_list_push(&self.posts, &p->link);
        open = write(self.io.fd, &one, sizeof(one)) == (ssize_t)sizeof(one);
        if (!open)
            mc_list_remove(&p->link);
    }
    pthread_mutex_unlock(&self.lock);
    if (!open)
        free(p);
    return open ? MONOCEROS_OK : MONOCEROS_ERROR;
}

int mc_native_loop_open(struct mc_worker *w)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) {
        mc_error("native apps: cannot make an eventfd: %m");
        return MC_ERROR;
    }
    mc_list_init(&self.posts);
    mc_io_init(&self.io, fd, take, NULL);
    self.io.level = true;
    if (mc_io_watch(&w->loop, &self.io, MC_WANT_READ) != MC_OK) {
        mc_error("native apps: cannot watch an eventfd: %m");
        mc_fd_close(&self.io.fd);
        return MC_ERROR;
    }
    self.open = true;
    return MC_OK;
}

void mc_native_loop_close(struct mc_worker *w)
{
    if (!self.open)
        return;
    pthread_mutex_lock(&self.lock);
    self.open = false;
    pthread_mutex_unlock(&self.lock);
    for (struct post *p; (p = next_post());)
        free(p);
    mc_io_unwatch(&w->loop, &self.io);
    mc_fd_close(&self.io.fd);
}
