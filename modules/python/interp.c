/* What we need of the running interpreter beyond the limited API, and exceptions on their way to the error log.
 * Never prints through sys.stderr and never calls PyErr_Print (a SystemExit would end the process there).
 * Called by every file of this module; worker and zygote. */
#include "modules/python/python.h"

#include "core/base/small.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>

struct mc_interp mc_interp;

static PyObject *format_exception; /* traceback.format_exception */

static int lookup_slow(PyObject *o, PyObject *name, PyObject **out)
{
    *out = PyObject_GetAttr(o, name);
    if (*out)
        return 1;
    if (!PyErr_ExceptionMatches(PyExc_AttributeError))
        return -1;
    PyErr_Clear();
    return 0;
}

/* A data pointer that is a function: the way that ISO C leaves open. */
static bool find(const char *symbol, void *function)
{
    void *p = dlsym(RTLD_DEFAULT, symbol);
    if (p)
        memcpy(function, &p, sizeof(p));
    return p != NULL;
}

int mc_interp_init(void)
{
    if (mc_interp.empty)
        return MC_OK;
    if (!find("PyObject_Vectorcall", &mc_interp.vectorcall) || !find("PyContext_Enter", &mc_interp.context_enter) ||
        !find("PyContext_Exit", &mc_interp.context_exit)) {
        PyErr_SetString(PyExc_ImportError, "this Python does not export what CPython 3.11 does");
        return MC_ERROR;
    }
    if (!find("PyObject_GetOptionalAttr", &mc_interp.lookup) && !find("_PyObject_LookupAttr", &mc_interp.lookup))
        mc_interp.lookup = lookup_slow;
    PyObject *traceback = PyImport_ImportModule("traceback");
    if (!traceback)
        return MC_ERROR;
    format_exception = PyObject_GetAttrString(traceback, "format_exception");
    Py_DECREF(traceback);
    mc_interp.close_name = PyUnicode_InternFromString("close");
    PyObject *empty = PyUnicode_InternFromString("");
    if (!format_exception || !mc_interp.close_name || !empty)
        return MC_ERROR;
    if (mc_names_init() != MC_OK || mc_input_init() != MC_OK || mc_errors_init() != MC_OK || mc_file_wrapper_init() != MC_OK ||
        mc_responder_init() != MC_OK)
        return MC_ERROR;
    mc_interp.empty = empty;
    return MC_OK;
}

/* The traceback as one str; NULL without an exception set when even that fails. */
static PyObject *describe(PyObject *value)
{
    PyObject *lines = mc_interp.vectorcall(format_exception, &value, 1, NULL);
    PyObject *text = NULL;
    if (lines) {
        PyObject *none = PyUnicode_FromStringAndSize(NULL, 0);
        text = none ? PyUnicode_Join(none, lines) : NULL;
        Py_XDECREF(none);
        Py_DECREF(lines);
    }
    if (!text) {
        PyErr_Clear();
        text = PyObject_Repr((PyObject *)Py_TYPE(value));
    }
    if (!text)
        PyErr_Clear();
    return text;
}

void mc_interp_log(const char *text)
{
    PyObject *type, *value, *tb;
    PyErr_Fetch(&type, &value, &tb);
    PyErr_NormalizeException(&type, &value, &tb);
    if (value && tb)
        PyException_SetTraceback(value, tb);
    PyObject *told = value ? describe(value) : NULL;
    PyObject *bytes = told ? PyUnicode_AsEncodedString(told, "utf-8", "backslashreplace") : NULL;
    if (!bytes)
        PyErr_Clear();
    const char *z = bytes ? PyBytes_AsString(bytes) : "(the exception cannot be shown)";
    mc_error("%s\n%s", text, z);
    Py_XDECREF(bytes);
    Py_XDECREF(told);
    Py_XDECREF(tb);
    Py_XDECREF(value);
    Py_XDECREF(type);
}

bool mc_interp_exiting(void)
{
    return PyErr_ExceptionMatches(PyExc_SystemExit) || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt);
}

PyTypeObject *mc_interp_type(PyType_Spec *spec)
{
    return (PyTypeObject *)PyType_FromSpec(spec);
}

void mc_interp_free(PyObject *o)
{
    PyTypeObject *type = Py_TYPE(o);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(o);
    Py_DECREF(type);
}

/* ---- the GIL, and what must wait for it ---- */

/* This thread's state while it does not hold the GIL. NULL: it holds it, or Python does not know it. */
static _Thread_local PyThreadState *parked;

/* References that a thread without the GIL had to let go of: taken over by the next one that has it. */
struct dropped {
    struct dropped *next;
    PyObject *object;
};
static _Atomic(struct dropped *) dropped;

void mc_interp_give(void)
{
    parked = PyEval_SaveThread();
}

void mc_interp_clear_dropped(void)
{
    struct dropped *d = atomic_load_explicit(&dropped, memory_order_relaxed) ? atomic_exchange(&dropped, NULL) : NULL;
    while (d) {
        struct dropped *next = d->next;
        Py_DECREF(d->object);
        mc_small_put(d);
        d = next;
    }
}

void mc_interp_take_back(void)
{
    PyThreadState *state = parked;
    parked = NULL;
    PyEval_RestoreThread(state);
    mc_interp_clear_dropped();
}

bool mc_interp_enter(void)
{
    if (!parked)
        return false;
    mc_interp_take_back();
    return true;
}

void mc_interp_release(void *object)
{
    if (mc_likely(!parked)) {
        Py_DECREF((PyObject *) object);
        return;
    }
    struct dropped *d = mc_small_get(sizeof(*d));
    if (!d)
        return; /* one object stays for ever: better than a race */
    d->object = object;
    d->next = atomic_load_explicit(&dropped, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&dropped, &d->next, d))
        continue;
}

int mc_interp_hold(struct mc_request *r, PyObject *o)
{
    if (mc_likely(mc_arena_cleanup(&r->arena, mc_interp_release, o) == MC_OK))
        return MC_OK;
    Py_DECREF(o);
    PyErr_NoMemory();
    return MC_ERROR;
}
