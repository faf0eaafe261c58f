/* The process, its pools and its apps: which value holds in which scope, and what names refer to. sites.c does servers and routes.
 * Never prints. Called by load.c. Arbiter side from all sources; worker side from normal form only (b->image). */
#include "core/config/resolve.h"

#include "core/config/schema.h"
#include "core/config/value.h"
#include "core/os/proc.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

const struct mc_given *mc_resolve_given(const struct mc_resolve_from *from, const char *name)
{
    const struct mc_given *g = mc_tree_given(from->cli, name);
    return g ? g : from->file ? mc_tree_given(from->file->given, name) : NULL;
}

struct mc_conf_where mc_resolve_where(const struct mc_resolve_from *from, const char *name)
{
    const struct mc_given *g = mc_resolve_given(from, name);
    return g ? g->at : MC_NOWHERE;
}

void mc_resolve_limits(struct mc_values *set)
{
    if (set->limit_request_line == 0)
        set->limit_request_line = 8190;
    if (set->limit_request_fields == 0)
        set->limit_request_fields = 32768;
    if (set->limit_request_field_size == 0)
        set->limit_request_field_size = set->limit_request_head;
}

static bool is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* An absolute directory; it exists, when we may look. */
static const char *directory(struct mc_build *b, struct mc_conf_where at, const char *what, const char *from, const char *path)
{
    const char *full = mc_build_path(b, from, path);
    if (!full || b->image || is_directory(full))
        return full;
    (void)mc_build_fail(b, at, "%s: there is no directory %s", what, path);
    return NULL;
}

/* The app of wsgi_app when none is on the command line, the addresses of bind, and after whom the process is called. */
static void take_plain(struct mc_resolve_from *from, struct mc_conf *c)
{
    const struct mc_block *app = mc_tree_inner(from->file, "app", NULL);
    const struct mc_given *module = app ? mc_tree_given(app->given, "module") : NULL;
    if (!from->app && c->set.wsgi_app) {
        from->app = c->set.wsgi_app;
        from->app_at = mc_resolve_where(from, "wsgi_app");
    }
    from->bind = from->given.n ? from->given : c->set.bind;
    c->set.wsgi_app = NULL;
    c->set.bind = (struct mc_strv){0};
    if (!c->set.proc_name && c->set.default_proc_name && strcmp(c->set.default_proc_name, "gunicorn") != 0)
        c->set.proc_name = c->set.default_proc_name;
    c->set.default_proc_name = NULL;
    if (!c->set.proc_name)
        c->set.proc_name = module ? module->words[0].text : from->app ? from->app : "monoceros";
}

/* Files that processes open which work elsewhere. */
static int absolute(struct mc_build *b, const char **path)
{
    if (!*path || !**path || b->image || strncmp(*path, "python:", 7) == 0)
        return MC_OK;
    *path = mc_build_path(b, b->start, *path);
    return *path ? MC_OK : MC_ERROR;
}

static int main_values(struct mc_build *b, struct mc_resolve_from *from, struct mc_conf *c)
{
    const char *tmp = b->image ? NULL : getenv("TMPDIR");
    if (from->app)
        from->app = mc_build_strdup(b, from->app); /* outlives the words */
    if (mc_value_defaults(b->arena, mc_settings, &c->set) != MC_OK)
        return mc_build_fail(b, MC_NOWHERE, "out of memory");
    if (mc_tree_apply_all(b, from->environment, NULL, &c->set) != MC_OK)
        return MC_ERROR;
    if (from->file && mc_tree_apply_all(b, from->file->given, NULL, &c->set) != MC_OK)
        return MC_ERROR;
    if (b->failed || mc_tree_apply_all(b, from->cli, NULL, &c->set) != MC_OK)
        return MC_ERROR;
    take_plain(from, c);
    mc_resolve_limits(&c->set);
    if (c->set.workers == 0)
        c->set.workers = (int64_t)mc_proc_cpus(); /* auto */
    c->set.chdir = directory(b, mc_resolve_where(from, "chdir"), "chdir", b->start, c->set.chdir ? c->set.chdir : b->start);
    if (!c->set.chdir)
        return MC_ERROR;
    c->cwd = c->set.chdir;
    if (!c->set.tmp_upload_dir)
        c->set.tmp_upload_dir = tmp && is_directory(tmp) ? tmp : "/tmp";
    c->set.tmp_upload_dir = directory(b, mc_resolve_where(from, "tmp_upload_dir"), "tmp_upload_dir", b->start, c->set.tmp_upload_dir);
    if (!c->set.tmp_upload_dir)
        return MC_ERROR;
    if (absolute(b, &c->set.hooks) != MC_OK || absolute(b, &c->set.logconfig) != MC_OK || absolute(b, &c->set.logconfig_json) != MC_OK)
        return MC_ERROR;
    MC_ASSERT(mc_log_level_parse(c->set.loglevel, &c->loglevel) == MC_OK);
    struct mc_resolve_who who = {mc_resolve_where(from, "user"), mc_resolve_where(from, "group"), false};
    return mc_resolve_identity(b, &who, &c->set, &c->uid, &c->gid);
}

