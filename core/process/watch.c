/* One inotify for all that the arbiter watches. Certificates: any change in their directories is told to keys.c. With `reload`: a change of a file that a
 * worker has loaded, of a module beside one, or of an extra file asks for a reload when it has settled. Editors write temporary files, rename, and write
 * twice: what counts is what is there afterwards. Trusts nothing that workers tell: paths are only looked at. Called by the arbiter's loop. */
#include "core/process/watch.h"

#include "core/base/clock.h"
#include "core/base/str.h"
#include "core/os/fd.h"
#include "core/process/arbiter.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    SETTLE_MS = 150,
    SETTLE_MOST_MS = 1000,   /* a file that is written all the time */
    FILES_MOST = 20000,
    REPORT_MOST = 4 << 20,
    DIRECTORIES_MOST = 4000, /* below patterns */
    BUCKETS = 1024,
    CHANGES = 16,            /* that are looked at when all is quiet */
};

struct place { /* a watched directory; index: watch descriptor */
    char *path;
    unsigned who;
};

struct file {
    struct file *next;
    bool there;
    struct stat st; /* of the last look */
    char path[];
};

static struct {
    struct mc_arbiter *arbiter;
    struct mc_io io;
    struct place *places;
    size_t nplaces;
    struct file *files[BUCKETS];
    unsigned nfiles;
    char **patterns;
    size_t npatterns;
    char *changed[CHANGES];
    size_t nchanged;
    uint64_t first_ms, due_ms; /* of these changes; due 0: none */
    unsigned generation; /* whose settings these are */
    bool on, full;
} self = {.io.fd = -1};

/* ---- directories ---- */

static void on_events(struct mc_io *io);

static int open_inotify(struct mc_arbiter *a)
{
    if (self.io.fd >= 0)
        return MC_OK;
    self.arbiter = a;
    mc_io_init(&self.io, inotify_init1(IN_CLOEXEC | IN_NONBLOCK), on_events, a);
    self.io.level = true;
    if (self.io.fd >= 0 && mc_io_watch(&a->loop, &self.io, MC_WANT_READ) == MC_OK)
        return MC_OK;
    mc_fd_close(&self.io.fd);
    return MC_ERROR;
}

int mc_watch_dir(struct mc_arbiter *a, const char *dir, unsigned who)
{
    if (open_inotify(a) != MC_OK)
        return MC_ERROR;
    int wd = inotify_add_watch(self.io.fd, dir, IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ATTRIB | IN_ONLYDIR);
    if (wd < 0)
        return MC_ERROR;
    if ((size_t)wd >= self.nplaces) {
        size_t n = ((size_t)wd + 64) / 64 * 64 + 64;
        struct place *more = realloc(self.places, n * sizeof(*more));
        if (!more)
            return MC_ERROR;
        memset(more + self.nplaces, 0, (n - self.nplaces) * sizeof(*more));
        self.places = more;
        self.nplaces = n;
    }
    struct place *p = &self.places[wd];
    if (!p->path)
        p->path = strdup(dir);
    p->who |= who;
    return p->path ? MC_OK : MC_ERROR;
}

static void warn_full(const char *what)
{
    if (!self.full)
        mc_warn("reload: cannot watch %s: %m%s", what, errno == ENOSPC ? " (see the sysctl fs.inotify.max_user_watches)" : "");
    self.full = true;
}

static void watch_app_dir(const char *dir, unsigned how)
{
    if (mc_watch_dir(self.arbiter, dir, how) != MC_OK && errno != ENOENT && errno != ENOTDIR)
        warn_full(dir);
}

/* ---- files ---- */

static struct file **find(const char *path)
{
    struct file **f = &self.files[mc_str_hash(mc_str(path)) % BUCKETS];
    while (*f && strcmp((*f)->path, path) != 0)
        f = &(*f)->next;
    return f;
}

/* Is it another one than at the last look? */
static bool look(struct file *f)
{
    struct stat st = {.st_size = 0};
    bool there = stat(f->path, &st) == 0;
    bool same = there == f->there && st.st_size == f->st.st_size && st.st_ino == f->st.st_ino && st.st_mtim.tv_sec == f->st.st_mtim.tv_sec &&
                st.st_mtim.tv_nsec == f->st.st_mtim.tv_nsec;
    f->there = there;
    f->st = st;
    return !same;
}

