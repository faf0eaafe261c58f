/* monoceros --upgrade: the steps of an upgrade that an administrator would take by hand, with a look after each of them. Signals nobody who does not
 * wear the nameplate of an arbiter with this very pidfile. Trusts what stands there no further than its owner: the program runs as that user. */
#include "core/process/replace.h"
#include "core/event/loop.h"
#include "core/base/module.h"
#include "core/os/proc.h"
#include "core/os/signals.h"
#include "core/process/pidfile.h"
#include "core/process/plate.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_MS = 50 };

struct replace {
    const char *pidfile;
    pid_t pid;
    int pidfd; /* -1: the kernel has none */
    struct mc_plate plate;
    struct mc_loop loop;
};

static int fail(const char *fmt, ...) MC_PRINTF(1, 2);
static int fail(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fputs("monoceros: ", stderr);
    (void)vfprintf(stderr, fmt, ap);
    (void)fputc('\n', stderr);
    va_end(ap);
    return MC_ERROR;
}

static void say(const char *text, pid_t pid)
{
    (void)printf("monoceros: %s (pid %ld)\n", text, (long)pid);
    (void)fflush(stdout);
}

/* ---- who it is ---- */

static int is_its_file(const struct replace *r)
{
    struct stat ours, its;
    const char *name = r->plate.head->pidfile;
    if (memchr(name, '\0', sizeof(r->plate.head->pidfile)) && stat(r->pidfile, &ours) == 0 && stat(name, &its) == 0 && ours.st_dev == its.st_dev &&
        ours.st_ino == its.st_ino)
        return MC_OK;
    return fail("%s names process %ld, a monoceros with another pidfile: nothing was signalled", r->pidfile, (long)r->pid);
}

static int cannot_tell(const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return fail("%s is no file", path);
    return access(path, R_OK) == 0 ? fail("%s names no process that runs", path) : fail("cannot read %s: %s", path, strerror(errno));
}

static int identify(struct replace *r)
{
    r->pid = mc_pidfile_owner(r->pidfile);
    if (r->pid == 0)
        return cannot_tell(r->pidfile);
    r->pidfd = (int)syscall(SYS_pidfd_open, r->pid, 0);
    int rc = mc_plate_find(&r->plate, r->pid);
    if (rc == MC_DECLINED)
        return fail("%s names process %ld, which is no monoceros: nothing was signalled", r->pidfile, (long)r->pid);
    if (rc != MC_OK)
        return fail("cannot look at process %ld, which %s names: %s", (long)r->pid, r->pidfile, strerror(errno));
    if (is_its_file(r) != MC_OK)
        return MC_ERROR;
    pid_t parent = atomic_load(&r->plate.head->parent);
    if (parent)
        return fail("process %ld is the new one of an upgrade under way: its old one is process %ld", (long)r->pid, (long)parent);
    return MC_OK;
}

/* The number alone may be another's by now. */
static int send_signal(const struct replace *r, int sig)
{
    if (r->pidfd >= 0 && syscall(SYS_pidfd_send_signal, r->pidfd, sig, NULL, 0) == 0)
        return MC_OK;
    if (r->pidfd < 0 && errno != ESRCH && kill(r->pid, sig) == 0)
        return MC_OK;
    return fail("cannot signal process %ld: %s", (long)r->pid, strerror(errno));
}

static bool runs(const struct replace *r)
{
    if (r->pidfd >= 0)
        return syscall(SYS_pidfd_send_signal, r->pidfd, 0, NULL, 0) == 0;
    return kill(r->pid, 0) == 0;
}

/* ---- the check ---- */

static MC_NORETURN void be_check(const struct replace *r, const struct mc_plate_words *w, char **argv)
{
    struct stat st;
    char path[64];
    snprintf(path, sizeof(path), "/proc/%ld", (long)r->pid);
    if (stat(path, &st) < 0 || (st.st_uid != geteuid() && mc_proc_drop(st.st_uid, st.st_gid, false) != MC_OK))
        (void)fail("cannot become the user of process %ld: %s", (long)r->pid, strerror(errno));
    else if (chdir(w->dir) < 0)
        (void)fail("cannot go to %s, where it was started: %s", w->dir, strerror(errno));
    else {
        execve(w->program, argv, w->env);
        (void)fail("cannot run %s: %s", w->program, strerror(errno));
    }
    _exit(MC_EXIT_FAIL);
}

