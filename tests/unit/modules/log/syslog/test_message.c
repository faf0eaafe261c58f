/* Messages of syslog, and the queue before a server that is away, slow or new. */
#include "modules/log/syslog/syslog.h"

#include "core/base/clock.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static const struct mc_syslog_style style = {.facility = 16, .host = "web1", .error = "monoceros.shop.error", .access = "monoceros.shop.access"};
static const struct timespec when = {.tv_sec = 1795330230, .tv_nsec = 123456789}; /* 2026-11-22 07:30:30 UTC */

static const char *header(bool bsd, enum mc_log_level level, bool access)
{
    static char out[MC_SYSLOG_HEADER + 1];
    struct mc_syslog_style s = style;
    s.bsd = bsd;
    out[mc_syslog_header(&s, level, access, &when, out)] = '\0';
    return out;
}

static void test_rfc5424(void **state)
{
    (void)state;
    char want[200];
    snprintf(want, sizeof want, "<131>1 2026-11-22T06:50:30.123456Z web1 monoceros.shop.error %ld error - ", (long)getpid());
    assert_string_equal(header(false, MC_LOG_ERROR, false), want);
    snprintf(want, sizeof want, "<134>1 2026-11-22T06:50:30.123456Z web1 monoceros.shop.access %ld access - ", (long)getpid());
    assert_string_equal(header(false, MC_LOG_INFO, true), want);
    static const int severities[] = {135, 134, 132, 131, 130};
    for (unsigned level = MC_LOG_DEBUG; level <= MC_LOG_CRITICAL; level++) {
        int pri = 0;
        assert_int_equal(sscanf(header(false, (enum mc_log_level)level, false), "<%d>1 ", &pri), 1);
        assert_int_equal(pri, severities[level]);
    }
}

static void test_rfc3164(void **state)
{
    (void)state;
    char want[200], date[40];
    setenv("TZ", "UTC", 1);
    tzset();
    mc_clock_log_date(date, sizeof date, when.tv_sec);
    snprintf(want, sizeof want, "<134>Nov 22 06:50:30 monoceros.shop.access[%ld]: ", (long)getpid());
    assert_string_equal(header(true, MC_LOG_INFO, true), want);
    mc_clock_bsd(date, 1793404800 - 25 * 86400);
    assert_string_equal(date, "Oct  6 00:00:00");
}

static void test_facilities(void **state)
{
    (void)state;
    assert_int_equal(mc_syslog_facility("user"), 1);
    assert_int_equal(mc_syslog_facility("LOCAL7"), 23);
    assert_int_equal(mc_syslog_facility("authpriv"), 10);
    assert_int_equal(mc_syslog_facility("none"), -1);
}

static void test_pieces_end_at_lines(void **state)
{
    (void)state;
    assert_int_equal(mc_syslog_piece("short", 5, 10), 5);
    assert_int_equal(mc_syslog_piece("line one\nline two", 17, 12), 8);
    assert_int_equal(mc_syslog_piece("no end of a line", 16, 12), 12);
    assert_int_equal(mc_syslog_piece("\nafter", 6, 3), 3);
}

/* ---- the queue ---- */

static uint64_t now;

static uint64_t clock_ms(void)
{
    return now;
}

static char path[64];
static struct mc_target target;

