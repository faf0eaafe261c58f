/* Shared memory by memfd: values only, no pointers. */
#ifndef MC_OS_SHM_H
#define MC_OS_SHM_H

#include "core/base/base.h"

struct mc_shm { void *p; size_t n; int fd; };
int mc_shm_create(struct mc_shm *s, const char *name, size_t n); /* zeroed, size sealed */
int mc_shm_open(struct mc_shm *s, int fd);                        /* map an inherited one, whole */
void mc_shm_close(struct mc_shm *s);

#endif
