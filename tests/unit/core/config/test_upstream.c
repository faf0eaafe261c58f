/* The section `upstream`: what it takes, what it refuses, and what `to = …` names. */
#define MC_TEST_OWN_MODULES
#include "core/config/upstream.h"
#include "fixture.h"

struct proxy {
    const char *to;
    const struct mc_conf_upstream *upstream;
    bool tls;
};

static const struct mc_setting proxy_settings[] = {
    {.name = "to", .type = MC_SET_STRING, .offset = offsetof(struct proxy, to)},
    {.name = NULL},
};

static int check_proxy(const struct mc_conf *conf, void *action, char *e, size_t cap)
{
    struct proxy *p = action;
    p->upstream = mc_conf_upstream_to((struct mc_conf *)(uintptr_t)conf, p->to, &p->tls, e, cap);
    return p->upstream ? MC_OK : MC_ERROR;
}

static const struct mc_module handler_proxy = {
    .abi = MC_MODULE_ABI, .name = "proxy", .kind = MC_MODULE_HANDLER, .settings = proxy_settings, .conf_size = sizeof(struct proxy), .check_conf = check_proxy};
const struct mc_module *const mc_modules[] = {&worker_sync, &handler_respond, &handler_proxy, NULL};
const struct mc_module_absent mc_modules_absent[] = {{NULL, NULL, NULL}};
const char mc_configure_args[] = "";

static const struct mc_conf_upstream *named(struct mc_conf *c, const char *name)
{
    if (!c)
        print_error("%s\n", err);
    assert_non_null(c);
    struct mc_conf_section *s = mc_conf_section_named(c->sections, &mc_section_upstream, name);
    assert_non_null(s);
    return s->set;
}

/* Normal form gives the same normal form, and the same upstreams. */
static struct mc_conf *again(struct mc_conf *c)
{
    struct mc_sb one, two;
    mc_sb_init(&one, 1 << 20);
    mc_sb_init(&two, 1 << 20);
    assert_int_equal(mc_conf_print(c, &one), MC_OK);
    struct mc_conf *d = mc_conf_parse(mc_sb_z(&one), one.n, "image", err, sizeof err);
    if (!d)
        print_error("%s\n%s\n", err, mc_sb_z(&one));
    assert_non_null(d);
    assert_int_equal(mc_conf_print(d, &two), MC_OK);
    assert_string_equal(mc_sb_z(&one), mc_sb_z(&two));
    mc_sb_fini(&one);
    mc_sb_fini(&two);
    mc_conf_free(&c);
    return d;
}

