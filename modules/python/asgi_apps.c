/* The apps on Python's event loop (asgi_loop.c): that it is there before they are imported, their startup before the worker is ready, and their end.
 * Lifespans are asgi.py's, servers of Tornado and aiohttp hosts.py's. Worker side, GIL held. */
#include "modules/python/asgi.h"
#include "modules/python/host.h"
#include "core/base/clock.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    LEAVE_QUICK_MS = 1500, /* a quick stop kills 2 s after it began */
    LEAVE_MIN_MS = 300,
    UNLIMITED_MS = 30000,  /* graceful_timeout = 0 */
    RESERVE_MAX_MS = 3000,
};

static struct {
    struct mc_asgi_app *apps; /* by index of the configuration */
    size_t napps;
} self;

const struct mc_asgi_app *mc_asgi_app(const struct mc_conf_app *app)
{
    MC_ASSERT(app->index < self.napps && self.apps[app->index].call);
    return &self.apps[app->index];
}

/* ---- opening ---- */

static bool is_asgi(const struct mc_worker *w, size_t i)
{
    const struct mc_conf_app *app = &w->conf->apps[i];
    return app->pool == w->pool && app->type->needs & MC_NEED_ITS_LOOP;
}

/* [(app, mode, name), …] for start() of asgi.py. */
static PyObject *list_apps(const struct mc_worker *w)
{
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < w->conf->napps; i++) {
        const struct mc_conf_app *app = &w->conf->apps[i];
        if (!is_asgi(w, i))
            continue;
        self.apps[i].call = mc_app_get(app);
        self.apps[i].grace = app->set.asgi_disconnect_grace_period;
        PyObject *row = Py_BuildValue("(Osss)", self.apps[i].call, app->set.asgi_lifespan, app->name, app->type->name);
        if (!row || PyList_Append(list, row) < 0)
            Py_CLEAR(list);
        Py_XDECREF(row);
    }
    PyObject *tuple = list ? PyList_AsTuple(list) : NULL;
    Py_XDECREF(list);
    return tuple;
}

static int take_states(const struct mc_worker *w, PyObject *list)
{
    Py_ssize_t k = 0;
    int rc = MC_OK;
    for (size_t i = 0; i < w->conf->napps && rc == MC_OK; i++) {
        if (!is_asgi(w, i))
            continue;
        PyObject *pair = PyList_GetItem(list, k++);
        self.apps[i].state = Py_NewRef(PyTuple_GetItem(pair, 0));
        self.apps[i].context = Py_NewRef(PyTuple_GetItem(pair, 1));
        if (mc_host_is(&w->conf->apps[i]))
            rc = mc_host_open(w, &w->conf->apps[i], self.apps[i].state);
    }
    return rc;
}

/* The last line of a failure says the most; the log has it all. */
static void tell(struct mc_worker *w, PyObject *text)
{
    PyObject *bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
    const char *z = bytes ? PyBytes_AsString(bytes) : "the startup of an app failed", *last = strrchr(z, '\n');
    mc_error("%s", z);
    snprintf(w->failure, sizeof(w->failure), "%s", last && last[1] ? last + 1 : z);
    Py_XDECREF(bytes);
    PyErr_Clear();
}

static int start_apps(struct mc_worker *w)
{
    PyObject *apps = list_apps(w), *states = NULL;
    if (apps)
        states = PyObject_Call(mc_asgi_tool("start"), apps, NULL);
    mc_life_check();
    Py_XDECREF(apps);
    if (!states)
        return MC_ERROR;
    int rc = MC_EXIT_BOOT;
    if (PyUnicode_Check(states))
        tell(w, states);
    else
        rc = take_states(w, states);
    Py_DECREF(states);
    return rc;
}

int mc_asgi_prepare(struct mc_worker *w)
{
    bool any = false, hosts = false;
    for (size_t i = 0; i < w->conf->napps; i++) {
        any |= is_asgi(w, i);
        hosts |= is_asgi(w, i) && mc_host_is(&w->conf->apps[i]);
    }
    if (!any)
        return MC_OK;
    self.napps = w->conf->napps;
    self.apps = calloc(self.napps, sizeof(*self.apps));
    if (self.apps && mc_asgi_init() == MC_OK && mc_asgi_wait_init() == MC_OK && mc_asgi_send_init() == MC_OK && mc_asgi_ws_init() == MC_OK &&
        mc_scope_init(w) == MC_OK && mc_asgi_loop_open(w, hosts ? mc_host_text : NULL) == MC_OK)
        return MC_OK;
    mc_interp_log("Exception in worker process");
    return MC_EXIT_BOOT;
}

int mc_asgi_open(struct mc_worker *w)
{
    if (!mc_asgi_loop_is_open())
        return MC_OK;
    int rc = start_apps(w);
    if (rc == MC_OK) {
        int64_t grace = w->pool->set.graceful_timeout;
        w->reserve = grace > 10 * RESERVE_MAX_MS ? RESERVE_MAX_MS : (uint64_t)grace / 10;
        mc_asgi_loop_serve();
        if (mc_hooks_wanted)
            mc_warn("The hooks pre_request and post_request are not called for apps on an event loop of their own");
        return MC_OK;
    }
    if (rc == MC_ERROR)
        mc_interp_log("Exception in worker process");
    return MC_EXIT_BOOT;
}

/* ---- closing ---- */

/* What is left of the worker's time, ms. */
static uint64_t time_left(const struct mc_worker *w)
{
    if (!w->drain_start || !w->interrupted) /* it has been called */
        return LEAVE_QUICK_MS;
    uint64_t grace = (uint64_t)w->pool->set.graceful_timeout, end = w->drain_start + grace, now = mc_clock_ms();
    if (grace == 0)
        return UNLIMITED_MS;
    return end > now + LEAVE_MIN_MS ? end - now : LEAVE_MIN_MS;
}

static void forget(void)
{
    mc_asgi_forget();
    mc_scope_fini();
    for (size_t i = 0; i < self.napps; i++) {
        Py_XDECREF(self.apps[i].state);
        Py_XDECREF(self.apps[i].context);
    }
    free(self.apps);
    self.apps = NULL;
    self.napps = 0;
    mc_asgi_loop_close();
}

void mc_asgi_close(struct mc_worker *w)
{
    if (!mc_asgi_loop_is_open())
        return;
    mc_asgi_loop_leave();
    PyObject *tasks = mc_asgi_tasks();
    PyObject *done = tasks ? PyObject_CallFunction(mc_asgi_tool("leave"), "Od", tasks, (double)time_left(w) / 1000) : NULL;
    mc_life_check();
    if (!done)
        mc_interp_log("Exception while the apps of this worker shut down");
    Py_XDECREF(done);
    Py_XDECREF(tasks);
    forget();
}
