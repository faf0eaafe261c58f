/* Which value holds where, and what names refer to. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "fixture.h"

#include <pcre2.h>
#include <unistd.h>

#define W(z)         (char *)(uintptr_t)z
#define OPTIONS(...) ((char *const[]){__VA_ARGS__, NULL})

static void an_app_alone_gets_a_server(void **state)
{
    (void)state;
    struct mc_conf *c = configure(NULL, 0, OPTIONS(W("mod:app"), W("-w"), W("3"), W("-b"), W("127.0.0.1:9000"), W("-b"), W("unix:/run/x")));
    assert_non_null(c);
    assert_int_equal(c->npools, 1);
    assert_int_equal(c->pools[0].set.workers, 3);
    assert_string_equal(c->pools[0].worker->name, "sync");
    assert_true(c->pools[0].python);
    assert_int_equal(c->napps, 1);
    assert_string_equal(c->apps[0].name, "default");
    assert_string_equal(c->apps[0].module, "mod:app");
    assert_string_equal(c->apps[0].chdir, "/");
    assert_int_equal(c->nlistens, 2);
    assert_string_equal(c->listens[0].text, "127.0.0.1:9000");
    assert_string_equal(c->listens[1].text, "unix:/run/x");
    assert_int_equal(c->listens[1].index, 1);
    assert_int_equal(c->nservers, 1);
    assert_int_equal(c->servers[0].nlistens, 2);
    assert_ptr_equal(c->listens[0].servers[0], &c->servers[0]);
    assert_int_equal(c->servers[0].nroutes, 1);
    assert_ptr_equal(c->servers[0].routes[0].app, &c->apps[0]);
    assert_int_equal(c->servers[0].routes[0].match, MC_MATCH_ALL);
    assert_int_equal(c->servers[0].ntrusted, 2);
    assert_string_equal(c->set.proc_name, "mod:app");
    assert_string_equal(c->cwd, "/");
    assert_int_equal(c->loglevel, MC_LOG_INFO);
    assert_true(c->uid == (uid_t)-1 && c->gid == (gid_t)-1);
    mc_conf_free(&c);
    assert_null(c);
}

static void the_app_may_stand_in_the_file(void **state)
{
    (void)state;
    struct mc_conf *c = from_text("wsgi_app = \"m:a\"\nbind = {\":7000\"}\nproc_name = me\n");
    assert_non_null(c);
    assert_string_equal(c->apps[0].module, "m:a");
    assert_int_equal(c->apps[0].at.line, 1);
    assert_string_equal(c->listens[0].text, "0.0.0.0:7000");
    assert_string_equal(c->set.proc_name, "me");
    mc_conf_free(&c);
    c = configure("wsgi_app = \"m:a\"\n", 17, OPTIONS(W("other")));
    assert_non_null(c);
    assert_string_equal(c->apps[0].module, "other");
    assert_string_equal(c->listens[0].text, "127.0.0.1:8000");
    mc_conf_free(&c);
}

static void inner_scopes_start_from_outer_ones(void **state)
{
    (void)state;
    static const char text[] = "workers = 2\ntimeout = 10\nlimit_request_body = 1m\nserver_tokens = off\nsend_timeout = 1s\n"
                               "pool a { workers = 3 }\npool b { timeout = 20s }\n"
                               "server s { pool = b listen = \":1\" limit_request_body = 2m\n"
                               " route r { limit_request_body = 3m respond { } }\n route t { match { prefix = \"/t\" } respond { } } }\n"
                               "server u { pool = a listen = \":2\" route r { respond { } } }\n";
    struct mc_conf *c = from_text(text);
    assert_non_null(c);
    assert_int_equal(c->pools[0].set.workers, 3);
    assert_int_equal(c->pools[0].set.timeout, 10000);
    assert_int_equal(c->pools[1].set.workers, 2);
    assert_int_equal(c->pools[1].set.timeout, 20000);
    assert_ptr_equal(c->servers[0].pool, &c->pools[1]);
    assert_int_equal(c->servers[0].set.timeout, 20000);
    assert_int_equal(c->servers[0].set.limit_request_body, 2 << 20);
    assert_int_equal(c->servers[0].routes[0].set.limit_request_body, 3 << 20);
    assert_int_equal(c->servers[0].routes[1].set.limit_request_body, 2 << 20);
    assert_int_equal(c->servers[1].routes[0].set.limit_request_body, 1 << 20);
    assert_string_equal(c->servers[1].routes[0].set.server_tokens, "off");
    assert_int_equal(c->servers[1].routes[0].set.send_timeout, 1000);
    mc_conf_free(&c);
    /* The command line beats the top level and the first pool. */
    c = configure(text, sizeof text - 1, OPTIONS(W("-w9"), W("-t9"), W("--server-tokens=x")));
    assert_non_null(c);
    assert_int_equal(c->set.workers, 9);
    assert_int_equal(c->pools[0].set.workers, 9);
    assert_int_equal(c->pools[0].set.timeout, 9000);
    assert_int_equal(c->pools[1].set.workers, 9);
    assert_int_equal(c->pools[1].set.timeout, 20000);
    assert_string_equal(c->servers[0].set.server_tokens, "x");
    mc_conf_free(&c);
}

