/* Shared memory of the configuration's zones: one memfd, each zone at its offset. Knows nothing of their contents. Arbiter and worker side. */
#include "core/config/zone.h"

#include "core/os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

enum { ALIGN = 64 };

struct mc_conf_zone *mc_zone_declare(struct mc_conf *c, const char *name, const void *owner, size_t size, char *err, size_t errcap)
{
    struct mc_conf_zone **tail = &c->zones, *z;
    size_t end = 0;
    size = (size + sizeof(struct mc_zone_head) + ALIGN - 1) / ALIGN * ALIGN;
    for (z = c->zones; z; tail = &z->next, z = z->next) {
        end = z->offset + z->size;
        if (z->owner != owner || strcmp(z->name, name) != 0)
            continue;
        if (z->size == size)
            return z;
        snprintf(err, errcap, "zone '%.80s' has another size elsewhere", name);
        return NULL;
    }
    z = mc_arena_calloc(&c->arena, sizeof *z);
    if (!z || !(z->name = mc_arena_strdup(&c->arena, name))) {
        snprintf(err, errcap, "out of memory");
        return NULL;
    }
    z->owner = owner;
    z->size = size;
    z->offset = end;
    *tail = z;
    return z;
}

static size_t total(const struct mc_conf *c)
{
    size_t n = 0;
    for (const struct mc_conf_zone *z = c->zones; z; z = z->next)
        n = z->offset + z->size;
    return n;
}

void *mc_zone_memory(const struct mc_conf *c, const struct mc_conf_zone *z)
{
    return c->zone_memory ? (char *)c->zone_memory + z->offset : NULL;
}

int mc_zone_create(struct mc_conf *c, struct mc_shm *shm)
{
    size_t n = total(c);
    *shm = (struct mc_shm){.fd = -1};
    if (n == 0)
        return MC_OK;
    if (mc_shm_create(shm, "monoceros-zones", n) != MC_OK)
        return MC_ERROR;
    for (const struct mc_conf_zone *z = c->zones; z; z = z->next) {
        struct mc_zone_head *head = (void *)((char *)shm->p + z->offset);
        if (getrandom(head->key, sizeof head->key, 0) != (ssize_t)sizeof head->key) {
            mc_shm_close(shm);
            return MC_ERROR;
        }
    }
    c->zone_memory = shm->p;
    return MC_OK;
}

static bool same_zones(const struct mc_conf *a, const struct mc_conf *b)
{
    const struct mc_conf_zone *x = a->zones, *y = b->zones;
    for (; x && y; x = x->next, y = y->next) {
        if (x->owner != y->owner || x->size != y->size || strcmp(x->name, y->name) != 0)
            return false;
    }
    return !x && !y;
}

int mc_zone_share(struct mc_conf *c, const struct mc_conf *older, const struct mc_shm *from, struct mc_shm *shm)
{
    *shm = (struct mc_shm){.fd = -1};
    if (!same_zones(c, older))
        return MC_DECLINED;
    if (!c->zones)
        return MC_OK;
    int fd = fcntl(from->fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return MC_ERROR;
    if (mc_shm_open(shm, fd) != MC_OK) {
        mc_fd_close(&fd);
        return MC_ERROR;
    }
    c->zone_memory = shm->p;
    return MC_OK;
}

int mc_zone_open(struct mc_conf *c, int fd)
{
    struct mc_shm shm;
    size_t n = total(c);
    if (n == 0)
        return MC_OK;
    if (mc_shm_open(&shm, fd) != MC_OK)
        return MC_ERROR;
    if (shm.n < n) {
        mc_shm_close(&shm);
        errno = EINVAL;
        return MC_ERROR;
    }
    c->zone_memory = shm.p; /* the mapping is enough, and stays as long as the process */
    mc_fd_close(&shm.fd);
    return MC_OK;
}
