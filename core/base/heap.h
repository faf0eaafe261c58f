/* Intrusive 4-ary min-heap keyed by uint64_t; nodes know their place, so removal is O(log n). */
#ifndef MC_BASE_HEAP_H
#define MC_BASE_HEAP_H

#include "core/base/base.h"

struct mc_heap_node {
    uint64_t key;
    uint32_t index; /* place + 1; 0 = not in a heap */
};
struct mc_heap {
    struct mc_heap_node **v;
    uint32_t n, cap;
};
void mc_heap_init(struct mc_heap *h);
void mc_heap_fini(struct mc_heap *h);
int mc_heap_add(struct mc_heap *h, struct mc_heap_node *node, uint64_t key); /* MC_OK, or MC_ERROR: out of memory */
void mc_heap_remove(struct mc_heap *h, struct mc_heap_node *node);          /* nothing when not in */
void mc_heap_rekey(struct mc_heap *h, struct mc_heap_node *node, uint64_t key);
static inline struct mc_heap_node *mc_heap_min(const struct mc_heap *h) { return h->n ? h->v[0] : NULL; }

#endif
