/* The nameplate's memory: made by an arbiter, found by others in /proc/PID/fd under its name. A reader trusts nothing but its bounds.
 * Used by the arbiter, and by monoceros --upgrade. */
#include "core/process/plate.h"
#include "core/base/str.h"
#include "core/os/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VERSION = 1, MAX_WORDS = 1 << 22, MAX_COUNT = 1 << 16 };
#define MAGIC 0x4d43504cu
#define NAME  "monoceros-plate"

static uint32_t add_words(struct mc_sb *text, char *const *words)
{
    uint32_t n = 0;
    for (; words && words[n]; n++)
        mc_sb_add(text, words[n], strlen(words[n]) + 1);
    return n;
}

int mc_plate_make(struct mc_plate *p, pid_t pid, const struct mc_plate_words *w)
{
    struct mc_sb text;
    *p = (struct mc_plate){.shm.fd = -1};
    mc_sb_init(&text, MAX_WORDS);
    mc_sb_add(&text, w->program, strlen(w->program) + 1);
    mc_sb_add(&text, w->dir, strlen(w->dir) + 1);
    uint32_t argc = add_words(&text, w->argv), envc = add_words(&text, w->env);
    int rc = text.bad ? MC_ERROR : mc_shm_create(&p->shm, NAME, sizeof(*p->head) + text.n);
    if (rc == MC_OK) {
        p->head = p->shm.p;
        p->head->version = VERSION;
        p->head->argc = argc;
        p->head->envc = envc;
        memcpy((char *)p->shm.p + sizeof(*p->head), text.p, text.n);
        atomic_store(&p->head->pid, (int32_t)pid);
        p->head->magic = MAGIC;
    }
    mc_sb_fini(&text);
    return rc;
}

/* Read only: what we find is another's. */
static int map(struct mc_plate *p, int fd, pid_t pid)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    /* One that can be cut would end its reader. */
    if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &st) < 0 || (size_t)st.st_size < sizeof(*p->head))
        return MC_DECLINED;
    void *at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return MC_ERROR;
    *p = (struct mc_plate){.shm = {.p = at, .n = (size_t)st.st_size, .fd = -1}, .head = at};
    /* A child between its fork and what follows has its parent's. */
    if (p->head->magic == MAGIC && p->head->version == VERSION && atomic_load(&p->head->pid) == (int32_t)pid)
        return MC_OK;
    mc_plate_close(p);
    return MC_DECLINED;
}

static int try(struct mc_plate *p, int dir, const char *name, pid_t pid)
{
    char target[64];
    ssize_t n = readlinkat(dir, name, target, sizeof(target) - 1);
    if (n <= 0)
        return MC_DECLINED;
    target[n] = '\0';
    if (strncmp(target, "/memfd:" NAME, sizeof("/memfd:" NAME) - 1) != 0)
        return MC_DECLINED;
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return MC_ERROR;
    int rc = map(p, fd, pid);
    mc_fd_close(&fd);
    return rc;
}

int mc_plate_find(struct mc_plate *p, pid_t pid)
{
    char path[64];
    int rc = MC_DECLINED;
    *p = (struct mc_plate){.shm.fd = -1};
    snprintf(path, sizeof(path), "/proc/%ld/fd", (long)pid);
    DIR *dir = opendir(path);
    if (!dir) {
        if (errno == ENOENT)
            errno = ESRCH;
        return MC_ERROR;
    }
    for (struct dirent *e; rc == MC_DECLINED && (e = readdir(dir)) != NULL;)
        rc = e->d_name[0] == '.' ? MC_DECLINED : try(p, dirfd(dir), e->d_name, pid);
    int why = errno;
    closedir(dir);
    errno = why;
    return rc;
}

/* The next word, or NULL: there is none that ends within the mapping. */
static char *next(char **at, const char *end)
{
    char *word = *at, *nul = word < end ? memchr(word, '\0', (size_t)(end - word)) : NULL;
    if (nul)
        *at = nul + 1;
    return nul ? word : NULL;
}

static char **list(char **at, const char *end, uint32_t n)
{
    char **v = n <= MAX_COUNT ? calloc((size_t)n + 1, sizeof(*v)) : NULL;
    for (uint32_t i = 0; v && i < n; i++) {
        v[i] = next(at, end);
        if (!v[i]) {
            free(v);
            return NULL;
        }
    }
    return v;
}

int mc_plate_read(const struct mc_plate *p, struct mc_plate_words *w)
{
    char *at = (char *)p->shm.p + sizeof(*p->head), *end = (char *)p->shm.p + p->shm.n;
    *w = (struct mc_plate_words){.program = next(&at, end)};
    w->dir = next(&at, end);
    w->argv = w->dir ? list(&at, end, p->head->argc) : NULL;
    w->env = w->argv ? list(&at, end, p->head->envc) : NULL;
    if (w->env && w->argv[0])
        return MC_OK;
    mc_plate_free_words(w);
    return MC_ERROR;
}

void mc_plate_free_words(struct mc_plate_words *w)
{
    free(w->argv);
    free(w->env);
    *w = (struct mc_plate_words){.program = NULL};
}

void mc_plate_close(struct mc_plate *p)
{
    p->head = NULL;
    mc_shm_close(&p->shm);
}
