/* The interpreter's part in a worker's life: imports the apps, holds the GIL but for a poll that really sleeps, lets Python's signal handlers
 * run, dumps Python's stacks when the process dies, and keeps processes that the app forks off what is the worker's. Worker side. */
#include "modules/python/asgi.h"
#include "modules/python/hub.h"
#include "core/os/fd.h"
#include "core/server/conn.h"

#include "core/base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define DUMP_SIGNAL (SIGRTMIN + 3)

static PyThreadState *saved; /* while the loop sleeps */
static bool forked;

/* ---- processes that the app forks ---- */

/* The loop's descriptors are shared with the worker: whoever used them here would change the worker's loop, and stop its listeners. A child that
 * stays must not keep addresses or clients. */
static PyObject *on_fork(PyObject *self, PyObject *none)
{
    struct mc_worker *w = mc_worker_current;
    (void)self;
    (void)none;
    forked = true;
    for (size_t i = 0; w && i < w->nlisteners; i++)
        mc_fd_close(&w->listeners[i].io.fd);
    for (struct mc_link *l = w ? w->conns.next : NULL; l && l != &w->conns; l = l->next)
        mc_fd_close(&mc_container(l, struct mc_conn, link)->io.fd);
    return Py_NewRef(Py_None);
}

static PyMethodDef fork_hook = {"monoceros_after_fork", on_fork, METH_NOARGS, NULL};

static int watch_forks(void)
{
    PyObject *os = PyImport_ImportModule("os"), *hook = os ? PyCFunction_New(&fork_hook, NULL) : NULL;
    PyObject *method = hook ? PyObject_GetAttrString(os, "register_at_fork") : NULL;
    PyObject *none = method ? PyTuple_New(0) : NULL, *words = none ? Py_BuildValue("{s:O}", "after_in_child", hook) : NULL;
    PyObject *done = words ? PyObject_Call(method, none, words) : NULL;
    Py_XDECREF(done);
    Py_XDECREF(words);
    Py_XDECREF(none);
    Py_XDECREF(method);
    Py_XDECREF(hook);
    Py_XDECREF(os);
    return done ? MC_OK : MC_ERROR;
}

/* What Python would exit with. Logs and clears the exception, but for an exit with a number. */
static int exit_code(void)
{
    PyObject *type, *value, *tb, *code = NULL;
    if (!PyErr_Occurred())
        return 0;
    PyErr_Fetch(&type, &value, &tb);
    PyErr_NormalizeException(&type, &value, &tb);
    if (PyErr_GivenExceptionMatches(type, PyExc_SystemExit))
        code = PyObject_GetAttrString(value, "code");
    bool quiet = code && (code == Py_None || PyLong_Check(code));
    int n = !quiet ? 1 : code == Py_None ? 0 : (int)PyLong_AsLong(code);
    Py_XDECREF(code);
    PyErr_Restore(type, value, tb); /* drops what the look at the code may have raised */
    if (quiet)
        PyErr_Clear();
    else
        mc_interp_log("Exception in a process that the app has forked");
    return n;
}

bool mc_life_forked(void)
{
    return forked;
}

void mc_life_check(void)
{
    if (mc_likely(!forked))
        return;
    mc_extension_leave(exit_code());
}

/* ---- the loop ---- */

static void before_sleep(void *data)
{
    (void)data;
    saved = PyEval_SaveThread();
}

static void run_signal_handlers(struct mc_worker *w)
{
    int rc = PyErr_CheckSignals();
    mc_life_check();
    if (mc_likely(rc == 0))
        return;
    bool exiting = mc_interp_exiting();
    mc_interp_log("Exception in a signal handler of the app");
    if (exiting)
        mc_worker_ask_retire(w);
}

void mc_life_look(struct mc_worker *w)
{
    run_signal_handlers(w);
    mc_dev_look(w);
}

static void after_sleep(void *data)
{
    PyEval_RestoreThread(saved);
    mc_life_look(data);
}

/* Before the apps: a crash or a time-out while they are imported has its traceback, too. It chains to the handlers that are there already. */
static int enable_faulthandler(void)
{
    PyObject *module = PyImport_ImportModule("faulthandler");
    PyObject *done = module ? PyObject_CallMethod(module, "enable", "i", mc_log_fd()) : NULL;
    Py_XDECREF(module);
    Py_XDECREF(done);
    return done ? MC_OK : MC_ERROR;
}

/* ---- threads ---- */

struct birth {
    void (*fn)(void *);
    void *arg;
};

/* Started as a daemon, because the end of the worker must not wait for a handler that is stuck. But threads inherit this, and those that apps start
 * must be waited for, as from any other thread. The public setter refuses once the thread runs. */
static void no_daemon(void)
{
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *self = threading ? PyObject_CallMethod(threading, "current_thread", NULL) : NULL;
    if (!self || PyObject_SetAttrString(self, "_daemonic", Py_False) < 0)
        PyErr_Clear();
    Py_XDECREF(self);
    Py_XDECREF(threading);
}

static PyObject *thread_main(PyObject *capsule, PyObject *unused)
{
    struct birth *b = PyCapsule_GetPointer(capsule, NULL);
    (void) unused;
    no_daemon();
    mc_interp_give();
    b->fn(b->arg);
    mc_interp_take_back();
    free(b);
    return Py_NewRef(Py_None);
}

static PyMethodDef def_main = {"gthread", thread_main, METH_NOARGS, NULL};

