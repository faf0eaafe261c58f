/* The last words of a process that dies of a fatal signal: one CRITICAL line, then the handler that was there before (a traceback dumper
 * of the interpreter), or the default action with its core dump. SIGABRT is also the arbiter's question to a process that is stuck, so
 * its stack is told where nobody else does. Async-signal-safe; runs on a stack of its own, so that a stack overflow is reported as well.
 * Installed by workers and the arbiter; may be installed again after the app changed the handlers. */
#include "core/base/log.h"
#include "core/os/proc.h"
#include "core/os/signals.h"

#include <execinfo.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

enum { STACK = 65536, TEXT = 1024, FRAMES = 64 };

static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
static struct sigaction before[MC_COUNT(fatal)];
static const volatile char *busy_with;
static atomic_int dying;
static char stack[STACK];

static size_t add(char *out, size_t n, const char *z)
{
    while (*z && n < TEXT)
        out[n++] = *z++;
    return n;
}

/* The text may be changing in another thread at this moment: there is no waiting for it any more, and a mixture tells enough. */
__attribute__((no_sanitize("thread"))) static void report(int sig)
{
    char line[TEXT];
    size_t n = add(line, 0, mc_signals_name(sig));
    const volatile char *text = busy_with;
    if (text && *text) {
        n = add(line, n, " while handling: ");
        for (; *text && n < TEXT; text++)
            line[n++] = (unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text;
    }
    mc_log_signal_safe(MC_LOG_CRITICAL, line, n);
}

static void tell_stack(void)
{
    void *frames[FRAMES];
    backtrace_symbols_fd(frames, backtrace(frames, FRAMES), mc_log_fd());
}

/* Is there an earlier handler? */
static bool restore(int sig)
{
    struct sigaction *old = NULL, standard = {.sa_handler = SIG_DFL};
    for (size_t i = 0; i < MC_COUNT(fatal); i++) {
        if (fatal[i] == sig)
            old = &before[i];
    }
    /* Ignored would mean to go on after the fault. */
    bool usable = old && ((old->sa_flags & SA_SIGINFO) || (old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN));
    sigaction(sig, usable ? old : &standard, NULL);
    return usable;
}

/* The earlier handler may itself end by calling us (two dumpers, each installed over the other): the second time is the end. */
static void on_fatal(int sig)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    if (atomic_fetch_add(&dying, 1) == 0) {
        report(sig);
        if (!restore(sig) && sig == SIGABRT)
            tell_stack();
    } else {
        sigaction(sig, &standard, NULL);
    }
    raise(sig); /* blocked here, so it comes when we return */
}

int mc_proc_crash_handler(const volatile char *text)
{
    stack_t alt = {.ss_sp = stack, .ss_size = sizeof(stack)}, old;
    void *warm[1];
    busy_with = text;
    (void)backtrace(warm, 1); /* loads what it needs: not in a signal handler */
    /* A stack that somebody else gave to this thread serves as well. */
    if (sigaltstack(NULL, &old) < 0 || ((old.ss_flags & SS_DISABLE) && sigaltstack(&alt, NULL) < 0))
        return MC_ERROR;
    for (size_t i = 0; i < MC_COUNT(fatal); i++) {
        struct sigaction sa = {.sa_handler = on_fatal, .sa_flags = SA_ONSTACK}, was;
        sigemptyset(&sa.sa_mask);
        if (sigaction(fatal[i], &sa, &was) < 0)
            return MC_ERROR;
        bool ours = !(was.sa_flags & SA_SIGINFO) && was.sa_handler == on_fatal;
        if (!ours)
            before[i] = was;
    }
    return MC_OK;
}
