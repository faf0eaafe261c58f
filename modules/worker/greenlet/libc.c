/* Cooperative libc, the common part: the next definitions, and how a call of a library waits in the loop. In a program that exports recv(), sleep()
 * and the like, shared libraries use these, because symbols of the program come first. Off a coroutine each of them is one look at a thread
 * variable and the next definition, so the server's own code may use the same names. Program only: never part of the Python extension. */
#include "modules/worker/greenlet/next.h"

#include "core/base/clock.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/time.h>

enum { TURN_MS = 5 };

static struct mc_greenlet_next next;
static bool resolved;

#define RESOLVE(member, name) *(void **) &next.member = dlsym(RTLD_NEXT, name)

__attribute__((constructor)) static void resolve(void)
{
    RESOLVE(read, "read");
    RESOLVE(write, "write");
    RESOLVE(readv, "readv");
    RESOLVE(writev, "writev");
    RESOLVE(recv, "recv");
    RESOLVE(send, "send");
    RESOLVE(recvfrom, "recvfrom");
    RESOLVE(sendto, "sendto");
    RESOLVE(recvmsg, "recvmsg");
    RESOLVE(sendmsg, "sendmsg");
    RESOLVE(connect, "connect");
    RESOLVE(accept, "accept");
    RESOLVE(accept4, "accept4");
    RESOLVE(poll, "poll");
    RESOLVE(ppoll, "ppoll");
    RESOLVE(select, "select");
    RESOLVE(pselect, "pselect");
    RESOLVE(epoll_wait, "epoll_wait");
    RESOLVE(nanosleep, "nanosleep");
    RESOLVE(clock_nanosleep, "clock_nanosleep");
    RESOLVE(usleep, "usleep");
    RESOLVE(sleep, "sleep");
    RESOLVE(getaddrinfo, "getaddrinfo");
    RESOLVE(poll_chk, "__poll_chk");
    RESOLVE(ppoll_chk, "__ppoll_chk");
    RESOLVE(read_chk, "__read_chk");
    RESOLVE(recv_chk, "__recv_chk");
    RESOLVE(recvfrom_chk, "__recvfrom_chk");
    resolved = true;
}

const struct mc_greenlet_next *mc_greenlet_next(void)
{
    if (mc_unlikely(!resolved)) {
        resolve();
    }
    return &next;
}

int mc_greenlet_ready(struct mc_greenlet_task *t, int fd, short events, uint64_t deadline)
{
    struct pollfd p = { .fd = fd, .events = events };
    int rc = mc_greenlet_poll(t, &p, 1, deadline);
    if (rc == MC_AGAIN) {
        errno = EAGAIN;
    }
    return rc == MC_OK ? 0 : -1;
}

int mc_greenlet_sleep(struct mc_greenlet_task *t, uint64_t deadline)
{
    int rc = mc_greenlet_poll(t, NULL, 0, deadline);
    return rc == MC_ERROR ? -1 : 0;
}

uint64_t mc_greenlet_limit(int fd, int option)
{
    struct timeval tv;
    socklen_t n = sizeof tv;
    if (getsockopt(fd, SOL_SOCKET, option, &tv, &n) != 0 || (tv.tv_sec == 0 && tv.tv_usec == 0)) {
        return 0;
    }
    struct timespec ts = { tv.tv_sec, tv.tv_usec * 1000 };
    return mc_greenlet_after(&ts);
}

bool mc_greenlet_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 || (flags & O_NONBLOCK) != 0;
}

void mc_greenlet_fair(struct mc_greenlet_task *t)
{
    int why = errno;
    if (mc_clock_ms() >= t->since + TURN_MS && !t->g->cut) {
        (void) mc_greenlet_poll(t, NULL, 0, 1);
    }
    errno = why;
}

uint64_t mc_greenlet_after(const struct timespec *t)
{
    uint64_t now = mc_clock_ns();
    if ((uint64_t) t->tv_sec > (UINT64_MAX / 2 - now) / 1000000000) {
        return UINT64_MAX / 2000000;
    }
    uint64_t ns = now + (uint64_t) t->tv_sec * 1000000000 + (uint64_t) t->tv_nsec;
    return (ns + 999999) / 1000000;
}
