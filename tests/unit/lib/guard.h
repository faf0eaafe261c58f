/* Memory that ends exactly at a page nobody may touch: one byte read too far is a SIGSEGV in any build. */
#ifndef MC_TEST_GUARD_H
#define MC_TEST_GUARD_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct guard {
    char *p; /* n bytes, the next one is out of bounds */
    size_t n;
    void *map;
    size_t map_n;
};

/* p may be NULL: the memory is zero then. */
static inline struct guard guard_new(const void *p, size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), data = (n + page - 1) / page * page;
    struct guard g = {.n = n, .map_n = data + page};
    g.map = mmap(NULL, g.map_n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (g.map == MAP_FAILED || mprotect((char *)g.map + data, page, PROT_NONE) != 0)
        abort();
    g.p = (char *)g.map + data - n;
    if (p && n)
        memcpy(g.p, p, n);
    return g;
}

static inline void guard_free(struct guard *g)
{
    munmap(g->map, g->map_n);
    g->p = NULL;
}

#endif