/* Its directory, and the one in which that may be replaced as a whole. */
static void watch_parents(const char *path)
{
    char dir[PATH_MAX];
    snprintf(dir, sizeof(dir), "%s", path);
    for (unsigned how = MC_WATCH_APP; how <= MC_WATCH_ABOVE; how <<= 1) {
        char *slash = strrchr(dir, '/');
        if (slash == dir)
            return;
        *slash = '\0';
        watch_app_dir(dir, how);
    }
}

static void note_change(const char *path)
{
    uint64_t now = self.arbiter->loop.now;
    bool same = false;
    for (size_t i = 0; i < self.nchanged; i++)
        same |= strcmp(self.changed[i], path) == 0;
    if (!same && self.nchanged < CHANGES) {
        self.changed[self.nchanged] = strdup(path);
        self.nchanged += self.changed[self.nchanged] != NULL;
    }
    if (self.due_ms == 0)
        self.first_ms = now;
    self.due_ms = now + SETTLE_MS < self.first_ms + SETTLE_MOST_MS ? now + SETTLE_MS : self.first_ms + SETTLE_MOST_MS;
    mc_arbiter_wake_at(self.arbiter, self.due_ms);
}

/* since: real time, ns. A file that is new to us and younger than that may have been read before it was written: once more, then. */
static void add_file(const char *path, int64_t since)
{
    struct file **at = find(path);
    watch_parents(path); /* again: the directory may be another one of the same name by now */
    if (*at || self.nfiles >= FILES_MOST)
        return;
    struct file *f = calloc(1, sizeof(*f) + strlen(path) + 1);
    if (!f)
        return;
    strcpy(f->path, path);
    *at = f;
    self.nfiles++;
    look(f);
    if (f->there && (int64_t)f->st.st_mtim.tv_sec * 1000000000 + f->st.st_mtim.tv_nsec >= since) {
        f->there = false;
        note_change(path);
    }
}

/* What a symbolic link leads to changes elsewhere. */
static void add_path(const char *path, int64_t since)
{
    char real[PATH_MAX];
    struct stat st;
    if (path[0] != '/' || strlen(path) >= PATH_MAX - 1)
        return;
    add_file(path, since);
    if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode) && realpath(path, real))
        add_file(real, since);
}

/* When the process that has imported the app was started; real time, ns. */
static int64_t began(const struct mc_kid *k)
{
    const struct mc_kid *from = k->pool->conf->set.preload_app && k->pool->zygote.started_ms ? &k->pool->zygote : k;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - (int64_t)(mc_clock_ms() - from->started_ms) * 1000000;
}

void mc_watch_files(struct mc_kid *k, int fd)
{
    struct stat st;
    if (!k->pool->gen->conf->set.reload || fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > REPORT_MOST)
        return;
    self.arbiter = k->arbiter;
    int64_t since = began(k);
    size_t n = (size_t)st.st_size;
    char *text = malloc(n + 1);
    ssize_t got = text ? pread(fd, text, n, 0) : -1;
    n = got > 0 ? (size_t)got : 0;
    for (char *p = text; p && p < text + n; p += strlen(p) + 1) {
        text[n] = '\0';
        size_t len = strlen(p);
        if (len > 1 && len < PATH_MAX && p[0] == '/' && p[len - 1] == '/')
            watch_app_dir(p, MC_WATCH_APP);
        else if (len)
            add_path(p, since);
    }
    free(text);
}

/* ---- reload_extra_files ---- */

static bool matches(const char *path)
{
    for (size_t i = 0; i < self.npatterns; i++) {
        if (mc_watch_match(self.patterns[i], path))
            return true;
    }
    return false;
}

/* Could a match be below? */
static bool above_matches(const char *dir)
{
    for (size_t i = 0; i < self.npatterns; i++) {
        if (mc_watch_below(self.patterns[i], dir))
            return true;
    }
    return false;
}

