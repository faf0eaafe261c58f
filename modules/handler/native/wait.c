/* What blocking apps wait with, and how a request does several things at once (contracts: app.h). The worker module decides how: mc_worker_wait_fd(). Sockets here are the app's own, never a
 * client's; each try is one that does not block. Worker side, by whoever executes the request. */
#include "modules/handler/native/native.h"

#include "core/base/clock.h"
#include "core/event/wait.h"

#include <errno.h>
#include <unistd.h>

enum { RETRY_MS = 10 };

static uint64_t deadline_of(int64_t ms)
{
    return ms < 0 ? 0 : mc_clock_ms() + (uint64_t)ms;
}

static int wait_until(struct mc_native_call *c, int fd, unsigned what, uint64_t deadline)
{
    return mc_worker_wait_fd(c->r, fd, what, deadline);
}

static bool may_wait(const struct mc_native_call *c)
{
    if (mc_native_blocking(c->native))
        return true;
    errno = EDEADLK;
    return false;
}

int mc_native_wait(struct monoceros_request *q, int fd, unsigned what, int64_t ms)
{
    struct mc_native_call *c = mc_native_call(q);
    if (!may_wait(c))
        return MONOCEROS_ERROR;
    if (ms == 0 && fd >= 0)
        return mc_wait_fd(fd, what, 1); /* only looks */
    return wait_until(c, fd, what, deadline_of(ms));
}

/* MC_OK, MC_AGAIN: try again in a moment (the queue of a unix listener is full), MC_ERROR. */
static int try_connect(struct mc_native_call *c, int fd, const struct sockaddr *to, socklen_t n, uint64_t deadline)
{
    if (connect(fd, to, n) == 0)
        return MC_OK;
    if (errno == EAGAIN)
        return MC_AGAIN;
    if (errno != EINPROGRESS && errno != EINTR)
        return MC_ERROR;
    int why = 0;
    socklen_t len = sizeof(why);
    int rc = wait_until(c, fd, MC_WANT_WRITE, deadline);
    if (rc != MC_OK) {
        errno = ETIMEDOUT;
        return rc == MC_AGAIN ? 1 : rc;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len) == 0 && why == 0)
        return MC_OK;
    errno = why ? why : errno;
    return MC_ERROR;
}

int mc_native_connect(struct monoceros_request *q, const struct sockaddr *to, socklen_t n, int64_t ms)
{
    struct mc_native_call *c = mc_native_call(q);
    uint64_t deadline = deadline_of(ms);
    if (!may_wait(c))
        return MONOCEROS_ERROR;
    int fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return MONOCEROS_ERROR;
    int rc;
    while ((rc = try_connect(c, fd, to, n, deadline)) == MC_AGAIN) {
        uint64_t now = mc_clock_ms();
        if (deadline && now >= deadline) {
            rc = 1;
            break;
        }
        if (wait_until(c, -1, 0, now + RETRY_MS) == MC_ERROR) {
            rc = MC_ERROR;
            break;
        }
    }
    if (rc == MC_OK)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return rc > 0 ? MONOCEROS_AGAIN : MONOCEROS_ERROR;
}

ssize_t mc_native_recv(struct monoceros_request *q, int fd, void *p, size_t n, int64_t ms)
{
    struct mc_native_call *c = mc_native_call(q);
    uint64_t deadline = deadline_of(ms);
    if (!may_wait(c))
        return MONOCEROS_ERROR;
    for (;;) {
        ssize_t got = recv(fd, p, n, MSG_DONTWAIT);
        if (got >= 0)
            return got;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            return MONOCEROS_ERROR;
        int rc = wait_until(c, fd, MC_WANT_READ, deadline);
        if (rc != MC_OK)
            return rc;
    }
}

int mc_native_send(struct monoceros_request *q, int fd, const void *p, size_t n, int64_t ms)
{
    struct mc_native_call *c = mc_native_call(q);
    const char *from = p;
    uint64_t deadline = deadline_of(ms);
    if (!may_wait(c))
        return MONOCEROS_ERROR;
    while (n > 0) {
        ssize_t put = send(fd, from, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (put >= 0) {
            from += put;
            n -= (size_t)put;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN && errno != EWOULDBLOCK)
            return MONOCEROS_ERROR;
        int rc = wait_until(c, fd, MC_WANT_WRITE, deadline);
        if (rc != MC_OK)
            return rc;
    }
    return MONOCEROS_OK;
}

int mc_native_together(struct monoceros_request *q, void (*fn)(void *data), void *const *data, size_t n)
{
    struct mc_native_call *c = mc_native_call(q);
    if (!may_wait(c))
        return MONOCEROS_ERROR;
    c->together++;
    mc_worker_together(c->r, fn, data, n);
    c->together--;
    return MONOCEROS_OK;
}
