/* Reloading: a child reads and checks the configuration, a fresh generation is made of what it wrote, proves itself beside the one that serves, and takes
 * over; then roll.c exchanges the workers. Whatever fails before is told in one line, and the old generation goes on. Called by the arbiter's loop. */
#include "core/os/fd.h"
#include "core/os/proc.h"
#include "core/os/signals.h"
#include "core/process/arbiter.h"
#include "core/process/notify.h"
#include "core/process/upgrade.h"
#include "core/server/access.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOADER_MS = 60000, MOST = 64 << 20 };

static void enter(struct mc_arbiter *a, enum mc_reload_state state)
{
    a->reload.state = state;
    a->reload.since_ms = a->loop.now;
}

void mc_reload_note(struct mc_arbiter *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(a->reload.failure, sizeof(a->reload.failure), fmt, ap);
    va_end(ap);
}

/* Why, is in reload.failure. */
static void fail(struct mc_arbiter *a)
{
    a->reload.failed++;
    mc_tally_reload(a, a->reload.failure);
    mc_error("Reload failed: %s; generation %u goes on", a->reload.failure, a->gen->number);
    enter(a, MC_RELOAD_NONE);
}

/* ---- in the child that loads ---- */

/* Who the workers are is resolved here, where the user database may be asked. */
struct head {
    uid_t uid;
    gid_t gid;
};

/* The configuration, or why there is none, goes to a memfd. */
static int print(const struct mc_conf *conf, int out, char *err, size_t errcap)
{
    struct head head = {conf->uid, conf->gid};
    struct mc_sb text;
    mc_sb_init(&text, MOST);
    int rc = mc_conf_print(conf, &text);
    if (rc == MC_OK && !text.bad && mc_fd_write_all(out, (const char *)&head, sizeof(head)) == MC_OK && mc_fd_write_all(out, text.p, text.n) == MC_OK)
        return MC_OK;
    snprintf(err, errcap, "the configuration cannot be written: out of memory");
    return MC_ERROR;
}

static int load(int out)
{
    char err[512] = "", why[256] = "";
    struct mc_conf *conf = mc_conf_reload(err, sizeof(err));
    int rc = conf ? MC_OK : MC_ERROR;
    if (conf && mc_access_check(conf->set.access_log_format, why, sizeof(why)) != MC_OK) {
        snprintf(err, sizeof(err), "access_log_format: %s", why);
        rc = MC_ERROR;
    }
    if (rc == MC_OK)
        rc = mc_keys_check(conf, err, sizeof(err));
    if (rc == MC_OK)
        rc = print(conf, out, err, sizeof(err));
    if (rc != MC_OK)
        (void)mc_fd_write_all(out, err, strlen(err));
    return rc;
}

/* ---- begin ---- */

void mc_reload_ask(struct mc_arbiter *a)
{
    struct mc_reload *r = &a->reload;
    if (a->check || a->stopping != MC_STOP_NOT)
        return;
    mc_info("Hang up: Master");
    if (!r->pending && r->state != MC_RELOAD_NONE) /* of a storm it is said once */
        mc_info("Reload: one is under way: another one follows it");
    r->pending = true;
    r->change = 0;
    mc_arbiter_wake_at(a, a->loop.now);
}

static void begin(struct mc_arbiter *a)
{
    struct mc_reload *r = &a->reload;
    r->pending = false;
    mc_notify_reloading();
    r->failure[0] = '\0';
    r->late = false;
    r->loaded = mc_fd_memfd("monoceros-loaded", "", 0, false);
    r->loader = r->loaded < 0 ? MC_ERROR : mc_spawn_loader(a, r->loaded, load);
    enter(a, MC_RELOAD_LOADING);
    if (r->loader > 0) {
        mc_debug("Reload: the configuration is read by pid %ld", (long)r->loader);
        return;
    }
    r->loader = 0;
    mc_reload_note(a, "cannot start a process that reads the configuration: %s", strerror(errno));
    mc_fd_close(&r->loaded);
    fail(a);
}

