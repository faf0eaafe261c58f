/* The error log: format, levels, escapes, lost lines, and readers that do not read. */
#include "core/base/clock.h"
#include "core/base/log.h"

#include <fcntl.h>
#include <regex.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int file = -1;
static char text[200000];

/* All that was logged since the last call. */
static const char *logged(void)
{
    ssize_t n = pread(file, text, sizeof(text) - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    assert_int_equal(ftruncate(file, 0), 0);
    return text;
}

static int open_file(void **state)
{
    (void)state;
    char path[] = "/tmp/mc-test-log.XXXXXX";
    file = mkostemp(path, O_APPEND | O_CLOEXEC);
    assert_true(file >= 0);
    unlink(path);
    mc_log_init(file, MC_LOG_INFO);
    return 0;
}

static int close_file(void **state)
{
    (void)state;
    close(file);
    mc_log_init(STDERR_FILENO, MC_LOG_INFO);
    return 0;
}

static bool matches(const char *line, const char *pattern)
{
    regex_t re;
    assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
    bool yes = regexec(&re, line, 0, NULL, 0) == 0;
    regfree(&re);
    return yes;
}

#define HEAD "^\\[[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} [+-][0-9]{4}\\] \\[[0-9]+\\] "

static void lines_have_the_known_format(void **state)
{
    (void)state;
    mc_info("Listening at: %s (%d)", "http://127.0.0.1:8000", 42);
    assert_true(matches(logged(), HEAD "\\[INFO\\] Listening at: http://127.0.0.1:8000 \\(42\\)\n$"));
    mc_warn("w");
    assert_true(matches(logged(), HEAD "\\[WARNING\\] w\n$"));
    mc_error("e\n\n");
    assert_true(matches(logged(), HEAD "\\[ERROR\\] e\n$"));
    mc_critical("%s", "");
    assert_true(matches(logged(), HEAD "\\[CRITICAL\\] \n$"));
}

static void levels_filter(void **state)
{
    (void)state;
    mc_debug("no");
    assert_string_equal(logged(), "");
    mc_log_init(file, MC_LOG_DEBUG);
    mc_debug("yes");
    assert_true(matches(logged(), "\\[DEBUG\\] yes\n$"));
    mc_log_init(file, MC_LOG_ERROR);
    mc_warn("no");
    assert_string_equal(logged(), "");
    mc_error("yes");
    assert_true(matches(logged(), "yes\n$"));
    enum mc_log_level level = MC_LOG_INFO;
    assert_int_equal(mc_log_level_parse("Critical", &level), MC_OK);
    assert_int_equal(level, MC_LOG_CRITICAL);
    assert_int_equal(mc_log_level_parse("trace", &level), MC_ERROR);
    assert_int_equal(mc_log_level_parse("", &level), MC_ERROR);
    assert_int_equal(level, MC_LOG_CRITICAL);
    assert_int_equal(mc_log_level_parse("Warn", &level), MC_OK);
    assert_int_equal(level, MC_LOG_WARNING);
}

static void text_of_an_app_stays_as_it_is(void **state)
{
    (void)state;
    mc_log_init(file, MC_LOG_CRITICAL);
    mc_log_text("a \x1b[1m\n\nb\n", 10);
    mc_log_text("", 0);
    assert_string_equal(logged(), "a \x1b[1m\n\nb\n");
}

static void control_bytes_are_escaped(void **state)
{
    (void)state;
    mc_info("a\r\x1b[31m%s\x7f\ttab\nline", "\x01\xc3\xa4");
    assert_true(matches(logged(), "a\\\\x0d\\\\x1b\\[31m\\\\x01\xc3\xa4\\\\x7f\ttab\nline\n$"));
}

static void long_lines_are_whole_up_to_a_bound(void **state)
{
    (void)state;
    char *big = malloc(100001);
    assert_non_null(big);
    memset(big, 'x', 100000);
    big[100000] = '\0';
    static const int sizes[] = {2046, 2047, 2048, 2049, 60000};
    for (size_t i = 0; i < MC_COUNT(sizes); i++) {
        mc_info("%.*s|", sizes[i], big);
        const char *line = logged();
        assert_int_equal(strlen(strchr(line, 'x')), sizes[i] + 2);
    }
    mc_info("%s", big);
    const char *line = logged();
    assert_int_equal(line[strlen(line) - 1], '\n');
    assert_in_range(strlen(line), 60000, 66000);
    free(big);
}

static void lost_lines_are_counted(void **state)
{
    (void)state;
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(full >= 0);
    mc_log_set_fd(full);
    for (int i = 0; i < 3; i++)
        mc_info("lost");
    mc_log_set_fd(file);
    assert_int_equal(mc_log_fd(), file);
    mc_info("back");
    assert_true(matches(logged(), "back\n.*\\[WARNING\\] 3 lines of this log could not be written\n$"));
    mc_info("again");
    assert_true(matches(logged(), "\\] again\n$"));
    close(full);
}

static void a_pipe_that_nobody_reads_blocks_nobody(void **state)
{
    (void)state;
    int pipes[2];
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    mc_log_set_fd(pipes[1]);
    for (int i = 0; i < 2000; i++)
        mc_info("%0500d", i); /* far more than a pipe holds */
    mc_log_set_fd(file);
    mc_info("here");
    assert_true(matches(logged(), "here\n.*lines of this log could not be written\n$"));
    close(pipes[0]);
    close(pipes[1]);
}

static void a_handler_may_log(void **state)
{
    (void)state;
    mc_log_signal_safe(MC_LOG_CRITICAL, "SIGSEGV\0x", 7);
    assert_true(matches(logged(), HEAD "\\[CRITICAL\\] SIGSEGV\n$"));
}

static int run_child(void (*fn)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        fn();
        _exit(77);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void die_of_the_environment(void)
{
    mc_fatal(MC_EXIT_BOOT, "no %s", "luck");
}

static void die_of_a_bug(void)
{
    int three = 3;
    MC_ASSERT(three == 4);
}

static void the_end_is_logged(void **state)
{
    (void)state;
    int status = run_child(die_of_the_environment);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), MC_EXIT_BOOT);
    assert_true(matches(logged(), "\\[CRITICAL\\] no luck\n$"));
    status = run_child(die_of_a_bug);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_true(matches(logged(), "\\[CRITICAL\\] Bug at .*test_log.c:[0-9]+: three == 4\n$"));
}

