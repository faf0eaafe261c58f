/* Sockets that we were born with: the words, and which address gets which. */
#include "core/process/inherit.h"

#include "core/os/fd.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char err[256];

static int listener(const char *text, struct mc_addr *addr)
{
    struct mc_listen_opts o = {.backlog = 5, .uid = (uid_t)-1, .gid = (gid_t)-1};
    assert_int_equal(mc_addr_parse(text, addr, err, sizeof(err)), MC_OK);
    int fd = mc_socket_listen(addr, &o);
    assert_true(fd >= 0);
    return fd;
}

static void words_come_back(void **state)
{
    struct mc_inherit in;
    struct mc_sb sb;
    (void)state;
    mc_sb_init(&sb, 4096);
    mc_inherit_print(&sb, NULL, 9);
    mc_inherit_print(&sb, "127.0.0.1:8000", 1005);
    mc_inherit_print(&sb, "unix:/a=b;c%d\n", 1006);
    mc_inherit_print(&sb, "127.0.0.1:8000", 1007);
    assert_string_equal(mc_sb_z(&sb), "=9;127.0.0.1:8000=1005;unix:/a=b%3Bc%25d%0A=1006;127.0.0.1:8000=1007");
    assert_int_equal(mc_inherit_parse(&in, mc_sb_z(&sb), err, sizeof(err)), MC_OK);
    assert_int_equal(in.n, 3);
    assert_int_equal(in.channel, 9);
    assert_string_equal(in.v[1].text, "unix:/a=b;c%d\n");
    assert_int_equal(in.v[1].fd, 1006);
    mc_inherit_close(&in);
    mc_sb_fini(&sb);
}

static void bad_words(void **state)
{
    static const char *const bad[] = {"x", "a=", "a=x", "a=-1", "a=1005;b=1005", "%4=1005", "%00=1005", "%zz=1005", ";", "a=99999999999"};
    struct mc_inherit in;
    (void)state;
    for (size_t i = 0; i < MC_COUNT(bad); i++) {
        if (mc_inherit_parse(&in, bad[i], err, sizeof(err)) != MC_ERROR)
            fail_msg("%s was taken", bad[i]);
        assert_non_null(strstr(err, "MONOCEROS_FD"));
    }
    assert_int_equal(mc_inherit_parse(&in, "", err, sizeof(err)), MC_OK);
    assert_int_equal(in.n, 0);
}

static void systemd_words(void **state)
{
    struct mc_inherit in = {.channel = -1};
    (void)state;
    assert_int_equal(mc_inherit_parse_systemd(&in, "3", "web::admin", err, sizeof(err)), MC_OK);
    assert_int_equal(mc_inherit_systemd(&in), 3);
    assert_int_equal(in.v[2].fd, 5);
    assert_string_equal(in.v[0].text, "web");
    assert_null(in.v[1].text);
    assert_string_equal(in.v[2].text, "admin");
    assert_int_equal(mc_inherit_parse_systemd(&in, "1x", NULL, err, sizeof(err)), MC_ERROR);
    for (size_t i = 0; i < in.n; i++)
        free(in.v[i].text);
    free(in.v);
}

static void matched_by_text_then_by_address(void **state)
{
    struct mc_addr any, one, other;
    struct mc_sb sb;
    char text[160];
    bool given;
    (void)state;
    int fd = listener("127.0.0.1:0", &any), second = listener("127.0.0.1:0", &any);
    assert_int_equal(mc_addr_of_fd(second, &other), MC_OK);
    mc_addr_print(&other, text, sizeof(text));
    mc_sb_init(&sb, 4096);
    mc_inherit_print(&sb, "127.0.0.1:0", fd);
    mc_inherit_print(&sb, "[::1]:1", second);
    setenv("MONOCEROS_PID", "1234", 1);
    setenv("MONOCEROS_FD", mc_sb_z(&sb), 1);
    struct mc_inherit *in = mc_inherit_ours();
    assert_int_equal(mc_inherit_open(in, err, sizeof(err)), MC_OK);
    assert_null(getenv("MONOCEROS_PID"));
    assert_null(getenv("MONOCEROS_FD"));
    assert_int_equal(in->parent, 1234);
    assert_int_equal(mc_addr_parse("127.0.0.1:1", &one, err, sizeof(err)), MC_OK);
    assert_int_equal(mc_inherit_take(in, &one, "127.0.0.1:1", &given), -1);
    assert_int_equal(mc_inherit_take(in, &any, "127.0.0.1:0", &given), fd);
    assert_false(given);
    assert_int_equal(mc_inherit_take(in, &any, "127.0.0.1:0", &given), -1);
    assert_int_equal(mc_inherit_take(in, &other, text, &given), second);
    mc_inherit_close(in);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    mc_sb_fini(&sb);
    close(fd);
    close(second);
}

static void what_nobody_wants_is_closed(void **state)
{
    struct mc_addr any;
    char words[64];
    (void)state;
    int fd = listener("127.0.0.1:0", &any);
    snprintf(words, sizeof(words), "127.0.0.1:0=%d", fd);
    setenv("MONOCEROS_PID", "1234", 1);
    setenv("MONOCEROS_FD", words, 1);
    struct mc_inherit *in = mc_inherit_ours();
    assert_int_equal(mc_inherit_open(in, err, sizeof(err)), MC_OK);
    mc_inherit_close(in);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void only_sockets_that_listen(void **state)
{
    struct mc_inherit in;
    char words[64];
    int pipes[2], plain = socket(AF_INET, SOCK_STREAM, 0);
    (void)state;
    assert_int_equal(pipe(pipes), 0);
    const int bad[] = {pipes[0], plain, 5000};
    for (size_t i = 0; i < MC_COUNT(bad); i++) {
        snprintf(words, sizeof(words), "127.0.0.1:8000=%d", bad[i]);
        setenv("MONOCEROS_PID", "1234", 1);
        setenv("MONOCEROS_FD", words, 1);
        assert_int_equal(mc_inherit_open(&in, err, sizeof(err)), MC_ERROR);
        assert_non_null(strstr(err, "127.0.0.1:8000"));
        mc_inherit_close(&in);
    }
    close(pipes[1]);
}

static void systemd_for_us_and_for_others(void **state)
{
    struct mc_inherit in;
    char pid[32];
    (void)state;
    setenv("LISTEN_PID", "1", 1);
    setenv("LISTEN_FDS", "1", 1);
    assert_int_equal(mc_inherit_open(&in, err, sizeof(err)), MC_OK);
    assert_int_equal(in.n, 0);
    assert_null(getenv("LISTEN_FDS"));
    snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "1x", 1);
    assert_int_equal(mc_inherit_open(&in, err, sizeof(err)), MC_ERROR);
    assert_non_null(strstr(err, "LISTEN_FDS"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_come_back),
        cmocka_unit_test(bad_words),
        cmocka_unit_test(systemd_words),
        cmocka_unit_test(matched_by_text_then_by_address),
        cmocka_unit_test(what_nobody_wants_is_closed),
        cmocka_unit_test(only_sockets_that_listen),
        cmocka_unit_test(systemd_for_us_and_for_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
