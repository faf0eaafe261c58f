/* Listening and accepting: every kind of address, live and dead socket files, adopted descriptors. */
#include "core/os/fd.h"
#include "core/os/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/mc-test-socket.XXXXXX", path[64];
static const struct mc_listen_opts plain = {.backlog = 16, .umask = 0027, .uid = (uid_t)-1, .gid = (gid_t)-1};

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/sock", dir);
    return 0;
}

static int drop_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

static struct mc_addr addr(const char *text)
{
    struct mc_addr a;
    char err[128] = "";
    if (mc_addr_parse(text, &a, err, sizeof(err)) != MC_OK)
        fail_msg("%s", err);
    return a;
}

static struct mc_addr unix_addr(void)
{
    char text[80];
    snprintf(text, sizeof(text), "unix:%s", path);
    return addr(text);
}

static int option(int fd, int level, int name)
{
    int v = 0;
    socklen_t n = sizeof(v);
    assert_int_equal(getsockopt(fd, level, name, &v, &n), 0);
    return v;
}

static void check_flags(int fd)
{
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
}

/* A connection from a client socket of our own; loopback connects at once. */
static int connect_to(const struct mc_addr *a)
{
    int fd = socket(a->family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, &a->u.sa, a->len), 0);
    return fd;
}

static void accept_one(int listener, const struct mc_addr *a, const char *text)
{
    union mc_sockaddr peer;
    char out[46];
    assert_int_equal(mc_socket_accept(listener, &peer), -1);
    assert_int_equal(errno, EAGAIN);
    int client = connect_to(a), conn = mc_socket_accept(listener, &peer);
    assert_true(conn >= 0);
    check_flags(conn);
    mc_sockaddr_text(&peer, out, sizeof(out));
    assert_string_equal(out, text);
    if (a->family != AF_UNIX) {
        assert_true(mc_sockaddr_port(&peer) > 0);
        assert_int_equal(option(conn, IPPROTO_TCP, TCP_NODELAY), 1);
    }
    close(client);
    close(conn);
}

static void tcp(void **state)
{
    (void)state;
    struct mc_addr a = addr("127.0.0.1:0"), real;
    char out[64];
    int fd = mc_socket_listen(&a, &plain);
    assert_true(fd >= 0);
    check_flags(fd);
    assert_int_equal(option(fd, SOL_SOCKET, SO_REUSEADDR), 1);
    assert_int_equal(mc_addr_of_fd(fd, &real), MC_OK);
    assert_int_equal(real.fd, -1);
    mc_addr_print(&real, out, sizeof(out));
    assert_int_equal(strncmp(out, "127.0.0.1:", 10), 0);
    assert_string_not_equal(out, "127.0.0.1:0");
    accept_one(fd, &real, "127.0.0.1");
    assert_int_equal(mc_socket_listen(&real, &plain), -1);
    assert_int_equal(errno, EADDRINUSE);
    close(fd);
}

static void reuse_port_and_defer(void **state)
{
    (void)state;
    struct mc_listen_opts o = plain;
    struct mc_addr a = addr("127.0.0.1:0"), real;
    o.reuse_port = o.defer_accept = true;
    int one = mc_socket_listen(&a, &o);
    assert_true(one >= 0);
    assert_true(option(one, IPPROTO_TCP, TCP_DEFER_ACCEPT) > 0);
    assert_int_equal(mc_addr_of_fd(one, &real), MC_OK);
    int two = mc_socket_listen(&real, &o);
    assert_true(two >= 0);
    close(one);
    close(two);
}