/* ---- the fresh generation ---- */

/* What concerns the process itself, or what a kept socket has from its bind, does not change. */
static void warn_of_fixed(const struct mc_conf *was, const struct mc_conf *is)
{
    if (was->set.daemon != is->set.daemon)
        mc_warn("Reload: daemon stays as it was: restart to change it");
    bool owner = was->uid != is->uid || was->gid != is->gid, mask = was->set.umask_ != is->set.umask_;
    for (size_t i = 0; (owner || mask) && i < is->nlistens; i++) {
        const struct mc_conf_listen *l = &is->listens[i];
        if (l->addr.family == AF_UNIX && l->addr.fd < 0 && mc_listeners_has(was, is, i))
            mc_warn("Reload: %s keeps its %s: restart to change it", l->text, owner ? "owner" : "mode");
    }
}

static int fits(struct mc_arbiter *a, const struct mc_generation *g)
{
    unsigned wanted = mc_generation_workers(g);
    if (wanted <= a->nkids / 2)
        return MC_OK;
    mc_reload_note(a, "%u workers are more than this process has room for (%u): restart for that", wanted, a->nkids / 2);
    return MC_ERROR;
}

/* What workers of the old generation were given by TTIN and TTOU is gone, but for what came after the signal. */
static void count_again(struct mc_arbiter *a, struct mc_generation *g)
{
    struct mc_arb_pool *p = &g->pools[0];
    for (int i = a->reload.change; i != 0; i += i > 0 ? -1 : 1)
        p->wanted = mc_policy_wanted(p->wanted, i > 0 ? 1 : -1, a->nkids / 2);
}

static int furnish(struct mc_arbiter *a, struct mc_generation *g)
{
    char err[256] = "";
    if (fits(a, g) != MC_OK)
        return MC_ERROR;
    mc_reload_note(a, "see the line before");
    if (mc_generation_prepare(g) != MC_OK || mc_logs_open(g) != MC_OK || mc_keys_open(g) != MC_OK)
        return MC_ERROR;
    if (mc_listeners_inherit(g, err, sizeof(err)) == MC_OK)
        return MC_OK;
    mc_reload_note(a, "%s", err);
    return MC_ERROR;
}

static void discard(struct mc_arbiter *a)
{
    struct mc_generation *g = a->fresh;
    a->fresh = NULL;
    g->older = a->gen->older;
    a->gen->older = g;
    mc_listeners_part(g);
    mc_roll_dismiss(g);
}

void mc_reload_discard(struct mc_arbiter *a)
{
    discard(a);
    fail(a);
}

static void build(struct mc_arbiter *a, const char *text, size_t n)
{
    char err[400] = "";
    struct head head = {0};
    struct mc_conf *conf = NULL;
    if (n > sizeof(head))
        conf = mc_conf_parse(text + sizeof(head), n - sizeof(head), "the loaded configuration", err, sizeof(err));
    if (conf) {
        memcpy(&head, text, sizeof(head));
        conf->uid = head.uid;
        conf->gid = head.gid;
    }
    struct mc_generation *g = conf ? mc_generation_make(a, conf, a->made + 1) : NULL;
    if (!g) {
        mc_reload_note(a, "%s", conf ? "out of memory" : err);
        mc_conf_free(&conf);
        fail(a);
        return;
    }
    a->made++;
    g->older = a->gen;
    a->fresh = g;
    count_again(a, g);
    if (furnish(a, g) != MC_OK) {
        mc_reload_discard(a);
        return;
    }
    a->reload.failure[0] = '\0';
    warn_of_fixed(a->gen->conf, conf);
    enter(a, MC_RELOAD_PROVING);
    mc_info("Reload: generation %u is loaded and starts its first workers", g->number);
}

static char *read_loaded(int fd, size_t *n)
{
    struct stat st;
    *n = 0;
    if (fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > MOST)
        return NULL;
    char *text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (text == MAP_FAILED)
        return NULL;
    *n = (size_t)st.st_size;
    return text;
}

