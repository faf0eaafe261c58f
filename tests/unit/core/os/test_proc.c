/* Process properties: titles, identity, CPUs, crash reports. Each case that changes the process runs in a child. */
#include "core/base/log.h"
#include "core/os/fd.h"
#include "core/os/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int run_child(void (*fn)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        fn();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void assert_child_ok(void (*fn)(void))
{
    int status = run_child(fn);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("the child failed: line %d, status %x", WEXITSTATUS(status) * 4, status);
}

/* In a child: the exit status is the line, divided by 4 to fit. */
#define CHECK(x) ((x) ? (void)0 : _exit(__LINE__ / 4))

static const char *command_line(void)
{
    static char text[8192];
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    CHECK(n >= 0);
    text[n] = '\0';
    close(fd);
    return text;
}

static void set_titles(void)
{
    char name[32] = "";
    mc_proc_title("mc: %s", "a");
    CHECK(strcmp(command_line(), "mc: a") == 0);
    CHECK(prctl(PR_GET_NAME, name) == 0 && strcmp(name, "mc") == 0);
    mc_proc_title("mc: %0600d", 1); /* cut to the room there is */
    size_t room = strlen(command_line());
    CHECK(room > 0 && strncmp(command_line(), "mc: 000", room < 7 ? room : 7) == 0);
    CHECK(getenv("MC_TEST_TITLE") && strcmp(getenv("MC_TEST_TITLE"), "still here") == 0);
    mc_proc_title("mc: b");
    CHECK(strcmp(command_line(), "mc: b") == 0);
}

static void set_long_titles(void)
{
    char want[128];
    CHECK(mc_proc_title_own() == MC_OK);
    snprintf(want, sizeof(want), "mc: %0100d", 7);
    mc_proc_title("%s", want);
    CHECK(strcmp(command_line(), want) == 0);
    CHECK(getenv("MC_TEST_TITLE") && strcmp(getenv("MC_TEST_TITLE"), "still here") == 0);
    CHECK(getenv("MC_TEST_ROOM") != NULL);
    mc_proc_title("mc: short");
    CHECK(strcmp(command_line(), "mc: short") == 0);
}

static void titles(void **state)
{
    (void)state;
    assert_child_ok(set_titles);
    assert_child_ok(set_long_titles);
}

static void names_become_ids(void **state)
{
    (void)state;
    uid_t uid = 99;
    gid_t gid = 99;
    assert_int_equal(mc_proc_user("root", &uid, &gid), MC_OK);
    assert_int_equal(uid, 0);
    assert_int_equal(gid, 0);
    assert_int_equal(mc_proc_user("0", &uid, NULL), MC_OK);
    assert_int_equal(mc_proc_user("4000000", &uid, &gid), MC_OK);
    assert_int_equal(uid, 4000000);
    assert_true(gid == (gid_t)-1);
    assert_int_equal(mc_proc_group("root", &gid), MC_OK);
    assert_int_equal(gid, 0);
    assert_int_equal(mc_proc_group("777", &gid), MC_OK);
    assert_int_equal(gid, 777);
    static const char *const bad[] = {"", "no such name", "-1", "4294967295", "0x10", " 1"};
    for (size_t i = 0; i < MC_COUNT(bad); i++) {
        assert_int_equal(mc_proc_user(bad[i], &uid, &gid), MC_ERROR);
        assert_int_equal(mc_proc_group(bad[i], &gid), MC_ERROR);
    }
}

static void drop_all(void)
{
    gid_t groups[8];
    static const gid_t extra[] = {1, 2, 3};
    CHECK(setgroups(3, extra) == 0);
    CHECK(mc_proc_drop(12345, 54321, false) == MC_OK);
    CHECK(getuid() == 12345 && geteuid() == 12345 && getgid() == 54321 && getegid() == 54321);
    CHECK(getgroups(8, groups) == 1 && groups[0] == 54321);
    CHECK(setuid(0) < 0 && setgid(0) < 0);
    CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    CHECK(mc_proc_drop(12345, 54321, false) == MC_OK); /* what we are already */
    CHECK(mc_proc_drop(0, 0, false) == MC_ERROR && errno == EPERM);
    CHECK(mc_proc_drop((uid_t)-1, 1, false) == MC_ERROR && errno == EPERM);
}

