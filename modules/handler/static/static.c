/* The action `static { root = "/srv/x" }`: files below a directory. Finds in prepare() what a request means, so that a route whose file is not there can
 * let the next one answer before any of a body was read; sends it in start(). A loop handler. Worker side. */
#include "modules/handler/static/static.h"

#include "core/base/log.h"
#include "core/http/negotiate.h"
#include "core/http/vars.h"
#include "core/server/handler.h"
#include "core/server/worker.h"

enum { PATH_MAX_BYTES = 8192 };

static struct mc_static_cache cache;

static void release(void *data)
{
    struct mc_static_found *f = data;
    if (f->entry)
        mc_static_entry_put(f->entry);
}

/* The path below the root that a request's path means: without slash in front. */
static struct mc_str below(const struct mc_request *r, const struct mc_static *s)
{
    struct mc_str path = r->path;
    if (s->strip && r->route->match == MC_MATCH_PREFIX) {
        struct mc_str prefix = r->route->pattern;
        path = path.n >= prefix.n ? (struct mc_str){path.p + prefix.n, path.n - prefix.n} : MC_STR_NONE;
    }
    while (path.n && path.p[0] == '/')
        path = (struct mc_str){path.p + 1, path.n - 1};
    return path;
}

static struct mc_str join(struct mc_request *r, struct mc_str a, struct mc_str b)
{
    char *p = mc_arena_alloc(&r->arena, a.n + b.n + 1);
    if (!p)
        return MC_STR_NONE;
    if (a.n)
        memcpy(p, a.p, a.n);
    if (b.n)
        memcpy(p + a.n, b.p, b.n);
    p[a.n + b.n] = 0;
    return (struct mc_str){p, a.n + b.n};
}

/* f->entry becomes what this path is. MC_OK, or a status: 404 and so on. */
static int find(struct mc_static_found *f, struct mc_str path)
{
    if (f->entry)
        mc_static_entry_put(f->entry);
    f->entry = NULL;
    if (path.n > PATH_MAX_BYTES || !mc_static_path_ok(path, f->s->hidden))
        return 404;
    f->entry = mc_static_cache_get(&cache, f->s, path);
    if (!f->entry)
        return 503;
    f->name = path;
    return f->entry->kind == MC_STATIC_NOT ? f->entry->status : MC_OK;
}

/* The sibling that the client likes best, in place of the file. */
static int choose_coding(struct mc_request *r, struct mc_static_found *f)
{
    struct mc_static *s = f->s;
    struct mc_str names[MC_COUNT(s->codings)];
    struct mc_static_coding *codings[MC_COUNT(s->codings)];
    unsigned n = s->ncodings;
    for (unsigned i = 0; i < n; i++) {
        names[i] = s->coding_names[i];
        codings[i] = &s->codings[i];
    }
    while (n) {
        int best = mc_negotiate_coding(&r->head.fields, names, n);
        if (best < 0)
            return MC_OK;
        struct mc_str path = join(r, f->name, codings[best]->suffix);
        struct mc_static_entry *e = path.p ? mc_static_cache_get(&cache, s, path) : NULL;
        if (!e)
            return 503;
        if (e->kind == MC_STATIC_FILE) {
            mc_static_entry_put(f->entry);
            f->entry = e;
            f->coding = codings[best];
            return MC_OK;
        }
        mc_static_entry_put(e);
        n--;
        memmove(&names[best], &names[best + 1], (n - (unsigned)best) * sizeof names[0]);
        memmove(&codings[best], &codings[best + 1], (n - (unsigned)best) * sizeof codings[0]);
    }
    return MC_OK;
}

/* A directory: its index, else (f->entry still is the directory) its listing. */
static int find_index(struct mc_request *r, struct mc_static_found *f, struct mc_str dir)
{
    struct mc_static *s = f->s;
    struct mc_str base = dir.n && dir.p[dir.n - 1] != '/' ? join(r, dir, MC_STR("/")) : dir;
    for (size_t i = 0; i < s->index.n; i++) {
        struct mc_str path = join(r, base, mc_str(s->index.v[i]));
        int rc = path.p ? find(f, path) : 503;
        if (rc == MC_OK && f->entry->kind == MC_STATIC_FILE)
            return MC_OK;
        if (rc >= 500)
            return rc;
    }
    if (!s->listing)
        return 404;
    return find(f, dir);
}

/* One candidate. `own`: it is the path that the client knows, so a directory's slash matters. */
static int try_path(struct mc_request *r, struct mc_static_found *f, struct mc_str path, bool own)
{
    bool slash = path.n == 0 || path.p[path.n - 1] == '/';
    int rc = find(f, path);
    if (rc != MC_OK)
        return rc;
    if (f->entry->kind == MC_STATIC_FILE)
        return slash ? 404 : MC_OK;
    if (!slash && !own)
        return 404;
    f->slash = own && (r->path.n == 0 || r->path.p[r->path.n - 1] != '/');
    return find_index(r, f, path);
}

