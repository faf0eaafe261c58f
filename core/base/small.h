/* Small pieces of memory that come and go with every request: size classes with a free list a thread, where malloc() would take its slow way when many are
 * freed at once. */
#ifndef MC_BASE_SMALL_H
#define MC_BASE_SMALL_H

#include "core/base/base.h"

enum { MC_SMALL_MAX = 1000 }; /* more than this is malloc()'s */

/* Uninitialised or zeroed, 16-byte aligned; NULL when out of memory. */
void *mc_small_get(size_t n);
void *mc_small_zero(size_t n);
/* As realloc(). */
void *mc_small_resize(void *p, size_t n);
/* Any thread; NULL is nothing. */
void mc_small_put(void *p);
/* The same for who knows the size when it goes, and keeps very many: nothing stands before it. */
void *mc_small_bare_zero(size_t n);
void mc_small_bare_put(void *p, size_t n);
/* Give what the calling thread keeps back to malloc (thread exit). */
void mc_small_trim(void);

#endif
