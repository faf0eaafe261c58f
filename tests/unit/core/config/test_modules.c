/* What another choice of modules changes: a build without Python and with TLS. */
#define MC_TEST_OWN_MODULES
#include "fixture.h"

static const struct mc_module transport_tls = {.abi = MC_MODULE_ABI, .name = "tls", .kind = MC_MODULE_TRANSPORT};
const struct mc_module *const mc_modules[] = {&transport_tls, &worker_sync, &handler_respond, NULL};
const struct mc_module_absent mc_modules_absent[] = {{"handler", "python", "--with-python"}, {NULL, NULL, NULL}};
const char mc_configure_args[] = "";

static void an_app_needs_python(void **state)
{
    (void)state;
    char word[] = "m:app", *const argv[] = {word, NULL};
    assert_null(configure(NULL, 0, argv));
    assert_string_equal(err, "apps of type 'wsgi' were left out of this build: configure it with --with-python");
    expect_error("app a {\n module = m\n type = wsgi }\n" SERVER, "t.conf:3: apps of type 'wsgi' were left out of this build");
}

static void listeners_take_tls(void **state)
{
    (void)state;
    struct mc_conf *c =
        from_text("server a { listen = {\":443\ttls\", \":80\"}" ROUTE "}\nserver b { names = x listen = \":443 tls\"" ROUTE "}\n");
    assert_non_null(c);
    assert_int_equal(c->nlistens, 2);
    assert_true(c->listens[0].tls);
    assert_false(c->listens[1].tls);
    assert_string_equal(c->listens[0].text, "0.0.0.0:443 tls");
    assert_int_equal(c->listens[0].nservers, 2);
    mc_conf_free(&c);
    expect_error("server a { listen = \":443 tls\"" ROUTE "}\nserver b { names = x\n listen = \":443\"" ROUTE "}\n",
                 "t.conf:3: listen: 0.0.0.0:443 is with tls in one server and without in another");
    expect_error("server a { listen = \":443 tls http9\"" ROUTE "}\n", "t.conf:1: listen: unknown option 'http9' after the address");
}

static void what_the_tree_lacks_is_not_built_yet(void **state)
{
    (void)state;
    expect_error("server a { listen = \":1\"\n route r { proxy { } } }\n", "t.conf:2: section 'proxy' is not built yet in this version");
    expect_error("pool p { worker_class = gthread }\n" SERVER,
                 "t.conf:1: worker_class 'gthread' is not built yet in this version; there is sync");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_app_needs_python),
        cmocka_unit_test(listeners_take_tls),
        cmocka_unit_test(what_the_tree_lacks_is_not_built_yet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
