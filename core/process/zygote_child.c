/* The zygote's life, inside the user's interpreter: reads the image, imports the apps when asked, forks workers and hands them to the
 * arbiter. Knows no Python: modules/python gives hooks. Never serves a client itself.
 * A worker is a grandchild whose parent in between has left, so that the arbiter, a subreaper, inherits it. */
#include "core/config/zone.h"
#include "core/event/loop.h"
#include "core/os/fd.h"
#include "core/os/proc.h"
#include "core/os/signals.h"
#include "core/process/arbiter.h"
#include "core/server/sinks.h"
#include "core/server/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* TERM ends a zygote: while it imports at once, later through its loop. All else is for the arbiter. */
static const int caught[] = {SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGTTIN, SIGTTOU, 0};
static const int term[] = {SIGTERM, 0}, standard[] = {SIGTERM, SIGCHLD, 0};

static struct {
    const struct mc_zygote_hooks *hooks;
    void (*leave)(int code);
    pid_t arbiter;
    struct mc_conf *conf;
    const struct mc_conf_pool *pool;
    struct mc_board board;
    struct mc_loop loop;
    struct mc_io channel, signals;
    bool has_access, preloaded, leaving;
    unsigned sockets; /* that wait in the channel of the worker to be born */
    int code;
} self;

static int tell(int fd, enum mc_msg_kind kind, int code, const char *text)
{
    struct mc_msg m = {.kind = (uint16_t)kind, .code = code};
    snprintf(m.text, sizeof(m.text), "%s", text);
    return mc_channel_send(fd, &m, NULL, 0);
}

static int fail(int code, const char *text)
{
    (void)tell(MC_FD_CHANNEL, MC_MSG_FAILED, code, text);
    return code;
}

/* ---- birth of a worker ---- */

/* The gate opens (end of file) when the zygote has seen the middle process end, or has itself ended: then our parent is the arbiter. */
static bool adopted(int gate)
{
    char byte;
    ssize_t n;
    do
        n = read(gate, &byte, 1);
    while (n < 0 && errno == EINTR);
    return getppid() == self.arbiter && mc_proc_parent_death(SIGTERM) == MC_OK && getppid() == self.arbiter;
}

/* The sockets of its seat, in place of those that all share. */
static int take_sockets(int channel)
{
    struct mc_msg m;
    int fd;
    for (unsigned i = 0; i < self.sockets; i++) {
        if (mc_channel_recv(channel, &m, &fd, 1, NULL) != MC_OK || m.kind != MC_MSG_LISTEN || m.nfds != 1 || m.value >= self.conf->nlistens)
            return MC_ERROR;
        /* Its own number: nobody keeps a copy of a socket that is not his. */
        if (dup3(fd, MC_FD_LISTEN + (int)m.value, O_CLOEXEC) < 0)
            return MC_ERROR;
        mc_fd_close(&fd);
    }
    return MC_OK;
}

static MC_NORETURN void be_worker(int channel, int secrets, unsigned index, int gate)
{
    struct mc_slot *slot = mc_scoreboard_slot(&self.board, index);
    size_t n = self.conf->nlistens;
    int *listens = calloc(n, sizeof(*listens));
    int zygote_channel = MC_FD_CHANNEL;
    mc_loop_close(&self.loop);
    mc_fd_close(&zygote_channel);
    if (!listens || mc_signals_after_fork() != MC_OK || !adopted(gate))
        _exit(MC_EXIT_BOOT);
    mc_fd_close(&gate);
    if (self.hooks->after_fork_child)
        self.hooks->after_fork_child();
    /* The arbiter has changed its mind. */
    if (tell(channel, MC_MSG_PID, 0, "") != MC_OK)
        _exit(MC_EXIT_OK);
    for (size_t i = 0; i < n; i++)
        listens[i] = self.conf->listens[i].pool == self.pool ? MC_FD_LISTEN + (int)i : -1;
    if (take_sockets(channel) != MC_OK)
        _exit(MC_EXIT_BOOT);
    static struct mc_child_start start;
    start = (struct mc_child_start){
        .conf = self.conf,
        .pool = self.pool,
        .slot = slot,
        .slots = self.board.slots,
        .nslots = self.board.n,
        .channel = channel,
        .accesslog = self.has_access ? MC_FD_ACCESSLOG : -1,
        .secrets = secrets,
        .arbiter = self.arbiter,
        .listen_fds = listens,
    };
    self.leave(mc_child_worker(&start));
    _exit(MC_EXIT_FAIL);
}