/* Every directory in which a match could be. True: there is one. */
static bool watch_tree(const char *dir, unsigned *left)
{
    bool found = false;
    if (!above_matches(dir) || *left == 0)
        return false;
    --*left;
    watch_app_dir(dir, MC_WATCH_APP);
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d)) != NULL;) {
        char path[PATH_MAX];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            (size_t)snprintf(path, sizeof(path), "%s/%s", strcmp(dir, "/") == 0 ? "" : dir, e->d_name) >= sizeof(path))
            continue;
        if (e->d_type == DT_DIR || e->d_type == DT_UNKNOWN)
            found |= watch_tree(path, left);
        if (e->d_type != DT_DIR)
            found |= matches(path);
    }
    if (d)
        closedir(d);
    return found;
}

/* The directory before the first component with a wildcard; while it is not there, the nearest one above it. */
static void watch_pattern(const char *pattern)
{
    char dir[PATH_MAX];
    struct stat st;
    unsigned left = DIRECTORIES_MOST;
    size_t n = strcspn(pattern, "*?[");
    while (n > 1 && pattern[n - 1] != '/')
        n--;
    snprintf(dir, sizeof(dir), "%.*s", n > 1 ? (int)n - 1 : 1, pattern);
    (void)watch_tree(dir, &left);
    for (char *slash; stat(dir, &st) < 0 && (slash = strrchr(dir, '/')) != NULL && slash > dir;) {
        *slash = '\0';
        if (stat(dir, &st) == 0)
            watch_app_dir(dir, MC_WATCH_APP);
    }
    if (left == 0)
        mc_warn("reload_extra_files: '%s' means more than %d directories: the rest is not watched", pattern, DIRECTORIES_MOST);
}

static void add_extra(const struct mc_conf *conf, const char *text)
{
    char path[PATH_MAX];
    struct stat st;
    bool absolute = text[0] == '/';
    size_t n = (size_t)snprintf(path, sizeof(path) - 2, "%s%s%s", absolute ? "" : conf->cwd, absolute ? "" : "/", text);
    if (n >= sizeof(path) - 2)
        return;
    while (n > 1 && path[n - 1] == '/')
        path[--n] = '\0';
    bool directory = !mc_watch_is_pattern(path) && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    if (!directory && !mc_watch_is_pattern(path)) {
        add_path(path, INT64_MAX);
        return;
    }
    if (directory)
        strcat(path, "/*");
    char **more = realloc(self.patterns, (self.npatterns + 1) * sizeof(*more));
    if (!more)
        return;
    self.patterns = more;
    self.patterns[self.npatterns] = strdup(path);
    if (self.patterns[self.npatterns])
        watch_pattern(self.patterns[self.npatterns++]);
}

static void forget_patterns(void)
{
    for (size_t i = 0; i < self.npatterns; i++)
        free(self.patterns[i]);
    free(self.patterns);
    self.patterns = NULL;
    self.npatterns = 0;
}

/* Apps that are shared libraries are files themselves. */
static void add_libraries(const struct mc_conf *conf)
{
    for (size_t i = 0; i < conf->napps; i++) {
        const struct mc_conf_app *app = &conf->apps[i];
        char path[PATH_MAX];
        bool absolute = app->module && app->module[0] == '/';
        if (!app->module || !app->type->load || app->type->linked)
            continue;
        if ((size_t)snprintf(path, sizeof(path), "%s%s%s", absolute ? "" : app->chdir, absolute ? "" : "/", app->module) < sizeof(path))
            add_path(path, INT64_MAX);
    }
}

/* Another generation serves: what its settings ask for. What workers have told of stays. */
static void begin(struct mc_arbiter *a)
{
    const struct mc_conf *conf = a->gen->conf;
    self.generation = a->gen->number;
    self.on = conf->set.reload;
    self.arbiter = a;
    forget_patterns();
    if (!self.on)
        return;
    for (size_t i = 0; i < conf->set.reload_extra_files.n; i++)
        add_extra(conf, conf->set.reload_extra_files.v[i]);
    add_libraries(conf);
}

/* ---- changes ---- */

static bool known_directory(const char *dir)
{
    size_t n = strlen(dir);
    for (size_t i = 0; i < BUCKETS; i++) {
        for (const struct file *f = self.files[i]; f; f = f->next) {
            if (strncmp(f->path, dir, n) == 0 && f->path[n] == '/')
                return true;
        }
    }
    return false;
}

