/* Bytes that workers need and may not read themselves: certificates, private keys, ticket keys. The arbiter gathers them, as root perhaps, and hands
 * each pool its own in a sealed memfd; a worker makes of them what it needs and forgets them. Whoever holds one wipes it. Both sides. */
#ifndef MC_CONFIG_SECRETS_H
#define MC_CONFIG_SECRETS_H

#include "core/base/str.h"
#include "core/config/conf.h"

struct mc_secrets {
    unsigned char *p; /* entries, one behind the other */
    size_t n, cap;
};

/* Names are unique: a second add of a name does nothing. MC_OK or MC_ERROR (out of memory; errno ENOMEM). */
int mc_secrets_add(struct mc_secrets *s, const char *name, const void *p, size_t n);
/* The contents of a file under its path as it is written in the configuration (relative ones start at conf->cwd). MC_OK or MC_ERROR with errno. */
int mc_secrets_add_file(struct mc_secrets *s, const struct mc_conf *conf, const char *path);
/* false: there is none. The bytes live until the next add. */
bool mc_secrets_get(const struct mc_secrets *s, const char *name, struct mc_str *out);
bool mc_secrets_next(const struct mc_secrets *s, size_t *at, struct mc_str *name, struct mc_str *out); /* *at starts at 0 */
bool mc_secrets_equal(const struct mc_secrets *a, const struct mc_secrets *b);
/* A sealed memfd of all; fd or -1. And back: MC_OK or MC_ERROR (errno; EBADMSG: not one of ours). The fd stays open. */
int mc_secrets_memfd(const struct mc_secrets *s);
int mc_secrets_load(struct mc_secrets *s, int fd);
void mc_secrets_wipe(struct mc_secrets *s);

/* A module's gather() (base/module.h): what it puts into `out` for the workers of a pool. */
struct mc_gather {
    const struct mc_conf *conf;
    const struct mc_conf_pool *pool;
    const struct mc_secrets *old; /* what the workers have now; empty at the start */
    struct mc_secrets *out;
    int64_t now, next;            /* real time, s; next: ask again then at the latest (0: no need). Set it only to something sooner */
    struct mc_secrets *ask;       /* gather(): what fetch() is to find out; it has this alone. Empty: nothing */
    void (*watch)(struct mc_gather *g, const char *path); /* gather again when this file changes */
    void *watch_data;
    char *err;
    size_t errcap;
};

#endif
