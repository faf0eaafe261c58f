/* Access log lines to a file, a pipe or stdout. Never waits for a reader: what a full pipe or disk does not take is dropped by whole lines,
 * and the rest of a line that was cut in the middle is kept and goes first next time. Worker side, called by core/server/access.c.
 * The descriptor is the arbiter's: opened and reopened there. */
#include "core/base/module.h"
#include "core/os/fd.h"
#include "core/server/sinks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

extern const struct mc_module mc_module_log_file;

struct sink {
    int fd;
    bool nowait; /* a pipe or a socket */
    char *rest;  /* of a line whose beginning was written */
    size_t rest_n;
};

/* Without O_NONBLOCK: the flag would also be the terminal's or the supervisor's, who share the open file. */
static ssize_t write_some(struct sink *s, const char *p, size_t n)
{
    struct iovec iov = {(void *)(uintptr_t)p, n};
    ssize_t done;
    do {
        done = -1;
        errno = EOPNOTSUPP;
        if (s->nowait)
            done = pwritev2(s->fd, &iov, 1, -1, RWF_NOWAIT);
        if (done < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
            done = writev(s->fd, &iov, 1);
    } while (done < 0 && errno == EINTR);
    return done;
}

/* False: still no room for what is left of the last line. */
static bool write_rest(struct sink *s)
{
    if (s->rest_n == 0)
        return true;
    ssize_t done = write_some(s, s->rest, s->rest_n);
    if (done > 0) {
        s->rest_n -= (size_t)done;
        memmove(s->rest, s->rest + done, s->rest_n);
    }
    if (s->rest_n > 0)
        return false;
    free(s->rest);
    s->rest = NULL;
    return true;
}

static unsigned count_lines(const char *p, size_t n)
{
    unsigned lines = 0;
    for (const char *end = p + n; (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++)
        lines++;
    return lines;
}

/* Without memory for it the line stays cut. */
static void keep_rest(struct sink *s, const char *p, size_t n)
{
    s->rest = malloc(n);
    if (!s->rest)
        return;
    memcpy(s->rest, p, n);
    s->rest_n = n;
}

static unsigned write_lines(void *data, const char *p, size_t n, unsigned lines)
{
    struct sink *s = data;
    if (!write_rest(s))
        return lines;
    while (n > 0) {
        ssize_t done = write_some(s, p, n);
        if (done <= 0)
            return count_lines(p, n);
        bool cut = p[done - 1] != '\n';
        p += done;
        n -= (size_t)done;
        if (!cut || n == 0)
            continue;
        const char *end = memchr(p, '\n', n);
        size_t left = end ? (size_t)(end - p) + 1 : n;
        keep_rest(s, p, left);
        p += left;
        n -= left;
        if (!write_rest(s))
            return count_lines(p, n);
    }
    return 0;
}

static void set_fd(void *data, int fd)
{
    struct sink *s = data;
    struct stat st;
    s->fd = fd;
    s->nowait = fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
    /* It belongs to the old file. */
    free(s->rest);
    s->rest = NULL;
    s->rest_n = 0;
}

static int open_sink(const struct mc_conf *conf, int fd, void **sink)
{
    if (!conf->set.accesslog || fd < 0)
        return MC_DECLINED;
    struct sink *s = calloc(1, sizeof(*s));
    if (!s)
        return MC_ERROR;
    set_fd(s, fd);
    *sink = s;
    return MC_OK;
}

static void close_sink(void *data)
{
    struct sink *s = data;
    free(s->rest);
    free(s);
}

static const struct mc_log_ops ops = {.open = open_sink, .write = write_lines, .set_fd = set_fd, .close = close_sink};

const struct mc_module mc_module_log_file = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "file",
    .kind = MC_MODULE_LOG,
    .ops.log = &ops,
};
