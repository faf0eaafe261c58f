/* Blocking calls of the C library, untouched. GET /meet/CALL/N returns when N requests are inside CALL at the same time: the last one lets the
 * others go. Where a blocked call blocks the whole worker, nobody ever returns. GET /contract checks what a blocking descriptor promises.
 * GET /most tells how many requests were inside at once. Built with _FORTIFY_SOURCE, so sizes that the compiler cannot see reach __recv_chk etc. */
#include "modules/handler/native/app.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { GUESTS = 256, LARGE = 1 << 20 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int guests[GUESTS], nguests, inside, most;
static volatile int arrived;
static volatile size_t one = 1; /* a size that the compiler does not know */

/* ---- calls that wait for a byte ---- */

static int by_recv(int fd) { char b[8]; return recv(fd, b, one, 0) == 1; }
static int by_recvfrom(int fd) { char b[8]; return recvfrom(fd, b, one, 0, NULL, NULL) == 1; }
static int by_read(int fd) { char b[8]; return read(fd, b, one) == 1; }
static int by_readv(int fd)
{
    char a, b;
    struct iovec v[2] = { { &a, 1 }, { &b, 1 } };
    return readv(fd, v, 2) == 1;
}
static int by_recvmsg(int fd)
{
    char b;
    struct iovec v = { &b, 1 };
    struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
    return recvmsg(fd, &m, 0) == 1;
}
static int by_poll(int fd)
{
    struct pollfd p[2] = { { -1, POLLIN, 0 }, { fd, POLLIN, 0 } };
    return poll(p, (nfds_t) one + 1, -1) == 1 && (p[1].revents & POLLIN);
}
static int by_ppoll(int fd)
{
    struct pollfd p[2] = { { fd, POLLIN, 0 }, { -1, 0, 0 } };
    struct timespec t = { 60, 0 };
    return ppoll(p, (nfds_t) one, &t, NULL) == 1;
}
static int by_select(int fd)
{
    fd_set in;
    struct timeval t = { 60, 0 };
    FD_ZERO(&in);
    FD_SET(fd, &in);
    return select(fd + 1, &in, NULL, NULL, &t) == 1 && FD_ISSET(fd, &in) && t.tv_sec < 60;
}
static int by_pselect(int fd)
{
    fd_set in;
    FD_ZERO(&in);
    FD_SET(fd, &in);
    return pselect(fd + 1, &in, NULL, NULL, NULL, NULL) == 1 && FD_ISSET(fd, &in);
}
static int by_epoll(int fd)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.fd = fd };
    int ep = epoll_create1(0), ok = epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) == 0 && epoll_wait(ep, &ev, 1, -1) == 1 && ev.data.fd == fd;
    close(ep);
    return ok;
}

/* ---- calls that wait for room; the last guest reads ---- */

static char large[LARGE];

static int by_send(int fd) { return send(fd, large, LARGE, MSG_NOSIGNAL) == LARGE; }
static int by_sendto(int fd) { return sendto(fd, large, LARGE, MSG_NOSIGNAL, NULL, 0) == LARGE; }
static int by_write(int fd) { return write(fd, large, LARGE) == LARGE; }
static int by_writev(int fd)
{
    struct iovec v[3] = { { large, 1 }, { large + 1, LARGE - 2 }, { large + LARGE - 1, 1 } };
    return writev(fd, v, 3) == LARGE;
}
static int by_sendmsg(int fd)
{
    struct iovec v[2] = { { large, LARGE / 2 }, { large + LARGE / 2, LARGE / 2 } };
    struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };
    return sendmsg(fd, &m, MSG_NOSIGNAL) == LARGE;
}

static const struct call {
    const char *name;
    int (*fn)(int fd);
    char kind; /* s: socket, p: pipe, e: eventfd (8 bytes); capitals: the last guest reads */
} calls[] = {
    { "recv", by_recv, 's' }, { "recvfrom", by_recvfrom, 's' }, { "recvmsg", by_recvmsg, 's' }, { "read", by_read, 's' }, { "readv", by_readv, 's' },
    { "poll", by_poll, 's' }, { "ppoll", by_ppoll, 's' }, { "select", by_select, 's' }, { "pselect", by_pselect, 's' }, { "epoll_wait", by_epoll, 's' },
    { "read-pipe", by_read, 'p' }, { "readv-pipe", by_readv, 'p' }, { "poll-pipe", by_poll, 'p' },
    { "send", by_send, 'S' }, { "sendto", by_sendto, 'S' }, { "sendmsg", by_sendmsg, 'S' }, { "write", by_write, 'S' }, { "writev", by_writev, 'S' },
    { "write-pipe", by_write, 'P' }, { "writev-pipe", by_writev, 'P' },
};

