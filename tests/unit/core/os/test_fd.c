/* Descriptors, whole-file reads, temporary and memory files, logs, shared memory. */
#include "core/os/fd.h"
#include "core/os/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/mc-test-fd.XXXXXX";

static const char *in_dir(const char *name)
{
    static char path[4][128];
    static unsigned at;
    char *p = path[at++ % 4];
    snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
    return p;
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

static void write_file(const char *path, const void *p, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(mc_fd_write_all(fd, p, n), MC_OK);
    close(fd);
}

static bool cloexec(int fd)
{
    return (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

static void flags_change_and_stay(void **state)
{
    (void)state;
    int p[2];
    assert_int_equal(pipe(p), 0);
    assert_int_equal(mc_fd_nonblock(p[0], true), MC_OK);
    assert_true(fcntl(p[0], F_GETFL) & O_NONBLOCK);
    assert_int_equal(mc_fd_nonblock(p[0], false), MC_OK);
    assert_false(fcntl(p[0], F_GETFL) & O_NONBLOCK);
    assert_int_equal(mc_fd_cloexec(p[0], true), MC_OK);
    assert_true(cloexec(p[0]));
    assert_int_equal(mc_fd_cloexec(p[0], false), MC_OK);
    assert_false(cloexec(p[0]));
    errno = 42;
    mc_fd_close(&p[0]);
    mc_fd_close(&p[1]);
    assert_int_equal(errno, 42);
    assert_int_equal(p[0], -1);
    mc_fd_close(&p[0]);
    assert_int_equal(mc_fd_nonblock(-1, true), MC_ERROR);
    assert_int_equal(errno, EBADF);
    assert_int_equal(mc_fd_cloexec(-1, true), MC_ERROR);
    assert_int_equal(mc_fd_write_all(-1, "x", 1), MC_ERROR);
}

static void whole_files_are_read(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 70000};
    const char *path = in_dir("file");
    char *data = malloc(70000);
    assert_non_null(data);
    for (size_t i = 0; i < 70000; i++)
        data[i] = (char)(i % 251);
    for (size_t i = 0; i < MC_COUNT(sizes); i++) {
        size_t n = 99;
        write_file(path, data, sizes[i]);
        char *p = mc_fd_read_file(path, sizes[i], &n);
        assert_non_null(p);
        assert_int_equal(n, sizes[i]);
        assert_memory_equal(p, data, n);
        assert_int_equal(p[n], '\0');
        free(p);
        if (sizes[i] == 0)
            continue;
        assert_null(mc_fd_read_file(path, sizes[i] - 1, &n));
        assert_int_equal(errno, EFBIG);
    }
    free(data);
    unlink(path);
}

static void files_without_a_size_are_read(void **state)
{
    (void)state;
    size_t n = 0;
    char *p = mc_fd_read_file("/proc/self/status", 65536, &n);
    assert_non_null(p);
    assert_true(n > 100);
    assert_non_null(strstr(p, "Name:"));
    free(p);
    assert_null(mc_fd_read_file("/proc/self/status", 50, &n));
    assert_int_equal(errno, EFBIG);
}

static void what_is_no_file_is_refused(void **state)
{
    (void)state;
    size_t n;
    assert_null(mc_fd_read_file(in_dir("none"), 100, &n));
    assert_int_equal(errno, ENOENT);
    assert_null(mc_fd_read_file(dir, 100, &n));
    assert_int_equal(errno, EISDIR);
    assert_null(mc_fd_read_file("/dev/null", 100, &n));
    assert_int_equal(errno, EINVAL);
    const char *fifo = in_dir("fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_null(mc_fd_read_file(fifo, 100, &n)); /* and does not wait for a writer */
    assert_int_equal(errno, EINVAL);
    unlink(fifo);
}

static void temporary_files_have_no_name(void **state)
{
    (void)state;
    struct stat st;
    int fd = mc_fd_tmpfile(dir);
    assert_true(fd >= 0);
    assert_true(cloexec(fd));
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_nlink, 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(mc_fd_write_all(fd, "abc", 3), MC_OK);
    assert_int_equal(lseek(fd, 0, SEEK_END), 3);
    close(fd);
    assert_int_equal(mc_fd_tmpfile(in_dir("none")), -1);
    assert_int_equal(errno, ENOENT);
}

static void memory_files_are_sealed(void **state)
{
    (void)state;
    char buf[8];
    int fd = mc_fd_memfd("test", "hello", 5, true);
    assert_true(fd >= 0);
    assert_true(cloexec(fd));
    assert_int_equal(read(fd, buf, sizeof(buf)), 5);
    assert_memory_equal(buf, "hello", 5);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, 0), -1);
    close(fd);
    fd = mc_fd_memfd("test", "hello", 5, false);
    assert_int_equal(pwrite(fd, "x", 1, 0), 1);
    close(fd);
}

static void logs_append_and_follow_no_link(void **state)
{
    (void)state;
    const char *path = in_dir("log"), *link = in_dir("link"), *fifo = in_dir("fifo2");
    int fd = mc_fd_open_log(path, -1);
    assert_true(fd >= 0);
    assert_true(cloexec(fd));
    assert_int_equal(mc_fd_write_all(fd, "a", 1), MC_OK);
    close(fd);
    fd = mc_fd_open_log(path, -1);
    assert_int_equal(mc_fd_write_all(fd, "b", 1), MC_OK);
    close(fd);
    size_t n;
    char *text = mc_fd_read_file(path, 100, &n);
    assert_string_equal(text, "ab");
    free(text);
    assert_int_equal(symlink(path, link), 0);
    assert_int_equal(mc_fd_open_log(link, -1), -1);
    assert_int_equal(errno, ELOOP);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(mc_fd_open_log(fifo, -1), -1);
    assert_int_equal(errno, ENXIO);
    unlink(path);
    unlink(link);
    unlink(fifo);
}

static void a_dash_is_a_standard_stream(void **state)
{
    (void)state;
    int p[2];
    char c = 0;
    assert_int_equal(pipe(p), 0);
    int fd = mc_fd_open_log("-", p[1]);
    assert_true(fd > 2 && fd != p[1]);
    assert_true(cloexec(fd));
    /* A reader that stalls must not stop us, nor may those who share the pipe find it changed. */
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_false(fcntl(p[1], F_GETFL) & O_NONBLOCK);
    assert_int_equal(mc_fd_write_all(fd, "x", 1), MC_OK);
    assert_int_equal(read(p[0], &c, 1), 1);
    assert_int_equal(c, 'x');
    close(fd);
    close(p[0]);
    close(p[1]);
    fd = mc_fd_open_log("/dev/stderr", 0);
    assert_true(fd > 2);
    close(fd);
}

static void memory_is_shared(void **state)
{
    (void)state;
    struct mc_shm a, b;
    assert_int_equal(mc_shm_create(&a, "test", 10000), MC_OK);
    assert_int_equal(a.n, 10000);
    assert_true(cloexec(a.fd));
    unsigned char *p = a.p;
    for (size_t i = 0; i < a.n; i++)
        assert_int_equal(p[i], 0);
    assert_int_equal(ftruncate(a.fd, 0), -1);
    assert_int_equal(ftruncate(a.fd, 20000), -1);
    assert_int_equal(mc_shm_open(&b, dup(a.fd)), MC_OK);
    assert_int_equal(b.n, 10000);
    pid_t pid = fork();
    if (pid == 0) {
        p[9999] = 7;
        _exit(0);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(((unsigned char *)b.p)[9999], 7);
    mc_shm_close(&a);
    assert_null(a.p);
    assert_int_equal(a.fd, -1);
    mc_shm_close(&b);
    mc_shm_close(&b);
}

static void only_memory_files_are_mapped(void **state)
{
    (void)state;
    struct mc_shm s;
    int p[2];
    assert_int_equal(pipe(p), 0);
    assert_int_equal(mc_shm_open(&s, p[0]), MC_ERROR);
    assert_null(s.p);
    mc_shm_close(&s);
    assert_int_equal(fcntl(p[0], F_GETFD), 0); /* it is still the caller's */
    close(p[0]);
    close(p[1]);
    int empty = mc_fd_memfd("empty", "", 0, false);
    assert_int_equal(mc_shm_open(&s, empty), MC_ERROR);
    close(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_change_and_stay),
        cmocka_unit_test(whole_files_are_read),
        cmocka_unit_test(files_without_a_size_are_read),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(temporary_files_have_no_name),
        cmocka_unit_test(memory_files_are_sealed),
        cmocka_unit_test(logs_append_and_follow_no_link),
        cmocka_unit_test(a_dash_is_a_standard_stream),
        cmocka_unit_test(memory_is_shared),
        cmocka_unit_test(only_memory_files_are_mapped),
    };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
