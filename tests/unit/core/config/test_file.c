/* Form of a file: every trap of libconfuse (silent, wrong or fatal there) is an error with its line here, and what is right is read rightly. */
#include "fixture.h"

static const struct {
    const char *text, *message;
} errors[] = {
    /* repeated values and titles */
    {"workers = 2\n# c\n# d\nworkers = 3\n", "t.conf:4: 'workers' is set twice; first at t.conf:1"},
    {"raw_env = {\"A=1\"}\nraw_env = {\"B=1\"}\n", "t.conf:2: 'raw_env' is set twice (use += to add); first at t.conf:1"},
    {"pool \"p\" {\n timeout = 1\n timeout = 2\n}\n", "t.conf:3: 'timeout' is set twice; first at t.conf:2"},
    {SERVER "\n" SERVER, "t.conf:3: there are two server sections \"s\"; the first at t.conf:1"},
    {"pool p {}\npool 'p' {}\n", "t.conf:2: there are two pool sections \"p\""},
    {"server s { route r {\n respond {}\n respond {} } }", "t.conf:3: there are two respond sections; the first at t.conf:2"},
    {"pool \"\\x41\" {}\npool \"A\" {}\n", "t.conf:2: found duplicate title 'A'"},
    /* braces and ends */
    {"# a\n# b\nserver \"a\" {\n listen = x\n", "t.conf:3: this server section is never closed"},
    {"server s {\n route r {\n respond { }\n}\n", "t.conf:1: this server section is never closed"},
    {"}\n", "t.conf:1: there is a } too many"},
    {SERVER "}\n", "t.conf:2: there is a } too many"},
    {"workers =", "t.conf:1: the file ends here: expected a value"},
    {"workers\n\n", "t.conf:3: the file ends here: expected '=' or '{'"},
    {"raw_env = {\"A=1\"\n", "expected a comma or } in this list"},
    {"raw_env = {\"A=1\" \"B=2\"}\n", "t.conf:1: unexpected 'B=2': expected a comma"},
    {"raw_env = {,}\n", "t.conf:1: unexpected ','"},
    {"raw_env = {{\"A=1\"}}\n", "t.conf:1: a list cannot hold a list"},
    {"pidfile = {a}\n", "t.conf:1: 'pidfile' takes one value, not a list"},
    {"pidfile += a\n", "t.conf:1: 'pidfile' is not a list"},
    {"workers 4\n", "t.conf:1: expected '=' after 'workers'"},
    {"workers = = 4\n", "t.conf:1: unexpected '=': expected a value"},
    {"server s listen\n", "t.conf:1: unexpected 'listen': expected '{'"},
    {"server {\n", "t.conf:1: 'server' needs a name"},
    {"server \"\" { }\n", "t.conf:1: 'server' needs a name"},
    {"server \"\\n\" { }\n", "t.conf:1: the name of a server is 1 to 100 characters"},
    {"server s { route r { match \"m\" { } } }\n", "t.conf:1: 'match' takes no name"},
    {"\"workers\" = 4\n", "t.conf:1: unexpected 'workers': expected the name of a setting or section"},
    {"= 4\n", "t.conf:1: unexpected '='"},
    /* bytes that libconfuse drops or keeps in silence */
    {"bind = *:80\n", "t.conf:1: '*' must stand in quotes"},
    {"\nbind = a*b\n", "t.conf:2: '*' must stand in quotes"},
    {"pidfile = a+b\n", "t.conf:1: '+' must stand in quotes"},
    {"workers = 4;\n", "t.conf:1: ';' ends nothing here"},
    {"pidfile = abc;\n", "t.conf:1: ';' ends nothing here"},
    {"pool|workers = 4\n", "t.conf:1: '|' must stand in quotes"},
    {"pidfile = a\"b\"\n", "t.conf:1: a quote stands in the middle of a value"},
    {"pidfile = \"a\"b\n", "t.conf:1: text follows a closing quote"},
    {"pidfile = \"a\"'b'\n", "t.conf:1: a quote stands in the middle of a value"},
    {"pidfile = a\001b\n", "t.conf:1: a control character stands outside of quotes"},
    {"pidfile = \"a\001b\"\n", "t.conf:1: a control character stands in a string"},
    /* strings */
    {"\n\npidfile = \"abc\n\n", "t.conf:3: this string is never closed"},
    {"pidfile = 'abc\\'", "t.conf:1: this string is never closed"},
    {"pidfile = \"a\\", "t.conf:1: this string is never closed"},
    {"pidfile = \"\\d+\"", "t.conf:1: unknown escape \\d in double quotes: use single quotes"},
    {"pidfile = \"\\9\"", "t.conf:1: unknown escape \\9"},
    {"pidfile = \"\\777\"", "t.conf:1: unknown escape \\7"},
    {"pidfile = \"\\xg\"", "t.conf:1: unknown escape \\x"},
    {"pidfile = \"a\\x00b\"", "t.conf:1: a zero byte cannot stand in a value"},
    {"pidfile = \"a\\x0\"", "t.conf:1: a zero byte cannot stand in a value"},
    {"pidfile = \"${}\"", "t.conf:1: expected the name of a variable after ${"},
    {"pidfile = \"${A\"\nuser = \"}\"", "t.conf:1: expected } at the end of ${"},
    {"pidfile = \"${A:-\"b\"}\"", "t.conf:1: expected } at the end of ${"},
    {"\npidfile = \"x${MC_TEST_NOTHING}\"", "t.conf:2: the variable MC_TEST_NOTHING is not set in the environment: set it, or write ${MC_TEST_NOTHING:-DEFAULT}"},
    {"\n\npidfile = ${MC_TEST_NOTHING}", "t.conf:3: the variable MC_TEST_NOTHING is not set in the environment"},
    {"include(\"${MC_TEST_NOTHING}/x\")", "t.conf:1: the variable MC_TEST_NOTHING is not set in the environment"},
    {"pidfile = a${A}", "t.conf:1: ${ } inside of a word: put the whole value in double quotes"},
    {"pidfile = ${A:-}b", "t.conf:1: text follows a closing quote or brace"},
    /* comments */
    {"workers = 2\n\n/* never\n closed", "t.conf:3: this comment is never closed"},
    {"# 1\n// 2\n/* 3\n 4\n*/\nraw_env = { # 6\n \"A=1\", // 7\n /* 8 */ }\nworkers = x\n", "t.conf:9: workers: expected"},
    /* numbers */
    {"workers = 010\n", "t.conf:1: workers: expected a decimal number"},
    {"workers = 0x10\n", "t.conf:1: workers: expected a decimal number"},
    {"workers = \"\"\n", "t.conf:1: workers: expected a decimal number"},
    {"workers = -1\n", "t.conf:1: workers: expected a decimal number"},
    {"limit_request_line = 2000000\n", "t.conf:1: limit_request_line: '2000000' is out of range, 0 to 1048576"},
    {"preload_app = 2\n", "t.conf:1: preload_app: expected yes or no, not '2'"},
    {"raw_env = {\"A=1\",\n \"B=2\",\n C}\n", "t.conf:3: raw_env: expected KEY=VALUE, not 'C'"},
    /* names */
    {"worker = 2\n", "t.conf:1: unknown setting 'worker' at the top level: did you mean 'workers'?"},
    {"grafeul_timeout = 2\n", "did you mean 'graceful_timeout'?"},
    {"severr \"x\" { }\n", "t.conf:1: unknown section 'severr' at the top level: did you mean 'server'?"},
    {"xyzzy = 2\n", "t.conf:1: unknown setting 'xyzzy' at the top level"},
    {"xyzzy { a = 1 }\n", "t.conf:1: unknown section 'xyzzy' at the top level"},
    {"@ = 2\n", "t.conf:1: unexpected '@'"},
    {"server s { @ = x }\n", "t.conf:1: unexpected '@'"},
    {"\nspew = yes\n" SERVER, "t.conf:2: setting 'spew' does not exist here: use python -m trace, or a profiler"},
    {"dirty_workers = 1\n" SERVER, "t.conf:1: setting 'dirty_workers' is Gunicorn's dirty arbiter: "},
    {"dirty_workers = x\n" SERVER, "t.conf:1: setting 'dirty_workers' is Gunicorn's dirty arbiter: "},
    {"post_fork = x\n", "t.conf:1: setting 'post_fork' is a Python hook"},
    {"logger_class = x\n", "t.conf:1: setting 'logger_class' does not exist here"},
    {"metrics { }\n", "t.conf:1: section 'metrics' is not built yet in this version"},
    {"server s {\n tls { }\n}\n", "t.conf:2: section 'tls' needs a module that was left out of this build: configure it with --with-tls"},
    {"server s {\n route r { proxy { to = x } } }\n",
     "t.conf:2: section 'proxy' needs a module that was left out of this build: configure it with --with-proxy"},
    {"config = x\n", "t.conf:1: 'config' belongs on the command line"},
    {"route r { }\n", "t.conf:1: 'route' belongs in a server section, not at the top level"},
    {"server s {\n workers = 3 }\n", "t.conf:2: 'workers' belongs at the top level or in a pool section, not in a server section"},
    {"prefix = x\n", "t.conf:1: 'prefix' belongs in a match section, not at the top level"},
    {"workers { }\n", "t.conf:1: 'workers' is a setting: write workers = VALUE"},
    {"server = x\n", "t.conf:1: 'server' is a section: write server \"NAME\" { ... }"},
    {"server s { route r { respond = x } }\n", "t.conf:1: 'respond' is a section: write respond { ... }"},
    {"server s { route r { respond { statu = 1 } } }\n", "unknown setting 'statu' in the section of a handler: did you mean 'status'?"},
    /* functions */
    {"include(\"x\")\n", "t.conf:1: include() has no place here"},
    {"include \"x\"\n", "t.conf:1: unknown section 'include'"},
    {"include(\"x\"\nworkers = 2", "t.conf:2: unexpected 'workers': expected ')'"},
    {"include()\n", "t.conf:1: unexpected ')': expected a file name"},
    {"system(\"x\")\n", "t.conf:1: unknown function 'system()'"},
    {"server s {\n include(\"x\") }\n", "t.conf:2: include() stands at the top level only"},
};

