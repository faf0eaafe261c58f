/* Zones: shared memory that modules declare in the configuration, such as rate limits; all workers of all pools see the same bytes. Made by the arbiter
 * before the first worker, zeroed but for its head. Values only, no pointers: who reads checks bounds, and a worker may die at any instruction. */
#ifndef MC_CONFIG_ZONE_H
#define MC_CONFIG_ZONE_H

#include "core/config/conf.h"
#include "core/os/shm.h"

struct mc_zone_head {
    uint64_t key[2]; /* random, the same in all workers: for hashes that a client cannot aim at */
    char pad[48];
};

struct mc_conf_zone {
    struct mc_conf_zone *next;
    const char *name;
    const void *owner; /* who declared it: a zone is not shared between modules */
    size_t size;       /* with its head */
    size_t offset;
};

/* For a section's check(), in the arbiter and again in each child: the same calls in the same order. A zone that the owner has declared before under this name is
 * shared when the sizes agree. NULL with err. */
struct mc_conf_zone *mc_zone_declare(struct mc_conf *c, const char *name, const void *owner, size_t size, char *err, size_t errcap);
/* Its memory in this process: begins with a struct mc_zone_head. NULL in a process that has none (the check of a configuration, tests). */
void *mc_zone_memory(const struct mc_conf *c, const struct mc_conf_zone *z);

/* ---- for core/process ---- */
/* Make the memory of all zones (shm->fd is -1 when there is none), and let this process and those forked from it see it. MC_OK or MC_ERROR with errno. */
int mc_zone_create(struct mc_conf *c, struct mc_shm *shm);
/* For a reload: the memory that an older configuration has, when its zones are the same ones. MC_OK; MC_DECLINED: they are not; MC_ERROR with errno. */
int mc_zone_share(struct mc_conf *c, const struct mc_conf *older, const struct mc_shm *from, struct mc_shm *shm);
/* In an exec'd child: map an inherited one, closing fd. */
int mc_zone_open(struct mc_conf *c, int fd);

#endif