static void zero_limits_mean_the_most(void **state)
{
    (void)state;
    struct mc_conf *c =
        from_text("limit_request_line = 0\nlimit_request_fields = 0\nlimit_request_field_size = 0\nlimit_request_head = 32k\n" SERVER);
    assert_non_null(c);
    assert_int_equal(c->set.limit_request_line, 8190);
    assert_int_equal(c->servers[0].set.limit_request_line, 8190);
    assert_int_equal(c->servers[0].set.limit_request_fields, 32768);
    assert_int_equal(c->servers[0].set.limit_request_field_size, 32768);
    assert_int_equal(c->servers[0].set.limit_request_body, 100 << 20);
    mc_conf_free(&c);
}

static void auto_counts_processors(void **state)
{
    (void)state;
    struct mc_conf *c = from_text("workers = auto\npool a { }\npool b { workers = 1 }\npool c { workers = auto }\n" SERVER);
    assert_non_null(c);
    assert_true(c->set.workers >= 1);
    assert_int_equal(c->pools[0].set.workers, c->set.workers);
    assert_int_equal(c->pools[1].set.workers, 1);
    assert_int_equal(c->pools[2].set.workers, c->set.workers);
    mc_conf_free(&c);
}

static void worker_classes_have_many_names(void **state)
{
    (void)state;
    static const char *const same[] = {"sync", "gunicorn.workers.sync.SyncWorker", "egg:gunicorn#sync"};
    for (size_t i = 0; i < MC_COUNT(same); i++) {
        struct mc_conf *c = configure(NULL, 0, OPTIONS(W("m"), W("-k"), W(same[i])));
        assert_non_null(c);
        assert_string_equal(c->pools[0].set.worker_class, "sync");
        mc_conf_free(&c);
    }
    static const struct {
        const char *word, *message;
    } wrong[] = {
        {"gthread", "worker_class 'gthread' was left out of this build: configure it with --with-gthread"},
        {"gunicorn.workers.gthread.ThreadWorker", "worker_class 'gthread' was left out of this build"},
        {"gevent", "worker_class 'gevent' is not built yet in this version; there is epoll, sync"},
        {"gunicorn.workers.geventlet.EventletWorker", "worker_class 'eventlet' is not built yet in this version"},
        {"greenlet", "worker_class 'greenlet' is not built yet in this version"},
        {"my.Worker", "unknown worker_class 'my.Worker'; there is epoll, sync"},
    };
    for (size_t i = 0; i < MC_COUNT(wrong); i++) {
        assert_null(configure(NULL, 0, OPTIONS(W("m"), W("-k"), W(wrong[i].word))));
        assert_non_null(strstr(err, wrong[i].message));
    }
    assert_null(configure(NULL, 0, OPTIONS(W("m"), W("--threads"), W("4"))));
    assert_string_equal(err,
                        "worker_class 'gthread' (threads > 1 asks for it) was left out of this build: configure it with --with-gthread");
    expect_error("pool p {\n worker_class = sync\n threads = 2 }\n" SERVER, "t.conf:3: worker_class 'gthread' (threads > 1");
    expect_error("pool p {\n worker_class = magic }\n" SERVER, "t.conf:2: unknown worker_class 'magic'");
    struct mc_conf *c = configure(NULL, 0, OPTIONS(W("m"), W("-k"), W("epoll"), W("--threads=4")));
    assert_non_null(c);
    mc_conf_free(&c);
}