static void errors_name_their_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < MC_COUNT(errors); i++)
        expect_error(errors[i].text, errors[i].message);
}

/* libconfuse's lexer is one for the process: an error must leave nothing behind in it. */
static void an_error_spoils_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < MC_COUNT(errors); i++) {
        struct mc_conf *c = from_text(errors[i].text);
        assert_null(c);
        c = from_text("workers = 3\n" SERVER);
        assert_non_null(c);
        assert_int_equal(c->set.workers, 3);
        mc_conf_free(&c);
    }
}

/* Cut anywhere, a good file is an error or a smaller good file, and never more than that. */
static void a_cut_file_is_safe(void **state)
{
    (void)state;
    static const char text[] = "workers = 2 # x\nraw_env = {\"A=${B:-c}\", 'D=\\'e'}\nraw_env += {F=g}\n/* c */\n"
                               "server \"s\" { listen = \":80\" route \"r\" { match { path = '^/\\d' } respond { body = \"\\x41\" } } }\n";
    for (size_t n = 0; n < sizeof text; n++) {
        char *exact = malloc(n ? n : 1);
        memcpy(exact, text, n);
        struct mc_conf *c = configure(exact, n, NULL);
        assert_int_equal(c == NULL, err[0] != '\0');
        mc_conf_free(&c);
        free(exact);
    }
}