/* What people write for worker_class, and what it is here (with what it says of the apps) where that is more than the word. */
static const struct {
    const char *word, *name, *apps;
} worker_words[] = {
    {"gunicorn.workers.sync.SyncWorker", "sync", NULL},
    {"SyncWorker", "sync", NULL},
    {"egg:gunicorn#sync", "sync", NULL},
    {"gunicorn.workers.gthread.ThreadWorker", "gthread", NULL},
    {"egg:gunicorn#gthread", "gthread", NULL},
    {"gevent", "gevent", NULL},
    {"egg:gunicorn#gevent", "gevent", NULL},
    {"gevent_wsgi", "gevent", NULL},
    {"egg:gunicorn#gevent_wsgi", "gevent", NULL},
    {"gevent_pywsgi", "gevent", NULL},
    {"egg:gunicorn#gevent_pywsgi", "gevent", NULL},
    {"gunicorn.workers.ggevent.GeventWorker", "gevent", NULL},
    {"gunicorn.workers.ggevent.GeventPyWSGIWorker", "gevent", NULL},
    {"eventlet", "eventlet", NULL},
    {"egg:gunicorn#eventlet", "eventlet", NULL},
    {"gunicorn.workers.geventlet.EventletWorker", "eventlet", NULL},
    {"asgi", "epoll", "asgi"},
    {"gunicorn.workers.gasgi.ASGIWorker", "epoll", "asgi"},
    {"uvicorn.workers.UvicornWorker", "epoll", "asgi"},
    {"uvicorn.workers.UvicornH11Worker", "epoll", "asgi"},
    {"uvicorn_worker.UvicornWorker", "epoll", "asgi"},
    {"uvicorn_worker.UvicornH11Worker", "epoll", "asgi"},
    {"tornado", "epoll", "tornado"},
    {"egg:gunicorn#tornado", "epoll", "tornado"},
    {"gunicorn.workers.gtornado.TornadoWorker", "epoll", "tornado"},
    {"aiohttp", "epoll", "aiohttp"},
    {"aiohttp.GunicornWebWorker", "epoll", "aiohttp"},
    {"aiohttp.GunicornUVLoopWebWorker", "epoll", "aiohttp"},
    {"aiohttp.worker.GunicornWebWorker", "epoll", "aiohttp"},
    {"aiohttp.worker.GunicornUVLoopWebWorker", "epoll", "aiohttp"},
    {"gthread", "gthread", NULL},
    {"greenlet", "greenlet", NULL},
    {"epoll", "epoll", NULL},
};

/* Libraries whose hubs are another way to run the requests of worker type greenlet: the only one for Python. */
static const char *const hubs[] = {"gevent", "eventlet"};

static const char *built_workers(struct mc_build *b)
{
    const char *list = "";
    for (const struct mc_module *const *m = mc_modules; *m && list; m++) {
        if ((*m)->kind == MC_MODULE_WORKER)
            list = mc_build_printf(b, "%s%s%s", list, *list ? ", " : "", (*m)->name);
    }
    return list ? list : "";
}

/* Nobody chose, and sync was left out: what comes nearest to it. */
static const struct mc_module *default_worker(void)
{
    static const char *const nearest[] = {"gthread", "greenlet", "epoll"};
    const struct mc_module *found = NULL;
    for (size_t i = 0; i < MC_COUNT(nearest) && !found; i++)
        found = mc_module_find(MC_MODULE_WORKER, nearest[i]);
    return found;
}

