/* The extension module _monoceros: the way from the user's interpreter into the zygote, and out of it again.
 * PyInit__monoceros is the only symbol it exports. Zygote; leave() in workers. */
#include "modules/python/hub.h"
#include "core/process/child.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LEAVE_SECONDS = 10 }; /* for exit functions and threads of the app; the arbiter's kill timer is behind it */

PyMODINIT_FUNC PyInit__monoceros(void);

/* ---- hooks of the zygote ---- */

static PyThreadState *saved;

/* What is imported now is shared by all workers: the collector leaves it alone, or each worker would soon have copied it. */
static int freeze(void)
{
    PyObject *gc = PyImport_ImportModule("gc");
    PyObject *collected = gc ? PyObject_CallMethod(gc, "collect", NULL) : NULL;
    PyObject *frozen = collected ? PyObject_CallMethod(gc, "freeze", NULL) : NULL;
    Py_XDECREF(frozen);
    Py_XDECREF(collected);
    Py_XDECREF(gc);
    return frozen ? MC_OK : MC_ERROR;
}

/* A fork takes one thread along. */
static void tell_of_threads(void)
{
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *count = threading ? PyObject_CallMethod(threading, "active_count", NULL) : NULL;
    long n = count ? PyLong_AsLong(count) : 0;
    if (n > 1)
        mc_warn("preload_app: %ld threads of the app run already; they do not go on in workers: start them in the hook post_fork", n - 1);
    PyErr_Clear();
    Py_XDECREF(count);
    Py_XDECREF(threading);
}

static bool has_loops(const struct mc_conf *conf, const struct mc_conf_pool *pool)
{
    bool any = false;
    for (size_t i = 0; i < conf->napps; i++)
        any |= conf->apps[i].pool == pool && conf->apps[i].type->needs & MC_NEED_ITS_LOOP;
    return any;
}

/* Workers have a loop of their own, as this one cannot be shared. asyncio tells which is the current one only to those who want one made, so we look
 * where it keeps it; a Python that has it elsewhere warns of nothing. */
static void tell_of_loop(void)
{
    PyObject *modules = PySys_GetObject("modules"), *asyncio = modules ? PyDict_GetItemString(modules, "asyncio") : NULL; /* borrowed */
    PyObject *policy = asyncio ? PyObject_CallMethod(asyncio, "get_event_loop_policy", NULL) : NULL;
    PyObject *local = policy ? PyObject_GetAttrString(policy, "_local") : NULL, *loop = local ? PyObject_GetAttrString(local, "_loop") : NULL;
    PyObject *closed = loop && loop != Py_None ? PyObject_CallMethod(loop, "is_closed", NULL) : NULL;
    if (closed == Py_False)
        mc_warn("preload_app: the app has an event loop already, which does not go on in workers, nor does what is tied to it: do that in its startup");
    PyErr_Clear();
    Py_XDECREF(closed);
    Py_XDECREF(loop);
    Py_XDECREF(local);
    Py_XDECREF(policy);
}

static int preload(const struct mc_conf *conf, const struct mc_conf_pool *pool, char *err, size_t errcap)
{
    if (mc_hub_patch(pool) != MC_OK) {
        snprintf(err, errcap, "the standard library cannot be patched for %s", pool->hub);
        mc_interp_log("Exception in worker process");
        return MC_EXIT_BOOT;
    }
    int code = mc_app_import(conf, pool, err, errcap);
    if (code == MC_OK && freeze() != MC_OK) {
        mc_interp_log("Exception in worker process");
        return MC_EXIT_BOOT;
    }
    if (code == MC_OK && pool->set.preload_app)
        tell_of_threads();
    if (code == MC_OK && pool->set.preload_app && has_loops(conf, pool))
        tell_of_loop();
    return code;
}

/* The loggers and the file with hooks. */
static int open_hooks(const struct mc_conf *conf, const struct mc_conf_pool *pool, char *err, size_t errcap)
{
    if (mc_hooks_open(conf, pool, getppid()) == MC_OK)
        return MC_OK;
    snprintf(err, errcap, "%s", conf->set.hooks ? "the file of hooks or the configuration of logging failed" : "the configuration of logging failed");
    mc_interp_log("Exception in zygote");
    return MC_EXIT_BOOT;
}

static void before_sleep(void)
{
    saved = PyEval_SaveThread();
}

