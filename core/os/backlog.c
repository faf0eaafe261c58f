/* How many connections wait in a listener's queue to be accepted. Never accepts, never waits. Called by the arbiter. */
#include "core/os/fd.h"
#include "core/os/socket.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int of_tcp(int fd)
{
    struct tcp_info info;
    socklen_t n = sizeof(info);
    memset(&info, 0, sizeof(info));
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) < 0 || info.tcpi_state != TCP_LISTEN)
        return -1;
    return (int)info.tcpi_unacked; /* of a listener: its queue */
}

/* The length in one answer of the kernel; -1: it has none. */
static int find_length(const char *answer, size_t n)
{
    const struct nlmsghdr *h = (const void *)answer;
    if (n < NLMSG_LENGTH(sizeof(struct unix_diag_msg)) || h->nlmsg_len > n || h->nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return -1;
    const struct rtattr *at = (const void *)(answer + NLMSG_LENGTH(sizeof(struct unix_diag_msg)));
    size_t left = h->nlmsg_len - NLMSG_LENGTH(sizeof(struct unix_diag_msg));
    for (; RTA_OK(at, left); at = RTA_NEXT(at, left)) {
        if (at->rta_type == UNIX_DIAG_RQLEN && RTA_PAYLOAD(at) >= sizeof(struct unix_diag_rqlen)) {
            struct unix_diag_rqlen length;
            memcpy(&length, RTA_DATA(at), sizeof(length));
            return (int)length.udiag_rqueue;
        }
    }
    return -1;
}

/* The socket itself does not tell; the kernel's diagnosis, asked by inode, does. */
static int of_unix(int fd)
{
    struct stat st;
    struct {
        struct nlmsghdr head;
        struct unix_diag_req ask;
    } q = {
        .head = {.nlmsg_len = sizeof(q), .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST},
        .ask = {.sdiag_family = AF_UNIX, .udiag_states = UINT32_MAX, .udiag_show = UDIAG_SHOW_RQLEN, .udiag_cookie = {UINT32_MAX, UINT32_MAX}},
    };
    _Alignas(struct nlmsghdr) char answer[1024];
    if (fstat(fd, &st) < 0)
        return -1;
    q.ask.udiag_ino = (uint32_t)st.st_ino;
    int ask = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
    ssize_t n = ask >= 0 && send(ask, &q, sizeof(q), 0) == (ssize_t)sizeof(q) ? recv(ask, answer, sizeof(answer), 0) : -1;
    mc_fd_close(&ask);
    return n > 0 ? find_length(answer, (size_t)n) : -1;
}

int mc_socket_backlog(int fd)
{
    int family;
    socklen_t n = sizeof(family);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &n) < 0)
        return -1;
    return family == AF_UNIX ? of_unix(fd) : of_tcp(fd);
}
