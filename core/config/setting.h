/* One declaration of every setting: from these tables come the libconfuse options, the option parser, --help, --print-config and the manual. */
#ifndef MC_CONFIG_SETTING_H
#define MC_CONFIG_SETTING_H

#include "core/base/base.h"

enum mc_setting_type {
    MC_SET_BOOL,     /* bool: true/yes/on/y/1, false/no/off/n/0 (any case) */
    MC_SET_INT,      /* int64_t: decimal; 0o/leading 0 octal only for umask-like settings (MC_SETF_OCTAL) */
    MC_SET_DURATION, /* int64_t milliseconds: "30" and "30s" are seconds; ms, s, m, h, d */
    MC_SET_SIZE,     /* int64_t bytes: "10m"; k, m, g (1024) in either case */
    MC_SET_STRING,   /* const char * (NULL when unset) */
    MC_SET_LIST,     /* struct mc_strv: repeatable flag; in the file a list, or one word */
};

/* Where a setting may stand (bits). An inner scope starts from the outer scope's value. */
enum { MC_AT_MAIN = 1, MC_AT_POOL = 2, MC_AT_APP = 4, MC_AT_SERVER = 8, MC_AT_ROUTE = 16, MC_AT_CLI = 32 /* command line only */ };

enum {
    MC_SETF_OCTAL = 1,    /* "022" is octal */
    MC_SETF_COMMAS = 2,   /* a list that one flag or variable may give with commas (forwarded_allow_ips) */
    MC_SETF_IGNORED = 4,  /* accepted for Gunicorn's sake with one warning, unless it is the default */
    MC_SETF_FLAG = 8,     /* bool flag without argument; the flag sets true… */
    MC_SETF_NEGATED = 16, /* …or false (--no-sendfile) */
    MC_SETF_AUTO = 32,    /* the word "auto" is 0 */
    MC_SETF_UNSET = 64,   /* -1 while nobody has set it */
    MC_SETF_REFUSED =
        128, /* Gunicorn's, and not ours: its default is taken in silence, every other value is an error for which doc is the reason */
    MC_SETF_QUIET = 256,   /* ignored without a warning */
    MC_SETF_OPTIONAL = 512, /* the flag may stand without a value, which means "auto" */
    MC_SETF_ALONE = 1024 /* the flag may stand without a value: the empty word */
};

struct mc_strv {
    const char **v;
    size_t n;
};

struct mc_setting {
    const char *name; /* NULL ends a table */
    enum mc_setting_type type;
    unsigned where, flags;
    size_t offset;    /* into struct mc_values, or into the module's action struct */
    const char *dflt; /* default as it would be written in a file; NULL: 0/false/unset/empty; a list has commas */
    int64_t min, max; /* for INT, DURATION (ms), SIZE; both 0: any value >= 0 */
    const char *flag; /* "--workers", NULL: none; alternatives after '|': "--error-logfile|--log-file" */
    char letter;      /* 'w' or 0 */
    const char *env;  /* "WEB_CONCURRENCY" or NULL */
    const char *meta; /* argument name in --help: "INT" */
    const char *doc;  /* one line; of a NEGATED flag, what the setting does: --help says "do not" */
    int (*check)(const char *value, char *err, size_t cap); /* extra check of each word as written; MC_OK or MC_ERROR with err */
    const char *group;                                      /* heading in --help that starts at this setting, or NULL */
    const struct mc_setting *more;                          /* of the last row (name NULL): where the table goes on, or NULL */
};

/* The row that follows; walks over the seams of a table. The last one has no name. */
static inline const struct mc_setting *mc_setting_next(const struct mc_setting *s)
{
    s++;
    return s->name || !s->more ? s : s->more;
}

/* Settings of Gunicorn 26.1 whose value a file or a command line cannot say, and those that a later version brings: name and what to say.
 * Ends with name == NULL. */
struct mc_setting_absent {
    const char *name, *flag, *why;
};

extern const struct mc_setting mc_settings[];
extern const struct mc_setting_absent mc_settings_absent[];

#endif