static void fork_worker(int channel, int secrets, unsigned index)
{
    int gate[2];
    if (pipe2(gate, O_CLOEXEC) < 0) {
        mc_error("cannot start a worker: %m");
        return;
    }
    if (self.hooks->before_fork)
        self.hooks->before_fork();
    pid_t middle = fork();
    if (middle == 0) {
        pid_t pid = fork();
        if (pid != 0)
            _exit(pid < 0);
        mc_fd_close(&gate[1]);
        be_worker(channel, secrets, index, gate[0]);
    }
    int why = errno, status = 0;
    if (self.hooks->after_fork_parent)
        self.hooks->after_fork_parent();
    if (middle > 0) {
        while (waitpid(middle, &status, 0) < 0 && errno == EINTR)
            continue;
    }
    if (middle < 0 || status != 0) {
        errno = middle < 0 ? why : EAGAIN;
        mc_error("cannot start a worker: %m");
    }
    mc_fd_close(&gate[0]);
    mc_fd_close(&gate[1]);
}

/* ---- messages ---- */

static int open_hooks(void)
{
    char err[sizeof(((struct mc_msg *)0)->text)] = "";
    int rc = self.hooks->open(self.conf, self.pool, err, sizeof(err));
    return rc == MC_OK ? rc : fail(rc, err);
}

static int preload(void)
{
    char err[sizeof(((struct mc_msg *)0)->text)] = "";
    if (self.preloaded)
        return MC_OK;
    int rc = self.hooks->preload(self.conf, self.pool, err, sizeof(err));
    if (rc != MC_OK)
        return fail(rc > 0 ? rc : MC_EXIT_BOOT, err);
    self.preloaded = true;
    /* An app may have taken the signals. */
    (void)mc_signals_catch(caught);
    return MC_OK;
}

/* With `reload` workers tell why it failed: they have it from here. */
static int try_preload(void)
{
    char err[MC_SLOT_TEXT];
    (void)self.hooks->preload(self.conf, self.pool, err, sizeof(err));
    (void)mc_signals_catch(caught);
    return MC_OK;
}

static void leave(int code)
{
    self.leaving = true;
    self.code = code;
    self.loop.stop = true;
}

static void answer_hook(int what)
{
    if (self.conf->set.hooks)
        (void)tell(MC_FD_CHANNEL, MC_MSG_HOOKED, what, "");
}

static void on_hook(const struct mc_msg *m)
{
    bool give_up = self.hooks->tell((enum mc_hook)m->code, m->value, m->text);
    answer_hook(m->code);
    if (give_up)
        leave(fail(MC_EXIT_FAIL, "on_starting asks to exit"));
}

static void on_spawn(const struct mc_msg *m, const int fds[2])
{
    if (m->nfds == 0 || !mc_scoreboard_slot(&self.board, m->value))
        return;
    self.hooks->before_birth((unsigned)m->code);
    answer_hook(-1);
    self.sockets = (unsigned)strtoul(m->text, NULL, 10);
    fork_worker(fds[0], m->nfds > 1 ? fds[1] : -1, m->value);
}

static void on_message(const struct mc_msg *m, int fds[2])
{
    int rc;
    switch (m->kind) {
    case MC_MSG_SPAWN:
        on_spawn(m, fds);
        break;
    case MC_MSG_HOOK:
        on_hook(m);
        break;
    case MC_MSG_CHECK:
        rc = preload();
        if (rc == MC_OK)
            rc = mc_worker_check(self.conf, self.pool); /* apps of other types beside them */
        if (rc != MC_OK)
            leave(rc);
        else
            (void)tell(MC_FD_CHANNEL, MC_MSG_READY, 0, "");
        break;
    case MC_MSG_LOGS:
        if (m->nfds > 0)
            dup3(fds[0], MC_FD_ERRORLOG, O_CLOEXEC);
        if (m->nfds > 1)
            dup3(fds[1], MC_FD_ACCESSLOG, O_CLOEXEC);
        mc_log_set_fd(MC_FD_ERRORLOG);
        mc_stdio_capture(self.conf, MC_FD_ERRORLOG);
        break;
    case MC_MSG_DRAIN:
    case MC_MSG_STOP:
        leave(MC_EXIT_OK);
        break;
    default:
        mc_warn("a message of kind %u is not for a zygote", m->kind);
        break;
    }
    for (int i = 0; i < m->nfds; i++)
        mc_fd_close(&fds[i]);
}

static void on_channel(struct mc_io *io)
{
    struct mc_msg m;
    int fds[2], rc = MC_OK;
    while (!self.leaving && (rc = mc_channel_recv(io->fd, &m, fds, 2, NULL)) == MC_OK)
        on_message(&m, fds);
    /* The arbiter is gone. */
    if (rc == MC_ERROR)
        leave(MC_EXIT_OK);
}

/* Ctrl-C and the like are the arbiter's to decide. */
static void on_signals(struct mc_io *io)
{
    (void)io;
    /* A supervisor sends TERM to all processes of the server; with hooks the arbiter still needs us then, for those of the end. */
    bool needed = self.conf->set.hooks && getppid() == self.arbiter;
    if (mc_signals_has(mc_signals_take(), SIGTERM) && !needed)
        leave(MC_EXIT_OK);
}

