/* Secrets of the pools: gathered from the modules as the arbiter (root, perhaps), handed to workers in sealed memfds, one a pool. Read again by a reload, when
 * a watched file changes, and when a module wants it (ticket keys grow old). The arbiter keeps only the memfds: what it reads is wiped. Later than
 * the start a failure changes nothing but the log. Called by the arbiter's loop. */
#include "core/config/secrets.h"
#include "core/os/fd.h"
#include "core/process/arbiter.h"
#include "core/process/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SETTLE_MS = 300 /* a certificate and its key are two files */, AGAIN_S = 60 /* after a failure */, FETCH_S = 300 };

/* ---- files that change */

static void watch_directory(struct mc_arbiter *a, const char *path)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof(copy), "%s", path);
    if (mc_watch_dir(a, dirname(copy), MC_WATCH_KEYS) != MC_OK)
        mc_warn("cannot watch %s for changes: %m", path);
}

/* Its directory, because files are replaced by others of the same name; and that of the file itself when it is a symbolic link. */
static void watch_file(struct mc_gather *g, const char *path)
{
    char full[PATH_MAX], real[PATH_MAX];
    struct mc_arbiter *a = g->watch_data;
    snprintf(full, sizeof(full), "%s%s%s", path[0] == '/' ? "" : g->conf->cwd, path[0] == '/' ? "" : "/", path);
    watch_directory(a, full);
    if (realpath(full, real) && strcmp(full, real) != 0)
        watch_directory(a, real);
}

void mc_keys_changed(struct mc_arbiter *a)
{
    if (a->changed_ms == 0)
        a->changed_ms = a->loop.now + SETTLE_MS;
    mc_arbiter_wake_at(a, a->changed_ms);
}

/* ---- gathering */

static int gather(struct mc_arbiter *a, struct mc_arb_pool *p, const struct mc_secrets *old, struct mc_secrets *out, struct mc_secrets *ask)
{
    char err[400] = "";
    struct mc_gather g = {.conf = p->gen->conf,
                          .pool = p->conf,
                          .old = old,
                          .out = out,
                          .ask = ask,
                          .now = (int64_t)time(NULL),
                          .watch = watch_file,
                          .watch_data = a,
                          .err = err,
                          .errcap = sizeof(err)};
    for (size_t i = 0; mc_modules[i]; i++) {
        if (!mc_modules[i]->gather || mc_modules[i]->gather(&g) == MC_OK)
            continue;
        mc_error("%s", err);
        return MC_ERROR;
    }
    p->keys_next = g.next;
    return MC_OK;
}

/* ---- asking others, in a child: whoever answers must not be read by root, nor where keys are */

static int fetch(struct mc_arbiter *a, struct mc_arb_pool *p, int in, int out)
{
    char err[400] = "";
    struct mc_secrets ask = {0}, none = {0}, found = {0};
    (void)a;
    struct mc_gather g = {.conf = p->gen->conf,
                          .pool = p->conf,
                          .old = &none,
                          .out = &found,
                          .ask = &ask,
                          .now = (int64_t)time(NULL),
                          .err = err,
                          .errcap = sizeof(err)};
    int rc = mc_secrets_load(&ask, in);
    for (size_t i = 0; rc == MC_OK && mc_modules[i]; i++)
        rc = mc_modules[i]->fetch ? mc_modules[i]->fetch(&g) : MC_OK;
    int fd = mc_secrets_memfd(&found);
    off_t n = fd < 0 ? -1 : lseek(fd, 0, SEEK_END), at = 0;
    while (at < n) {
        ssize_t k = sendfile(out, fd, &at, (size_t)(n - at));
        if (k <= 0)
            return MC_ERROR;
    }
    return rc;
}

/* A pool of the same name may have some: ticket keys go on, and what was fetched is not asked for again. */
static void take_over(struct mc_arb_pool *p)
{
    const struct mc_generation *older = p->gen->older;
    struct mc_arb_pool *from = older ? mc_generation_pool(older, p->conf->name) : NULL;
    if (!from || from->secrets < 0)
        return;
    p->secrets = fcntl(from->secrets, F_DUPFD_CLOEXEC, 3);
    p->fetch_next = from->fetch_next;
}

