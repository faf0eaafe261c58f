/* The open-file cache of a worker: what names below roots are, with the content of small files and descriptors of large ones, so that a hot small file
 * costs no system call. An answer is at most `valid` old; a change that inotify tells of is seen at once. What is not there is
 * remembered apart, so that guessed names push nothing out. Owns memory and descriptors; entries are counted, so what is being sent stays.
 * Worker side, on the loop. */
#include "modules/handler/static/static.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { YOUNG_S = 2, FILES_MAX = 1024, PATH_LEN_MAX = 4000 };

static struct mc_static_cache *home; /* of all entries: a worker has one cache */

/* ---- entries ---- */

void mc_static_entry_put(struct mc_static_entry *e)
{
    if (--e->refs > 0)
        return;
    mc_file_unref(&e->file);
    mc_static_watch_put(&home->watches, &e->dir);
    free(e->data);
    free(e);
}

static size_t weight(const struct mc_static_entry *e)
{
    return sizeof *e + e->path_len + (e->data ? (size_t)e->size : 0);
}

static struct mc_static_entry **slot(struct mc_static_cache *c, uint32_t hash)
{
    return &c->table[hash & (c->buckets - 1)];
}

static void drop(struct mc_static_cache *c, struct mc_static_entry *e)
{
    struct mc_static_entry **at = slot(c, e->hash);
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    mc_list_remove(&e->lru);
    *(e->kind == MC_STATIC_NOT ? &c->nmissing : &c->nfound) -= 1;
    c->nfiles -= e->file != NULL;
    c->memory -= weight(e);
    e->cached = false;
    mc_static_entry_put(e);
}

static struct mc_static_entry *oldest(struct mc_link *list)
{
    return mc_list_empty(list) ? NULL : mc_container(list->next, struct mc_static_entry, lru);
}

/* A descriptor less: the file that was not asked for the longest. false: none is held. */
static bool drop_file(struct mc_static_cache *c)
{
    struct mc_link *l, *next;
    mc_list_each (&c->found, l, next) {
        struct mc_static_entry *e = mc_container(l, struct mc_static_entry, lru);
        if (e->file) {
            drop(c, e);
            return true;
        }
    }
    return false;
}

static void keep(struct mc_static_cache *c, struct mc_static_entry *e)
{
    struct mc_static_entry **at = slot(c, e->hash);
    e->next = *at;
    *at = e;
    e->cached = true;
    e->refs++;
    c->memory += weight(e);
    c->nfiles += e->file != NULL;
    if (e->kind == MC_STATIC_NOT) {
        mc_list_push(&c->missing, &e->lru);
        c->nmissing++;
    } else {
        mc_list_push(&c->found, &e->lru);
        c->nfound++;
    }
    size_t entries = (size_t)c->limits.entries;
    while (c->nmissing > entries / 4 + 1)
        drop(c, oldest(&c->missing));
    while (c->nfound > entries)
        drop(c, oldest(&c->found));
    while (c->memory > (size_t)c->limits.memory && c->nmissing)
        drop(c, oldest(&c->missing));
    while (c->memory > (size_t)c->limits.memory && c->nfound)
        drop(c, oldest(&c->found));
    while (c->nfiles > FILES_MAX && drop_file(c))
        continue;
}

/* ---- looking at the file system ---- */

static int open_file(struct mc_static_cache *c, struct mc_static *s, const char *path)
{
    for (;;) { /* O_NONBLOCK: a FIFO must not hold us up */
        int fd = mc_static_open(s, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, c->loop->now, (uint64_t)c->limits.valid);
        if (fd >= 0 || (errno != EMFILE && errno != ENFILE) || !drop_file(c))
            return fd;
    }
}

