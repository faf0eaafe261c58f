/* Worker type `sync`: a blocking handler runs inline, one at a time; the loop stands still meanwhile and nothing is accepted.
 * Knows nothing of HTTP. Worker side. */
#include "core/base/clock.h"
#include "core/server/conn.h"

#include <errno.h>
#include <poll.h>

static int start(struct mc_worker *w)
{
    (void) w;
    return MC_OK;
}

/* Whenever the loop runs, no handler does. */
static unsigned room(struct mc_worker *w)
{
    (void) w;
    return 1;
}

static void run(struct mc_request *r)
{
    mc_request_run(r);
}

/* client: a slow one is no stuck worker, and send_timeout bounds it. What an app waits for by itself is bounded by `timeout`. */
static int wait_poll(struct mc_worker *w, int fd, unsigned what, uint64_t deadline, bool client)
{
    struct pollfd p = { .fd = fd, .events = (short) ((what & MC_WANT_READ ? POLLIN : 0) | (what & MC_WANT_WRITE ? POLLOUT : 0)) };
    for (;;) {
        uint64_t now = mc_clock_ms();
        if (deadline && now >= deadline) {
            return MC_AGAIN;
        }
        int left = deadline ? (int) (deadline - now < 1000 ? deadline - now : 1000) : 1000;
        if (w->loop.before_sleep) {
            w->loop.before_sleep(w->loop.sleep_data);
        }
        int n = poll(&p, 1, left);
        if (w->loop.after_sleep) {
            w->loop.after_sleep(w->loop.sleep_data);
        }
        if (client) {
            mc_slot_set(w->slot->beat_ms, mc_clock_ms());
        }
        if (n > 0) {
            return p.revents & (client ? POLLERR | POLLNVAL : POLLNVAL) ? MC_ERROR : MC_OK;
        }
        if (n < 0 && errno != EINTR) {
            return MC_ERROR;
        }
    }
}

static int wait_ready(struct mc_request *r, unsigned what, uint64_t deadline)
{
    return wait_poll(r->conn->worker, r->conn->io.fd, what, deadline, true);
}

static int wait_fd(struct mc_request *r, int fd, unsigned what, uint64_t deadline)
{
    return wait_poll(r->conn->worker, fd, what, deadline, false);
}

static void wake(struct mc_request *r)
{
    (void) r;
}

static void stop(struct mc_worker *w)
{
    (void) w;
}

static const struct mc_worker_ops ops = {
    .name = "sync",
    .caps = MC_CAP_BLOCKING,
    .start = start,
    .room = room,
    .run = run,
    .wait = wait_ready,
    .wake = wake,
    .stop = stop,
    .wait_fd = wait_fd,
};

const struct mc_module mc_module_worker_sync = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "sync",
    .kind = MC_MODULE_WORKER,
    .ops.worker = &ops,
    .takes = MC_NEED_BLOCKING | MC_NEED_PYTHON,
};
