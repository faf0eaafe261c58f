/* The plain transport on a real TCP connection: what waits for its end, and what does not. */
#include "core/os/socket.h"
#include "core/server/transport.h"

#include <linux/sockios.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

/* Bytes that the kernel holds back. */
static int unsent(int fd)
{
    int n = -1;
    assert_int_equal(ioctl(fd, SIOCOUTQNSD, &n), 0);
    return n;
}

/* Two ends over loopback. */
static void connect_pair(int *ours, int *theirs)
{
    struct mc_addr at;
    char err[128];
    union mc_sockaddr peer;
    const struct mc_listen_opts o = {.backlog = 1, .uid = (uid_t)-1, .gid = (gid_t)-1};
    assert_int_equal(mc_addr_parse("127.0.0.1:0", &at, err, sizeof(err)), MC_OK);
    int listener = mc_socket_listen(&at, &o);
    assert_true(listener >= 0);
    assert_int_equal(mc_addr_of_fd(listener, &at), MC_OK);
    *theirs = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(*theirs, &at.u.sa, at.len), 0);
    *ours = mc_socket_accept(listener, &peer);
    assert_true(*ours >= 0);
    close(listener);
}

static struct mc_stream put(int fd, bool last)
{
    struct iovec iov = {(void *)(uintptr_t) "bye", 3};
    struct mc_stream s = {.ops = &mc_transport_plain, .fd = fd, .last = last};
    assert_int_equal(s.ops->send(&s, &iov, 1), 3);
    return s;
}

static void sent_at_once(void **state)
{
    int ours, theirs;
    (void)state;
    connect_pair(&ours, &theirs);
    (void)put(ours, false);
    assert_int_equal(unsent(ours), 0);
    close(ours);
    close(theirs);
}

/* The kernel holds bytes back for 200 ms at most: whoever was away for that long between two calls may try again. */
static void last_bytes_wait_for_the_end(void **state)
{
    bool waited = false;
    (void)state;
    for (int i = 0; i < 20 && !waited; i++) {
        int ours, theirs;
        char got[8];
        connect_pair(&ours, &theirs);
        struct mc_stream s = put(ours, true);
        waited = unsent(ours) == 3;
        assert_int_equal(send(theirs, "more", 4, 0), 4); /* unread when it is closed: a reset follows */
        s.ops->close(&s);
        close(ours);
        assert_int_equal(recv(theirs, got, sizeof(got), 0), 3); /* nothing is lost by it */
        assert_memory_equal(got, "bye", 3);
        close(theirs);
    }
    assert_true(waited);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sent_at_once),
        cmocka_unit_test(last_bytes_wait_for_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