static void start_fetch(struct mc_arbiter *a, struct mc_arb_pool *p, const struct mc_secrets *ask)
{
    int64_t now = (int64_t)time(NULL);
    if (ask->n == 0 || p->fetcher)
        return;
    if (now >= p->fetch_next) {
        int in = mc_secrets_memfd(ask);
        p->fetched = in < 0 ? -1 : mc_fd_memfd("monoceros-fetched", "", 0, false);
        p->fetcher = p->fetched < 0 ? MC_ERROR : mc_spawn_helper(a, p, in, p->fetched, fetch);
        mc_fd_close(&in);
        p->fetch_next = now + FETCH_S;
        if (p->fetcher != MC_ERROR)
            return;
        p->fetcher = 0;
        mc_fd_close(&p->fetched);
    }
    if (p->keys_next == 0 || p->fetch_next < p->keys_next)
        p->keys_next = p->fetch_next;
}

static void offer(struct mc_kid *k)
{
    struct mc_msg m = {.kind = MC_MSG_SECRETS};
    if (k->life == MC_LIFE_NONE || k->io.fd < 0 || k->pool->secrets < 0)
        return;
    k->owed = mc_channel_send(k->io.fd, &m, &k->pool->secrets, 1) == MC_AGAIN; /* a worker that is stuck has a full channel */
}

static void offer_all(struct mc_arbiter *a, const struct mc_arb_pool *p, bool owed_only)
{
    for (unsigned i = 0; i < a->nkids; i++) {
        if (a->kids[i].pool == p && (a->kids[i].owed || !owed_only))
            offer(&a->kids[i]);
    }
}

/* What workers have, behind what was fetched. */
static int load_old(const struct mc_arb_pool *p, const struct mc_secrets *fetched, struct mc_secrets *old)
{
    struct mc_str name, bytes;
    char z[256];
    if (p->secrets >= 0 && mc_secrets_load(old, p->secrets) != MC_OK)
        return MC_ERROR;
    if (!fetched)
        return MC_OK;
    struct mc_secrets both = {0};
    int rc = MC_OK;
    for (int i = 0; i < 2; i++) {
        const struct mc_secrets *s = i == 0 ? fetched : old;
        for (size_t at = 0; rc == MC_OK && mc_secrets_next(s, &at, &name, &bytes);) {
            if (name.n >= sizeof(z))
                continue; /* a path: it is read again anyway */
            memcpy(z, name.p, name.n);
            z[name.n] = '\0';
            rc = mc_secrets_add(&both, z, bytes.p, bytes.n);
        }
    }
    mc_secrets_wipe(old);
    *old = both;
    return rc;
}

/* 1: there is something new, 0: all is as it was. */
static int renew(struct mc_arbiter *a, struct mc_arb_pool *p, const struct mc_secrets *fetched)
{
    struct mc_secrets old = {0}, now = {0}, fresh = {0}, ask = {0};
    int rc = load_old(p, fetched, &old), fd = -1;
    if (rc == MC_OK)
        rc = gather(a, p, &old, &fresh, &ask);
    struct mc_str name, bytes;
    size_t at = 0;
    p->has_keys = rc == MC_OK && mc_secrets_next(&fresh, &at, &name, &bytes);
    if (rc == MC_OK && mc_hops_gather(p, &fresh) != MC_OK) {
        mc_error("out of memory");
        rc = MC_ERROR;
    }
    if (rc == MC_OK && p->secrets >= 0)
        rc = mc_secrets_load(&now, p->secrets);
    bool same = rc == MC_OK && mc_secrets_equal(&now, &fresh);
    if (rc == MC_OK && !same && (fd = mc_secrets_memfd(&fresh)) < 0) {
        mc_error("cannot keep the certificates of pool \"%s\": %m", p->conf->name);
        rc = MC_ERROR;
    }
    if (rc == MC_OK)
        start_fetch(a, p, &ask);
    mc_secrets_wipe(&old);
    mc_secrets_wipe(&now);
    mc_secrets_wipe(&fresh);
    mc_secrets_wipe(&ask);
    if (rc != MC_OK || same)
        return rc;
    mc_fd_close(&p->secrets);
    p->secrets = fd;
    return 1;
}

