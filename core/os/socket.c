/* Sockets that listen, and accepting from them. All are CLOEXEC and non-blocking.
 * Never waits; never removes a socket file that somebody answers at, nor a file that is no socket.
 * Listening: arbiter side at start and reload (changes the umask for a moment: one thread only). Accepting: worker side. */
#include "core/os/socket.h"
#include "core/os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FLAGS = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, ACCEPT_TRIES = 16 };

static int set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value));
}

/* fd -1 with errno kept. */
static int fail(int fd)
{
    mc_fd_close(&fd);
    return -1;
}

/* Accepted sockets inherit these. None is worth refusing to start for, and an adopted socket may be of a family that has none. */
static void tune(int fd, const struct mc_listen_opts *o)
{
    (void)set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (o->defer_accept)
        (void)set(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1);
}

static int set_inet_options(int fd, const struct mc_addr *a, const struct mc_listen_opts *o)
{
    if (set(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0)
        return MC_ERROR;
    if (o->reuse_port && set(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0)
        return MC_ERROR;
    if (a->family == AF_INET6 && set(fd, IPPROTO_IPV6, IPV6_V6ONLY, o->v6only) < 0)
        return MC_ERROR;
    tune(fd, o);
    return MC_OK;
}

static int listen_inet(const struct mc_addr *a, const struct mc_listen_opts *o)
{
    int fd = socket(a->family, FLAGS, 0);
    if (fd < 0)
        return -1;
    if (set_inet_options(fd, a, o) != MC_OK || bind(fd, &a->u.sa, a->len) < 0 || listen(fd, o->backlog) < 0)
        return fail(fd);
    return fd;
}

/* MC_OK when the path is free, because nothing is there or because a dead socket was removed. */
static int free_path(const struct mc_addr *a)
{
    struct stat st;
    if (lstat(a->u.un.sun_path, &st) < 0)
        return errno == ENOENT ? MC_OK : MC_ERROR;
    if (!S_ISSOCK(st.st_mode)) {
        errno = EEXIST;
        return MC_ERROR;
    }
    int fd = socket(AF_UNIX, FLAGS, 0);
    if (fd < 0)
        return MC_ERROR;
    int rc = connect(fd, &a->u.sa, a->len);
    int why = errno;
    mc_fd_close(&fd);
    if (rc < 0 && why == ENOENT)
        return MC_OK;
    if (rc < 0 && why == ECONNREFUSED)
        return unlink(a->u.un.sun_path) == 0 || errno == ENOENT ? MC_OK : MC_ERROR;
    /* Connected, or EAGAIN (its backlog is full), or another type of socket: somebody lives there. */
    errno = rc < 0 && why == EACCES ? EACCES : EADDRINUSE;
    return MC_ERROR;
}

/* By descriptor, after a look at what it is: the name may have been replaced in a directory that others can write. */
static int give_away(const char *path, uid_t uid, gid_t gid)
{
    struct stat st;
    if (uid == (uid_t)-1 && gid == (gid_t)-1)
        return MC_OK;
    int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return MC_ERROR;
    int rc = fstat(fd, &st);
    if (rc == 0 && !S_ISSOCK(st.st_mode)) {
        errno = EEXIST;
        rc = -1;
    }
    if (rc == 0)
        rc = fchownat(fd, "", uid, gid, AT_EMPTY_PATH);
    mc_fd_close(&fd);
    return rc == 0 ? MC_OK : MC_ERROR;
}

/* Bound by its own name, not by a temporary one that is renamed: getsockname() must tell the real path to an upgraded server. bind()
 * follows no link and replaces nothing, and the umask stands before it, so there is no moment with wider permissions. */
static int listen_unix(const struct mc_addr *a, const struct mc_listen_opts *o)
{
    if (free_path(a) != MC_OK)
        return -1;
    int fd = socket(AF_UNIX, FLAGS, 0);
    if (fd < 0)
        return -1;
    mode_t old = umask(o->umask);
    int rc = bind(fd, &a->u.sa, a->len);
    umask(old);
    if (rc < 0)
        return fail(fd);
    if (give_away(a->u.un.sun_path, o->uid, o->gid) != MC_OK || listen(fd, o->backlog) < 0) {
        int why = errno;
        unlink(a->u.un.sun_path);
        errno = why;
        return fail(fd);
    }
    return fd;
}

/* fd://N: it was bound by whoever started us. The fd stays open when this fails. */
static int adopt(int fd, const struct mc_listen_opts *o)
{
    int type = 0;
    socklen_t n = sizeof(type);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0)
        return -1;
    if (type != SOCK_STREAM) {
        errno = EPROTOTYPE;
        return -1;
    }
    tune(fd, o);
    if (listen(fd, o->backlog) < 0 || mc_fd_nonblock(fd, true) != MC_OK || mc_fd_cloexec(fd, true) != MC_OK)
        return -1;
    return fd;
}

int mc_socket_listen(const struct mc_addr *a, const struct mc_listen_opts *o)
{
    if (a->fd >= 0)
        return adopt(a->fd, o);
    if (a->family == AF_UNIX)
        return listen_unix(a, o);
    return listen_inet(a, o);
}

int mc_socket_min_ttl(int fd, int ttl)
{
    bool v4 = set(fd, IPPROTO_IP, IP_MINTTL, ttl) == 0, v6 = set(fd, IPPROTO_IPV6, IPV6_MINHOPCOUNT, ttl) == 0;
    return v4 || v6 ? MC_OK : MC_ERROR;
}

int mc_socket_accept(int fd, union mc_sockaddr *peer)
{
    int conn = -1;
    /* A connection that died in the queue is no reason to stop accepting; bounded, in case the error does not go away. */
    for (int i = 0; i < ACCEPT_TRIES && conn < 0; i++) {
        socklen_t len = sizeof(*peer);
        memset(peer, 0, sizeof(*peer));
        conn = accept4(fd, &peer->sa, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (conn < 0 && errno != EINTR && errno != ECONNABORTED && errno != EPROTO)
            break;
    }
    return conn;
}

int mc_socket_connect(const struct mc_addr *a)
{
    int fd = socket(a->family, FLAGS, 0);
    if (fd < 0)
        return -1;
    if (a->family != AF_UNIX)
        (void)set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (connect(fd, &a->u.sa, a->len) < 0 && errno != EINPROGRESS && errno != EINTR)
        return fail(fd);
    return fd;
}

bool mc_socket_unread(int fd)
{
    int n = 0;
    return ioctl(fd, SIOCOUTQ, &n) == 0 && n > 0;
}

int mc_socket_error(int fd)
{
    int err = 0;
    socklen_t n = sizeof(err);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n) < 0 ? errno : err;
}
