/* Watches the directories of cached files with inotify, so that a change shows at once. What it cannot see (links further up, network file
 * systems, its own limits) the cache's time sees. Owns one inotify descriptor of the worker. Worker side, on the loop. */
#include "modules/handler/static/static.h"

#include "core/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { WATCHES_MAX = 4096, READS_MAX = 16 };

static struct mc_static_watch **bucket(struct mc_static_watches *w, int wd)
{
    return &w->table[(unsigned)wd % MC_COUNT(w->table)];
}

static struct mc_static_watch *find(struct mc_static_watches *w, int wd)
{
    struct mc_static_watch *d = *bucket(w, wd);
    while (d && d->wd != wd)
        d = d->next;
    return d;
}

static void unlink_watch(struct mc_static_watches *w, struct mc_static_watch *d)
{
    struct mc_static_watch **at = bucket(w, d->wd);
    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    d->wd = -1;
    w->n--;
}

static void note(struct mc_static_watches *w, const struct inotify_event *ev)
{
    struct mc_static_watch *d = ev->wd >= 0 ? find(w, ev->wd) : NULL;
    if (ev->mask & IN_Q_OVERFLOW)
        w->lost++;
    if (!d)
        return;
    d->changes++;
    if (ev->mask & IN_IGNORED)
        unlink_watch(w, d); /* whoever holds it lets go in time */
}

static void on_events(struct mc_io *io)
{
    struct mc_static_watches *w = io->data;
    _Alignas(struct inotify_event) char buf[4096];
    for (int i = 0; i < READS_MAX; i++) {
        ssize_t n = read(io->fd, buf, sizeof buf);
        if (n <= 0)
            return;
        for (char *p = buf; p < buf + n;) {
            const struct inotify_event *ev = (const struct inotify_event *)(void *)p;
            note(w, ev);
            p += sizeof *ev + ev->len;
        }
    }
}

void mc_static_watch_open(struct mc_static_watches *w, struct mc_loop *loop)
{
    *w = (struct mc_static_watches){.loop = loop};
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    mc_io_init(&w->io, fd, on_events, w);
    w->io.level = true;
    if (fd >= 0 && mc_io_watch(loop, &w->io, MC_WANT_READ) == MC_OK)
        return;
    mc_info("static: no inotify (%s): changed files are noticed by time", strerror(errno));
    if (fd >= 0)
        close(fd);
    w->io.fd = -1;
}

void mc_static_watch_close(struct mc_static_watches *w)
{
    if (w->io.fd < 0)
        return;
    mc_io_unwatch(w->loop, &w->io);
    close(w->io.fd);
    w->io.fd = -1;
}

struct mc_static_watch *mc_static_watch_get(struct mc_static_watches *w, int dirfd)
{
    char path[32];
    if (w->io.fd < 0 || dirfd < 0 || w->n >= WATCHES_MAX)
        return NULL;
    snprintf(path, sizeof path, "/proc/self/fd/%d", dirfd);
    int wd = inotify_add_watch(w->io.fd, path,
                               IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF |
                                   IN_MOVE_SELF | IN_ONLYDIR);
    if (wd < 0)
        return NULL;
    struct mc_static_watch *d = find(w, wd);
    if (!d) {
        d = calloc(1, sizeof *d);
        if (!d) {
            inotify_rm_watch(w->io.fd, wd);
            return NULL;
        }
        d->wd = wd;
        d->next = *bucket(w, wd);
        *bucket(w, wd) = d;
        w->n++;
    }
    d->refs++;
    return d;
}

void mc_static_watch_put(struct mc_static_watches *w, struct mc_static_watch **d)
{
    struct mc_static_watch *gone = *d;
    *d = NULL;
    if (!gone || --gone->refs > 0)
        return;
    if (gone->wd >= 0) {
        int wd = gone->wd;
        unlink_watch(w, gone);
        if (w->io.fd >= 0)
            inotify_rm_watch(w->io.fd, wd);
    }
    free(gone);
}
