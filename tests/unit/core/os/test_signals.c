/* Signals as bits, and what fork makes of them. */
#include "core/os/signals.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const int set[] = {SIGHUP, SIGUSR1, SIGCHLD, 0};

static bool readable(int fd)
{
    uint64_t count;
    int copy = dup(fd);
    bool yes = read(copy, &count, sizeof(count)) == sizeof(count);
    if (yes)
        assert_int_equal(write(copy, &count, sizeof(count)), sizeof(count)); /* put it back */
    close(copy);
    return yes;
}

static void signals_become_bits(void **state)
{
    (void)state;
    assert_int_equal(mc_signals_catch(set), MC_OK);
    int fd = mc_signals_fd();
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(mc_signals_take(), 0);
    assert_false(readable(fd));
    raise(SIGHUP);
    raise(SIGUSR1);
    raise(SIGHUP);
    assert_true(readable(fd));
    uint64_t got = mc_signals_take();
    assert_true(mc_signals_has(got, SIGHUP));
    assert_true(mc_signals_has(got, SIGUSR1));
    assert_false(mc_signals_has(got, SIGCHLD));
    assert_false(readable(fd));
    assert_int_equal(mc_signals_take(), 0);
    assert_int_equal(mc_signals_catch(set), MC_OK); /* again: the same fd */
    assert_int_equal(mc_signals_fd(), fd);
    raise(SIGPIPE); /* ignored, not noted */
    assert_int_equal(mc_signals_take(), 0);
}

static void signals_are_counted(void **state)
{
    (void)state;
    assert_int_equal(mc_signals_catch(set), MC_OK);
    mc_signals_take();
    (void)mc_signals_times(SIGUSR1);
    for (int i = 0; i < 3; i++)
        raise(SIGUSR1);
    assert_true(mc_signals_has(mc_signals_take(), SIGUSR1));
    assert_int_equal(mc_signals_times(SIGUSR1), 3);
    assert_int_equal(mc_signals_times(SIGUSR1), 0);
    assert_int_equal(mc_signals_times(0), 0);
    assert_int_equal(mc_signals_times(1000), 0);
}

static int child_status(void (*fn)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        fn();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void fresh_in_the_child(void)
{
    int old = mc_signals_fd();
    if (mc_signals_after_fork() != MC_OK || mc_signals_fd() == old || mc_signals_take() != 0)
        _exit(1);
    raise(SIGUSR1);
    if (!mc_signals_has(mc_signals_take(), SIGUSR1))
        _exit(2);
    mc_signals_default(set);
    raise(SIGUSR1);
}

static void fork_starts_anew(void **state)
{
    (void)state;
    assert_int_equal(mc_signals_catch(set), MC_OK);
    mc_signals_take();
    int status = child_status(fresh_in_the_child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGUSR1);
    /* What came in the child after its fresh start is not seen here; SIGCHLD of its end is. */
    uint64_t got = mc_signals_take();
    assert_false(mc_signals_has(got, SIGUSR1));
    assert_true(mc_signals_has(got, SIGCHLD));
}

static void its_own(int sig)
{
    (void)sig;
}

static void as_by_default(void)
{
    raise(SIGCHLD); /* by default nothing */
    raise(SIGUSR2);
    raise(SIGPIPE);
    raise(SIGUSR1);
}

/* A child that makes no fresh start: our handlers do what none would do, those of others stay, and the parent hears nothing. */
static void a_strange_child_lets_go(void **state)
{
    (void)state;
    assert_int_equal(mc_signals_catch(set), MC_OK);
    assert_true(signal(SIGUSR2, its_own) != SIG_ERR);
    mc_signals_take();
    int status = child_status(as_by_default);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGUSR1);
    uint64_t got = mc_signals_take();
    assert_true(!mc_signals_has(got, SIGUSR1) && mc_signals_has(got, SIGCHLD));
    assert_true(signal(SIGUSR2, SIG_DFL) == its_own);
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(mc_signals_name(SIGTERM), "SIGTERM");
    assert_string_equal(mc_signals_name(SIGSEGV), "SIGSEGV");
    assert_string_equal(mc_signals_name(SIGTTOU), "SIGTTOU");
    assert_string_equal(mc_signals_name(0), "unknown signal");
    assert_string_equal(mc_signals_name(-1), "unknown signal");
    assert_string_equal(mc_signals_name(64), "unknown signal");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signals_become_bits),
        cmocka_unit_test(signals_are_counted),
        cmocka_unit_test(fork_starts_anew),
        cmocka_unit_test(a_strange_child_lets_go),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