/* Who names a worker type for ASGI means that his apps are that. */
static void some_worker_classes_say_what_apps_are(void **state)
{
    (void)state;
    static const struct {
        const char *word, *apps;
    } words[] = {
        {"asgi", "asgi"},
        {"gunicorn.workers.gasgi.ASGIWorker", "asgi"},
        {"uvicorn.workers.UvicornWorker", "asgi"},
        {"uvicorn_worker.UvicornH11Worker", "asgi"},
        {"tornado", "tornado"},
        {"egg:gunicorn#tornado", "tornado"},
        {"gunicorn.workers.gtornado.TornadoWorker", "tornado"},
        {"aiohttp", "aiohttp"},
        {"aiohttp.GunicornWebWorker", "aiohttp"},
        {"aiohttp.GunicornUVLoopWebWorker", "aiohttp"},
        {"aiohttp.worker.GunicornWebWorker", "aiohttp"},
    };
    for (size_t i = 0; i < MC_COUNT(words); i++) {
        struct mc_conf *c = configure(NULL, 0, OPTIONS(W("m"), W("-k"), W(words[i].word)));
        assert_non_null(c);
        assert_string_equal(c->pools[0].set.worker_class, "epoll");
        assert_string_equal(c->apps[0].type->name, words[i].apps);
        mc_conf_free(&c);
    }
    struct mc_conf *c = from_text("pool a { worker_class = asgi }\npool b { }\napp one { module = m asgi_lifespan = off }\napp two { module = n pool = b }\n"
                                  "root_path = '/x'\n" SERVER);
    assert_non_null(c);
    assert_string_equal(c->apps[0].type->name, "asgi");
    assert_string_equal(c->apps[0].set.asgi_lifespan, "off");
    assert_string_equal(c->apps[0].set.root_path, "/x");
    assert_string_equal(c->apps[1].type->name, "wsgi");
    mc_conf_free(&c);
}

static void servers_share_listeners(void **state)
{
    (void)state;
    struct mc_conf *c =
        from_text("server a { listen = {\"127.0.0.1:80\", \"unix:/run/s\"} names = {\"A.example\", \"*.B.example\"}" ROUTE "}\n"
                  "server b { listen = {\"[::1]:80\", \"127.0.0.1:80\"}" ROUTE "}\n");
    assert_non_null(c);
    assert_int_equal(c->nlistens, 3);
    assert_int_equal(c->listens[0].nservers, 2);
    assert_ptr_equal(c->listens[0].servers[0], &c->servers[0]);
    assert_ptr_equal(c->listens[0].servers[1], &c->servers[1]);
    assert_string_equal(c->listens[2].text, "[::1]:80");
    assert_ptr_equal(c->servers[1].listens[0], &c->listens[2]);
    assert_ptr_equal(c->servers[1].listens[1], &c->listens[0]);
    assert_int_equal(c->servers[0].nnames, 2);
    assert_string_equal(c->servers[0].names[0].p, "a.example");
    assert_string_equal(c->servers[0].names[1].p, "*.b.example");
    assert_int_equal(c->servers[1].index, 1);
    mc_conf_free(&c);
}

