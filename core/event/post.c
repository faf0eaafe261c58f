/* Posts: "do this at the end of the turn", queued at most once. Called on the thread that runs the loop. */
#include "core/event/loop.h"

void mc_post_init(struct mc_post *p, void (*fn)(struct mc_post *), void *data)
{
    *p = (struct mc_post){.fn = fn, .data = data};
}

void mc_post_add(struct mc_loop *l, struct mc_post *p)
{
    if (!mc_link_linked(&p->link))
        mc_list_push(&l->posts, &p->link);
}

void mc_post_remove(struct mc_post *p)
{
    mc_list_remove(&p->link);
}