/* threading.Thread: the thread keeps one state for good, so thread-locals last, and tools see it by name. */
static int spawn(void (*fn)(void *), void *arg, unsigned number)
{
    struct birth *b = malloc(sizeof(*b));
    PyObject *capsule = b ? PyCapsule_New(b, NULL, NULL) : NULL;
    PyObject *target = capsule ? PyCFunction_NewEx(&def_main, capsule, NULL) : NULL;
    PyObject *threading = target ? PyImport_ImportModule("threading") : NULL;
    PyObject *class = threading ? PyObject_GetAttrString(threading, "Thread") : NULL;
    PyObject *name = class ? PyUnicode_FromFormat("gthread-%u", number) : NULL;
    PyObject *args = name ? PyTuple_New(0) : NULL;
    PyObject *words = args ? Py_BuildValue("{s:O,s:O,s:O}", "target", target, "name", name, "daemon", Py_True) : NULL;
    PyObject *thread = words ? PyObject_Call(class, args, words) : NULL;
    if (thread)
        *b = (struct birth){fn, arg};
    PyObject *done = thread ? PyObject_CallMethod(thread, "start", NULL) : NULL;
    int rc = done ? MC_OK : MC_ERROR;
    if (!done) {
        mc_interp_log("Exception while a thread was started");
        free(b);
    }
    PyObject *all[] = {capsule, target, threading, class, name, args, words, thread, done};
    for (size_t i = 0; i < MC_COUNT(all); i++)
        Py_XDECREF(all[i]);
    return rc;
}

/* ---- what the first thread does while others serve ---- */

/* Comes by if the GIL is to be had: else the worker is as good as dead, however well its loop turns. */
static void visit(struct mc_worker *w)
{
    mc_interp_take_back();
    w->lock_beat = mc_clock_ms();
    mc_life_look(w);
    mc_interp_give();
}

/* ---- stacks ---- */

/* The stacks of all threads, without the GIL: faulthandler does it in a signal handler. */
static void dump(struct mc_request *r)
{
    (void) r;
    raise(DUMP_SIGNAL); /* to this thread: it is over before the next line of the log */
}

static int register_dump(void)
{
    PyObject *module = PyImport_ImportModule("faulthandler");
    PyObject *done = module ? PyObject_CallMethod(module, "register", "iiO", DUMP_SIGNAL, mc_log_fd(), Py_True) : NULL;
    Py_XDECREF(module);
    Py_XDECREF(done);
    return done ? MC_OK : MC_ERROR;
}

/* worker.wsgi of hooks. */
static PyObject *first_app(const struct mc_worker *w)
{
    for (size_t i = 0; i < w->conf->napps; i++) {
        const struct mc_conf_app *app = &w->conf->apps[i];
        if (app->pool == w->pool && app->type->needs & MC_NEED_PYTHON)
            return mc_app_get(app);
    }
    return NULL;
}

int mc_life_init_worker(struct mc_worker *w)
{
    if (!w->pool->python)
        return MC_OK;
    if (mc_hub_enter(w->pool) != MC_OK) {
        mc_interp_log("Exception in worker process");
        snprintf(w->failure, sizeof(w->failure), "the standard library cannot be patched for %s", w->pool->hub);
        return MC_EXIT_BOOT;
    }
    if (mc_hooks_born())
        return MC_EXIT_BOOT;
    if (mc_interp_init() != MC_OK || enable_faulthandler() != MC_OK || register_dump() != MC_OK || watch_forks() != MC_OK ||
        mc_environ_init(w) != MC_OK) {
        mc_interp_log("Exception in worker process");
        return MC_EXIT_BOOT;
    }
    if (!(w->ops->caps & MC_CAP_THREADS)) { /* else the loop runs without the GIL; handlers take it */
        w->loop.before_sleep = before_sleep;
        w->loop.after_sleep = after_sleep;
        w->loop.sleep_data = w;
    }
    bool broken = mc_dev_is_failed();
    int rc = broken || w->pool->hub ? MC_OK : mc_asgi_prepare(w);
    if (rc == MC_OK && !broken)
        rc = mc_app_import(w->conf, w->pool, w->failure, sizeof(w->failure));
    if (rc != MC_OK && !broken && mc_dev_is_failed()) { /* its page is served */
        mc_asgi_close(w);
        broken = true;
        rc = MC_OK;
    }
    if (rc == MC_OK && !broken && mc_hooks_loaded(first_app(w)))
        rc = MC_EXIT_BOOT;
    if (rc != MC_OK) {
        mc_hooks_leaving();
        return rc;
    }
    mc_dev_look(w);
    w->interrupted = mc_hooks_interrupted;
    w->release = mc_interp_give;
    w->acquire = mc_interp_take_back;
    w->spawn = spawn;
    w->dump = dump;
    w->visit = visit;
    if (w->ops->caps & MC_CAP_THREADS) {
        w->lock_beat = mc_clock_ms();      /* the first request may keep the GIL before the first visit */
        return MC_OK;
    }
    if (!w->pool->hub)
        return broken ? MC_OK : mc_asgi_open(w);
    if (mc_hub_open(w) == MC_OK)
        return MC_OK;
    mc_interp_log("Exception in worker process");
    return MC_EXIT_BOOT;
}

void mc_life_exit_worker(struct mc_worker *w)
{
    if (!w->pool->python)
        return;
    mc_asgi_close(w);
    mc_hooks_leaving();
    mc_errors_flush();
    mc_environ_fini();
    mc_responder_fini();
    mc_app_drop();
}
