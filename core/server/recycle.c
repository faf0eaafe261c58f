/* When a worker is to be replaced: after so many requests, at a size, at an age, or with a request that is stuck. It only asks; the arbiter
 * starts the successor first. Worker side, on the loop. */
#include "core/os/fd.h"
#include "core/server/engine.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

static uint64_t retire_at(const struct mc_worker *w)
{
    const struct mc_values *set = &w->pool->set;
    uint32_t chance = 0;
    if (set->max_requests <= 0) {
        return 0;
    }
    if (set->max_requests_jitter > 0 && getrandom(&chance, sizeof chance, 0) != sizeof chance) {
        chance = (uint32_t) getpid();
    }
    return (uint64_t) set->max_requests + (set->max_requests_jitter > 0 ? chance % ((uint64_t) set->max_requests_jitter + 1) : 0);
}

void mc_recycle_init(struct mc_worker *w)
{
    w->opened = w->loop.now;
    w->retire_requests = retire_at(w);
}

void mc_worker_recycle(struct mc_worker *w, const char *why)
{
    if (w->recycling || w->draining) {
        return;
    }
    w->recycling = true;
    if (w->recycle) {
        w->recycle(why);
    } else {
        mc_worker_retire(w);
    }
}

/* Resident set of this process, bytes. */
static int64_t resident(void)
{
    char text[64];
    long pages = 0;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    mc_fd_close(&fd);
    if (n > 0) {
        text[n] = '\0';
        (void) sscanf(text, "%*s %ld", &pages);
    }
    return (int64_t) pages * sysconf(_SC_PAGESIZE);
}

void mc_recycle_check(struct mc_worker *w)
{
    const struct mc_values *set = &w->pool->set;
    if (w->recycling || w->draining) {
        return;
    }
    if (set->max_lifetime > 0 && w->loop.now >= w->opened + (uint64_t) set->max_lifetime) {
        mc_worker_recycle(w, "max_lifetime");
    } else if (set->max_rss > 0 && resident() > set->max_rss) {
        mc_worker_recycle(w, "max_rss");
    }
}
