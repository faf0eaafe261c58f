/* The arbiter: start, one loop that waits for signals, channels and times, stop. Mechanism only; what to decide is in policy.c.
 * Never runs Python, never parses HTTP, never reads a client socket, never waits outside the loop. */
#include "core/os/fd.h"
#include "core/os/proc.h"
#include "core/os/signals.h"
#include "core/process/arbiter.h"
#include "core/process/daemon.h"
#include "core/process/inherit.h"
#include "core/process/pidfile.h"
#include "core/process/upgrade.h"
#include "core/process/watch.h"
#include "core/server/sinks.h"
#include "mc_config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOOK_MS = 1000 };

static const int caught[] = {SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU, SIGWINCH, 0};

const char *mc_arbiter_name(const struct mc_conf *conf)
{
    if (conf->set.proc_name && *conf->set.proc_name)
        return conf->set.proc_name;
    if (conf->napps)
        return conf->apps[0].module;
    return "monoceros";
}

void mc_arbiter_step_back(struct mc_arbiter *a)
{
    mc_info("graceful stop of workers");
    mc_reload_stop(a);
    for (size_t i = 0; i < a->gen->conf->npools; i++)
        a->gen->pools[i].wanted = 0;
}

void mc_arbiter_step_forward(struct mc_arbiter *a)
{
    struct mc_generation *g = a->gen;
    for (size_t i = 0; i < g->conf->npools; i++) {
        if (g->pools[i].wanted == 0)
            g->pools[i].wanted = mc_generation_count(g->pools[i].conf);
    }
    mc_info("The workers come back");
}

void mc_arbiter_set_env(const struct mc_strv *words)
{
    for (size_t i = 0; i < words->n; i++) {
        char *pair = strdup(words->v[i]), *eq = pair ? strchr(pair, '=') : NULL;
        if (eq) {
            *eq = '\0';
            setenv(pair, eq + 1, 1);
        }
        free(pair);
    }
}

void mc_arbiter_wake_at(struct mc_arbiter *a, uint64_t when)
{
    if (when < a->next_ms)
        a->next_ms = when;
}

/* ---- signals ---- */

/* The first pool is the one that the command line speaks of. */
static void change_count(struct mc_arbiter *a, int change)
{
    struct mc_arb_pool *p = &a->gen->pools[0], *fresh = a->fresh ? &a->fresh->pools[0] : NULL;
    unsigned before = mc_notice_wanted(a);
    p->wanted = mc_policy_wanted(p->wanted, change, a->nkids / 2);
    if (fresh) {
        fresh->wanted = mc_policy_wanted(fresh->wanted, change, a->nkids / 2);
        mc_scale_moved(&fresh->scale, fresh->wanted);
    }
    mc_scale_moved(&p->scale, p->wanted);
    a->reload.change += change;
    mc_info("%u workers wanted", fresh ? fresh->wanted : p->wanted);
    mc_notice_count(a, before);
}

static void on_winch(struct mc_arbiter *a)
{
    enum mc_upgrade_winch may = mc_upgrade_winch();
    if (may == MC_WINCH_LATER)
        mc_info("SIGWINCH waits until the new master is ready");
    else if (may == MC_WINCH_IGNORE)
        mc_info("SIGWINCH ignored. The new master is leaving.");
    else if (may == MC_WINCH_ALONE && !a->gen->conf->set.daemon)
        mc_debug("SIGWINCH ignored. Not daemonized, and no upgrade is under way.");
    else
        mc_arbiter_step_back(a);
}

static void stop_on(struct mc_arbiter *a, enum mc_stopping how)
{
    /* A further signal is harsher than the one before; a second TERM in a row as well. */
    if (a->stopping != MC_STOP_NOT && how <= a->stopping)
        how = (enum mc_stopping)(a->stopping + 1);
    if (how > MC_STOP_FORCED)
        how = MC_STOP_FORCED;
    mc_stop_begin(a, how);
}

