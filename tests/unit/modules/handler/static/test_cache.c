/* The open-file cache: what is remembered, for how long, what a change does, and what gives way. */
#include "modules/handler/static/static.h"

#include "core/base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static char root[] = "/tmp/mc-cache-XXXXXX";
static struct mc_loop loop;
static struct mc_static_cache cache;
static struct mc_static site;

/* A file whose times lie far enough back. */
static void put(const char *name, const char *text, long age)
{
    char path[256], tmp[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    snprintf(tmp, sizeof tmp, "%s/tmp", root);
    FILE *f = fopen(tmp, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    struct timeval now, times[2];
    gettimeofday(&now, NULL);
    times[0] = times[1] = (struct timeval){.tv_sec = now.tv_sec - age};
    assert_int_equal(utimes(tmp, times), 0);
    assert_int_equal(rename(tmp, path), 0);
}

static void start(bool watch, int64_t entries, int64_t memory)
{
    struct mc_static_limits limits = {.entries = entries, .memory = memory, .small = 100, .valid = 1000, .watch = watch};
    site = (struct mc_static){.root = root, .dir = root, .symlinks = "beneath", .at.fd = -1};
    assert_int_equal(mc_static_cache_open(&cache, &limits, &loop), MC_OK);
    loop.now = 10000;
}

static void stop(void)
{
    mc_static_cache_close(&cache);
    close(site.at.fd);
}

static struct mc_static_entry *get(const char *path)
{
    struct mc_static_entry *e = mc_static_cache_get(&cache, &site, mc_str(path));
    assert_non_null(e);
    return e;
}

/* The content as the cache gives it: "" for what is not a file. */
static const char *text(const char *path)
{
    static char out[256];
    struct mc_static_entry *e = get(path);
    ssize_t n = 0;
    if (e->kind == MC_STATIC_FILE && e->data) {
        memcpy(out, e->data, (size_t)e->size);
        n = e->size;
    } else if (e->kind == MC_STATIC_FILE) {
        n = pread(e->file->fd, out, sizeof out - 1, 0);
    }
    out[n] = 0;
    mc_static_entry_put(e);
    return out;
}

static void kinds(void **state)
{
    char path[256];
    (void)state;
    start(false, 100, 1 << 20);
    put("small", "hello", 100);
    put("empty", "", 100);
    put("large", "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789x", 100);
    snprintf(path, sizeof path, "%s/dir", root);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/fifo", root);
    assert_int_equal(mkfifo(path, 0644), 0);
    struct mc_static_entry *e = get("small");
    assert_true(e->kind == MC_STATIC_FILE && e->data && !e->file && e->size == 5);
    mc_static_entry_put(e);
    e = get("large");
    assert_true(e->kind == MC_STATIC_FILE && !e->data && e->file && e->size == 101);
    mc_static_entry_put(e);
    e = get("empty");
    assert_true(e->kind == MC_STATIC_FILE && e->size == 0);
    mc_static_entry_put(e);
    e = get("dir");
    assert_int_equal(e->kind, MC_STATIC_DIR);
    mc_static_entry_put(e);
    e = get("fifo"); /* must not hang */
    assert_true(e->kind == MC_STATIC_NOT && e->status == 404);
    mc_static_entry_put(e);
    e = get("nothing");
    assert_true(e->kind == MC_STATIC_NOT && e->status == 404);
    mc_static_entry_put(e);
    assert_true(cache.nfound == 4 && cache.nmissing == 2 && cache.nfiles == 1);
    stop();
    assert_int_equal(cache.nfound + cache.nmissing + cache.nfiles + cache.memory, 0);
}

static void time_shows_changes(void **state)
{
    (void)state;
    start(false, 100, 1 << 20);
    put("a", "one", 100);
    assert_string_equal(text("a"), "one");
    assert_string_equal(text("b"), "");
    struct mc_static_entry *held = get("a");
    put("a", "two", 90);
    put("b", "new", 90);
    assert_string_equal(text("a"), "one"); /* still within its time */
    loop.now += 1000;
    assert_string_equal(text("a"), "two");
    assert_string_equal(text("b"), "new");
    assert_memory_equal(held->data, "one", 3); /* what is being sent stays */
    mc_static_entry_put(held);
    stop();
}

static void unchanged_files_are_kept(void **state)
{
    (void)state;
    start(false, 100, 1 << 20);
    put("old", "old", 100);
    struct mc_static_entry *a = get("old");
    a->young = false; /* its ctime is that of this test */
    loop.now += 5000;
    struct mc_static_entry *b = get("old");
    assert_ptr_equal(a, b);
    mc_static_entry_put(a);
    mc_static_entry_put(b);
    stop();
}

/* Written twice within one tick of the file system's clock: the times are the same, the bytes are not. */
static void young_files_are_read_again(void **state)
{
    char path[256];
    (void)state;
    start(false, 100, 1 << 20);
    put("young", "aaa", 0);
    assert_string_equal(text("young"), "aaa");
    struct mc_static_entry *e = get("young");
    assert_true(e->young);
    snprintf(path, sizeof path, "%s/young", root);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "bbb", 3, 0), 3);
    struct timespec times[2] = {e->mtime, e->mtime};
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
    mc_static_entry_put(e);
    loop.now += 1000;
    assert_string_equal(text("young"), "bbb");
    stop();
}

