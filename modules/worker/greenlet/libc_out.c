/* Cooperative libc: what sends bytes and connects. On a blocking descriptor a write returns when all is written, as its owner expects. */
#include "modules/worker/greenlet/next.h"

#include "core/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FEW_PIECES = 16, RETRY_MS = 10 /* a unix listener with a full queue tells nobody when there is room */ };

/* After a try that found no room: 0 = try again, -1 with errno = give up. */
static int wait_output(struct mc_greenlet_task *t, int fd, int flags, uint64_t *deadline)
{
    if ((errno != EAGAIN && errno != EWOULDBLOCK) || (flags & MSG_DONTWAIT) || mc_greenlet_nonblocking(fd)) {
        return -1;
    }
    if (*deadline == 0) {
        *deadline = mc_greenlet_limit(fd, SO_SNDTIMEO);
    }
    return mc_greenlet_ready(t, fd, POLLOUT, *deadline);
}

/* A short write of a non-blocking caller is its own business. */
static bool all_or_wait(int fd, int flags)
{
    return !(flags & MSG_DONTWAIT) && !mc_greenlet_nonblocking(fd);
}

static ssize_t transmit(struct mc_greenlet_task *t, int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t len)
{
    const struct mc_greenlet_next *next = mc_greenlet_next();
    uint64_t deadline = 0;
    size_t put = 0;
    for (;;) {
        ssize_t k = next->sendto(fd, (const char *) buf + put, n - put, flags | MSG_DONTWAIT, addr, len);
        if (k >= 0) {
            put += (size_t) k;
            if (put >= n || !all_or_wait(fd, flags)) {
                return (ssize_t) put;
            }
        } else if (wait_output(t, fd, flags, &deadline) != 0) {
            return put > 0 ? (ssize_t) put : -1;
        }
    }
}

MC_GREENLET_EXPORT ssize_t send(int fd, const void *buf, size_t n, int flags)
{
    struct mc_greenlet_task *t = mc_greenlet_waits();
    return t ? transmit(t, fd, buf, n, flags, NULL, 0) : mc_greenlet_next()->send(fd, buf, n, flags);
}

MC_GREENLET_EXPORT ssize_t sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t len)
{
    struct mc_greenlet_task *t = mc_greenlet_waits();
    return t ? transmit(t, fd, buf, n, flags, addr, len) : mc_greenlet_next()->sendto(fd, buf, n, flags, addr, len);
}

/* ---- several pieces ---- */

static size_t total(const struct iovec *iov, size_t n)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += iov[i].iov_len;
    }
    return sum;
}

static void skip(struct msghdr *m, size_t n)
{
    while (n > 0 && n >= m->msg_iov->iov_len) {
        n -= m->msg_iov->iov_len;
        m->msg_iov++;
        m->msg_iovlen--;
    }
    if (n > 0) {
        m->msg_iov->iov_base = (char *) m->msg_iov->iov_base + n;
        m->msg_iov->iov_len -= n;
    }
}

/* The rest of a message of which `put` bytes are out; iov is ours to change. */
static ssize_t transmit_rest(struct mc_greenlet_task *t, int fd, struct msghdr *m, size_t put, size_t all, int flags)
{
    uint64_t deadline = 0;
    while (put < all) {
        ssize_t k = mc_greenlet_next()->sendmsg(fd, m, flags | MSG_DONTWAIT);
        if (k >= 0) {
            put += (size_t) k;
            skip(m, (size_t) k);
            m->msg_control = NULL; /* went with the first byte */
            m->msg_controllen = 0;
        } else if (wait_output(t, fd, flags, &deadline) != 0) {
            return put > 0 ? (ssize_t) put : -1;
        }
    }
    return (ssize_t) put;
}

static ssize_t transmit_message(struct mc_greenlet_task *t, int fd, const struct msghdr *m, int flags)
{
    struct iovec few[FEW_PIECES], *iov = few;
    size_t all = total(m->msg_iov, m->msg_iovlen);
    ssize_t k = mc_greenlet_next()->sendmsg(fd, m, flags | MSG_DONTWAIT);
    bool rest = k >= 0 ? (size_t) k < all : errno == EAGAIN || errno == EWOULDBLOCK;
    int why = errno;
    if (!rest || !all_or_wait(fd, flags)) {
        errno = why;
        return k;
    }
    if (m->msg_iovlen > FEW_PIECES && (iov = malloc(m->msg_iovlen * sizeof *iov)) == NULL) {
        errno = ENOMEM;
        return k > 0 ? k : -1;
    }
    if (m->msg_iovlen > 0) {
        memcpy(iov, m->msg_iov, m->msg_iovlen * sizeof *iov);
    }
    struct msghdr left = *m;
    left.msg_iov = iov;
    if (k > 0) {
        skip(&left, (size_t) k);
        left.msg_control = NULL;
        left.msg_controllen = 0;
    }
    k = transmit_rest(t, fd, &left, k > 0 ? (size_t) k : 0, all, flags);
    why = errno;
    if (iov != few) {
        free(iov);
    }
    errno = why;
    return k;
}

