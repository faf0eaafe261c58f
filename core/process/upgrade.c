/* An upgrade without a pause: USR2 starts the program anew, as we were started, with our listeners. While both live, both serve the same sockets;
 * who leaves takes nothing with him that the other has. The two talk over a pair of sockets in texts, so that versions may differ:
 * up "took ADDRESS=FD;…" (listeners that the new one serves), "ready", "leaving"; down "main" (the old one leaves, the service manager was told that
 * the new one is its main process). Its end is the end of the other. Never waits. Arbiter. */
#include "core/process/upgrade.h"
#include "core/os/fd.h"
#include "core/os/proc.h"
#include "core/os/signals.h"
#include "core/process/arbiter.h"
#include "core/process/inherit.h"
#include "core/process/notify.h"
#include "core/process/pidfile.h"
#include "core/process/plate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_TEXT = 1 << 17 };

static struct {
    struct mc_plate plate;
    char *program;
    pid_t parent, heir;     /* 0: none, or gone */
    bool direct;            /* the parent is really our parent: nobody stands in between */
    struct mc_io up, down;  /* the channels to them; fd -1: none */
    bool heir_ready, told;  /* told: the one before us knows that we are ready */
    bool heir_leaves;
    bool stepped_back;      /* our workers left for the heir */
    bool winch;             /* they will when it is ready */
} self = {.plate.shm.fd = -1, .up.fd = -1, .down.fd = -1};

/* ---- which program ---- */

static bool is_us(const char *path)
{
    struct stat us, that;
    return stat("/proc/self/exe", &us) == 0 && stat(path, &that) == 0 && us.st_dev == that.st_dev && us.st_ino == that.st_ino;
}

static char *join(const char *dir, size_t n, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%.*s/%s", (int)n, dir, name) < 0 ? NULL : path;
}

char *mc_upgrade_program(const char *argv0, const char *dir, const char *path)
{
    char *found = NULL;
    if (argv0[0] == '/')
        found = strdup(argv0);
    else if (strchr(argv0, '/'))
        found = join(dir, strlen(dir), argv0);
    for (const char *at = path; !strchr(argv0, '/') && at && *at && !found;) {
        size_t n = strcspn(at, ":");
        found = n ? join(at, n, argv0) : join(dir, strlen(dir), argv0);
        if (found && !is_us(found)) {
            free(found);
            found = NULL;
        }
        at += n + (at[n] == ':');
    }
    if (found && is_us(found))
        return found;
    free(found);
    return strdup(mc_proc_exe());
}

/* ---- talking ---- */

