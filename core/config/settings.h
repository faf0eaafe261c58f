/* Words for the rows of settings*.c. Private to those files. */
#ifndef MC_CONFIG_SETTINGS_H
#define MC_CONFIG_SETTINGS_H

#include "core/config/check.h"
#include "core/config/conf.h"

#define MAIN         MC_AT_MAIN
#define POOL         (MC_AT_MAIN | MC_AT_POOL)
#define SERVER       (MC_AT_MAIN | MC_AT_SERVER)
#define ROUTE        (MC_AT_MAIN | MC_AT_SERVER | MC_AT_ROUTE)
#define AT(field)    .offset = offsetof(struct mc_values, field)
#define MEGA         (INT64_C(1) << 20)
#define REFUSED      .where = MAIN, .flags = MC_SETF_REFUSED
#define REFUSED_FLAG .where = MAIN, .flags = MC_SETF_REFUSED | MC_SETF_FLAG
#define IGNORED      .where = MAIN, .flags = MC_SETF_IGNORED
#define IGNORED_FLAG .where = MAIN, .flags = MC_SETF_IGNORED | MC_SETF_FLAG

extern const struct mc_setting mc_settings_process[], mc_settings_workers[], mc_settings_http[], mc_settings_http2[], mc_settings_tls[], mc_settings_logs[],
    mc_settings_ignored[], mc_settings_refused[];

#endif
