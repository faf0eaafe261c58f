/* What the interpreter says of a gunicorn.conf.py becomes given settings. The interpreter is a script that answers what the test wants. */
#include "fixture.h"

#include "core/config/gunicorn.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];
static struct mc_arena arena;
static struct mc_build b;
static struct mc_gunicorn g;

static void store(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(name, 0700), 0);
}

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/monoceros-gunicorn-XXXXXX");
    if (!mkdtemp(dir) || chdir(dir) != 0)
        return -1;
    store("a.py", "");
    mc_arena_init(&arena);
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    mc_arena_fini(&arena);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

/* mc_gunicorn_read() of a.py with an interpreter that runs this line of shell. */
static int answer(const char *line)
{
    static char path[96], *argv[] = {NULL};
    char script[1024];
    snprintf(script, sizeof script, "#!/bin/sh\n%s\n", line);
    store("python", script);
    snprintf(path, sizeof path, "%s/python", dir);
    err[0] = warned[0] = '\0';
    b = (struct mc_build){.arena = &arena, .err = err, .errcap = sizeof err, .start = dir, .warn = keep_warning};
    int rc = mc_gunicorn_read(&b, "file:a.py", path, argv, &g);
    assert_int_equal(rc != MC_OK, b.failed);
    return rc;
}

static const char *word(const char *name, size_t i)
{
    const struct mc_given *given = mc_tree_given(g.block->given, name);
    assert_non_null(given);
    assert_true(i < given->n);
    assert_string_equal(given->words[i].at.file, "a.py");
    return given->words[i].text;
}

static void which_files(void **state)
{
    (void)state;
    assert_true(mc_gunicorn_is("gunicorn.conf.py"));
    assert_true(mc_gunicorn_is("file:x.py"));
    assert_true(mc_gunicorn_is("python:conf"));
    assert_false(mc_gunicorn_is("monoceros.conf"));
    assert_false(mc_gunicorn_is(".py"));
}

static void settings(void **state)
{
    (void)state;
    assert_int_equal(answer("printf 'set\\0workers\\0007\\0001\\00012\\0set\\0bind\\0000\\0002\\000a:1\\000unix:/s\\0end\\0' >&3"), MC_OK);
    assert_string_equal(word("workers", 0), "12");
    assert_int_equal(mc_tree_given(g.block->given, "workers")->at.line, 7);
    assert_string_equal(word("bind", 1), "unix:/s");
    assert_string_equal(g.name, "a.py");
    assert_string_equal(g.hooks, "");
}

static void hooks_and_others(void **state)
{
    (void)state;
    assert_int_equal(answer("printf 'hook\\0post_fork\\0003\\0hook\\0on_exit\\0005\\0set\\0spew\\0002\\0001\\0yes\\0set\\0spew\\0002\\0001\\0no\\0set\\0"
                            "pidfile\\0000\\0001\\0\\0set\\0nonsense\\0001\\0001\\0x\\0end\\0' >&3"),
                     MC_OK);
    assert_string_equal(g.hooks, "post_fork, on_exit");
    assert_string_equal(warned, "a.py:2: spew does not exist here: use python -m trace, or a profiler: ignored");
    assert_null(mc_tree_given(g.block->given, "pidfile")); /* '' is as good as None */
}

static void failures(void **state)
{
    (void)state;
    assert_int_equal(answer("printf 'fail\\0009\\0NameError: x\\0Traceback\\n  y\\n\\0' >&3"), MC_ERROR);
    assert_string_equal(err, "a.py:9: NameError: x");
    assert_string_equal(b.detail, "Traceback\n  y\n");
    assert_int_equal(answer("exit 3"), MC_ERROR);
    assert_non_null(strstr(err, "with code 3"));
    assert_int_equal(answer("kill -ALRM $$"), MC_ERROR);
    assert_string_equal(err, "a.py: did not end within 30 s");
    assert_int_equal(answer("printf 'set\\0workers\\0001\\0001' >&3"), MC_ERROR);
    assert_non_null(strstr(err, "no answer that makes sense"));
    assert_int_equal(answer("printf 'set\\0workers\\0001\\000999999999999\\0x\\0end\\0' >&3"), MC_ERROR);
    assert_int_equal(answer(":"), MC_ERROR);
    unlink("a.py");
    assert_int_equal(answer("exit 3"), MC_ERROR);
    assert_string_equal(err, "a.py: cannot be read: No such file or directory");
}

static void no_interpreter(void **state)
{
    static char *argv[] = {NULL};
    (void)state;
    err[0] = '\0';
    b = (struct mc_build){.arena = &arena, .err = err, .errcap = sizeof err, .start = dir};
    assert_int_equal(mc_gunicorn_read(&b, "a.py", "/no/such/python", argv, &g), MC_ERROR);
    assert_string_equal(err, "a.py: cannot run the interpreter '/no/such/python': No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(which_files),
        cmocka_unit_test_setup_teardown(settings, setup, teardown),
        cmocka_unit_test_setup_teardown(hooks_and_others, setup, teardown),
        cmocka_unit_test_setup_teardown(failures, setup, teardown),
        cmocka_unit_test_setup_teardown(no_interpreter, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