static int search(struct mc_request *r, struct mc_static_found *f)
{
    struct mc_static *s = f->s;
    int rc = 404;
    if (s->try.n == 0)
        return try_path(r, f, below(r, s), true);
    for (size_t i = 0; i < s->try.n; i++) {
        struct mc_str path;
        if (mc_vars_expand(s->tries[i], r, &path) != MC_OK)
            return 500;
        while (path.n && path.p[0] == '/')
            path = (struct mc_str){path.p + 1, path.n - 1};
        rc = try_path(r, f, path, false);
        if (rc == MC_OK || rc >= 500)
            return rc;
    }
    return rc;
}

static int prepare(struct mc_request *r)
{
    struct mc_static *s = r->route->action;
    bool get = r->is_head || mc_str_eq(r->head.method, MC_STR("GET"));
    if (!get && s->fallthrough)
        return MC_DECLINED;
    struct mc_static_found *f = mc_arena_calloc(&r->arena, sizeof *f);
    if (!f || mc_arena_cleanup(&r->arena, release, f) != MC_OK)
        return 503;
    f->s = s;
    r->hctx = f;
    if (!get) {
        f->status = mc_str_eq(r->head.method, MC_STR("OPTIONS")) ? 204 : 405;
        return MC_OK;
    }
    int rc = search(r, f);
    if (rc == 404 && s->fallthrough) {
        r->hctx = NULL;
        return MC_DECLINED;
    }
    if (rc == MC_OK && f->entry->kind == MC_STATIC_FILE && !f->slash && s->ncodings)
        rc = choose_coding(r, f);
    return rc;
}

static int answer_other(struct mc_request *r, int status)
{
    if (mc_response_begin(r, status, MC_STR_NONE) != MC_OK || mc_response_field(r, MC_STR("Allow"), MC_STR("GET, HEAD, OPTIONS")) != MC_OK)
        return MC_ERROR;
    if (status == 204)
        return mc_response_end(r, NULL, 0);
    (void)mc_response_field(r, MC_STR("Content-Type"), MC_STR("text/plain; charset=utf-8"));
    return mc_response_end(r, "Method Not Allowed\n", 19);
}

/* Location of a directory: the path alone, in our own spelling, so that "//host" can never become another site. */
static int redirect(struct mc_request *r)
{
    struct mc_sb to;
    mc_sb_init(&to, 65536);
    mc_static_encode(&to, r->path);
    mc_sb_addc(&to, '/');
    if (r->uri.query.p) {
        mc_sb_addc(&to, '?');
        mc_sb_add(&to, r->uri.query.p, r->uri.query.n);
    }
    int rc = to.bad || mc_response_begin(r, 301, MC_STR_NONE) != MC_OK ? 500 : MC_OK;
    if (rc == MC_OK && mc_response_field(r, MC_STR("Location"), (struct mc_str){to.p, to.n}) != MC_OK)
        rc = 500;
    if (rc == MC_OK)
        rc = mc_response_end(r, NULL, 0);
    mc_sb_fini(&to);
    return rc;
}

static int start(struct mc_request *r)
{
    const struct mc_static_found *f = r->hctx;
    if (f->status)
        return answer_other(r, f->status);
    if (f->slash)
        return redirect(r);
    if (f->entry->kind == MC_STATIC_DIR)
        return mc_static_list(r, f->s, f->name);
    return mc_static_send(r, f);
}

/* ---- the module ---- */

static int init_worker(struct mc_worker *w)
{
    struct mc_static_limits limits = mc_static_limits(w->conf);
    bool any = false;
    for (size_t i = 0; i < w->conf->nservers && !any; i++) {
        const struct mc_conf_server *server = &w->conf->servers[i];
        for (size_t k = 0; k < server->nroutes && server->pool == w->pool; k++)
            any |= server->routes[k].module && server->routes[k].module->settings == mc_static_settings;
    }
    return any ? mc_static_cache_open(&cache, &limits, &w->loop) : MC_OK;
}

static void exit_worker(struct mc_worker *w)
{
    (void)w;
    mc_static_cache_close(&cache);
}

static const struct mc_handler_ops ops = {.body = MC_BODY_DISCARD, .prepare = prepare, .start = start};

const struct mc_module mc_module_handler_static = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "static",
    .kind = MC_MODULE_HANDLER,
    .settings = mc_static_settings,
    .conf_size = sizeof(struct mc_static),
    .check_conf = mc_static_check,
    .sections = mc_static_sections,
    .ops.handler = &ops,
    .init_worker = init_worker,
    .exit_worker = exit_worker,
    .doc = "sends files",
};