static int drain(int fd)
{
    static __thread char sink[65536];
    for (size_t left = LARGE; left > 0;) {
        ssize_t n = read(fd, sink, sizeof sink);
        if (n <= 0) {
            return 0;
        }
        left -= (size_t) n;
    }
    return 1;
}

/* The last one: everybody has arrived. */
static int release(const struct call *c, const int *others, int n)
{
    int ok = 1;
    for (int i = 0; i < n; i++) {
        if (c->kind == 's' || c->kind == 'p') {
            ok &= write(others[i], "x", 1) == 1;
        } else {
            ok &= drain(others[i]);
        }
        close(others[i]);
    }
    return ok;
}

static int meet(const struct call *c, int n)
{
    int ends[2], others[GUESTS], ok, last;
    if (c->kind == 's' || c->kind == 'S' ? socketpair(AF_UNIX, SOCK_STREAM, 0, ends) : pipe(ends)) {
        return 0;
    }
    int mine = c->kind == 'P' ? ends[1] : ends[0], other = c->kind == 'P' ? ends[0] : ends[1];
    pthread_mutex_lock(&lock);
    last = nguests + 1 == n;
    if (last) {
        memcpy(others, guests, sizeof(int) * (size_t) nguests);
        nguests = 0;
    } else {
        guests[nguests++] = other;
    }
    pthread_mutex_unlock(&lock);
    if (last) {
        ok = release(c, others, n - 1);
        close(other);
    } else {
        ok = c->fn(mine);
    }
    close(mine);
    return ok;
}

/* ---- calls that only let time pass ---- */

static void pause_by(const char *name)
{
    struct timespec t = { 0, 1000000 }, now;
    if (strcmp(name, "usleep") == 0) {
        usleep(1000);
    } else if (strcmp(name, "nanosleep") == 0) {
        nanosleep(&t, NULL);
    } else if (strcmp(name, "clock_nanosleep") == 0) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        now.tv_sec += 1;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &now, NULL);
    } else if (strcmp(name, "sleep") == 0) {
        sleep(1);
    } else {
        struct addrinfo *found = NULL;
        if (getaddrinfo("localhost", "80", NULL, &found) == 0) {
            freeaddrinfo(found);
        }
    }
}

static int meet_in_time(const char *name, int n)
{
    static int left;
    pthread_mutex_lock(&lock);
    arrived++;
    pthread_mutex_unlock(&lock);
    while (arrived < n) {
        pause_by(name);
    }
    pthread_mutex_lock(&lock);
    if (++left == n) {
        left = arrived = 0;
    }
    pthread_mutex_unlock(&lock);
    return 1;
}

/* ---- connect and accept ---- */

static int meet_in_connect(int n)
{
    static int listener = -1, count;
    static struct sockaddr_un at = { .sun_family = AF_UNIX };
    int ok = 1, fd = socket(AF_UNIX, SOCK_STREAM, 0);
    pthread_mutex_lock(&lock);
    if (count == 0) {
        snprintf(at.sun_path + 1, sizeof at.sun_path - 1, "meet-%ld-%d", (long) getpid(), fd);
        listener = socket(AF_UNIX, SOCK_STREAM, 0);
        ok = bind(listener, (struct sockaddr *) &at, sizeof at) == 0 && listen(listener, 0) == 0;
    }
    int last = ++count == n;
    pthread_mutex_unlock(&lock);
    if (!last) {
        ok &= connect(fd, (struct sockaddr *) &at, sizeof at) == 0 && !(fcntl(fd, F_GETFL) & O_NONBLOCK);
    } else {
        for (int i = 1; i < n; i++) {
            int k = accept(listener, NULL, NULL);
            ok &= k >= 0;
            close(k);
        }
        close(listener);
        count = 0;
    }
    close(fd);
    return ok;
}

/* ---- the contract of blocking descriptors ---- */

