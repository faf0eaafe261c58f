/* Opens files below a root and nowhere else. The kernel does the confining (openat2, since Linux 5.6): a path is followed once, at the moment
 * of opening, so there is no gap between a check and a use. Without openat2 each component is opened by itself and no symbolic link is followed.
 * Worker side, on the loop. */
#include "modules/handler/static/static.h"

#include "core/base/log.h"
#include "core/os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TRIES = 8 }; /* a rename meanwhile makes openat2 give up when the path holds a link with ".." */

static bool no_openat2;

void mc_static_without_openat2(bool on)
{
    no_openat2 = on;
}

bool mc_static_path_ok(struct mc_str path, bool hidden)
{
    const char *p = path.p, *end = path.p + path.n;
    if (path.n && memchr(path.p, 0, path.n))
        return false;
    while (p < end) {
        const char *slash = memchr(p, '/', (size_t)(end - p));
        struct mc_str segment = {p, (size_t)((slash ? slash : end) - p)};
        bool first = p == path.p;
        if (segment.n == 0 || mc_str_eq(segment, MC_STR(".")) || mc_str_eq(segment, MC_STR("..")))
            return false;
        if (segment.p[0] == '.' && !hidden && !(first && mc_str_eq(segment, MC_STR(".well-known")))) /* RFC 8615 */
            return false;
        p += segment.n + 1;
    }
    return true;
}

int mc_static_status(int err)
{
    switch (err) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case ELOOP:
    case EXDEV:
    case EINVAL:
    case ENXIO:
    case ENODEV:
        return 404;
    case EACCES:
    case EPERM:
        return 403;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EAGAIN:
        return 503;
    default:
        return 500;
    }
}

/* Component by component, for kernels without openat2. */
static int walk(int root, const char *path, int flags)
{
    char name[256];
    int dir = root;
    for (;;) {
        size_t n = strcspn(path, "/");
        const char *rest = path + n + strspn(path + n, "/");
        bool last = *rest == 0;
        if (n >= sizeof name) {
            errno = ENAMETOOLONG;
            break;
        }
        memcpy(name, path, n);
        name[n] = 0;
        bool slash = last && path[n] == '/';
        int fd = openat(dir, n ? name : ".", O_CLOEXEC | O_NOFOLLOW | (last ? flags | (slash ? O_DIRECTORY : 0) : O_PATH | O_DIRECTORY));
        int err = errno;
        if (dir != root)
            close(dir);
        if (last || fd < 0) {
            errno = err;
            return fd;
        }
        dir = fd;
        path = rest;
    }
    if (dir != root)
        mc_fd_close(&dir);
    return -1;
}

static int open_below(int root, const char *path, int flags, enum mc_static_links links)
{
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC), .resolve = RESOLVE_NO_MAGICLINKS};
    if (links != MC_LINKS_ANY)
        how.resolve |= RESOLVE_BENEATH;
    if (links == MC_LINKS_NO)
        how.resolve |= RESOLVE_NO_SYMLINKS;
    for (int i = 0; i < TRIES && !no_openat2; i++) {
        int fd = (int)syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof how);
        if (fd >= 0)
            return fd;
        if (errno == ENOSYS || (errno == EPERM && i == 0)) /* EPERM: the word of old sandboxes for calls that they do not know */
            break;
        if (errno != EAGAIN && errno != EINTR)
            return -1;
    }
    return links == MC_LINKS_ANY ? openat(root, *path ? path : ".", flags | O_CLOEXEC) : walk(root, path, flags);
}

/* The root's own path may hold links: "current" of a deployment is moved on while we serve. */
static int refresh(struct mc_static *s, uint64_t now, uint64_t valid)
{
    struct mc_static_root *at = &s->at;
    struct stat st;
    if (at->fd >= 0 && now - at->looked < valid)
        return MC_OK;
    at->looked = now;
    int fd = open(s->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        static struct mc_log_limit limit;
        unsigned missed;
        int err = errno;
        if (mc_log_limited(&limit, &missed))
            mc_error("static: cannot open the root %s: %s", s->dir, strerror(err));
        mc_fd_close(&fd);
        mc_fd_close(&at->fd);
        errno = err;
        return MC_ERROR;
    }
    if (at->fd >= 0 && at->dev == st.st_dev && at->ino == st.st_ino) {
        close(fd);
        return MC_OK;
    }
    mc_fd_close(&at->fd);
    *at = (struct mc_static_root){.fd = fd, .looked = now, .dev = st.st_dev, .ino = st.st_ino};
    return MC_OK;
}

int mc_static_open(struct mc_static *s, const char *path, int flags, uint64_t now, uint64_t valid)
{
    if (refresh(s, now, valid) != MC_OK)
        return -1;
    int fd = open_below(s->at.fd, path, flags, s->links);
    if (fd < 0 && (errno == EXDEV || (errno == ELOOP && s->links == MC_LINKS_NO))) {
        static struct mc_log_limit limit;
        unsigned missed;
        int err = errno;
        if (mc_log_limited(&limit, &missed)) {
            char text[512];
            size_t n = mc_str_escape(text, sizeof text, mc_str(path));
            mc_info("static: %.*s is not served: a symbolic link %s (symlinks = %s)", (int)n, text,
                    err == EXDEV ? "leads out of the root" : "stands in its way", s->symlinks);
        }
        errno = err;
    }
    return fd;
}
