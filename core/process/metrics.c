/* What only the arbiter can count, for log modules: workers, and connections that wait to be accepted. Once a second. Never reads a client socket.
 * Called by the arbiter's loop. */
#include "core/process/arbiter.h"
#include "core/server/sinks.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

enum { EVERY_MS = 1000 };

/* Of a listener the kernel tells the length of its queue here. Unix sockets say nothing. */
static int64_t queue_of(int fd)
{
    struct tcp_info info;
    socklen_t n = sizeof(info);
    return fd >= 0 && getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) == 0 ? info.tcpi_unacked : 0;
}

static int64_t backlog(const struct mc_generation *g)
{
    int64_t sum = 0;
    for (size_t i = 0; i < g->conf->nlistens; i++)
        sum += queue_of(g->listen_fds[i]);
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
