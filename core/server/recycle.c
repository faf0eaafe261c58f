/* When a worker is to be replaced: after so many requests, at a size, at an age, or with a request that is stuck. It only asks; the arbiter
 * starts the successor first. Worker side, on the loop. */
#include "core/os/fd.h"
#include "core/server/engine.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>
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

/* What the scoreboard tells of this process. Returns its size. */
static int64_t measure(struct mc_worker *w)
{
    struct timespec t = { 0, 0 };
    uint64_t before = mc_slot_get(w->slot->cpu_us), wall = w->loop.now - w->measured;
    int64_t size = resident();
    (void) clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    uint64_t now = (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
    if (wall > 0 && now >= before) { /* a microsecond in a millisecond: a thousandth */
        mc_slot_set(w->slot->load, (uint32_t) ((now - before) / wall));
    }
    w->measured = w->loop.now;
    mc_slot_set(w->slot->cpu_us, now);
    mc_slot_set(w->slot->rss, (uint64_t) size);
    return size;
}

void mc_recycle_init(struct mc_worker *w)
{
    w->opened = w->loop.now;
    w->retire_requests = retire_at(w);
    (void) measure(w);
    mc_slot_set(w->slot->load, 0); /* of the birth: no load */
    mc_slot_set(w->slot->places, w->loop_only ? 0 : w->ops->room(w));
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

void mc_recycle_check(struct mc_worker *w)
{
    const struct mc_values *set = &w->pool->set;
    int64_t size = measure(w);
    if (w->recycling || w->draining) {
        return;
    }
    if (set->max_lifetime > 0 && w->loop.now >= w->opened + (uint64_t) set->max_lifetime) {
        mc_worker_recycle(w, "max_lifetime");
    } else if (set->max_rss > 0 && size > set->max_rss) {
        mc_worker_recycle(w, "max_rss");
    }
}
