/* Normal form: it reads back to the same settings, whatever they were, and asks nobody. */
#include "fixture.h"

#define W(z) (char *)(uintptr_t)z

static void compare_values(const struct mc_values *a, const struct mc_values *b)
{
    for (const struct mc_setting *s = mc_settings; s->name; s = mc_setting_next(s)) {
        if (s->flags & (MC_SETF_IGNORED | MC_SETF_REFUSED) || s->where & MC_AT_CLI || mc_value_equal(s, a, b))
            continue;
        print_error("%s differs\n", s->name);
        fail();
    }
}

static void compare_routes(const struct mc_conf_server *a, const struct mc_conf_server *b)
{
    assert_int_equal(a->nroutes, b->nroutes);
    for (size_t i = 0; i < a->nroutes; i++) {
        const struct mc_conf_route *x = &a->routes[i], *y = &b->routes[i];
        compare_values(&x->set, &y->set);
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->match, y->match);
        assert_true(mc_str_eq(x->pattern, y->pattern));
        assert_int_equal(!x->regex, !y->regex);
        assert_ptr_equal(x->module, y->module);
        assert_int_equal(!x->app, !y->app);
        if (x->app)
            assert_int_equal(x->app->index, y->app->index);
        for (const struct mc_setting *s = answer_settings; x->module && s->name; s++)
            assert_true(mc_value_equal(s, x->action, y->action));
    }
}

static void compare(const struct mc_conf *a, const struct mc_conf *b)
{
    compare_values(&a->set, &b->set);
    assert_string_equal(a->cwd, b->cwd);
    assert_int_equal(a->loglevel, b->loglevel);
    assert_int_equal(a->npools, b->npools);
    for (size_t i = 0; i < a->npools; i++) {
        compare_values(&a->pools[i].set, &b->pools[i].set);
        assert_string_equal(a->pools[i].name, b->pools[i].name);
        assert_ptr_equal(a->pools[i].worker, b->pools[i].worker);
        assert_int_equal(a->pools[i].python, b->pools[i].python);
    }
    assert_int_equal(a->napps, b->napps);
    for (size_t i = 0; i < a->napps; i++) {
        compare_values(&a->apps[i].set, &b->apps[i].set);
        assert_string_equal(a->apps[i].module, b->apps[i].module);
        assert_string_equal(a->apps[i].chdir, b->apps[i].chdir);
        assert_int_equal(!a->apps[i].home, !b->apps[i].home);
        assert_int_equal(a->apps[i].pool->index, b->apps[i].pool->index);
    }
    assert_int_equal(a->nlistens, b->nlistens);
    for (size_t i = 0; i < a->nlistens; i++) {
        assert_string_equal(a->listens[i].text, b->listens[i].text);
        assert_true(mc_addr_equal(&a->listens[i].addr, &b->listens[i].addr));
        assert_int_equal(a->listens[i].pool->index, b->listens[i].pool->index);
    }
    assert_int_equal(a->nservers, b->nservers);
    for (size_t i = 0; i < a->nservers; i++) {
        compare_values(&a->servers[i].set, &b->servers[i].set);
        assert_int_equal(a->servers[i].nnames, b->servers[i].nnames);
        assert_int_equal(a->servers[i].ntrusted, b->servers[i].ntrusted);
        compare_routes(&a->servers[i], &b->servers[i]);
    }
}

/* print(parse(print(c))) == print(c), and the structs agree. Takes c. */
static void round_trip(struct mc_conf *c)
{
    struct mc_sb one, two;
    if (!c)
        print_error("%s\n", err);
    assert_non_null(c);
    mc_sb_init(&one, 1 << 20);
    mc_sb_init(&two, 1 << 20);
    assert_int_equal(mc_conf_print(c, &one), MC_OK);
    struct mc_conf *again = mc_conf_parse(mc_sb_z(&one), one.n, "image", err, sizeof err);
    if (!again)
        print_error("%s\n%s\n", err, mc_sb_z(&one));
    assert_non_null(again);
    compare(c, again);
    assert_int_equal(mc_conf_print(again, &two), MC_OK);
    assert_string_equal(mc_sb_z(&one), mc_sb_z(&two));
    mc_sb_fini(&one);
    mc_sb_fini(&two);
    mc_conf_free(&again);
    mc_conf_free(&c);
}

static void a_command_line_reads_back(void **state)
{
    (void)state;
    char *const argv[] = {W("m:f('it\\'s')"), W("-b"), W("localhost:0"), W("-w2"), W("-e"), W("A=${B}"), W("-u"), W("root"), W("-n"),
                          W("it's \"me\"\\"), W("-m"), W("022"),         W("-t"),  W("0"),  NULL};
    round_trip(configure(NULL, 0, argv));
    char *const plain[] = {W("m"), NULL};
    round_trip(configure(NULL, 0, plain));
}

static void a_file_reads_back(void **state)
{
    (void)state;
    round_trip(from_text(
        "workers = auto\nkeepalive = 1500ms\nloglevel = DEBUG\nsecure_scheme_headers = {}\nraw_env = {\"X=a\\nb\", 'Y=$1 "
        "\\d'}\nlimit_request_line = 0\n"
        "pool p { worker_class = \"gunicorn.workers.sync.SyncWorker\" env = {\"A=1\"} keepalive = 0 sendfile = no }\npool \"q '\\\"\" { "
        "worker_class = epoll }\n"
        "app a { module = \"m\" env = {\"A=2\"} home = venv }\napp b { module = n env = {\"B=3\"} }\napp c { module = o pool = \"q '\\\"\" "
        "}\n"
        "server s { listen = {\"127.0.0.1:80\", \"[::1]:80\"} names = {x, \"*.y\"} limit_request_body = 0 forwarded_allow_ips = \"*\"\n"
        " route r { match { path = '^/a\\\\\\d+\\.(?<x>\\')$' } respond { body = \"a\\x01${NOPE:-b}\" fields = {a, \"b, c\", \"\"} last = "
        "yes after = 1ms } body_timeout = 0 }\n"
        " route t { match { exact = \"/\\\\\" } app = a }\n route u { app = b } }\n"
        "server z { pool = \"q '\\\"\" listen = \"unix:/run/a'b\" route \"r\" { app = c } }\n"));
}

