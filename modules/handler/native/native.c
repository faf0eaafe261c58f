/* App type `native`: applications in C (app.h), from shared libraries or linked in (static.h). Owns the apps of this worker and calls them.
 * An app's kind, known when it is loaded, says which operations handle it. Worker side. */
#include "modules/handler/native/native.h"

#include <stdio.h>
#include <stdlib.h>

static struct {
    struct mc_native **apps; /* in the order of the configuration; NULL: none of ours */
    size_t n;
    bool noted;
} self;

/* ---- what is going on, for the report of a crash ---- */

/* Blocking calls are noted by the server. The slot may also tell of one of those, in another thread: that stays. */
void mc_native_note(const struct mc_request *r, const struct mc_native *n, const char *what)
{
    struct mc_slot *slot = mc_worker_current->slot;
    if (slot->busy[0])
        return;
    self.noted = true;
    if (!r) {
        snprintf(slot->busy, MC_SLOT_TEXT, "%s%s", what, n->conf->name);
        return;
    }
    const char *from = r->head.method.p, *to = r->head.target.p + r->head.target.n;
    size_t size = to > from && (size_t)(to - from) < MC_SLOT_TEXT ? (size_t)(to - from) : MC_SLOT_TEXT - 1;
    memcpy(slot->busy, from, to > from ? size : 0);
    slot->busy[to > from ? size : 0] = '\0';
}

void mc_native_noted(void)
{
    if (self.noted)
        mc_worker_current->slot->busy[0] = '\0';
    self.noted = false;
}

/* ---- requests ---- */

/* What an app returned, as the server wants it. */
static int result(const struct mc_native_call *c, int rc)
{
    if (rc == MONOCEROS_OK || (rc >= 400 && rc <= 599))
        return rc;
    if (rc > 0)
        mc_error("app \"%s\" returned %d: neither MONOCEROS_OK nor an error status", c->native->conf->name, rc);
    else if (!mc_native_blocking(c->native) && (rc == MONOCEROS_AGAIN || rc == MONOCEROS_BUSY))
        return MC_OK; /* it waits for room */
    if (mc_response_started(c->r) || c->r->gone)
        return MC_ERROR;
    return c->r->body.failed && c->r->body.status ? c->r->body.status : 500;
}

static struct mc_native_call *begin(struct mc_request *r)
{
    struct mc_native_call *c = mc_arena_calloc(&r->arena, sizeof(*c));
    if (!c)
        return NULL;
    c->native = self.apps[r->route->app->index];
    c->r = r;
    c->request.api = &mc_native_api;
    c->request.worker = &c->native->worker;
    r->hctx = c;
    return c;
}

static int start_blocking(struct mc_request *r)
{
    struct mc_native_call *c = begin(r);
    return c ? result(c, c->native->app->request(&c->request)) : 503;
}

static int call(struct mc_native_call *c, int (*fn)(struct monoceros_request *))
{
    if (!fn)
        return MC_OK;
    mc_native_note(c->r, c->native, NULL);
    c->inside = true;
    int rc = fn(&c->request);
    c->inside = false;
    mc_native_noted();
    return c->ws ? mc_native_ws_result(c, rc) : result(c, rc);
}

static int start(struct mc_request *r)
{
    struct mc_native_call *c = begin(r);
    return c ? call(c, c->native->app->request) : 503;
}

static int resume(struct mc_request *r, enum mc_resume why)
{
    struct mc_native_call *c = r->hctx;
    if (c->ws_over) { /* what comes now is only the other side's close */
        (void)mc_ws_pump(c->ws);
        return MC_OK;
    }
    return call(c, why == MC_RESUME_ROOM ? c->native->app->room : c->native->app->body);
}

static void gone(struct mc_request *r)
{
    struct mc_native_call *c = r->hctx;
    if (!c->native->app->gone || c->ws_over)
        return;
    mc_native_note(r, c->native, NULL);
    c->inside = true;
    c->native->app->gone(&c->request);
    c->inside = false;
    mc_native_noted();
}

static const struct mc_handler_ops blocking = {.needs = MC_NEED_BLOCKING, .body = MC_BODY_BUFFERED, .start = start_blocking};
static const struct mc_handler_ops loop = {.body = MC_BODY_BUFFERED, .start = start, .resume = resume, .abort = gone};
static const struct mc_handler_ops streamed = {.body = MC_BODY_STREAMED, .start = start, .resume = resume, .abort = gone};

/* ---- apps ---- */

static int make_room(size_t n)
{
    if (n <= self.n)
        return MC_OK;
    struct mc_native **apps = realloc(self.apps, n * sizeof(*apps));
    if (!apps)
        return MC_ERROR;
    memset(apps + self.n, 0, (n - self.n) * sizeof(*apps));
    self.apps = apps;
    self.n = n;
    return MC_OK;
}

int mc_native_load(const struct mc_conf_app *conf, const struct mc_handler_ops **ops)
{
    const struct monoceros_app *app;
    int rc = mc_native_find(conf, &app);
    if (rc != MC_OK)
        return rc;
    struct mc_native *n = make_room(conf->index + 1) == MC_OK ? calloc(1, sizeof(*n)) : NULL;
    if (!n) {
        mc_error("app \"%s\": out of memory", conf->name);
        return MC_EXIT_BOOT;
    }
    *n = (struct mc_native){.worker = {.api = &mc_native_api, .app = conf->name}, .conf = conf, .app = app};
    mc_list_init(&n->timers);
    free(self.apps[conf->index]);
    self.apps[conf->index] = n;
    *ops = mc_native_blocking(n) ? &blocking : app->body ? &streamed : &loop;
    return MC_OK;
}

static int init_worker(struct mc_worker *w)
{
    if (self.n == 0)
        return MC_OK;
    if (mc_native_loop_open(w) != MC_OK)
        return MC_ERROR;
    for (size_t i = 0; i < self.n; i++) {
        struct mc_native *n = self.apps[i];
        int rc = n && n->app->init ? n->app->init(&n->worker) : MONOCEROS_OK;
        if (rc != MONOCEROS_OK) {
            mc_error("app \"%s\": init() failed with %d", n->conf->name, rc);
            return MC_EXIT_BOOT;
        }
        if (n)
            n->ready = true;
    }
    return MC_OK;
}

static void exit_worker(struct mc_worker *w)
{
    for (size_t i = self.n; i-- > 0;) {
        struct mc_native *n = self.apps[i];
        if (n && n->ready && n->app->exit)
            n->app->exit(&n->worker);
    }
    for (size_t i = 0; i < self.n; i++) {
        if (self.apps[i])
            mc_native_drop_timers(self.apps[i]);
        free(self.apps[i]);
    }
    if (self.n)
        mc_native_loop_close(w);
    free(self.apps);
    self.apps = NULL;
    self.n = 0;
}

static const struct mc_app_type apps[] = {
    {.name = "native", .load = mc_native_load},
    {.name = NULL},
};

extern const struct mc_module mc_module_handler_native;
const struct mc_module mc_module_handler_native = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "native",
    .kind = MC_MODULE_HANDLER,
    .apps = apps,
    .init_worker = init_worker,
    .exit_worker = exit_worker,
};
