/* Files of users: NAME:HASH lines. Read by the arbiter when it checks, and by workers. */
#include "modules/filter/auth_basic/auth_basic.h"

#include "core/os/fd.h"

#include <crypt.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILE_MAX = 16 << 20 };

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct mc_auth_user *) a)->name, ((const struct mc_auth_user *) b)->name);
}

/* One line, without its end. */
static int take(struct mc_auth_users *u, char *line, const char *path, unsigned number, char *err, size_t errcap)
{
    char *colon = strchr(line, ':');
    if (line[0] == '\0' || line[0] == '#') {
        return MC_OK;
    }
    if (colon == NULL || colon == line) {
        snprintf(err, errcap, "%s:%u: expected NAME:HASH", path, number);
        return MC_ERROR;
    }
    *colon = '\0';
    char *hash = colon + 1;
    hash[strcspn(hash, ":")] = '\0'; /* htpasswd allows a comment as a third field */
    int salt = crypt_checksalt(hash);
    if (hash[0] == '\0' || (salt != CRYPT_SALT_OK && salt != CRYPT_SALT_METHOD_LEGACY && salt != CRYPT_SALT_TOO_CHEAP)) {
        snprintf(err, errcap, "%s:%u: the hash of '%.40s' is of no kind that libcrypt knows; make one with htpasswd -B", path, number, line);
        return MC_ERROR;
    }
    u->v[u->n++] = (struct mc_auth_user){ line, hash };
    return MC_OK;
}

static int parse(struct mc_auth_users *u, const char *path, char *err, size_t errcap)
{
    size_t lines = 1;
    for (const char *p = u->text; (p = strchr(p, '\n')); p++) {
        lines++;
    }
    u->v = calloc(lines, sizeof *u->v);
    if (u->v == NULL) {
        snprintf(err, errcap, "out of memory");
        return MC_ERROR;
    }
    unsigned number = 0;
    for (char *line = u->text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next) {
            *next++ = '\0';
        }
        line[strcspn(line, "\r")] = '\0';
        if (take(u, line, path, ++number, err, errcap) != MC_OK) {
            return MC_ERROR;
        }
    }
    qsort(u->v, u->n, sizeof *u->v, by_name);
    for (size_t i = 1; i < u->n; i++) {
        if (strcmp(u->v[i - 1].name, u->v[i].name) == 0) {
            snprintf(err, errcap, "%s: user '%.40s' stands there twice", path, u->v[i].name);
            return MC_ERROR;
        }
    }
    return MC_OK;
}

int mc_auth_users_read(struct mc_auth_users *u, const char *path, char *err, size_t errcap)
{
    size_t n;
    memset(u, 0, sizeof *u);
    if (stat(path, &u->st) != 0 || (u->text = mc_fd_read_file(path, FILE_MAX, &n)) == NULL) {
        snprintf(err, errcap, "%s: %s", path, strerror(errno));
        return MC_ERROR;
    }
    if (parse(u, path, err, errcap) == MC_OK) {
        return MC_OK;
    }
    mc_auth_users_free(u);
    return MC_ERROR;
}

void mc_auth_users_free(struct mc_auth_users *u)
{
    free(u->text);
    free(u->v);
    memset(u, 0, sizeof *u);
}

const char *mc_auth_users_find(const struct mc_auth_users *u, struct mc_str name)
{
    size_t low = 0, high = u->n;
    while (low < high) {
        size_t mid = (low + high) / 2, len = strlen(u->v[mid].name);
        int c = memcmp(u->v[mid].name, name.p, len < name.n ? len : name.n);
        c = c ? c : (len > name.n) - (len < name.n);
        if (c == 0) {
            return u->v[mid].hash;
        }
        if (c < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return NULL;
}