static void after_sleep(void)
{
    PyEval_RestoreThread(saved);
    if (PyErr_CheckSignals() != 0)
        mc_interp_log("Exception in a signal handler of the app");
}

static const struct mc_zygote_hooks hooks = {
    .open = open_hooks,
    .preload = preload,
    .tell = mc_hooks_tell,
    .before_birth = mc_hooks_before_fork,
    .before_fork = PyOS_BeforeFork,
    .after_fork_parent = PyOS_AfterFork_Parent,
    .after_fork_child = PyOS_AfterFork_Child,
    .before_sleep = before_sleep,
    .after_sleep = after_sleep,
};

/* ---- the end of a worker ---- */

static int leave_code;

static void on_alarm(int sig)
{
    static const char text[] = "Threads or exit functions of the app did not end: leaving without them";
    (void)sig;
    mc_log_signal_safe(MC_LOG_WARNING, text, sizeof(text) - 1);
    _exit(leave_code);
}

static void set_alarm(void)
{
    struct sigaction sa = {.sa_handler = on_alarm};
    sigemptyset(&sa.sa_mask);
    sigaction(SIGALRM, &sa, NULL);
    alarm(LEAVE_SECONDS);
}

/* Call module.function() at the end; whatever it raises is logged. */
static void last_call(const char *module, const char *function)
{
    PyObject *m = PyImport_ImportModule(module);
    PyObject *done = m ? PyObject_CallMethod(m, function, NULL) : NULL;
    if (!done)
        mc_interp_log("Exception while the worker exits");
    Py_XDECREF(done);
    Py_XDECREF(m);
}

static void flush_stream(const char *name)
{
    PyObject *stream = PySys_GetObject(name); /* borrowed */
    PyObject *done = stream && stream != Py_None ? PyObject_CallMethod(stream, "flush", NULL) : NULL;
    PyErr_Clear(); /* closed, or its reader has gone */
    Py_XDECREF(done);
}

/* What Py_FinalizeEx does for the app: it joins threads and calls the exit functions. The rest of it tears down an interpreter whose frames are
 * still below us on this stack, in a process that ends anyway. */
void mc_extension_leave(int code)
{
    leave_code = code;
    set_alarm();
    if (!mc_life_forked() || !mc_hub_greenlet()) /* in a child of a greenlet's the first "thread" never ends: it was left behind in the parent */
        last_call("threading", "_shutdown");
    last_call("atexit", "_run_exitfuncs");
    flush_stream("stdout");
    flush_stream("stderr");
    _exit(code);
}

/* ---- the module ---- */

/* What an app prints appears when it is printed, also in a file or a pipe, and no half-filled buffer is copied by fork. */
static void flush_by_line(const char *name)
{
    PyObject *stream = PySys_GetObject(name); /* borrowed */
    PyObject *method = stream && stream != Py_None ? PyObject_GetAttrString(stream, "reconfigure") : NULL;
    PyObject *args = method ? PyTuple_New(0) : NULL, *words = args ? Py_BuildValue("{s:O}", "line_buffering", Py_True) : NULL;
    PyObject *done = words ? PyObject_Call(method, args, words) : NULL;
    PyErr_Clear(); /* none, closed, or not the interpreter's own */
    Py_XDECREF(done);
    Py_XDECREF(words);
    Py_XDECREF(args);
    Py_XDECREF(method);
}

static PyObject *zygote(PyObject *self, PyObject *index)
{
    (void)self;
    unsigned long pool = PyLong_AsUnsignedLong(index);
    if (pool == (unsigned long)-1 && PyErr_Occurred())
        return NULL;
    if (mc_interp_init() != MC_OK || mc_app_init() != MC_OK)
        return NULL;
    flush_by_line("stdout");
    flush_by_line("stderr");
    return PyLong_FromLong(mc_zygote_run(&hooks, (unsigned)pool, mc_extension_leave));
}

static PyMethodDef methods[] = {
    {"zygote", zygote, METH_O, "zygote(pool) -> exit code. The life of the pool's zygote; returns only there, never in a worker."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "_monoceros", .m_doc = "The worker side of Monoceros; started by its arbiter.",
    .m_size = -1,          .m_methods = methods,
};

PyMODINIT_FUNC PyInit__monoceros(void)
{
    return PyModule_Create(&module);
}
