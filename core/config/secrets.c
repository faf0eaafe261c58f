/* Secrets: entries of a name and bytes in one piece of memory, which is wiped before it is freed; and their way through a memfd.
 * An entry is two lengths (4 bytes each, as this machine has them), the name, the bytes. Both sides. */
#include "core/config/secrets.h"

#include "core/os/fd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD = 8, MAX_FILE = 4 << 20, MAX_ALL = 64 << 20 };
static const unsigned char magic[HEAD] = "mcsecr1";

static int make_room(struct mc_secrets *s, size_t n)
{
    size_t want = s->n + n, cap = s->cap ? s->cap : 16384;
    if (want <= s->cap)
        return MC_OK;
    while (cap < want)
        cap *= 2;
    unsigned char *p = cap <= MAX_ALL ? malloc(cap) : NULL;
    if (!p) {
        errno = ENOMEM;
        return MC_ERROR;
    }
    if (s->n)
        memcpy(p, s->p, s->n);
    if (s->p)
        explicit_bzero(s->p, s->n);
    free(s->p);
    s->p = p;
    s->cap = cap;
    return MC_OK;
}

static void put_length(unsigned char *to, size_t n)
{
    uint32_t v = (uint32_t)n;
    memcpy(to, &v, sizeof(v));
}

static size_t get_length(const unsigned char *from)
{
    uint32_t v;
    memcpy(&v, from, sizeof(v));
    return v;
}

bool mc_secrets_next(const struct mc_secrets *s, size_t *at, struct mc_str *name, struct mc_str *out)
{
    size_t left = s->n - *at;
    if (left < HEAD)
        return false;
    const unsigned char *p = s->p + *at;
    size_t n = get_length(p), m = get_length(p + 4);
    if (n > left - HEAD || m > left - HEAD - n)
        return false;
    *name = (struct mc_str){(const char *)p + HEAD, n};
    *out = (struct mc_str){(const char *)p + HEAD + n, m};
    *at += HEAD + n + m;
    return true;
}

bool mc_secrets_get(const struct mc_secrets *s, const char *name, struct mc_str *out)
{
    struct mc_str found;
    for (size_t at = 0; mc_secrets_next(s, &at, &found, out);) {
        if (mc_str_eq(found, mc_str(name)))
            return true;
    }
    *out = MC_STR_NONE;
    return false;
}

int mc_secrets_add(struct mc_secrets *s, const char *name, const void *p, size_t n)
{
    struct mc_str there;
    size_t len = strlen(name);
    if (mc_secrets_get(s, name, &there))
        return MC_OK;
    if (n > MAX_ALL || make_room(s, HEAD + len + n) != MC_OK)
        return MC_ERROR;
    unsigned char *to = s->p + s->n;
    put_length(to, len);
    put_length(to + 4, n);
    memcpy(to + HEAD, name, len);
    if (n)
        memcpy(to + HEAD + len, p, n);
    s->n += HEAD + len + n;
    return MC_OK;
}

int mc_secrets_add_file(struct mc_secrets *s, const struct mc_conf *conf, const char *path)
{
    char full[4096];
    struct mc_str there;
    size_t n = 0;
    if (mc_secrets_get(s, path, &there))
        return MC_OK;
    int len = snprintf(full, sizeof(full), "%s%s%s", path[0] == '/' ? "" : conf->cwd, path[0] == '/' ? "" : "/", path);
    if (len < 0 || (size_t)len >= sizeof(full)) {
        errno = ENAMETOOLONG;
        return MC_ERROR;
    }
    char *text = mc_fd_read_file(full, MAX_FILE, &n);
    if (!text)
        return MC_ERROR;
    int rc = mc_secrets_add(s, path, text, n);
    explicit_bzero(text, n);
    free(text);
    return rc;
}

bool mc_secrets_equal(const struct mc_secrets *a, const struct mc_secrets *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->p, b->p, a->n) == 0);
}

int mc_secrets_memfd(const struct mc_secrets *s)
{
    unsigned char *all = malloc(HEAD + s->n);
    if (!all)
        return -1;
    memcpy(all, magic, HEAD);
    if (s->n)
        memcpy(all + HEAD, s->p, s->n);
    int fd = mc_fd_memfd("monoceros-secrets", all, HEAD + s->n, true);
    explicit_bzero(all, HEAD + s->n);
    free(all);
    return fd;
}

static int read_all(int fd, void *p, size_t n, off_t at)
{
    for (size_t got = 0; got < n;) {
        ssize_t r = pread(fd, (char *)p + got, n - got, at + (off_t)got);
        if (r == 0)
            errno = EBADMSG;
        if (r == 0 || (r < 0 && errno != EINTR))
            return MC_ERROR;
        got += r > 0 ? (size_t)r : 0;
    }
    return MC_OK;
}

static bool well_formed(const struct mc_secrets *s)
{
    struct mc_str name, out;
    size_t at = 0;
    while (mc_secrets_next(s, &at, &name, &out))
        continue;
    return at == s->n;
}

int mc_secrets_load(struct mc_secrets *s, int fd)
{
    struct stat st;
    unsigned char head[HEAD];
    *s = (struct mc_secrets){0};
    if (fstat(fd, &st) < 0 || read_all(fd, head, HEAD, 0) != MC_OK)
        return MC_ERROR;
    if (memcmp(head, magic, HEAD) != 0 || st.st_size < HEAD || st.st_size > MAX_ALL + HEAD) {
        errno = EBADMSG;
        return MC_ERROR;
    }
    size_t n = (size_t)st.st_size - HEAD;
    if (n == 0)
        return MC_OK;
    if (make_room(s, n) != MC_OK || read_all(fd, s->p, n, HEAD) != MC_OK) {
        mc_secrets_wipe(s);
        return MC_ERROR;
    }
    s->n = n;
    if (well_formed(s))
        return MC_OK;
    mc_secrets_wipe(s);
    errno = EBADMSG;
    return MC_ERROR;
}

void mc_secrets_wipe(struct mc_secrets *s)
{
    if (s->p)
        explicit_bzero(s->p, s->cap);
    free(s->p);
    *s = (struct mc_secrets){0};
}
