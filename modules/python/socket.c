/* `monoceros.socket`: the client's connection, given to an app that is asked for an upgrade (WebSockets without ASGI). Like a socket, but made of the engine's
 * transport, so it works over TLS, too; whoever waits in it lets the hub go on. One greenlet may read while another one writes. From the first use on
 * the response is the app's own business. Never outlives its request: then it is closed. Worker side, in greenlets, GIL held. */
#include "modules/python/hub.h"
#include "core/base/clock.h"
#include "core/server/conn.h"

#include <errno.h>
#include <math.h>
#include <unistd.h>

enum { QUEUE_MAX = 65536 /* bytes that wait for the client before a sender waits, too */, RECV_MAX = 1 << 20 };

struct sock {
    PyObject_HEAD struct mc_request *r; /* NULL: closed */
    bool used;
    int64_t timeout; /* ms; -1: none */
    struct mc_green_waiter *reader, *writer;
    void (*fn)(struct mc_io *io); /* the connection's own */
    void *data;
};

static PyTypeObject *type;
static const char *const names[] = {"monoceros.socket", "gunicorn.socket"};

/* ---- the connection ---- */

static void on_client(struct mc_io *io)
{
    struct sock *s = io->data;
    if (s->reader && io->ready & MC_WANT_READ)
        mc_green_wake(s->reader);
    if (s->writer && io->ready & MC_WANT_WRITE)
        mc_green_wake(s->writer);
}

static PyObject *raise_errno(int error)
{
    errno = error;
    return PyErr_SetFromErrno(PyExc_OSError);
}

/* MC_OK; MC_ERROR with an exception. */
static int use(struct sock *s)
{
    if (!s->r) {
        raise_errno(EBADF);
        return MC_ERROR;
    }
    if (s->used)
        return MC_OK;
    struct mc_io *io = &s->r->conn->io;
    if (mc_request_take_over(s->r) != MC_OK) {
        PyErr_SetString(PyExc_ConnectionError, "the response has begun, or the client has left");
        return MC_ERROR;
    }
    s->used = true;
    s->fn = io->fn;
    s->data = io->data;
    io->fn = on_client;
    io->data = s;
    return MC_OK;
}

static uint64_t deadline_of(const struct sock *s)
{
    return s->timeout > 0 ? mc_clock_ms() + (uint64_t)s->timeout : 0;
}

/* Until there is news in this direction. MC_ERROR with an exception. */
static int wait_for(struct sock *s, struct mc_green_waiter **place, uint64_t deadline)
{
    if (s->timeout == 0) {
        raise_errno(EAGAIN);
        return MC_ERROR;
    }
    if (*place) {
        PyErr_SetString(PyExc_RuntimeError, "another greenlet waits for this socket already");
        return MC_ERROR;
    }
    switch (mc_green_sleep(s->r->conn->worker, place, deadline)) {
    case MC_OK:
        return MC_OK;
    case MC_AGAIN:
        PyErr_SetString(PyExc_TimeoutError, "timed out");
        return MC_ERROR;
    default:
        if (!PyErr_Occurred())
            raise_errno(ECANCELED);
        return MC_ERROR;
    }
}

/* ---- bytes ---- */

/* -1 with an exception. */
static ssize_t receive(struct sock *s, void *p, size_t n)
{
    uint64_t deadline = deadline_of(s);
    for (;;) {
        if (use(s) != MC_OK)
            return -1;
        ssize_t got = mc_request_receive(s->r, p, n);
        if (got >= 0)
            return got;
        if (got != MC_AGAIN) {
            raise_errno(ECONNRESET);
            return -1;
        }
        if (wait_for(s, &s->reader, deadline) != MC_OK)
            return -1;
    }
}