static void ipv6(void **state)
{
    (void)state;
    struct mc_addr a = addr("[::1]:0"), real;
    struct mc_listen_opts o = plain;
    int fd = mc_socket_listen(&a, &o);
    if (fd < 0 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
        skip();
    assert_true(fd >= 0);
    assert_int_equal(mc_addr_of_fd(fd, &real), MC_OK);
    accept_one(fd, &real, "::1");
    close(fd);
    /* The wildcard takes IPv4 too. */
    struct mc_addr six = addr("[::]:0"), four = addr("127.0.0.1:0");
    fd = mc_socket_listen(&six, &o);
    assert_int_equal(mc_addr_of_fd(fd, &real), MC_OK);
    four.u.in.sin_port = real.u.in6.sin6_port;
    accept_one(fd, &four, "::ffff:127.0.0.1");
    close(fd);
    /* Each family by its own socket on one port, when asked for. */
    four = addr("0.0.0.0:0");
    int fd4 = mc_socket_listen(&four, &o);
    assert_int_equal(mc_addr_of_fd(fd4, &real), MC_OK);
    six.u.in6.sin6_port = real.u.in.sin_port;
    assert_int_equal(mc_socket_listen(&six, &o), -1);
    assert_int_equal(errno, EADDRINUSE);
    o.v6only = true;
    int fd6 = mc_socket_listen(&six, &o);
    assert_true(fd6 >= 0);
    close(fd4);
    close(fd6);
}

static void unix_sockets(void **state)
{
    (void)state;
    struct mc_addr a = unix_addr(), real;
    struct stat st;
    char out[128];
    mode_t before = umask(0777);
    int fd = mc_socket_listen(&a, &plain);
    assert_int_equal(umask(before), 0777); /* it was put back */
    assert_true(fd >= 0);
    check_flags(fd);
    assert_int_equal(lstat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0750);
    assert_int_equal(mc_addr_of_fd(fd, &real), MC_OK);
    assert_true(mc_addr_equal(&a, &real));
    mc_addr_print(&real, out, sizeof(out));
    assert_string_equal(out + 5, path);
    accept_one(fd, &a, "");
    /* Alive: never taken away, not even with a full backlog. */
    assert_int_equal(mc_socket_listen(&a, &plain), -1);
    assert_int_equal(errno, EADDRINUSE);
    assert_int_equal(lstat(path, &st), 0);
    close(fd);
    /* Dead: replaced. */
    fd = mc_socket_listen(&a, &plain);
    assert_true(fd >= 0);
    accept_one(fd, &a, "");
    close(fd);
    unlink(path);
}

static void a_full_backlog_is_alive(void **state)
{
    (void)state;
    struct mc_addr a = unix_addr();
    struct mc_listen_opts o = plain;
    int clients[16], n = 0;
    o.backlog = 1;
    int fd = mc_socket_listen(&a, &o);
    for (; n < 16; n++) {
        clients[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (connect(clients[n], &a.u.sa, a.len) < 0)
            break;
    }
    assert_true(n < 16);
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(mc_socket_listen(&a, &o), -1);
    assert_int_equal(errno, EADDRINUSE);
    for (int i = 0; i <= n; i++)
        close(clients[i]);
    close(fd);
    unlink(path);
}

static void other_files_are_left_alone(void **state)
{
    (void)state;
    struct mc_addr a = unix_addr();
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    close(file);
    assert_int_equal(mc_socket_listen(&a, &plain), -1);
    assert_int_equal(errno, EEXIST);
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    assert_int_equal(symlink("/dev/null", path), 0);
    assert_int_equal(mc_socket_listen(&a, &plain), -1);
    assert_int_equal(errno, EEXIST);
    unlink(path);
    assert_int_equal(symlink("nowhere", path), 0); /* a dangling link is not followed either */
    assert_int_equal(mc_socket_listen(&a, &plain), -1);
    assert_int_equal(errno, EEXIST);
    unlink(path);
    int dgram = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(dgram, &a.u.sa, a.len), 0);
    assert_int_equal(mc_socket_listen(&a, &plain), -1);
    assert_int_equal(errno, EADDRINUSE);
    assert_int_equal(access(path, F_OK), 0);
    close(dgram);
    unlink(path);
    struct mc_addr none = addr("unix:/no/such/dir/sock");
    assert_int_equal(mc_socket_listen(&none, &plain), -1);
    assert_int_equal(errno, ENOENT);
}

static void socket_files_get_their_owner(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    struct mc_addr a = unix_addr();
    struct mc_listen_opts o = plain;
    struct stat st;
    o.uid = 12345;
    o.gid = 54321;
    int fd = mc_socket_listen(&a, &o);
    assert_true(fd >= 0);
    assert_int_equal(lstat(path, &st), 0);
    assert_int_equal(st.st_uid, 12345);
    assert_int_equal(st.st_gid, 54321);
    close(fd);
    unlink(path);
}

static void descriptors_are_adopted(void **state)
{
    (void)state;
    struct mc_addr a = addr("127.0.0.1:0"), real, by_fd;
    char text[32];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, &a.u.sa, a.len), 0);
    snprintf(text, sizeof(text), "fd://%d", fd);
    by_fd = addr(text);
    assert_int_equal(mc_socket_listen(&by_fd, &plain), fd);
    check_flags(fd);
    assert_int_equal(mc_addr_of_fd(fd, &real), MC_OK);
    accept_one(fd, &real, "127.0.0.1");
    close(fd);
    assert_int_equal(mc_socket_listen(&by_fd, &plain), -1);
    assert_int_equal(errno, EBADF);
    int p[2];
    assert_int_equal(pipe(p), 0);
    by_fd.fd = p[0];
    assert_int_equal(mc_socket_listen(&by_fd, &plain), -1);
    assert_int_equal(errno, ENOTSOCK);
    assert_int_equal(mc_addr_of_fd(p[0], &real), MC_ERROR);
    close(p[0]);
    close(p[1]);
    int dgram = socket(AF_INET, SOCK_DGRAM, 0);
    by_fd.fd = dgram;
    assert_int_equal(mc_socket_listen(&by_fd, &plain), -1);
    assert_int_equal(errno, EPROTOTYPE);
    assert_true(fcntl(dgram, F_GETFD) >= 0);
    close(dgram);
}

