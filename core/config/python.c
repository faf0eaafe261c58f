/* The user's interpreter for core: where it is, and short runs of it in a child. Never loads Python into this process.
 * mc_python_find() is called by the zygote's child as well; mc_python_run() by gunicorn.c, at a load. */
#include "core/config/python.h"

#include "core/os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ANSWER = 3, CANNOT_RUN = 127 };

static bool runnable(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* `name` on PATH; what execvp() would take, but known before, for messages. */
static bool on_path(const char *name, char *out, size_t cap)
{
    const char *at = getenv("PATH");
    if (!at)
        at = "/usr/local/bin:/usr/bin:/bin";
    while (*at) {
        size_t n = strcspn(at, ":");
        if (n && (size_t)snprintf(out, cap, "%.*s/%s", (int)n, at, name) < cap && runnable(out))
            return true;
        at += n + (at[n] == ':');
    }
    return false;
}

const char *mc_python_find(const char *named, const char *home, char *out, size_t cap)
{
    const char *venv = getenv("VIRTUAL_ENV");
    if (named && strchr(named, '/'))
        return named;
    if (named)
        return on_path(named, out, cap) ? out : named;
    if (!home && venv && *venv)
        home = venv;
    if (home) {
        snprintf(out, cap, "%s/bin/python3", home);
        return out;
    }
    return on_path("python3", out, cap) ? out : "python3";
}

/* ---- a short run ---- */

/* In the child: what cannot be run leaves its errno in place of an answer. */
static MC_NORETURN void be_python(const char *const *argv, const char *dir, int answer)
{
    enum { CLOEXEC = 1 << 2 }; /* CLOSE_RANGE_CLOEXEC */
    bool placed = answer == ANSWER ? mc_fd_cloexec(ANSWER, false) == MC_OK : dup2(answer, ANSWER) >= 0;
    if (placed && chdir(dir) == 0 && dup2(STDERR_FILENO, STDOUT_FILENO) >= 0) {
        (void)syscall(SYS_close_range, (unsigned)ANSWER + 1, UINT32_MAX, CLOEXEC); /* old kernels: ours are CLOEXEC anyway */
        signal(SIGALRM, SIG_DFL);
        signal(SIGPIPE, SIG_DFL);
        alarm(MC_PYTHON_SECONDS);
        execv(argv[0], (char *const *)(uintptr_t)argv);
    }
    int why = errno;
    (void)mc_fd_write_all(answer, &why, sizeof(why));
    _exit(CANNOT_RUN);
}

/* All that is in the memory file, wherever its offset is; NULL with errno. */
static char *read_all(int fd, size_t *n)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return NULL;
    errno = EFBIG;
    char *text = st.st_size <= MC_PYTHON_MAX ? malloc((size_t)st.st_size + 1) : NULL;
    ssize_t got = text ? pread(fd, text, (size_t)st.st_size, 0) : -1;
    if (got < 0) {
        free(text);
        return NULL;
    }
    text[got] = '\0';
    *n = (size_t)got;
    return text;
}

static int judge(int status, const char *interpreter, const char *answer, size_t n, char *err, size_t errcap)
{
    int why;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return MC_OK;
    if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT_RUN && n == sizeof(why)) {
        memcpy(&why, answer, sizeof(why));
        snprintf(err, errcap, "cannot run the interpreter '%s': %s", interpreter, strerror(why));
    } else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        snprintf(err, errcap, "did not end within %d s", MC_PYTHON_SECONDS);
    } else if (WIFSIGNALED(status)) {
        snprintf(err, errcap, "ended the interpreter '%s' by signal %d", interpreter, WTERMSIG(status));
    } else {
        snprintf(err, errcap, "ended the interpreter '%s' with code %d", interpreter, WEXITSTATUS(status));
    }
    return MC_ERROR;
}

static int wait_for(pid_t pid, int fd, const char *interpreter, char **answer, size_t *n, char *err, size_t errcap)
{
    int status;
    pid_t done;
    do
        done = waitpid(pid, &status, 0);
    while (done < 0 && errno == EINTR);
    *answer = done == pid ? read_all(fd, n) : NULL;
    if (*answer && judge(status, interpreter, *answer, *n, err, errcap) == MC_OK)
        return MC_OK;
    if (!*answer)
        snprintf(err, errcap, "cannot read the answer of the interpreter: %s", strerror(errno));
    free(*answer);
    *answer = NULL;
    return MC_ERROR;
}

int mc_python_run(const char *interpreter, const char *dir, const char *text, const char *const *words, size_t nwords, char **answer,
                  size_t *n, char *err, size_t errcap)
{
    int fd = memfd_create("monoceros-settings", MFD_CLOEXEC), rc = MC_ERROR;
    const char **argv = calloc(nwords + 4, sizeof(*argv));
    pid_t pid = -1;
    *answer = NULL;
    if (fd >= 0 && argv) {
        argv[0] = interpreter;
        argv[1] = "-c";
        argv[2] = text;
        for (size_t i = 0; i < nwords; i++)
            argv[3 + i] = words[i];
        pid = fork();
        if (pid == 0)
            be_python(argv, dir, fd);
    }
    if (pid > 0)
        rc = wait_for(pid, fd, interpreter, answer, n, err, errcap);
    else
        snprintf(err, errcap, "cannot start the interpreter '%s': %s", interpreter, strerror(errno));
    free(argv);
    mc_fd_close(&fd);
    return rc;
}
