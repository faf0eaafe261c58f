/* What may stand where: the sections of the file, their own words, and which built-in settings each takes. */
#ifndef MC_CONFIG_SCHEMA_H
#define MC_CONFIG_SCHEMA_H

#include "core/config/build.h"

struct mc_scope {
    const char *name; /* "server"; "" for the top of the file */
    bool titled;
    unsigned where;                      /* takes the built-in settings with one of these MC_AT_ bits */
    const struct mc_setting *own;        /* words of this section only; ends with name == NULL; may be NULL */
    const struct mc_scope *const *inner; /* NULL-terminated; or NULL */
    const struct mc_module *module;      /* the handler module whose action this is */
    const struct mc_section *section;    /* what it was made from */
    const char *doc;                     /* one line, or NULL */
    unsigned in;                         /* module, section: may stand in scopes with one of these MC_AT_ bits */
};

/* The sections' own words. */
struct mc_app_words {
    const char *type, *module, *symbol, *chdir, *home, *pool;
};
struct mc_server_words {
    struct mc_strv listen, names;
    const char *pool;
};
struct mc_route_words {
    const char *app;
    bool internal;
};
struct mc_match_words {
    const char *exact, *prefix, *path;
    struct mc_strv method, host, scheme, client, header, query, cookie;
};

extern const struct mc_scope mc_schema_main, mc_schema_pool, mc_schema_app, mc_schema_server, mc_schema_route, mc_schema_match;

/* Fill b->scopes from the module table and the sections of core. */
int mc_schema_open(struct mc_build *b);
/* Settings of a scope: its own, then built-in ones; NULL after the last. *i starts at 0 and is moved on. */
const struct mc_setting *mc_schema_next(const struct mc_scope *scope, size_t *i);
const struct mc_setting *mc_schema_setting(const struct mc_scope *scope, const char *name);
/* Inner sections, in turn, index from 0; NULL after the last. */
const struct mc_scope *mc_schema_inner(const struct mc_build *b, const struct mc_scope *scope, size_t index);
const struct mc_scope *mc_schema_find(const struct mc_build *b, const struct mc_scope *scope, const char *name);

/* Fail with the best explanation of a name that does not belong into this scope: where it belongs, which --with- flag brings it,
 * that it is not built yet, or what was probably meant. `section`: it was written as one. */
int mc_schema_unknown(struct mc_build *b, struct mc_conf_where at, const struct mc_scope *scope, const char *name, bool section);
/* The entry of mc_settings_absent for a name or a flag (either may be NULL); or NULL. */
const struct mc_setting_absent *mc_schema_absent(const char *name, const char *flag);
/* Does the flag stand in "--a|--b"? */
bool mc_schema_flag_is(const char *flags, const char *flag);
/* "at the top level", "in a server section", for messages. */
const char *mc_schema_place(const struct mc_scope *scope);
/* Edit distance of a likely misspelling; above MC_SCHEMA_FAR there is no likeness. */
enum { MC_SCHEMA_FAR = 100 };
unsigned mc_schema_distance(const char *a, const char *b);

#endif