int mc_keys_open(struct mc_generation *g)
{
    if (mc_hops_open(g) != MC_OK)
        return MC_ERROR;
    for (size_t i = 0; i < g->conf->npools; i++) {
        struct mc_arb_pool *p = &g->pools[i];
        take_over(p);
        bool had = p->secrets >= 0;
        int rc = renew(g->arbiter, p, NULL);
        if (rc == MC_ERROR)
            return MC_ERROR;
        if (had && p->has_keys)
            mc_info("Certificates of pool \"%s\" %s", p->conf->name, rc == 1 ? "were read again" : "have not changed");
    }
    return MC_OK;
}

static int renew_and_tell(struct mc_arbiter *a, struct mc_arb_pool *p, const struct mc_secrets *fetched)
{
    int rc = renew(a, p, fetched);
    if (rc == 1)
        offer_all(a, p, false);
    if (rc == MC_ERROR)
        p->keys_next = (int64_t)time(NULL) + AGAIN_S;
    return rc;
}

static void watch_nothing(struct mc_gather *g, const char *path)
{
    (void)g;
    (void)path;
}

int mc_keys_check(const struct mc_conf *conf, char *err, size_t errcap)
{
    int rc = MC_OK;
    for (size_t i = 0; rc == MC_OK && i < conf->npools; i++) {
        struct mc_secrets none = {0}, out = {0}, ask = {0};
        struct mc_gather g = {.conf = conf, .pool = &conf->pools[i], .old = &none, .out = &out, .ask = &ask, .now = (int64_t)time(NULL)};
        g.watch = watch_nothing;
        g.err = err;
        g.errcap = errcap;
        for (size_t j = 0; rc == MC_OK && mc_modules[j]; j++)
            rc = mc_modules[j]->gather && mc_modules[j]->gather(&g) != MC_OK ? MC_ERROR : MC_OK;
        mc_secrets_wipe(&out);
        mc_secrets_wipe(&ask);
    }
    return rc;
}

static void reload(struct mc_arbiter *a)
{
    for (size_t i = 0; i < a->gen->conf->npools; i++) {
        struct mc_arb_pool *p = &a->gen->pools[i];
        int rc = renew_and_tell(a, p, NULL);
        if (rc == 1)
            mc_info("Certificates of pool \"%s\" were read again", p->conf->name);
        else if (rc == MC_ERROR)
            mc_error("Certificates of pool \"%s\" stay as they are", p->conf->name);
    }
}

void mc_keys_tend(struct mc_arbiter *a)
{
    int64_t now = (int64_t)time(NULL);
    if (a->changed_ms && a->loop.now >= a->changed_ms) {
        a->changed_ms = 0;
        reload(a);
    } else if (a->changed_ms) {
        mc_arbiter_wake_at(a, a->changed_ms);
    }
    for (size_t i = 0; i < a->gen->conf->npools; i++) {
        struct mc_arb_pool *p = &a->gen->pools[i];
        if (p->keys_next && now >= p->keys_next)
            (void)renew_and_tell(a, p, NULL);
        offer_all(a, p, true);
    }
}

void mc_keys_reaped(struct mc_arbiter *a, pid_t pid, int status)
{
    struct mc_secrets found = {0};
    struct mc_arb_pool *p;
    for (p = mc_generation_next_pool(a, NULL); p && p->fetcher != pid;)
        p = mc_generation_next_pool(a, p);
    if (!p)
        return;
    p->fetcher = 0;
    if (!WIFEXITED(status))
        mc_warn("what fetches for the certificates of pool \"%s\" did not come to an end", p->conf->name);
    if (WIFEXITED(status) && mc_secrets_load(&found, p->fetched) == MC_OK && found.n) {
        if (renew_and_tell(a, p, &found) == 1)
            mc_debug("what was fetched goes to the workers of pool \"%s\"", p->conf->name);
    }
    mc_secrets_wipe(&found);
    mc_fd_close(&p->fetched);
    if (p->keys_next == 0 || p->fetch_next < p->keys_next)
        p->keys_next = p->fetch_next;
}

void mc_keys_close(struct mc_generation *g)
{
    for (size_t i = 0; i < g->conf->npools; i++) {
        mc_fd_close(&g->pools[i].secrets);
        mc_fd_close(&g->pools[i].fetched);
    }
}
