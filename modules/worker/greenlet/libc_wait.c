/* Cooperative libc: what only waits: poll and its family, and sleep. What is ready is always asked of the kernel itself; in between the task
 * waits in the loop. The signal masks of ppoll and pselect are not installed: signals are the server's here. */
#include "modules/worker/greenlet/next.h"

#include "core/base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FEW = 16, AGAIN_MS = 1 /* the loop woke us, but not for what the caller asked (POLLPRI alone): no spinning */ };

MC_GREENLET_EXPORT int __poll_chk(struct pollfd *p, nfds_t n, int timeout, size_t size);
MC_GREENLET_EXPORT int __ppoll_chk(struct pollfd *p, nfds_t n, const struct timespec *timeout, const sigset_t *mask, size_t size);

static uint64_t after_ms(int64_t ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
    return mc_greenlet_after(&t);
}

static bool no_wait(const struct timespec *t)
{
    return t->tv_sec == 0 && t->tv_nsec == 0;
}

static int poll_until(struct mc_greenlet_task *t, struct pollfd *p, nfds_t n, uint64_t deadline)
{
    const struct mc_greenlet_next *next = mc_greenlet_next();
    mc_greenlet_fair(t);
    for (bool woken = false;; woken = true) {
        int k = next->poll(p, n, 0);
        if (k != 0 || (deadline && mc_clock_ms() >= deadline)) {
            return k;
        }
        int rc = woken ? mc_greenlet_sleep(t, mc_clock_ms() + AGAIN_MS) : MC_OK;
        if (rc == MC_OK) {
            rc = mc_greenlet_poll(t, p, n, deadline);
        }
        if (rc == MC_ERROR) {
            return -1;
        }
    }
}

MC_GREENLET_EXPORT int poll(struct pollfd *p, nfds_t n, int timeout)
{
    struct mc_greenlet_task *t = timeout != 0 ? mc_greenlet_waits() : NULL;
    return t ? poll_until(t, p, n, timeout < 0 ? 0 : after_ms(timeout)) : mc_greenlet_next()->poll(p, n, timeout);
}

MC_GREENLET_EXPORT int ppoll(struct pollfd *p, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
    struct mc_greenlet_task *t = timeout && no_wait(timeout) ? NULL : mc_greenlet_waits();
    return t ? poll_until(t, p, n, timeout ? mc_greenlet_after(timeout) : 0) : mc_greenlet_next()->ppoll(p, n, timeout, mask);
}

int __poll_chk(struct pollfd *p, nfds_t n, int timeout, size_t size)
{
    return n > size / sizeof *p || mc_greenlet_waits() == NULL ? mc_greenlet_next()->poll_chk(p, n, timeout, size) : poll(p, n, timeout);
}

int __ppoll_chk(struct pollfd *p, nfds_t n, const struct timespec *timeout, const sigset_t *mask, size_t size)
{
    bool plain = n > size / sizeof *p || mc_greenlet_waits() == NULL;
    return plain ? mc_greenlet_next()->ppoll_chk(p, n, timeout, mask, size) : ppoll(p, n, timeout, mask);
}

/* ---- select ---- */

struct sets {
    fd_set *in, *out, *err;
};

/* The sets as poll wants them. The number of entries; p has room for n. */
static nfds_t to_poll(int n, const struct sets *s, struct pollfd *p)
{
    nfds_t k = 0;
    for (int fd = 0; fd < n; fd++) {
        short events = (short) ((s->in && FD_ISSET(fd, s->in) ? POLLIN : 0) | (s->out && FD_ISSET(fd, s->out) ? POLLOUT : 0)
            | (s->err && FD_ISSET(fd, s->err) ? POLLPRI : 0));
        if (events) {
            p[k++] = (struct pollfd){ .fd = fd, .events = events };
        }
    }
    return k;
}

/* What the kernel looks at of a set: whole words. */
static size_t set_bytes(int n)
{
    return ((size_t) n + 8 * sizeof(long) - 1) / (8 * sizeof(long)) * sizeof(long);
}

/* select() without waiting; the sets are changed only when something is ready or wrong. */
static int look(int n, const struct sets *s)
{
    struct timeval zero = { 0, 0 };
    fd_set *theirs[] = { s->in, s->out, s->err }, copy[MC_COUNT(theirs)];
    if (n < 0 || n > FD_SETSIZE) {
        errno = EINVAL;
        return -1;
    }
    for (size_t i = 0; i < MC_COUNT(theirs); i++) {
        FD_ZERO(&copy[i]);
        if (theirs[i]) {
            memcpy(&copy[i], theirs[i], set_bytes(n));
        }
    }
    int k = mc_greenlet_next()->select(n, &copy[0], &copy[1], &copy[2], &zero);
    for (size_t i = 0; i < MC_COUNT(theirs) && k > 0; i++) {
        if (theirs[i]) {
            memcpy(theirs[i], &copy[i], set_bytes(n));
        }
    }
    return k;
}

static void clear(int n, const struct sets *s)
{
    fd_set *all[] = { s->in, s->out, s->err };
    for (size_t i = 0; i < MC_COUNT(all); i++) {
        if (all[i]) {
            memset(all[i], 0, set_bytes(n));
        }
    }
}