static void routes_keep_their_order(void **state)
{
    (void)state;
    struct mc_conf *c = from_text(
        "app z { module = m }\nserver a { listen = \":1\"\n"
        " route r1 { match { exact = \"/x\" } respond { status = 201 after = 5m body = \"hi\" fields = {\"A: b\"} last = yes } }\n"
        " route r2 { match { prefix = \"/y\" } app = z }\n"
        " route r3 { match { path = '^/(\\d+)$' } respond { } }\n}\n");
    assert_non_null(c);
    struct mc_conf_route *r = c->servers[0].routes;
    assert_int_equal(c->servers[0].nroutes, 3);
    assert_int_equal(r[0].match, MC_MATCH_EXACT);
    assert_string_equal(r[0].pattern.p, "/x");
    assert_int_equal(r[0].pattern.n, 2);
    assert_ptr_equal(r[0].module, &handler_respond);
    assert_int_equal(r[0].at.line, 3);
    const struct answer *a = r[0].action;
    assert_int_equal(a->status, 201);
    assert_int_equal(a->after, 300000);
    assert_string_equal(a->body, "hi");
    assert_string_equal(a->fields.v[0], "A: b");
    assert_true(a->last);
    assert_int_equal(r[1].match, MC_MATCH_PREFIX);
    assert_ptr_equal(r[1].app, &c->apps[0]);
    assert_null(r[1].module);
    assert_int_equal(r[2].match, MC_MATCH_REGEX);
    assert_non_null(r[2].regex);
    a = r[2].action;
    assert_int_equal(a->status, 200);
    assert_null(a->body);
    mc_conf_free(&c);
}

static int matches(const struct mc_conf *c, const char *path, size_t n)
{
    pcre2_match_data *found = pcre2_match_data_create(4, NULL);
    int rc = pcre2_match(c->servers[0].routes[0].regex, (PCRE2_SPTR)path, n, 0, 0, found, NULL);
    pcre2_match_data_free(found);
    return rc;
}

static void patterns_match_bytes(void **state)
{
    (void)state;
    struct mc_conf *c = from_text("server a { listen = \":1\" route r { match { path = '^/a.b$' } respond { } } }\n");
    assert_non_null(c);
    assert_true(matches(c, "/axb", 4) > 0);
    assert_true(matches(c,
                        "/a\xff"
                        "b",
                        4) > 0);
    assert_true(matches(c, "/a\0b", 4) > 0);
    assert_int_equal(matches(c, "/axbc", 5), PCRE2_ERROR_NOMATCH);
    assert_int_equal(matches(c, "/axb\n", 5), PCRE2_ERROR_NOMATCH); /* "$" is the end, not a newline before it */
    mc_conf_free(&c);
}

static void apps_of_a_pool_share_its_environment(void **state)
{
    (void)state;
    struct mc_conf *c = from_text(
        "pool p { env = {\"A=1\", \"B=1\"} }\napp a { module = m env = {\"B=2\"} }\napp b { module = n env = {\"C=3\", \"B=2\"} }\n"
        "app c { module = o }\n" SERVER);
    assert_non_null(c);
    static const char *const wanted[] = {"A=1", "B=2", "C=3"};
    assert_int_equal(c->pools[0].set.env.n, 3);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(c->pools[0].set.env.v[i], wanted[i]);
    assert_int_equal(c->apps[2].set.env.n, 3);
    mc_conf_free(&c);
    expect_error("app a { module = m env = {\"B=1\"} }\napp b { module = n\n env = {\"B=2\"} }\n" SERVER,
                 "t.conf:3: env: 'B=2' differs from that of app \"a\", and both run in pool \"default\"");
}

