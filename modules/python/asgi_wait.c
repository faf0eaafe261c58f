/* What receive() and send() return: an awaitable that, when it must wait, gives its task a future of the loop. The event is made when the task comes back,
 * out of what the request is then, so a receive() that is cancelled loses nothing. It is a coroutine to those who make a task of it (send, throw, close).
 * Python 3.11 drives it by am_send, later ones by tp_iternext. Worker side, GIL held. */
#include "modules/python/asgi.h"

enum { PIECE_MAX = 65536 };

enum kind { DONE, RECEIVE, SEND };

struct waiter {
    PyObject_HEAD struct mc_exchange *x;
    struct mc_link link;
    PyObject *future;  /* NULL: it does not wait */
    PyObject *message; /* SEND: not sent yet */
    enum kind kind;
};

static PyTypeObject *type;
static PyObject *the_done;
static PyObject *disconnect, *request_type, *type_name, *body_name, *more_name;

/* ---- events ---- */

/* NULL without an exception: there is none yet. */
static PyObject *body_event(struct mc_exchange *x)
{
    struct mc_request *r = x->r;
    int64_t there = mc_body_available(r);
    if (there == 0 && !r->body.complete) {
        mc_body_want(r);
        return NULL;
    }
    size_t n = there < PIECE_MAX ? (size_t)there : PIECE_MAX;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)n);
    if (!bytes)
        return NULL;
    if (n && mc_body_read(r, PyBytes_AsString(bytes), n) != (ssize_t)n) {
        Py_DECREF(bytes);
        return PyErr_Format(PyExc_ConnectionResetError, "the request's body was cut off");
    }
    x->taken = r->body.complete && (int64_t)n == there;
    if (!r->body.complete)
        mc_asgi_touch(r); /* there is room for more of it */
    PyObject *event = PyDict_New();
    if (event && (PyDict_SetItem(event, type_name, request_type) < 0 || PyDict_SetItem(event, body_name, bytes) < 0 ||
                  PyDict_SetItem(event, more_name, x->taken ? Py_False : Py_True) < 0))
        Py_CLEAR(event);
    Py_DECREF(bytes);
    return event;
}

static PyObject *next_event(struct mc_exchange *x)
{
    if (x->websocket)
        return mc_asgi_ws_event(x);
    if (!x->r || x->next == MC_ASGI_OVER || (!x->taken && x->r->body.failed))
        return PyDict_Copy(disconnect);
    return x->taken ? NULL : body_event(x);
}

/* ---- waiting ---- */

static void stop_waiting(struct waiter *w)
{
    mc_list_remove(&w->link);
    Py_CLEAR(w->future);
}

static PyObject *wait_more(struct waiter *w)
{
    w->future = mc_asgi_future();
    if (!w->future)
        return NULL;
    mc_list_push(&w->x->waiters, &w->link);
    return Py_NewRef(w->future);
}

/* MC_OK, MC_AGAIN, MC_ERROR with an exception. */
static int send_more(struct waiter *w)
{
    const struct mc_exchange *x = w->x;
    if (w->message) {
        int rc = mc_asgi_send(w->x, w->message);
        if (rc == MC_BUSY)
            return MC_AGAIN;
        Py_CLEAR(w->message);
        if (rc != MC_AGAIN)
            return rc;
    }
    if (x->lost) {
        mc_asgi_lost();
        return MC_ERROR;
    }
    return x->r && x->r->resp.paused ? MC_AGAIN : MC_OK;
}

/* One step: PYGEN_NEXT with what to wait for, PYGEN_RETURN with the result, PYGEN_ERROR. */
static PySendResult step(struct waiter *w, PyObject **out)
{
    int rc = MC_OK;
    *out = NULL;
    if (w->kind == DONE) {
        *out = Py_NewRef(Py_None);
        return PYGEN_RETURN;
    }
    if (w->future)
        stop_waiting(w);
    if (w->kind == RECEIVE) {
        *out = next_event(w->x);
        rc = *out ? MC_OK : PyErr_Occurred() ? MC_ERROR : MC_AGAIN;
    } else {
        rc = send_more(w);
        *out = rc == MC_OK ? Py_NewRef(Py_None) : NULL;
    }
    if (rc == MC_OK)
        return PYGEN_RETURN;
    *out = rc == MC_AGAIN ? wait_more(w) : NULL;
    return *out ? PYGEN_NEXT : PYGEN_ERROR;
}

