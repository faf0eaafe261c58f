/* Cooperative libc: what takes bytes and connections in. A blocking descriptor stays a blocking one for its owner: sockets are tried with
 * MSG_DONTWAIT, others are asked first, and the task waits in between. */
#include "modules/worker/greenlet/next.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

/* Fortified callers use these names; the headers declare them only for themselves. */
MC_GREENLET_EXPORT ssize_t __read_chk(int fd, void *buf, size_t n, size_t size);
MC_GREENLET_EXPORT ssize_t __recv_chk(int fd, void *buf, size_t n, size_t size, int flags);
MC_GREENLET_EXPORT ssize_t __recvfrom_chk(int fd, void *restrict buf, size_t n, size_t size, int flags, struct sockaddr *restrict addr,
    socklen_t *restrict len);

/* After a try that found nothing: 0 = try again, -1 with errno = give up. *deadline is asked for once. */
static int wait_input(struct mc_greenlet_task *t, int fd, int flags, uint64_t *deadline)
{
    if ((errno != EAGAIN && errno != EWOULDBLOCK) || (flags & (MSG_DONTWAIT | MSG_ERRQUEUE)) || mc_greenlet_nonblocking(fd)) {
        return -1;
    }
    if (*deadline == 0) {
        *deadline = mc_greenlet_limit(fd, SO_RCVTIMEO);
    }
    return mc_greenlet_ready(t, fd, POLLIN, *deadline);
}

static ssize_t receive(struct mc_greenlet_task *t, int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len)
{
    const struct mc_greenlet_next *next = mc_greenlet_next();
    bool whole = (flags & MSG_WAITALL) && !(flags & (MSG_PEEK | MSG_DONTWAIT));
    uint64_t deadline = 0;
    size_t got = 0;
    mc_greenlet_fair(t);
    for (;;) {
        ssize_t k = next->recvfrom(fd, (char *) buf + got, n - got, flags | MSG_DONTWAIT, addr, len);
        if (k > 0) {
            got += (size_t) k;
        }
        if (k == 0 || (k > 0 && (!whole || got >= n))) {
            return (ssize_t) got;
        }
        if (k < 0 && wait_input(t, fd, flags, &deadline) != 0) {
            return got > 0 ? (ssize_t) got : -1;
        }
    }
}

MC_GREENLET_EXPORT ssize_t recv(int fd, void *buf, size_t n, int flags)
{
    struct mc_greenlet_task *t = mc_greenlet_waits();
    return t ? receive(t, fd, buf, n, flags, NULL, NULL) : mc_greenlet_next()->recv(fd, buf, n, flags);
}

MC_GREENLET_EXPORT ssize_t recvfrom(int fd, void *restrict buf, size_t n, int flags, struct sockaddr *restrict addr, socklen_t *restrict len)
{
    struct mc_greenlet_task *t = mc_greenlet_waits();
    return t ? receive(t, fd, buf, n, flags, addr, len) : mc_greenlet_next()->recvfrom(fd, buf, n, flags, addr, len);
}

MC_GREENLET_EXPORT ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
    struct mc_greenlet_task *t = mc_greenlet_waits();
    const struct mc_greenlet_next *next = mc_greenlet_next();
    if (t == NULL) {
        return next->recvmsg(fd, m, flags);
    }
    uint64_t deadline = 0;
    struct msghdr asked = *m;
    for (;;) {
        ssize_t k = next->recvmsg(fd, m, flags | MSG_DONTWAIT);
        if (k >= 0 || wait_input(t, fd, flags, &deadline) != 0) {
            return k;
        }
        *m = asked;
    }
}

/* ---- read: any kind of descriptor ---- */

static bool is_file(int fd)
{
    struct stat st;
    return fstat(fd, &st) != 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode);
}

/* Pipes, terminals, eventfds: 0 = a read will not block, or is plain anyway. */
static int before_read(struct mc_greenlet_task *t, int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    if (is_file(fd)) {
        return 0;
    }
    while (mc_greenlet_next()->poll(&p, 1, 0) == 0 && !mc_greenlet_nonblocking(fd)) {
        if (mc_greenlet_ready(t, fd, POLLIN, 0) != 0) {
            return -1;
        }
    }
    return 0;
}

MC_GREENLET_EXPORT ssize_t read(int fd, void *buf, size_t n)
{
    struct mc_greenlet_task *t = mc_greenlet_waits();
    if (t == NULL) {
        return mc_greenlet_next()->read(fd, buf, n);
    }
    ssize_t k = receive(t, fd, buf, n, 0, NULL, NULL);
    if (k >= 0 || errno != ENOTSOCK) {
        return k;
    }
    return before_read(t, fd) == 0 ? mc_greenlet_next()->read(fd, buf, n) : -1;
}

MC_GREENLET_EXPORT ssize_t readv(int fd, const struct iovec *iov, int n)
{
    struct mc_greenlet_task *t = mc_greenlet_waits();
    if (t == NULL || n < 0) {
        return mc_greenlet_next()->readv(fd, iov, n);
    }
    struct msghdr m = { .msg_iov = (struct iovec *) (uintptr_t) iov, .msg_iovlen = (size_t) n };
    ssize_t k = recvmsg(fd, &m, 0);
    if (k >= 0 || errno != ENOTSOCK) {
        return k;
    }
    return before_read(t, fd) == 0 ? mc_greenlet_next()->readv(fd, iov, n) : -1;
}

/* ---- the fortified names: the check, then as above ---- */

ssize_t __read_chk(int fd, void *buf, size_t n, size_t size)
{
    return n > size || mc_greenlet_waits() == NULL ? mc_greenlet_next()->read_chk(fd, buf, n, size) : read(fd, buf, n);
}

ssize_t __recv_chk(int fd, void *buf, size_t n, size_t size, int flags)
{
    return n > size || mc_greenlet_waits() == NULL ? mc_greenlet_next()->recv_chk(fd, buf, n, size, flags) : recv(fd, buf, n, flags);
}

ssize_t __recvfrom_chk(int fd, void *restrict buf, size_t n, size_t size, int flags, struct sockaddr *restrict addr, socklen_t *restrict len)
{
    if (n > size || mc_greenlet_waits() == NULL) {
        return mc_greenlet_next()->recvfrom_chk(fd, buf, n, size, flags, addr, len);
    }
    return recvfrom(fd, buf, n, flags, addr, len);
}

/* ---- accept ---- */

static int before_accept(int fd)
{
    struct mc_greenlet_task *t = mc_greenlet_waits();
    struct pollfd p = { .fd = fd, .events = POLLIN };
    uint64_t deadline = 0;
    if (t == NULL) {
        return 0;
    }
    while (mc_greenlet_next()->poll(&p, 1, 0) == 0) {
        errno = EAGAIN;
        if (mc_greenlet_nonblocking(fd)) {
            return 0;
        }
        if (wait_input(t, fd, 0, &deadline) != 0) {
            return -1;
        }
    }
    return 0;
}

MC_GREENLET_EXPORT int accept(int fd, struct sockaddr *restrict addr, socklen_t *restrict len)
{
    return before_accept(fd) == 0 ? mc_greenlet_next()->accept(fd, addr, len) : -1;
}

MC_GREENLET_EXPORT int accept4(int fd, struct sockaddr *restrict addr, socklen_t *restrict len, int flags)
{
    return before_accept(fd) == 0 ? mc_greenlet_next()->accept4(fd, addr, len, flags) : -1;
}