static void watch_parent(struct mc_static_cache *c, struct mc_static *s, struct mc_static_entry *e)
{
    if (!c->limits.watch)
        return;
    size_t n = e->path_len;
    while (n > 0 && e->path[n - 1] == '/')
        n--;
    while (n > 0 && e->path[n - 1] != '/')
        n--;
    char saved = e->path[n];
    e->path[n] = 0;
    int fd = mc_static_open(s, e->path, O_PATH | O_DIRECTORY, c->loop->now, (uint64_t)c->limits.valid);
    e->path[n] = saved;
    e->dir = mc_static_watch_get(&c->watches, fd);
    mc_fd_close(&fd);
}

static void seen(struct mc_static_cache *c, struct mc_static_entry *e)
{
    e->checked = c->loop->now;
    e->lost = c->watches.lost;
    e->dir_changes = e->dir ? e->dir->changes : 0;
}

static bool fresh(const struct mc_static_cache *c, const struct mc_static_entry *e)
{
    return c->loop->now - e->checked < (uint64_t)c->limits.valid && e->lost == c->watches.lost && (!e->dir || e->dir->changes == e->dir_changes);
}

static void take_stat(struct mc_static_entry *e, const struct stat *st)
{
    int64_t age = (int64_t)time(NULL) - (st->st_mtim.tv_sec > st->st_ctim.tv_sec ? st->st_mtim.tv_sec : st->st_ctim.tv_sec);
    e->kind = S_ISDIR(st->st_mode) ? MC_STATIC_DIR : S_ISREG(st->st_mode) ? MC_STATIC_FILE : MC_STATIC_NOT;
    e->status = e->kind == MC_STATIC_NOT ? 404 : 0;
    e->young = age < YOUNG_S;
    e->dev = st->st_dev;
    e->ino = st->st_ino;
    e->size = st->st_size;
    e->mtime = st->st_mtim;
    e->ctime = st->st_ctim;
}

static bool same_file(const struct mc_static_entry *e, const struct stat *st)
{
    return e->kind == MC_STATIC_FILE && !e->young && S_ISREG(st->st_mode) && e->dev == st->st_dev && e->ino == st->st_ino && e->size == st->st_size &&
           e->mtime.tv_sec == st->st_mtim.tv_sec && e->mtime.tv_nsec == st->st_mtim.tv_nsec && e->ctime.tv_sec == st->st_ctim.tv_sec &&
           e->ctime.tv_nsec == st->st_ctim.tv_nsec;
}

