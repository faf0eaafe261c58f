/* Secrets: entries, their way through a memfd, and what is not one of ours. */
#include "core/config/secrets.h"
#include "core/os/fd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void entries_are_found(void **state)
{
    struct mc_secrets s = {0};
    struct mc_str out, name;
    size_t at = 0, n = 0;
    (void)state;
    assert_false(mc_secrets_get(&s, "a", &out));
    assert_int_equal(mc_secrets_add(&s, "a", "one", 3), MC_OK);
    assert_int_equal(mc_secrets_add(&s, "bb", "", 0), MC_OK);
    assert_int_equal(mc_secrets_add(&s, "a", "other", 5), MC_OK); /* the first one stays */
    assert_true(mc_secrets_get(&s, "a", &out));
    assert_int_equal(out.n, 3);
    assert_memory_equal(out.p, "one", 3);
    assert_true(mc_secrets_get(&s, "bb", &out));
    assert_int_equal(out.n, 0);
    assert_false(mc_secrets_get(&s, "b", &out));
    while (mc_secrets_next(&s, &at, &name, &out))
        n++;
    assert_int_equal(n, 2);
    mc_secrets_wipe(&s);
    assert_null(s.p);
}

static void a_memfd_carries_them(void **state)
{
    struct mc_secrets s = {0}, t;
    struct mc_str out;
    char big[100000];
    (void)state;
    memset(big, 'x', sizeof(big));
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", i);
        assert_int_equal(mc_secrets_add(&s, name, big, sizeof(big) - (size_t)i), MC_OK);
    }
    int fd = mc_secrets_memfd(&s);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "x", 1), -1); /* sealed */
    assert_int_equal(mc_secrets_load(&t, fd), MC_OK);
    assert_true(mc_secrets_equal(&s, &t));
    assert_true(mc_secrets_get(&t, "n19", &out));
    assert_int_equal(out.n, sizeof(big) - 19);
    mc_secrets_wipe(&t);
    mc_secrets_wipe(&s);
    close(fd);
    fd = mc_secrets_memfd(&s);
    assert_int_equal(mc_secrets_load(&t, fd), MC_OK);
    assert_int_equal(t.n, 0);
    close(fd);
}

static int made_of(const void *p, size_t n)
{
    int fd = mc_fd_memfd("test", p, n, true);
    assert_true(fd >= 0);
    return fd;
}

static void others_are_refused(void **state)
{
    struct mc_secrets s = {0}, t;
    unsigned char bytes[256];
    (void)state;
    assert_int_equal(mc_secrets_add(&s, "name", "value", 5), MC_OK);
    int good = mc_secrets_memfd(&s);
    ssize_t n = pread(good, bytes, sizeof(bytes), 0);
    assert_true(n > 16);
    for (ssize_t cut = 0; cut < n; cut++) {
        int fd = made_of(bytes, (size_t)cut);
        assert_int_equal(mc_secrets_load(&t, fd), cut == 8 ? MC_OK : MC_ERROR); /* 8: no entry at all */
        close(fd);
    }
    for (ssize_t i = 0; i < 16; i++) {
        bytes[i] ^= 0xff; /* the magic, a length */
        int fd = made_of(bytes, (size_t)n);
        assert_int_equal(mc_secrets_load(&t, fd), MC_ERROR);
        assert_int_equal(errno, EBADMSG);
        close(fd);
        bytes[i] ^= 0xff;
    }
    close(good);
    mc_secrets_wipe(&s);
}

static void files_are_read_from_where_the_server_is(void **state)
{
    char dir[] = "/tmp/monoceros-test-XXXXXX", path[64];
    struct mc_conf conf = {0};
    struct mc_secrets s = {0};
    struct mc_str out;
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/x.key", dir);
    FILE *f = fopen(path, "w");
    fputs("key", f);
    fclose(f);
    conf.cwd = dir;
    assert_int_equal(mc_secrets_add_file(&s, &conf, "x.key"), MC_OK);
    assert_true(mc_secrets_get(&s, "x.key", &out));
    assert_memory_equal(out.p, "key", 3);
    assert_int_equal(mc_secrets_add_file(&s, &conf, path), MC_OK);
    assert_int_equal(mc_secrets_add_file(&s, &conf, "none"), MC_ERROR);
    assert_int_equal(errno, ENOENT);
    unlink(path);
    rmdir(dir);
    mc_secrets_wipe(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_found),
        cmocka_unit_test(a_memfd_carries_them),
        cmocka_unit_test(others_are_refused),
        cmocka_unit_test(files_are_read_from_where_the_server_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