static int pick_worker(struct mc_build *b, struct mc_conf_where at, struct mc_conf_pool *pool, bool chosen)
{
    const char *word = pool->set.worker_class, *name = word, *why = "", *flag;
    bool known = false;
    for (size_t i = 0; i < MC_COUNT(worker_words); i++) {
        if (strcmp(worker_words[i].word, word) != 0)
            continue;
        known = true;
        pool->apps = worker_words[i].apps;
        name = worker_words[i].name;
    }
    if (strcmp(name, "sync") == 0 && pool->set.threads > 1) {
        name = "gthread";
        why = " (threads > 1 asks for it)";
        known = true;
    }
    for (size_t i = 0; i < MC_COUNT(hubs); i++) {
        if (strcmp(name, hubs[i]) == 0)
            pool->hub = hubs[i];
    }
    pool->worker = mc_module_find(MC_MODULE_WORKER, pool->hub ? "greenlet" : name);
    if (!pool->worker && !chosen && strcmp(name, "sync") == 0)
        pool->worker = default_worker();
    if (pool->worker) {
        pool->set.worker_class = pool->hub ? pool->hub : pool->worker->name;
        if (!pool->apps && pool->worker->takes & MC_NEED_ITS_LOOP && !(pool->worker->takes & MC_NEED_BLOCKING))
            pool->apps = "asgi";
        return MC_OK;
    }
    if (strstr(word, "GeventWebSocketWorker")) /* of gevent-websocket, which is a handler of gevent's own server */
        return mc_build_fail(b, at, "worker_class '%.80s' needs gevent's own server: say gevent, and let the app use simple-websocket (see docs/gevent.md)", word);
    flag = mc_module_absent_flag("worker", pool->hub ? "greenlet" : name);
    if (flag)
        return mc_build_fail(b, at, "worker_class '%s'%s was left out of this build: configure it with %s", name, why, flag);
    if (known)
        return mc_build_fail(b, at, "worker_class '%s'%s is not built yet in this version; there is %s", name, why, built_workers(b));
    return mc_build_fail(b, at, "unknown worker_class '%.80s'; there is %s", word, built_workers(b));
}

/* Where the choice of the worker type was written: worker_class, or the threads that changed it. */
static struct mc_conf_where worker_place(const struct mc_resolve_from *from, const struct mc_block *block, const struct mc_conf_pool *pool)
{
    const char *name = pool->set.threads > 1 && strcmp(pool->set.worker_class, "sync") == 0 ? "threads" : "worker_class";
    const struct mc_given *g = block ? mc_tree_given(block->given, name) : NULL;
    return g ? g->at : mc_resolve_where(from, name);
}

/* workers, workers_min and workers_max: a bound that nobody gave is the number itself, and the number lies between the bounds. */
static int settle_bounds(struct mc_build *b, const struct mc_resolve_from *from, const struct mc_block *block, struct mc_conf_pool *pool)
{
    struct mc_values *set = &pool->set;
    if (set->workers_min < 0 && set->workers_max < 0)
        return MC_OK;
    const char *low = set->workers_min < 0 ? "workers" : "workers_min";
    int64_t min = set->workers_min < 0 ? set->workers : set->workers_min;
    int64_t max = set->workers_max >= 0 ? set->workers_max : set->workers > min ? set->workers : min;
    const struct mc_given *g = block ? mc_tree_given(block->given, "workers_max") : NULL;
    if (min > max)
        return mc_build_fail(b, g ? g->at : mc_resolve_where(from, "workers_max"), "workers_max %lld is less than %s %lld", (long long)max, low, (long long)min);
    set->workers_min = min;
    set->workers_max = max;
    set->workers = set->workers < min ? min : set->workers > max ? max : set->workers;
    return MC_OK;
}

/* Its own user brings a group of its own, unless one is named beside it. */
static int pool_identity(struct mc_build *b, const struct mc_resolve_from *from, struct mc_conf_pool *pool, const struct mc_block *block)
{
    const struct mc_given *user = block ? mc_tree_given(block->given, "user") : NULL, *group = block ? mc_tree_given(block->given, "group") : NULL;
    struct mc_resolve_who who = {user ? user->at : mc_resolve_where(from, "user"), group ? group->at : mc_resolve_where(from, "group"), user && !group};
    return mc_resolve_identity(b, &who, &pool->set, &pool->uid, &pool->gid);
}

