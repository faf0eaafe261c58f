/* Look-ups in the module table that configure generates (objs/modules.c). Owns nothing; both products, every process. */
#include "core/base/module.h"

#include <string.h>

static const char *const kinds[] = {
    [MC_MODULE_WORKER] = "worker",     [MC_MODULE_EVENT] = "event",     [MC_MODULE_TRANSPORT] = "transport",
    [MC_MODULE_PROTOCOL] = "protocol", [MC_MODULE_HANDLER] = "handler", [MC_MODULE_FILTER] = "filter",
    [MC_MODULE_LOG] = "log",           [MC_MODULE_RESOLVER] = "resolver",
    [MC_MODULE_CODING] = "coding",
};

const char *mc_module_kind_name(enum mc_module_kind k)
{
    return (size_t)k < MC_COUNT(kinds) ? kinds[k] : "unknown";
}

const struct mc_module *mc_module_find(enum mc_module_kind k, const char *name)
{
    for (const struct mc_module *const *m = mc_modules; *m; m++) {
        if ((*m)->kind == k && strcmp((*m)->name, name) == 0)
            return *m;
    }
    return NULL;
}

static const struct mc_app_type *find_type(const struct mc_app_type *t, const char *name)
{
    for (; t && t->name; t++) {
        if (strcmp(t->name, name) == 0)
            return t;
    }
    return NULL;
}

const struct mc_app_type *mc_module_app_type(const char *name)
{
    for (const struct mc_module *const *m = mc_modules; *m; m++) {
        const struct mc_app_type *t = find_type((*m)->apps, name);
        if (t)
            return t;
    }
    return NULL;
}

const char *mc_module_absent_flag(const char *kind, const char *name)
{
    for (const struct mc_module_absent *m = mc_modules_absent; m->name; m++) {
        if (strcmp(m->kind, kind) == 0 && strcmp(m->name, name) == 0)
            return m->flag;
    }
    return NULL;
}
