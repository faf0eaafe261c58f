/* What only the arbiter can count, for log modules: workers, and connections that wait to be accepted. Once a second. Never reads a client socket.
 * Called by the arbiter's loop. */
#include "core/process/arbiter.h"
#include "core/server/sinks.h"

enum { EVERY_MS = 1000 };

static int64_t backlog(const struct mc_generation *g)
{
    int64_t sum = 0;
    for (size_t i = 0; g->conf->set.enable_backlog_metric && i < g->conf->nlistens; i++) {
        int n = mc_socket_backlog(g->listen_fds[i]);
        sum += n > 0 ? n : 0;
    }
    return g->conf->set.enable_backlog_metric ? sum : -1;
}

void mc_metrics_tend(struct mc_arbiter *a)
{
    unsigned live = 0;
    if (a->metrics_ms > a->loop.now)
        return;
    a->metrics_ms = a->loop.now + EVERY_MS;
    for (unsigned i = 0; i < a->nkids; i++)
        live += a->kids[i].slot && mc_kid_live(&a->kids[i]);
    mc_sinks_gauges(live, backlog(a->gen));
    mc_sinks_tick();
}
