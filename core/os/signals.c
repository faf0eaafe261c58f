/* Signals become bits and a readable eventfd; nothing is decided in a handler. The loop of the process watches the fd.
 * Owns the eventfd. Called by the arbiter, workers and the zygote; after fork a process makes its own eventfd first. */
#include "core/os/signals.h"
#include "core/os/fd.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

static _Atomic uint64_t pending;
static _Atomic unsigned times[65];
static atomic_int event_fd = -1;
static atomic_int owner;

/* The eventfd of a child is still its parent's. Blocked while we are here, so it comes when we return. */
static void act_as_default(int sig)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigaction(sig, &standard, NULL);
    raise(sig);
}

static void note(int sig)
{
    int saved = errno;
    uint64_t one = 1;
    if (getpid() != atomic_load(&owner)) {
        act_as_default(sig);
        errno = saved;
        return;
    }
    atomic_fetch_add(&times[sig], 1);
    atomic_fetch_or(&pending, (uint64_t)1 << (sig - 1));
    /* Full or not, the counter is non-zero: the reader wakes. */
    ssize_t r = write(atomic_load(&event_fd), &one, sizeof(one));
    (void)r;
    errno = saved;
}

static int install(int sig, void (*handler)(int))
{
    struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigfillset(&sa.sa_mask);
    return sigaction(sig, &sa, NULL) == 0 ? MC_OK : MC_ERROR;
}

int mc_signals_catch(const int *signals)
{
    if (atomic_load(&event_fd) < 0 && mc_signals_after_fork() != MC_OK)
        return MC_ERROR;
    if (install(SIGPIPE, SIG_IGN) != MC_OK)
        return MC_ERROR;
    for (; *signals; signals++) {
        MC_ASSERT(*signals > 0 && *signals <= 64);
        if (install(*signals, note) != MC_OK)
            return MC_ERROR;
    }
    return MC_OK;
}

void mc_signals_default(const int *signals)
{
    for (; *signals; signals++)
        install(*signals, SIG_DFL);
}

int mc_signals_fd(void)
{
    return atomic_load(&event_fd);
}

int mc_signals_after_fork(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return MC_ERROR;
    int old = atomic_exchange(&event_fd, fd);
    atomic_store(&pending, 0);
    for (size_t i = 0; i < MC_COUNT(times); i++)
        atomic_store(&times[i], 0);
    atomic_store(&owner, (int)getpid());
    mc_fd_close(&old);
    return MC_OK;
}

uint64_t mc_signals_take(void)
{
    uint64_t count;
    /* Drain first: a signal between the two is taken now and wakes once more for nothing, instead of being forgotten. */
    ssize_t r = read(atomic_load(&event_fd), &count, sizeof(count));
    (void)r;
    return atomic_exchange(&pending, 0);
}

unsigned mc_signals_times(int sig)
{
    return sig > 0 && sig < (int)MC_COUNT(times) ? atomic_exchange(&times[sig], 0) : 0;
}

const char *mc_signals_name(int sig)
{
    static const char *const names[] = {
        [SIGHUP] = "SIGHUP",   [SIGINT] = "SIGINT",     [SIGQUIT] = "SIGQUIT", [SIGILL] = "SIGILL",   [SIGTRAP] = "SIGTRAP",
        [SIGABRT] = "SIGABRT", [SIGBUS] = "SIGBUS",     [SIGFPE] = "SIGFPE",   [SIGKILL] = "SIGKILL", [SIGUSR1] = "SIGUSR1",
        [SIGSEGV] = "SIGSEGV", [SIGUSR2] = "SIGUSR2",   [SIGPIPE] = "SIGPIPE", [SIGALRM] = "SIGALRM", [SIGTERM] = "SIGTERM",
        [SIGCHLD] = "SIGCHLD", [SIGCONT] = "SIGCONT",   [SIGSTOP] = "SIGSTOP", [SIGTSTP] = "SIGTSTP", [SIGTTIN] = "SIGTTIN",
        [SIGTTOU] = "SIGTTOU", [SIGURG] = "SIGURG",     [SIGXCPU] = "SIGXCPU", [SIGXFSZ] = "SIGXFSZ", [SIGVTALRM] = "SIGVTALRM",
        [SIGPROF] = "SIGPROF", [SIGWINCH] = "SIGWINCH", [SIGIO] = "SIGIO",     [SIGSYS] = "SIGSYS",
    };
    if (sig <= 0 || (size_t)sig >= MC_COUNT(names) || !names[sig])
        return "unknown signal";
    return names[sig];
}
