/* Descriptors: flags, whole-file reads, temporary files, memory files, logs. Every fd made here is CLOEXEC.
 * Never waits for a peer: fifos are opened without blocking. Called by start-up, the arbiter and body buffering. */
#include "core/os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int mc_fd_nonblock(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return MC_ERROR;
    int want = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    return want == flags || fcntl(fd, F_SETFL, want) == 0 ? MC_OK : MC_ERROR;
}

int mc_fd_cloexec(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFD);
    if (flags < 0)
        return MC_ERROR;
    int want = on ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC;
    return want == flags || fcntl(fd, F_SETFD, want) == 0 ? MC_OK : MC_ERROR;
}

void mc_fd_close(int *fd)
{
    int saved = errno;
    if (*fd >= 0)
        close(*fd); /* not again on EINTR: Linux has closed it */
    *fd = -1;
    errno = saved;
}

int mc_fd_write_all(int fd, const void *p, size_t n)
{
    const char *from = p;
    while (n) {
        ssize_t done = write(fd, from, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return MC_ERROR;
        from += done;
        n -= (size_t)done;
    }
    return MC_OK;
}

/* The size of fstat() is only a hint: files of /proc say 0. */
static char *read_to_end(int fd, size_t hint, size_t max, size_t *n)
{
    size_t cap = (hint < max ? hint : max) + 2, got = 0; /* one more to see the end, one for the NUL */
    char *p = malloc(cap);
    while (p) {
        ssize_t r = read(fd, p + got, cap - 1 - got);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            break;
        got += (size_t)r;
        if (got > max) {
            errno = EFBIG;
            break;
        }
        if (r == 0) {
            p[got] = '\0';
            *n = got;
            return p;
        }
        if (got < cap - 1)
            continue;
        cap = cap < 4096 ? 4096 : cap * 2;
        if (cap > max + 2)
            cap = max + 2;
        char *more = realloc(p, cap);
        if (!more)
            break;
        p = more;
    }
    free(p);
    return NULL;
}

char *mc_fd_read_file(const char *path, size_t max, size_t *n)
{
    struct stat st;
    char *p = NULL;
    MC_ASSERT(max < SIZE_MAX / 4);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return NULL;
    if (fstat(fd, &st) < 0) {
        mc_fd_close(&fd);
        return NULL;
    }
    if (S_ISDIR(st.st_mode))
        errno = EISDIR;
    else if (!S_ISREG(st.st_mode))
        errno = EINVAL;
    else if (st.st_size > 0 && (uintmax_t)st.st_size > max)
        errno = EFBIG;
    else
        p = read_to_end(fd, (size_t)st.st_size, max, n);
    mc_fd_close(&fd);
    return p;
}

int mc_fd_tmpfile(const char *dir)
{
    char path[4096];
    /* O_EXCL: it can never get a name. Some file systems know no O_TMPFILE. */
    int fd = open(dir, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL && errno != ENOSYS))
        return fd;
    if ((size_t)snprintf(path, sizeof(path), "%s/monoceros.XXXXXX", dir) >= sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

int mc_fd_memfd(const char *name, const void *p, size_t n, bool seal)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    if (mc_fd_write_all(fd, p, n) != MC_OK || lseek(fd, 0, SEEK_SET) < 0 ||
        (seal && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)) {
        mc_fd_close(&fd);
    }
    return fd;
}

/* Of a pipe or a terminal an open file of our own where we may have one, so that O_NONBLOCK is not also that of others who write there: pipes know
 * RWF_NOWAIT only since Linux 6.4, and terminals (Ctrl-S) not at all. */
static int copy_std(int std)
{
    char path[32];
    struct stat st;
    int fd = -1;
    if (fstat(std, &st) == 0 && (S_ISFIFO(st.st_mode) || isatty(std))) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", std);
        fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd >= 3)
            return fd;
    }
    mc_fd_close(&fd);
    return fcntl(std, F_DUPFD_CLOEXEC, 3);
}

int mc_fd_open_log(const char *path, int std)
{
    if (strcmp(path, "-") == 0)
        return copy_std(std);
    /* Symbolic links, so O_NOFOLLOW would refuse them; and opening a socket through them fails (journald). */
    if (strcmp(path, "/dev/stdout") == 0)
        return copy_std(STDOUT_FILENO);
    if (strcmp(path, "/dev/stderr") == 0)
        return copy_std(STDERR_FILENO);
    /* O_NONBLOCK: a fifo without a reader is an error now, not a wait. */
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0644);
}