bool mc_reload_reaped(struct mc_arbiter *a, pid_t pid, int status)
{
    struct mc_reload *r = &a->reload;
    if (r->loader == 0 || pid != r->loader)
        return false;
    size_t n;
    char *text = read_loaded(r->loaded, &n);
    r->loader = 0;
    mc_fd_close(&r->loaded);
    if (r->state != MC_RELOAD_LOADING) {
        mc_debug("Reload: who read the configuration has ended");
    } else if (text && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        build(a, text, n);
    } else {
        if (r->late)
            mc_reload_note(a, "reading the configuration took more than %d s", LOADER_MS / 1000);
        else if (WIFSIGNALED(status))
            mc_reload_note(a, "the process that read the configuration was sent %s", mc_signals_name(WTERMSIG(status)));
        else
            mc_reload_note(a, "%.*s", (int)(n < 500 ? n : 500), text ? text : "");
        fail(a);
    }
    if (text)
        munmap(text, n);
    return true;
}

/* ---- a birth of the fresh generation has failed ---- */

void mc_reload_unborn(struct mc_arbiter *a, struct mc_arb_pool *p, const struct mc_policy_end *e)
{
    mc_policy_failed(&p->births, a->loop.now);
    mc_arbiter_wake_at(a, p->births.next_ms);
    if (!mc_policy_discard(e, p->births.failures))
        return;
    char said[sizeof(a->reload.failure)];
    snprintf(said, sizeof(said), "%s", a->reload.failure);
    bool silent = !*said && !e->timeout && !e->pool_ready;
    if (silent && e->signal)
        snprintf(said, sizeof(said), "it was sent %s", mc_signals_name(e->signal));
    else if (silent && !e->ready)
        snprintf(said, sizeof(said), "it exited with code %d", e->code);
    const char *what = e->timeout                                              ? "a worker or its import was silent for longer than timeout"
                       : e->failed == MC_EXIT_APP || e->code == MC_EXIT_APP ? "App failed to load"
                       : e->ready                                           ? "its workers end at once"
                                                                            : "Worker failed to boot";
    mc_reload_note(a, "pool \"%s\": %s%s%.300s", p->conf->name, what, *said ? ": " : "", said);
    mc_reload_discard(a);
}

/* ---- taking over ---- */

/* Of this pool, a worker that lives. */
static bool proved(struct mc_arbiter *a, const struct mc_arb_pool *p)
{
    for (unsigned i = 0; i < a->nkids; i++) {
        const struct mc_kid *k = &a->kids[i];
        if (k->pool != p || k->life != MC_LIFE_READY)
            continue;
        if (mc_policy_steady(a->loop.now - k->ready_ms, mc_slot_get(k->slot->requests) > 0))
            return true;
        mc_arbiter_wake_at(a, k->ready_ms + MC_POLICY_STEADY_MS);
    }
    return false;
}

static bool all_proved(struct mc_arbiter *a)
{
    bool all = true;
    for (size_t i = 0; i < a->fresh->conf->npools; i++)
        all &= proved(a, &a->fresh->pools[i]);
    return all;
}

/* Where the process itself is, and by what name. MC_ERROR: noted. */
static int move(struct mc_arbiter *a, const struct mc_conf *conf)
{
    char err[256];
    if (chdir(conf->cwd) < 0) {
        mc_reload_note(a, "cannot change to directory '%s': %s", conf->cwd, strerror(errno));
        return MC_ERROR;
    }
    if (mc_upgrade_pidfile(a, conf, err, sizeof(err)) != MC_OK) {
        mc_reload_note(a, "%s", err);
        (void)!chdir(a->gen->conf->cwd);
        return MC_ERROR;
    }
    umask(conf->set.umask_ ? (mode_t)conf->set.umask_ : a->umask);
    return MC_OK;
}