static int one_pool(struct mc_build *b, const struct mc_resolve_from *from, struct mc_conf *c, const struct mc_block *block)
{
    struct mc_conf_pool *pool = &c->pools[c->npools];
    const struct mc_given *g = NULL;
    pool->name = block ? block->title : "default";
    pool->index = (unsigned)c->npools++;
    pool->at = block ? block->at : MC_NOWHERE;
    pool->set = c->set;
    if (block && mc_tree_apply_all(b, block->given, NULL, &pool->set) != MC_OK)
        return MC_ERROR;
    for (g = from->cli; g && pool->index == 0; g = g->next) { /* the command line beats the first pool's own values */
        if (g->setting->where & MC_AT_POOL && mc_tree_apply(b, g, &pool->set) != MC_OK)
            return MC_ERROR;
    }
    if (pool->set.workers == 0)
        pool->set.workers = (int64_t)mc_proc_cpus();
    if (settle_bounds(b, from, block, pool) != MC_OK || pool_identity(b, from, pool, block) != MC_OK)
        return MC_ERROR;
    bool chosen = mc_resolve_given(from, "worker_class") || (block && mc_tree_given(block->given, "worker_class"));
    return pick_worker(b, worker_place(from, block, pool), pool, chosen);
}

static int pools(struct mc_build *b, const struct mc_resolve_from *from, struct mc_conf *c)
{
    size_t n = mc_tree_count(from->file, "pool");
    const struct mc_block *block = mc_tree_inner(from->file, "pool", NULL);
    c->pools = mc_build_alloc(b, (n ? n : 1) * sizeof *c->pools);
    if (!c->pools)
        return MC_ERROR;
    if (!block)
        return one_pool(b, from, c, NULL);
    for (; block; block = mc_tree_inner(from->file, "pool", block)) {
        if (one_pool(b, from, c, block) != MC_OK)
            return MC_ERROR;
    }
    return MC_OK;
}

struct mc_conf_pool *mc_resolve_pool(struct mc_build *b, struct mc_conf *c, const struct mc_given *g)
{
    if (!g)
        return &c->pools[0];
    for (size_t i = 0; i < c->npools; i++) {
        if (strcmp(c->pools[i].name, g->words[0].text) == 0)
            return &c->pools[i];
    }
    (void)mc_build_fail(b, g->words[0].at, "there is no pool '%.80s'", g->words[0].text);
    return NULL;
}

static const struct mc_app_type *app_type(struct mc_build *b, struct mc_conf_where at, const char *name)
{
    const struct mc_app_type *type = mc_module_app_type(name);
    static const char *const pythons[] = {"wsgi", "asgi", "tornado", "aiohttp"};
    bool python = false;
    for (size_t i = 0; i < MC_COUNT(pythons); i++)
        python |= strcmp(name, pythons[i]) == 0;
    const char *flag = python ? mc_module_absent_flag("handler", "python") : NULL;
    if (type)
        return type;
    if (!flag)
        flag = mc_module_absent_flag("handler", name);
    if (flag)
        (void)mc_build_fail(b, at, "apps of type '%s' were left out of this build: configure it with %s", name, flag);
    else if (python)
        (void)mc_build_fail(b, at, "apps of type '%s' were left out of this build: configure it with --with-python", name);
    else if (strcmp(name, "native") == 0)
        (void)mc_build_fail(b, at, "apps of type 'native' were left out of this build: configure it with --with-native");
    else
        (void)mc_build_fail(b, at, "unknown app type '%.80s'; there are wsgi, asgi, tornado, aiohttp and native", name);
    return NULL;
}

static struct mc_conf_where place(const struct mc_block *block, const char *name)
{
    const struct mc_given *g = mc_tree_given(block->given, name);
    return g ? g->at : block->at;
}

/* What a pool of this worker type takes; by a hub, Python, too. */
static unsigned takes(const struct mc_module *worker, bool hub)
{
    return worker->takes | (hub && strcmp(worker->name, "greenlet") == 0 ? MC_NEED_PYTHON : 0u);
}

