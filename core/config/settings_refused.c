/* Settings of Gunicorn's that have no meaning here, or none yet: their defaults pass, other values are errors that say why and what to do.
 * See settings.c. Data only. */
#include "core/config/settings.h"

#define IN_POOLS                                                                                                                           \
    "is Gunicorn's dirty arbiter: give such an app a pool of its own with worker_class, workers, threads and timeout, see docs/pools.md"

const struct mc_setting mc_settings_refused[] = {
    {.name = "spew", .type = MC_SET_BOOL, REFUSED_FLAG, .flag = "--spew", .doc = "does not exist here: use python -m trace, or a profiler"},
    {.name = "strip_header_spaces",
     .type = MC_SET_BOOL,
     REFUSED_FLAG,
     .flag = "--strip-header-spaces",
     .doc = "does not exist here: a space before the colon hides requests from proxies"},
    {.name = "logger_class",
     .type = MC_SET_STRING,
     REFUSED,
     .dflt = "gunicorn.glogging.Logger",
     .flag = "--logger-class",
     .meta = "NAME",
     .doc = "does not exist here: the server writes its logs itself, see accesslog, access_log_format and errorlog"},
    {.name = "paste",
     .type = MC_SET_STRING,
     REFUSED,
     .flag = "--paste|--paster",
     .meta = "FILE",
     .doc = "does not exist here: serve MODULE:NAME, where the module says NAME = paste.deploy.loadapp('config:FILE')"},
    {.name = "raw_paste_global_conf",
     .type = MC_SET_LIST,
     REFUSED,
     .flag = "--paste-global",
     .meta = "KEY=VALUE",
     .doc = "does not exist here: it is global_conf of paste.deploy.loadapp(), see paste"},
    {.name = "dirty_apps", .type = MC_SET_LIST, REFUSED, .flag = "--dirty-app", .meta = "APP", .doc = IN_POOLS},
    {.name = "dirty_workers", .type = MC_SET_INT, REFUSED, .dflt = "0", .flag = "--dirty-workers", .meta = "INT", .doc = IN_POOLS},
    {.name = "dirty_threads", .type = MC_SET_INT, REFUSED, .dflt = "1", .flag = "--dirty-threads", .meta = "INT", .doc = IN_POOLS},
    {.name = "dirty_timeout", .type = MC_SET_DURATION, REFUSED, .dflt = "300s", .flag = "--dirty-timeout", .meta = "TIME", .doc = IN_POOLS},
    {.name = "dirty_graceful_timeout",
     .type = MC_SET_DURATION,
     REFUSED,
     .dflt = "30s",
     .flag = "--dirty-graceful-timeout",
     .meta = "TIME",
     .doc = IN_POOLS},
    {.name = NULL},
};
