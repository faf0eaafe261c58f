/* The pidfile in a directory of its own. */
#include "core/process/pidfile.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/mc-pidfile-XXXXXX";
static char path[64], err[256];

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/pid", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return rmdir(dir); /* nothing may be left in it */
}

static int clean(void **state)
{
    (void)state;
    unlink(path);
    err[0] = '\0';
    return 0;
}

static void put(const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static const char *get(void)
{
    static char text[64];
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
    if (f)
        fclose(f);
    text[n] = '\0';
    return text;
}

/* A pid that was ours to know and is free now. */
static pid_t dead_pid(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    waitpid(pid, NULL, 0);
    return pid;
}

static void test_written_and_removed(void **state)
{
    (void)state;
    char want[32];
    struct stat st;
    mode_t old = umask(077);
    assert_int_equal(mc_pidfile_create(path, getpid(), err, sizeof(err)), MC_OK);
    umask(old);
    snprintf(want, sizeof(want), "%ld\n", (long)getpid());
    assert_string_equal(get(), want);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    assert_int_equal(mc_pidfile_owner(path), getpid());
    mc_pidfile_remove(path, getpid());
    assert_int_equal(access(path, F_OK), -1);
}

static void test_a_live_process_is_not_pushed_aside(void **state)
{
    (void)state;
    put("1\n");
    assert_int_equal(mc_pidfile_create(path, getpid(), err, sizeof(err)), MC_ERROR);
    assert_non_null(strstr(err, "PID 1"));
    assert_string_equal(get(), "1\n");
}

static void test_a_dead_one_is(void **state)
{
    (void)state;
    char text[32];
    snprintf(text, sizeof(text), "%ld\n", (long)dead_pid());
    put(text);
    assert_int_equal(mc_pidfile_owner(path), 0);
    assert_int_equal(mc_pidfile_create(path, getpid(), err, sizeof(err)), MC_OK);
    assert_int_equal(mc_pidfile_owner(path), getpid());
}

static void test_rubbish_is_overwritten(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "\n", "x\n", "-1\n", "0\n", "99999999999999999999\n", "12 13\n", "1x\n"};
    for (size_t i = 0; i < MC_COUNT(texts); i++) {
        put(texts[i]);
        assert_int_equal(mc_pidfile_owner(path), 0);
        assert_int_equal(mc_pidfile_create(path, getpid(), err, sizeof(err)), MC_OK);
    }
}

static void test_a_foreign_one_is_not_removed(void **state)
{
    (void)state;
    put("1\n");
    mc_pidfile_remove(path, getpid());
    assert_string_equal(get(), "1\n");
}

static void test_a_planted_link_is_not_followed(void **state)
{
    (void)state;
    char victim[80];
    snprintf(victim, sizeof(victim), "%s/victim", dir);
    assert_int_equal(symlink(victim, path), 0);
    assert_int_equal(mc_pidfile_create(path, getpid(), err, sizeof(err)), MC_ERROR);
    assert_non_null(strstr(err, "not a regular file"));
    assert_int_equal(access(victim, F_OK), -1);
}

static void test_no_directory(void **state)
{
    (void)state;
    assert_int_equal(mc_pidfile_create("/nonexistent/dir/pid", getpid(), err, sizeof(err)), MC_ERROR);
    assert_non_null(strstr(err, "No such file"));
}

#define PIDFILE_TEST(f) cmocka_unit_test_setup_teardown(f, clean, clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PIDFILE_TEST(test_written_and_removed),
        PIDFILE_TEST(test_a_live_process_is_not_pushed_aside),
        PIDFILE_TEST(test_a_dead_one_is),
        PIDFILE_TEST(test_rubbish_is_overwritten),
        PIDFILE_TEST(test_a_foreign_one_is_not_removed),
        PIDFILE_TEST(test_a_planted_link_is_not_followed),
        PIDFILE_TEST(test_no_directory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
