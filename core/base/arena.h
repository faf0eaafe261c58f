/* Arenas: allocation that is freed as a whole, with cleanups for what is not memory (fds, Python objects, temp files). */
#ifndef MC_BASE_ARENA_H
#define MC_BASE_ARENA_H

#include "core/base/block.h"
#include "core/base/str.h"

struct mc_cleanup {
    struct mc_cleanup *next;
    void (*run)(void *data);
    void *data;
};

struct mc_arena {
    uint32_t magic;
    char *pos, *end;          /* free room of the newest small block */
    void *blocks;             /* chain of MC_BLOCK_SMALL blocks, newest first */
    void *big;                /* chain of pieces of their own (requests over 1 KiB that do not fit) */
    struct mc_cleanup *cleanups; /* newest first: they run in reverse order of registration */
};

/* Takes no memory until the first allocation. */
void mc_arena_init(struct mc_arena *a);
/* Run the cleanups (newest first), then free everything. The arena may be used again after mc_arena_init(). */
void mc_arena_fini(struct mc_arena *a);

/* 16-byte aligned, uninitialised; NULL when out of memory. With MC_ARENA_MALLOC (block.h) each call is one malloc. */
void *mc_arena_alloc(struct mc_arena *a, size_t n);
void *mc_arena_calloc(struct mc_arena *a, size_t n);
/* Copy; the result is also NUL-terminated (the NUL is not counted). p == NULL when out of memory. */
struct mc_str mc_arena_dup(struct mc_arena *a, struct mc_str s);
char *mc_arena_strdup(struct mc_arena *a, const char *z);
char *mc_arena_printf(struct mc_arena *a, const char *fmt, ...) MC_PRINTF(2, 3);

/* Register a cleanup; MC_OK, or MC_ERROR when out of memory (nothing was registered: the caller still owns). */
int mc_arena_cleanup(struct mc_arena *a, void (*run)(void *), void *data);

#endif