static void drop_user_only(void)
{
    gid_t groups[8], gid = getegid();
    CHECK(mc_proc_drop(12345, (gid_t)-1, false) == MC_OK);
    CHECK(getuid() == 12345 && getgid() == gid);
    CHECK(getgroups(8, groups) == 1 && groups[0] == gid);
}

static void drop_group_only(void)
{
    CHECK(mc_proc_drop((uid_t)-1, 54321, false) == MC_OK);
    CHECK(getuid() == 0 && getegid() == 54321);
}

static void drop_with_groups_of_the_user(void)
{
    gid_t groups[64];
    uid_t uid;
    gid_t gid;
    CHECK(mc_proc_user("daemon", &uid, &gid) == MC_OK);
    CHECK(mc_proc_drop(uid, gid, true) == MC_OK);
    int n = getgroups(64, groups);
    bool own = false;
    for (int i = 0; i < n; i++)
        own = own || groups[i] == gid;
    CHECK(own && getuid() == uid);
}

static void drop_to_nobody_known(void)
{
    CHECK(mc_proc_drop(3999999, 1, true) == MC_ERROR && errno == ENOENT);
    CHECK(mc_proc_drop((uid_t)-1, (gid_t)-1, true) == MC_OK);
    CHECK(getuid() == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0);
}

static void privileges_go_for_good(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_child_ok(drop_all);
    assert_child_ok(drop_user_only);
    assert_child_ok(drop_group_only);
    assert_child_ok(drop_with_groups_of_the_user);
    assert_child_ok(drop_to_nobody_known);
}

static void the_program_has_a_path(void **state)
{
    (void)state;
    struct stat here, self;
    assert_int_equal(stat(mc_proc_exe(), &here), 0);
    assert_int_equal(stat("/proc/self/exe", &self), 0);
    assert_int_equal(here.st_ino, self.st_ino);
}

static void put(const char *root, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
        *p = '/';
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(mc_fd_write_all(fd, text, strlen(text)), MC_OK);
    close(fd);
}