#define CHECK(x)          \
    if (!(x)) {           \
        return __LINE__;  \
    }

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static int timeouts(void)
{
    int sv[2];
    char b[16];
    struct timeval tv = { 0, 50000 };
    struct pollfd p;
    double start = seconds();
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0);
    CHECK(setsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv) == 0 && setsockopt(sv[0], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv) == 0);
    CHECK(recv(sv[0], b, sizeof b, 0) == -1 && errno == EAGAIN && seconds() - start >= 0.04); /* the kernel counts in ticks, up to 10 ms short */
    CHECK(read(sv[0], b, sizeof b) == -1 && errno == EAGAIN);
    ssize_t put = send(sv[0], large, LARGE, 0);
    CHECK(put > 0 && put < LARGE);
    CHECK(send(sv[0], large, LARGE, 0) == -1 && errno == EAGAIN);
    start = seconds();
    p = (struct pollfd){ sv[0], POLLIN, 0 };
    CHECK(poll(&p, 1, 30) == 0 && seconds() - start >= 0.03);
    CHECK(poll(&p, 1, 0) == 0 && poll(NULL, 0, 5) == 0);
    start = seconds();
    CHECK(usleep(1500) == 0 && seconds() - start >= 0.0015);
    close(sv[0]);
    close(sv[1]);
    return 0;
}

static int pieces(void)
{
    int sv[2], pp[2];
    char b[16];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0 && pipe(pp) == 0);
    CHECK(send(sv[1], "abc", 3, 0) == 3 && recv(sv[0], b, 2, MSG_PEEK) == 2 && recv(sv[0], b, sizeof b, 0) == 3 && memcmp(b, "abc", 3) == 0);
    CHECK(recv(sv[0], b, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN);
    CHECK(fcntl(sv[0], F_SETFL, O_NONBLOCK) == 0 && recv(sv[0], b, 1, 0) == -1 && errno == EAGAIN && read(sv[0], b, 1) == -1 && errno == EAGAIN);
    ssize_t put = send(sv[0], large, LARGE, 0);
    CHECK(put > 0 && put < LARGE); /* a short write is the caller's */
    CHECK(fcntl(pp[0], F_SETFL, O_NONBLOCK) == 0 && read(pp[0], b, 1) == -1 && errno == EAGAIN);
    CHECK(read(-1, b, 1) == -1 && errno == EBADF && send(-1, b, 1, 0) == -1 && errno == EBADF && recv(pp[0], b, 1, 0) == -1 && errno == ENOTSOCK);
    close(sv[1]);
    CHECK(send(sv[0], b, 1, MSG_NOSIGNAL) == -1 && (errno == EPIPE || errno == ECONNRESET));
    close(pp[1]);
    CHECK(read(pp[0], b, 1) == 0);
    close(sv[0]);
    close(pp[0]);
    return 0;
}

static void *send_slowly(void *arg)
{
    for (int i = 0; i < 5; i++) {
        struct timespec t = { 0, 2000000 };
        nanosleep(&t, NULL); /* off any coroutine */
        if (send(*(int *) arg, "ab", 2, 0) != 2) {
            return NULL;
        }
    }
    return NULL;
}

static int whole(void)
{
    int sv[2];
    char b[16] = "";
    pthread_t id;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0 && pthread_create(&id, NULL, send_slowly, &sv[1]) == 0);
    CHECK(recv(sv[0], b, 10, MSG_WAITALL) == 10 && strcmp(b, "ababababab") == 0);
    pthread_join(id, NULL);
    close(sv[1]);
    CHECK(recv(sv[0], b, 10, MSG_WAITALL) == 0);
    close(sv[0]);
    return 0;
}

static int files(void)
{
    char name[] = "/tmp/meet-XXXXXX", b[8] = "";
    struct iovec v[2] = { { "ab", 2 }, { "cd", 2 } };
    uint64_t n = 7;
    int fd = mkstemp(name), ev = eventfd(0, 0);
    CHECK(fd >= 0 && unlink(name) == 0 && write(fd, "12", 2) == 2 && writev(fd, v, 2) == 4 && lseek(fd, 0, SEEK_SET) == 0);
    CHECK(read(fd, b, 8) == 6 && memcmp(b, "12abcd", 6) == 0 && read(fd, b, 8) == 0);
    CHECK(write(ev, &n, sizeof n) == sizeof n && read(ev, &n, sizeof n) == sizeof n && n == 7);
    close(fd);
    close(ev);
    return 0;
}

static int names(void)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found = NULL;
    CHECK(getaddrinfo("127.0.0.1", "80", &hints, &found) == 0 && found);
    freeaddrinfo(found);
    CHECK(getaddrinfo("localhost", "80", &hints, &found) == 0 && found);
    freeaddrinfo(found);
    hints.ai_flags = AI_NUMERICHOST;
    CHECK(getaddrinfo("localhost", "80", &hints, &found) == EAI_NONAME);
    return 0;
}

