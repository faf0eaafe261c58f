/* Intrusive doubly linked list with a head node. */
#ifndef MC_BASE_LIST_H
#define MC_BASE_LIST_H

#include "core/base/base.h"

struct mc_link {
    struct mc_link *prev, *next;
};

static inline void mc_list_init(struct mc_link *h) { h->prev = h->next = h; }
static inline bool mc_list_empty(const struct mc_link *h) { return h->next == h; }
static inline bool mc_link_linked(const struct mc_link *l) { return l->next != NULL; }
static inline void mc_list_push(struct mc_link *h, struct mc_link *l) /* at the tail */
{
    l->prev = h->prev; l->next = h; h->prev->next = l; h->prev = l;
}
static inline void mc_list_push_front(struct mc_link *h, struct mc_link *l)
{
    l->next = h->next; l->prev = h; h->next->prev = l; h->next = l;
}
/* Removing an unlinked node (zeroed or removed before) does nothing. */
static inline void mc_list_remove(struct mc_link *l)
{
    if (l->next) { l->prev->next = l->next; l->next->prev = l->prev; l->next = l->prev = NULL; }
}
static inline struct mc_link *mc_list_pop(struct mc_link *h)
{
    struct mc_link *l = h->next;
    if (l == h) return NULL;
    mc_list_remove(l);
    return l;
}
/* All of `from` to the end of h. */
static inline void mc_list_move(struct mc_link *h, struct mc_link *from)
{
    if (mc_list_empty(from)) return;
    from->next->prev = h->prev; h->prev->next = from->next;
    from->prev->next = h; h->prev = from->prev;
    mc_list_init(from);
}
/* `next` is taken before the body runs, so the body may remove l. */
#define mc_list_each(h, l, nx) for ((l) = (h)->next, (nx) = (l)->next; (l) != (h); (l) = (nx), (nx) = (l)->next)

#endif
