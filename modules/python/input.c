/* wsgi.input over the body API: read, readline, readlines and iteration, ending at the end of the body. Bytes are copied once, straight into
 * the result; readline() looks ahead through a small buffer. Objects outlive their request only as closed ones. Worker side, GIL held. */
#include "modules/python/python.h"

#include <stdlib.h>

enum { AHEAD = 8192 };

struct input {
    PyObject_HEAD struct mc_request *r; /* NULL: the request is over, or there never was a body */
    bool over;
    char *ahead; /* AHEAD bytes that readline() took; [pos, end) are unread */
    size_t pos, end;
};

static PyObject *none;

/* Take up to n bytes into p; stops short only at the end of the body. -1 with an exception when the body is cut. */
static Py_ssize_t take(struct input *in, char *p, size_t n)
{
    size_t done = in->end - in->pos < n ? in->end - in->pos : n;
    if (done)
        memcpy(p, in->ahead + in->pos, done);
    in->pos += done;
    while (done < n) {
        ssize_t got = mc_body_read(in->r, p + done, n - done);
        if (got == 0)
            break;
        if (got < 0) {
            PyErr_SetString(PyExc_ConnectionError, "the request body was cut off");
            return -1;
        }
        done += (size_t)got;
    }
    return (Py_ssize_t)done;
}

/* What is left and can be read without waiting: all of it, as bodies are buffered before the app starts. */
static size_t left(const struct input *in)
{
    return in->r ? in->end - in->pos + (size_t)mc_body_available(in->r) : 0;
}

static bool usable(const struct input *in)
{
    if (mc_likely(!in->over))
        return true;
    PyErr_SetString(PyExc_ValueError, "wsgi.input of a request that is over");
    return false;
}

/* The optional size argument: -1 for none, None or negative. MC_ERROR with an exception. */
static int size_argument(PyObject *const *args, Py_ssize_t nargs, const char *name, Py_ssize_t *size)
{
    *size = -1;
    if (nargs > 1) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most 1 argument (%zd given)", name, nargs);
        return MC_ERROR;
    }
    if (nargs == 0 || args[0] == Py_None)
        return MC_OK;
    *size = PyNumber_AsSsize_t(args[0], PyExc_OverflowError);
    if (*size == -1 && PyErr_Occurred())
        return MC_ERROR;
    if (*size < 0)
        *size = -1;
    return MC_OK;
}

static PyObject *input_read(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    struct input *in = (struct input *)self;
    Py_ssize_t size;
    if (!usable(in) || size_argument(args, nargs, "read", &size) != MC_OK)
        return NULL;
    size_t n = left(in);
    if (size >= 0 && (size_t)size < n)
        n = (size_t)size;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)n);
    if (!bytes || n == 0)
        return bytes;
    Py_ssize_t got = take(in, PyBytes_AsString(bytes), n);
    if (got == (Py_ssize_t)n)
        return bytes;
    Py_DECREF(bytes);
    if (got >= 0)
        PyErr_SetString(PyExc_ConnectionError, "the request body is shorter than announced");
    return NULL;
}

/* Refill the look-ahead; 0 at the end of the body. */
static Py_ssize_t fill(struct input *in)
{
    if (!in->ahead && !(in->ahead = malloc(AHEAD))) {
        PyErr_NoMemory();
        return -1;
    }
    in->pos = in->end = 0;
    size_t n = left(in) < AHEAD ? left(in) : AHEAD;
    Py_ssize_t got = n ? take(in, in->ahead, n) : 0;
    if (got > 0)
        in->end = (size_t)got;
    return got;
}

