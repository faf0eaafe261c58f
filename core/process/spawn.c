/* Births: a worker of a native pool is forked here; one of a Python pool is asked of the pool's zygote, which is exec'd here.
 * In the child: only what it needs stays open, privileges are dropped, and its parent is checked to be still alive.
 * Called by the arbiter's loop; never waits. */
#include "core/os/fd.h"
#include "core/os/proc.h"
#include "core/os/signals.h"
#include "core/process/arbiter.h"
#include "core/server/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct mc_kid *free_kid(struct mc_arbiter *a)
{
    for (unsigned i = 0; i < a->nkids; i++) {
        if (a->kids[i].life == MC_LIFE_NONE)
            return &a->kids[i];
    }
    return NULL;
}

/* A fresh record of a life that begins now. */
static void begin(struct mc_kid *k, struct mc_arbiter *a, struct mc_arb_pool *p)
{
    *k = (struct mc_kid){.arbiter = a, .pool = p, .slot = k->slot, .index = k->index, .io.fd = -1};
    k->started_ms = mc_loop_refresh(&a->loop);
    if (k->slot)
        mc_scoreboard_begin(k->slot, k->index, p->conf->index, p->gen->number, k->started_ms);
    if (k->slot && a->stop_ms)
        mc_slot_set(k->slot->ending, 1u);
}

/* ---- in the child ---- */

static const int standard[] = {SIGCHLD, 0}; /* the arbiter's alone */

