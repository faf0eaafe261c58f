/* Messages and descriptors through a channel, and everything that is not a message. */
#include "core/os/fd.h"
#include "core/process/child.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int fds[2];

static int setup(void **state)
{
    (void)state;
    return mc_channel_pair(fds) == MC_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    mc_fd_close(&fds[0]);
    mc_fd_close(&fds[1]);
    return 0;
}

static int count_fds(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void test_a_message_arrives_whole(void **state)
{
    (void)state;
    struct mc_msg out = {.kind = MC_MSG_FAILED, .code = 4, .value = 77}, in;
    pid_t sender = 0;
    snprintf(out.text, sizeof(out.text), "no module named x");
    assert_int_equal(mc_channel_send(fds[1], &out, NULL, 0), MC_OK);
    assert_int_equal(mc_channel_recv(fds[0], &in, NULL, 0, &sender), MC_OK);
    assert_int_equal(in.kind, MC_MSG_FAILED);
    assert_int_equal(in.code, 4);
    assert_int_equal(in.value, 77);
    assert_string_equal(in.text, "no module named x");
    assert_int_equal(sender, getpid());
    assert_int_equal(mc_channel_recv(fds[0], &in, NULL, 0, NULL), MC_AGAIN);
}

static void test_the_kernel_names_the_sender(void **state)
{
    (void)state;
    struct mc_msg m = {.kind = MC_MSG_PID};
    pid_t child = fork(), sender = 0;
    if (child == 0)
        _exit(mc_channel_send(fds[1], &m, NULL, 0) == MC_OK ? 0 : 1);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(mc_channel_recv(fds[0], &m, NULL, 0, &sender), MC_OK);
    assert_int_equal(sender, child);
}

static void test_descriptors_go_along(void **state)
{
    (void)state;
    struct mc_msg m = {.kind = MC_MSG_LOGS};
    int pipe_fds[2], got[2];
    char byte = 'x';
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    assert_int_equal(mc_channel_send(fds[0], &m, pipe_fds, 2), MC_OK);
    assert_int_equal(mc_channel_recv(fds[1], &m, got, 2, NULL), MC_OK);
    assert_int_equal(m.nfds, 2);
    assert_true(fcntl(got[0], F_GETFD) & FD_CLOEXEC);
    assert_int_equal(write(got[1], &byte, 1), 1);
    byte = 0;
    assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
    assert_int_equal(byte, 'x');
    for (int i = 0; i < 2; i++) {
        close(got[i]);
        close(pipe_fds[i]);
    }
}

static void test_unwanted_descriptors_are_closed(void **state)
{
    (void)state;
    struct mc_msg m = {.kind = MC_MSG_READY};
    int some[3] = {0, 1, 2}, before = count_fds();
    assert_int_equal(mc_channel_send(fds[1], &m, some, 3), MC_OK);
    assert_int_equal(mc_channel_recv(fds[0], &m, NULL, 0, NULL), MC_ERROR);
    assert_int_equal(errno, EBADMSG);
    assert_int_equal(count_fds(), before);
}

static void send_raw(const void *p, size_t n)
{
    assert_int_equal(send(fds[1], p, n, 0), (ssize_t)n);
}

static void test_what_is_no_message_is_refused(void **state)
{
    (void)state;
    struct mc_msg m = {.magic = MC_MSG_MAGIC, .kind = MC_MSG_READY}, in;
    char big[sizeof(m) + 1] = {0};
    memcpy(big, &m, sizeof(m));
    send_raw(&m, 1);
    send_raw(&m, sizeof(m) - 1);
    send_raw(big, sizeof(big));
    m.magic++;
    send_raw(&m, sizeof(m));
    m.magic--;
    m.kind = MC_MSG_KINDS;
    send_raw(&m, sizeof(m));
    m.kind = 65535;
    send_raw(&m, sizeof(m));
    m.kind = MC_MSG_READY;
    m.nfds = 1;
    send_raw(&m, sizeof(m));
    for (int i = 0; i < 7; i++) {
        assert_int_equal(mc_channel_recv(fds[0], &in, NULL, 0, NULL), MC_ERROR);
        assert_int_equal(errno, EBADMSG);
    }
    m.nfds = 0;
    send_raw(&m, sizeof(m));
    assert_int_equal(mc_channel_recv(fds[0], &in, NULL, 0, NULL), MC_OK);
}

static void test_text_is_always_ended(void **state)
{
    (void)state;
    struct mc_msg m = {.kind = MC_MSG_FAILED}, in;
    memset(m.text, 'x', sizeof(m.text));
    assert_int_equal(mc_channel_send(fds[1], &m, NULL, 0), MC_OK);
    assert_int_equal(mc_channel_recv(fds[0], &in, NULL, 0, NULL), MC_OK);
    assert_int_equal(strnlen(in.text, sizeof(in.text)), sizeof(in.text) - 1);
}

static void test_the_other_side_is_gone(void **state)
{
    (void)state;
    struct mc_msg m = {.kind = MC_MSG_DRAIN};
    mc_fd_close(&fds[1]);
    assert_int_equal(mc_channel_recv(fds[0], &m, NULL, 0, NULL), MC_ERROR);
    assert_int_equal(errno, ECONNRESET);
    assert_int_equal(mc_channel_send(fds[0], &m, NULL, 0), MC_ERROR);
    assert_int_equal(errno, EPIPE);
}

/* Who leaves without having read all that was said: the kernel reports that first, but the words are there. */
static void test_last_words_are_heard(void **state)
{
    (void)state;
    struct mc_msg said = {.kind = MC_MSG_SPAWN}, last = {.kind = MC_MSG_FAILED, .code = 4}, in;
    assert_int_equal(mc_channel_send(fds[0], &said, NULL, 0), MC_OK);
    assert_int_equal(mc_channel_send(fds[1], &last, NULL, 0), MC_OK);
    mc_fd_close(&fds[1]);
    assert_int_equal(mc_channel_recv(fds[0], &in, NULL, 0, NULL), MC_OK);
    assert_int_equal(in.kind, MC_MSG_FAILED);
    assert_int_equal(mc_channel_recv(fds[0], &in, NULL, 0, NULL), MC_ERROR);
    assert_int_equal(errno, ECONNRESET);
}

static void test_a_full_channel_does_not_block(void **state)
{
    (void)state;
    struct mc_msg m = {.kind = MC_MSG_READY};
    int rc = MC_OK, sent = 0;
    while (sent < 100000 && (rc = mc_channel_send(fds[1], &m, NULL, 0)) == MC_OK)
        sent++;
    assert_int_equal(rc, MC_AGAIN);
    while (sent-- > 0)
        assert_int_equal(mc_channel_recv(fds[0], &m, NULL, 0, NULL), MC_OK);
    assert_int_equal(mc_channel_recv(fds[0], &m, NULL, 0, NULL), MC_AGAIN);
}

#define CHANNEL_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHANNEL_TEST(test_a_message_arrives_whole),       CHANNEL_TEST(test_the_kernel_names_the_sender),
        CHANNEL_TEST(test_descriptors_go_along),          CHANNEL_TEST(test_unwanted_descriptors_are_closed),
        CHANNEL_TEST(test_what_is_no_message_is_refused), CHANNEL_TEST(test_text_is_always_ended),
        CHANNEL_TEST(test_the_other_side_is_gone),        CHANNEL_TEST(test_last_words_are_heard), CHANNEL_TEST(test_a_full_channel_does_not_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