/* One line of at most `limit` bytes; b'' at the end. */
static PyObject *line(struct input *in, size_t limit)
{
    struct mc_sb sb;
    PyObject *bytes = NULL;
    bool ended = limit == 0 || !in->r;
    mc_sb_init(&sb, SIZE_MAX / 4);
    while (!ended) {
        if (in->pos == in->end) {
            Py_ssize_t got = fill(in);
            if (got < 0)
                goto out;
            if (got == 0)
                break;
        }
        size_t n = in->end - in->pos;
        if (n > limit - sb.n)
            n = limit - sb.n;
        const char *p = in->ahead + in->pos, *nl = memchr(p, '\n', n);
        if (nl)
            n = (size_t)(nl - p) + 1;
        mc_sb_add(&sb, p, n);
        in->pos += n;
        ended = nl || sb.bad || sb.n == limit;
    }
    bytes = sb.bad ? PyErr_NoMemory() : PyBytes_FromStringAndSize(sb.p, (Py_ssize_t)sb.n);
out:
    mc_sb_fini(&sb);
    return bytes;
}

static PyObject *input_readline(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    struct input *in = (struct input *)self;
    Py_ssize_t size;
    if (!usable(in) || size_argument(args, nargs, "readline", &size) != MC_OK)
        return NULL;
    return line(in, size < 0 ? SIZE_MAX / 4 : (size_t)size);
}

/* hint: stop once that many bytes were taken, as the io module does; 0 and None are no hint. */
static PyObject *input_readlines(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    struct input *in = (struct input *)self;
    Py_ssize_t hint, total = 0;
    if (!usable(in) || size_argument(args, nargs, "readlines", &hint) != MC_OK)
        return NULL;
    PyObject *list = PyList_New(0);
    while (list) {
        PyObject *one = line(in, SIZE_MAX / 4);
        Py_ssize_t n = one ? PyBytes_Size(one) : 0;
        if (one && n == 0) {
            Py_DECREF(one);
            return list;
        }
        if (!one || PyList_Append(list, one) < 0)
            Py_CLEAR(list);
        Py_XDECREF(one);
        total += n;
        if (hint > 0 && total >= hint)
            break;
    }
    return list;
}

static PyObject *input_iter(PyObject *self)
{
    return usable((struct input *)self) ? Py_NewRef(self) : NULL;
}

static PyObject *input_next(PyObject *self)
{
    struct input *in = (struct input *)self;
    PyObject *one = usable(in) ? line(in, SIZE_MAX / 4) : NULL;
    if (one && PyBytes_Size(one) == 0)
        Py_CLEAR(one); /* without an exception: the end */
    return one;
}

static void input_dealloc(PyObject *self)
{
    free(((struct input *)self)->ahead);
    mc_interp_free(self);
}

static PyMethodDef methods[] = {
    {"read", (PyCFunction)(void (*)(void))input_read, METH_FASTCALL, NULL},
    {"readline", (PyCFunction)(void (*)(void))input_readline, METH_FASTCALL, NULL},
    {"readlines", (PyCFunction)(void (*)(void))input_readlines, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot slots[] = {
    {Py_tp_methods, methods}, {Py_tp_iter, input_iter}, {Py_tp_iternext, input_next}, {Py_tp_dealloc, input_dealloc}, {0, NULL},
};
static PyType_Spec spec = {
    .name = "monoceros.Input",
    .basicsize = sizeof(struct input),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

int mc_input_init(void)
{
    mc_interp.input_type = mc_interp_type(&spec);
    if (!mc_interp.input_type)
        return MC_ERROR;
    none = PyType_GenericAlloc(mc_interp.input_type, 0);
    return none ? MC_OK : MC_ERROR;
}

PyObject *mc_input_new(struct mc_request *r)
{
    PyObject *self = PyType_GenericAlloc(mc_interp.input_type, 0);
    if (self)
        ((struct input *)self)->r = r;
    return self;
}

PyObject *mc_input_none(void)
{
    return none;
}

void mc_input_close(PyObject *input)
{
    struct input *in = (struct input *)input;
    in->r = NULL;
    in->over = true;
    free(in->ahead);
    in->ahead = NULL;
    in->pos = in->end = 0;
}
