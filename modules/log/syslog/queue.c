/* The way to the syslog server: one socket a process and a queue of what it has not taken yet, so that a burst or a restart of the server costs nothing
 * and a longer silence costs messages, never time. Any thread, also in signal handlers. Opens no name: the address is given in numbers. */
#include "modules/log/syslog/syslog.h"

#include "core/base/clock.h"
#include "core/os/fd.h"

#include <errno.h>
#include <stdatomic.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { QUEUE = 1 << 18, AGAIN_MS = 1000, SPINS = 1000 };

/* Records: their size, then their bytes. */
static struct {
    atomic_flag lock;
    struct mc_target target;
    int fd;
    size_t used;    /* of the queue */
    size_t sent;    /* stream: bytes of the first record that are on their way */
    uint64_t again; /* ms: no attempt to connect before */
    int why;        /* errno of the last failure, 0 since a success */
    bool refused;   /* UDP: nobody was there for a datagram since the last look */
    char queue[QUEUE];
} q = {.lock = ATOMIC_FLAG_INIT, .fd = -1};
static atomic_uint lost;

/* What holds it only copies bytes and never waits; but a signal handler may have interrupted its holder. */
static bool lock(void)
{
    for (int i = 0; i < SPINS; i++) {
        if (!atomic_flag_test_and_set(&q.lock))
            return true;
        sched_yield();
    }
    return false;
}

static void unlock(void)
{
    atomic_flag_clear(&q.lock);
}

static void fail(int why)
{
    q.why = why;
    if (why == EAGAIN || why == ENOBUFS)
        return;
    mc_fd_close(&q.fd);
    q.sent = 0; /* the rest of it would mean nothing to a new connection */
}

static bool connected(void)
{
    uint64_t now = mc_clock_ms();
    if (q.fd >= 0)
        return true;
    if (now < q.again)
        return false;
    q.again = now + AGAIN_MS;
    q.fd = mc_target_connect(&q.target);
    if (q.fd < 0)
        q.why = errno;
    return q.fd >= 0;
}

/* Bytes that were taken, -1: none (q.why). */
static ssize_t send_once(const struct iovec *v, int n)
{
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)v, .msg_iovlen = (size_t)n};
    ssize_t done;
    /* What a datagram before this one has met (ICMP) is reported here, and the report is all that went wrong with this one. */
    for (int tries = 0; tries < 3; tries++) {
        if (!connected())
            return -1;
        done = sendmsg(q.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (done >= 0)
            break;
        if (errno == EINTR)
            continue;
        bool late = errno == ECONNREFUSED && q.target.type == SOCK_DGRAM && q.target.addr.family != AF_UNIX && tries < 2;
        if (!late) {
            fail(errno);
            return -1;
        }
        atomic_fetch_add(&lost, 1);
        q.refused = true;
    }
    return done;
}

/* RFC 6587 §3.4.1: the length before it, so that a message may hold anything. Datagrams need none. */
static size_t frame(char out[24], size_t n)
{
    if (q.target.type == SOCK_DGRAM)
        return 0;
    size_t len = mc_str_u64(out, n);
    out[len++] = ' ';
    return len;
}

static void drop_first(size_t n)
{
    q.used -= sizeof(n) + n;
    memmove(q.queue, q.queue + sizeof(n) + n, q.used);
    q.sent = 0;
}

/* False: the socket takes no more. */
static bool drain(void)
{
    size_t n;
    while (q.used > 0) {
        memcpy(&n, q.queue, sizeof(n));
        struct iovec v = {q.queue + sizeof(n) + q.sent, n - q.sent};
        ssize_t done = send_once(&v, 1);
        if (done < 0 && q.why == EMSGSIZE) {
            atomic_fetch_add(&lost, 1);
            drop_first(n);
            continue;
        }
        if (done < 0)
            return false;
        q.sent += (size_t)done;
        if (q.target.type == SOCK_STREAM && q.sent < n)
            continue;
        drop_first(n);
        q.why = 0;
    }
    return true;
}

static int enqueue(const struct iovec *v, int n, size_t total)
{
    if (sizeof(total) + total > sizeof(q.queue) - q.used) {
        atomic_fetch_add(&lost, 1);
        return MC_ERROR;
    }
    char *p = mempcpy(q.queue + q.used, &total, sizeof(total));
    for (int i = 0; i < n; i++)
        p = mempcpy(p, v[i].iov_base, v[i].iov_len);
    q.used = (size_t)(p - q.queue);
    return MC_OK;
}

int mc_syslog_queue_put(const char *head, size_t h, const char *text, size_t n)
{
    char length[24];
    int saved = errno, rc = MC_OK;
    if (!lock()) {
        atomic_fetch_add(&lost, 1);
        return MC_ERROR;
    }
    struct iovec v[3] = {{length, frame(length, h + n)}, {(void *)(uintptr_t)head, h}, {(void *)(uintptr_t)text, n}};
    size_t total = v[0].iov_len + h + n;
    ssize_t done = drain() ? send_once(v, 3) : -1;
    if (done == (ssize_t)total) {
        q.why = 0;
    } else {
        rc = enqueue(v, 3, total);
        if (rc == MC_OK && done > 0)
            q.sent = (size_t)done; /* the queue was empty, so it is the first */
    }
    unlock();
    errno = saved;
    return rc;
}

unsigned mc_syslog_queue_retry(int *why)
{
    *why = 0;
    if (!lock())
        return 0;
    (void)drain();
    *why = q.refused ? ECONNREFUSED : q.why;
    q.refused = false;
    unlock();
    return atomic_load(&lost);
}

void mc_syslog_queue_taken(unsigned n)
{
    atomic_fetch_sub(&lost, n);
}

static void forget(void)
{
    mc_target_forget(&q.target, &q.fd);
    q.used = q.sent = 0;
    q.again = 0;
    q.why = 0;
    atomic_store(&lost, 0);
    unlock();
}

void mc_syslog_queue_open(const struct mc_target *t)
{
    forget();
    q.target = *t;
    (void)connected();
}

void mc_syslog_queue_close(void)
{
    forget();
}
