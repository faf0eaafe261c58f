/* Command line, MONOCEROS_CMD_ARGS words and environment, as Gunicorn's parser would take them. */
#include "fixture.h"

static struct mc_arena arena;
static struct mc_build build;
static struct mc_cli cli;

static int setup(void **state)
{
    (void)state;
    mc_arena_init(&arena);
    build = (struct mc_build){.arena = &arena, .err = err, .errcap = sizeof err, .code = MC_EXIT_FAIL, .start = "/"};
    err[0] = '\0';
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mc_arena_fini(&arena);
    return 0;
}

#define PARSE(...) parse((char *const[]){__VA_ARGS__, NULL})
#define W(z)       (char *)(uintptr_t)z

static int parse(char *const *argv)
{
    int n = 0;
    while (argv[n])
        n++;
    build.failed = false;
    build.code = MC_EXIT_FAIL;
    return mc_cli_parse(&build, n, argv, &cli);
}

static const char *given(const char *name)
{
    const struct mc_given *g = mc_tree_given(cli.given, name);
    return g && g->n == 1 ? g->words[0].text : NULL;
}

static void four_ways_to_give_a_value(void **state)
{
    (void)state;
    char *ways[][3] = {{W("-w"), W("4"), NULL},
                       {W("-w4"), NULL, NULL},
                       {W("--workers=4"), NULL, NULL},
                       {W("--workers"), W("4"), NULL},
                       {W("-w=4"), NULL, NULL}};
    for (size_t i = 0; i < MC_COUNT(ways); i++) {
        assert_int_equal(parse(ways[i]), MC_OK);
        assert_string_equal(given("workers"), "4");
        assert_null(cli.app);
    }
}

static void options_stand_before_and_after_the_app(void **state)
{
    (void)state;
    assert_int_equal(PARSE(W("-b"), W(":1"), W("m:app"), W("-k"), W("sync"), W("-b:2"), W("-t"), W("5"), W("--access-logfile"), W("-")),
                     MC_OK);
    assert_string_equal(cli.app, "m:app");
    assert_string_equal(given("worker_class"), "sync");
    assert_string_equal(given("timeout"), "5");
    assert_string_equal(given("accesslog"), "-");
    const struct mc_given *bind = mc_tree_given(cli.given, "bind");
    assert_int_equal(bind->n, 2);
    assert_string_equal(bind->words[0].text, ":1");
    assert_string_equal(bind->words[1].text, ":2");
    assert_int_equal(PARSE(W("--"), W("-app")), MC_OK);
    assert_string_equal(cli.app, "-app");
}

static void every_option_of_gunicorn_here(void **state)
{
    (void)state;
    assert_int_equal(PARSE(W("-c"), W("f"), W("-u"), W("root"), W("-g0"), W("-m"), W("022"), W("-p"), W("x.pid"), W("-n"), W("me"), W("-e"),
                           W("A=1"), W("-eB=2"), W("-D"), W("--error-logfile"), W("e"), W("--log-level"), W("debug"), W("--preload"),
                           W("--no-sendfile"), W("--threads"), W("1"), W("--worker-connections"), W("5"), W("--graceful-timeout"), W("3"),
                           W("--keep-alive=2"), W("--limit-request-line"), W("0"), W("--limit-request-fields"), W("9"),
                           W("--limit-request-field_size"), W("7"), W("--backlog"), W("9"), W("--chdir"), W("/"), W("--pythonpath"),
                           W("a,b"), W("--initgroups"), W("--access-logformat"), W("%(h)s"), W("--forwarded-allow-ips"), W("*"),
                           W("--worker-tmp-dir"), W("/x"), W("--header-map"), W("refuse"), W("--forwarder-headers"), W("X"),
                           W("--check-config"), W("--print-config")),
                     MC_OK);
    assert_string_equal(given("daemon"), "yes");
    assert_string_equal(given("sendfile"), "no");
    assert_string_equal(given("limit_request_field_size"), "7");
    assert_int_equal(mc_tree_given(cli.given, "raw_env")->n, 2);
    assert_int_equal(PARSE(W("--log-file"), W("e2"), W("--limit-request-field-size=8")), MC_OK);
    assert_string_equal(given("errorlog"), "e2");
    assert_string_equal(given("limit_request_field_size"), "8");
}

static void the_last_scalar_wins_and_short_flags_join(void **state)
{
    (void)state;
    assert_int_equal(PARSE(W("-w1"), W("-w2"), W("--workers=3")), MC_OK);
    assert_string_equal(given("workers"), "3");
    assert_int_equal(PARSE(W("-Dw3")), MC_OK);
    assert_string_equal(given("daemon"), "yes");
    assert_string_equal(given("workers"), "3");
}

static void a_long_option_may_be_cut_while_it_is_unique(void **state)
{
    (void)state;
    assert_int_equal(PARSE(W("--bac=7")), MC_OK);
    assert_string_equal(given("backlog"), "7");
    assert_int_equal(PARSE(W("--limit-request-field_"), W("7")), MC_OK);
    assert_string_equal(given("limit_request_field_size"), "7");
    assert_int_equal(PARSE(W("--worker"), W("7")), MC_ERROR);
    assert_string_equal(err, "--worker may mean several options; see --help");
    assert_int_equal(PARSE(W("--paste"), W("x")), MC_ERROR); /* exactly one, though there are longer ones */
    assert_non_null(strstr(err, "--paste: setting 'paste' does not exist here: serve MODULE:NAME, where the module says "));
}

