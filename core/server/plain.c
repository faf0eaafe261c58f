/* The plain transport: recv, sendmsg and sendfile on the socket itself. Worker side; called by the connection engine only. */
#include "core/server/transport.h"

#include <errno.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

static int plain_open(struct mc_stream *s)
{
    (void) s;
    return MC_OK;
}

static ssize_t outcome(ssize_t n)
{
    if (n >= 0) {
        return n;
    }
    return errno == EAGAIN || errno == EWOULDBLOCK ? MC_AGAIN : MC_ERROR;
}

static ssize_t receive(int fd, void *p, size_t n, int flags)
{
    ssize_t got;
    do {
        got = recv(fd, p, n, flags);
    } while (got < 0 && errno == EINTR);
    return outcome(got);
}

ssize_t mc_transport_peek(int fd, void *p, size_t n)
{
    return receive(fd, p, n, MSG_PEEK);
}

ssize_t mc_transport_take(int fd, void *p, size_t n)
{
    return receive(fd, p, n, 0);
}

static ssize_t plain_recv(struct mc_stream *s, void *p, size_t n)
{
    return receive(s->fd, p, n, 0);
}

static ssize_t plain_send(struct mc_stream *s, const struct iovec *iov, int n)
{
    ssize_t put;
    do {
        int flags = s->more || s->last ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL;
        if (n == 1) { /* send is measurably cheaper than sendmsg for the one-piece reply */
            put = send(s->fd, iov[0].iov_base, iov[0].iov_len, flags);
        } else {
            struct msghdr m = { .msg_iov = (struct iovec *) iov, .msg_iovlen = (size_t) n };
            put = sendmsg(s->fd, &m, flags);
        }
    } while (put < 0 && errno == EINTR);
    s->held = s->last;
    return outcome(put);
}

static ssize_t plain_sendfile(struct mc_stream *s, int fd, off_t off, size_t n)
{
    ssize_t put;
    do {
        off_t at = off;
        put = sendfile(s->fd, fd, &at, n);
    } while (put < 0 && errno == EINTR);
    return outcome(put);
}

static bool plain_pending(const struct mc_stream *s)
{
    (void) s;
    return false;
}

static int plain_shutdown(struct mc_stream *s)
{
    return shutdown(s->fd, SHUT_WR) == 0 ? MC_OK : MC_ERROR;
}

static void plain_close(struct mc_stream *s)
{
    if (s->reset) {
        struct linger now = { .l_onoff = 1, .l_linger = 0 };
        setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    } else if (s->held) {
        shutdown(s->fd, SHUT_WR); /* if the client is sending still, close() makes a reset, which would drop them unsent */
    }
}

const struct mc_transport_ops mc_transport_plain = {
    .name = "plain",
    .open = plain_open,
    .recv = plain_recv,
    .send = plain_send,
    .sendfile = plain_sendfile,
    .pending = plain_pending,
    .shutdown = plain_shutdown,
    .close = plain_close,
};