static void cpu_quotas_count(void **state)
{
    (void)state;
    static const struct {
        const char *cgroup, *file, *text, *file2, *text2;
        unsigned cpus;
    } cases[] = {
        {"0::/\n", "sys/fs/cgroup/cpu.max", "max 100000\n", NULL, NULL, 16},
        {"0::/\n", "sys/fs/cgroup/cpu.max", "200000 100000\n", NULL, NULL, 2},
        {"0::/\n", "sys/fs/cgroup/cpu.max", "250000 100000\n", NULL, NULL, 3},
        {"0::/\n", "sys/fs/cgroup/cpu.max", "1000 100000\n", NULL, NULL, 1},
        {"0::/\n", "sys/fs/cgroup/cpu.max", "junk\n", NULL, NULL, 16},
        {"0::/\n", "sys/fs/cgroup/cpu.max", "3200000 100000\n", NULL, NULL, 16},
        {"0::/a/b\n", "sys/fs/cgroup/a/cpu.max", "300000 100000\n", "sys/fs/cgroup/a/b/cpu.max", "max 100000\n", 3},
        {"0::/a/b\n", "sys/fs/cgroup/a/cpu.max", "300000 100000\n", "sys/fs/cgroup/a/b/cpu.max", "100000 100000\n", 1},
        {"0::/not/mounted\n", "sys/fs/cgroup/cpu.max", "400000 100000\n", NULL, NULL, 4},
        {"9:memory:/m\n4:cpu,cpuacct:/d/1\n0::/\n", "sys/fs/cgroup/cpu,cpuacct/d/1/cpu.cfs_quota_us", "500000\n",
         "sys/fs/cgroup/cpu,cpuacct/d/1/cpu.cfs_period_us", "100000\n", 5},
        {"4:cpuacct,cpu:/gone\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "600000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n", 6},
        {"4:cpu:/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n", 16},
        {"4:cpuset:/\nrubbish\n", "sys/fs/cgroup/cpuset/cpu.cfs_quota_us", "100000\n", "sys/fs/cgroup/cpuset/cpu.cfs_period_us", "100000\n",
         16},
    };
    for (size_t i = 0; i < MC_COUNT(cases); i++) {
        char root[] = "/tmp/mc-test-cpus.XXXXXX", remove[64];
        assert_non_null(mkdtemp(root));
        put(root, "proc/self/cgroup", cases[i].cgroup);
        put(root, cases[i].file, cases[i].text);
        if (cases[i].file2)
            put(root, cases[i].file2, cases[i].text2);
        unsigned got = mc_proc_cpus_under(root, 16);
        snprintf(remove, sizeof(remove), "rm -r %s", root);
        assert_int_equal(system(remove), 0);
        if (got != cases[i].cpus)
            fail_msg("case %zu: %u", i, got);
    }
    assert_int_equal(mc_proc_cpus_under("/no/such/root", 16), 16);
    assert_in_range(mc_proc_cpus(), 1, (unsigned)sysconf(_SC_NPROCESSORS_CONF));
}

static char busy[128];
static int log_file = -1;

static void install(void)
{
    /* Without the sanitizer's handlers, as in production. */
    static const int all[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    for (size_t i = 0; i < MC_COUNT(all); i++)
        signal(all[i], SIG_DFL);
    mc_log_init(log_file, MC_LOG_INFO);
    CHECK(mc_proc_crash_handler(busy) == MC_OK);
    snprintf(busy, sizeof(busy), "GET /a\x01z"); /* after the installation: it is read when it happens */
}

static void die_by_abort(void)
{
    install();
    abort();
}

static void die_by_kill(void)
{
    install();
    kill(getpid(), SIGSEGV);
}

static void die_by_trap(void)
{
    install();
    __builtin_trap();
}

static void die_by_fault(void)
{
    install();
    volatile char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    page[8] = 1;
}

static int depth; /* never reached: it only keeps the compiler from seeing the end */

static int deep(volatile char *above)
{
    volatile char here[65536];
    here[0] = above[0];
    return ++depth > 1000000 ? 0 : deep(here) + here[0];
}

static void die_of_a_stack_overflow(void)
{
    char start[1] = "";
    struct rlimit small = {1 << 20, 1 << 20};
    install();
    setrlimit(RLIMIT_STACK, &small);
    busy[0] = '\0';
    _exit(deep(start));
}

static void earlier_handler(int sig)
{
    mc_log_signal_safe(MC_LOG_ERROR, "traceback", 9);
    signal(sig, SIG_DFL);
    raise(sig);
}

static void die_with_an_earlier_handler(void)
{
    install();
    signal(SIGABRT, earlier_handler);
    CHECK(mc_proc_crash_handler(busy) == MC_OK);
    CHECK(mc_proc_crash_handler(busy) == MC_OK); /* the handler from before is not forgotten for our own */
    abort();
}

static struct sigaction below;

/* As Python's faulthandler does: dump, put back what was there, raise. */
static void later_handler(int sig)
{
    mc_log_signal_safe(MC_LOG_ERROR, "traceback", 9);
    sigaction(sig, &below, NULL);
    raise(sig);
}

static void die_with_a_later_handler(void)
{
    struct sigaction sa = {.sa_handler = later_handler, .sa_flags = SA_NODEFER};
    install();
    sigaction(SIGSEGV, &sa, &below);
    raise(SIGSEGV);
}

/* Each over the other, so that they call each other in a circle. */
static void die_in_a_circle(void)
{
    struct sigaction sa = {.sa_handler = later_handler, .sa_flags = SA_NODEFER};
    install();
    sigaction(SIGSEGV, &sa, &below);
    CHECK(mc_proc_crash_handler(busy) == MC_OK);
    raise(SIGSEGV);
}

static void crashes_are_reported(void **state)
{
    (void)state;
    static const struct {
        void (*die)(void);
        int sig;
        const char *line, *more;
    } cases[] = {
        {die_by_abort, SIGABRT, "[CRITICAL] SIGABRT while handling: GET /a?z\n", NULL},
        {die_by_kill, SIGSEGV, "[CRITICAL] SIGSEGV while handling: GET /a?z\n", NULL},
        {die_by_trap, SIGILL, "[CRITICAL] SIGILL while handling: GET /a?z\n", NULL},
        {die_by_fault, SIGSEGV, "[CRITICAL] SIGSEGV while handling: GET /a?z\n", NULL},
        {die_of_a_stack_overflow, SIGSEGV, "[CRITICAL] SIGSEGV\n", NULL},
        {die_with_an_earlier_handler, SIGABRT, "[CRITICAL] SIGABRT while handling: GET /a?z\n", "[ERROR] traceback\n"},
        {die_with_a_later_handler, SIGSEGV, "[CRITICAL] SIGSEGV while handling: GET /a?z\n", "[ERROR] traceback\n"},
        {die_in_a_circle, SIGSEGV, "[CRITICAL] SIGSEGV while handling: GET /a?z\n", "[ERROR] traceback\n"},
    };
    for (size_t i = 0; i < MC_COUNT(cases); i++) {
        char text[4096];
        log_file = mc_fd_tmpfile("/tmp");
        assert_true(log_file >= 0);
        int status = run_child(cases[i].die);
        ssize_t n = pread(log_file, text, sizeof(text) - 1, 0);
        text[n > 0 ? n : 0] = '\0';
        close(log_file);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != cases[i].sig)
            fail_msg("case %zu: status %x, log: %s", i, status, text);
        const char *line = strstr(text, cases[i].line);
        assert_non_null(line);
        assert_null(strstr(line + 1, "[CRITICAL]")); /* once */
        if (cases[i].more)
            assert_non_null(strstr(text, cases[i].more));
    }
}

/* The middle process takes its child as heir of orphans, and sees that it is told of the parent's death. */
static void orphans_come_here(void)
{
    int up[2], status;
    char c = 0;
    CHECK(mc_proc_subreaper() == MC_OK);
    CHECK(pipe(up) == 0);
    pid_t middle = fork();
    if (middle == 0) {
        if (fork() == 0) {
            CHECK(mc_proc_parent_death(SIGKILL) == MC_OK);
            CHECK(write(up[1], "x", 1) == 1);
            for (;;)
                pause();
        }
        CHECK(read(up[0], &c, 1) == 1);
        _exit(0);
    }
    CHECK(waitpid(middle, &status, 0) == middle && WIFEXITED(status));
    CHECK(waitpid(-1, &status, 0) > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void parents_and_orphans(void **state)
{
    (void)state;
    assert_child_ok(orphans_come_here);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(titles),
        cmocka_unit_test(names_become_ids),
        cmocka_unit_test(privileges_go_for_good),
        cmocka_unit_test(the_program_has_a_path),
        cmocka_unit_test(cpu_quotas_count),
        cmocka_unit_test(crashes_are_reported),
        cmocka_unit_test(parents_and_orphans),
    };
    /* An environment that stands behind the arguments, whatever the caller's is. */
    if (argc == 1) {
        char room[512];
        memset(room, 'r', sizeof(room) - 1);
        room[sizeof(room) - 1] = '\0';
        setenv("MC_TEST_ROOM", room, 1);
        setenv("MC_TEST_TITLE", "still here", 1);
        execv("/proc/self/exe", (char *[]){argv[0], (char *)(uintptr_t) "again", NULL});
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
