/* The nameplate: made, found through /proc, read; and what is none. */
#include "core/process/plate.h"

#include "core/os/fd.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char first[] = "monoceros", second[] = "app:app", third[] = "", pair[] = "A=b";
static char *argv[] = {first, second, third, NULL}, *env[] = {pair, NULL};
static const struct mc_plate_words words = {"/usr/bin/monoceros", "/srv", argv, env};

static void found_and_read(void **state)
{
    struct mc_plate ours, seen;
    struct mc_plate_words w;
    (void)state;
    assert_int_equal(mc_plate_make(&ours, getpid(), &words), MC_OK);
    assert_int_equal(mc_plate_find(&seen, getpid()), MC_OK);
    assert_int_equal(mc_plate_read(&seen, &w), MC_OK);
    assert_string_equal(w.program, "/usr/bin/monoceros");
    assert_string_equal(w.dir, "/srv");
    assert_string_equal(w.argv[1], "app:app");
    assert_string_equal(w.argv[2], "");
    assert_null(w.argv[3]);
    assert_string_equal(w.env[0], "A=b");
    assert_null(w.env[1]);
    mc_plate_free_words(&w);
    atomic_store(&ours.head->state, (uint32_t)MC_HEIR_READY);
    assert_int_equal(atomic_load(&seen.head->state), MC_HEIR_READY);
    mc_plate_close(&seen);
    mc_plate_close(&ours);
    assert_int_equal(mc_plate_find(&seen, getpid()), MC_DECLINED);
}

/* A child has a copy of the descriptor; it is not the one whose name stands there. */
static void only_its_owner(void **state)
{
    struct mc_plate ours, seen;
    int status;
    (void)state;
    assert_int_equal(mc_plate_make(&ours, getpid(), &words), MC_OK);
    pid_t pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    assert_int_equal(mc_plate_find(&seen, pid), MC_DECLINED);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    assert_int_equal(mc_plate_find(&seen, pid), MC_ERROR);
    assert_int_equal(errno, ESRCH);
    mc_plate_close(&ours);
}

static void counts_that_lie(void **state)
{
    struct mc_plate ours;
    struct mc_plate_words w;
    (void)state;
    assert_int_equal(mc_plate_make(&ours, getpid(), &words), MC_OK);
    ours.head->envc = 2;
    assert_int_equal(mc_plate_read(&ours, &w), MC_ERROR);
    ours.head->envc = UINT32_MAX;
    assert_int_equal(mc_plate_read(&ours, &w), MC_ERROR);
    ours.head->envc = 1;
    ours.head->argc = 0;
    assert_int_equal(mc_plate_read(&ours, &w), MC_ERROR);
    ours.head->argc = 3;
    assert_int_equal(mc_plate_read(&ours, &w), MC_OK);
    mc_plate_free_words(&w);
    mc_plate_close(&ours);
}

/* A memory of the right name that can be cut, or is too small. */
static void not_every_memory_of_the_name(void **state)
{
    struct mc_plate seen;
    char bytes[sizeof(struct mc_plate_head) + 1] = {0};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        int fd = mc_fd_memfd("monoceros-plate", bytes, i ? 8 : sizeof(bytes), i == 1);
        assert_true(fd >= 0);
        assert_int_equal(mc_plate_find(&seen, getpid()), MC_DECLINED);
        mc_fd_close(&fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found_and_read),
        cmocka_unit_test(only_its_owner),
        cmocka_unit_test(counts_that_lie),
        cmocka_unit_test(not_every_memory_of_the_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
