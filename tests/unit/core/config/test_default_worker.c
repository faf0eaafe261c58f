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

/* Their worker type is greenlet; who runs the requests is a matter of the pool. */
static void hubs_need_greenlet(void **state)
{
    (void)state;
    static const struct {
        const char *word, *hub;
    } words[] = {{"gevent", "gevent"},     {"egg:gunicorn#gevent", "gevent"}, {"gunicorn.workers.ggevent.GeventPyWSGIWorker", "gevent"},
                 {"eventlet", "eventlet"}, {"egg:gunicorn#eventlet", "eventlet"}, {"greenlet", NULL}};
    one.name = "greenlet";
    other.name = "epoll";
    for (size_t i = 0; i < MC_COUNT(words); i++) {
        char text[200];
        snprintf(text, sizeof(text), "pool p { worker_class = '%s' }\n" SERVER, words[i].word);
        struct mc_conf *c = from_text(text);
        if (!c)
            fail_msg("%s", err);
        assert_string_equal(c->pools[0].worker->name, "greenlet");
        assert_string_equal(c->pools[0].set.worker_class, words[i].hub ? words[i].hub : "greenlet");
        assert_true(words[i].hub ? c->pools[0].hub && strcmp(c->pools[0].hub, words[i].hub) == 0 : !c->pools[0].hub);
        mc_conf_free(&c);
    }
    one.name = "gthread";
    expect_error("worker_class = gevent\n" SERVER, "worker_class 'gevent' is not built yet in this version; there is gthread, epoll");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_nearest_to_sync),
        cmocka_unit_test(who_asks_for_sync_gets_sync_or_an_error),
        cmocka_unit_test(hubs_need_greenlet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