static void take_over(struct mc_arbiter *a)
{
    struct mc_generation *g = a->fresh, *old = a->gen;
    if (move(a, g->conf) != MC_OK) {
        mc_reload_discard(a);
        return;
    }
    a->gen = g;
    a->fresh = NULL;
    mc_arbiter_title(a);
    mc_logs_pass(g);
    mc_info("Reload: generation %u takes over from generation %u", g->number, old->number);
    mc_listeners_part(old);
    enter(a, MC_RELOAD_ROLLING);
}

/* ---- each turn ---- */

static bool has_kids(const struct mc_arbiter *a, const struct mc_generation *g)
{
    for (unsigned i = 0; i < a->nkids; i++) {
        if (a->kids[i].life != MC_LIFE_NONE && a->kids[i].pool->gen == g)
            return true;
    }
    for (size_t i = 0; i < g->conf->npools; i++) {
        if (g->pools[i].zygote.life != MC_LIFE_NONE)
            return true;
    }
    return false;
}

static void sweep(struct mc_arbiter *a)
{
    struct mc_generation **at = &a->gen->older;
    while (*at) {
        struct mc_generation *g = *at;
        if (has_kids(a, g)) {
            at = &g->older;
            continue;
        }
        for (unsigned i = 0; i < a->nkids; i++) {
            if (a->kids[i].pool && a->kids[i].pool->gen == g)
                a->kids[i].pool = NULL; /* a life that is over */
        }
        mc_debug("Reload: generation %u is gone", g->number);
        *at = g->older;
        mc_generation_free(&g);
        mc_hops_sweep(a);
    }
}

/* Leaving workers of older generations that will be gone in a time that is known. */
static bool draining(const struct mc_arbiter *a)
{
    for (unsigned i = 0; i < a->nkids; i++) {
        const struct mc_kid *k = &a->kids[i];
        if (k->life == MC_LIFE_LEAVING && k->pool->gen != a->gen && k->kill_ms)
            return true;
    }
    return false;
}

static bool may_begin(const struct mc_arbiter *a)
{
    const struct mc_reload *r = &a->reload;
    struct mc_policy_again w = {
        .loading = r->state == MC_RELOAD_LOADING,
        .proving = r->state == MC_RELOAD_PROVING,
        .rolling = r->state == MC_RELOAD_ROLLING,
        .unproved = !mc_generation_ready(a->gen),
        .draining = draining(a),
        .for_ms = a->loop.now - r->since_ms,
    };
    return mc_policy_again(&w);
}

void mc_reload_tend(struct mc_arbiter *a)
{
    struct mc_reload *r = &a->reload;
    if (a->check || a->stopping != MC_STOP_NOT)
        return;
    sweep(a);
    if (r->state == MC_RELOAD_LOADING) {
        if (a->loop.now >= r->since_ms + LOADER_MS && !r->late) {
            r->late = true;
            kill(-r->loader, SIGKILL);
        }
        mc_arbiter_wake_at(a, r->since_ms + LOADER_MS);
    }
    if (r->state == MC_RELOAD_PROVING && all_proved(a))
        take_over(a);
    if (r->state == MC_RELOAD_ROLLING && mc_roll_done(a)) {
        r->done++;
        mc_tally_reload(a, NULL);
        mc_info("Reload: done, generation %u serves", a->gen->number);
        enter(a, MC_RELOAD_NONE);
    }
    if (!r->pending || r->loader != 0 || !may_begin(a)) /* one that was given up may still be there: its end wakes us */
        return;
    if (r->state == MC_RELOAD_PROVING) {
        mc_reload_note(a, "it has not proved itself yet, and the next one is asked for");
        mc_reload_discard(a);
    }
    begin(a);
}

void mc_reload_stop(struct mc_arbiter *a)
{
    struct mc_reload *r = &a->reload;
    r->pending = false;
    if (r->loader > 0)
        kill(-r->loader, SIGKILL);
    if (a->fresh)
        discard(a);
    if (r->state != MC_RELOAD_NONE)
        mc_info("Reload: given up");
    enter(a, MC_RELOAD_NONE);
}