static const struct {
    const char *text, *message;
} errors[] = {
    {"workers = 2\n", "nothing to serve: the file has no server section, and no APP is given"},
    {"wsgi_app = m\n\n" SERVER, "t.conf:3: APP 'm' is given, but server \"s\" says what to serve"},
    {"\nbind = \":1\"\n" SERVER, "t.conf:2: bind: server \"s\" says where to listen (t.conf:3): leave bind away"},
    {"bind = {}\nwsgi_app = m\n", "bind: there is no address"},
    {"bind = \":x\"\nwsgi_app = m\n", "t.conf:1: listen: invalid port 'x'"},
    {"server s { listen = {\":1\",\n \"unix:\"}" ROUTE "}\n", "t.conf:2: listen: no path"},
    {"server s { listen = {\":1\",\n \":1\"}" ROUTE "}\n", "t.conf:2: listen: 0.0.0.0:1 stands there twice"},
    {"server s { listen = \":1 tls\"" ROUTE "}\n", "t.conf:1: listen: tls was left out of this build: configure it with --with-tls"},
    {"server s { listen = \":1 quic\"" ROUTE "}\n", "t.conf:1: listen: unknown option 'quic' after the address"},
    {"\nserver s {" ROUTE "}\n", "t.conf:2: server \"s\" needs listen"},
    {"server s { listen = {}" ROUTE "}\n", "t.conf:1: server \"s\" needs listen"},
    {"server s { listen = \":1\" }\n", "t.conf:1: server \"s\" has no route"},
    {"server s { pool = x\n listen = \":1\"" ROUTE "}\n", "t.conf:1: there is no pool 'x'"},
    {"pool p {}\npool q {}\nserver a { pool = p listen = \":1\"" ROUTE "}\nserver b { pool = q\n listen = \":1\"" ROUTE "}\n",
     "t.conf:5: listen: 0.0.0.0:1 is served by pool \"p\" (server \"a\"), it cannot be by pool \"q\", too"},
    {"server s { listen = \":1\" names = {a, \"b c\"}" ROUTE "}\n", "t.conf:1: names: expected a host name"},
    {"server s { listen = \":1\" names = {a,\n A}" ROUTE "}\n", "t.conf:2: names: 'a' stands there twice"},
    {"server s { listen = \":1\" names = {\"a..b\"}" ROUTE "}\n", "expected a host name"},
    {"server a { listen = \":1\"" ROUTE "}\nserver b { listen = \":1\"" ROUTE "}\n",
     "t.conf:2: servers \"a\" and \"b\" both take any name on 0.0.0.0:1"},
    {"server a { listen = \":1\" names = {x, y}" ROUTE "}\nserver b { listen = \":1\" names = {z, Y}" ROUTE "}\n",
     "t.conf:2: name 'y' belongs to server \"a\" already on 0.0.0.0:1"},
    {"server s { listen = \":1\" route r {\n app = x } }\n", "t.conf:2: there is no app 'x'"},
    {"server s { listen = \":1\"\n route r { } }\n", "t.conf:2: route \"r\" does nothing"},
    {"app x { module = m }\nserver s { listen = \":1\" route r { app = x\n respond { } } }\n",
     "t.conf:3: route \"r\" has two actions, app and respond"},
    {"server s { listen = \":1\" route r { match {\n path = '^/(' } respond { } } }\n",
     "t.conf:2: path: bad pattern at offset 3: missing closing parenthesis"},
    {"server s { listen = \":1\" route r { match { path = '(*UTF)x' } respond { } } }\n", "path: bad pattern"},
    {"server s { listen = \":1\" route r { match {\n prefix = 'x' } respond { } } }\n",
     "t.conf:2: prefix: a path begins with /, not as 'x'"},
    {"server s { listen = \":1\" route r { match { exact = '' } respond { } } }\n", "t.conf:1: exact: a path begins with /"},
    {"server s { listen = \":1\" route r {\n match { } respond { } } }\n", "t.conf:2: match: write one of exact, prefix and path"},
    {"server s { listen = \":1\" route r { match { exact = '/a' prefix = '/b' } respond { } } }\n",
     "match: write one of exact, prefix and path"},
    {"server s { listen = \":1\"\n route r { respond { status = 204 body = x } } }\n", "t.conf:2: respond: 204 has no body"},
    {"server s { listen = \":1\" route r { respond {\n status = 99 } } }\n", "t.conf:2: status: '99' is out of range, 200 to 599"},
    {"app a { }\n" SERVER, "t.conf:1: app \"a\" needs module"},
    {"app a { module = m\n type = php }\n" SERVER, "t.conf:2: unknown app type 'php'"},
    {"app a { module = m type = asgi }\n" SERVER,
     "t.conf:1: worker_class 'sync' cannot run app \"a\" of type asgi, whose event loop would have to be the worker's; worker types that can: epoll"},
    {"asgi_loop = trio\n" SERVER, "t.conf:1: asgi_loop: expected auto, asyncio or uvloop, not 'trio'"},
    {"asgi_lifespan = yes\n" SERVER, "t.conf:1: asgi_lifespan: expected auto, on or off, not 'yes'"},
    {"root_path = api\n" SERVER, "t.conf:1: root_path: expected a path that begins with '/'"},
    {"root_path = '/api/'\n" SERVER, "t.conf:1: root_path: expected a path that begins with '/'"},
    {"app a { module = m\n pool = x }\n" SERVER, "t.conf:2: there is no pool 'x'"},
    {"app a { module = m\n chdir = '/no/such/dir' }\n" SERVER, "t.conf:2: chdir: there is no directory /no/such/dir"},
    {"chdir = '/no/such/dir'\n" SERVER, "t.conf:1: chdir: there is no directory /no/such/dir"},
    {"tmp_upload_dir = '/no/such/dir'\n" SERVER, "t.conf:1: tmp_upload_dir: there is no directory /no/such/dir"},
    {"app default { module = m }\nwsgi_app = n\n", "t.conf:1: app \"default\" is the name of APP 'n'"},
    {"\nuser = \"no such user\"\n" SERVER, "t.conf:2: user: there is no user 'no such user'"},
    {"group = \"no such group\"\n" SERVER, "t.conf:1: group: there is no group 'no such group'"},
    {"forwarded_allow_ips = {\"10.0.0.0/8\",\n \"10.0.0.0/99\"}\n" SERVER, "t.conf:2: forwarded_allow_ips: expected an address"},
    {"secure_scheme_headers = {\"X\"}\n" SERVER, "t.conf:1: secure_scheme_headers: expected 'NAME: value'"},
    {"server_tokens = \"a\\nb\"\n" SERVER, "t.conf:1: server_tokens: expected a text without control characters"},
};