static void on_signal(struct mc_arbiter *a, int sig)
{
    char name[16];
    snprintf(name, sizeof(name), "%s", mc_signals_name(sig) + 3);
    for (char *p = name; *p; p++)
        *p = (char)mc_lower((unsigned char)*p);
    if (sig == SIGCHLD) {
        mc_debug("Handling signal: %s", name);
        return;
    }
    mc_info("Handling signal: %s", name);
    switch (sig) {
    case SIGTERM:
        if (a->stopping == MC_STOP_NOT)
            mc_stop_ask(a);
        else
            stop_on(a, MC_STOP_GRACEFUL);
        break;
    case SIGINT:
    case SIGQUIT:
        stop_on(a, MC_STOP_QUICK);
        break;
    case SIGUSR1:
        mc_logs_reopen(a);
        break;
    case SIGTTIN:
        mc_upgrade_stay();
        change_count(a, +1);
        break;
    case SIGTTOU:
        change_count(a, -1);
        break;
    case SIGWINCH:
        on_winch(a);
        break;
    case SIGHUP:
        mc_upgrade_stay();
        mc_reload_ask(a);
        break;
    default:
        mc_upgrade_begin(a);
        break;
    }
}

/* Each TTIN and TTOU counts, however close they come; of the others one in a turn is as good as ten. */
static unsigned times(int sig)
{
    unsigned n = mc_signals_times(sig);
    return sig == SIGTTIN || sig == SIGTTOU ? n : 1;
}

/* The order matters: a Ctrl-C ends workers, too, and their deaths must find us stopping. */
static void on_signals(struct mc_io *io)
{
    struct mc_arbiter *a = io->data;
    uint64_t set = mc_signals_take();
    for (size_t i = 0; caught[i]; i++) {
        for (unsigned n = mc_signals_has(set, caught[i]) ? times(caught[i]) : 0; n > 0; n--)
            on_signal(a, caught[i]);
    }
    if (mc_signals_has(set, SIGCHLD))
        mc_reap_all(a);
}

/* ---- the loop ---- */

static void tend(struct mc_arbiter *a)
{
    for (unsigned i = 0; i < a->nkids; i++)
        mc_kid_watchdog(&a->kids[i], a->loop.now);
    for (struct mc_arb_pool *p = mc_generation_next_pool(a, NULL); p; p = mc_generation_next_pool(a, p))
        mc_kid_watchdog(&p->zygote, a->loop.now);
    if (!a->check) {
        mc_stop_tend(a);
        mc_seats_tend(a);
        mc_keys_tend(a);
        mc_upgrade_tend(a);
        mc_reload_tend(a);
        mc_announce_tend(a);
        mc_scaling_tend(a);
        mc_watch_tend(a);
    }
    mc_roll_tend(a);
    mc_hops_tend(a);
    mc_tally_publish(a);
    mc_metrics_tend(a);
    if (a->stopping != MC_STOP_NOT)
        mc_notice_end(a);
}

static bool finished(const struct mc_arbiter *a)
{
    if (!a->check)
        return a->stopping != MC_STOP_NOT && mc_stop_done(a);
    for (size_t i = 0; i < a->gen->conf->npools; i++) {
        const struct mc_arb_pool *p = &a->gen->pools[i];
        bool any = p->conf->python || mc_spawn_has_check(p);
        if (any && p->zygote.started_ms == 0 && a->stopping == MC_STOP_NOT)
            return false;
    }
    return mc_stop_done(a);
}

static void run(struct mc_arbiter *a)
{
    a->awake_ms = mc_loop_refresh(&a->loop);
    for (;;) {
        a->next_ms = a->loop.now + LOOK_MS;
        tend(a);
        if (finished(a))
            break;
        uint64_t asleep = mc_loop_refresh(&a->loop);
        if (mc_loop_turn(&a->loop, a->next_ms > asleep ? (int)(a->next_ms - asleep) : 0) < 0)
            mc_fatal(MC_EXIT_FAIL, "Event back end %s failed: %m", a->loop.ops->name);
        /* We stood still ourselves (Ctrl-Z, a debugger): that workers were silent meanwhile means nothing. */
        if (mc_loop_refresh(&a->loop) > asleep + 2 * LOOK_MS)
            a->awake_ms = a->loop.now;
    }
}