/* Does the pool's worker type take such an app? */
static int check_fit(struct mc_build *b, const struct mc_conf_app *app)
{
    const struct mc_conf_pool *pool = app->pool;
    unsigned needs = app->type->needs, missing = needs & ~takes(pool->worker, pool->hub != NULL);
    const char *others = "", *why = missing & MC_NEED_BLOCKING   ? ", which may block"
                                    : missing & MC_NEED_ITS_LOOP ? ", whose event loop would have to be the worker's"
                                                                 : ": Python cannot run on its coroutines";
    if (missing == 0)
        return MC_OK;
    for (const struct mc_module *const *m = mc_modules; *m && others; m++) {
        bool plain = (needs & ~(*m)->takes) == 0;
        if ((*m)->kind == MC_MODULE_WORKER && (plain || (needs & ~takes(*m, true)) == 0))
            others = mc_build_printf(b, "%s%s%s", others, *others ? ", " : "", plain ? (*m)->name : "gevent, eventlet");
    }
    return mc_build_fail(b, app->at, "worker_class '%s' cannot run app \"%s\" of type %s%s; worker types that can: %s", pool->set.worker_class, app->name,
                         app->type->name, why, others ? others : "");
}

/* Which of an app's words its type must or cannot have. */
static int check_words(struct mc_build *b, const struct mc_conf_app *app, const struct mc_block *block)
{
    bool native = strcmp(app->type->name, "native") == 0;
    if (app->type->linked) {
        return app->module || app->symbol ? mc_build_fail(b, block->at, "app \"%s\": type %s is part of the program and has no module or symbol",
                                                          app->name, app->type->name)
                                          : MC_OK;
    }
    if (!app->module)
        return mc_build_fail(b, block->at, "app \"%s\" needs module = \"%s\"", app->name, native ? "PATH.so" : "MODULE:NAME");
    if (app->symbol && !native)
        return mc_build_fail(b, place(block, "symbol"), "symbol: only apps of type native have one");
    return MC_OK;
}

/* On the command line a path is a native app: "hello.so", "./hello"; but "site:make('a/b')" and "./site.py" are Python, or meant to be. */
static bool is_path(const char *app)
{
    size_t n = strcspn(app, ":(");
    bool whole = app[n] == '\0';
    return whole && ((n > 3 && strcmp(app + n - 3, ".so") == 0) || (strchr(app, '/') && (n < 3 || strcmp(app + n - 3, ".py") != 0)));
}

static int one_app(struct mc_build *b, struct mc_conf *c, const struct mc_block *block)
{
    struct mc_conf_app *app = &c->apps[c->napps];
    struct mc_app_words words = {0};
    if (mc_value_defaults(b->arena, block->scope->own, &words) != MC_OK)
        return mc_build_fail(b, MC_NOWHERE, "out of memory");
    if (mc_tree_apply_all(b, block->given, block->scope->own, &words) != MC_OK)
        return MC_ERROR;
    *app = (struct mc_conf_app){
        .name = block->title, .index = (unsigned)c->napps, .module = words.module, .symbol = words.symbol, .home = words.home, .at = block->at};
    app->pool = mc_resolve_pool(b, c, mc_tree_given(block->given, "pool"));
    if (!app->pool)
        return MC_ERROR;
    bool said = mc_tree_given(block->given, "type") || !app->pool->apps;
    app->type = app_type(b, place(block, "type"), said ? words.type : app->pool->apps);
    if (!app->type || check_words(b, app, block) != MC_OK || check_fit(b, app) != MC_OK)
        return MC_ERROR;
    app->chdir = words.chdir ? directory(b, place(block, "chdir"), "chdir", c->cwd, words.chdir) : c->cwd;
    if (!app->chdir)
        return MC_ERROR;
    app->set = app->pool->set;
    if (mc_tree_apply_all(b, block->given, NULL, &app->set) != MC_OK)
        return MC_ERROR;
    c->napps++;
    return MC_OK;
}

/* The app of the command line (or wsgi_app). */
static int plain_app(struct mc_build *b, const struct mc_resolve_from *from, struct mc_conf *c)
{
    struct mc_conf_app *app = &c->apps[c->napps];
    for (size_t i = 0; i < c->napps; i++) {
        if (strcmp(c->apps[i].name, "default") == 0)
            return mc_build_fail(b, c->apps[i].at, "app \"default\" is the name of APP '%s'", from->app);
    }
    *app = (struct mc_conf_app){
        .name = "default", .index = (unsigned)c->napps, .module = from->app, .chdir = c->cwd, .pool = &c->pools[0], .at = from->app_at};
    app->type = app_type(b, from->app_at, is_path(from->app) ? "native" : app->pool->apps ? app->pool->apps : "wsgi");
    if (!app->type || check_fit(b, app) != MC_OK)
        return MC_ERROR;
    app->set = app->pool->set;
    c->napps++;
    return MC_OK;
}