static uint64_t fake_ms = 5000;

static uint64_t fake_now(void)
{
    return fake_ms;
}

static void repeated_lines_are_limited(void **state)
{
    (void)state;
    struct mc_log_limit limit = {0};
    unsigned missed = 99;
    mc_clock_fake(fake_now);
    assert_true(mc_log_limited(&limit, &missed));
    assert_int_equal(missed, 0);
    fake_ms += 999;
    assert_false(mc_log_limited(&limit, &missed));
    assert_false(mc_log_limited(&limit, &missed));
    fake_ms += 1;
    assert_true(mc_log_limited(&limit, &missed));
    assert_int_equal(missed, 2);
    fake_ms += 5000;
    assert_true(mc_log_limited(&limit, &missed));
    assert_int_equal(missed, 0);
    mc_clock_fake(NULL);
}

#define LOG_TEST(f) cmocka_unit_test_setup_teardown(f, open_file, close_file)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(lines_have_the_known_format), LOG_TEST(levels_filter),
        LOG_TEST(text_of_an_app_stays_as_it_is),
        LOG_TEST(control_bytes_are_escaped),   LOG_TEST(long_lines_are_whole_up_to_a_bound),
        LOG_TEST(lost_lines_are_counted),      LOG_TEST(a_pipe_that_nobody_reads_blocks_nobody),
        LOG_TEST(a_handler_may_log),           LOG_TEST(the_end_is_logged),
        LOG_TEST(repeated_lines_are_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
