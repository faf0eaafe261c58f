/* What the steps of one load share: the arena that will own the configuration, and the first error. Private to core/config. */
#ifndef MC_CONFIG_BUILD_H
#define MC_CONFIG_BUILD_H

#include "core/config/conf.h"

#define MC_NOWHERE ((struct mc_conf_where){NULL, 0})

struct mc_scope; /* schema.h */

struct mc_build {
    struct mc_arena *arena;
    bool image;  /* normal form: no file, no environment, no user database and no name server is asked */
    bool failed; /* err holds the first error; later ones are consequences and are dropped */
    int code;    /* exit code that goes with it */
    char *err;   /* one line, no newline */
    size_t errcap;
    const char *detail;       /* of the arena: lines that belong beneath it, such as a traceback; NULL: none */
    const char *options;      /* the variable whose options are being read; NULL: the command line */
    const char *start;        /* absolute directory that relative paths of the command line start from */
    struct mc_scope *scopes; /* of handler modules that are actions of routes, and of the sections that core and modules bring */
    size_t nscopes;
    void (*warn)(const char *line); /* NULL: nobody wants to know */
};

/* Keep the first error as "FILE:LINE: text" (or plain "text" when at.file is NULL); always MC_ERROR. */
int mc_build_fail(struct mc_build *b, struct mc_conf_where at, const char *fmt, ...) MC_PRINTF(3, 4);
void mc_build_warn(struct mc_build *b, struct mc_conf_where at, const char *fmt, ...) MC_PRINTF(3, 4);
/* Zeroed memory of the arena; NULL after mc_build_fail(). */
void *mc_build_alloc(struct mc_build *b, size_t n);
const char *mc_build_strdup(struct mc_build *b, const char *z);
const char *mc_build_printf(struct mc_build *b, const char *fmt, ...) MC_PRINTF(2, 3);
/* `path` itself when absolute, else below `dir`. */
const char *mc_build_path(struct mc_build *b, const char *dir, const char *path);

#endif