/* ---- start ---- */

static const struct mc_event_ops *event_ops(void)
{
    const struct mc_module *m = mc_module_find(MC_MODULE_EVENT, "epoll");
    if (!m)
        m = mc_module_find(MC_MODULE_EVENT, "poll");
    return m ? m->ops.event : NULL;
}

static int open_loop(struct mc_arbiter *a)
{
    const struct mc_event_ops *ops = event_ops();
    if (!ops || mc_loop_open(&a->loop, ops) != MC_OK) {
        mc_error("cannot open the event loop: %m");
        return MC_ERROR;
    }
    if (mc_signals_catch(caught) != MC_OK || mc_proc_crash_handler("") != MC_OK) {
        mc_error("cannot catch signals: %m");
        return MC_ERROR;
    }
    mc_io_init(&a->signals, mc_signals_fd(), on_signals, a);
    a->signals.level = true;
    if (mc_io_watch(&a->loop, &a->signals, MC_WANT_READ) == MC_OK)
        return MC_OK;
    mc_error("cannot watch for signals: %m");
    return MC_ERROR;
}

/* Twice the workers and more: those that leave keep their slots while their successors start. */
static int make_records(struct mc_arbiter *a)
{
    unsigned total = mc_generation_workers(a->gen), slots = total * 2 < MC_BOARD_SLOTS ? MC_BOARD_SLOTS : total * 2;
    a->kids = calloc(slots, sizeof(*a->kids));
    if (!a->kids || mc_scoreboard_create(&a->board, slots) != MC_OK || !(a->tally = mc_tally_new(&a->board)))
        return MC_ERROR;
    a->nkids = slots;
    for (unsigned i = 0; i < slots; i++)
        a->kids[i] = (struct mc_kid){.arbiter = a, .slot = mc_scoreboard_slot(&a->board, i), .index = i, .io.fd = -1};
    return MC_OK;
}

/* What both a run and a check need. */
static int prepare(struct mc_arbiter *a)
{
    mc_reap_open(a);
    if (mc_generation_prepare(a->gen) != MC_OK)
        return MC_ERROR;
    if (mc_proc_subreaper() != MC_OK) {
        mc_error("cannot adopt workers (PR_SET_CHILD_SUBREAPER): %m");
        return MC_ERROR;
    }
    return MC_OK;
}

void mc_arbiter_title(const struct mc_arbiter *a)
{
    mc_proc_title("monoceros: master [%s%s]", mc_arbiter_name(a->gen->conf), mc_upgrade_pending() ? ".2" : "");
}

static void log_pools(const struct mc_generation *g)
{
    for (size_t i = 0; i < g->conf->npools; i++) {
        const struct mc_conf_pool *p = g->pools[i].conf;
        if (g->conf->npools == 1)
            mc_info("Using worker: %s", p->set.worker_class);
        else
            mc_info("Using worker: %s (pool \"%s\")", p->set.worker_class, p->name);
    }
}

static int start(struct mc_arbiter *a)
{
    struct mc_generation *g = a->gen;
    char err[512];
    if (mc_logs_open(g) != MC_OK)
        return MC_ERROR;
    mc_logs_use(g);
    if (open_loop(a) != MC_OK)
        return MC_ERROR;
    mc_info("Starting monoceros " MC_VERSION);
    if (mc_upgrade_open(a) != MC_OK)
        return MC_ERROR;
    if (mc_upgrade_pidfile(a, g->conf, err, sizeof(err)) != MC_OK) {
        mc_error("%s", err);
        return MC_ERROR;
    }
    if (prepare(a) != MC_OK || mc_keys_open(g) != MC_OK || mc_listeners_open(g) != MC_OK)
        return MC_ERROR;
    mc_upgrade_listening(a);
    mc_listeners_log(g);
    log_pools(g);
    mc_arbiter_title(a);
    mc_daemon_report(MC_EXIT_OK, g->conf->set.enable_stdio_inheritance);
    if (g->conf->set.daemon)
        mc_logs_daemon(g);
    return MC_OK;
}