/* No SYN of a usual TTL gets through, and what did before stays. */
static void a_listener_is_switched_off_by_ttl(void **state)
{
    (void)state;
    struct mc_addr a = addr("127.0.0.1:0");
    union mc_sockaddr peer;
    int fd = mc_socket_listen(&a, &plain), sv[2];
    assert_true(fd >= 0);
    assert_int_equal(mc_addr_of_fd(fd, &a), MC_OK);
    int early = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), late = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    (void)connect(early, &a.u.sa, a.len);
    assert_int_equal(mc_socket_min_ttl(fd, 255), MC_OK);
    (void)connect(late, &a.u.sa, a.len);
    int conn = mc_socket_accept(fd, &peer);
    assert_true(conn >= 0);
    close(conn);
    assert_int_equal(mc_socket_accept(fd, &peer), -1);
    assert_int_equal(errno, EAGAIN);
    close(early);
    close(late);
    close(fd);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
    assert_int_equal(mc_socket_min_ttl(sv[0], 0), MC_ERROR);
    close(sv[0]);
    close(sv[1]);
}

static void who_waits(const struct mc_addr *a)
{
    union mc_sockaddr peer;
    int fd = mc_socket_listen(a, &plain), clients[3];
    struct mc_addr real = *a;
    assert_true(fd >= 0);
    if (a->family != AF_UNIX)
        assert_int_equal(mc_addr_of_fd(fd, &real), MC_OK);
    if (a->family == AF_UNIX && mc_socket_backlog(fd) < 0) { /* a kernel without unix_diag */
        close(fd);
        unlink(path);
        return;
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mc_socket_backlog(fd), i);
        clients[i] = connect_to(&real);
    }
    assert_int_equal(mc_socket_backlog(fd), 3);
    int conn = mc_socket_accept(fd, &peer);
    assert_int_equal(mc_socket_backlog(fd), 2);
    assert_int_equal(mc_socket_backlog(a->family == AF_UNIX ? -1 : conn), -1); /* no listener */
    for (int i = 0; i < 3; i++)
        close(clients[i]);
    close(conn);
    close(fd);
    if (a->family == AF_UNIX)
        unlink(path);
}

static void the_queue_tells_its_length(void **state)
{
    (void)state;
    struct mc_addr tcp4 = addr("127.0.0.1:0"), local = unix_addr();
    who_waits(&tcp4);
    who_waits(&local);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tcp),
        cmocka_unit_test(reuse_port_and_defer),
        cmocka_unit_test(ipv6),
        cmocka_unit_test(unix_sockets),
        cmocka_unit_test(a_full_backlog_is_alive),
        cmocka_unit_test(other_files_are_left_alone),
        cmocka_unit_test(socket_files_get_their_owner),
        cmocka_unit_test(descriptors_are_adopted),
        cmocka_unit_test(the_queue_tells_its_length),
        cmocka_unit_test(a_listener_is_switched_off_by_ttl),
    };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
