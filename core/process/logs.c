/* The log files: the arbiter opens them (as root, before anyone drops privileges) and hands the descriptors down, at start and on USR1.
 * Never writes to the access log. Called by the arbiter. */
#include "core/os/fd.h"
#include "core/process/arbiter.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int open_one(const char *path, int std)
{
    int fd = mc_fd_open_log(path, std);
    if (fd < 0)
        mc_error("cannot open the log '%s': %m", path);
    return fd;
}

int mc_logs_open(struct mc_arbiter *a)
{
    a->errorlog = open_one(a->conf->set.errorlog, STDERR_FILENO);
    if (a->errorlog < 0)
        return MC_ERROR;
    mc_log_init(a->errorlog, a->conf->loglevel);
    if (!a->conf->set.accesslog)
        return MC_OK;
    a->accesslog = open_one(a->conf->set.accesslog, STDOUT_FILENO);
    return a->accesslog < 0 ? MC_ERROR : MC_OK;
}

/* The number stays, so nobody who remembers it (the interpreter, the log of this process) must be told. */
static void replace(int fd, int *fresh)
{
    dup3(*fresh, fd, O_CLOEXEC);
    mc_fd_close(fresh);
}

static void send_logs(struct mc_kid *k)
{
    struct mc_arbiter *a = k->arbiter;
    int fds[2] = {a->errorlog, a->accesslog};
    struct mc_msg m = {.kind = MC_MSG_LOGS, .value = a->accesslog >= 0};
    if (k->life == MC_LIFE_NONE || k->io.fd < 0)
        return;
    if (mc_channel_send(k->io.fd, &m, fds, 1 + (a->accesslog >= 0)) != MC_OK)
        mc_warn("cannot send the new logs to pid %ld: %m", (long)k->pid);
}

void mc_logs_reopen(struct mc_arbiter *a)
{
    int fd = open_one(a->conf->set.errorlog, STDERR_FILENO);
    if (fd >= 0)
        replace(a->errorlog, &fd);
    mc_log_set_fd(a->errorlog);
    fd = a->accesslog >= 0 ? open_one(a->conf->set.accesslog, STDOUT_FILENO) : -1;
    if (fd >= 0)
        replace(a->accesslog, &fd);
    for (unsigned i = 0; i < a->nkids; i++)
        send_logs(&a->kids[i]);
    for (size_t i = 0; i < a->conf->npools; i++)
        send_logs(&a->pools[i].zygote);
}

void mc_logs_daemon(struct mc_arbiter *a)
{
    int fd = strcmp(a->conf->set.errorlog, "-") == 0 ? open_one("-", STDERR_FILENO) : -1;
    if (fd >= 0)
        replace(a->errorlog, &fd);
    mc_log_set_fd(a->errorlog);
    fd = a->accesslog >= 0 && strcmp(a->conf->set.accesslog, "-") == 0 ? open_one("-", STDOUT_FILENO) : -1;
    if (fd >= 0)
        replace(a->accesslog, &fd);
}