/* The content of a small file; its size is what could be read, and a change meanwhile makes it young. */
static int read_all(struct mc_static_entry *e, int fd)
{
    struct stat st;
    e->data = malloc((size_t)e->size + 1);
    if (!e->data)
        return MC_ERROR;
    int64_t n = 0;
    while (n < e->size) {
        ssize_t got = pread(fd, e->data + n, (size_t)(e->size - n), n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return MC_ERROR;
        if (got == 0)
            break;
        n += got;
    }
    e->size = n;
    if (fstat(fd, &st) != 0 || st.st_size != n || st.st_mtim.tv_sec != e->mtime.tv_sec || st.st_mtim.tv_nsec != e->mtime.tv_nsec)
        e->young = true;
    return MC_OK;
}

static void set_validators(struct mc_static_entry *e)
{
    uint64_t ns = (uint64_t)e->mtime.tv_sec * 1000000000u + (uint64_t)e->mtime.tv_nsec;
    e->etag_len = (uint8_t)snprintf(e->etag, sizeof e->etag, "%llx-%llx", (unsigned long long)ns, (unsigned long long)e->size);
    mc_clock_http_date(e->modified, e->mtime.tv_sec);
}

/* Make e a file of this descriptor, which is taken. */
static void take_file(struct mc_static_cache *c, struct mc_static_entry *e, int fd)
{
    if (e->size <= c->limits.small) {
        if (read_all(e, fd) != MC_OK) {
            free(e->data);
            e->data = NULL;
            e->kind = MC_STATIC_NOT;
            e->status = errno == ENOMEM ? 503 : 500;
        }
        close(fd);
    } else if (!(e->file = mc_file_new(fd))) {
        close(fd);
        e->kind = MC_STATIC_NOT;
        e->status = 503;
    }
    set_validators(e);
}

static struct mc_static_entry *new_entry(const struct mc_static *s, struct mc_str path, uint32_t hash)
{
    struct mc_static_entry *e = calloc(1, sizeof *e + path.n + 1);
    if (!e)
        return NULL;
    e->refs = 1;
    e->owner = s;
    e->hash = hash;
    e->path_len = path.n;
    if (path.n)
        memcpy(e->path, path.p, path.n);
    return e;
}

static struct mc_static_entry *find(struct mc_static_cache *c, const struct mc_static *s, struct mc_str path, uint32_t hash)
{
    struct mc_static_entry *e = *slot(c, hash);
    while (e && !(e->hash == hash && e->owner == s && mc_str_eq((struct mc_str){e->path, e->path_len}, path)))
        e = e->next;
    return e;
}

static struct mc_static_entry *use(struct mc_static_cache *c, struct mc_static_entry *e)
{
    if (e->cached) {
        mc_list_remove(&e->lru);
        mc_list_push(e->kind == MC_STATIC_NOT ? &c->missing : &c->found, &e->lru);
    }
    e->refs++;
    return e;
}

/* Look again. What is cached may still be right. The result has a reference. */
static struct mc_static_entry *look(struct mc_static_cache *c, struct mc_static *s, struct mc_str path, uint32_t hash)
{
    struct stat st;
    struct mc_static_entry *old, *e = new_entry(s, path, hash);
    if (!e)
        return NULL;
    watch_parent(c, s, e); /* before the look, so that nothing happens in between unseen */
    seen(c, e);
    int fd = path.n < PATH_LEN_MAX ? open_file(c, s, e->path) : (errno = ENAMETOOLONG, -1);
    if (fd >= 0 && fstat(fd, &st) == 0) {
        old = find(c, s, path, hash); /* a lack of descriptors may have taken it away */
        if (old && same_file(old, &st)) {
            close(fd);
            mc_static_watch_put(&c->watches, &old->dir);
            old->dir = e->dir;
            e->dir = NULL;
            seen(c, old);
            mc_static_entry_put(e);
            return use(c, old);
        }
        take_stat(e, &st);
        if (e->kind == MC_STATIC_FILE)
            take_file(c, e, fd);
        else
            close(fd);
    } else {
        e->kind = MC_STATIC_NOT;
        e->status = mc_static_status(errno);
        mc_fd_close(&fd);
    }
    old = find(c, s, path, hash);
    if (old)
        drop(c, old);
    if (e->status < 500)
        keep(c, e);
    return e;
}

struct mc_static_entry *mc_static_cache_get(struct mc_static_cache *c, struct mc_static *s, struct mc_str path)
{
    uint32_t hash = mc_str_hash(path);
    struct mc_static_entry *e = find(c, s, path, hash);
    return e && fresh(c, e) ? use(c, e) : look(c, s, path, hash);
}

/* ---- the whole ---- */

int mc_static_cache_open(struct mc_static_cache *c, const struct mc_static_limits *limits, struct mc_loop *loop)
{
    *c = (struct mc_static_cache){.limits = *limits, .loop = loop, .buckets = 256};
    home = c;
    while (c->buckets < (size_t)limits->entries)
        c->buckets *= 2;
    c->table = calloc(c->buckets, sizeof(struct mc_static_entry *));
    if (!c->table)
        return MC_ERROR;
    mc_list_init(&c->found);
    mc_list_init(&c->missing);
    c->watches.io.fd = -1;
    if (limits->watch && limits->valid > 0)
        mc_static_watch_open(&c->watches, loop);
    return MC_OK;
}

void mc_static_cache_close(struct mc_static_cache *c)
{
    if (!c->table)
        return;
    while (c->nfound)
        drop(c, oldest(&c->found));
    while (c->nmissing)
        drop(c, oldest(&c->missing));
    mc_static_watch_close(&c->watches);
    free(c->table);
    c->table = NULL;
}
