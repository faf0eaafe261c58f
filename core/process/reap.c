/* Deaths: waitpid, the line that names the true reason, and what follows (replace, back off, halt). Strangers, which a subreaper or pid 1
 * inherits, are reaped in silence. Called by the arbiter's loop after SIGCHLD. */
#include "core/os/fd.h"
#include "core/os/signals.h"
#include "core/process/arbiter.h"
#include "core/process/upgrade.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static struct mc_kid *find(struct mc_arbiter *a, pid_t pid)
{
    for (unsigned i = 0; i < a->nkids; i++) {
        if (a->kids[i].life != MC_LIFE_NONE && a->kids[i].pid == pid)
            return &a->kids[i];
    }
    for (struct mc_arb_pool *p = mc_generation_next_pool(a, NULL); p; p = mc_generation_next_pool(a, p)) {
        if (p->zygote.life != MC_LIFE_NONE && p->zygote.pid == pid)
            return &p->zygote;
    }
    return NULL;
}

/* oom_kill of our own cgroup (v2); -1 when it cannot be known. */
static int64_t read_oom_kills(void)
{
    char path[512];
    size_t n;
    long long kills = -1;
    char *text = mc_fd_read_file("/proc/self/cgroup", 65536, &n);
    char *at = text ? strstr(text, "0::/") : NULL;
    if (at && (at == text || at[-1] == '\n')) {
        at += 3;
        at[strcspn(at, "\n")] = '\0';
        snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.events", at);
        char *events = mc_fd_read_file(path, 65536, &n);
        char *line = events ? strstr(events, "oom_kill ") : NULL;
        if (line)
            kills = strtoll(line + 9, NULL, 10);
        free(events);
    }
    free(text);
    return kills;
}

void mc_reap_open(struct mc_arbiter *a)
{
    a->oom_kills = read_oom_kills();
}

static const char *who_sent_kill(struct mc_arbiter *a)
{
    int64_t before = a->oom_kills;
    a->oom_kills = read_oom_kills();
    if (before < 0 || a->oom_kills < 0)
        return "Perhaps out of memory?";
    return a->oom_kills > before ? "Out of memory: the kernel killed it." : "Not by monoceros; its cgroup counts no out-of-memory kill.";
}

static const char *const ours[] = {
    [MC_KILL_TIMEOUT] = "WORKER TIMEOUT", [MC_KILL_REQUEST] = "REQUEST TIMEOUT", [MC_KILL_GRACE] = "the end of graceful_timeout", [MC_KILL_QUICK] = "a quick stop",
    [MC_KILL_FORCED] = "a forced stop",   [MC_KILL_CHANNEL] = "its channel failed",
};

static void log_signal(struct mc_kid *k, const char *kind, int sig)
{
    char text[MC_BOARD_BUSY_TEXT];
    const char *name = mc_signals_name(sig), *busy = k->slot ? mc_scoreboard_busy(k->slot, text) : "";
    if (k->killed != MC_KILL_NONE && (sig == SIGKILL || sig == SIGABRT)) {
        mc_warn("%s (pid:%ld) was killed by the arbiter (%s) after %s", kind, (long)k->pid, name, ours[k->killed]);
        return;
    }
    enum mc_log_level level = sig == SIGTERM ? MC_LOG_INFO : sig == SIGKILL ? MC_LOG_ERROR : MC_LOG_WARNING;
    const char *more = sig == SIGKILL ? who_sent_kill(k->arbiter) : "";
    mc_log_line(level, "%s (pid:%ld) was sent %s!%s%s%s%s", kind, (long)k->pid, name, *more ? " " : "", more, *busy ? " It was in: " : "",
                busy);
}

/* With code 0 some leave because they are told to; an app's os._exit(0) is no such end. */
static void log_exit(struct mc_kid *k, const char *kind, int code)
{
    char text[MC_BOARD_BUSY_TEXT];
    const char *busy = k->slot ? mc_scoreboard_busy(k->slot, text) : "";
    bool asked = k->life == MC_LIFE_LEAVING, unborn = k->slot && !k->ready_ms;
    if (code != 0 || (!asked && (*busy || unborn)))
        mc_error("%s (pid:%ld) exited with code %d.%s%s", kind, (long)k->pid, code, *busy ? " It was in: " : "", busy);
    else
        mc_debug("%s (pid:%ld) has ended", kind, (long)k->pid);
}