/* A file of random settings out of the table, with values that each type takes. */
static const char *some_value(const struct mc_setting *s, unsigned r, char *out, size_t cap)
{
    static const char *const words[] = {"",   "plain", "it's",   "\\",    "a\\\\\\'b", "${X}",
                                        "$1", "\"q\"", "t\tn\n", "#;|*+", "\x7f\x01",  "\xc3\xa9"};
    long long v = s->min + (long long)(r % 1000);
    if (s->max && v > s->max)
        v = s->max;
    if (s->type == MC_SET_BOOL)
        return r & 1 ? "yes" : "off";
    if (s->type == MC_SET_DURATION)
        snprintf(out, cap, "%lldms", v);
    else if (s->type == MC_SET_SIZE || (s->type == MC_SET_INT && !(s->flags & MC_SETF_OCTAL)))
        snprintf(out, cap, "%lld", v);
    else if (s->type == MC_SET_INT)
        snprintf(out, cap, "0%llo", v);
    else
        return words[r % MC_COUNT(words)];
    return out;
}

static void random_settings_read_back(void **state)
{
    (void)state;
    unsigned seed = 7;
    for (int round = 0; round < 200; round++) {
        struct mc_sb text;
        mc_sb_init(&text, 1 << 20);
        for (const struct mc_setting *s = mc_settings; s->name; s = mc_setting_next(s)) {
            char room[64], problem[128];
            seed = seed * 1103515245u + 12345u;
            unsigned r = seed >> 16;
            const char *value = some_value(s, r >> 2, room, sizeof room);
            static const char *const skip = "|chdir|tmp_upload_dir|user|group|bind|wsgi_app|threads|worker_class|workers_max|";
            char key[64];
            snprintf(key, sizeof key, "|%s|", s->name);
            if (!(s->where & MC_AT_MAIN) || s->flags & (MC_SETF_IGNORED | MC_SETF_REFUSED) || strstr(skip, key) || (r & 3) == 0)
                continue;
            if (s->check && s->check(value, problem, sizeof problem) != MC_OK)
                continue;
            mc_sb_addf(&text, "%s = ", s->name);
            mc_value_quote(&text, value);
            mc_sb_addc(&text, '\n');
        }
        mc_sb_addz(&text, SERVER);
        round_trip(from_text(mc_sb_z(&text)));
        mc_sb_fini(&text);
    }
}

static void normal_form_asks_nobody(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } wrong[] = {
        {"include(\"x\")", "image:1: include() has no place here"},
        {"pidfile = \"${HOME}\"", "image:1: variables have no place here"},
        {"pidfile = ${HOME}", "image:1: variables have no place here"},
        {"server s { listen = \"localhost:80\"" ROUTE "}", "image:1: listen: 'localhost:80' is not in normal form"},
        {"user = joe\n" SERVER, "image:1: user: 'joe' is not in normal form"},
        {"pool p {\n group = staff }\n" SERVER, "image:2: group: 'staff' is not in normal form"},
        {"", "nothing to serve"},
    };
    for (size_t i = 0; i < MC_COUNT(wrong); i++) {
        assert_null(mc_conf_parse(wrong[i].text, strlen(wrong[i].text), "image", err, sizeof err));
        assert_non_null(strstr(err, wrong[i].message));
    }
    static const char text[] = "user = 4000000\ngroup = 4000001\nchdir = \"/no/such/dir\"\n" SERVER;
    struct mc_conf *c = mc_conf_parse(text, sizeof text - 1, "image", err, sizeof err);
    assert_non_null(c);
    assert_string_equal(c->cwd, "/no/such/dir");
    assert_true(c->uid == 4000000 && c->pools[0].gid == 4000001);
    mc_conf_free(&c);
}

static void only_differences_are_printed(void **state)
{
    (void)state;
    struct mc_conf *c =
        from_text("workers = 2\ntmp_upload_dir = /tmp\nproc_name = x\npool p { workers = 2 timeout = 5s }\n"
                  "server s { listen = \":8000\" send_timeout = 30s route r { send_timeout = 1m respond { status = 200 } } }\n");
    struct mc_sb out;
    assert_non_null(c);
    mc_sb_init(&out, 1 << 20);
    assert_int_equal(mc_conf_print(c, &out), MC_OK);
    assert_string_equal(mc_sb_z(&out), "chdir = '/'\nproc_name = 'x'\ntmp_upload_dir = '/tmp'\nworkers = 2\n"
                                       "pool 'p' {\n    timeout = 5s\n}\n"
                                       "server 's' {\n    listen = {'0.0.0.0:8000'}\n    pool = 'p'\n"
                                       "    route 'r' {\n        send_timeout = 1m\n        respond {\n        }\n    }\n}\n");
    mc_sb_fini(&out);
    mc_conf_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_line_reads_back),    cmocka_unit_test(a_file_reads_back),
        cmocka_unit_test(random_settings_read_back),    cmocka_unit_test(normal_form_asks_nobody),
        cmocka_unit_test(only_differences_are_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
