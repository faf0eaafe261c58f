/* The pidfile. Written under a temporary name (O_EXCL, O_NOFOLLOW) and moved into place, so that nobody reads half of it and no planted
 * link is followed. Never signals anyone: a number in a file is no proof of what it names. Called by the arbiter. */
#include "core/process/pidfile.h"
#include "core/base/str.h"
#include "core/os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static pid_t read_pid(const char *path)
{
    size_t n;
    uint64_t pid;
    char *text = mc_fd_read_file(path, 64, &n);
    if (!text)
        return 0;
    struct mc_str s = {text, n};
    while (s.n && (s.p[s.n - 1] == '\n' || s.p[s.n - 1] == ' '))
        s.n--;
    bool good = mc_str_to_u64(s, INT_MAX, &pid) == MC_OK && pid > 0;
    free(text);
    return good ? (pid_t)pid : 0;
}

pid_t mc_pidfile_owner(const char *path)
{
    pid_t pid = read_pid(path);
    return pid > 0 && (kill(pid, 0) == 0 || errno == EPERM) ? pid : 0;
}

static int write_temp(const char *temp, pid_t self)
{
    char text[32];
    int n = snprintf(text, sizeof(text), "%ld\n", (long)self);
    int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return MC_ERROR;
    int rc = mc_fd_write_all(fd, text, (size_t)n);
    /* The umask is not asked: monitoring reads this file. */
    if (rc == MC_OK && fchmod(fd, 0644) < 0)
        rc = MC_ERROR;
    mc_fd_close(&fd);
    return rc;
}

int mc_pidfile_create(const char *path, pid_t self, char *err, size_t errcap)
{
    char temp[PATH_MAX];
    pid_t owner = mc_pidfile_owner(path);
    if (owner && owner != self) {
        snprintf(err, errcap, "Already running on PID %ld (or pid file '%s' is stale)", (long)owner, path);
        return MC_ERROR;
    }
    struct stat st;
    if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        snprintf(err, errcap, "pidfile '%s' exists and is not a regular file", path);
        return MC_ERROR;
    }
    if (snprintf(temp, sizeof(temp), "%s.%ld", path, (long)self) >= (int)sizeof(temp)) {
        snprintf(err, errcap, "pidfile: the path is too long");
        return MC_ERROR;
    }
    /* Left by a process of our pid that died in between: nobody else uses this name. */
    unlink(temp);
    if (write_temp(temp, self) == MC_OK && rename(temp, path) == 0)
        return MC_OK;
    int e = errno;
    unlink(temp);
    errno = e;
    snprintf(err, errcap, "cannot write pidfile '%s': %m", path);
    return MC_ERROR;
}

void mc_pidfile_remove(const char *path, pid_t self)
{
    if (read_pid(path) == self)
        unlink(path);
}
