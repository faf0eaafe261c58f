/* Kids: one record a worker or zygote, its channel, what it says, and the signals it gets when it is silent or will not leave.
 * Trusts nothing that comes up a channel: a wrong message is the end of its sender. Called by the arbiter's loop. */
#include "core/os/fd.h"
#include "core/process/arbiter.h"
#include "core/process/watch.h"
#include "core/server/worker.h"

#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>

enum { EOF_MS = 1000 };

const char *mc_kid_kind(const struct mc_kid *k)
{
    return k->slot ? "Worker" : k->pool->conf->python ? "Zygote" : "Check";
}

static void close_channel(struct mc_kid *k)
{
    if (k->io.fd < 0)
        return;
    mc_io_unwatch(&k->arbiter->loop, &k->io);
    mc_fd_close(&k->io.fd);
}

void mc_kid_forget(struct mc_kid *k)
{
    close_channel(k);
    if (k->slot)
        mc_scoreboard_end(k->slot);
    k->life = MC_LIFE_NONE;
    k->pid = 0;
}

/* From now on it lives on borrowed time. */
static void doom(struct mc_kid *k, uint64_t when, enum mc_kill why)
{
    if (k->kill_ms && k->kill_ms <= when)
        return;
    k->kill_ms = when;
    k->kill_why = why;
    mc_arbiter_wake_at(k->arbiter, when);
}