static void log_end(struct mc_kid *k, int status)
{
    const char *kind = mc_kid_kind(k);
    if (WIFSIGNALED(status))
        log_signal(k, kind, WTERMSIG(status));
    else
        log_exit(k, kind, WEXITSTATUS(status));
}

static void back_off(struct mc_arbiter *a, struct mc_arb_pool *p)
{
    unsigned missed;
    mc_policy_failed(&p->births, a->loop.now);
    mc_arbiter_wake_at(a, p->births.next_ms);
    if (!mc_log_limited(&a->storm, &missed))
        return;
    uint64_t ms = p->births.next_ms > a->loop.now ? p->births.next_ms - a->loop.now : 0;
    mc_error("Workers of pool \"%s\" fail to start (%u in a row); next try in %llu.%llu s", p->conf->name, p->births.failures,
             (unsigned long long)ms / 1000, (unsigned long long)ms % 1000 / 100);
}

static void follow_up(struct mc_kid *k, const struct mc_policy_end *e)
{
    struct mc_arbiter *a = k->arbiter;
    struct mc_arb_pool *p = k->pool;
    int code = MC_EXIT_OK;
    if (a->stopping != MC_STOP_NOT)
        return;
    enum mc_policy_next next = mc_policy_ended(e, &code);
    if (p->gen == a->fresh && next != MC_NEXT_REPLACE)
        mc_reload_unborn(a, p, e);
    if (p->gen != a->gen)
        return; /* an older one gets no births any more */
    switch (next) {
    case MC_NEXT_REPLACE:
        break;
    case MC_NEXT_BACKOFF:
        back_off(a, p);
        break;
    case MC_NEXT_HALT:
        mc_stop_halt(a, code);
        break;
    }
}

/* --check-config: every zygote must leave because we told it to; a child that loads native apps ends by itself. */
static void check_ended(struct mc_kid *k, const struct mc_policy_end *e)
{
    if ((!e->asked && k->pool->conf->python) || e->code != 0 || e->signal != 0)
        k->arbiter->code = MC_EXIT_FAIL;
}

static void end(struct mc_kid *k, int status)
{
    struct mc_policy_end e = {
        .asked = k->life == MC_LIFE_LEAVING,
        .timeout = k->killed == MC_KILL_TIMEOUT,
        .ready = k->ready_ms != 0,
        .ready_for_ms = k->ready_ms ? k->arbiter->loop.now - k->ready_ms : 0,
        /* Who dies in its first request has started well: one bad request must not slow the births down. */
        .served = k->slot && (mc_slot_get(k->slot->requests) > 0 || mc_slot_get(k->slot->busy_since_ms) != 0),
        .pool_ready = k->pool->was_ready,
        .code = WIFEXITED(status) ? WEXITSTATUS(status) : 0,
        .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
        .failed = k->failed,
    };
    log_end(k, status);
    mc_tally_ended(k, status);
    mc_notice_gone(k);
    mc_kid_forget(k);
    if (k->arbiter->check)
        check_ended(k, &e);
    else
        follow_up(k, &e);
}

void mc_reap_unborn(struct mc_kid *k)
{
    struct mc_policy_end e = {.pool_ready = true, .signal = SIGKILL}; /* nobody is to blame */
    mc_tally_ended(k, -1);
    mc_kid_forget(k);
    if (k->pool->zygote.life != MC_LIFE_NONE)
        mc_debug("a worker of pool \"%s\" was not born", k->pool->conf->name);
    follow_up(k, &e);
}

/* Its last words first: they say more than the exit code. Looked at before it is reaped, because until then its pid cannot be another's. */
static pid_t next_dead(void)
{
    siginfo_t info = {.si_pid = 0};
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 ? info.si_pid : 0;
}

void mc_reap_all(struct mc_arbiter *a)
{
    pid_t pid;
    /* Who was born and died since we looked has told its pid. */
    for (unsigned i = 0; i < a->nkids; i++) {
        if (a->kids[i].life == MC_LIFE_ASKED)
            mc_kid_hear(&a->kids[i]);
    }
    while ((pid = next_dead()) > 0) {
        int status;
        struct mc_kid *k = find(a, pid);
        if (k)
            mc_kid_hear(k);
        if (pid == a->reload.loader)
            kill(-pid, SIGKILL); /* whom it has left behind */
        if (waitpid(pid, &status, WNOHANG) != pid)
            continue;
        if (k)
            end(k, status);
        else if (!mc_upgrade_reaped(a, pid, status) && !mc_reload_reaped(a, pid, status))
            mc_keys_reaped(a, pid, status);
    }
}
