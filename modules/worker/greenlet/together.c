/* Several functions of one request at the same time: each is a task of its own, a part of the request, which waits until all have ended. The parts
 * are started by the loop, as coroutines never resume each other. Knows nothing of what the functions do. */
#include "modules/worker/greenlet/greenlet.h"

#include <stdlib.h>

/* On the stack of the task that waits. */
struct mc_greenlet_group {
    struct mc_greenlet_task *whole;
    void (*fn)(void *);
    size_t left;
};

struct part {
    struct mc_greenlet_task task;
    void *arg;
};

static void run_part(void *p)
{
    struct part *part = p;
    part->task.group->fn(part->arg);
    mc_greenlet_task_fini(&part->task);
}

void mc_greenlet_part_done(struct mc_greenlet_group *group)
{
    if (--group->left == 0) {
        mc_greenlet_wake(group->whole);
    }
}

static bool begin(struct mc_greenlet_group *group, struct part *part, void *arg)
{
    struct mc_greenlet_task *t = group->whole;
    struct mc_coro *co = mc_coro_new(&t->g->stacks, run_part, part);
    if (co == NULL) {
        return false;
    }
    mc_greenlet_task_init(&part->task, t->g, co, t->request);
    part->task.group = group;
    part->arg = arg;
    group->left++;
    mc_greenlet_wake(&part->task);
    return true;
}

void mc_greenlet_together(struct mc_greenlet_task *t, void (*fn)(void *), void *const *args, size_t n)
{
    struct mc_greenlet_group group = { .whole = t, .fn = fn };
    size_t parts = n > 1 && !t->g->cut ? n - 1 : 0, begun = 0; /* in a worker that stops nothing is started any more */
    struct part *part = parts ? calloc(parts, sizeof *part) : NULL;
    while (part && begun < parts && begin(&group, &part[begun], args[1 + begun])) {
        begun++;
    }
    for (size_t i = 0; i < n; i = i == 0 ? 1 + begun : i + 1) {
        fn(args[i]);
    }
    while (group.left > 0) {
        mc_greenlet_park(t);
    }
    free(part);
}
