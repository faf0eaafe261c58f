/* Look-ups in the module table of this build: every entry is found again, and nothing else is. */
#include "core/base/module.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void every_module_is_found(void **state)
{
    (void)state;
    assert_non_null(mc_modules[0]);
    for (const struct mc_module *const *m = mc_modules; *m; m++) {
        assert_int_equal((*m)->abi, MC_MODULE_ABI);
        assert_int_equal((*m)->size, sizeof(struct mc_module));
        assert_ptr_equal(mc_module_find((*m)->kind, (*m)->name), *m);
        assert_string_not_equal(mc_module_kind_name((*m)->kind), "unknown");
        for (const struct mc_app_type *t = (*m)->apps; t && t->name; t++)
            assert_non_null(mc_module_app_type(t->name));
    }
}

static void others_are_not(void **state)
{
    (void)state;
    assert_null(mc_module_find(MC_MODULE_WORKER, "no such worker"));
    assert_null(mc_module_find(MC_MODULE_LOG, "epoll"));
    assert_null(mc_module_app_type("no such type"));
    assert_null(mc_module_absent_flag("worker", "no such worker"));
    assert_string_equal(mc_module_kind_name((enum mc_module_kind)99), "unknown");
    assert_string_equal(mc_module_kind_name(MC_MODULE_EVENT), "event");
    for (const struct mc_module_absent *m = mc_modules_absent; m->name; m++) {
        assert_string_equal(mc_module_absent_flag(m->kind, m->name), m->flag);
        assert_int_equal(strncmp(m->flag, "--with-", 7), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_module_is_found),
        cmocka_unit_test(others_are_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