/* A worker names itself. That the kernel names the sender is not enough: only a child of ours may be signalled later. */
static void on_pid(struct mc_kid *k, pid_t sender)
{
    siginfo_t info;
    bool ours = sender > 0 && waitid(P_PID, (id_t)sender, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
    if (k->life != MC_LIFE_ASKED || !ours) {
        if (k->life == MC_LIFE_ASKED)
            mc_error("A worker names itself pid %ld, which is not a child of ours", (long)sender);
        return;
    }
    k->pid = sender;
    k->life = MC_LIFE_BOOTING;
    mc_slot_set(k->slot->pid, (int32_t)sender);
    mc_notice_born(k);
}

/* It can fork workers; or (--check-config) it is loaded, then has imported the apps as well. */
static void on_zygote_ready(struct mc_kid *k)
{
    bool check = k->arbiter->check;
    if (k->life == MC_LIFE_BOOTING) {
        k->life = MC_LIFE_READY;
        k->ready_ms = k->arbiter->loop.now;
        if (check)
            mc_kid_tell(k, MC_MSG_CHECK);
        mc_notice_zygote(k);
    } else if (k->life == MC_LIFE_READY && check) {
        mc_kid_leave(k, MC_MSG_DRAIN, MC_POLICY_QUICK_MS, MC_KILL_QUICK);
    }
}

static void on_worker_ready(struct mc_kid *k)
{
    if (k->life != MC_LIFE_BOOTING)
        return;
    k->life = MC_LIFE_READY;
    k->ready_ms = k->arbiter->loop.now;
    k->pool->was_ready = true;
}

static bool code_known(int code)
{
    return code == MC_EXIT_FAIL || code == MC_EXIT_BOOT || code == MC_EXIT_APP;
}

static void on_failed(struct mc_kid *k, const struct mc_msg *m)
{
    k->failed = code_known(m->code) ? m->code : MC_EXIT_BOOT;
    if (m->text[0] && !m->value)
        mc_error("%s (pid:%ld): %s", mc_kid_kind(k), (long)k->pid, m->text);
    if (m->text[0] && k->pool->gen == k->arbiter->fresh)
        mc_reload_note(k->arbiter, "%s", m->text);
    /* It leaves by itself; if not, it does not get for ever. */
    doom(k, k->arbiter->loop.now + MC_POLICY_QUICK_MS, MC_KILL_CHANNEL);
}

static void on_message(struct mc_kid *k, const struct mc_msg *m, int fd, pid_t sender)
{
    switch (m->kind) {
    case MC_MSG_PID:
        if (k->slot)
            on_pid(k, sender);
        break;
    case MC_MSG_READY:
        if (k->slot)
            on_worker_ready(k);
        else
            on_zygote_ready(k);
        break;
    case MC_MSG_RECYCLE:
        k->recycling = true;
        k->why = mc_tally_reason(m->text);
        mc_arbiter_wake_at(k->arbiter, k->arbiter->loop.now);
        break;
    case MC_MSG_NO_CLIENTS:
        k->no_clients = true;
        mc_arbiter_wake_at(k->arbiter, k->arbiter->loop.now);
        break;
    case MC_MSG_FAILED:
        on_failed(k, m);
        break;
    case MC_MSG_HOOKED:
        if (!k->slot)
            mc_notice_hooked(k);
        break;
    case MC_MSG_FILES:
        if (m->nfds == 1)
            mc_watch_files(k, fd);
        break;
    default:
        mc_error("%s (pid:%ld) sent a message of kind %u that is not for us", mc_kid_kind(k), (long)k->pid, m->kind);
        mc_kid_signal(k, SIGKILL, MC_KILL_CHANNEL);
        break;
    }
}

static void on_closed(struct mc_kid *k, int why)
{
    close_channel(k);
    if (k->life == MC_LIFE_ASKED) {
        mc_reap_unborn(k);
        return;
    }
    if (why == EBADMSG) {
        mc_error("%s (pid:%ld) sent a malformed message", mc_kid_kind(k), (long)k->pid);
        mc_kid_signal(k, SIGKILL, MC_KILL_CHANNEL);
    }
    /* Mostly it has ended and SIGCHLD follows. An app that closes descriptors wildly must go, too: it has lost its listeners. */
    doom(k, k->arbiter->loop.now + EOF_MS, MC_KILL_CHANNEL);
}

static void on_channel(struct mc_io *io)
{
    struct mc_kid *k = io->data;
    /* Bounded: a chatterbox must not keep the arbiter from its other work. */
    for (int i = 0; i < 8 && k->io.fd >= 0; i++) {
        struct mc_msg m;
        pid_t sender = 0;
        int fd = -1, rc = mc_channel_recv(k->io.fd, &m, &fd, 1, &sender);
        if (rc == MC_AGAIN)
            return;
        if (rc == MC_OK)
            on_message(k, &m, fd, sender);
        else
            on_closed(k, errno);
        mc_fd_close(&fd);
    }
}

void mc_kid_hear(struct mc_kid *k)
{
    struct mc_msg m;
    pid_t sender = 0;
    int fd = -1;
    /* No more than a kid has to say; that the channel is closed is no news here. */
    for (int i = 0; i < 8 && k->io.fd >= 0 && mc_channel_recv(k->io.fd, &m, &fd, 1, &sender) == MC_OK; i++) {
        on_message(k, &m, fd, sender);
        mc_fd_close(&fd);
    }
}

int mc_kid_watch(struct mc_kid *k, int fd)
{
    mc_io_init(&k->io, fd, on_channel, k);
    k->io.level = true;
    return mc_io_watch(&k->arbiter->loop, &k->io, MC_WANT_READ);
}

int mc_kid_tell(struct mc_kid *k, enum mc_msg_kind kind)
{
    struct mc_msg m = {.kind = (uint16_t)kind, .value = k->arbiter->stopping != MC_STOP_NOT};
    if (kind == MC_MSG_DRAIN && !m.value && k->slot)
        mc_listeners_lone(k->pool->gen, &m);
    return k->io.fd < 0 ? MC_ERROR : mc_channel_send(k->io.fd, &m, NULL, 0);
}

void mc_kid_signal(struct mc_kid *k, int sig, enum mc_kill why)
{
    if (k->pid <= 0)
        return;
    if (k->killed == MC_KILL_NONE)
        k->killed = why;
    kill(k->pid, sig);
}

void mc_kid_leave(struct mc_kid *k, enum mc_msg_kind kind, uint64_t limit_ms, enum mc_kill why)
{
    if (k->life == MC_LIFE_NONE)
        return;
    /* Nobody there to be told: with the last copy of its channel the birth comes to nothing. */
    if (k->life == MC_LIFE_ASKED) {
        mc_kid_tell(k, MC_MSG_STOP);
        mc_kid_forget(k);
        return;
    }
    if (mc_kid_tell(k, kind) != MC_OK)
        mc_kid_signal(k, kind == MC_MSG_DRAIN && k->slot ? SIGTERM : SIGQUIT, MC_KILL_NONE);
    k->life = MC_LIFE_LEAVING;
    if (limit_ms)
        doom(k, k->arbiter->loop.now + limit_ms, why);
}

static const char *const reasons[] = {
    [MC_KILL_GRACE] = "is not done within graceful_timeout",
    [MC_KILL_QUICK] = "did not stop at once",
    [MC_KILL_FORCED] = "did not stop",
    [MC_KILL_CHANNEL] = "has closed its channel but did not end",
};

/* "in GET /slow HTTP/1.1 for 31 s", from the kid's own slot. */
static void describe(const struct mc_kid *k, uint64_t now, char *out, size_t cap)
{
    char text[MC_BOARD_BUSY_TEXT];
    out[0] = '\0';
    if (!k->slot)
        snprintf(out, cap, "%s", k->ready_ms ? "a zygote" : "importing the app");
    else if (!k->ready_ms)
        snprintf(out, cap, "still booting");
    else if (mc_scoreboard_busy(k->slot, text)[0]) {
        uint64_t since = mc_slot_get(k->slot->busy_since_ms);
        uint64_t ms = since && since <= now ? now - since : 0;
        snprintf(out, cap, "in %s for %llu s", text, (unsigned long long)ms / 1000);
    } else
        snprintf(out, cap, "not in a request");
}

static uint64_t limit_of(const struct mc_kid *k)
{
    uint64_t ms = (uint64_t)k->pool->conf->set.timeout;
    if (k->slot || ms == 0)
        return ms;
    /* A zygote beats never: it is watched only until it is loaded. */
    if (k->life != MC_LIFE_BOOTING && !(k->arbiter->check && k->life == MC_LIFE_READY))
        return 0;
    return ms > MC_POLICY_ZYGOTE_MS ? ms : MC_POLICY_ZYGOTE_MS;
}

/* What a request may take before we act. A worker whose loop goes on beside its requests gets the time to do better. */
static uint64_t request_limit_of(const struct mc_kid *k)
{
    uint64_t ms = (uint64_t)k->pool->conf->set.request_timeout;
    if (!k->slot || ms == 0)
        return 0;
    return k->pool->conf->worker->ops.worker->serve ? ms + MC_POLICY_REQUEST_MS : ms;
}

static void abort_silent(struct mc_kid *k, uint64_t now, enum mc_kill why)
{
    char what[MC_BOARD_BUSY_TEXT + 64];
    describe(k, now, what, sizeof(what));
    if (k->life == MC_LIFE_ASKED) {
        mc_critical("WORKER TIMEOUT (its zygote did not fork it)");
        mc_reap_unborn(k);
        return;
    }
    mc_critical("%s TIMEOUT (pid:%ld) %s", why == MC_KILL_REQUEST ? "REQUEST" : k->slot ? "WORKER" : "ZYGOTE", (long)k->pid, what);
    mc_kid_signal(k, SIGABRT, why);
    k->aborted_ms = now;
    mc_arbiter_wake_at(k->arbiter, now + MC_POLICY_ABRT_MS);
}

static void note_success(struct mc_kid *k, uint64_t now)
{
    if (k->proved || !k->slot || k->life != MC_LIFE_READY)
        return;
    k->proved = mc_policy_proved(now - k->ready_ms, mc_slot_get(k->slot->requests) > 0);
    if (k->proved)
        mc_policy_healed(&k->pool->births);
}

void mc_kid_watchdog(struct mc_kid *k, uint64_t now)
{
    struct mc_arbiter *a = k->arbiter;
    if (k->life == MC_LIFE_NONE)
        return;
    note_success(k, now);
    mc_notice_watch(k, now);
    if (k->kill_ms && now >= k->kill_ms) {
        char what[MC_BOARD_BUSY_TEXT + 64];
        describe(k, now, what, sizeof(what));
        mc_error("%s (pid:%ld) %s: killed (%s)", mc_kid_kind(k), (long)k->pid, reasons[k->kill_why], what);
        k->kill_ms = 0;
        mc_kid_signal(k, SIGKILL, k->kill_why);
        return;
    }
    if (k->kill_ms)
        mc_arbiter_wake_at(a, k->kill_ms);
    struct mc_policy_watch w = {
        .beat_ms = k->slot ? mc_slot_get(k->slot->beat_ms) : 0,
        .started_ms = k->started_ms,
        .awake_ms = a->awake_ms,
        .limit_ms = limit_of(k),
        .busy_ms = k->slot ? mc_slot_get(k->slot->busy_since_ms) : 0,
        .request_ms = request_limit_of(k),
        .aborted_ms = k->aborted_ms,
    };
    switch (mc_policy_watch(&w, now, &a->next_ms)) {
    case MC_VERDICT_WAIT:
        break;
    case MC_VERDICT_ABORT:
        abort_silent(k, now, MC_KILL_TIMEOUT);
        break;
    case MC_VERDICT_ABORT_REQUEST:
        abort_silent(k, now, MC_KILL_REQUEST);
        break;
    case MC_VERDICT_KILL:
        mc_kid_signal(k, SIGKILL, MC_KILL_TIMEOUT);
        /* Once is enough. */
        k->aborted_ms = now;
        break;
    }
}
