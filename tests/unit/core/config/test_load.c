/* The whole way: argv, environment and files on disk to a configuration, what is printed, the exit codes, and a reload. */
#include "fixture.h"

#include "mc_config.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/monoceros-config-XXXXXX";
static char out[65536], errors[65536];
static enum mc_conf_todo todo;
static int code;

static void store(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int divert(int fd, const char *name)
{
    int saved = dup(fd), file = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(saved >= 0 && file >= 0);
    assert_true(dup2(file, fd) == fd);
    close(file);
    return saved;
}

static void restore(int fd, int saved, const char *name, char *text, size_t cap)
{
    FILE *f;
    fflush(NULL);
    assert_true(dup2(saved, fd) == fd);
    close(saved);
    f = fopen(name, "r");
    assert_non_null(f);
    text[fread(text, 1, cap - 1, f)] = '\0';
    fclose(f);
    unlink(name);
}

/* mc_conf_load() with what it printed in out and errors. */
static struct mc_conf *load(const char *a, const char *b, const char *c, const char *d)
{
    char name[] = "monoceros";
    char *argv[6] = {name};
    const char *words[4] = {a, b, c, d};
    int n = 1, one, two;
    for (size_t i = 0; i < 4 && words[i]; i++)
        argv[n++] = (char *)(uintptr_t)words[i];
    fflush(NULL);
    one = divert(1, ".out");
    two = divert(2, ".err");
    struct mc_conf *conf = mc_conf_load(n, argv, &todo, &code);
    restore(1, one, ".out", out, sizeof out);
    restore(2, two, ".err", errors, sizeof errors);
    assert_int_equal(conf == NULL, todo == MC_CONF_EXIT);
    return conf;
}

static int setup(void **state)
{
    static const char *const unset[] = {"PORT", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "MONOCEROS_CMD_ARGS", "GUNICORN_CMD_ARGS"};
    (void)state;
    for (size_t i = 0; i < MC_COUNT(unset); i++)
        unsetenv(unset[i]);
    strcpy(dir + strlen(dir) - 6, "XXXXXX");
    return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

static void fails(const char *a, const char *b, int exit_code, const char *message)
{
    assert_null(load(a, b, NULL, NULL));
    if (!strstr(errors, message))
        print_error("%s", errors);
    assert_non_null(strstr(errors, message));
    assert_int_equal(code, exit_code);
    assert_string_equal(out, "");
    assert_ptr_equal(strchr(errors, '\n'), errors + strlen(errors) - 1); /* one line */
}

static void asked_for_texts(void **state)
{
    (void)state;
    assert_null(load("--help", NULL, NULL, NULL));
    assert_int_equal(code, 0);
    assert_string_equal(errors, "");
    for (const struct mc_setting *s = mc_settings; s->name; s = mc_setting_next(s)) {
        if (s->flag)
            assert_non_null(strstr(out, mc_schema_flag_is(s->flag, "--error-logfile") ? "--error-logfile, --log-file FILE"
                                        : s->flag[0] == '-'                           ? "--"
                                                                                      : s->flag));
        if (s->group)
            assert_non_null(strstr(out, s->group));
    }
    assert_non_null(strstr(out, "  -w, --workers INT "));
    for (const char *line = out; *line; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 125);
    assert_null(load("-v", NULL, NULL, NULL));
    assert_int_equal(code, 0);
    assert_string_equal(out, "monoceros " MC_VERSION "\n");
    assert_null(load("-V", NULL, NULL, NULL));
    assert_int_equal(code, 0);
    assert_non_null(strstr(out, "configured with: --with-something\n"));
    assert_non_null(strstr(out, "libconfuse "));
    assert_non_null(strstr(out, "pcre2 10."));
    assert_non_null(strstr(out, "  worker     sync\n"));
    assert_null(strstr(out, "proxy")); /* only what is built in */
}

static void nothing_to_serve_is_explained(void **state)
{
    (void)state;
    if (access(MC_CONF_PATH, F_OK) == 0)
        skip();
    assert_null(load(NULL, NULL, NULL, NULL));
    assert_int_equal(code, 1);
    assert_int_equal(todo, MC_CONF_EXIT);
    assert_string_equal(out, "");
    size_t lines = 0;
    for (const char *p = errors; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 5);
    assert_non_null(strstr(errors, "--help"));
}

static void files_are_found(void **state)
{
    (void)state;
    store("monoceros.conf", "workers = 5\n" SERVER);
    store("other.conf", "workers = 6\n" SERVER);
    store("plain.conf", "workers = 7\n");
    struct mc_conf *c = load(NULL, NULL, NULL, NULL);
    assert_non_null(c);
    assert_int_equal(todo, MC_CONF_RUN);
    assert_int_equal(c->set.workers, 5);
    assert_string_equal(c->set.config, "monoceros.conf");
    mc_conf_free(&c);
    c = load("-c", "file:other.conf", "--check-config", NULL);
    assert_non_null(c);
    assert_int_equal(todo, MC_CONF_CHECK);
    assert_int_equal(c->set.workers, 6);
    mc_conf_free(&c);
    c = load("m:app", "-c", "plain.conf", NULL);
    assert_non_null(c);
    assert_int_equal(c->set.workers, 7);
    assert_string_equal(c->cwd, dir);
    mc_conf_free(&c);
    fails("m", NULL, 1, "monoceros: monoceros.conf:2: APP 'm' is given, but server \"s\"");
    fails("-c", "gone.conf", 1, "monoceros: gone.conf: cannot be read: No such file");
    fails("-c", ".", 1, "monoceros: .: is a directory, not a configuration file");
    fails("-c", "/dev/null", 1, "monoceros: /dev/null: is not a regular file");
    fails("-c", "gunicorn.conf.py", 1, "monoceros: gunicorn.conf.py: cannot be read: No such file");
    fails("-c", "plain.conf", 1, "monoceros: plain.conf: nothing to serve");
    assert_int_equal(mkfifo("fifo", 0600), 0);
    fails("-c", "fifo", 1, "monoceros: fifo: is not a regular file");
}

/* An interpreter that gives its answer for every file. */
static void python_files(void **state)
{
    (void)state;
    struct mc_conf *c;
    store("python", "#!/bin/sh\nprintf 'set\\0workers\\0001\\0001\\0008\\0set\\0wsgi_app\\0002\\0001\\0m\\0end\\0' >&3\n");
    assert_int_equal(chmod("python", 0700), 0);
    store("gunicorn.conf.py", "");
    setenv("GUNICORN_CMD_ARGS", "ignored --python ./python -t 9 -w 1", 1);
    setenv("MONOCEROS_CMD_ARGS", "-t 8", 1);
    c = load("--backlog", "7", NULL, NULL);
    assert_non_null(c);
    assert_string_equal(c->set.config, "gunicorn.conf.py");
    assert_int_equal(c->pools[0].set.workers, 1);
    assert_int_equal(c->pools[0].set.timeout, 8000);
    assert_int_equal(c->set.backlog, 7);
    assert_string_equal(c->apps[0].module, "m");
    mc_conf_free(&c);
    unsetenv("GUNICORN_CMD_ARGS");
    unsetenv("MONOCEROS_CMD_ARGS");
    assert_null(load("--convert", "gunicorn.conf.py", "--python", "./python"));
    assert_int_equal(code, 0);
    assert_non_null(strstr(out, "wsgi_app = 'm'\nworkers = 8\n"));
    fails("--convert", "none.py", 1, "monoceros: none.py: cannot be read");
    store("monoceros.conf", "workers = 3\n");
    c = load("m", NULL, NULL, NULL); /* ours comes first */
    assert_non_null(c);
    assert_int_equal(c->pools[0].set.workers, 3);
    mc_conf_free(&c);
    setenv("GUNICORN_CMD_ARGS", "--help", 1);
    fails("m", NULL, 2, "monoceros: GUNICORN_CMD_ARGS holds options only");
    unsetenv("GUNICORN_CMD_ARGS");
}

static void later_sources_win(void **state)
{
    (void)state;
    struct mc_conf *c;
    setenv("WEB_CONCURRENCY", "2", 1);
    setenv("PORT", "5001", 1);
    setenv("FORWARDED_ALLOW_IPS", "10.0.0.1,10.0.0.2", 1);
    c = load("m", NULL, NULL, NULL);
    assert_non_null(c);
    assert_int_equal(c->pools[0].set.workers, 2);
    assert_string_equal(c->listens[0].text, "0.0.0.0:5001");
    assert_int_equal(c->servers[0].ntrusted, 2);
    mc_conf_free(&c);
    store("f.conf", "workers = 3\nbind = \":5002\"\ntimeout = 3\nbacklog = 3\n");
    c = load("m", "-c", "f.conf", NULL);
    assert_non_null(c);
    assert_int_equal(c->pools[0].set.workers, 3);
    assert_string_equal(c->listens[0].text, "0.0.0.0:5002");
    mc_conf_free(&c);
    setenv("MONOCEROS_CMD_ARGS", "-w 4 --bind ':5003' -t 4", 1);
    c = load("m", "-c", "f.conf", "-w5");
    assert_non_null(c);
    assert_int_equal(c->pools[0].set.workers, 5);
    assert_int_equal(c->nlistens, 1);
    assert_string_equal(c->listens[0].text, "0.0.0.0:5003");
    assert_int_equal(c->pools[0].set.timeout, 4000);
    assert_int_equal(c->set.backlog, 3);
    mc_conf_free(&c);
    setenv("MONOCEROS_CMD_ARGS", "app", 1);
    fails("m", NULL, 2, "monoceros: MONOCEROS_CMD_ARGS holds options only");
    setenv("MONOCEROS_CMD_ARGS", "-w x", 1);
    fails("m", NULL, 2, "monoceros: -w: expected a decimal number");
    setenv("MONOCEROS_CMD_ARGS", "-w 'x", 1);
    fails("m", NULL, 2, "monoceros: MONOCEROS_CMD_ARGS: a quote is not closed");
    unsetenv("MONOCEROS_CMD_ARGS");
    setenv("WEB_CONCURRENCY", "lots", 1);
    fails("m", NULL, 1, "monoceros: WEB_CONCURRENCY in the environment: expected a decimal number");
    unsetenv("WEB_CONCURRENCY");
    setenv("PORT", "http", 1);
    fails("m", NULL, 1, "invalid port 'http'");
    /* A server that says where to listen does not care about PORT. */
    store("s.conf", SERVER);
    c = load("-c", "s.conf", NULL, NULL);
    assert_non_null(c);
    assert_string_equal(c->listens[0].text, "127.0.0.1:8000");
    mc_conf_free(&c);
}

static void includes_are_sorted_and_relative(void **state)
{
    (void)state;
    assert_int_equal(mkdir("etc", 0700), 0);
    assert_int_equal(mkdir("etc/d[1]", 0700), 0);
    store("etc/main.conf", "include(\"d[[]1]/*.conf\")\nworkers = 2\ninclude('none/*.conf')\nserver z { listen = \":9\"" ROUTE "}\n");
    store("etc/d[1]/b.conf", "server b { listen = \":2\"" ROUTE "}\n");
    store("etc/d[1]/a.conf", "# first\ninclude(\"deeper.inc\")\nserver a { listen = \":1\"" ROUTE "}\ntimeout = 7");
    store("etc/d[1]/deeper.inc", "backlog = 9\n");
    struct mc_conf *c = load("-c", "etc/main.conf", NULL, NULL);
    if (!c)
        print_error("%s", errors);
    assert_non_null(c);
    assert_int_equal(c->nservers, 3);
    assert_string_equal(c->servers[0].name, "a");
    assert_string_equal(c->servers[1].name, "b");
    assert_string_equal(c->servers[2].name, "z");
    assert_string_equal(c->servers[0].at.file, "etc/d[1]/a.conf");
    assert_int_equal(c->servers[0].at.line, 3);
    assert_int_equal(c->servers[2].at.line, 4);
    assert_int_equal(c->set.backlog, 9);
    assert_int_equal(c->set.timeout, 7000);
    mc_conf_free(&c);
    store("etc/d[1]/b.conf", "\n\ntimeout = 8\n");
    fails("-c", "etc/main.conf", 1, "monoceros: etc/d[1]/b.conf:3: 'timeout' is set twice; first at etc/d[1]/a.conf:4");
    store("etc/d[1]/b.conf", "\nserver z { listen = \":2\"" ROUTE "}\n");
    fails("-c", "etc/main.conf", 1, "there are two server sections \"z\"; the first at etc/main.conf:4");
    store("etc/d[1]/b.conf", "\nserver q {\n");
    fails("-c", "etc/main.conf", 1, "monoceros: etc/d[1]/b.conf:2: this server section is never closed");
    store("etc/d[1]/b.conf", "}\n");
    fails("-c", "etc/main.conf", 1, "monoceros: etc/d[1]/b.conf:1: there is a } too many");
    store("etc/d[1]/b.conf", "\nworkers = x\n");
    fails("-c", "etc/main.conf", 1, "etc/d[1]/b.conf:2: 'workers' is set twice; first at etc/main.conf:2");
    store("etc/d[1]/b.conf", "\ngraceful_timeout = x\n");
    fails("-c", "etc/main.conf", 1, "etc/d[1]/b.conf:2: graceful_timeout: expected a duration");
    store("etc/d[1]/b.conf", "\n\ninclude(\"../main.conf\")\n");
    fails("-c", "etc/main.conf", 1,
          "monoceros: etc/d[1]/b.conf:3: include() goes in a circle: etc/d[1]/../main.conf is being read already");
    store("loop.conf", "include(\"loop.conf\")\n");
    fails("-c", "loop.conf", 1, "monoceros: loop.conf:1: include() goes in a circle");
    store("x.conf", "\ninclude(\"nope.conf\")\n");
    fails("-c", "x.conf", 1, "monoceros: x.conf:2: include(): there is no file nope.conf");
    store("x.conf", "\ninclude(\"etc\")\n");
    fails("-c", "x.conf", 1, "monoceros: etc: is a directory");
}

static void an_include_may_be_absolute(void **state)
{
    char text[128];
    (void)state;
    store("inner.conf", "workers = 4\n" SERVER);
    snprintf(text, sizeof text, "include(\"%s/inner.conf\")\n", dir);
    store("outer.conf", text);
    struct mc_conf *c = load("-c", "outer.conf", NULL, NULL);
    assert_non_null(c);
    assert_int_equal(c->set.workers, 4);
    mc_conf_free(&c);
    setenv("MC_TEST_PLACE", dir, 1);
    store("outer.conf", "include(\"${MC_TEST_PLACE}/${MC_TEST_NAME:-in*}r.conf\")\n");
    c = load("-c", "outer.conf", NULL, NULL);
    assert_non_null(c);
    assert_int_equal(c->set.workers, 4);
    mc_conf_free(&c);
    store("inner.conf", "worker = 4\n");
    fails("-c", "outer.conf", 1, "/inner.conf:1: unknown setting 'worker'");
}

static void a_file_has_a_bound(void **state)
{
    (void)state;
    FILE *f = fopen("big.conf", "w");
    assert_non_null(f);
    for (int i = 0; i < (4 << 20) / 64; i++)
        fprintf(f, "# %061d\n", i);
    fputs(SERVER, f);
    fclose(f);
    fails("-c", "big.conf", 1, "monoceros: big.conf: is larger than 4 MB");
    assert_int_equal(truncate("big.conf", 4 << 20), 0);
    fails("-c", "big.conf", 1, "monoceros: big.conf: nothing to serve");
}

static void includes_are_bounded(void **state)
{
    (void)state;
    for (int i = 0; i < 12; i++) {
        char name[32], text[64];
        snprintf(name, sizeof name, "%d.conf", i);
        snprintf(text, sizeof text, "include(\"%d.conf\")\n", i + 1);
        store(name, text);
    }
    fails("-c", "0.conf", 1, "monoceros: 8.conf:1: more than 8 files include one another");
    store("5.conf", "workers = 2\n" SERVER);
    struct mc_conf *c = load("-c", "0.conf", NULL, NULL);
    assert_non_null(c);
    mc_conf_free(&c);
}

/* Where values come from stands behind two blanks. */
static void strip_comments(char *text)
{
    char *to = text;
    for (char *p = text; *p;) {
        char *end = p + strcspn(p, "\n"), *comment = strstr(p, "  # ");
        size_t n = (size_t)((comment && comment < end ? comment : end) - p);
        while (n && p[n - 1] == ' ')
            n--;
        memmove(to, p, n);
        to += n;
        *to++ = '\n';
        p = end + (*end == '\n');
    }
    *to = '\0';
}

static void origins_are_told(void **state)
{
    static const char *const lines[] = {
        "\nworkers = 7                                      # environment: WEB_CONCURRENCY\n",
        "\ntimeout = 40s                                    # o.conf:2\n",
        "\nmax_requests = 5                                 # MONOCEROS_CMD_ARGS: --max-requests\n",
        "\npool 'p' {                                       # o.conf:3\n",
        "\n    workers = 2                                  # o.conf:4\n",
        "\n    timeout = 40s                                # o.conf:2\n",
        "\n    max_requests = 5                             # MONOCEROS_CMD_ARGS: --max-requests\n",
        "\n    threads = 1                                  # default\n",
        "\nserver 's' {                                     # o.conf:5\n",
        "\n    listen = {'127.0.0.1:8000'}                  # o.conf:5\n",
    };
    (void)state;
    store("o.conf", "\ntimeout = 40s\npool p {\nworkers = 2 }\n" SERVER);
    setenv("WEB_CONCURRENCY", "7", 1);
    setenv("MONOCEROS_CMD_ARGS", "--max-requests 5", 1);
    assert_null(load("-c", "o.conf", "--print-config", NULL));
    assert_int_equal(code, 0);
    for (size_t i = 0; i < MC_COUNT(lines); i++) {
        if (!strstr(out, lines[i]))
            print_error("%s\nis not in\n%s", lines[i], out);
        assert_non_null(strstr(out, lines[i]));
    }
}

static void origins_of_bind_are_told(void **state)
{
    (void)state;
    store("conf_b", "\nbind = \":81\"\n");
    assert_null(load("-c", "conf_b", "m:app", "--print-config"));
    assert_non_null(strstr(out, "\n    listen = {'0.0.0.0:81'}                      # conf_b:2\n"));
    setenv("PORT", "83", 1);
    assert_null(load("m:app", "--print-config", NULL, NULL));
    assert_non_null(strstr(out, "\n    listen = {'0.0.0.0:83'}                      # environment: PORT\n"));
    assert_null(load("m:app", "-b:82", "--print-config", NULL));
    assert_non_null(strstr(out, "\n    listen = {'0.0.0.0:82'}                      # command line: -b\n"));
    unsetenv("PORT");
    assert_null(load("m:app", "--print-config", NULL, NULL));
    assert_non_null(strstr(out, "\n    listen = {'127.0.0.1:8000'}                  # default\n"));
}

static void printed_files_are_files(void **state)
{
    (void)state;
    static char first[65536];
    assert_null(load("m:app", "-w3", "-eA=b", "--print-config"));
    assert_int_equal(code, 0);
    assert_string_equal(errors, "");
    strcpy(first, out);
    store("p.conf", first);
    assert_non_null(strstr(first, "\nworkers = 3                                      # command line: -w\n"));
    assert_non_null(strstr(first, "\ntimeout = 30s                                    # default\n"));
    assert_non_null(strstr(first, "\n# pidfile is not set\n"));
    assert_null(load("-c", "p.conf", "--print-config", NULL));
    assert_int_equal(code, 0);
    strip_comments(first);
    strip_comments(out);
    assert_string_equal(out, first);
}

static void warnings_do_not_stop(void **state)
{
    (void)state;
    struct mc_conf *c = load("m", "--worker-tmp-dir", "/dev/shm", NULL);
    assert_non_null(c);
    assert_string_equal(errors,
                        "monoceros: warning: --worker-tmp-dir is accepted and has no effect: heartbeats are kept in shared memory\n");
    mc_conf_free(&c);
}

static void a_reload_sees_the_first_time(void **state)
{
    (void)state;
    char path[64];
    store("monoceros.conf", "workers = ${MC_TEST_RELOAD}\n" SERVER);
    setenv("MC_TEST_RELOAD", "5", 1);
    setenv("WEB_CONCURRENCY", "9", 1);
    struct mc_conf *c = load("-t", "8", NULL, NULL), *again;
    assert_non_null(c);
    assert_int_equal(c->set.workers, 5);
    /* Since then the server has gone elsewhere and has set variables for its app. */
    assert_int_equal(chdir("/"), 0);
    setenv("MC_TEST_RELOAD", "6", 1);
    again = mc_conf_reload(errors, sizeof errors);
    assert_non_null(again);
    assert_int_equal(again->set.workers, 5);
    assert_int_equal(again->set.timeout, 8000);
    assert_string_equal(again->cwd, dir);
    assert_string_equal(getenv("MC_TEST_RELOAD"), "6");
    mc_conf_free(&again);
    snprintf(path, sizeof path, "%s/monoceros.conf", dir);
    store(path, "workers = 7\nbacklog = 5\n" SERVER);
    again = mc_conf_reload(errors, sizeof errors);
    assert_non_null(again);
    assert_int_equal(again->set.workers, 7);
    mc_conf_free(&again);
    store(path, "workers = 7\nnonsense = 5\n" SERVER);
    assert_int_equal(chdir(dir), 0);
    again = mc_conf_reload(errors, sizeof errors);
    assert_null(again);
    assert_string_equal(errors, "monoceros.conf:2: unknown setting 'nonsense' at the top level");
    assert_int_equal(unlink(path), 0);
    again = mc_conf_reload(errors, sizeof errors);
    if (access(MC_CONF_PATH, F_OK) != 0)
        assert_string_equal(errors, "the configuration file is gone");
    assert_null(again);
    assert_int_equal(c->set.workers, 5);
    mc_conf_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(asked_for_texts, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_to_serve_is_explained, setup, teardown),
        cmocka_unit_test_setup_teardown(files_are_found, setup, teardown),
        cmocka_unit_test_setup_teardown(python_files, setup, teardown),
        cmocka_unit_test_setup_teardown(later_sources_win, setup, teardown),
        cmocka_unit_test_setup_teardown(includes_are_sorted_and_relative, setup, teardown),
        cmocka_unit_test_setup_teardown(an_include_may_be_absolute, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_has_a_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(includes_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(printed_files_are_files, setup, teardown),
        cmocka_unit_test_setup_teardown(origins_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(origins_of_bind_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(warnings_do_not_stop, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reload_sees_the_first_time, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