static bool is_module(const char *name)
{
    size_t n = strlen(name);
    return n > 3 && name[0] != '.' && strcmp(name + n - 3, ".py") == 0;
}

/* Could this change mean something? */
static bool matters(const char *path, const char *name, bool directory, unsigned who)
{
    if (directory)
        return known_directory(path) || (self.npatterns > 0 && who & MC_WATCH_APP);
    if (!(who & MC_WATCH_APP))
        return false;
    return *find(path) || is_module(name) || matches(path);
}

static void on_event(const struct inotify_event *e)
{
    char path[PATH_MAX];
    if (e->wd < 0 || (size_t)e->wd >= self.nplaces || !self.places[e->wd].path)
        return;
    struct place *p = &self.places[e->wd];
    if (e->mask & IN_IGNORED) { /* the directory is gone */
        free(p->path);
        *p = (struct place){.path = NULL};
        return;
    }
    if (p->who & MC_WATCH_KEYS && !(e->mask & (IN_ATTRIB | IN_MOVED_FROM)))
        mc_keys_changed(self.arbiter);
    if (!(p->who & (MC_WATCH_APP | MC_WATCH_ABOVE)) || !self.on || e->len == 0)
        return;
    size_t n = strlen(p->path);
    if ((size_t)snprintf(path, sizeof(path), "%s%s%s", p->path, n && p->path[n - 1] == '/' ? "" : "/", e->name) >= sizeof(path))
        return;
    if (e->mask & IN_ATTRIB && !*find(path))
        return;
    if (matters(path, e->name, (e->mask & IN_ISDIR) != 0, p->who))
        note_change(path);
}

static void on_events(struct mc_io *io)
{
    char buffer[8192] __attribute__((aligned(8)));
    ssize_t n;
    while ((n = read(io->fd, buffer, sizeof(buffer))) > 0) {
        for (char *p = buffer; p < buffer + n; p += sizeof(struct inotify_event) + ((const struct inotify_event *)(void *)p)->len)
            on_event((const struct inotify_event *)(void *)p);
    }
}

/* Now that all is quiet: has it really changed? */
static bool changed(const char *path)
{
    struct file *f = *find(path);
    struct stat st;
    unsigned left = DIRECTORIES_MOST;
    const char *name = strrchr(path, '/');
    if (f)
        return look(f);
    bool there = stat(path, &st) == 0;
    if (there && S_ISDIR(st.st_mode)) /* a new one, perhaps with matches in it */
        return watch_tree(path, &left) || known_directory(path);
    if (there || matches(path) || known_directory(path))
        return true;
    /* A directory, which may have had matches in it; a module of whose coming and going nothing is left was an editor's. */
    return above_matches(path) && !(name && is_module(name + 1));
}

void mc_watch_tend(struct mc_arbiter *a)
{
    char *first = NULL;
    unsigned real = 0;
    if (self.generation != a->gen->number)
        begin(a);
    if (self.due_ms == 0)
        return;
    if (a->loop.now < self.due_ms) {
        mc_arbiter_wake_at(a, self.due_ms);
        return;
    }
    self.due_ms = 0;
    for (size_t i = 0; i < self.nchanged; i++) {
        char *path = self.changed[i];
        if (changed(path) && real++ == 0)
            first = path;
        else
            free(path);
    }
    self.nchanged = 0;
    if (real > 0 && self.on && a->stopping == MC_STOP_NOT) {
        if (real == 1)
            mc_info("Reloading: %s changed", first);
        else
            mc_info("Reloading: %s changed, and %u more", first, real - 1);
        mc_reload_ask(a);
    }
    free(first);
}

void mc_watch_close(struct mc_arbiter *a)
{
    if (self.io.registered)
        mc_io_unwatch(&a->loop, &self.io);
    mc_fd_close(&self.io.fd);
    for (size_t i = 0; i < self.nplaces; i++)
        free(self.places[i].path);
    free(self.places);
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct file *f = self.files[i], *next; f; f = next) {
            next = f->next;
            free(f);
        }
        self.files[i] = NULL;
    }
    for (size_t i = 0; i < self.nchanged; i++)
        free(self.changed[i]);
    forget_patterns();
    memset(&self, 0, sizeof(self));
    self.io.fd = -1;
}
