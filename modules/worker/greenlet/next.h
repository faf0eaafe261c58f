/* Inside worker/greenlet: the C library's own functions behind the names that this program exports (libc*.c). Program only. */
#ifndef MC_WORKER_GREENLET_NEXT_H
#define MC_WORKER_GREENLET_NEXT_H

/* Fortified headers define recv() and others themselves, inline; here they are defined for real. So this header comes first. */
#undef _FORTIFY_SOURCE

#include "modules/worker/greenlet/greenlet.h"

#include <netdb.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

/* What the next definition of each name is: a sanitizer's, or the C library's. */
struct mc_greenlet_next {
    ssize_t (*read)(int, void *, size_t);
    ssize_t (*write)(int, const void *, size_t);
    ssize_t (*readv)(int, const struct iovec *, int);
    ssize_t (*writev)(int, const struct iovec *, int);
    ssize_t (*recv)(int, void *, size_t, int);
    ssize_t (*send)(int, const void *, size_t, int);
    ssize_t (*recvfrom)(int, void *, size_t, int, struct sockaddr *, socklen_t *);
    ssize_t (*sendto)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
    ssize_t (*recvmsg)(int, struct msghdr *, int);
    ssize_t (*sendmsg)(int, const struct msghdr *, int);
    int (*connect)(int, const struct sockaddr *, socklen_t);
    int (*accept)(int, struct sockaddr *, socklen_t *);
    int (*accept4)(int, struct sockaddr *, socklen_t *, int);
    int (*poll)(struct pollfd *, nfds_t, int);
    int (*ppoll)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
    int (*select)(int, fd_set *, fd_set *, fd_set *, struct timeval *);
    int (*pselect)(int, fd_set *, fd_set *, fd_set *, const struct timespec *, const sigset_t *);
    int (*epoll_wait)(int, struct epoll_event *, int, int);
    int (*nanosleep)(const struct timespec *, struct timespec *);
    int (*clock_nanosleep)(clockid_t, int, const struct timespec *, struct timespec *);
    int (*usleep)(useconds_t);
    unsigned (*sleep)(unsigned);
    int (*getaddrinfo)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    int (*poll_chk)(struct pollfd *, nfds_t, int, size_t);
    int (*ppoll_chk)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *, size_t);
    ssize_t (*read_chk)(int, void *, size_t, size_t);
    ssize_t (*recv_chk)(int, void *, size_t, size_t, int);
    ssize_t (*recvfrom_chk)(int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *);
};

/* Never NULL members: resolved before main(), or by the first call if a library's start comes before. */
const struct mc_greenlet_next *mc_greenlet_next(void);

/* The task that must wait in the loop instead of the process; NULL: the call is a plain one. */
static inline struct mc_greenlet_task *mc_greenlet_waits(void)
{
    if (mc_likely(mc_coro_current == NULL)) {
        return NULL;
    }
    struct mc_greenlet_task *t = mc_greenlet_task();
    return t && t->g->libc ? t : NULL;
}

/* Wait until fd is ready (events), at most until deadline. 0, or -1 with errno (EAGAIN: the deadline). */
int mc_greenlet_ready(struct mc_greenlet_task *t, int fd, short events, uint64_t deadline);
/* Until deadline. 0, or -1 with errno. */
int mc_greenlet_sleep(struct mc_greenlet_task *t, uint64_t deadline);
/* What SO_RCVTIMEO or SO_SNDTIMEO of a socket allow from now on; 0: no limit. */
uint64_t mc_greenlet_limit(int fd, int option);
bool mc_greenlet_nonblocking(int fd);
/* Before what need not wait: a task that always finds something ready lets the others have a turn now and then. May wait. */
void mc_greenlet_fair(struct mc_greenlet_task *t);
/* Deadline in ms of the loop's clock, rounded up, so that nobody wakes early. */
uint64_t mc_greenlet_after(const struct timespec *t);

/* On what this program exports; everything else is hidden. */
#define MC_GREENLET_EXPORT __attribute__((visibility("default")))

#endif
