/* Shared memory by memfd: sealed against resizing, so that a mapping can never fault because another process cut the file.
 * Values only, no pointers. Made by the arbiter, mapped by workers. */
#include "core/os/shm.h"
#include "core/os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int map(struct mc_shm *s, size_t n, int fd)
{
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return MC_ERROR;
    *s = (struct mc_shm){.p = p, .n = n, .fd = fd};
    return MC_OK;
}

int mc_shm_create(struct mc_shm *s, const char *name, size_t n)
{
    *s = (struct mc_shm){.fd = -1};
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return MC_ERROR;
    if (ftruncate(fd, (off_t)n) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0 && map(s, n, fd) == MC_OK)
        return MC_OK;
    mc_fd_close(&fd);
    return MC_ERROR;
}

int mc_shm_open(struct mc_shm *s, int fd)
{
    struct stat st;
    *s = (struct mc_shm){.fd = -1};
    if (fstat(fd, &st) < 0)
        return MC_ERROR;
    if (!S_ISREG(st.st_mode) || st.st_size <= 0) {
        errno = EINVAL;
        return MC_ERROR;
    }
    return map(s, (size_t)st.st_size, fd);
}

void mc_shm_close(struct mc_shm *s)
{
    if (s->p)
        munmap(s->p, s->n);
    mc_fd_close(&s->fd);
    *s = (struct mc_shm){.fd = -1};
}
