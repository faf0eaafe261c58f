/* A worker process: its main. Opens the worker, then lets its loop serve while this file listens to the arbiter and to signals.
 * Never waits itself. Called in a fresh child by the arbiter (native pools) or by the zygote. */
#include "core/config/secrets.h"
#include "core/os/fd.h"
#include "core/os/proc.h"
#include "core/os/signals.h"
#include "core/process/arbiter.h"
#include "core/server/access.h"
#include "core/server/hop.h"
#include "core/server/sinks.h"
#include "core/server/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ALONE_MS = 1000, FRONTS_MS = 200 };

static const int caught[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGTTIN, SIGTTOU, 0};

static struct {
    struct mc_worker worker;
    struct mc_io channel, signals;
    unsigned grace;        /* seconds that an orphan has; 0: no limit */
    struct mc_timer alone; /* told to leave by a signal: is it only us? */
    struct mc_timer fronts; /* without an arbiter: are those still there that ask this pool? */
    const struct mc_child_start *start;
} self;

static void tell(enum mc_msg_kind kind, int code, const char *text)
{
    struct mc_msg m = {.kind = (uint16_t)kind, .code = code};
    snprintf(m.text, sizeof(m.text), "%s", text);
    (void)mc_channel_send(self.start->channel, &m, NULL, 0);
}

/* The numbers stay: the interpreter and the log remember them. */
static void take_logs(const struct mc_msg *m, int fds[2])
{
    if (m->nfds > 0) {
        dup3(fds[0], mc_log_fd(), O_CLOEXEC);
        mc_log_set_fd(mc_log_fd());
        mc_stdio_capture(self.start->conf, mc_log_fd());
    }
    if (m->nfds > 1 && self.start->accesslog >= 0) {
        if (self.worker.access)
            mc_access_flush(self.worker.access);
        dup3(fds[1], self.start->accesslog, O_CLOEXEC);
        if (self.worker.access)
            mc_access_set_fd(self.worker.access, self.start->accesslog);
    }
    for (int i = 0; i < m->nfds; i++)
        mc_fd_close(&fds[i]);
}

/* Into every module that takes them; then nobody has them any more. MC_ERROR: logged. */
static int take_secrets(int fd)
{
    struct mc_secrets s = {0};
    int rc = fd >= 0 ? mc_secrets_load(&s, fd) : MC_OK;
    if (rc != MC_OK)
        mc_error("cannot read the secrets of this worker: %m");
    if (rc == MC_OK)
        rc = mc_hop_adopt(&self.worker, &s);
    for (size_t i = 0; rc == MC_OK && mc_modules[i]; i++)
        rc = mc_modules[i]->adopt ? mc_modules[i]->adopt(&self.worker, &s) : MC_OK;
    mc_secrets_wipe(&s);
    return rc;
}

/* When all leave, the queue must be served to its end; otherwise the others take it, but for what only we have (lone: see MC_MSG_DRAIN). */
static void leave(bool all, const char *lone)
{
    mc_timer_clear(&self.alone);
    for (size_t i = 0; lone && i < self.worker.nlisteners; i++) {
        struct mc_listener *l = &self.worker.listeners[i];
        l->lone = l->conf->index / 8 < MC_MSG_TEXT && lone[l->conf->index / 8] >> l->conf->index % 8 & 1;
    }
    if (all)
        mc_worker_drain(&self.worker);
    else
        mc_worker_retire(&self.worker);
}

static void stop_now(void)
{
    void (*hear)(struct mc_worker *) = self.worker.interrupted;
    self.worker.interrupted = NULL; /* once */
    if (hear)
        hear(&self.worker);
    mc_worker_stop(&self.worker);
}

static void on_message(const struct mc_msg *m, int fds[2])
{
    if (m->kind == MC_MSG_LOGS) {
        take_logs(m, fds);
        return;
    }
    if (m->kind == MC_MSG_SECRETS && m->nfds == 1)
        (void)take_secrets(fds[0]); /* a failure changes nothing */
    if (m->kind == MC_MSG_LISTEN && m->nfds == 1) {
        mc_worker_empty(&self.worker, m->value, fds[0], m->code != 0);
        return;
    }
    for (int i = 0; i < m->nfds; i++)
        mc_fd_close(&fds[i]);
    if (m->kind == MC_MSG_SHARE)
        mc_worker_share(&self.worker, m->value, m->code != 0);
    else if (m->kind == MC_MSG_DRAIN)
        leave(m->value != 0, m->text);
    else if (m->kind == MC_MSG_HOPS_END)
        mc_worker_end_hops(&self.worker);
    else if (m->kind == MC_MSG_STOP)
        stop_now();
    else if (m->kind != MC_MSG_SECRETS)
        mc_warn("a message of kind %u is not for a worker", m->kind);
}