static void references_must_hold(void **state)
{
    (void)state;
    for (size_t i = 0; i < MC_COUNT(errors); i++)
        expect_error(errors[i].text, errors[i].message);
    assert_null(configure(SERVER, strlen(SERVER), OPTIONS(W("m"))));
    assert_non_null(strstr(err, "t.conf:1: APP 'm' is given, but server \"s\""));
    assert_null(configure(SERVER, strlen(SERVER), OPTIONS(W("-b:1"))));
    assert_non_null(strstr(err, "-b: server \"s\" says where to listen (t.conf:1): leave -b away"));
}

static void users_become_ids(void **state)
{
    (void)state;
    struct mc_conf *c = from_text("user = root\n" SERVER);
    assert_non_null(c);
    assert_int_equal(c->uid, 0);
    assert_int_equal(c->gid, 0);
    mc_conf_free(&c);
    c = from_text("user = 33\ngroup = 44\n" SERVER);
    assert_non_null(c);
    assert_int_equal(c->uid, 33);
    assert_int_equal(c->gid, 44);
    mc_conf_free(&c);
}

static void pools_ask_each_other(void **state)
{
    (void)state;
    static const char text[] = "pool p {}\npool q { queue = 3 }\npool r {}\n"
                               "app a { module = m pool = q }\napp b { module = n pool = r }\napp c { module = o pool = q }\n"
                               "server s { listen = \":1\" limit_request_body = 5 route x { match { exact = \"/x\" } app = a } route y { app = c } }\n"
                               "server t { listen = \":2\" pool = r route z { app = b } }\n";
    struct mc_conf *c = from_text(text);
    assert_non_null(c);
    assert_string_equal(warned, "");
    assert_int_equal(c->nlistens, 3); /* one of its own for q, behind all others */
    const struct mc_conf_listen *l = &c->listens[2];
    assert_string_equal(l->text, "pool:q");
    assert_true(l->hop && l->index == 2 && l->pool == &c->pools[1] && l->addr.family == AF_UNIX && l->addr.fd == -1);
    assert_true(!c->pools[0].hops && c->pools[1].hops && !c->pools[2].hops);
    assert_int_equal(l->nservers, 1);
    const struct mc_conf_server *server = l->servers[0];
    assert_int_equal(server->nroutes, 2);
    assert_ptr_equal(server->routes[0].app, &c->apps[0]);
    assert_ptr_equal(server->routes[1].app, &c->apps[2]);
    assert_int_equal(server->routes[1].set.limit_request_body, 0);
    assert_int_equal(c->nservers, 2); /* nobody finds it by a name */
    assert_int_equal(c->pools[1].set.queue, 3);
    assert_int_equal(c->pools[2].set.queue, 256);
    mc_conf_free(&c);
}

