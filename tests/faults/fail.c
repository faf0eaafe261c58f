/* For LD_PRELOAD: lets one system or library call fail. FAIL=NAME names it, FAIL_ERRNO=N says how, and which calls of a process fail is
 * FAIL_NTH=N (only the Nth), FAIL_EACH=N (each Nth) or all; FAIL_WHILE=PATH: only while this file exists. FAIL=clock shifts the time of day.
 * Built and used by the tests. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t m, size_t n);
void *__libc_realloc(void *p, size_t n);

static char name[32], gate[4096]; /* copies: the server overwrites its environment with its title */
static long nth, each;
static int error;
static atomic_long calls;

static long number(const char *variable)
{
    const char *text = getenv(variable);
    return text ? atol(text) : 0;
}

__attribute__((constructor)) static void start(void)
{
    const char *what = getenv("FAIL"), *file = getenv("FAIL_WHILE");
    nth = number("FAIL_NTH");
    each = number("FAIL_EACH");
    error = (int)number("FAIL_ERRNO");
    snprintf(gate, sizeof(gate), "%s", file ? file : "");
    snprintf(name, sizeof(name), "%s", what ? what : "");
}

static int fails(const char *what)
{
    if (strcmp(what, name) != 0 || (gate[0] && access(gate, F_OK) != 0))
        return 0;
    long call = atomic_fetch_add(&calls, 1) + 1;
    if ((nth && call != nth) || (each && call % each != 0))
        return 0;
    errno = error;
    return 1;
}

#define WRAP(type, call, wrong, params, args)                                                                                          \
    type call params                                                                                                                   \
    {                                                                                                                                  \
        static type(*real) params;                                                                                                     \
        if (!real)                                                                                                                     \
            *(void **)&real = dlsym(RTLD_NEXT, #call);                                                                                 \
        return fails(#call) ? wrong : real args;                                                                                       \
    }

WRAP(int, accept4, -1, (int fd, struct sockaddr *a, socklen_t *n, int flags), (fd, a, n, flags))
WRAP(ssize_t, recv, -1, (int fd, void *p, size_t n, int flags), (fd, p, n, flags))
WRAP(ssize_t, send, -1, (int fd, const void *p, size_t n, int flags), (fd, p, n, flags))
WRAP(ssize_t, recvmsg, -1, (int fd, struct msghdr *m, int flags), (fd, m, flags))
WRAP(ssize_t, sendmsg, -1, (int fd, const struct msghdr *m, int flags), (fd, m, flags))
WRAP(ssize_t, read, -1, (int fd, void *p, size_t n), (fd, p, n))
WRAP(ssize_t, write, -1, (int fd, const void *p, size_t n), (fd, p, n))
WRAP(ssize_t, pread, -1, (int fd, void *p, size_t n, off_t at), (fd, p, n, at))
WRAP(ssize_t, pwrite, -1, (int fd, const void *p, size_t n, off_t at), (fd, p, n, at))
WRAP(int, epoll_ctl, -1, (int fd, int op, int of, struct epoll_event *e), (fd, op, of, e))
WRAP(int, socketpair, -1, (int family, int type, int protocol, int fds[2]), (family, type, protocol, fds))
WRAP(int, eventfd, -1, (unsigned n, int flags), (n, flags))
WRAP(pid_t, fork, -1, (void), ())
WRAP(void *, mmap, MAP_FAILED, (void *p, size_t n, int prot, int flags, int fd, off_t at), (p, n, prot, flags, fd, at))

/* dlsym() itself allocates. */
void *malloc(size_t n)
{
    return fails("malloc") ? NULL : __libc_malloc(n);
}

void *calloc(size_t m, size_t n)
{
    return fails("malloc") ? NULL : __libc_calloc(m, n);
}

void *realloc(void *p, size_t n)
{
    return fails("malloc") ? NULL : __libc_realloc(p, n);
}

/* FAIL=clock: the time of day is shifted by as many seconds as FAIL_WHILE says. */
static time_t shift(void)
{
    char text[32] = "";
    if (strcmp(name, "clock") != 0)
        return 0;
    FILE *file = fopen(gate, "r");
    if (file) {
        (void)!fgets(text, sizeof(text), file);
        fclose(file);
    }
    return atol(text);
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    int rc = (int)syscall(SYS_clock_gettime, id, t);
    if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        t->tv_sec += shift();
    return rc;
}

time_t time(time_t *to)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (to)
        *to = t.tv_sec;
    return t.tv_sec;
}

int gettimeofday(struct timeval *t, void *zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return 0;
}