/* Only a worker whose arbiter has died switches the listeners off, because nobody else is left to do it: they are all workers'. */
static void part(void)
{
    bool orphan = getppid() != self.start->arbiter;
    for (size_t i = 0; orphan && i < self.worker.nlisteners; i++) {
        const struct mc_listener *l = &self.worker.listeners[i];
        if (!l->done && !l->shared && !l->conf->hop)
            mc_listeners_refuse_fd(l->io.fd, &l->conf->addr, true);
    }
    leave(orphan, NULL);
    if (self.worker.hops_stay)
        mc_timer_set(&self.worker.loop, &self.fronts, FRONTS_MS);
}

/* Does a worker live that has clients of its own? No arbiter is left to tell. What the scoreboard says is only asked about. */
static bool fronts_left(void)
{
    const struct mc_child_start *s = self.start;
    for (unsigned i = 0; i < s->nslots; i++) {
        uint32_t pool = mc_slot_get(s->slots[i].pool);
        int32_t pid = mc_slot_get(s->slots[i].pid);
        bool front = pool >= s->conf->npools || !s->conf->pools[pool].hops;
        if (front && mc_slot_get(s->slots[i].state) != MC_SLOT_EMPTY && pid > 1 && kill(pid, 0) == 0)
            return true;
    }
    return false;
}

static void on_fronts(struct mc_timer *t)
{
    if (fronts_left())
        mc_timer_set(&self.worker.loop, t, FRONTS_MS);
    else
        mc_worker_end_hops(&self.worker);
}

/* Leave, but who else does will be known in a moment only. */
static void part_soon(void)
{
    mc_worker_drain(&self.worker);
    if (mc_timer_set(&self.worker.loop, &self.alone, ALONE_MS) != MC_OK)
        part();
}

static void on_channel(struct mc_io *io)
{
    struct mc_msg m;
    int fds[2], rc;
    while ((rc = mc_channel_recv(io->fd, &m, fds, 2, NULL)) == MC_OK)
        on_message(&m, fds);
    if (rc == MC_AGAIN)
        return;
    mc_io_unwatch(&self.worker.loop, io);
    if (getppid() != self.start->arbiter) {
        mc_info("Parent changed, shutting down: worker (pid:%ld)", (long)getpid());
        part();
    } else {
        /* The arbiter gave us up, or it is dying: then its descriptors are closed before it is gone. */
        mc_info("The channel to the arbiter is closed, shutting down: worker (pid:%ld)", (long)getpid());
        part_soon();
    }
}

static void on_alone(struct mc_timer *t)
{
    (void)t;
    part();
}

/* A TERM may be for us alone or (a supervisor's) for every process of the server. In the latter case the arbiter says so in a moment, and
 * whoever had closed the listener before would have reset the queue; or it lets shutdown_delay run. */
static void on_term(void)
{
    if (!self.worker.draining && !mc_slot_get(self.start->slot->ending))
        part_soon();
}

static void on_signals(struct mc_io *io)
{
    (void)io;
    uint64_t set = mc_signals_take();
    if (mc_signals_has(set, SIGINT) || mc_signals_has(set, SIGQUIT))
        stop_now();
    else if (mc_signals_has(set, SIGTERM))
        on_term();
}

static int watch(struct mc_io *io, int fd, void (*fn)(struct mc_io *))
{
    mc_io_init(io, fd, fn, NULL);
    io->level = true;
    return mc_io_watch(&self.worker.loop, io, MC_WANT_READ);
}

/* Also after the app was imported: some install handlers of their own. */
static int catch_signals(void)
{
    return mc_signals_catch(caught) == MC_OK && mc_proc_crash_handler(self.start->slot->busy) == MC_OK ? MC_OK : MC_ERROR;
}