static void everything_is_read(void **state)
{
    (void)state;
    struct mc_conf *c = from_text("resolver = {\"127.0.0.1\"}\n"
                                  "upstream u { balance = hash key = '$remote_addr' sticky = route keepalive = 0 resolve = 2s keepalive_requests = 9\n"
                                  " keepalive_timeout = 1s resolver = {\"127.0.0.1:5353\", \"[::1]:53\"}\n"
                                  " peer \"10.0.0.1:80\" { weight = 3 max_fails = 0 fail_timeout = 1m max_conns = 7 }\n"
                                  " peer \"[::1]:8080\" { backup = yes }\n peer \"unix:/run/x y.sock\" { down = yes }\n"
                                  " peer \"api.example.org:8000\" { addresses = {\"10.0.0.5\", \"[::2]:9\"} }\n"
                                  " peer \"example.org\" { service = \"_http._tcp\" addresses = {\"10.0.0.6:1\"} }\n"
                                  " health { path = \"/h\" interval = 1s timeout = 100ms fails = 1 passes = 1 expect = {\"200-299\", \"304\"} } }\n"
                                  "upstream v { peer \"127.0.0.1:1\" { } }\n" SERVER);
    for (int round = 0; round < 2; round++) {
        const struct mc_conf_upstream *u = named(c, "u");
        assert_string_equal(u->name, "u");
        assert_int_equal(u->balance, MC_BALANCE_HASH);
        assert_string_equal(u->key, "$remote_addr");
        assert_string_equal(u->sticky, "route");
        assert_int_equal(u->keepalive, 0);
        assert_int_equal(u->keepalive_requests, 9);
        assert_int_equal(u->keepalive_timeout, 1000);
        assert_int_equal(u->resolve, 2000);
        assert_int_equal(u->resolver.n, 2);
        assert_int_equal(u->npeers, 5);
        assert_int_equal(u->peers[0]->weight, 3);
        assert_int_equal(u->peers[0]->max_fails, 0);
        assert_int_equal(u->peers[0]->fail_timeout, 60000);
        assert_int_equal(u->peers[0]->max_conns, 7);
        assert_null(u->peers[0]->host);
        assert_int_equal(u->peers[0]->addr.family, AF_INET);
        assert_true(u->peers[1]->backup);
        assert_int_equal(u->peers[1]->addr.family, AF_INET6);
        assert_true(u->peers[2]->down);
        assert_string_equal(u->peers[2]->addr.u.un.sun_path, "/run/x y.sock");
        assert_string_equal(u->names[3], "api.example.org:8000");
        assert_string_equal(u->peers[3]->host, "api.example.org");
        assert_int_equal(u->peers[3]->port, 8000);
        assert_int_equal(u->peers[3]->naddrs, 2);
        assert_int_equal(ntohs(u->peers[3]->addrs[0].u.in.sin_port), 8000);
        assert_int_equal(ntohs(u->peers[3]->addrs[1].u.in6.sin6_port), 9);
        assert_int_equal(u->peers[4]->naddrs, 1);
        assert_true(u->health.on);
        assert_string_equal(u->health.path, "/h");
        assert_int_equal(u->health.nranges, 2);
        assert_int_equal(u->health.ranges[0].last, 299);
        assert_int_equal(u->health.ranges[1].first, 304);
        const struct mc_conf_upstream *v = named(c, "v");
        assert_false(v->health.on);
        assert_int_equal(v->balance, MC_BALANCE_ROUND_ROBIN);
        assert_int_equal(v->keepalive, 32);
        assert_int_equal(v->resolver.n, 1);
        c = again(c);
    }
    mc_conf_free(&c);
}

static void without_a_resolver_names_are_looked_up_once(void **state)
{
    (void)state;
    struct mc_conf *c = again(from_text("upstream u { peer \"localhost:81\" { } }\n" SERVER));
    const struct mc_conf_upstream *u = named(c, "u");
    assert_true(u->peers[0]->naddrs > 0);
    assert_string_equal(u->peers[0]->host, "localhost");
    mc_conf_free(&c);
    expect_error("upstream u { peer \"no-such-host.invalid:81\" { } }\n" SERVER, "t.conf:1: upstream \"u\": peer \"no-such-host.invalid:81\": cannot resolve");
    expect_error("upstream u { peer \"x.org\" { service = \"_a._tcp\" } }\n" SERVER, "service needs a build with a resolver");
}