static void before_sleep(void *data)
{
    (void)data;
    self.hooks->before_sleep();
}

static void after_sleep(void *data)
{
    (void)data;
    self.hooks->after_sleep();
}

/* ---- start ---- */

static struct mc_conf *read_image(char *err, size_t errcap)
{
    struct stat st;
    if (fstat(MC_FD_IMAGE, &st) < 0 || st.st_size <= 0) {
        snprintf(err, errcap, "there is no configuration image: not started by monoceros?");
        return NULL;
    }
    char *text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, MC_FD_IMAGE, 0);
    if (text == MAP_FAILED) {
        snprintf(err, errcap, "cannot read the configuration image: %m");
        return NULL;
    }
    struct mc_conf *conf = mc_conf_parse(text, (size_t)st.st_size, "configuration image", err, errcap);
    munmap(text, (size_t)st.st_size);
    return conf;
}

static const struct mc_event_ops *event_ops(void)
{
    const struct mc_module *m = mc_module_find(MC_MODULE_EVENT, "epoll");
    if (!m)
        m = mc_module_find(MC_MODULE_EVENT, "poll");
    return m ? m->ops.event : NULL;
}

static int watch(struct mc_io *io, int fd, void (*fn)(struct mc_io *))
{
    mc_io_init(io, fd, fn, NULL);
    io->level = true;
    return mc_io_watch(&self.loop, io, MC_WANT_READ);
}

static int open_loop(void)
{
    const struct mc_event_ops *ops = event_ops();
    if (!ops || mc_loop_open(&self.loop, ops) != MC_OK)
        return MC_ERROR;
    if (self.hooks->before_sleep && self.hooks->after_sleep) {
        self.loop.before_sleep = before_sleep;
        self.loop.after_sleep = after_sleep;
    }
    if (watch(&self.channel, MC_FD_CHANNEL, on_channel) != MC_OK)
        return MC_ERROR;
    return watch(&self.signals, mc_signals_fd(), on_signals);
}

static int start(unsigned pool_index)
{
    char err[sizeof(((struct mc_msg *)0)->text)] = "";
    int image = MC_FD_IMAGE;
    self.conf = read_image(err, sizeof(err));
    if (!self.conf)
        return fail(MC_EXIT_FAIL, err);
    mc_log_init(MC_FD_ERRORLOG, self.conf->loglevel);
    mc_sinks_start(self.conf);
    if (pool_index >= self.conf->npools)
        return fail(MC_EXIT_FAIL, "there is no such pool");
    self.pool = &self.conf->pools[pool_index];
    mc_proc_title("monoceros: zygote [%s]", mc_arbiter_name(self.conf));
    if (mc_scoreboard_open(&self.board, MC_FD_BOARD) != MC_OK)
        return fail(MC_EXIT_FAIL, "cannot map the scoreboard");
    if (mc_zone_open(self.conf, MC_FD_ZONES) != MC_OK)
        return fail(MC_EXIT_FAIL, "cannot map the zones");
    mc_fd_close(&image);
    /* The mapping is enough. */
    mc_fd_close(&self.board.shm.fd);
    if (mc_signals_catch(caught) != MC_OK || open_loop() != MC_OK)
        return fail(MC_EXIT_FAIL, "cannot open the event loop");
    return MC_OK;
}

/* Subprocesses of the app must not get them. */
static void hide_fds(void)
{
    for (int fd = MC_FD_CHANNEL; fd < MC_FD_LISTEN; fd++)
        (void)mc_fd_cloexec(fd, true);
    for (size_t i = 0; self.conf && i < self.conf->nlistens; i++)
        (void)mc_fd_cloexec(MC_FD_LISTEN + (int)i, true);
}

/* A sanitizer that was loaded for us (zygote.c) is not for the programs that apps start: some die of it. */
static void forget_preload(void)
{
    const char *list = getenv("LD_PRELOAD");
    if (list && (strstr(list, "/libasan.so") || strstr(list, "/libtsan.so")))
        unsetenv("LD_PRELOAD");
}

int mc_zygote_run(const struct mc_zygote_hooks *hooks, unsigned pool_index, MC_NORETURN void (*leave_with)(int code))
{
    self.hooks = hooks;
    self.leave = leave_with;
    self.arbiter = getppid();
    forget_preload();
    mc_signals_default(standard);
    self.has_access = fcntl(MC_FD_ACCESSLOG, F_GETFD) >= 0;
    int code = start(pool_index);
    hide_fds();
    if (code == MC_OK)
        code = open_hooks();
    if (code == MC_OK && self.pool->set.preload_app)
        code = self.conf->set.reload ? try_preload() : preload();
    if (code != MC_OK)
        return code;
    (void)mc_signals_catch(term);
    (void)tell(MC_FD_CHANNEL, MC_MSG_READY, 0, "");
    mc_loop_run(&self.loop);
    return self.code;
}