/* The arbiter has died: as TERM, but nobody will kill us at the end of graceful_timeout, and a stuck app never comes back to the loop. */
static void on_orphaned(int sig)
{
    (void)sig;
    if (self.grace) {
        signal(SIGALRM, SIG_DFL);
        alarm(self.grace);
    }
    raise(SIGTERM);
}

/* A signal of its own, which no app uses. */
static int follow_parent(void)
{
    struct sigaction sa = {.sa_handler = on_orphaned, .sa_flags = SA_RESTART};
    int64_t grace = self.start->pool->set.graceful_timeout;
    sigemptyset(&sa.sa_mask);
    self.grace = grace > 0 ? (unsigned)((grace + 1999) / 1000) : 0;
    if (sigaction(SIGRTMAX - 1, &sa, NULL) < 0 || mc_proc_parent_death(SIGRTMAX - 1) != MC_OK)
        return MC_ERROR;
    return getppid() == self.start->arbiter ? MC_OK : MC_ERROR;
}

static int open_access(void)
{
    char err[256];
    if (mc_access_open(&self.worker.access, self.start->conf, self.start->accesslog, err, sizeof(err)) != MC_ERROR)
        return MC_OK;
    mc_error("access_log_format: %s", err);
    return MC_ERROR;
}

static void recycle(const char *why)
{
    mc_info("Autorestarting worker after current request. (%s)", why);
    tell(MC_MSG_RECYCLE, 0, why);
}

static void no_clients(void)
{
    tell(MC_MSG_NO_CLIENTS, 0, "");
}

void mc_child_files(int fd)
{
    struct mc_msg m = {.kind = MC_MSG_FILES};
    (void)mc_channel_send(self.start->channel, &m, &fd, 1);
}

static int fail(int code, const char *text, bool logged)
{
    struct mc_msg m = {.kind = MC_MSG_FAILED, .code = code, .value = logged};
    snprintf(m.text, sizeof(m.text), "%s", text);
    (void)mc_channel_send(self.start->channel, &m, NULL, 0);
    mc_info("Worker exiting (pid: %ld)", (long)getpid());
    return code;
}

static int open_all(void)
{
    const struct mc_child_start *s = self.start;
    if (catch_signals() != MC_OK || follow_parent() != MC_OK)
        return fail(MC_EXIT_BOOT, "cannot catch signals, or the arbiter has died", false);
    int code = mc_worker_open(&self.worker, s->conf, s->pool, s->slot, s->listen_fds);
    if (code != MC_OK) return fail(code > 0 ? code : MC_EXIT_BOOT, self.worker.failure, true);
    self.worker.recycle = recycle;
    self.worker.no_clients = no_clients;
    self.worker.slots = s->slots;
    self.worker.nslots = s->nslots;
    code = take_secrets(s->secrets);
    int given = s->secrets;
    mc_fd_close(&given);
    if (code != MC_OK) return fail(MC_EXIT_BOOT, "", true);
    if (catch_signals() != MC_OK || open_access() != MC_OK || watch(&self.channel, s->channel, on_channel) != MC_OK ||
        watch(&self.signals, mc_signals_fd(), on_signals) != MC_OK || mc_worker_listen(&self.worker) != MC_OK)
        return fail(MC_EXIT_BOOT, "cannot open the access log or watch its descriptors", false);
    return MC_OK;
}

int mc_child_worker(const struct mc_child_start *start)
{
    self.start = start;
    mc_timer_init(&self.alone, on_alone, NULL);
    mc_timer_init(&self.fronts, on_fronts, NULL);
    mc_slot_set(start->slot->pid, (int32_t)getpid());
    mc_proc_title("monoceros: worker [%s]", mc_arbiter_name(start->conf));
    mc_sinks_start(start->conf);
    mc_info("Booting worker with pid: %ld", (long)getpid());
    int code = open_all();
    if (code != MC_OK)
        return code;
    tell(MC_MSG_READY, 0, "");
    mc_worker_run(&self.worker);
    mc_info("Worker exiting (pid: %ld)", (long)getpid());
    if (self.channel.registered)
        mc_io_unwatch(&self.worker.loop, &self.channel);
    if (self.signals.registered)
        mc_io_unwatch(&self.worker.loop, &self.signals);
    mc_worker_close(&self.worker);
    return MC_EXIT_OK;
}