static void say(struct mc_io *io, const char *text)
{
    if (io->fd >= 0 && send(io->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        mc_debug("the other program does not listen: %m");
}

/* A message into text; false: none. *end: there will never be one. */
static bool hear(struct mc_io *io, char *text, size_t cap, bool *end)
{
    ssize_t n = recv(io->fd, text, cap - 1, MSG_DONTWAIT);
    *end = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static void hang_up(struct mc_arbiter *a, struct mc_io *io)
{
    if (io->fd < 0)
        return;
    mc_io_unwatch(&a->loop, io);
    mc_fd_close(&io->fd);
}

static int listen_to(struct mc_arbiter *a, struct mc_io *io, int fd, void (*fn)(struct mc_io *))
{
    mc_io_init(io, fd, fn, a);
    io->level = true;
    if (mc_io_watch(&a->loop, io, MC_WANT_READ) == MC_OK)
        return MC_OK;
    mc_fd_close(&io->fd);
    return MC_ERROR;
}

/* ---- the one before us ---- */

bool mc_upgrade_pending(void)
{
    return self.parent != 0;
}

static void show_pidfile(const char *path)
{
    char *real = realpath(path, NULL);
    snprintf(self.plate.head->pidfile, sizeof(self.plate.head->pidfile), "%s", real ? real : "");
    free(real);
}

/* X.2 becomes X, whatever stands there of the one that is gone. */
static void take_pidfile(struct mc_arbiter *a)
{
    size_t n = a->pidfile ? strlen(a->pidfile) : 0;
    char *name = n > 2 && strcmp(a->pidfile + n - 2, ".2") == 0 ? strndup(a->pidfile, n - 2) : NULL;
    if (!name)
        return;
    if (rename(a->pidfile, name) < 0) {
        mc_error("cannot rename the pidfile %s to %s: %m", a->pidfile, name);
        free(name);
        return;
    }
    free(a->pidfile);
    a->pidfile = name;
    show_pidfile(name);
}

static void promote(struct mc_arbiter *a)
{
    self.parent = 0;
    hang_up(a, &self.up);
    if (self.plate.head)
        atomic_store(&self.plate.head->parent, 0);
    mc_info("Master has been promoted.");
    mc_shares_end(a);
    take_pidfile(a);
    mc_arbiter_title(a);
    mc_notify_promote(a->loop.now);
}

static void on_parent(struct mc_io *io)
{
    static char text[256];
    struct mc_arbiter *a = io->data;
    bool end;
    while (hear(io, text, sizeof(text), &end)) {
        if (strcmp(text, "main") != 0)
            continue;
        mc_notify_promote(a->loop.now);
        mc_shares_end(a); /* it leaves them alone from now on */
    }
    if (end)
        promote(a);
}

int mc_upgrade_open(struct mc_arbiter *a)
{
    struct mc_inherit *in = mc_inherit_ours();
    struct mc_conf_first first;
    mc_conf_first(&first);
    self.program = mc_upgrade_program(first.argv[0] ? first.argv[0] : "", first.dir, getenv("PATH"));
    struct mc_plate_words w = {self.program, first.dir, (char **)(uintptr_t)first.argv, (char **)(uintptr_t)first.env};
    if (!self.program || mc_plate_make(&self.plate, a->pid, &w) != MC_OK) {
        mc_error("cannot make the nameplate: %m");
        return MC_ERROR;
    }
    bool lives = in->parent != 0 && in->channel >= 0 && listen_to(a, &self.up, in->channel, on_parent) == MC_OK;
    self.parent = lives ? in->parent : 0;
    self.direct = getppid() == self.parent;
    atomic_store(&self.plate.head->parent, (int32_t)self.parent);
    mc_notify_open(!lives);
    return MC_OK;
}

int mc_upgrade_pidfile(struct mc_arbiter *a, const struct mc_conf *conf, char *err, size_t errcap)
{
    const char *path = conf->set.pidfile;
    bool inside = path && path[0] != '/';
    char *name = NULL;
    if (path && asprintf(&name, "%s%s%s%s", inside ? conf->cwd : "", inside ? "/" : "", path, self.parent ? ".2" : "") < 0) {
        snprintf(err, errcap, "out of memory");
        return MC_ERROR;
    }
    if (name && a->pidfile && strcmp(name, a->pidfile) == 0) {
        free(name);
        return MC_OK;
    }
    if (name && mc_pidfile_create(name, a->pid, err, errcap) != MC_OK) {
        free(name);
        return MC_ERROR;
    }
    if (a->pidfile)
        mc_pidfile_remove(a->pidfile, a->pid);
    free(a->pidfile);
    a->pidfile = name;
    show_pidfile(name ? name : "");
    return MC_OK;
}

/* In place of `bind` all are used: as fd://N, whatever is taken here. */
static void warn_unless_taken(const struct mc_arbiter *a, const struct mc_inherited *one)
{
    const struct mc_conf *conf = a->gen->conf;
    char text[160];
    bool used = one->taken;
    for (size_t i = 0; i < conf->nlistens; i++)
        used |= conf->listens[i].addr.fd == one->fd;
    mc_addr_print(&one->addr, text, sizeof(text));
    if (!used)
        mc_warn("systemd gives a socket at %s (%s), but no server listens there", text, one->text ? one->text : "without a name");
}

void mc_upgrade_listening(struct mc_arbiter *a)
{
    mc_seats_inherit(a);
    struct mc_inherit *in = mc_inherit_ours();
    struct mc_sb text, took;
    mc_sb_init(&text, MAX_TEXT);
    mc_sb_init(&took, MAX_TEXT);
    for (size_t i = 0; i < in->n; i++) {
        if (in->v[i].systemd)
            warn_unless_taken(a, &in->v[i]);
        else if (in->v[i].taken)
            mc_inherit_print(&took, in->v[i].text, in->v[i].fd);
    }
    mc_sb_addz(&text, "took ");
    mc_sb_addz(&text, mc_sb_z(&took));
    if (self.parent)
        say(&self.up, mc_sb_z(&text));
    mc_sb_fini(&text);
    mc_sb_fini(&took);
    mc_inherit_close(in);
}

/* ---- the one after us ---- */

bool mc_upgrade_has_heir(void)
{
    return self.heir != 0;
}

static void note(enum mc_heir state, int code, const char *reason)
{
    struct mc_plate_head *h = self.plate.head;
    snprintf(h->reason, sizeof(h->reason), "%s", reason);
    atomic_store(&h->code, code);
    atomic_store(&h->heir, (int32_t)self.heir);
    atomic_store(&h->state, (uint32_t)state);
}

static void on_took(struct mc_arbiter *a, const char *text)
{
    struct mc_inherit took;
    char err[128];
    if (mc_inherit_parse(&took, text, err, sizeof(err)) == MC_OK)
        mc_shares_set(a, &took);
    for (size_t i = 0; i < took.n; i++)
        took.v[i].taken = true; /* the numbers are those of the other program */
    mc_inherit_close(&took);
}

static void on_ready(struct mc_arbiter *a)
{
    self.heir_ready = true;
    note(MC_HEIR_READY, 0, "");
    mc_info("The new master (pid:%ld) is ready. TERM ends this one; HUP and then TERM to the new one go back", (long)self.heir);
    self.stepped_back |= self.winch;
    if (self.winch && a->stopping == MC_STOP_NOT)
        mc_arbiter_step_back(a);
    self.winch = false;
}

/* The sockets are ours alone again, and our workers come back while its own still finish what they have. */
static void come_back(struct mc_arbiter *a)
{
    mc_shares_end(a);
    if (self.stepped_back)
        mc_arbiter_step_forward(a);
    self.stepped_back = self.winch = false;
}

static void on_heir(struct mc_io *io)
{
    static char text[MAX_TEXT];
    struct mc_arbiter *a = io->data;
    bool end;
    while (hear(io, text, sizeof(text), &end)) {
        if (strncmp(text, "took ", 5) == 0) {
            on_took(a, text + 5);
        } else if (strcmp(text, "ready") == 0 && !self.heir_ready) {
            on_ready(a);
        } else if (strcmp(text, "leaving") == 0) {
            self.heir_leaves = true;
            if (a->stopping == MC_STOP_NOT)
                come_back(a);
        }
    }
    /* What it means is said when it is reaped. */
    if (end)
        hang_up(a, io);
}

/* Words for the new program, and what it gets. */
struct estate {
    struct mc_sb fds, names;
    char **env;
    size_t nenv;
    char pid[40], listen_pid[40], listen_fds[40], *fds_word, *names_word;
};

static void free_estate(struct estate *e)
{
    mc_sb_fini(&e->fds);
    mc_sb_fini(&e->names);
    free(e->fds_word);
    free(e->names_word);
    free(e->env);
}

static void add_word(struct estate *e, char *word)
{
    e->env[e->nenv++] = word;
}

static int write_estate(struct mc_arbiter *a, struct estate *e, int channel)
{
    const struct mc_inherit *in = mc_inherit_ours();
    struct mc_conf_first first;
    size_t n = 0, given = mc_inherit_systemd(in);
    mc_conf_first(&first);
    *e = (struct estate){.nenv = 0};
    mc_sb_init(&e->fds, MAX_TEXT);
    mc_sb_init(&e->names, MAX_TEXT);
    mc_inherit_print(&e->fds, NULL, channel);
    mc_shares_print(a, &e->fds);
    for (size_t i = 0; i < in->n; i++)
        mc_sb_addf(&e->names, "%s%s", i ? ":" : "", in->v[i].text ? in->v[i].text : "unknown");
    while (first.env[n])
        n++;
    e->env = calloc(n + 6, sizeof(*e->env));
    if (!e->env || e->fds.bad || e->names.bad || asprintf(&e->fds_word, "MONOCEROS_FD=%s", mc_sb_z(&e->fds)) < 0 ||
        asprintf(&e->names_word, "LISTEN_FDNAMES=%s", mc_sb_z(&e->names)) < 0)
        return MC_ERROR;
    while (e->nenv < n)
        add_word(e, first.env[e->nenv]);
    snprintf(e->pid, sizeof(e->pid), "MONOCEROS_PID=%ld", (long)a->pid);
    snprintf(e->listen_fds, sizeof(e->listen_fds), "LISTEN_FDS=%zu", given);
    add_word(e, e->pid);
    add_word(e, e->fds_word);
    if (given) {
        add_word(e, e->listen_pid);
        add_word(e, e->listen_fds);
        add_word(e, e->names_word);
    }
    return MC_OK;
}

static MC_NORETURN void be_heir(struct mc_arbiter *a, struct estate *e, int channel)
{
    static const int ignored[] = {SIGPIPE, 0};
    const struct mc_inherit *in = mc_inherit_ours();
    struct mc_conf_first first;
    mc_conf_first(&first);
    mc_signals_default(ignored);
    snprintf(e->listen_pid, sizeof(e->listen_pid), "LISTEN_PID=%ld", (long)getpid());
    (void)mc_fd_cloexec(channel, false);
    mc_shares_bequeath(a);
    for (size_t i = 0; i < in->n; i++)
        (void)mc_fd_cloexec(in->v[i].fd, false);
    if (chdir(first.dir) < 0)
        mc_error("Upgrade: cannot go back to %s: %m", first.dir);
    else {
        execve(self.program, (char **)(uintptr_t)first.argv, e->env);
        mc_error("Upgrade: cannot run %s: %m", self.program);
    }
    _exit(MC_EXIT_FAIL);
}

static const char *refusal(const struct mc_arbiter *a)
{
    if (self.heir)
        return "Child exists.";
    if (self.parent)
        return "Parent exists.";
    if (a->stopping != MC_STOP_NOT)
        return "This one is leaving.";
    /* When process 1 ends, the kernel ends all others of its namespace. */
    return a->pid == 1 ? "Process 1 of a container cannot be replaced: start a new container." : NULL;
}

static int start_heir(struct mc_arbiter *a)
{
    struct estate e;
    int pair[2] = {-1, -1};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return MC_ERROR;
    int rc = write_estate(a, &e, pair[1]);
    /* From now on: whatever happens to us, the sockets may be another's, too. */
    if (rc == MC_OK)
        mc_shares_set(a, NULL);
    mc_notice_exec(a);
    pid_t pid = rc == MC_OK ? fork() : -1;
    if (pid == 0)
        be_heir(a, &e, pair[1]);
    int why = errno;
    free_estate(&e);
    mc_fd_close(&pair[1]);
    errno = why;
    if (pid < 0) {
        mc_fd_close(&pair[0]);
        return MC_ERROR;
    }
    self.heir = pid;
    self.heir_ready = self.heir_leaves = self.winch = false;
    /* Without its words it is a heir all the same. */
    if (listen_to(a, &self.down, pair[0], on_heir) != MC_OK)
        mc_warn("cannot hear the new master: %m");
    return MC_OK;
}

void mc_upgrade_begin(struct mc_arbiter *a)
{
    const char *why = refusal(a);
    atomic_fetch_add(&self.plate.head->attempts, 1);
    if (why) {
        if (!self.heir)
            note(MC_HEIR_REFUSED, 0, why);
        mc_warn("USR2 signal ignored. %s", why);
        return;
    }
    note(MC_HEIR_STARTS, 0, "");
    if (start_heir(a) == MC_OK) {
        mc_info("Upgrade: starting %s (pid:%ld)", self.program, (long)self.heir);
        note(MC_HEIR_STARTS, 0, "");
        return;
    }
    mc_error("Upgrade: cannot start %s: %m", self.program);
    mc_shares_end(a);
    note(MC_HEIR_REFUSED, 0, "It could not be started.");
}

enum mc_upgrade_winch mc_upgrade_winch(void)
{
    if (!self.heir)
        return MC_WINCH_ALONE;
    if (self.heir_leaves)
        return MC_WINCH_IGNORE;
    self.winch = !self.heir_ready;
    self.stepped_back |= self.heir_ready;
    return self.heir_ready ? MC_WINCH_NOW : MC_WINCH_LATER;
}

void mc_upgrade_stay(void)
{
    self.winch = false;
}

static void say_end(int status)
{
    const char *more = self.heir_ready ? "" : " before it was ready";
    if (WIFSIGNALED(status))
        mc_error("The new master (pid:%ld) was sent %s%s; this one goes on", (long)self.heir, mc_signals_name(WTERMSIG(status)), more);
    else if (WEXITSTATUS(status) != 0 || !self.heir_ready)
        mc_error("The new master (pid:%ld) exited with code %d%s; this one goes on", (long)self.heir, WEXITSTATUS(status), more);
    else
        mc_info("The new master (pid:%ld) has left; this one goes on", (long)self.heir);
}

bool mc_upgrade_reaped(struct mc_arbiter *a, pid_t pid, int status)
{
    char path[PATH_MAX + 2];
    if (self.heir == 0 || pid != self.heir)
        return false;
    say_end(status);
    hang_up(a, &self.down);
    self.heir = 0;
    note(MC_HEIR_FAILED, status, "");
    /* What a killed one could not take away itself. */
    if (a->pidfile && (size_t)snprintf(path, sizeof(path), "%s.2", a->pidfile) < sizeof(path))
        mc_pidfile_remove(path, pid);
    if (a->stopping != MC_STOP_NOT)
        return true;
    come_back(a);
    return true;
}

bool mc_upgrade_followed(void)
{
    if (self.down.fd >= 0)
        on_heir(&self.down);
    return self.heir && !self.heir_leaves;
}

/* What the other one said in this moment counts: of two that leave the second one serves the queues to their end. */
bool mc_upgrade_leave(void)
{
    if (self.up.fd >= 0)
        on_parent(&self.up);
    say(&self.up, "leaving");
    if (!mc_upgrade_followed())
        return false;
    mc_notify_main(self.heir);
    say(&self.down, "main");
    return true;
}

/* ---- both ---- */

void mc_upgrade_tend(struct mc_arbiter *a)
{
    /* A copy of the channel may live on in a child of the dead: the parent itself is the proof. */
    if (self.parent && self.direct && getppid() != self.parent)
        promote(a);
    if (!self.told && self.parent && mc_generation_ready(a->gen)) {
        self.told = true;
        say(&self.up, "ready");
    }
}

void mc_upgrade_close(struct mc_arbiter *a)
{
    if (a->loop.ops) {
        hang_up(a, &self.up);
        hang_up(a, &self.down);
    }
    mc_notify_close();
    mc_plate_close(&self.plate);
    free(self.program);
    self.program = NULL;
}