/* MONOCEROS --check-config and the words of the one that runs. */
static int check(const struct replace *r)
{
    struct mc_plate_words w;
    size_t n = 0;
    int status = 0;
    if (mc_plate_read(&r->plate, &w) != MC_OK)
        return fail("cannot read how process %ld was started", (long)r->pid);
    while (w.argv[n])
        n++;
    char **argv = calloc(n + 2, sizeof(*argv)), option[] = "--check-config";
    if (!argv) {
        mc_plate_free_words(&w);
        return fail("out of memory");
    }
    argv[0] = w.argv[0];
    argv[1] = option;
    memcpy(argv + 2, w.argv + 1, (n - 1) * sizeof(*argv));
    pid_t pid = fork();
    if (pid == 0)
        be_check(r, &w, argv);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    free(argv);
    mc_plate_free_words(&w);
    if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return MC_OK;
    if (pid > 0 && WIFSIGNALED(status))
        return fail("the check was sent %s: process %ld goes on as it is", mc_signals_name(WTERMSIG(status)), (long)r->pid);
    if (pid < 0)
        return fail("cannot start the check: %s", strerror(errno));
    return fail("the check failed with code %d: process %ld goes on as it is", WEXITSTATUS(status), (long)r->pid);
}

/* ---- the steps ---- */

static void wait_a_moment(struct replace *r)
{
    (void)mc_loop_turn(&r->loop, LOOK_MS);
}

static int tell_failure(const struct replace *r)
{
    int code = atomic_load(&r->plate.head->code);
    if (WIFSIGNALED(code))
        return fail("the new one was sent %s; process %ld goes on. Its error log says more", mc_signals_name(WTERMSIG(code)), (long)r->pid);
    return fail("the new one ended with %d before it was ready; process %ld goes on. Its error log says why", WEXITSTATUS(code), (long)r->pid);
}

/* USR2; MC_OK once the new one is ready: its pid is in *heir. */
static int start_heir(struct replace *r, pid_t *heir)
{
    const struct mc_plate_head *h = r->plate.head;
    uint32_t before = atomic_load(&h->attempts);
    bool told = false;
    pid_t there = atomic_load(&h->heir);
    if (there)
        return fail("an upgrade is under way already: process %ld beside process %ld", (long)there, (long)r->pid);
    if (send_signal(r, SIGUSR2) != MC_OK)
        return MC_ERROR;
    for (;; wait_a_moment(r)) {
        if (!runs(r))
            return fail("process %ld has ended meanwhile", (long)r->pid);
        if (atomic_load(&h->attempts) == before)
            continue;
        *heir = atomic_load(&h->heir);
        switch (atomic_load(&h->state)) {
        case MC_HEIR_READY:
            return MC_OK;
        case MC_HEIR_FAILED:
            return tell_failure(r);
        case MC_HEIR_REFUSED:
            return fail("process %ld does not start a new one: %.*s", (long)r->pid, (int)sizeof(h->reason), h->reason);
        default:
            if (*heir && !told)
                say("the new one starts", *heir);
            told |= *heir != 0;
        }
    }
}

/* TERM; MC_OK once the old one has left and the new one has its place. */
static int hand_over(struct replace *r, pid_t heir)
{
    struct mc_plate fresh;
    say("the new one is ready; the old one finishes its requests", r->pid);
    if (mc_plate_find(&fresh, heir) != MC_OK)
        return fail("process %ld, the new one, has ended; process %ld goes on", (long)heir, (long)r->pid);
    int rc = send_signal(r, SIGTERM);
    while (rc == MC_OK && (runs(r) || atomic_load(&fresh.head->parent))) {
        if (kill(heir, 0) < 0 && errno == ESRCH)
            rc = fail("process %ld, the new one, has ended", (long)heir);
        else
            wait_a_moment(r);
    }
    mc_plate_close(&fresh);
    return rc;
}

static int open_loop(struct replace *r)
{
    const struct mc_module *m = mc_module_find(MC_MODULE_EVENT, "epoll");
    if (!m)
        m = mc_module_find(MC_MODULE_EVENT, "poll");
    return m && mc_loop_open(&r->loop, m->ops.event) == MC_OK ? MC_OK : fail("cannot open the event loop: %s", strerror(errno));
}

int mc_replace_run(const char *pidfile)
{
    struct replace r = {.pidfile = pidfile, .pidfd = -1, .plate.shm.fd = -1};
    pid_t heir = 0;
    int rc = identify(&r) == MC_OK ? open_loop(&r) : MC_ERROR;
    if (rc == MC_OK && check(&r) == MC_OK && start_heir(&r, &heir) == MC_OK)
        rc = hand_over(&r, heir);
    else
        rc = MC_ERROR;
    if (rc == MC_OK)
        say("done: the new one has the place of the old one", heir);
    if (r.loop.ops)
        mc_loop_close(&r.loop);
    if (r.pidfd >= 0)
        close(r.pidfd);
    mc_plate_close(&r.plate);
    return rc == MC_OK ? MC_EXIT_OK : MC_EXIT_FAIL;
}
