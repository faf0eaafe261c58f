/* Development (`reload`): which files the process has loaded, for the arbiter to watch, and the page that is served in place of an app that cannot be
 * imported. Only with that setting: without it nothing of a traceback reaches a client. Zygote and workers; GIL held but for mc_dev_answer(). */
#include "modules/python/python.h"
#include "core/base/clock.h"
#include "core/os/fd.h"
#include "core/process/child.h"
#include "modules/python/dev.py.h"

#include <stdio.h>

enum { LOOK_MS = 500 };

static PyObject *tools; /* globals of the text above */
static PyObject *page;  /* bytes: the app cannot be imported */
static PyObject *files; /* bytes: the report that goes with it */
static Py_ssize_t known; /* modules at the last report */
static uint64_t looked;  /* ms */

static int load_tools(void)
{
    if (tools)
        return MC_OK;
    PyObject *code = Py_CompileString(embedded, "<monoceros>", Py_file_input);
    PyObject *globals = code ? PyDict_New() : NULL, *done = NULL;
    if (globals && PyDict_SetItemString(globals, "__builtins__", PyEval_GetBuiltins()) == 0)
        done = PyEval_EvalCode(code, globals, globals);
    Py_XDECREF(code);
    if (done)
        tools = Py_NewRef(globals);
    Py_XDECREF(globals);
    Py_XDECREF(done);
    return tools ? MC_OK : MC_ERROR;
}

static PyObject *call(const char *name, PyObject *one, PyObject *two)
{
    PyObject *function = load_tools() == MC_OK ? PyDict_GetItemString(tools, name) : NULL; /* borrowed */
    return function ? PyObject_CallFunctionObjArgs(function, one, two, NULL) : NULL;
}

void mc_dev_failed(bool plain)
{
    PyObject *type, *value, *tb, *both = NULL;
    PyErr_Fetch(&type, &value, &tb);
    PyErr_NormalizeException(&type, &value, &tb);
    if (value && tb)
        PyException_SetTraceback(value, tb);
    if (value)
        both = call("failed", value, plain ? Py_True : Py_False);
    if (both) {
        Py_XDECREF(page);
        Py_XDECREF(files);
        page = Py_NewRef(PyTuple_GetItem(both, 0));
        files = Py_NewRef(PyTuple_GetItem(both, 1));
    }
    Py_XDECREF(both);
    PyErr_Restore(type, value, tb); /* and what went wrong here is gone */
}

bool mc_dev_is_failed(void)
{
    return page != NULL;
}

int mc_dev_answer(struct mc_request *r)
{
    if (mc_response_begin(r, 500, MC_STR_NONE) != MC_OK || mc_response_field(r, MC_STR("Content-Type"), MC_STR("text/html; charset=utf-8")) != MC_OK ||
        mc_response_field(r, MC_STR("Cache-Control"), MC_STR("no-store")) != MC_OK)
        return 500;
    return mc_response_end(r, PyBytes_AsString(page), (size_t)PyBytes_Size(page));
}

static void report(PyObject *bytes)
{
    int fd = mc_fd_memfd("monoceros-files", PyBytes_AsString(bytes), (size_t)PyBytes_Size(bytes), true);
    if (fd >= 0)
        mc_child_files(fd);
    mc_fd_close(&fd);
}

void mc_dev_look(struct mc_worker *w)
{
    if (mc_likely(!w->conf->set.reload))
        return;
    uint64_t now = mc_clock_ms();
    if (now < looked + LOOK_MS)
        return;
    looked = now;
    PyObject *modules = PySys_GetObject("modules"); /* borrowed */
    Py_ssize_t n = modules && PyDict_Check(modules) ? PyDict_Size(modules) : 0;
    if (n == known)
        return;
    if (known == 0 && files)
        report(files);
    known = n;
    PyObject *bytes = call("loaded", NULL, NULL);
    if (bytes && PyBytes_Check(bytes))
        report(bytes);
    Py_XDECREF(bytes);
    PyErr_Clear();
}