/* What the app says of itself is for the access log. */
static void note_status(struct mc_request *r, const char *p, size_t n)
{
    if (r->resp.sent == 0 && n >= 12 && memcmp(p, "HTTP/1.1 ", 9) == 0 && p[9] >= '1' && p[9] <= '5')
        r->resp.status = (p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0');
}

/* All of it; waits while too much is on its way already. MC_ERROR with an exception. */
static int send_all(struct sock *s, const char *p, size_t n)
{
    uint64_t deadline = deadline_of(s);
    if (use(s) != MC_OK)
        return MC_ERROR;
    note_status(s->r, p, n);
    bool sent = s->r->conn->session.out.total <= QUEUE_MAX;
    for (;;) {
        if (sent && n > 0 && mc_response_write(s->r, p, n) != MC_OK)
            break;
        n = sent ? 0 : n;
        if (mc_conn_flush(s->r->conn) == MC_ERROR)
            break;
        bool room = s->r->conn->session.out.total <= QUEUE_MAX;
        if (room && n == 0)
            return MC_OK;
        sent = room;
        if (room)
            continue;
        if (wait_for(s, &s->writer, deadline) != MC_OK || use(s) != MC_OK)
            return MC_ERROR;
        s->r->conn->lent_ready |= MC_WANT_WRITE;
    }
    if (!PyErr_Occurred())
        raise_errno(EPIPE);
    return MC_ERROR;
}

/* ---- methods ---- */

static PyObject *py_recv(PyObject *self, PyObject *args)
{
    Py_ssize_t n;
    int flags = 0;
    if (!PyArg_ParseTuple(args, "n|i:recv", &n, &flags))
        return NULL;
    if (n < 0 || flags != 0)
        return raise_errno(EINVAL);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, n < RECV_MAX ? n : RECV_MAX);
    ssize_t got = bytes ? receive((struct sock *)self, PyBytes_AsString(bytes), (size_t)PyBytes_Size(bytes)) : -1;
    PyObject *result = got >= 0 ? PyBytes_FromStringAndSize(PyBytes_AsString(bytes), got) : NULL;
    Py_XDECREF(bytes);
    return result;
}

static PyObject *py_recv_into(PyObject *self, PyObject *args)
{
    Py_buffer buffer;
    Py_ssize_t n = 0;
    int flags = 0;
    if (!PyArg_ParseTuple(args, "w*|ni:recv_into", &buffer, &n, &flags))
        return NULL;
    size_t most = n > 0 && n < buffer.len ? (size_t)n : (size_t)buffer.len;
    ssize_t got = flags == 0 ? receive((struct sock *)self, buffer.buf, most) : (raise_errno(EINVAL), -1);
    PyBuffer_Release(&buffer);
    return got >= 0 ? PyLong_FromSsize_t(got) : NULL;
}

static PyObject *send_bytes(PyObject *self, PyObject *args, bool count)
{
    Py_buffer buffer;
    int flags = 0;
    if (!PyArg_ParseTuple(args, "y*|i:send", &buffer, &flags))
        return NULL;
    Py_ssize_t n = buffer.len;
    int rc = send_all((struct sock *)self, buffer.buf, (size_t)n);
    PyBuffer_Release(&buffer);
    return rc != MC_OK ? NULL : count ? PyLong_FromSsize_t(n) : Py_NewRef(Py_None);
}

static PyObject *py_send(PyObject *self, PyObject *args)
{
    return send_bytes(self, args, true);
}

static PyObject *py_sendall(PyObject *self, PyObject *args)
{
    return send_bytes(self, args, false);
}

static PyObject *py_shutdown(PyObject *self, PyObject *how)
{
    struct sock *s = (struct sock *)self;
    long what = PyLong_AsLong(how); /* SHUT_RD, SHUT_WR, SHUT_RDWR */
    if (PyErr_Occurred() || use(s) != MC_OK)
        return NULL;
    if (what != 0 && (mc_conn_flush(s->r->conn) != MC_OK || s->r->conn->stream.ops->shutdown(&s->r->conn->stream) == MC_ERROR))
        return raise_errno(ENOTCONN);
    return Py_NewRef(Py_None);
}

static void let_go(struct sock *s)
{
    struct mc_request *r = s->r;
    if (!r)
        return;
    s->r = NULL;
    if (s->reader)
        mc_green_wake(s->reader);
    if (s->writer)
        mc_green_wake(s->writer);
    if (s->used) {
        r->conn->io.fn = s->fn;
        r->conn->io.data = s->data;
        (void)mc_response_end(r, NULL, 0);
        (void)mc_conn_flush(r->conn);
    }
}

static PyObject *py_close(PyObject *self, PyObject *none)
{
    (void)none;
    let_go((struct sock *)self);
    return Py_NewRef(Py_None);
}

static PyObject *py_fileno(PyObject *self, PyObject *none)
{
    struct sock *s = (struct sock *)self;
    (void)none;
    return PyLong_FromLong(s->r ? s->r->conn->io.fd : -1);
}