/* KEY of KEY=VALUE in list; NULL when it is not there. */
static const char **find_env(const struct mc_strv *list, const char *entry)
{
    size_t key = strcspn(entry, "=") + 1;
    for (size_t i = 0; i < list->n; i++) {
        if (strncmp(list->v[i], entry, key) == 0)
            return &list->v[i];
    }
    return NULL;
}

/* Apps of one pool share its processes, so they share one environment: that of the pool with what the apps add. */
static int share_environment(struct mc_build *b, const struct mc_resolve_from *from, struct mc_conf *c)
{
    for (struct mc_block *block = mc_tree_inner(from->file, "app", NULL); block; block = mc_tree_inner(from->file, "app", block)) {
        const struct mc_given *g = mc_tree_given(block->given, "env");
        struct mc_conf_app *app = c->apps;
        while (strcmp(app->name, block->title) != 0)
            app++;
        struct mc_strv *pool = &app->pool->set.env, all;
        if (!g)
            continue;
        all.v = mc_build_alloc(b, (pool->n + app->set.env.n) * sizeof *all.v);
        if (!all.v)
            return MC_ERROR;
        if (pool->n)
            memcpy(all.v, pool->v, pool->n * sizeof *all.v);
        all.n = pool->n;
        for (size_t i = 0; i < app->set.env.n; i++) {
            const char **same = find_env(&all, app->set.env.v[i]);
            for (struct mc_conf_app *other = c->apps; other < app; other++) {
                const char **theirs = other->pool == app->pool ? find_env(&other->set.env, app->set.env.v[i]) : NULL;
                if (!theirs || strcmp(*theirs, app->set.env.v[i]) == 0)
                    continue;
                return mc_build_fail(b, g->at, "env: '%.80s' differs from that of app \"%s\", and both run in pool \"%s\"",
                                     app->set.env.v[i], other->name, app->pool->name);
            }
            if (same)
                *same = app->set.env.v[i];
            else
                all.v[all.n++] = app->set.env.v[i];
        }
        *pool = all;
    }
    for (size_t i = 0; i < c->napps; i++)
        c->apps[i].set.env = c->apps[i].pool->set.env;
    return MC_OK;
}

static int apps(struct mc_build *b, const struct mc_resolve_from *from, struct mc_conf *c)
{
    size_t n = mc_tree_count(from->file, "app");
    const struct mc_block *block = mc_tree_inner(from->file, "app", NULL), *server = mc_tree_inner(from->file, "server", NULL);
    c->apps = mc_build_alloc(b, (n + 1) * sizeof *c->apps);
    if (!c->apps)
        return MC_ERROR;
    for (; block; block = mc_tree_inner(from->file, "app", block)) {
        if (one_app(b, c, block) != MC_OK)
            return MC_ERROR;
    }
    if (from->app && server) {
        return mc_build_fail(b, server->at, "APP '%.80s' is given, but server \"%s\" says what to serve: leave one of them away", from->app,
                             server->title);
    }
    if (from->app && plain_app(b, from, c) != MC_OK)
        return MC_ERROR;
    if (share_environment(b, from, c) != MC_OK)
        return MC_ERROR;
    for (size_t i = 0; i < c->napps; i++)
        c->apps[i].pool->python = c->apps[i].pool->python || c->apps[i].type->needs & MC_NEED_PYTHON;
    return MC_OK;
}

int mc_resolve(struct mc_build *b, const struct mc_resolve_from *from, struct mc_conf *c)
{
    struct mc_resolve_from all = *from, *kept = b->image ? NULL : mc_build_alloc(b, sizeof *kept);
    if (kept)
        *kept = *from;
    c->from = kept;
    if (b->failed || main_values(b, &all, c) != MC_OK || pools(b, &all, c) != MC_OK || apps(b, &all, c) != MC_OK)
        return MC_ERROR;
    return mc_resolve_sites(b, &all, c);
}
