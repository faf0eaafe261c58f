/* wsgi.file_wrapper(filelike, blksize=8192): iterates read(blksize), or is sent as a file when the app returns it as it stands and a plain file of
 * the io module is behind it. Other objects with a fileno() are read: theirs need not be the bytes that read() gives (gzip, TLS, pipes).
 * Worker side, GIL held. */
#include "modules/python/python.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct wrapper {
    PyObject_HEAD PyObject *file, *read, *size;
};

static PyObject *raw_type, *reader_type, *random_type; /* io.FileIO, io.BufferedReader, io.BufferedRandom */

static PyObject *wrapper_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char filelike[] = "filelike", blksize[] = "blksize";
    static char *names[] = {filelike, blksize, NULL};
    PyObject *file;
    Py_ssize_t size = 8192;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|n:FileWrapper", names, &file, &size))
        return NULL;
    PyObject *read = PyObject_GetAttrString(file, "read");
    PyObject *number = read ? PyLong_FromSsize_t(size) : NULL;
    struct wrapper *w = number ? (struct wrapper *)PyType_GenericAlloc(type, 0) : NULL;
    if (!w) {
        Py_XDECREF(read);
        Py_XDECREF(number);
        return NULL;
    }
    w->file = Py_NewRef(file);
    w->read = read;
    w->size = number;
    return (PyObject *)w;
}

static int wrapper_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct wrapper *w = (struct wrapper *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(w->file);
    Py_VISIT(w->read);
    return 0;
}

static int wrapper_clear(PyObject *self)
{
    struct wrapper *w = (struct wrapper *)self;
    Py_CLEAR(w->file);
    Py_CLEAR(w->read);
    Py_CLEAR(w->size);
    return 0;
}

static void wrapper_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    wrapper_clear(self);
    mc_interp_free(self);
}

static PyObject *wrapper_iter(PyObject *self)
{
    return Py_NewRef(self);
}

static PyObject *wrapper_next(PyObject *self)
{
    struct wrapper *w = (struct wrapper *)self;
    PyObject *data = mc_interp.vectorcall(w->read, &w->size, 1, NULL);
    if (!data)
        return NULL;
    Py_ssize_t n = PyObject_Size(data);
    if (n > 0)
        return data;
    Py_DECREF(data);
    return NULL; /* without an exception (n == 0): the end */
}

static PyObject *wrapper_close(PyObject *self, PyObject *none)
{
    PyObject *close;
    (void)none;
    int found = mc_interp.lookup(((struct wrapper *)self)->file, mc_interp.close_name, &close);
    if (found <= 0)
        return found < 0 ? NULL : Py_NewRef(Py_None);
    PyObject *result = PyObject_CallNoArgs(close);
    Py_DECREF(close);
    return result;
}

static PyMethodDef methods[] = {{"close", wrapper_close, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
static PyType_Slot slots[] = {
    {Py_tp_new, wrapper_new},           {Py_tp_methods, methods},     {Py_tp_iter, wrapper_iter},       {Py_tp_iternext, wrapper_next},
    {Py_tp_traverse, wrapper_traverse}, {Py_tp_clear, wrapper_clear}, {Py_tp_dealloc, wrapper_dealloc}, {0, NULL},
};
static PyType_Spec spec = {
    .name = "monoceros.FileWrapper",
    .basicsize = sizeof(struct wrapper),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

int mc_file_wrapper_init(void)
{
    PyObject *io = PyImport_ImportModule("io");
    if (!io)
        return MC_ERROR;
    raw_type = PyObject_GetAttrString(io, "FileIO");
    reader_type = PyObject_GetAttrString(io, "BufferedReader");
    random_type = PyObject_GetAttrString(io, "BufferedRandom");
    Py_DECREF(io);
    if (!raw_type || !reader_type || !random_type)
        return MC_ERROR;
    mc_interp.wrapper_type = mc_interp_type(&spec);
    return mc_interp.wrapper_type ? MC_OK : MC_ERROR;
}

static bool is_type(PyObject *o, PyObject *type)
{
    return (PyObject *)Py_TYPE(o) == type;
}

/* tempfile's wrapper round a file; NULL without an exception when it is none. */
static PyObject *unwrap(PyObject *file)
{
    PyObject *name = PyUnicode_FromString("tempfile");
    PyObject *module = name ? PyImport_GetModule(name) : NULL; /* NULL unless the app has imported it */
    PyObject *type = module ? PyObject_GetAttrString(module, "_TemporaryFileWrapper") : NULL;
    PyObject *inner = type && is_type(file, type) ? PyObject_GetAttrString(file, "file") : NULL;
    Py_XDECREF(type);
    Py_XDECREF(module);
    Py_XDECREF(name);
    PyErr_Clear();
    return inner;
}

/* A file of the io module whose read() gives what is in the descriptor. */
static bool is_plain(PyObject *file)
{
    if (is_type(file, raw_type))
        return true;
    if (!is_type(file, reader_type) && !is_type(file, random_type))
        return false;
    PyObject *raw = PyObject_GetAttrString(file, "raw");
    bool plain = raw && is_type(raw, raw_type);
    Py_XDECREF(raw);
    PyErr_Clear();
    return plain;
}

static int call_number(PyObject *file, const char *method, long long *out)
{
    PyObject *number = PyObject_CallMethod(file, method, NULL);
    if (!number)
        return MC_ERROR;
    *out = PyLong_AsLongLong(number);
    Py_DECREF(number);
    return *out == -1 && PyErr_Occurred() ? MC_ERROR : MC_OK;
}

/* The app closes its own descriptor while ours may still wait for the client. */
static int duplicate(int fd, struct mc_file **file)
{
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return MC_ERROR;
    }
    *file = mc_file_new(own);
    if (*file)
        return MC_OK;
    close(own);
    PyErr_NoMemory();
    return MC_ERROR;
}

static int open_plain(PyObject *o, struct mc_file **file, off_t *off, off_t *len)
{
    long long fd, pos;
    struct stat st;
    if (!is_plain(o) || call_number(o, "fileno", &fd) != MC_OK || fstat((int)fd, &st) != 0 || !S_ISREG(st.st_mode) ||
        call_number(o, "tell", &pos) != MC_OK) {
        PyErr_Clear(); /* reading it will tell what is wrong */
        return MC_DECLINED;
    }
    *off = pos;
    *len = st.st_size > pos ? st.st_size - pos : 0;
    return duplicate((int)fd, file);
}

int mc_file_wrapper_open(PyObject *o, struct mc_file **file, off_t *off, off_t *len)
{
    struct wrapper *w = (struct wrapper *)o;
    PyObject *inner = unwrap(w->file);
    int rc = open_plain(inner ? inner : w->file, file, off, len);
    Py_XDECREF(inner);
    return rc;
}
