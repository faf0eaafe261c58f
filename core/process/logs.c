/* The log files: the arbiter opens them (as root, before anyone drops privileges) and hands the descriptors down, at start and on USR1.
 * Never writes to the access log. Called by the arbiter. */
#include "core/os/fd.h"
#include "core/process/arbiter.h"
#include "core/server/sinks.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int open_one(const struct mc_generation *g, const char *path, int std)
{
    char full[PATH_MAX];
    bool inside = path[0] != '/' && strcmp(path, "-") != 0; /* not where we are, but where they will be */
    snprintf(full, sizeof(full), "%s%s%s", inside ? g->conf->cwd : "", inside ? "/" : "", path);
    int fd = mc_fd_open_log(full, std);
    if (fd < 0)
        mc_error("cannot open the log '%s': %m", path);
    return fd;
}

int mc_logs_open(struct mc_generation *g)
{
    const struct mc_values *set = &g->conf->set;
    g->errorlog = open_one(g, set->errorlog, STDERR_FILENO);
    if (g->errorlog < 0 || !set->accesslog)
        return g->errorlog < 0 ? MC_ERROR : MC_OK;
    g->accesslog = open_one(g, set->accesslog, STDOUT_FILENO);
    return g->accesslog < 0 ? MC_ERROR : MC_OK;
}

void mc_logs_use(struct mc_generation *g)
{
    mc_log_init(g->errorlog, g->conf->loglevel);
    mc_sinks_start(g->conf);
}

/* The number stays, so nobody who remembers it (the interpreter, the log of this process) must be told. */
static void replace(int fd, int *fresh)
{
    dup3(*fresh, fd, O_CLOEXEC);
    mc_fd_close(fresh);
}

static void send_logs(struct mc_kid *k)
{
    if (k->life == MC_LIFE_NONE || k->io.fd < 0)
        return;
    const struct mc_generation *g = k->pool->gen;
    int fds[2] = {g->errorlog, g->accesslog};
    struct mc_msg m = {.kind = MC_MSG_LOGS, .value = g->accesslog >= 0};
    if (mc_channel_send(k->io.fd, &m, fds, 1 + (g->accesslog >= 0)) != MC_OK)
        mc_warn("cannot send the new logs to pid %ld: %m", (long)k->pid);
}

static void reopen(struct mc_generation *g)
{
    int fd = open_one(g, g->conf->set.errorlog, STDERR_FILENO);
    if (fd >= 0)
        replace(g->errorlog, &fd);
    fd = g->accesslog >= 0 ? open_one(g, g->conf->set.accesslog, STDOUT_FILENO) : -1;
    if (fd >= 0)
        replace(g->accesslog, &fd);
}

static void send_all(struct mc_arbiter *a)
{
    for (unsigned i = 0; i < a->nkids; i++)
        send_logs(&a->kids[i]);
    for (struct mc_arb_pool *p = mc_generation_next_pool(a, NULL); p; p = mc_generation_next_pool(a, p))
        send_logs(&p->zygote);
}

void mc_logs_reopen(struct mc_arbiter *a)
{
    for (struct mc_generation *g = a->fresh ? a->fresh : a->gen; g; g = g->older)
        reopen(g);
    mc_log_set_fd(a->gen->errorlog);
    send_all(a);
}

/* Under another path an older generation keeps its own: its lines may have another form. */
static void share(int from, int to, const char *path, const char *other)
{
    if (from >= 0 && to >= 0 && path && other && strcmp(path, other) == 0)
        dup3(from, to, O_CLOEXEC);
}

void mc_logs_pass(struct mc_generation *g)
{
    const struct mc_values *set = &g->conf->set;
    mc_logs_use(g);
    for (struct mc_generation *o = g->older; o; o = o->older) {
        share(g->errorlog, o->errorlog, set->errorlog, o->conf->set.errorlog);
        share(g->accesslog, o->accesslog, set->accesslog, o->conf->set.accesslog);
    }
    send_all(g->arbiter);
}

void mc_logs_daemon(struct mc_generation *g)
{
    int fd = strcmp(g->conf->set.errorlog, "-") == 0 ? open_one(g, "-", STDERR_FILENO) : -1;
    if (fd >= 0)
        replace(g->errorlog, &fd);
    mc_log_set_fd(g->errorlog);
    fd = g->accesslog >= 0 && strcmp(g->conf->set.accesslog, "-") == 0 ? open_one(g, "-", STDOUT_FILENO) : -1;
    if (fd >= 0)
        replace(g->accesslog, &fd);
}
