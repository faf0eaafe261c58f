/* From what was written to struct mc_conf: scopes, defaults, references. */
#ifndef MC_CONFIG_RESOLVE_H
#define MC_CONFIG_RESOLVE_H

#include "core/config/tree.h"

struct mc_resolve_from {
    const struct mc_given *environment, *cli; /* NULL: nothing */
    const struct mc_block *file;              /* NULL: none */
    const char *app;                          /* APP of the command line, or NULL */
    /* Set by mc_resolve(): what servers and apps say in the end, so no scope keeps it. */
    struct mc_conf_where app_at; /* of app, when wsgi_app gave it */
    struct mc_strv bind;
    /* Addresses that replace those of `bind`; none: they stay. */
    struct mc_strv given;
};

/* Fill c (zeroed, its arena is b->arena). MC_ERROR: mc_build_fail() was called. */
int mc_resolve(struct mc_build *b, const struct mc_resolve_from *from, struct mc_conf *c);

/* ---- between resolve.c and sites.c ---- */

/* Servers, listeners and routes; pools and apps are complete. */
int mc_resolve_sites(struct mc_build *b, const struct mc_resolve_from *from, struct mc_conf *c);
/* The sections of core and modules that stand in a block, and their compiled forms when all is read. */
int mc_resolve_sections(struct mc_build *b, const struct mc_block *block, struct mc_conf_section **out);
int mc_resolve_check_sections(struct mc_build *b, struct mc_conf *c, struct mc_conf_section *list);
/* 0 in these limits means "the most", so that users of the values need not know. */
void mc_resolve_limits(struct mc_values *set);
/* By name, or the first when name is NULL; NULL after mc_build_fail(). */
struct mc_conf_pool *mc_resolve_pool(struct mc_build *b, struct mc_conf *c, const struct mc_given *g);
/* Where a setting of the top level was written. */
struct mc_conf_where mc_resolve_where(const struct mc_resolve_from *from, const char *name);
const struct mc_given *mc_resolve_given(const struct mc_resolve_from *from, const char *name);

/* Compile a pattern (label: the setting, for messages; fold: letters of either case); the arena frees it. NULL after mc_build_fail(). */
void *mc_resolve_regex(struct mc_build *b, struct mc_conf_where at, const char *label, const char *pattern, bool fold);
/* identity.c: who `set` says; in set.user and set.group stand numbers then. users_group: nobody named a group for this user, so it is the user's own. */
struct mc_resolve_who {
    struct mc_conf_where user_at, group_at;
    bool users_group;
};
int mc_resolve_identity(struct mc_build *b, const struct mc_resolve_who *who, struct mc_values *set, uid_t *uid, gid_t *gid);
/* hops.c: listeners for the pools that servers of other pools ask; behind all others. */
int mc_resolve_hops(struct mc_build *b, struct mc_conf *c);
/* match.c: the conditions of a route; the names of a server that are patterns. */
int mc_resolve_match(struct mc_build *b, struct mc_conf_route *route, const struct mc_block *match);
int mc_resolve_name_patterns(struct mc_build *b, struct mc_conf_server *server, const struct mc_given *names);

#endif