static void comments_stand_anywhere(void **state)
{
    (void)state;
    struct mc_conf *c = from_text(
        "# one\n/* two */ workers /* three */ = // four\n 3 # five\nraw_env = { # six\n \"A=#1\", // seven\n 'B=//2' /* eight */ , }\n"
        "pidfile = /run/a//b\nproc_name = http://x\n" SERVER);
    assert_non_null(c);
    assert_int_equal(c->set.workers, 3);
    assert_int_equal(c->set.raw_env.n, 2);
    assert_string_equal(c->set.raw_env.v[0], "A=#1");
    assert_string_equal(c->set.raw_env.v[1], "B=//2");
    assert_string_equal(c->set.pidfile, "/run/a//b");
    assert_string_equal(c->set.proc_name, "http://x");
    mc_conf_free(&c);
}

static void windows_files_are_read(void **state)
{
    (void)state;
    struct mc_conf *c = from_text("\xef\xbb\xbfworkers = 3\r\n# c\r\nraw_env = {\r\n \"A=1\"\r\n}\r\n" SERVER);
    assert_non_null(c);
    assert_int_equal(c->set.workers, 3);
    assert_string_equal(c->set.raw_env.v[0], "A=1");
    mc_conf_free(&c);
    expect_error("\xef\xbb\xbf# c\r\n\r\nfoo = 3\r\n", "t.conf:3: unknown setting 'foo'");
    assert_null(configure("workers\0 = 3", 12, NULL));
    assert_non_null(strstr(err, "t.conf: is not a text file"));
}