static int select_until(struct mc_greenlet_task *t, int n, const struct sets *s, uint64_t deadline)
{
    struct pollfd few[FEW], *p = few;
    if (n > FEW && (p = calloc((size_t) n, sizeof *p)) == NULL) {
        errno = ENOMEM;
        return -1;
    }
    nfds_t count = n >= 0 && n <= FD_SETSIZE ? to_poll(n, s, p) : 0;
    int k;
    for (bool woken = false;; woken = true) {
        k = look(n, s);
        if (k != 0) {
            break;
        }
        if (deadline && mc_clock_ms() >= deadline) {
            clear(n, s);
            break;
        }
        if ((woken && mc_greenlet_sleep(t, mc_clock_ms() + AGAIN_MS) != 0) || mc_greenlet_poll(t, p, count, deadline) == MC_ERROR) {
            k = -1;
            break;
        }
    }
    int why = errno;
    if (p != few) {
        free(p);
    }
    errno = why;
    return k;
}

MC_GREENLET_EXPORT int select(int n, fd_set *restrict in, fd_set *restrict out, fd_set *restrict err, struct timeval *restrict timeout)
{
    struct timespec ts = timeout ? (struct timespec){ timeout->tv_sec, timeout->tv_usec * 1000 } : (struct timespec){ 0, 0 };
    struct mc_greenlet_task *t = timeout && no_wait(&ts) ? NULL : mc_greenlet_waits();
    if (t == NULL || ts.tv_sec < 0 || ts.tv_nsec < 0) {
        return mc_greenlet_next()->select(n, in, out, err, timeout);
    }
    uint64_t start = mc_clock_ns();
    int k = select_until(t, n, &(struct sets){ in, out, err }, timeout ? mc_greenlet_after(&ts) : 0);
    if (timeout) { /* Linux tells what is left */
        int64_t left = (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000 - (int64_t) ((mc_clock_ns() - start) / 1000);
        left = left > 0 ? left : 0;
        *timeout = (struct timeval){ (time_t) (left / 1000000), (suseconds_t) (left % 1000000) };
    }
    return k;
}

MC_GREENLET_EXPORT int pselect(int n, fd_set *restrict in, fd_set *restrict out, fd_set *restrict err, const struct timespec *restrict timeout,
    const sigset_t *restrict mask)
{
    struct mc_greenlet_task *t = timeout && no_wait(timeout) ? NULL : mc_greenlet_waits();
    if (t == NULL) {
        return mc_greenlet_next()->pselect(n, in, out, err, timeout, mask);
    }
    return select_until(t, n, &(struct sets){ in, out, err }, timeout ? mc_greenlet_after(timeout) : 0);
}

/* ---- epoll: the set is a descriptor like any other ---- */

MC_GREENLET_EXPORT int epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
    const struct mc_greenlet_next *next = mc_greenlet_next();
    struct mc_greenlet_task *t = timeout != 0 ? mc_greenlet_waits() : NULL;
    if (t == NULL) {
        return next->epoll_wait(fd, events, max, timeout);
    }
    struct pollfd p = { .fd = fd, .events = POLLIN };
    uint64_t deadline = timeout < 0 ? 0 : after_ms(timeout);
    for (;;) {
        int k = next->epoll_wait(fd, events, max, 0);
        if (k != 0 || (deadline && mc_clock_ms() >= deadline)) {
            return k;
        }
        if (mc_greenlet_poll(t, &p, 1, deadline) == MC_ERROR) {
            return -1;
        }
    }
}

/* ---- sleep ---- */

static bool is_time(const struct timespec *t)
{
    return t->tv_sec >= 0 && t->tv_nsec >= 0 && t->tv_nsec < 1000000000;
}

/* 0, or EINTR: the worker stops. */
static int sleep_for(struct mc_greenlet_task *t, const struct timespec *time, struct timespec *left)
{
    if (mc_greenlet_sleep(t, mc_greenlet_after(time)) == 0) {
        return 0;
    }
    if (left) {
        *left = *time;
    }
    return EINTR;
}

MC_GREENLET_EXPORT int nanosleep(const struct timespec *time, struct timespec *left)
{
    struct mc_greenlet_task *t = mc_greenlet_waits();
    if (t == NULL || !is_time(time)) {
        return mc_greenlet_next()->nanosleep(time, left);
    }
    int rc = sleep_for(t, time, left);
    if (rc != 0) {
        errno = rc;
    }
    return rc == 0 ? 0 : -1;
}

MC_GREENLET_EXPORT int clock_nanosleep(clockid_t id, int flags, const struct timespec *time, struct timespec *left)
{
    struct mc_greenlet_task *t = mc_greenlet_waits();
    struct timespec now, span = *time;
    if (t == NULL || !is_time(time) || (id != CLOCK_REALTIME && id != CLOCK_MONOTONIC)) {
        return mc_greenlet_next()->clock_nanosleep(id, flags, time, left);
    }
    if ((flags & TIMER_ABSTIME) == 0) {
        return sleep_for(t, &span, left);
    }
    clock_gettime(id, &now);
    span.tv_sec -= now.tv_sec;
    span.tv_nsec -= now.tv_nsec;
    if (span.tv_nsec < 0) {
        span.tv_nsec += 1000000000;
        span.tv_sec--;
    }
    return span.tv_sec < 0 ? 0 : sleep_for(t, &span, NULL);
}

MC_GREENLET_EXPORT int usleep(useconds_t us)
{
    struct timespec time = { us / 1000000, (long) (us % 1000000) * 1000 };
    return mc_greenlet_waits() ? nanosleep(&time, NULL) : mc_greenlet_next()->usleep(us);
}

MC_GREENLET_EXPORT unsigned sleep(unsigned seconds)
{
    struct timespec time = { (time_t) seconds, 0 };
    if (mc_greenlet_waits() == NULL) {
        return mc_greenlet_next()->sleep(seconds);
    }
    return nanosleep(&time, NULL) == 0 ? 0 : seconds;
}