MC_GREENLET_EXPORT ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    struct mc_greenlet_task *t = mc_greenlet_waits();
    return t ? transmit_message(t, fd, m, flags) : mc_greenlet_next()->sendmsg(fd, m, flags);
}

/* ---- write: any kind of descriptor ---- */

/* A pipe or terminal that is ready takes PIPE_BUF bytes without blocking; others are ready for any write. */
static ssize_t write_pieces(struct mc_greenlet_task *t, int fd, const char *buf, size_t n)
{
    const struct mc_greenlet_next *next = mc_greenlet_next();
    struct pollfd p = { .fd = fd, .events = POLLOUT };
    size_t put = 0;
    do {
        while (next->poll(&p, 1, 0) == 0) {
            if (mc_greenlet_ready(t, fd, POLLOUT, 0) != 0) {
                return put > 0 ? (ssize_t) put : -1;
            }
        }
        ssize_t k = next->write(fd, buf + put, n - put < PIPE_BUF ? n - put : PIPE_BUF);
        if (k < 0) {
            return put > 0 ? (ssize_t) put : -1;
        }
        put += (size_t) k;
    } while (put < n);
    return (ssize_t) put;
}

/* May a write to it block in the middle? */
static bool is_stream(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) && !mc_greenlet_nonblocking(fd);
}

MC_GREENLET_EXPORT ssize_t write(int fd, const void *buf, size_t n)
{
    struct mc_greenlet_task *t = mc_greenlet_waits();
    if (t == NULL) {
        return mc_greenlet_next()->write(fd, buf, n);
    }
    ssize_t k = transmit(t, fd, buf, n, 0, NULL, 0);
    if (k >= 0 || errno != ENOTSOCK) {
        return k;
    }
    return is_stream(fd) ? write_pieces(t, fd, buf, n) : mc_greenlet_next()->write(fd, buf, n);
}

MC_GREENLET_EXPORT ssize_t writev(int fd, const struct iovec *iov, int n)
{
    struct mc_greenlet_task *t = mc_greenlet_waits();
    if (t == NULL || n < 0) {
        return mc_greenlet_next()->writev(fd, iov, n);
    }
    struct msghdr m = { .msg_iov = (struct iovec *) (uintptr_t) iov, .msg_iovlen = (size_t) n };
    ssize_t k = transmit_message(t, fd, &m, 0), put = 0;
    if (k >= 0 || errno != ENOTSOCK) {
        return k;
    }
    if (!is_stream(fd)) {
        return mc_greenlet_next()->writev(fd, iov, n);
    }
    for (int i = 0; i < n; i++) {
        k = iov[i].iov_len ? write_pieces(t, fd, iov[i].iov_base, iov[i].iov_len) : 0;
        if (k < 0) {
            return put > 0 ? put : -1;
        }
        put += k;
        if ((size_t) k < iov[i].iov_len) {
            break;
        }
    }
    return put;
}

/* ---- connect ---- */

/* The outcome is asked for by connect() itself: after a refusal the socket may then be connected again, as after a blocking call. */
static int try_connect(struct mc_greenlet_task *t, int fd, const struct sockaddr *addr, socklen_t len)
{
    uint64_t deadline = mc_greenlet_limit(fd, SO_SNDTIMEO);
    while (mc_greenlet_next()->connect(fd, addr, len) != 0) {
        if (errno == EISCONN) {
            return 0;
        }
        if (errno == EINPROGRESS || errno == EALREADY) {
            if (mc_greenlet_ready(t, fd, POLLOUT, deadline) != 0) {
                errno = errno == EAGAIN ? EINPROGRESS : errno; /* as the kernel's SO_SNDTIMEO has it */
                return -1;
            }
        } else if (errno != EAGAIN || (deadline && mc_clock_ms() >= deadline) || mc_greenlet_sleep(t, mc_clock_ms() + RETRY_MS) != 0) {
            return -1;
        }
    }
    return 0;
}

MC_GREENLET_EXPORT int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    struct mc_greenlet_task *t = mc_greenlet_waits();
    int flags = t ? fcntl(fd, F_GETFL) : -1;
    if (flags < 0 || (flags & O_NONBLOCK) || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        return mc_greenlet_next()->connect(fd, addr, len);
    }
    int rc = try_connect(t, fd, addr, len);
    int why = errno;
    fcntl(fd, F_SETFL, flags);
    errno = why;
    return rc;
}
