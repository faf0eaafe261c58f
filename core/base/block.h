/* Fixed-size memory blocks with a per-thread free list: the only memory of buffers and arenas, so a warm server allocates nothing. */
#ifndef MC_BASE_BLOCK_H
#define MC_BASE_BLOCK_H

#include "core/base/base.h"

/* Under AddressSanitizer every block and every arena allocation is a malloc of its own; -DMC_ARENA_MALLOC asks for it elsewhere. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MC_ARENA_MALLOC 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define MC_ARENA_MALLOC 1
#endif

/* Bytes of memory that a block takes in all. Huge ones are for what streams through: smaller pieces are more system calls, window updates and wake-ups; larger ones leave the cache. */
enum { MC_BLOCK_SMALL = 4096, MC_BLOCK_LARGE = 16384, MC_BLOCK_HUGE = 131072 - 64 /* malloc() would map the rest, each for itself */ };

/* A block of exactly `size` bytes (one of these three), uninitialised, 16-byte aligned; NULL when out of memory. */
void *mc_block_get(size_t size);
void mc_block_put(void *block, size_t size);
/* Give the calling thread's free blocks back to malloc (thread exit, idle trim). */
void mc_block_trim(void);

#endif
