/* The table of every built-in setting: libconfuse options, command line, --help, --print-config and the manual follow from it.
 * Names, flags and defaults are Gunicorn's wherever it has the setting. The table goes on in settings_*.c, each linked to the next
 * by its last row; walk it with mc_setting_next(). Data only. */
#include "core/config/settings.h"

const struct mc_setting mc_settings[] = {
    {.name = "config",
     .type = MC_SET_STRING,
     .where = MC_AT_CLI,
     AT(config),
     .flag = "--config",
     .letter = 'c',
     .meta = "FILE",
     .check = mc_check_filled,
     .doc = "the configuration file [./monoceros.conf when it exists]",
     .group = "Configuration"},
    {.name = "check_config",
     .type = MC_SET_BOOL,
     .where = MC_AT_CLI,
     .flags = MC_SETF_FLAG,
     AT(check_config),
     .flag = "--check-config",
     .doc = "check settings and apps, then exit with 0 or 1"},
    {.name = "print_config",
     .type = MC_SET_BOOL,
     .where = MC_AT_CLI,
     .flags = MC_SETF_FLAG,
     AT(print_config),
     .flag = "--print-config",
     .doc = "print the settings as a configuration file, then exit"},
    {.name = "wsgi_app",
     .type = MC_SET_STRING,
     .where = MAIN,
     AT(wsgi_app),
     .check = mc_check_filled,
     .doc = "the app to serve, as APP on the command line: MODULE, MODULE:NAME or MODULE:FACTORY()"},
    {.name = NULL, .more = mc_settings_process},
};