static void strings_keep_what_they_say(void **state)
{
    (void)state;
    struct mc_conf *c;
    setenv("MC_TEST_VARIABLE", "a\"b#c'", 1);
    unsetenv("MC_TEST_NOTHING");
    c = from_text("raw_env = {\"A=\\x41\\t\\\"\\\\\\$\\'\", 'B=\\d\\'\\\\${HOME}', \"C=${MC_TEST_VARIABLE}\", \"D=${MC_TEST_NOTHING:-d "
                  "e}\", \"E=${MC_TEST_NOTHING:-}\",\n"
                  "\"F=1\\\n2\", \"G=1\n2\"}\nproc_name = ${MC_TEST_VARIABLE}\nuser = \"\\${A}\"\ngroup = ${MC_TEST_NOTHING:-x}\n" SERVER);
    assert_null(c); /* there is no such user: everything before was read */
    assert_non_null(strstr(err, "t.conf:6: user: there is no user '${A}'"));
    c = from_text("raw_env = {\"A=\\x41\\t\\\"\\\\\\$\\'\", 'B=\\d\\'\\\\${HOME}', \"C=${MC_TEST_VARIABLE}\", \"D=${MC_TEST_NOTHING:-d "
                  "e}\", \"E=${MC_TEST_NOTHING:-}\",\n"
                  "\"F=1\\\n2\", \"G=1\n2\"}\nproc_name = ${MC_TEST_VARIABLE}\npidfile = ${MC_TEST_NOTHING:-x}\n" SERVER);
    assert_non_null(c);
    static const char *const wanted[] = {"A=A\t\"\\$'", "B=\\d'\\${HOME}", "C=a\"b#c'", "D=d e", "E=", "F=12", "G=1\n2"};
    assert_int_equal(c->set.raw_env.n, MC_COUNT(wanted));
    for (size_t i = 0; i < MC_COUNT(wanted); i++)
        assert_string_equal(c->set.raw_env.v[i], wanted[i]);
    assert_string_equal(c->set.proc_name, "a\"b#c'");
    assert_string_equal(c->set.pidfile, "x");
    mc_conf_free(&c);
}

static void lists_grow_and_can_be_empty(void **state)
{
    (void)state;
    struct mc_conf *c =
        from_text("raw_env = \"A=1\"\nraw_env += {\"B=2\", \"C=3\",}\nsecure_scheme_headers = {}\nforwarder_headers = \"X, Y\"\n" SERVER);
    assert_non_null(c);
    assert_int_equal(c->set.raw_env.n, 3);
    assert_string_equal(c->set.raw_env.v[2], "C=3");
    assert_int_equal(c->set.secure_scheme_headers.n, 0);
    assert_int_equal(c->set.forwarder_headers.n, 2);
    assert_string_equal(c->set.forwarder_headers.v[1], "Y");
    mc_conf_free(&c);
}

static void ignored_settings_warn_once(void **state)
{
    (void)state;
    struct mc_conf *c = from_text("\nworker_tmp_dir = /dev/shm\n" SERVER);
    assert_non_null(c);
    assert_string_equal(warned, "t.conf:2: worker_tmp_dir is accepted and has no effect: heartbeats are kept in shared memory");
    mc_conf_free(&c);
    c = from_text("http_parser = auto\nsuppress_ragged_eofs = yes\ncontrol_socket_mode = 0600\ncontrol_socket_disable = yes\nroot_path = ''\n"
                  "dirty_apps = {}\nlogger_class = gunicorn.glogging.Logger\n" SERVER);
    assert_non_null(c);
    assert_string_equal(warned, ""); /* the defaults */
    mc_conf_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_name_their_line),      cmocka_unit_test(an_error_spoils_nothing),
        cmocka_unit_test(a_cut_file_is_safe),          cmocka_unit_test(comments_stand_anywhere),
        cmocka_unit_test(windows_files_are_read),      cmocka_unit_test(strings_keep_what_they_say),
        cmocka_unit_test(lists_grow_and_can_be_empty), cmocka_unit_test(ignored_settings_warn_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
