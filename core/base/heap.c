/* Intrusive 4-ary min-heap: flatter than a binary one, and the four children of a node lie in one cache line.
 * Called by the timers of the event loop. Owns only its vector, never a node. */
#include "core/base/heap.h"

#include <stdlib.h>

enum { ARITY = 4, FIRST_CAP = 16 };

void mc_heap_init(struct mc_heap *h)
{
    *h = (struct mc_heap){0};
}

void mc_heap_fini(struct mc_heap *h)
{
    for (uint32_t i = 0; i < h->n; i++)
        h->v[i]->index = 0;
    free(h->v);
    mc_heap_init(h);
}

static void place(struct mc_heap *h, struct mc_heap_node *node, uint32_t i)
{
    h->v[i] = node;
    node->index = i + 1;
}

static void sift_up(struct mc_heap *h, struct mc_heap_node *node, uint32_t i)
{
    while (i > 0) {
        uint32_t parent = (i - 1) / ARITY;
        if (h->v[parent]->key <= node->key)
            break;
        place(h, h->v[parent], i);
        i = parent;
    }
    place(h, node, i);
}

static uint32_t least_child(const struct mc_heap *h, uint32_t first)
{
    uint32_t end = h->n - first > ARITY ? first + ARITY : h->n, best = first;
    for (uint32_t i = first + 1; i < end; i++) {
        if (h->v[i]->key < h->v[best]->key)
            best = i;
    }
    return best;
}

static void sift_down(struct mc_heap *h, struct mc_heap_node *node, uint32_t i)
{
    for (;;) {
        uint32_t first = i * ARITY + 1;
        if (first >= h->n)
            break;
        uint32_t child = least_child(h, first);
        if (node->key <= h->v[child]->key)
            break;
        place(h, h->v[child], i);
        i = child;
    }
    place(h, node, i);
}

static int grow(struct mc_heap *h)
{
    if (h->cap > UINT32_MAX / (2 * ARITY))
        return MC_ERROR;
    uint32_t cap = h->cap ? h->cap * 2 : FIRST_CAP;
    struct mc_heap_node **v = realloc(h->v, cap * sizeof(*v));
    if (!v)
        return MC_ERROR;
    h->v = v;
    h->cap = cap;
    return MC_OK;
}

int mc_heap_add(struct mc_heap *h, struct mc_heap_node *node, uint64_t key)
{
    MC_ASSERT(node->index == 0);
    if (h->n == h->cap && grow(h) != MC_OK)
        return MC_ERROR;
    node->key = key;
    sift_up(h, node, h->n++);
    return MC_OK;
}

static void settle(struct mc_heap *h, struct mc_heap_node *node, uint32_t i)
{
    if (i > 0 && h->v[(i - 1) / ARITY]->key > node->key)
        sift_up(h, node, i);
    else
        sift_down(h, node, i);
}

void mc_heap_remove(struct mc_heap *h, struct mc_heap_node *node)
{
    if (node->index == 0)
        return;
    uint32_t i = node->index - 1;
    MC_ASSERT(i < h->n && h->v[i] == node);
    node->index = 0;
    struct mc_heap_node *last = h->v[--h->n];
    if (last != node)
        settle(h, last, i);
}

void mc_heap_rekey(struct mc_heap *h, struct mc_heap_node *node, uint64_t key)
{
    uint32_t i = node->index - 1;
    MC_ASSERT(node->index != 0 && i < h->n && h->v[i] == node);
    node->key = key;
    settle(h, node, i);
}
