/* The interpreter's part in a worker's life: imports the apps, holds the GIL but for a poll that really sleeps, lets Python's signal handlers
 * run, dumps Python's stacks when the process dies. Worker side. */
#include "modules/python/python.h"

static PyThreadState *saved; /* while the loop sleeps */

static void before_sleep(void *data)
{
    (void)data;
    saved = PyEval_SaveThread();
}

static void after_sleep(void *data)
{
    struct mc_worker *w = data;
    PyEval_RestoreThread(saved);
    if (mc_likely(PyErr_CheckSignals() == 0))
        return;
    bool exiting = mc_interp_exiting();
    mc_interp_log("Exception in a signal handler of the app");
    if (exiting && !w->draining)
        mc_worker_drain(w);
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

int mc_life_init_worker(struct mc_worker *w)
{
    char err[256];
    if (!w->pool->python)
        return MC_OK;
    if (mc_interp_init() != MC_OK || enable_faulthandler() != MC_OK || mc_environ_init(w) != MC_OK) {
        mc_interp_log("Exception in worker process");
        return MC_EXIT_BOOT;
    }
    int rc = mc_app_import(w->conf, w->pool, err, sizeof(err));
    if (rc != MC_OK)
        return rc;
    w->loop.before_sleep = before_sleep;
    w->loop.after_sleep = after_sleep;
    w->loop.sleep_data = w;
    return MC_OK;
}

void mc_life_exit_worker(struct mc_worker *w)
{
    if (!w->pool->python)
        return;
    mc_errors_flush();
    mc_environ_fini();
    mc_responder_fini();
    mc_app_drop();
}
