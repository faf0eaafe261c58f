/* The channel between the arbiter and a child: SOCK_SEQPACKET, one struct mc_msg a packet, descriptors beside it.
 * Never blocks, never trusts: wrong size, magic, kind or number of descriptors is EBADMSG. Used by both sides. */
#include "core/os/fd.h"
#include "core/process/child.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

enum { MAX_FDS = 4 };
_Static_assert(sizeof(struct mc_msg) == 256, "a message is one fixed size in every build");

int mc_channel_pair(int fds[2])
{
    int on = 1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return MC_ERROR;
    if (setsockopt(fds[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0)
        return MC_OK;
    mc_fd_close(&fds[0]);
    mc_fd_close(&fds[1]);
    return MC_ERROR;
}

int mc_channel_send(int fd, const struct mc_msg *m, const int *fds, int nfds)
{
    struct mc_msg out = *m;
    struct iovec iov = {&out, sizeof(out)};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
    } control;
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
    MC_ASSERT(nfds >= 0 && nfds <= MAX_FDS);
    out.magic = MC_MSG_MAGIC;
    out.nfds = (uint16_t)nfds;
    if (nfds > 0) {
        memset(&control, 0, sizeof(control));
        h.msg_control = &control;
        h.msg_controllen = CMSG_SPACE((size_t)nfds * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN((size_t)nfds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, (size_t)nfds * sizeof(int));
    }
    ssize_t n;
    do
        n = sendmsg(fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof(out))
        return MC_OK;
    return n < 0 && (errno == EAGAIN || errno == ENOBUFS) ? MC_AGAIN : MC_ERROR;
}

struct beside {
    int fds[MAX_FDS];
    int n;
    pid_t pid;
};

static void take_control(struct msghdr *h, struct beside *b)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level != SOL_SOCKET)
            continue;
        if (c->cmsg_type == SCM_CREDENTIALS && c->cmsg_len == CMSG_LEN(sizeof(struct ucred))) {
            struct ucred who;
            memcpy(&who, CMSG_DATA(c), sizeof(who));
            b->pid = who.pid;
        } else if (c->cmsg_type == SCM_RIGHTS) {
            size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            for (size_t i = 0; i < n; i++) {
                int fd;
                memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
                if (b->n < MAX_FDS)
                    b->fds[b->n++] = fd;
                else
                    mc_fd_close(&fd);
            }
        }
    }
}

int mc_channel_recv(int fd, struct mc_msg *m, int *fds, int maxfds, pid_t *sender_pid)
{
    struct iovec iov = {m, sizeof(*m)};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(MAX_FDS * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    struct beside b = {.n = 0};
    bool reset = false;
    ssize_t n;
    do { /* who left without reading all that we said is told first, once; its last words are still there */
        n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (n >= 0 || errno != ECONNRESET || reset)
            continue;
        reset = true;
        errno = EINTR;
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? MC_AGAIN : MC_ERROR;
    take_control(&h, &b);
    bool good = n == (ssize_t)sizeof(*m) && !(h.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) && m->magic == MC_MSG_MAGIC &&
                m->kind < MC_MSG_KINDS && m->nfds == b.n && b.n <= maxfds;
    if (!good) {
        while (b.n > 0)
            mc_fd_close(&b.fds[--b.n]);
        errno = n == 0 ? ECONNRESET : EBADMSG;
        return MC_ERROR;
    }
    m->text[sizeof(m->text) - 1] = '\0';
    for (int i = 0; i < b.n; i++)
        fds[i] = b.fds[i];
    if (sender_pid)
        *sender_pid = b.pid;
    return MC_OK;
}