static void an_optional_value_is_taken_when_it_fits(void **state)
{
    (void)state;
    assert_int_equal(PARSE(W("--proxy-protocol"), W("v2"), W("m:a")), MC_OK);
    assert_string_equal(given("proxy_protocol"), "v2");
    assert_int_equal(PARSE(W("--proxy-protocol"), W("m:a")), MC_OK);
    assert_string_equal(given("proxy_protocol"), "auto");
    assert_string_equal(cli.app, "m:a");
    assert_int_equal(PARSE(W("m:a"), W("--proxy-protocol")), MC_OK);
    assert_string_equal(given("proxy_protocol"), "auto");
    assert_int_equal(PARSE(W("--proxy-protocol=v9")), MC_ERROR);
}

/* Gunicorn's settings that nothing follows here. */
static void what_is_refused_may_say_its_default(void **state)
{
    (void)state;
    assert_int_equal(PARSE(W("--logger-class"), W("gunicorn.glogging.Logger"), W("--dirty-timeout=5m"), W("--root-path=")), MC_OK);
    assert_int_equal(PARSE(W("--dirty-timeout=301")), MC_ERROR);
    assert_non_null(strstr(err, "--dirty-timeout: setting 'dirty_timeout' is Gunicorn's dirty arbiter: "));
    assert_int_equal(PARSE(W("--dirty-timeout=x")), MC_ERROR);
    assert_int_equal(build.code, MC_EXIT_USAGE);
}

static void asking_ends_the_reading(void **state)
{
    (void)state;
    assert_int_equal(PARSE(W("-h"), W("--nonsense")), MC_OK);
    assert_int_equal(cli.show, MC_CLI_SHOW_HELP);
    assert_int_equal(PARSE(W("m"), W("--version"), W("-h")), MC_OK);
    assert_int_equal(cli.show, MC_CLI_SHOW_VERSION);
    assert_int_equal(PARSE(W("-V")), MC_OK);
    assert_int_equal(cli.show, MC_CLI_SHOW_BUILD);
}

static void wrong_words_are_usage_errors(void **state)
{
    (void)state;
    static const struct {
        const char *argv[4], *message;
    } wrong[] = {
        {{"--bogus"}, "unknown option --bogus; see --help"},
        {{"--wrokers", "4"}, "unknown option --wrokers: did you mean --workers? see --help"},
        {{"--max-request", "1"}, "may mean several options"},
        {{"--max-requets", "1"}, "unknown option --max-requets: did you mean --max-requests? see --help"},
        {{"--limit-request-lines", "1"}, "unknown option --limit-request-lines: did you mean --limit-request-line? see --help"},
        {{"-x"}, "unknown option -x; see --help"},
        {{"-w"}, "-w needs a value; see --help"},
        {{"--workers", "--preload"}, "--workers needs a value; see --help"},
        {{"-w", "x"}, "-w: expected a decimal number such as 4, or auto, not 'x'"},
        {{"-w", "-1"}, "-w: expected a decimal number such as 4, or auto, not '-1'"},
        {{"--workers=0"}, "--workers: '0' is out of range, 1 to 4096"},
        {{"--preload=yes"}, "--preload takes no value; see --help"},
        {{"--help=x"}, "--help takes no value; see --help"},
        {{"a", "b"}, "one APP only, and there are two: a and b; see --help"},
        {{""}, "APP must not be empty; see --help"},
        {{"-e", "A"}, "-e: expected KEY=VALUE, not 'A'"},
        {{"-e", "=A"}, "-e: expected KEY=VALUE, not '=A'"},
        {{"--log-level", "loud"}, "--log-level: expected debug, info, warning, error or critical, not 'loud'"},
        {{"--header-map", "x"}, "--header-map: expected drop, refuse or dangerous, not 'x'"},
        {{"--forwarded-allow-ips", "1.2.3.4,x"}, "--forwarded-allow-ips: expected an address"},
        {{"-c", ""}, "-c: must not be empty"},
        {{"--spew"}, "--spew: setting 'spew' does not exist here: use python -m trace, or a profiler"},
        {{"--cert-reqs", "3"}, "--cert-reqs: "},
        {{"--asgi-loop=x"}, "--asgi-loop: expected auto, asyncio or uvloop, not 'x'"},
    };
    for (size_t i = 0; i < MC_COUNT(wrong); i++) {
        char *argv[4];
        for (size_t k = 0; k < 4; k++)
            argv[k] = W(wrong[i].argv[k]);
        assert_int_equal(parse(argv), MC_ERROR);
        if (!strstr(err, wrong[i].message))
            print_error("%s\n", err);
        assert_non_null(strstr(err, wrong[i].message));
        assert_int_equal(build.code, MC_EXIT_USAGE);
    }
}