static int by_value(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static void close_between(int first, int last)
{
    if (first > last)
        return;
    if (syscall(SYS_close_range, (unsigned)first, (unsigned)last, 0) == 0)
        return;
    if (last > 65535)
        last = 65535;
    for (int fd = first; fd <= last; fd++)
        close(fd);
}

/* Close every descriptor but 0-2 and these. */
static void keep_only(int *fds, size_t n)
{
    int next = 3;
    qsort(fds, n, sizeof(*fds), by_value);
    for (size_t i = 0; i < n; i++) {
        if (fds[i] < next)
            continue;
        close_between(next, fds[i] - 1);
        next = fds[i] + 1;
    }
    close_between(next, INT32_MAX);
}

static MC_NORETURN void give_up(int channel, int code, const char *text)
{
    struct mc_msg m = {.kind = MC_MSG_FAILED, .code = code};
    snprintf(m.text, sizeof(m.text), "%s", text);
    mc_channel_send(channel, &m, NULL, 0);
    _exit(code);
}

/* When memory runs out, the kernel takes a worker before the arbiter. Ours to raise, relative to what the administrator chose. */
static void offer_to_oom_killer(void)
{
    enum { MORE = 100, MOST = 1000 };
    char text[16];
    size_t n;
    char *old = mc_fd_read_file("/proc/self/oom_score_adj", 64, &n);
    long score = old ? strtol(old, NULL, 10) + MORE : MORE;
    free(old);
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    int len = snprintf(text, sizeof(text), "%ld", score < MOST ? score : (long)MOST);
    if (fd >= 0)
        (void)mc_fd_write_all(fd, text, (size_t)len);
    mc_fd_close(&fd);
}

/* Identity, and death with the parent; in this order, because a change of uid forgets the latter. */
static void settle(const struct mc_arb_pool *p, int channel)
{
    const struct mc_generation *g = p->gen;
    const struct mc_conf *conf = g->conf;
    const struct mc_conf_pool *pool = p->conf;
    char text[128];
    offer_to_oom_killer();
    umask(conf->set.umask_ ? (mode_t)conf->set.umask_ : g->arbiter->umask);
    if (chdir(conf->cwd) < 0) {
        snprintf(text, sizeof(text), "cannot change to directory '%.60s': %m", conf->cwd);
        give_up(channel, MC_EXIT_BOOT, text);
    }
    if (mc_proc_drop(pool->uid, pool->gid, conf->set.initgroups) != MC_OK) {
        snprintf(text, sizeof(text), "cannot become user %ld, group %ld: %m", (long)pool->uid, (long)pool->gid);
        give_up(channel, MC_EXIT_FAIL, text);
    }
    mc_proc_parent_death(SIGTERM);
    if (getppid() != g->arbiter->pid)
        _exit(MC_EXIT_OK);
}

/* That of the process, then the pool's, then that of its apps. The arbiter's own stays as it was: another generation may say other words. */
static void set_env(const struct mc_conf *conf, const struct mc_conf_pool *pool)
{
    mc_arbiter_set_env(&conf->set.raw_env);
    mc_arbiter_set_env(&pool->set.env);
    for (size_t i = 0; i < conf->napps; i++) {
        if (conf->apps[i].pool == pool)
            mc_arbiter_set_env(&conf->apps[i].set.env);
    }
}

static MC_NORETURN void be_worker(struct mc_kid *k, int channel)
{
    struct mc_arbiter *a = k->arbiter;
    const struct mc_generation *g = k->pool->gen;
    const struct mc_conf_pool *pool = k->pool->conf;
    int *keep = calloc(g->conf->nlistens + 5, sizeof(*keep)), *listens = calloc(g->conf->nlistens, sizeof(*listens));
    size_t n = 0;
    mc_signals_default(standard);
    mc_logs_use(k->pool->gen);
    if (!keep || !listens || mc_signals_after_fork() != MC_OK)
        give_up(channel, MC_EXIT_BOOT, "out of memory or descriptors");
    keep[n++] = channel;
    keep[n++] = mc_signals_fd();
    keep[n++] = g->errorlog;
    if (g->accesslog >= 0)
        keep[n++] = g->accesslog;
    if (k->pool->secrets >= 0)
        keep[n++] = k->pool->secrets;
    for (size_t i = 0; i < g->conf->nlistens; i++) {
        listens[i] = mc_seats_fd(k, i);
        if (listens[i] >= 0)
            keep[n++] = listens[i];
    }
    keep_only(keep, n);
    free(keep);
    mc_stdio_capture(g->conf, g->errorlog);
    settle(k->pool, channel);
    set_env(g->conf, pool);
    struct mc_child_start start = {
        .conf = g->conf,
        .pool = pool,
        .slot = k->slot,
        .slots = a->board.slots,
        .nslots = a->board.n,
        .channel = channel,
        .accesslog = g->accesslog,
        .secrets = k->pool->secrets,
        .arbiter = a->pid,
        .listen_fds = listens,
    };
    _exit(mc_child_worker(&start));
}

static MC_NORETURN void be_zygote(struct mc_kid *k, int channel)
{
    struct mc_arbiter *a = k->arbiter;
    const struct mc_generation *g = k->pool->gen;
    const struct mc_conf_pool *pool = k->pool->conf;
    const char *path = NULL;
    char text[MC_SLOT_TEXT];
    int *listens = calloc(g->conf->nlistens, sizeof(*listens));
    if (!listens)
        give_up(channel, MC_EXIT_BOOT, "out of memory");
    for (size_t i = 0; i < g->conf->nlistens; i++)
        listens[i] = g->conf->listens[i].pool == pool ? g->listen_fds[i] : -1;
    mc_stdio_capture(g->conf, g->errorlog);
    settle(k->pool, channel);
    set_env(g->conf, pool);
    struct mc_zygote_exec x = {
        .channel = channel,
        .image = g->image,
        .board = a->board.shm.fd,
        .zones = g->zones.fd,
        .errorlog = g->errorlog,
        .accesslog = g->accesslog,
        .listen_fds = listens,
    };
    channel = mc_zygote_exec(g, pool, &x, &path);
    snprintf(text, sizeof(text), "cannot run the interpreter '%s': %m", path ? path : "python3");
    give_up(channel, MC_EXIT_FAIL, text);
}

static MC_NORETURN void be_check(struct mc_kid *k, int channel)
{
    const struct mc_generation *g = k->pool->gen;
    if (mc_signals_after_fork() != MC_OK)
        give_up(channel, MC_EXIT_BOOT, "out of memory or descriptors");
    settle(k->pool, channel);
    set_env(g->conf, k->pool->conf);
    _exit(mc_worker_check(g->conf, k->pool->conf));
}

/* ---- in the arbiter ---- */

static int fork_kid(struct mc_kid *k, void (*be)(struct mc_kid *, int))
{
    int fds[2];
    if (mc_channel_pair(fds) != MC_OK) {
        mc_error("cannot make a channel: %m");
        return MC_ERROR;
    }
    pid_t pid = fork();
    if (pid == 0)
        be(k, fds[1]);
    int why = errno;
    mc_fd_close(&fds[1]);
    if (pid < 0 || mc_kid_watch(k, fds[0]) != MC_OK) {
        if (pid < 0)
            errno = why;
        mc_error("cannot start a process: %m");
        /* Without its channel a child that was forked leaves. */
        mc_fd_close(&fds[0]);
        k->io.fd = -1;
        return MC_ERROR;
    }
    k->pid = pid;
    k->life = MC_LIFE_BOOTING;
    if (k->slot)
        mc_slot_set(k->slot->pid, (int32_t)pid);
    return MC_OK;
}

int mc_spawn_zygote(struct mc_arbiter *a, struct mc_arb_pool *p)
{
    begin(&p->zygote, a, p);
    return fork_kid(&p->zygote, be_zygote);
}

bool mc_spawn_has_check(const struct mc_arb_pool *p)
{
    const struct mc_conf *conf = p->gen->conf;
    for (size_t i = 0; i < conf->napps; i++) {
        const struct mc_conf_app *app = &conf->apps[i];
        if (app->pool == p->conf && !p->conf->python && app->type->load)
            return true;
    }
    return false;
}

int mc_spawn_check(struct mc_arbiter *a, struct mc_arb_pool *p)
{
    begin(&p->zygote, a, p);
    return fork_kid(&p->zygote, be_check);
}

pid_t mc_spawn_helper(struct mc_arbiter *a, struct mc_arb_pool *p, int in, int out,
                      int (*fn)(struct mc_arbiter *a, struct mc_arb_pool *p, int in, int out))
{
    enum { SECONDS = 30 };
    pid_t pid = fork();
    if (pid == 0) {
        int keep[] = {in, out, p->gen->errorlog};
        mc_signals_default(standard);
        mc_logs_use(p->gen);
        keep_only(keep, MC_COUNT(keep));
        settle(p, -1);
        signal(SIGALRM, SIG_DFL);
        alarm(SECONDS);
        _exit(fn(a, p, in, out) == MC_OK ? MC_EXIT_OK : MC_EXIT_FAIL);
    }
    if (pid < 0)
        mc_error("cannot start a process: %m");
    return pid < 0 ? MC_ERROR : pid;
}

pid_t mc_spawn_loader(struct mc_arbiter *a, int out, int (*fn)(int out))
{
    pid_t pid = fork();
    if (pid == 0) {
        int keep[] = {out, a->gen->errorlog};
        setpgid(0, 0);
        mc_signals_default(standard);
        keep_only(keep, MC_COUNT(keep));
        mc_proc_parent_death(SIGKILL);
        if (getppid() != a->pid)
            _exit(MC_EXIT_FAIL);
        _exit(fn(out) == MC_OK ? MC_EXIT_OK : MC_EXIT_FAIL);
    }
    if (pid > 0)
        setpgid(pid, pid);
    return pid < 0 ? MC_ERROR : pid;
}

/* The zygote has the listeners of its generation; those of a seat wait for the worker in its channel. How many. */
static unsigned send_sockets(const struct mc_kid *k, int channel)
{
    const struct mc_generation *g = k->pool->gen;
    unsigned n = 0;
    for (size_t i = 0; i < g->conf->nlistens; i++) {
        struct mc_msg m = {.kind = MC_MSG_LISTEN, .value = (uint32_t)i};
        int fd = mc_seats_fd(k, i);
        if (fd >= 0 && fd != g->listen_fds[i])
            n += mc_channel_send(channel, &m, &fd, 1) == MC_OK;
    }
    return n;
}

static int ask_zygote(struct mc_kid *k)
{
    int fds[2];
    struct mc_msg m = {.kind = MC_MSG_SPAWN, .value = k->index, .code = (int32_t)k->age};
    if (mc_channel_pair(fds) != MC_OK) {
        mc_error("cannot make a channel: %m");
        return MC_ERROR;
    }
    int beside[2] = {fds[1], k->pool->secrets};
    snprintf(m.text, sizeof(m.text), "%u", send_sockets(k, fds[0]));
    int rc = mc_channel_send(k->pool->zygote.io.fd, &m, beside, 1 + (beside[1] >= 0));
    mc_fd_close(&fds[1]);
    if (rc == MC_OK)
        mc_notice_spawned(&k->pool->zygote);
    if (rc == MC_OK && mc_kid_watch(k, fds[0]) == MC_OK) {
        k->life = MC_LIFE_ASKED;
        return MC_OK;
    }
    mc_fd_close(&fds[0]);
    k->io.fd = -1;
    return rc == MC_AGAIN ? MC_AGAIN : MC_ERROR;
}

int mc_spawn_worker(struct mc_arbiter *a, struct mc_arb_pool *p)
{
    struct mc_kid *k = free_kid(a);
    if (!k)
        return MC_AGAIN;
    if (p->conf->python && p->zygote.life != MC_LIFE_READY)
        return MC_AGAIN;
    begin(k, a, p);
    k->age = ++a->born;
    mc_seats_take(k);
    int rc = p->conf->python ? ask_zygote(k) : fork_kid(k, be_worker);
    if (rc == MC_OK) {
        mc_tally_born(k);
        mc_shares_tell(k);
        return MC_OK;
    }
    mc_scoreboard_end(k->slot);
    if (rc == MC_ERROR)
        mc_policy_failed(&p->births, a->loop.now);
    return rc;
}
