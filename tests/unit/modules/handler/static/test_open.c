/* Names that are never opened, and openings that never leave the root: with the kernel's confinement and with our own walk. */
#include "modules/handler/static/static.h"

#include "core/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void names(void **state)
{
    static const struct {
        struct mc_str path;
        bool plain, hidden; /* passes without and with `hidden` */
    } cases[] = {
        {MC_STR(""), true, true},
        {MC_STR("a"), true, true},
        {MC_STR("a/b.c/d"), true, true},
        {MC_STR("a/"), true, true},
        {MC_STR("..."), false, true},
        {MC_STR("a..b/c.."), true, true},
        {MC_STR(".well-known/acme-challenge/x"), true, true},
        {MC_STR("a/.well-known/x"), false, true},
        {MC_STR(".well-knownx"), false, true},
        {MC_STR(".git/config"), false, true},
        {MC_STR("a/.htaccess"), false, true},
        {MC_STR("\\..\\x"), true, true}, /* one name here */
        {MC_STR("."), false, false},
        {MC_STR(".."), false, false},
        {MC_STR("../x"), false, false},
        {MC_STR("a/../x"), false, false},
        {MC_STR("a/.."), false, false},
        {MC_STR("a/./x"), false, false},
        {MC_STR("./x"), false, false},
        {MC_STR("/x"), false, false},
        {MC_STR("a//x"), false, false},
        {MC_STR("a//"), false, false},
        {MC_STR("/"), false, false},
        {MC_STR("a\0b"), false, false},
    };
    (void)state;
    for (size_t i = 0; i < MC_COUNT(cases); i++) {
        assert_int_equal(mc_static_path_ok(cases[i].path, false), cases[i].plain);
        assert_int_equal(mc_static_path_ok(cases[i].path, true), cases[i].hidden);
    }
}

static char top[] = "/tmp/mc-static-XXXXXX";
static char root[64], outside[64];

static void put(const char *dir, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void in(const char *dir, char *out, size_t cap, const char *name)
{
    snprintf(out, cap, "%s/%s", dir, name);
}

static int set_up(void **state)
{
    char path[256], to[256];
    (void)state;
    mc_log_init(open("/dev/null", O_WRONLY | O_CLOEXEC), MC_LOG_CRITICAL);
    assert_non_null(mkdtemp(top));
    in(top, root, sizeof root, "root");
    in(top, outside, sizeof outside, "outside");
    assert_int_equal(mkdir(root, 0755) | mkdir(outside, 0755), 0);
    put(root, "file", "in");
    put(outside, "secret", "out");
    in(root, path, sizeof path, "dir");
    assert_int_equal(mkdir(path, 0755), 0);
    put(path, "file", "deep");
    in(root, path, sizeof path, "good");
    assert_int_equal(symlink("dir/file", path), 0);
    in(root, path, sizeof path, "dir/up");
    assert_int_equal(symlink("../file", path), 0);
    in(root, path, sizeof path, "evil");
    assert_int_equal(symlink("../outside/secret", path), 0);
    in(root, path, sizeof path, "evildir");
    assert_int_equal(symlink("../outside", path), 0);
    in(root, path, sizeof path, "absolute");
    in(outside, to, sizeof to, "secret");
    assert_int_equal(symlink(to, path), 0);
    in(root, path, sizeof path, "loop");
    assert_int_equal(symlink("loop", path), 0);
    in(root, path, sizeof path, "proc");
    assert_int_equal(symlink("/proc/self/cwd", path), 0);
    return 0;
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", top);
    return system(command) == 0 ? 0 : -1;
}

/* What a path gives: its text, or -errno. */
static int look(struct mc_static *s, const char *path, char *text, size_t cap)
{
    int fd = mc_static_open(s, path, O_RDONLY | O_NONBLOCK, 1, 1000);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, text, cap - 1);
    int err = n < 0 ? -errno : 0;
    text[n > 0 ? n : 0] = 0;
    close(fd);
    return err;
}