static void no_setting_is_both_here_and_absent(void **state)
{
    (void)state;
    for (const struct mc_setting_absent *a = mc_settings_absent; a->name; a++) {
        for (const struct mc_setting *s = mc_settings; s->name; s = mc_setting_next(s)) {
            assert_string_not_equal(a->name, s->name);
            if (a->flag && s->flag)
                assert_string_not_equal(a->flag, s->flag);
        }
        assert_non_null(a->why);
    }
}

static void the_table_is_sound(void **state)
{
    const unsigned without_place = MC_SETF_IGNORED | MC_SETF_REFUSED;
    (void)state;
    for (const struct mc_setting *s = mc_settings; s->name; s = mc_setting_next(s)) {
        assert_non_null(s->doc);
        assert_true(s->where != 0);
        assert_true(!s->flag || (s->flags & MC_SETF_FLAG) || s->meta);
        assert_true(!s->letter || s->flag);
        assert_true(!(s->flags & MC_SETF_OPTIONAL) || s->check);
        for (const struct mc_setting *t = mc_setting_next(s); t->name; t = mc_setting_next(t)) {
            assert_string_not_equal(s->name, t->name);
            assert_true(!s->letter || s->letter != t->letter);
            if (s->flag && t->flag)
                assert_false(mc_schema_flag_is(s->flag, t->flag) || mc_schema_flag_is(t->flag, s->flag));
            if (!(s->flags & without_place) && !(t->flags & without_place))
                assert_int_not_equal(s->offset, t->offset);
        }
    }
}

static void words_are_split_as_a_shell_does(void **state)
{
    (void)state;
    char **argv;
    int argc;
    assert_int_equal(mc_cli_words(&build, "X", "  -w 4\t--name='a b'\n\"c \\\"d\\\" \\n\" e\\ f '' ", &argc, &argv), MC_OK);
    static const char *const wanted[] = {"-w", "4", "--name=a b", "c \"d\" \\n", "e f", ""};
    assert_int_equal(argc, MC_COUNT(wanted));
    for (int i = 0; i < argc; i++)
        assert_string_equal(argv[i], wanted[i]);
    assert_int_equal(mc_cli_words(&build, "X", "", &argc, &argv), MC_OK);
    assert_int_equal(argc, 0);
    assert_int_equal(mc_cli_words(&build, "X", "a 'b", &argc, &argv), MC_ERROR);
    assert_string_equal(err, "X: a quote is not closed");
    assert_int_equal(build.code, MC_EXIT_USAGE);
}

static const char *some_environment(const char *name)
{
    return strcmp(name, "PORT") == 0                  ? "5000"
           : strcmp(name, "WEB_CONCURRENCY") == 0     ? "7"
           : strcmp(name, "FORWARDED_ALLOW_IPS") == 0 ? ""
                                                      : NULL;
}

static void three_variables_are_read(void **state)
{
    (void)state;
    struct mc_given *env = NULL;
    assert_int_equal(mc_cli_environment(&build, some_environment, &env), MC_OK);
    assert_string_equal(mc_tree_given(env, "bind")->words[0].text, "0.0.0.0:5000");
    assert_string_equal(mc_tree_given(env, "workers")->words[0].text, "7");
    assert_string_equal(mc_tree_given(env, "workers")->label, "WEB_CONCURRENCY in the environment");
    assert_null(mc_tree_given(env, "forwarded_allow_ips"));
}

static void a_higher_source_replaces_lists(void **state)
{
    (void)state;
    struct mc_given *under;
    assert_int_equal(PARSE(W("-b"), W(":1"), W("-w"), W("1")), MC_OK);
    under = cli.given;
    assert_int_equal(PARSE(W("-b"), W(":2"), W("-b"), W(":3"), W("-t"), W("9")), MC_OK);
    mc_cli_merge(&under, cli.given);
    assert_int_equal(mc_tree_given(under, "bind")->n, 2);
    assert_string_equal(mc_tree_given(under, "bind")->words[0].text, ":2");
    assert_string_equal(mc_tree_given(under, "workers")->words[0].text, "1");
    assert_string_equal(mc_tree_given(under, "timeout")->words[0].text, "9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(four_ways_to_give_a_value, setup, teardown),
        cmocka_unit_test_setup_teardown(options_stand_before_and_after_the_app, setup, teardown),
        cmocka_unit_test_setup_teardown(every_option_of_gunicorn_here, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_scalar_wins_and_short_flags_join, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_option_may_be_cut_while_it_is_unique, setup, teardown),
        cmocka_unit_test_setup_teardown(asking_ends_the_reading, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_words_are_usage_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(an_optional_value_is_taken_when_it_fits, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_refused_may_say_its_default, setup, teardown),
        cmocka_unit_test_setup_teardown(no_setting_is_both_here_and_absent, setup, teardown),
        cmocka_unit_test_setup_teardown(the_table_is_sound, setup, teardown),
        cmocka_unit_test_setup_teardown(words_are_split_as_a_shell_does, setup, teardown),
        cmocka_unit_test_setup_teardown(three_variables_are_read, setup, teardown),
        cmocka_unit_test_setup_teardown(a_higher_source_replaces_lists, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