static void actions_name_upstreams(void **state)
{
    (void)state;
    static const char text[] = "server s { listen = \":1\" route a { match { exact = \"/a\" } proxy { to = \"upstream:u\" } }\n"
                               " route b { match { exact = \"/b\" } proxy { to = \"http://127.0.0.1\" } }\n"
                               " route c { match { exact = \"/c\" } proxy { to = \"https://[::1]\" } }\n"
                               " route d { match { exact = \"/d\" } proxy { to = \"unix:/run/a/b\" } }\n"
                               " route e { match { exact = \"/e\" } proxy { to = \"http://127.0.0.1\" } }\n"
                               " route f { match { exact = \"/f\" } proxy { to = \"https://upstream:u\" } }\n"
                               " route g { match { exact = \"/g\" } proxy { to = \"127.0.0.1:9000\" } } }\n"
                               "upstream u { peer \"127.0.0.1:1\" { } }\n";
    struct mc_conf *c = from_text(text);
    if (!c)
        print_error("%s\n", err);
    for (int round = 0; round < 2; round++) {
        const struct mc_conf_route *r = c->servers[0].routes;
        const struct proxy *p[7];
        for (size_t i = 0; i < 7; i++)
            p[i] = r[i].action;
        assert_ptr_equal(p[0]->upstream, named(c, "u"));
        assert_ptr_equal(p[5]->upstream, named(c, "u"));
        assert_true(p[5]->tls && !p[0]->tls && !p[1]->tls && p[2]->tls);
        assert_string_equal(p[1]->upstream->names[0], "127.0.0.1:80");
        assert_string_equal(p[2]->upstream->names[0], "[::1]:443");
        assert_string_equal(p[3]->upstream->names[0], "unix:/run/a/b");
        assert_ptr_equal(p[1]->upstream, p[4]->upstream);
        assert_int_equal(ntohs(p[6]->upstream->peers[0]->addr.u.in.sin_port), 9000);
        c = again(c);
    }
    mc_conf_free(&c);
#define TO(word) "server s { listen = \":1\" route a { proxy { to = '" word "' } } }\n"
    expect_error(TO("upstream:v"), "there is no upstream \"v\"");
    expect_error(TO("http://a/b"), "expected upstream:NAME");
    expect_error(TO("ftp://a"), "expected upstream:NAME");
    expect_error(TO(""), "no port in");
    expect_error(TO("http://127.0.0.1:0"), "invalid port");
    expect_error(TO("http://127.0.0.1:x"), "invalid port");
    expect_error(TO("127.0.0.1"), "no port in '127.0.0.1'");
    expect_error(TO("http://::1"), "an IPv6 address needs brackets");
    expect_error(TO("http://[x]:1"), "peer: expected HOST:PORT");
    expect_error(TO("http://a_%:1"), "peer: expected HOST:PORT");
}

static void wrong_ones_are_explained(void **state)
{
    (void)state;
    static const struct {
        const char *inside, *message;
    } wrong[] = {
        {"", "upstream \"u\": it has no peer"},
        {"peer \"10.0.0.1\" { }", "upstream \"u\": peer: no port in '10.0.0.1'"},
        {"peer \"*.a:1\" { }", "peer: expected HOST:PORT"},
        {"peer \"::1:80\" { }", "needs brackets"},
        {"peer \"unix:\" { }", "peer: no path"},
        {"peer \"x:1\" { service = \"_a._tcp\" }", "write the name only"},
        {"peer \"x\" { service = \"http\" }", "expected a service such as _http._tcp, not 'http'"},
        {"peer \"1.2.3.4:1\" { addresses = {\"1.2.3.4:1\"} }", "an address cannot be looked up"},
        {"peer \"x:1\" { addresses = {\"y:1\"} }", "addresses: expected IP:PORT, not 'y:1'"},
        {"peer \"1.2.3.4:1\" { backup = yes }", "every peer is a backup"},
        {"peer \"1.2.3.4:1\" { weight = 0 }", "weight: '0' is out of range"},
        {"peer \"1.2.3.4:1\" { } peer \"1.2.3.4:1\" { }", "1.2.3.4:1"},
        {"balance = random peer \"1.2.3.4:1\" { }", "balance: expected round_robin, least_conn or hash, not 'random'"},
        {"balance = hash peer \"1.2.3.4:1\" { }", "balance = hash needs key"},
        {"key = x peer \"1.2.3.4:1\" { }", "key is of balance = hash only"},
        {"sticky = \"a b\" peer \"1.2.3.4:1\" { }", "sticky"},
        {"resolver = {\"dns.example\"} peer \"1.2.3.4:1\" { }", "resolver: expected an address of numbers"},
        {"peer \"1.2.3.4:1\" { } health { path = healthz }", "health: path: expected a path"},
        {"peer \"1.2.3.4:1\" { } health { expect = {\"299-200\"} }", "health: expect: a status"},
        {"peer \"1.2.3.4:1\" { } health { expect = {} }", "health: expect: no status"},
        {"peer \"1.2.3.4:1\" { wait = 1 }", "unknown setting 'wait'"},
    };
    for (size_t i = 0; i < MC_COUNT(wrong); i++) {
        char text[512];
        snprintf(text, sizeof text, "upstream u { %s }\n%s", wrong[i].inside, SERVER);
        expect_error(text, wrong[i].message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_read),
        cmocka_unit_test(without_a_resolver_names_are_looked_up_once),
        cmocka_unit_test(actions_name_upstreams),
        cmocka_unit_test(wrong_ones_are_explained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