static void confined(void **state)
{
    static const struct {
        const char *path;
        int beneath, no, any; /* 0: opened */
        int walk;             /* our own walk: no link at all */
    } cases[] = {
        {"file", 0, 0, 0, 0},
        {"dir/file", 0, 0, 0, 0},
        {"good", 0, ELOOP, 0, ELOOP},
        {"dir/up", 0, ELOOP, 0, ELOOP},
        {"evil", EXDEV, ELOOP, 0, ELOOP},
        {"evildir/secret", EXDEV, ELOOP, 0, ENOTDIR},
        {"absolute", EXDEV, ELOOP, 0, ELOOP},
        {"loop", ELOOP, ELOOP, ELOOP, ELOOP},
        {"proc/passwd", -1, -1, -1, -1},
        {"nothing", ENOENT, ENOENT, ENOENT, ENOENT},
        {"file/x", ENOTDIR, ENOTDIR, ENOTDIR, ENOTDIR},
        {"file/", ENOTDIR, ENOTDIR, ENOTDIR, ENOTDIR},
        {"../outside/secret", EXDEV, EXDEV, -1, -1}, /* the names are checked before; still */
        {"/etc/passwd", EXDEV, EXDEV, -1, -1},
    };
    (void)state;
    for (size_t i = 0; i < MC_COUNT(cases); i++) {
        const int want[] = {[MC_LINKS_BENEATH] = cases[i].beneath, [MC_LINKS_NO] = cases[i].no, [MC_LINKS_ANY] = cases[i].any};
        for (unsigned links = 0; links < 3; links++) {
            struct mc_static s = {.root = root, .dir = root, .symlinks = "x", .links = (enum mc_static_links)links, .at.fd = -1};
            char text[64] = "";
            if (want[links] == -1 && links == MC_LINKS_ANY)
                continue;
            int rc = look(&s, cases[i].path, text, sizeof text);
            if (want[links] == -1)
                assert_true(rc < 0);
            else
                assert_int_equal(rc, -want[links]);
            mc_static_without_openat2(true);
            if (links != MC_LINKS_ANY && cases[i].walk != -1)
                assert_int_equal(look(&s, cases[i].path, text, sizeof text), -cases[i].walk);
            mc_static_without_openat2(false);
            close(s.at.fd);
        }
    }
}

/* A root that is a symbolic link and moves on: seen when the time that it may go unchecked is over. */
static void root_moves(void **state)
{
    char current[96], other[96], text[64];
    (void)state;
    in(top, current, sizeof current, "current");
    in(top, other, sizeof other, "other");
    assert_int_equal(mkdir(other, 0755), 0);
    put(other, "file", "new");
    assert_int_equal(symlink("root", current), 0);
    struct mc_static s = {.root = current, .dir = current, .symlinks = "beneath", .at.fd = -1};
    assert_int_equal(look(&s, "file", text, sizeof text), 0);
    assert_string_equal(text, "in");
    assert_int_equal(unlink(current) | symlink("other", current), 0);
    int fd = mc_static_open(&s, "file", O_RDONLY, 5000, 1000);
    assert_int_equal(read(fd, text, sizeof text), 3);
    assert_memory_equal(text, "new", 3);
    close(fd);
    assert_int_equal(unlink(current), 0);
    assert_int_equal(mc_static_open(&s, "file", O_RDONLY, 9000, 1000), -1);
    assert_int_equal(errno, ENOENT);
}

static void statuses(void **state)
{
    (void)state;
    assert_int_equal(mc_static_status(ENOENT), 404);
    assert_int_equal(mc_static_status(EXDEV), 404);
    assert_int_equal(mc_static_status(EACCES), 403);
    assert_int_equal(mc_static_status(EMFILE), 503);
    assert_int_equal(mc_static_status(EIO), 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(confined), cmocka_unit_test(root_moves), cmocka_unit_test(statuses)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
