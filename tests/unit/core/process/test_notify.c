/* The words of sd_notify, read at the other end. */
#include "core/process/notify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static int far = -1;

static const char *heard(void)
{
    static char text[512];
    ssize_t n = recv(far, text, sizeof(text) - 1, MSG_DONTWAIT);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void open_far(const char *name)
{
    struct sockaddr_un un;
    socklen_t len = mc_notify_address(name, &un);
    far = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_true(far >= 0 && len > 0);
    assert_int_equal(bind(far, (struct sockaddr *)&un, len), 0);
    setenv("NOTIFY_SOCKET", name, 1);
}

static int done(void **state)
{
    (void)state;
    mc_notify_close();
    close(far);
    return 0;
}

static void addresses(void **state)
{
    struct sockaddr_un un;
    char text[200];
    (void)state;
    assert_int_equal(mc_notify_address("/run/x", &un), offsetof(struct sockaddr_un, sun_path) + 7);
    assert_string_equal(un.sun_path, "/run/x");
    assert_int_equal(mc_notify_address("@x", &un), offsetof(struct sockaddr_un, sun_path) + 2);
    assert_int_equal(un.sun_path[0], 0);
    assert_int_equal(un.sun_path[1], 'x');
    assert_int_equal(mc_notify_address(NULL, &un), 0);
    assert_int_equal(mc_notify_address("", &un), 0);
    assert_int_equal(mc_notify_address("/", &un), 0);
    assert_int_equal(mc_notify_address("relative", &un), 0);
    assert_int_equal(mc_notify_address("vsock:2:1", &un), 0);
    memset(text, 'a', sizeof(text));
    text[0] = '/';
    text[108] = '\0';
    assert_int_equal(mc_notify_address(text, &un), 0);
    text[107] = '\0';
    assert_int_equal(mc_notify_address(text, &un), sizeof(un));
    text[0] = '@';
    text[107] = 'a';
    text[108] = '\0';
    assert_int_equal(mc_notify_address(text, &un), sizeof(un));
}

static void watchdog_times(void **state)
{
    (void)state;
    assert_int_equal(mc_notify_watchdog("30000000", "7", 7), 15000);
    assert_int_equal(mc_notify_watchdog("30000000", NULL, 7), 15000);
    assert_int_equal(mc_notify_watchdog("30000000", "8", 7), 0);
    assert_int_equal(mc_notify_watchdog("100", NULL, 7), 1);
    assert_int_equal(mc_notify_watchdog("0", NULL, 7), 0);
    assert_int_equal(mc_notify_watchdog("x", NULL, 7), 0);
    assert_int_equal(mc_notify_watchdog(NULL, NULL, 7), 0);
}

static void a_life(void **state)
{
    char name[64], pid[32];
    (void)state;
    snprintf(name, sizeof(name), "@monoceros-test-%ld", (long)getpid());
    snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    open_far(name);
    setenv("WATCHDOG_USEC", "2000000", 1);
    setenv("WATCHDOG_PID", pid, 1);
    mc_notify_open(true);
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_null(getenv("WATCHDOG_USEC"));
    mc_notify_status("%d workers", 2);
    assert_string_equal(heard(), "STATUS=2 workers");
    mc_notify_status("%d workers", 2);
    assert_string_equal(heard(), "");
    mc_notify_ready();
    assert_string_equal(heard(), "READY=1");
    mc_notify_ready();
    assert_string_equal(heard(), "");
    assert_int_equal(mc_notify_alive(5000), 6000);
    assert_string_equal(heard(), "WATCHDOG=1");
    assert_int_equal(mc_notify_alive(5999), 6000);
    assert_string_equal(heard(), "");
    assert_int_equal(mc_notify_alive(6000), 7000);
    assert_string_equal(heard(), "WATCHDOG=1");
    mc_notify_reloading();
    const char *text = heard();
    assert_int_equal(strncmp(text, "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
    assert_true(strtoull(text + 27, NULL, 10) > 0);
    mc_notify_ready();
    assert_string_equal(heard(), "READY=1");
    mc_notify_stopping(30000);
    assert_string_equal(heard(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=30000000");
    mc_notify_main(4711);
    assert_string_equal(heard(), "MAINPID=4711");
    mc_notify_status("not heard");
    assert_string_equal(heard(), "");
    assert_int_equal(mc_notify_alive(90000), 0);
}

static void the_one_after(void **state)
{
    char name[64];
    (void)state;
    snprintf(name, sizeof(name), "@monoceros-test-%ld", (long)getpid());
    open_far(name);
    setenv("WATCHDOG_USEC", "2000000", 1);
    setenv("WATCHDOG_PID", "1", 1); /* the one before it */
    mc_notify_open(false);
    mc_notify_ready();
    mc_notify_status("all well");
    assert_int_equal(mc_notify_alive(1000), 0);
    assert_string_equal(heard(), "");
    mc_notify_promote(1000);
    assert_string_equal(heard(), "READY=1\nSTATUS=all well");
    assert_int_equal(mc_notify_alive(1000), 2000);
    assert_string_equal(heard(), "WATCHDOG=1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(watchdog_times),
        cmocka_unit_test_teardown(a_life, done),
        cmocka_unit_test_teardown(the_one_after, done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
