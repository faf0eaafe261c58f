/* Files of directories: what the sources of this module share. Worker side but for settings.c, all on the loop. */
#ifndef MC_HANDLER_STATIC_H
#define MC_HANDLER_STATIC_H

#include "core/base/chain.h"
#include "core/base/list.h"
#include "core/config/conf.h"
#include "core/event/loop.h"
#include "core/http/request.h"

#include <sys/stat.h>

struct mc_vars; /* core/http/vars.h */

enum mc_static_links { MC_LINKS_BENEATH, MC_LINKS_NO, MC_LINKS_ANY };

/* The directory of a route, as a worker has it open. */
struct mc_static_root {
    int fd; /* O_PATH; -1: not open */
    uint64_t looked; /* ms: when the path was last followed */
    dev_t dev;
    ino_t ino;
};

struct mc_static_coding {
    struct mc_str name, suffix;
};

/* The settings of an action. */
struct mc_static {
    const char *root, *symlinks, *expires, *cache_control, *charset, *default_type, *mime_types;
    struct mc_strv index, try, precompressed, types;
    bool strip, hidden, listing, fallthrough;
    /* compiled by check_conf() */
    const char *dir; /* absolute */
    enum mc_static_links links;
    struct mc_vars **tries;
    struct mc_static_coding codings[3];
    struct mc_str coding_names[3];
    unsigned ncodings;
    struct mc_static_type *table; /* of types, sorted */
    size_t ntable;
    struct mc_str caching; /* value of Cache-Control; n == 0: none */
    /* worker side */
    struct mc_static_root at;
};

/* The section file_cache. */
struct mc_static_limits {
    int64_t entries, memory, small, valid;
    bool watch;
};

extern const struct mc_setting mc_static_settings[];
extern const struct mc_section *const mc_static_sections[];
int mc_static_check(const struct mc_conf *conf, void *action, char *err, size_t errcap);
struct mc_static_limits mc_static_limits(const struct mc_conf *conf);

/* ---- types.c ---- */
/* Check `types`, append what the file of `mime_types` says (the setting is unset then) and sort them. MC_OK, or MC_ERROR with err. */
int mc_static_types(const struct mc_conf *conf, struct mc_static *s, char *err, size_t cap);
/* The type that they give to an extension; p == NULL: none. */
struct mc_str mc_static_type(const struct mc_static *s, struct mc_str extension);

/* ---- open.c ---- */
/* May this path below a root be looked at at all? No empty, dot or (unless `hidden`) dotted segments (but .well-known in front), no NUL. It may end with
 * one '/' and be "". */
bool mc_static_path_ok(struct mc_str path, bool hidden);
/* Open what path names below the root, never outside of it unless links say so. flags as of open(). The fd, or -1 with errno. */
int mc_static_open(struct mc_static *s, const char *path, int flags, uint64_t now, uint64_t valid);
/* What an errno of it means to a client: 403, 404, 500, 503. */
int mc_static_status(int err);
/* Tests: behave as a kernel without openat2. */
void mc_static_without_openat2(bool on);

/* ---- watch.c: one inotify instance, a directory a watch ---- */
struct mc_static_watch {
    struct mc_static_watch *next;
    int wd; /* -1: the kernel has dropped it */
    unsigned refs;
    unsigned long changes; /* counts what happened in the directory */
};

struct mc_static_watches {
    struct mc_io io; /* fd -1: none is to be had, time has to do */
    struct mc_loop *loop;
    unsigned long lost; /* counts overflows: anything may have happened */
    unsigned n;
    struct mc_static_watch *table[256];
};

void mc_static_watch_open(struct mc_static_watches *w, struct mc_loop *loop);
void mc_static_watch_close(struct mc_static_watches *w);
/* The watch of an open directory, with a reference; NULL: it cannot be watched. */
struct mc_static_watch *mc_static_watch_get(struct mc_static_watches *w, int dirfd);
void mc_static_watch_put(struct mc_static_watches *w, struct mc_static_watch **d);

/* ---- cache.c: what is known of names below roots ---- */
enum mc_static_kind { MC_STATIC_FILE, MC_STATIC_DIR, MC_STATIC_NOT /* see status */ };

struct mc_static_entry {
    struct mc_static_entry *next; /* of its bucket */
    struct mc_link lru;
    const struct mc_static *owner;
    uint32_t hash;
    unsigned refs;
    bool cached; /* in the table */
    bool young;  /* was changed so shortly before it was read that its times may not tell of the next change */
    enum mc_static_kind kind;
    int status;
    uint64_t checked; /* ms */
    struct mc_static_watch *dir;
    unsigned long dir_changes, lost;
    dev_t dev;
    ino_t ino;
    int64_t size;
    struct timespec mtime, ctime;
    char *data; /* the content of a small file */
    struct mc_file *file;
    char modified[29]; /* Last-Modified */
    char etag[40];     /* without quotes */
    uint8_t etag_len;
    size_t path_len;
    char path[]; /* NUL-terminated */
};

struct mc_static_cache {
    struct mc_static_limits limits;
    struct mc_static_watches watches;
    struct mc_loop *loop;
    struct mc_static_entry **table;
    size_t buckets;
    struct mc_link found, missing; /* oldest first */
    size_t nfound, nmissing, nfiles, memory;
};

int mc_static_cache_open(struct mc_static_cache *c, const struct mc_static_limits *limits, struct mc_loop *loop);
void mc_static_cache_close(struct mc_static_cache *c);
/* What a path below s's root is, with a reference; NULL: out of memory. The path is one that mc_static_path_ok() has passed. */
struct mc_static_entry *mc_static_cache_get(struct mc_static_cache *c, struct mc_static *s, struct mc_str path);
void mc_static_entry_put(struct mc_static_entry *e);

/* ---- send.c ---- */
/* What a request has come to. In its arena. */
struct mc_static_found {
    struct mc_static *s;
    struct mc_static_entry *entry; /* of the representation; a directory: it is listed */
    struct mc_str name;            /* below the root, without the suffix of a coding: tells the type */
    const struct mc_static_coding *coding; /* NULL: as it is */
    bool slash;                    /* a directory that was asked for without its slash */
    int status;                    /* > 0: answered with it */
};
int mc_static_send(struct mc_request *r, const struct mc_static_found *f);

/* ---- listing.c ---- */
int mc_static_list(struct mc_request *r, struct mc_static *s, struct mc_str name);
/* Percent-encode a path as it stands in a URI; '/' stays. */
void mc_static_encode(struct mc_sb *out, struct mc_str path);

#endif
