/* The worker type of a pool that names none, in builds that lack one type or another. */
#define MC_TEST_OWN_MODULES
#include "tests/unit/core/config/fixture.h"

static struct mc_module one = {.abi = MC_MODULE_ABI, .kind = MC_MODULE_WORKER}, other = {.abi = MC_MODULE_ABI, .kind = MC_MODULE_WORKER};
const struct mc_module *const mc_modules[] = {&one, &other, &handler_respond, NULL};
const struct mc_module_absent mc_modules_absent[] = {{"worker", "sync", "--with-sync"}, {NULL, NULL, NULL}};
const char mc_configure_args[] = "";

static void what_is_nearest_to_sync(void **state)
{
    (void)state;
    static const struct {
        const char *one, *other, *taken;
    } builds[] = {
        {"epoll", "sync", "sync"}, {"epoll", "gthread", "gthread"}, {"greenlet", "gthread", "gthread"}, {"epoll", "greenlet", "greenlet"},
        {"greenlet", "greenlet", "greenlet"}, {"epoll", "epoll", "epoll"},
    };
    assert_string_equal(worker_sync.name, "sync");
    for (size_t i = 0; i < MC_COUNT(builds); i++) {
        one.name = builds[i].one;
        other.name = builds[i].other;
        struct mc_conf *c = from_text(SERVER);
        if (!c)
            fail_msg("%s", err);
        assert_string_equal(c->pools[0].worker->name, builds[i].taken);
        assert_string_equal(c->pools[0].set.worker_class, builds[i].taken);
        mc_conf_free(&c);
    }
}

static void who_asks_for_sync_gets_sync_or_an_error(void **state)
{
    (void)state;
    one.name = "gthread";
    other.name = "epoll";
    expect_error("worker_class = sync\n" SERVER, "worker_class 'sync' was left out of this build: configure it with --with-sync");
    expect_error("pool \"p\" { worker_class = sync }\n" SERVER, "worker_class 'sync' was left out of this build");
    /* threads > 1 is a wish for gthread, whatever else there is. */
    one.name = "greenlet";
    expect_error("threads = 2\n" SERVER, "'gthread' (threads > 1 asks for it)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_nearest_to_sync),
        cmocka_unit_test(who_asks_for_sync_gets_sync_or_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
