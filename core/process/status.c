/* monoceros --status: from a pidfile to a copy of the scoreboard, through the arbiter's own descriptor of it. The copy is taken with read(), so a
 * worker that scribbles can at worst make it tell nonsense. Never signals anyone and never writes to the board. A process of its own. */
#include "core/process/status.h"

#include "core/base/clock.h"
#include "core/config/conf.h"
#include "core/os/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- the pidfile ---- */

static bool number(struct mc_str s, pid_t *pid)
{
    uint64_t n;
    while (s.n && (s.p[s.n - 1] == '\n' || s.p[s.n - 1] == ' '))
        s.n--;
    if (mc_str_to_u64(s, INT_MAX, &n) != MC_OK || n == 0)
        return false;
    *pid = (pid_t)n;
    return true;
}

/* Of a file, or a bare number where there is no such file. */
static int find_pid(const char *path, pid_t *pid, char *err, size_t cap)
{
    size_t n;
    char *text = mc_fd_read_file(path, 64, &n);
    if (!text && errno == ENOENT && number(mc_str(path), pid))
        path = NULL;
    else if (!text) {
        snprintf(err, cap, errno == ENOENT ? "%s: there is no such pidfile: the server does not run, or it has another one" : "cannot read the pidfile %s: %m", path);
        return errno == ENOENT ? MC_STATUS_STOPPED : MC_STATUS_UNKNOWN;
    }
    bool good = !path || number((struct mc_str){text, n}, pid);
    free(text);
    if (!good) {
        snprintf(err, cap, "%s is no pidfile: it holds no number", path);
        return MC_STATUS_UNKNOWN;
    }
    if (kill(*pid, 0) == 0 || errno == EPERM)
        return MC_STATUS_RUNNING;
    if (path)
        snprintf(err, cap, "not running: %s is stale, there is no process %ld", path, (long)*pid);
    else
        snprintf(err, cap, "not running: there is no process %ld", (long)*pid);
    return MC_STATUS_STOPPED;
}

/* ---- the board ---- */