static int listen_at(int type)
{
    char err[100];
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    unlink(path);
    char text[MC_TARGET_TEXT];
    snprintf(text, sizeof text, "unix://%s%s", path, type == SOCK_STREAM ? "#stream" : "");
    assert_int_equal(mc_target_parse(text, 1, &target, err, sizeof err), MC_OK);
    assert_int_equal(bind(fd, &target.addr.u.sa, target.addr.len), 0);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static int setup(void **state)
{
    (void)state;
    now = 1000;
    mc_clock_fake(clock_ms);
    snprintf(path, sizeof path, "/tmp/mc-syslog.%ld", (long)getpid());
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mc_syslog_queue_close();
    unlink(path);
    mc_clock_fake(NULL);
    return 0;
}

static int put(unsigned i)
{
    char text[16];
    int n = snprintf(text, sizeof text, "%u", i);
    return mc_syslog_queue_put("<1>", 3, text, (size_t)n);
}

static int number(int fd)
{
    char text[64];
    int value = -1;
    ssize_t n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
    text[n > 0 ? n : 0] = '\0';
    return n > 0 && sscanf(text, "<1>%d", &value) == 1 ? value : -1;
}

/* More than the socket takes: nothing is lost, and the order is kept. */
static void test_a_burst_is_queued(void **state)
{
    (void)state;
    int fd = listen_at(SOCK_DGRAM), why;
    mc_syslog_queue_open(&target);
    for (unsigned i = 0; i < 2000; i++)
        assert_int_equal(put(i), MC_OK);
    for (int i = 0; i < 2000;) {
        assert_int_equal(number(fd), i);
        i++;
        assert_int_equal(mc_syslog_queue_retry(&why), 0);
    }
    assert_int_equal(number(fd), -1);
    assert_int_equal(why, 0);
    close(fd);
}

/* Nobody reads: what finds no room in the queue is counted, and nobody waits. */
static void test_what_finds_no_room_is_counted(void **state)
{
    (void)state;
    int fd = listen_at(SOCK_DGRAM), why;
    unsigned lost = 0, got = 0;
    mc_syslog_queue_open(&target);
    for (unsigned i = 0; i < 50000; i++)
        lost += put(i) != MC_OK;
    assert_in_range(lost, 1000, 49999);
    assert_int_equal(mc_syslog_queue_retry(&why), lost);
    assert_true(why != 0);
    for (int i = 0; i < 50000; i++) {
        got += number(fd) >= 0;
        mc_syslog_queue_retry(&why);
    }
    assert_int_equal(got + lost, 50000);
    assert_int_equal(why, 0);
    mc_syslog_queue_taken(lost);
    assert_int_equal(mc_syslog_queue_retry(&why), 0);
    close(fd);
}

/* The server goes and comes back with another socket of the same name. */
static void test_a_server_that_restarts(void **state)
{
    (void)state;
    int fd = listen_at(SOCK_DGRAM), why;
    mc_syslog_queue_open(&target);
    assert_int_equal(put(1), MC_OK);
    assert_int_equal(number(fd), 1);
    close(fd);
    assert_int_equal(put(2), MC_OK); /* waits in the queue */
    assert_int_equal(mc_syslog_queue_retry(&why), 0);
    assert_true(why != 0);
    fd = listen_at(SOCK_DGRAM);
    assert_int_equal(mc_syslog_queue_retry(&why), 0); /* not every time */
    assert_int_equal(number(fd), -1);
    now += 5000;
    assert_int_equal(put(3), MC_OK);
    assert_int_equal(number(fd), 2);
    assert_int_equal(number(fd), 3);
    close(fd);
}

static void test_a_stream_has_lengths(void **state)
{
    (void)state;
    int fd = listen_at(SOCK_STREAM), why;
    char got[64] = "";
    mc_syslog_queue_open(&target);
    assert_int_equal(mc_syslog_queue_put("<1>", 3, "two\nlines", 9), MC_OK);
    assert_int_equal(mc_syslog_queue_put("<1>", 3, "x", 1), MC_OK);
    int c = accept(fd, NULL, NULL);
    assert_true(c >= 0);
    assert_int_equal(mc_syslog_queue_retry(&why), 0);
    assert_int_equal(recv(c, got, sizeof got - 1, MSG_DONTWAIT), 15 + 6);
    assert_string_equal(got, "12 <1>two\nlines4 <1>x");
    close(c);
    close(fd);
}

/* A reader of a stream that is slow gets whole messages, from the first to the last that was taken. */
static void test_a_slow_stream(void **state)
{
    (void)state;
    int fd = listen_at(SOCK_STREAM), why;
    static char text[1000], got[1 << 20];
    size_t n = 0, messages = 0;
    ssize_t r;
    memset(text, 'x', sizeof text);
    mc_syslog_queue_open(&target);
    int c = accept(fd, NULL, NULL);
    unsigned sent = 0;
    for (int i = 0; i < 600; i++)
        sent += mc_syslog_queue_put("<1>", 3, text, sizeof text) == MC_OK;
    assert_in_range(sent, 260, 599);
    while ((r = recv(c, got + n, sizeof got - n > 777 ? 777 : sizeof got - n, MSG_DONTWAIT)) > 0) {
        n += (size_t)r;
        mc_syslog_queue_retry(&why);
    }
    for (const char *p = got; p < got + n; messages++) {
        assert_memory_equal(p, "1003 <1>xxx", 11);
        p += 5 + 1003;
        assert_true(p <= got + n);
    }
    assert_int_equal(messages, sent);
    close(c);
    close(fd);
}

#define QUEUE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc5424),
        cmocka_unit_test(test_rfc3164),
        cmocka_unit_test(test_facilities),
        cmocka_unit_test(test_pieces_end_at_lines),
        QUEUE_TEST(test_a_burst_is_queued),
        QUEUE_TEST(test_what_finds_no_room_is_counted),
        QUEUE_TEST(test_a_server_that_restarts),
        QUEUE_TEST(test_a_stream_has_lengths),
        QUEUE_TEST(test_a_slow_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