static PySendResult waiter_am_send(PyObject *self, PyObject *value, PyObject **out)
{
    (void)value;
    return step((struct waiter *)self, out);
}

/* A result goes by StopIteration; None by nothing at all. */
static PyObject *waiter_next(PyObject *self)
{
    PyObject *out;
    PySendResult rc = step((struct waiter *)self, &out);
    if (rc != PYGEN_RETURN)
        return out;
    if (out != Py_None)
        PyErr_SetObject(PyExc_StopIteration, out);
    Py_DECREF(out);
    return NULL;
}

static PyObject *waiter_send(PyObject *self, PyObject *value)
{
    PyObject *out;
    (void)value;
    PySendResult rc = step((struct waiter *)self, &out);
    if (rc != PYGEN_RETURN)
        return out;
    PyErr_SetObject(PyExc_StopIteration, out);
    Py_DECREF(out);
    return NULL;
}

static PyObject *waiter_throw(PyObject *self, PyObject *args)
{
    PyObject *what, *value = NULL, *tb = NULL;
    if (((struct waiter *)self)->future)
        stop_waiting((struct waiter *)self);
    if (!PyArg_UnpackTuple(args, "throw", 1, 3, &what, &value, &tb))
        return NULL;
    if (PyExceptionInstance_Check(what))
        PyErr_SetObject((PyObject *)Py_TYPE(what), what);
    else
        PyErr_SetObject(what, value);
    return NULL;
}

static PyObject *waiter_close(PyObject *self, PyObject *none)
{
    (void)none;
    if (((struct waiter *)self)->future)
        stop_waiting((struct waiter *)self);
    return Py_NewRef(Py_None);
}

static PyObject *itself(PyObject *self)
{
    return Py_NewRef(self);
}

static void waiter_dealloc(PyObject *self)
{
    struct waiter *w = (struct waiter *)self;
    if (w->future)
        stop_waiting(w);
    Py_XDECREF(w->message);
    Py_XDECREF((PyObject *)w->x);
    mc_interp_free(self);
}

static PyMethodDef methods[] = {
    {"send", waiter_send, METH_O, NULL},
    {"throw", waiter_throw, METH_VARARGS, NULL},
    {"close", waiter_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot slots[] = {
    {Py_am_await, itself},  {Py_tp_iter, itself},       {Py_tp_iternext, waiter_next}, {Py_am_send, waiter_am_send},
    {Py_tp_methods, methods}, {Py_tp_dealloc, waiter_dealloc}, {0, NULL},
};
static PyType_Spec spec = {
    .name = "monoceros.Awaitable",
    .basicsize = sizeof(struct waiter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

int mc_asgi_wait_init(void)
{
    if (type)
        return MC_OK;
    type_name = PyUnicode_InternFromString("type");
    body_name = PyUnicode_InternFromString("body");
    more_name = PyUnicode_InternFromString("more_body");
    request_type = PyUnicode_InternFromString("http.request");
    disconnect = Py_BuildValue("{s:s}", "type", "http.disconnect");
    type = mc_interp_type(&spec);
    the_done = type ? PyType_GenericAlloc(type, 0) : NULL;
    return PyErr_Occurred() ? MC_ERROR : MC_OK;
}

static PyObject *new_waiter(struct mc_exchange *x, enum kind kind, PyObject *message)
{
    struct waiter *w = (struct waiter *)PyType_GenericAlloc(type, 0);
    if (!w)
        return NULL;
    w->x = (struct mc_exchange *)Py_NewRef((PyObject *)x);
    w->kind = kind;
    w->message = Py_XNewRef(message);
    return (PyObject *)w;
}

PyObject *mc_asgi_done(void)
{
    return Py_NewRef(the_done);
}

PyObject *mc_asgi_receive(struct mc_exchange *x)
{
    return new_waiter(x, RECEIVE, NULL);
}

PyObject *mc_asgi_pause(struct mc_exchange *x, PyObject *message)
{
    return new_waiter(x, SEND, message);
}

void mc_asgi_news(struct mc_exchange *x)
{
    struct mc_link *l, *next;
    mc_list_each (&x->waiters, l, next) {
        struct waiter *w = mc_container(l, struct waiter, link);
        mc_list_remove(l); /* told; its step finds itself unlinked */
        mc_asgi_wake(w->future);
    }
}