/* A refused TCP connect tells so, and the descriptor is as it was. */
static int refused(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof at;
    int l = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(l, (struct sockaddr *) &at, sizeof at) == 0 && getsockname(l, (struct sockaddr *) &at, &n) == 0);
    CHECK(connect(fd, (struct sockaddr *) &at, sizeof at) == -1 && errno == ECONNREFUSED && !(fcntl(fd, F_GETFL) & O_NONBLOCK));
    CHECK(listen(l, 5) == 0 && connect(fd, (struct sockaddr *) &at, sizeof at) == 0 && !(fcntl(fd, F_GETFL) & O_NONBLOCK));
    int k = accept4(l, NULL, NULL, SOCK_CLOEXEC);
    CHECK(k >= 0);
    close(k);
    close(fd);
    close(l);
    return 0;
}

static int (*const contracts[])(void) = { timeouts, pieces, whole, files, names, refused };

/* ---- never a reason to wait ---- */

static volatile bool enough;

static int busy(const char *name)
{
    int sv[2], ok = socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0;
    struct pollfd p = { sv[1], POLLIN, 0 };
    char b;
    enough = false;
    while (ok && !enough) {
        ok = send(sv[0], "x", 1, 0) == 1 && (strcmp(name, "poll") != 0 || poll(&p, 1, -1) == 1);
        ok = ok && recv(sv[1], &b, 1, strcmp(name, "poll") == 0 ? MSG_DONTWAIT : 0) == 1;
    }
    close(sv[0]);
    close(sv[1]);
    return ok;
}

/* ---- requests ---- */

static int answer(struct monoceros_request *req, const char *text)
{
    monoceros_status(req, 200);
    return monoceros_end(req, text, strlen(text));
}

static int call(const char *name, int n)
{
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        if (strcmp(calls[i].name, name) == 0) {
            return meet(&calls[i], n);
        }
    }
    return strcmp(name, "connect") == 0 ? meet_in_connect(n) : meet_in_time(name, n);
}

static int handle(struct monoceros_request *req)
{
    char text[64], name[32];
    int n;
    const char *path = monoceros_copy(req, monoceros_path(req));
    pthread_mutex_lock(&lock);
    most = ++inside > most ? inside : most;
    pthread_mutex_unlock(&lock);
    if (sscanf(path, "/meet/%31[a-z0-9_-]/%d", name, &n) == 2 && n > 0 && n <= GUESTS) {
        snprintf(text, sizeof text, "%s\n", call(name, n) ? "met" : strerror(errno));
    } else if (strcmp(path, "/contract") == 0) {
        int line = 0;
        for (size_t i = 0; i < sizeof contracts / sizeof contracts[0] && line == 0; i++) {
            line = contracts[i]();
        }
        snprintf(text, sizeof text, line ? "line %d (%s)\n" : "kept\n", line, strerror(errno));
    } else if (strcmp(path, "/for-ever") == 0) {
        int rc = 0;
        for (int i = 0; i < 1000000 && rc == 0; i++) {
            rc = usleep(60000000);
        }
        snprintf(text, sizeof text, "cut\n");
    } else if (strncmp(path, "/mutex/", 7) == 0) {
        static pthread_mutex_t kept = PTHREAD_MUTEX_INITIALIZER, kept_again = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
        static int holders;
        pthread_mutex_t *m = strcmp(path, "/mutex/normal") == 0 ? &kept : &kept_again;
        pthread_mutex_lock(m);
        int before = holders++;
        usleep(100000); /* the mistake */
        int after = --holders;
        pthread_mutex_unlock(m);
        snprintf(text, sizeof text, "%d %d\n", before, after);
    } else if (strcmp(path, "/leaves-locked") == 0) {
        static pthread_mutex_t forgotten = PTHREAD_MUTEX_INITIALIZER;
        snprintf(text, sizeof text, "%d\n", pthread_mutex_trylock(&forgotten));
    } else if (sscanf(path, "/busy/%31[a-z]", name) == 1) {
        snprintf(text, sizeof text, "%s\n", busy(name) ? "done" : strerror(errno));
    } else if (strcmp(path, "/enough") == 0) {
        enough = true;
        snprintf(text, sizeof text, "told\n");
    } else if (strcmp(path, "/begin") == 0) {
        monoceros_status(req, 200);
        monoceros_write(req, "begun", 5);
        monoceros_flush(req);
        while (sleep(60) == 0) {
        }
        return MONOCEROS_ERROR;
    } else if (strcmp(path, "/never-ends") == 0) {
        for (;;) {
            sleep(60);
        }
    } else {
        snprintf(text, sizeof text, "%d\n", most);
    }
    pthread_mutex_lock(&lock);
    inside--;
    pthread_mutex_unlock(&lock);
    return answer(req, text);
}

MONOCEROS_APP monoceros_app = { MONOCEROS_ABI_HEAD, .name = "meet", .kind = MONOCEROS_BLOCKING, .request = handle };
