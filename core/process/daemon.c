/* Going to the background: the launching process stays until the daemon has its pidfile and listeners, so that its exit code tells
 * whether the start went well. Called by the arbiter before it opens anything. */
#include "core/process/daemon.h"
#include "core/os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int report_fd = -1;

static MC_NORETURN void await(int fd)
{
    unsigned char code = MC_EXIT_FAIL;
    ssize_t n;
    do
        n = read(fd, &code, 1);
    while (n < 0 && errno == EINTR);
    _exit(n == 1 ? code : MC_EXIT_FAIL);
}

int mc_daemon_start(void)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return MC_ERROR;
    pid_t middle = fork();
    if (middle < 0) {
        mc_fd_close(&fds[0]);
        mc_fd_close(&fds[1]);
        return MC_ERROR;
    }
    if (middle > 0) {
        mc_fd_close(&fds[1]);
        while (waitpid(middle, NULL, 0) < 0 && errno == EINTR)
            continue;
        await(fds[0]);
    }
    setsid();
    pid_t pid = fork();
    /* Without a report the launching process exits with 1. */
    if (pid != 0)
        _exit(0);
    mc_fd_close(&fds[0]);
    report_fd = fds[1];
    umask(022);
    return MC_OK;
}

void mc_daemon_report(int code, bool keep)
{
    if (report_fd < 0)
        return;
    unsigned char byte = (unsigned char)code;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; null >= 0 && fd <= 2; fd++) {
        if (fd == 0 || !keep || isatty(fd))
            dup2(null, fd);
    }
    if (null > 2)
        mc_fd_close(&null);
    (void)!write(report_fd, &byte, 1);
    mc_fd_close(&report_fd);
}