static void a_pool_may_have_its_own_user(void **state)
{
    (void)state;
    struct mc_conf *c = from_text("user = 33\ngroup = 44\npool p {}\npool q { user = root }\npool r { group = 55 }\npool s { user = 4000000 }\n" SERVER);
    assert_non_null(c);
    assert_true(c->pools[0].uid == 33 && c->pools[0].gid == 44);
    assert_true(c->pools[1].uid == 0 && c->pools[1].gid == 0); /* its primary group */
    assert_true(c->pools[2].uid == 33 && c->pools[2].gid == 55);
    assert_true(c->pools[3].uid == 4000000 && c->pools[3].gid == 44); /* nobody knows that user's */
    assert_true(c->uid == 33 && c->gid == 44);
    mc_conf_free(&c);
    expect_error("pool p {\n group = \"no such group\" }\n" SERVER, "t.conf:2: group: there is no group 'no such group'");
    expect_error("pool p {\n user = \"no such user\" }\n" SERVER, "t.conf:2: user: there is no user 'no such user'");
}

static void what_cannot_be_meant_is_warned_of(void **state)
{
    (void)state;
    struct mc_conf *c =
        from_text("pool p { }\npool q { }\nserver s { listen = \":1\" route r { respond { } }\n route t { respond { } } }\n");
    assert_non_null(c);
    assert_non_null(strstr(warned, "t.conf:4: route \"t\" is never reached: route \"r\" takes every path"));
    assert_non_null(strstr(warned, "t.conf:2: pool \"q\" has nothing to do: no server names it"));
    mc_conf_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_app_alone_gets_a_server),
        cmocka_unit_test(the_app_may_stand_in_the_file),
        cmocka_unit_test(inner_scopes_start_from_outer_ones),
        cmocka_unit_test(zero_limits_mean_the_most),
        cmocka_unit_test(auto_counts_processors),
        cmocka_unit_test(worker_classes_have_many_names),
        cmocka_unit_test(some_worker_classes_say_what_apps_are),
        cmocka_unit_test(servers_share_listeners),
        cmocka_unit_test(routes_keep_their_order),
        cmocka_unit_test(patterns_match_bytes),
        cmocka_unit_test(apps_of_a_pool_share_its_environment),
        cmocka_unit_test(references_must_hold),
        cmocka_unit_test(users_become_ids),
        cmocka_unit_test(pools_ask_each_other),
        cmocka_unit_test(a_pool_may_have_its_own_user),
        cmocka_unit_test(what_cannot_be_meant_is_warned_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