static int start_check(struct mc_arbiter *a)
{
    a->gen->errorlog = mc_fd_open_log("-", STDERR_FILENO);
    if (a->gen->errorlog < 0 || open_loop(a) != MC_OK)
        return MC_ERROR;
    return prepare(a);
}

/* Whoever started us without them: a socket must not become anybody's stdout. */
static void fill_stdio(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0)
            (void)!open("/dev/null", O_RDWR); /* the lowest free number: this one */
    }
}

static int enter(struct mc_arbiter *a)
{
    const struct mc_conf *conf = a->gen->conf;
    fill_stdio();
    if (chdir(conf->cwd) < 0) {
        mc_error("cannot change to directory '%s': %m", conf->cwd);
        return MC_ERROR;
    }
    if (!a->check && conf->set.daemon && !mc_inherit_ours()->parent && mc_daemon_start() != MC_OK) {
        mc_error("cannot go to the background: %m");
        return MC_ERROR;
    }
    /* The default of 0 speaks of unix sockets only: files that apps make keep the umask that we were started with. */
    a->umask = umask((mode_t)conf->set.umask_);
    if (!conf->set.umask_)
        umask(a->umask);
    a->pid = getpid();
    if (make_records(a) == MC_OK)
        return MC_OK;
    mc_error("cannot make the scoreboard: %m");
    return MC_ERROR;
}

static void finish(struct mc_arbiter *a)
{
    mc_sinks_tick();
    mc_listeners_close(a->gen);
    if (a->pidfile)
        mc_pidfile_remove(a->pidfile, a->pid);
    free(a->pidfile);
    mc_seats_close(a);
    mc_upgrade_close(a);
    mc_hops_close(a);
    mc_watch_close(a);
    if (a->signals.registered)
        mc_io_unwatch(&a->loop, &a->signals);
    if (a->loop.ops)
        mc_loop_close(&a->loop);
    mc_scoreboard_close(&a->board);
    free(a->kids);
    free(a->tally);
    if (a->gen->errorlog >= 0)
        mc_log_set_fd(STDERR_FILENO);
    while (a->gen) {
        struct mc_generation *g = a->gen;
        a->gen = g->older;
        mc_generation_free(&g);
    }
}

static void say_goodbye(const struct mc_arbiter *a)
{
    enum mc_log_level level = a->code == MC_EXIT_OK ? MC_LOG_INFO : MC_LOG_ERROR;
    mc_log_line(level, "Shutting down: Master");
    if (a->reason)
        mc_log_line(level, "Reason: %s", a->reason);
}

int mc_arbiter_run(struct mc_conf *conf, bool check)
{
    struct mc_arbiter a = {.check = check, .made = 1, .board.shm.fd = -1, .oom_kills = -1, .reload.loaded = -1};
    a.signals.fd = -1;
    a.gen = mc_generation_make(&a, conf, 1);
    if (!a.gen) {
        mc_error("out of memory");
        mc_conf_free(&conf);
        return MC_EXIT_FAIL;
    }
    if (enter(&a) != MC_OK || (check ? start_check(&a) : start(&a)) != MC_OK) {
        a.code = a.stopping == MC_STOP_NOT ? MC_EXIT_FAIL : MC_EXIT_OK;
    } else {
        run(&a);
        if (!check)
            say_goodbye(&a);
        else if (a.code == MC_EXIT_OK)
            printf("monoceros: the configuration is ok\n");
    }
    finish(&a);
    return a.code;
}
