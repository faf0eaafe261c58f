/* Gunicorn's settings whose values are Python objects, so that an error can say why a file or a command line cannot hold them. Data only;
 * settings_refused.c has the others that are missing. */
#include "core/config/setting.h"

#define HOOK  "is a Python hook: define it in a gunicorn.conf.py, or in any file of Python that the setting hooks names"
#define POOLS "belongs to Gunicorn's dirty arbiter: give such an app a pool of its own, see docs/pools.md"

const struct mc_setting_absent mc_settings_absent[] = {
    {"ssl_context", NULL, "does not exist here: TLS is set up by settings, not by Python"},
    {"on_starting", NULL, HOOK},
    {"on_reload", NULL, HOOK},
    {"when_ready", NULL, HOOK},
    {"on_exit", NULL, HOOK},
    {"nworkers_changed", NULL, HOOK},
    {"pre_exec", NULL, HOOK},
    {"pre_fork", NULL, HOOK},
    {"child_exit", NULL, HOOK},
    {"post_fork", NULL, HOOK},
    {"post_worker_init", NULL, HOOK},
    {"worker_int", NULL, HOOK},
    {"worker_abort", NULL, HOOK},
    {"worker_exit", NULL, HOOK},
    {"pre_request", NULL, HOOK},
    {"post_request", NULL, HOOK},
    {"on_dirty_starting", NULL, POOLS},
    {"dirty_post_fork", NULL, POOLS},
    {"dirty_worker_init", NULL, POOLS},
    {"dirty_worker_exit", NULL, POOLS},
    {NULL, NULL, NULL},
};