static void watches_show_changes_at_once(void **state)
{
    (void)state;
    start(true, 100, 1 << 20);
    if (cache.watches.io.fd < 0) {
        stop();
        skip();
    }
    put("w", "one", 100);
    assert_string_equal(text("w"), "one");
    assert_string_equal(text("later"), "");
    put("w", "two", 90);
    put("later", "here", 90);
    cache.watches.io.fn(&cache.watches.io);
    assert_string_equal(text("w"), "two");
    assert_string_equal(text("later"), "here");
    char path[256];
    snprintf(path, sizeof path, "%s/w", root);
    unlink(path);
    cache.watches.io.fn(&cache.watches.io);
    assert_string_equal(text("w"), "");
    assert_int_equal(cache.watches.n, 1); /* one directory */
    stop();
    assert_int_equal(cache.watches.n, 0);
}

static void bounds(void **state)
{
    char name[32];
    (void)state;
    start(false, 20, 1 << 20);
    put("keep", "k", 100);
    mc_static_entry_put(get("keep"));
    for (int i = 0; i < 1000; i++) { /* guessed names push out nothing that is there */
        snprintf(name, sizeof name, "guess-%d", i);
        mc_static_entry_put(get(name));
    }
    assert_int_equal(cache.nfound, 1);
    assert_true(cache.nmissing <= 6);
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "f%d", i);
        put(name, "0123456789", 100);
        mc_static_entry_put(get(name));
        mc_static_entry_put(get("keep"));
    }
    assert_int_equal(cache.nfound, 20);
    size_t before = cache.nfound;
    mc_static_entry_put(get("keep")); /* was used all the time */
    assert_int_equal(cache.nfound, before);
    stop();
    start(false, 1000, 3000);
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "f%d", i);
        mc_static_entry_put(get(name));
        assert_true(cache.memory <= 3000);
    }
    stop();
}

static int set_up(void **state)
{
    (void)state;
    mc_log_init(open("/dev/null", O_WRONLY | O_CLOEXEC), MC_LOG_CRITICAL);
    for (const struct mc_module *const *m = mc_modules; *m; m++) {
        if ((*m)->kind == MC_MODULE_EVENT && mc_loop_open(&loop, (*m)->ops.event) == MC_OK)
            return mkdtemp(root) ? 0 : -1;
    }
    return -1;
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    mc_loop_close(&loop);
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command) == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),
        cmocka_unit_test(time_shows_changes),
        cmocka_unit_test(unchanged_files_are_kept),
        cmocka_unit_test(young_files_are_read_again),
        cmocka_unit_test(watches_show_changes_at_once),
        cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