static PyObject *py_settimeout(PyObject *self, PyObject *value)
{
    double seconds = value == Py_None ? -1 : PyFloat_AsDouble(value);
    if (PyErr_Occurred())
        return NULL;
    if (value != Py_None && !(seconds >= 0)) {
        PyErr_SetString(PyExc_ValueError, "Timeout value out of range");
        return NULL;
    }
    ((struct sock *)self)->timeout = value == Py_None ? -1 : seconds > 1e9 ? (int64_t)1e12 : (int64_t)ceil(seconds * 1000);
    return Py_NewRef(Py_None);
}

static PyObject *py_gettimeout(PyObject *self, PyObject *none)
{
    int64_t ms = ((struct sock *)self)->timeout;
    (void)none;
    return ms < 0 ? Py_NewRef(Py_None) : PyFloat_FromDouble((double)ms / 1000);
}

static PyObject *py_setblocking(PyObject *self, PyObject *flag)
{
    int on = PyObject_IsTrue(flag);
    if (on < 0)
        return NULL;
    ((struct sock *)self)->timeout = on ? -1 : 0;
    return Py_NewRef(Py_None);
}

/* As the kernel knows them: a copy of the descriptor asks. */
static PyObject *ask_kernel(PyObject *self, const char *method, PyObject *args)
{
    struct sock *s = (struct sock *)self;
    int fd = s->r ? dup(s->r->conn->io.fd) : -1;
    if (fd < 0)
        return raise_errno(s->r ? errno : EBADF);
    PyObject *module = PyImport_ImportModule("_socket"), *copy = module ? PyObject_CallMethod(module, "socket", "iiii", -1, -1, -1, fd) : NULL;
    PyObject *function = copy ? PyObject_GetAttrString(copy, method) : NULL, *result = function ? PyObject_Call(function, args, NULL) : NULL;
    if (!copy)
        close(fd);
    Py_XDECREF(function);
    Py_XDECREF(copy);
    Py_XDECREF(module);
    return result;
}

static PyObject *py_getpeername(PyObject *self, PyObject *args)
{
    return ask_kernel(self, "getpeername", args);
}

static PyObject *py_getsockname(PyObject *self, PyObject *args)
{
    return ask_kernel(self, "getsockname", args);
}

static PyObject *py_setsockopt(PyObject *self, PyObject *args)
{
    return ask_kernel(self, "setsockopt", args);
}

static PyObject *py_getsockopt(PyObject *self, PyObject *args)
{
    return ask_kernel(self, "getsockopt", args);
}

static PyMethodDef methods[] = {
    {"recv", py_recv, METH_VARARGS, NULL},
    {"recv_into", py_recv_into, METH_VARARGS, NULL},
    {"send", py_send, METH_VARARGS, NULL},
    {"sendall", py_sendall, METH_VARARGS, NULL},
    {"shutdown", py_shutdown, METH_O, NULL},
    {"close", py_close, METH_NOARGS, NULL},
    {"fileno", py_fileno, METH_NOARGS, NULL},
    {"settimeout", py_settimeout, METH_O, NULL},
    {"gettimeout", py_gettimeout, METH_NOARGS, NULL},
    {"setblocking", py_setblocking, METH_O, NULL},
    {"getpeername", py_getpeername, METH_VARARGS, NULL},
    {"getsockname", py_getsockname, METH_VARARGS, NULL},
    {"setsockopt", py_setsockopt, METH_VARARGS, NULL},
    {"getsockopt", py_getsockopt, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot slots[] = {{Py_tp_methods, methods}, {Py_tp_dealloc, mc_interp_free}, {0, NULL}};
static PyType_Spec spec = {
    .name = "monoceros.Socket",
    .basicsize = sizeof(struct sock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

int mc_socket_init(void)
{
    type = mc_interp_type(&spec);
    return type ? MC_OK : MC_ERROR;
}

PyObject *mc_socket_new(struct mc_request *r, PyObject *env)
{
    struct sock *s = (struct sock *)PyType_GenericAlloc(type, 0);
    if (!s)
        return NULL;
    s->r = r;
    s->timeout = -1;
    for (size_t i = 0; i < MC_COUNT(names); i++) {
        if (PyDict_SetItemString(env, names[i], (PyObject *)s) < 0) {
            Py_DECREF((PyObject *)s);
            return NULL;
        }
    }
    return (PyObject *)s;
}

bool mc_socket_used(PyObject *socket)
{
    return ((struct sock *)socket)->used;
}

void mc_socket_end(PyObject *socket)
{
    let_go((struct sock *)socket);
}