/* The descriptor of the board among those of a process: open for reading, or -1 with errno (ENOENT: it has none). */
static int open_board(pid_t pid)
{
    char dir[64], path[384], target[256];
    snprintf(dir, sizeof(dir), "/proc/%ld/fd", (long)pid);
    DIR *d = opendir(dir);
    if (!d)
        return -1;
    int found = -1, why = ENOENT;
    for (struct dirent *e; found < 0 && why == ENOENT && (e = readdir(d));) {
        snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        ssize_t n = readlink(path, target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = '\0';
        static const char name[] = "/memfd:" MC_BOARD_MEMFD;
        char after = strncmp(target, name, sizeof(name) - 1) == 0 ? target[sizeof(name) - 1] : 'x';
        if (after == '\0' || after == ' ') {
            found = open(path, O_RDONLY | O_CLOEXEC);
            why = errno;
        }
    }
    closedir(d);
    errno = why;
    return found;
}

static void *read_all(int fd, size_t *size)
{
    enum { MAX = 256 << 20 };
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > MAX)
        return NULL;
    size_t n = 0, room = ((size_t)st.st_size + 63) / 64 * 64;
    char *p = aligned_alloc(64, room);
    while (p && n < (size_t)st.st_size) {
        ssize_t got = pread(fd, p + n, (size_t)st.st_size - n, (off_t)n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    *size = n;
    return p;
}

static int judge(struct mc_status *s, void *bytes, size_t n, char *err, size_t cap)
{
    char build[32];
    if (mc_scoreboard_parse(&s->board, bytes, n) == MC_OK && s->board.head->pid == (int32_t)s->pid)
        return MC_STATUS_RUNNING;
    if (!s->board.head && *mc_scoreboard_build(bytes, n, build))
        snprintf(err, cap, "process %ld is monoceros %s, whose scoreboard this build cannot read: use the program that runs there", (long)s->pid, build);
    else if (s->board.head && s->board.head->pid > 0)
        snprintf(err, cap, "process %ld is a part of the server whose arbiter is process %ld", (long)s->pid, (long)s->board.head->pid);
    else
        snprintf(err, cap, "process %ld has a scoreboard that this build cannot read", (long)s->pid);
    return MC_STATUS_UNKNOWN;
}

int mc_status_read(struct mc_status *s, pid_t pid, char *err, size_t errcap)
{
    *s = (struct mc_status){.pid = pid};
    int fd = open_board(pid);
    if (fd < 0 && (errno == EACCES || errno == EPERM)) {
        snprintf(err, errcap, "no permission to look at process %ld: be the user that the server was started by, or root", (long)pid);
        return MC_STATUS_UNKNOWN;
    }
    if (fd < 0) {
        bool gone = kill(pid, 0) < 0 && errno == ESRCH;
        snprintf(err, errcap, gone ? "not running: process %ld has just ended" : "process %ld is no arbiter of monoceros: the pidfile is stale", (long)pid);
        return MC_STATUS_STOPPED;
    }
    size_t n = 0;
    void *bytes = read_all(fd, &n);
    mc_fd_close(&fd);
    if (!bytes) {
        snprintf(err, errcap, "cannot read the scoreboard of process %ld", (long)pid);
        return MC_STATUS_UNKNOWN;
    }
    s->now_ms = mc_clock_ms();
    s->now = (int64_t)time(NULL);
    int code = judge(s, bytes, n, err, errcap);
    if (code != MC_STATUS_RUNNING) {
        free(bytes);
        s->board = (struct mc_board){.shm.fd = -1};
    }
    return code;
}

void mc_status_free(struct mc_status *s)
{
    free(s->board.head); /* the first of its bytes */
    s->board = (struct mc_board){.shm.fd = -1};
}

/* ---- what it tells ---- */

static uint64_t ago(uint64_t now, uint64_t then)
{
    return then && then < now ? now - then : 0;
}

static const char *state_of(const struct mc_board_kid *k, const struct mc_slot *slot)
{
    if (k->life == MC_BOARD_DRAINING || mc_slot_get(slot->state) == MC_SLOT_DRAINING)
        return "draining";
    if (k->life == MC_BOARD_STARTING)
        return "starting";
    return mc_slot_get(slot->busy_since_ms) ? "busy" : "ready";
}

static unsigned bounded(uint64_t n)
{
    return n <= INT_MAX ? (unsigned)n : 0;
}

static struct mc_status_worker look(const struct mc_status *s, size_t i)
{
    const struct mc_board_kid *k = &s->board.kids[i];
    const struct mc_slot *slot = &s->board.slots[i];
    const struct mc_board_pool *pool = k->pool < MC_BOARD_POOLS ? &s->board.pools[k->pool] : NULL;
    uint64_t since = mc_slot_get(slot->busy_since_ms);
    struct mc_status_worker w = {
        .kid = k,
        .slot = slot,
        .pool = pool,
        .state = state_of(k, slot),
        .age_ms = ago(s->now_ms, k->started_ms),
        .beat_ms = ago(s->now_ms, mc_slot_get(slot->beat_ms)),
        .busy_ms = since ? ago(s->now_ms, since) + 1 : 0,
        .requests_running = bounded(mc_slot_get(slot->running)),
        .requests_queued = bounded(mc_slot_get(slot->queued)),
        .connections = bounded(mc_slot_get(slot->connections)),
        .idle = bounded(mc_slot_get(slot->idle)),
    };
    mc_scoreboard_text(pool ? pool->name : "?", pool ? MC_BOARD_NAME : 1, w.pool_name, sizeof(w.pool_name));
    mc_scoreboard_busy(slot, w.busy);
    return w;
}

static int by_place(const void *a, const void *b)
{
    const struct mc_status_worker *v = a, *w = b;
    if (v->kid->pool != w->kid->pool)
        return v->kid->pool < w->kid->pool ? -1 : 1;
    if (v->kid->generation != w->kid->generation)
        return v->kid->generation < w->kid->generation ? -1 : 1;
    if (v->age_ms != w->age_ms)
        return v->age_ms > w->age_ms ? -1 : 1;
    return v->kid->pid < w->kid->pid ? -1 : v->kid->pid > w->kid->pid;
}

struct mc_status_worker *mc_status_workers(const struct mc_status *s, size_t *n)
{
    struct mc_status_worker *v = calloc((size_t)s->board.n + 1, sizeof(*v));
    *n = 0;
    for (size_t i = 0; v && i < s->board.n; i++) {
        uint32_t life = s->board.kids[i].life;
        if (life != MC_BOARD_NONE && life < MC_BOARD_LIVES)
            v[(*n)++] = look(s, i);
    }
    if (v)
        qsort(v, *n, sizeof(*v), by_place);
    return v;
}

void mc_status_sums(const struct mc_status *s, unsigned pool, struct mc_board_sums *out)
{
    *out = (struct mc_board_sums){0};
    if (pool < MC_BOARD_POOLS)
        mc_scoreboard_sum(out, &s->board.pools[pool].past);
    for (size_t i = 0; i < s->board.n; i++) {
        if (s->board.kids[i].life != MC_BOARD_NONE && s->board.kids[i].pool == pool)
            mc_scoreboard_add(out, &s->board.slots[i]);
    }
}

/* ---- to the terminal ---- */

/* Columns of the terminal, or what `watch` says of its own; 0: no limit. */
static unsigned width(void)
{
    struct winsize w;
    const char *columns = getenv("COLUMNS");
    if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0)
        return w.ws_col;
    unsigned long n = columns ? strtoul(columns, NULL, 10) : 0;
    return n < 10000 ? (unsigned)n : 0;
}

static bool colourful(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

static int print(const struct mc_status *s, bool json)
{
    struct mc_sb out;
    mc_sb_init(&out, 64 << 20);
    if (json)
        mc_status_json(s, &out);
    else
        mc_status_table(s, width(), colourful(), &out);
    bool ok = !out.bad && fwrite(mc_sb_z(&out), 1, out.n, stdout) == out.n && fflush(stdout) == 0;
    if (!ok)
        (void)fprintf(stderr, "monoceros: cannot write: %s\n", out.bad ? "out of memory" : strerror(errno));
    mc_sb_fini(&out);
    return ok ? MC_STATUS_RUNNING : MC_STATUS_UNKNOWN;
}

/* The file that --status names, else that of the configuration, from its directory. */
static int choose_file(const struct mc_conf *conf, char path[PATH_MAX], char *err, size_t cap)
{
    const char *given = conf->set.status, *set = conf->set.pidfile;
    if (!*given && !(set && *set)) {
        snprintf(err, cap, "--status needs a PIDFILE: the configuration sets no pidfile");
        return MC_STATUS_UNKNOWN;
    }
    bool below = !*given && set[0] != '/';
    if (snprintf(path, PATH_MAX, "%s%s%s", below ? conf->cwd : "", below ? "/" : "", *given ? given : set) < PATH_MAX)
        return MC_STATUS_RUNNING;
    snprintf(err, cap, "the path of the pidfile is too long");
    return MC_STATUS_UNKNOWN;
}

int mc_status_run(const struct mc_conf *conf)
{
    char path[PATH_MAX], err[PATH_MAX + 256];
    struct mc_status s;
    pid_t pid = 0;
    int code = choose_file(conf, path, err, sizeof(err));
    code = code == MC_STATUS_RUNNING ? find_pid(path, &pid, err, sizeof(err)) : code;
    code = code == MC_STATUS_RUNNING ? mc_status_read(&s, pid, err, sizeof(err)) : code;
    if (code != MC_STATUS_RUNNING) {
        (void)fprintf(stderr, "monoceros: %s\n", err);
        return code;
    }
    code = print(&s, conf->set.json);
    mc_status_free(&s);
    return code;
}
