/* Worker type `epoll`: loop handlers only. Nothing blocks, so the loop is all there is, or that of an interpreter, which turns ours (worker.h, drive);
 * a pool with a blocking app is refused when the configuration is read. Worker side. */
#include "core/server/worker.h"

static int start(struct mc_worker *w)
{
    MC_ASSERT(w->loop_only);
    return MC_OK;
}

static unsigned room(struct mc_worker *w)
{
    (void) w;
    return 1;
}

static void stop(struct mc_worker *w)
{
    (void) w;
}

static const struct mc_worker_ops ops = {
    .name = "epoll",
    .caps = MC_CAP_KEEPALIVE,
    .start = start,
    .room = room,
    .stop = stop,
};

const struct mc_module mc_module_worker_epoll = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "epoll",
    .kind = MC_MODULE_WORKER,
    .ops.worker = &ops,
    .takes = MC_NEED_PYTHON | MC_NEED_ITS_LOOP,
};
