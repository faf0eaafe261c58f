/* Memory blocks of three sizes with a free list a thread. A block may be freed by another thread than the one that took it: it joins
 * the list of the thread that frees it. The lists are bounded, so a burst gives its memory back.
 * Called by arenas and chains; every process of the server, any thread. Takes no lock. */
#include "core/base/block.h"

#include <stdlib.h>

/* With MC_ARENA_MALLOC (sanitized builds) nothing is kept, so that a use after free is seen. */
#ifdef MC_ARENA_MALLOC
enum { KEEP_SMALL = 0, KEEP_LARGE = 0, KEEP_HUGE = 0 };
#else
enum { KEEP_SMALL = 256, KEEP_LARGE = 64, KEEP_HUGE = 8 };
#endif

struct node {
    struct node *next;
};

struct pool {
    struct node *free;
    unsigned n, keep;
};

static _Thread_local struct pool small = {.keep = KEEP_SMALL}, large = {.keep = KEEP_LARGE}, huge = {.keep = KEEP_HUGE};

static struct pool *pool_of(size_t size)
{
    if (size == MC_BLOCK_SMALL)
        return &small;
    if (size == MC_BLOCK_LARGE)
        return &large;
    MC_ASSERT(size == MC_BLOCK_HUGE);
    return &huge;
}

void *mc_block_get(size_t size)
{
    struct pool *p = pool_of(size);
    struct node *b = p->free;
    if (!b)
        return malloc(size);
    p->free = b->next;
    p->n--;
    return b;
}

void mc_block_put(void *block, size_t size)
{
    struct pool *p = pool_of(size);
    if (!block)
        return;
    if (p->n >= p->keep) {
        free(block);
        return;
    }
    struct node *b = block;
    b->next = p->free;
    p->free = b;
    p->n++;
}

static void empty(struct pool *p)
{
    while (p->free) {
        struct node *b = p->free;
        p->free = b->next;
        free(b);
    }
    p->n = 0;
}

void mc_block_trim(void)
{
    empty(&small);
    empty(&large);
    empty(&huge);
}
