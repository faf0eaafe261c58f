/* Users of a file, and whether a password is one's own. Private to filter/auth_basic. */
#ifndef MC_FILTER_AUTH_BASIC_H
#define MC_FILTER_AUTH_BASIC_H

#include "core/base/str.h"

#include <sys/stat.h>

struct mc_worker;

/* ---- users.c */
struct mc_auth_users {
    char *text; /* the file; names and hashes are NUL-terminated pieces of it */
    struct mc_auth_user {
        const char *name, *hash;
    } *v; /* by name */
    size_t n;
    struct stat st;
};
/* MC_OK, or MC_ERROR with err: "PATH: why" or "PATH:LINE: why". */
int mc_auth_users_read(struct mc_auth_users *u, const char *path, char *err, size_t errcap);
void mc_auth_users_free(struct mc_auth_users *u);
/* The user's hash, or NULL. */
const char *mc_auth_users_find(const struct mc_auth_users *u, struct mc_str name);

/* ---- verify.c */
struct mc_auth_job;
/* Is this the password of the hash (NULL: of nobody; `like` is then the hash whose time it takes)? MC_OK: yes, and known already; MC_AGAIN: *job will call
 * done(data, yes) on the loop; 503: too many wait. */
int mc_auth_verify(struct mc_worker *w, struct mc_str user, struct mc_str password, const char *hash, const char *like, void (*done)(void *data, bool yes),
    void *data, struct mc_auth_job **job);
void mc_auth_forget(struct mc_auth_job *job); /* done() will not be called */
void mc_auth_close(struct mc_worker *w);

#endif
