/* wsgi.errors: text of the app goes to the error log as it stands, as with Gunicorn: the records that frameworks write there have a time and a
 * level of their own. Whole lines go out at once; the rest of a line waits for its end, flush() or the end of the request. One object for the
 * process. Never touches sys.stderr. Worker side, GIL held. */
#include "modules/python/python.h"

enum { PENDING_MAX = 32768 };

static PyObject *the_errors;
static struct mc_sb pending; /* an unfinished line */

void mc_errors_flush(void)
{
    if (mc_likely(pending.n == 0 && !pending.bad))
        return;
    mc_sb_addc(&pending, '\n');
    mc_log_text(pending.p, pending.bad ? 0 : pending.n);
    mc_sb_fini(&pending);
}

static void add(const char *p, size_t n)
{
    mc_sb_add(&pending, p, n);
    const char *end = memrchr(p, '\n', n);
    if (!end && pending.n < PENDING_MAX && !pending.bad)
        return;
    size_t rest = end ? n - (size_t)(end + 1 - p) : 0;
    if (pending.bad || rest > pending.n) {
        mc_sb_fini(&pending); /* no memory: this text is lost */
        return;
    }
    mc_log_text(pending.p, pending.n - rest);
    memmove(pending.p, pending.p + (pending.n - rest), rest);
    pending.n = rest;
}

static PyObject *errors_write(PyObject *self, PyObject *text)
{
    (void)self;
    if (!PyUnicode_Check(text))
        return PyErr_Format(PyExc_TypeError, "write() argument must be str, not %R", (PyObject *)Py_TYPE(text));
    PyObject *bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
    if (!bytes)
        return NULL;
    const char *p = PyBytes_AsString(bytes);
    size_t n = (size_t)PyBytes_Size(bytes);
    while (n) {
        size_t part = n < PENDING_MAX ? n : PENDING_MAX;
        add(p, part);
        p += part;
        n -= part;
    }
    Py_DECREF(bytes);
    return PyLong_FromSsize_t(PyUnicode_GetLength(text));
}

static PyObject *errors_writelines(PyObject *self, PyObject *lines)
{
    PyObject *it = PyObject_GetIter(lines), *line;
    if (!it)
        return NULL;
    while ((line = PyIter_Next(it))) {
        PyObject *done = errors_write(self, line);
        Py_DECREF(line);
        if (!done)
            break;
        Py_DECREF(done);
    }
    Py_DECREF(it);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *errors_flush(PyObject *self, PyObject *none)
{
    (void)self;
    (void)none;
    mc_errors_flush();
    return Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {
    {"write", errors_write, METH_O, NULL},
    {"writelines", errors_writelines, METH_O, NULL},
    {"flush", errors_flush, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot slots[] = {{Py_tp_methods, methods}, {Py_tp_dealloc, mc_interp_free}, {0, NULL}};
static PyType_Spec spec = {
    .name = "monoceros.ErrorLog",
    .basicsize = sizeof(PyObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

int mc_errors_init(void)
{
    mc_sb_init(&pending, 2 * PENDING_MAX);
    mc_interp.errors_type = mc_interp_type(&spec);
    if (!mc_interp.errors_type)
        return MC_ERROR;
    the_errors = PyType_GenericAlloc(mc_interp.errors_type, 0);
    return the_errors ? MC_OK : MC_ERROR;
}

PyObject *mc_errors_get(void)
{
    return the_errors;
}
