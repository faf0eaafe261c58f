/* send(): the messages of an app become calls of the response API (core/server/handler.h). Checks types and order; what the response points into is held
 * by the request's arena. A message is done, or refused by an exception, before send() returns; only room is waited for (asgi_wait.c).
 * Worker side, GIL held. */
#include "modules/python/asgi.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum word { TYPE, STATUS, HEADERS, TRAILERS, BODY, MORE_BODY, MORE_TRAILERS, LINKS, PATH, FILE_, OFFSET, COUNT, WORDS };
static const char *const word_names[WORDS] = {
    [TYPE] = "type",           [STATUS] = "status",     [HEADERS] = "headers",
    [TRAILERS] = "trailers",   [BODY] = "body",         [MORE_BODY] = "more_body",
    [MORE_TRAILERS] = "more_trailers", [LINKS] = "links", [PATH] = "path",
    [FILE_] = "file",          [OFFSET] = "offset",     [COUNT] = "count",
};
static PyObject *words[WORDS];

/* ---- parts of messages ---- */

/* Borrowed; NULL without an exception: it is not there. */
static PyObject *get(PyObject *message, enum word w)
{
    return PyDict_GetItemWithError(message, words[w]);
}

static PyObject *must(PyObject *message, enum word w)
{
    PyObject *o = get(message, w);
    if (!o && !PyErr_Occurred())
        PyErr_Format(PyExc_KeyError, "message has no %U", words[w]);
    return o;
}

/* MC_OK with the truth of it (false when it is not there), or MC_ERROR with an exception. */
static int flag(PyObject *message, enum word w, bool *out)
{
    PyObject *o = get(message, w);
    int truth = o ? (o == Py_False ? 0 : o == Py_True ? 1 : PyObject_IsTrue(o)) : 0;
    *out = truth > 0;
    return truth < 0 || PyErr_Occurred() ? MC_ERROR : MC_OK;
}

static int lost(struct mc_exchange *x, int rc)
{
    if (rc == MC_ERROR) {
        x->lost = true;
        mc_asgi_lost();
    }
    return rc;
}

static bool bytes_slice(PyObject *o, struct mc_str *out)
{
    if (!PyBytes_Check(o))
        return false;
    *out = (struct mc_str){PyBytes_AsString(o), (size_t)PyBytes_Size(o)};
    return true;
}

/* Name and value of a header, held by r. */
static int pair(struct mc_request *r, PyObject *item, struct mc_str *name, struct mc_str *value)
{
    PyObject *two = PySequence_Tuple(item);
    if (!two || mc_interp_hold(r, two) != MC_OK)
        return MC_ERROR;
    if (PyTuple_Size(two) == 2 && bytes_slice(PyTuple_GetItem(two, 0), name) && bytes_slice(PyTuple_GetItem(two, 1), value))
        return MC_OK;
    PyErr_Format(PyExc_TypeError, "a header must be a pair of bytes, name and value, not %R", item);
    return MC_ERROR;
}

int mc_asgi_fields(struct mc_request *r, PyObject *headers, int (*fn)(struct mc_request *, struct mc_str, struct mc_str))
{
    PyObject *all = PySequence_Tuple(headers);
    if (!all || mc_interp_hold(r, all) != MC_OK)
        return MC_ERROR;
    Py_ssize_t n = PyTuple_Size(all);
    for (Py_ssize_t i = 0; i < n; i++) {
        struct mc_str name, value;
        PyObject *item = PyTuple_GetItem(all, i);
        if (pair(r, item, &name, &value) != MC_OK)
            return MC_ERROR;
        int rc = fn(r, name, value);
        if (rc == MC_DECLINED)
            mc_responder_dropped(name);
        else if (rc != MC_OK)
            return mc_responder_refuse(name, value, item);
    }
    return MC_OK;
}

/* ---- the messages ---- */

static int start(struct mc_exchange *x, PyObject *message)
{
    PyObject *status = must(message, STATUS), *headers = status ? get(message, HEADERS) : NULL;
    long code = status ? PyLong_AsLong(status) : -1;
    if (PyErr_Occurred() || flag(message, TRAILERS, &x->trailers) != MC_OK)
        return MC_ERROR;
    if (code < 200 || code > 599) {
        PyErr_Format(PyExc_ValueError, "invalid HTTP status: %R", status);
        return MC_ERROR;
    }
    if (mc_response_begin(x->r, (int)code, MC_STR_NONE) != MC_OK)
        return lost(x, MC_ERROR);
    if (headers && mc_asgi_fields(x->r, headers, mc_response_field) != MC_OK)
        return MC_ERROR;
    x->next = MC_ASGI_BODY;
    return MC_OK;
}

/* A piece of the body, and with the last one the end. p may be NULL. */
static int put(struct mc_exchange *x, const void *p, size_t n, bool more)
{
    struct mc_request *r = x->r;
    if (!more && !x->trailers) {
        x->next = MC_ASGI_OVER;
        r->resp.close |= !r->body.complete && r->head.framing != MC_BODY_NONE; /* what is left of its body would be taken for a request */
        return lost(x, mc_response_end(r, p, n));
    }
    x->next = more ? MC_ASGI_BODY : MC_ASGI_TRAILERS;
    int rc = n ? mc_response_write(r, p, n) : mc_response_head(r);
    if (rc == MC_ERROR || mc_response_flush(r) == MC_ERROR)
        return lost(x, MC_ERROR);
    return rc == MC_AGAIN && !r->resp.paused ? MC_OK : rc; /* the flush may have made the room */
}

static int body(struct mc_exchange *x, PyObject *message)
{
    bool more;
    PyObject *bytes = get(message, BODY);
    Py_buffer view;
    if (PyErr_Occurred() || flag(message, MORE_BODY, &more) != MC_OK)
        return MC_ERROR;
    if (!bytes)
        return put(x, NULL, 0, more);
    if (mc_likely(PyBytes_CheckExact(bytes)))
        return put(x, PyBytes_AsString(bytes), (size_t)PyBytes_Size(bytes), more);
    if (PyObject_GetBuffer(bytes, &view, PyBUF_SIMPLE) < 0)
        return MC_ERROR;
    int rc = put(x, view.buf, (size_t)view.len, more);
    PyBuffer_Release(&view);
    return rc;
}

static int trailers(struct mc_exchange *x, PyObject *message)
{
    bool more;
    PyObject *headers = get(message, HEADERS);
    if (PyErr_Occurred() || flag(message, MORE_TRAILERS, &more) != MC_OK)
        return MC_ERROR;
    if (headers && mc_asgi_fields(x->r, headers, mc_response_trailer) != MC_OK)
        return MC_ERROR;
    if (more)
        return MC_OK;
    x->next = MC_ASGI_OVER;
    return lost(x, mc_response_end(x->r, NULL, 0));
}

static int early_hint(struct mc_exchange *x, PyObject *message)
{
    struct mc_request *r = x->r;
    struct mc_fields fields = {0};
    PyObject *links = must(message, LINKS), *all = links ? PySequence_Tuple(links) : NULL;
    if (!all || mc_interp_hold(r, all) != MC_OK)
        return MC_ERROR;
    for (Py_ssize_t i = 0; i < PyTuple_Size(all); i++) {
        struct mc_str value;
        PyObject *item = PyTuple_GetItem(all, i);
        if (!bytes_slice(item, &value)) {
            PyErr_Format(PyExc_TypeError, "links must be bytes, not %R", item);
            return MC_ERROR;
        }
        if (!mc_field_value_ok(value) || mc_fields_add(&fields, &r->arena, MC_STR("Link"), value) != MC_OK)
            return mc_responder_refuse(MC_STR("Link"), value, item);
    }
    return lost(x, mc_response_interim(r, 103, &fields));
}

/* ---- files ---- */

/* What is open at fd, which is taken over, from off on: all of it when n < 0. */
static int put_file(struct mc_exchange *x, int fd, off_t off, off_t n, bool more)
{
    struct stat st;
    struct mc_request *r = x->r;
    struct mc_file *file = fstat(fd, &st) == 0 ? mc_file_new(fd) : NULL;
    if (!file) {
        PyErr_SetFromErrno(PyExc_OSError);
        close(fd);
        return MC_ERROR;
    }
    off_t left = off < st.st_size ? st.st_size - off : 0;
    n = n < 0 || n > left ? left : n;
    if (!S_ISREG(st.st_mode)) {
        PyErr_SetString(PyExc_ValueError, "only regular files can be sent");
        mc_file_unref(&file);
        return MC_ERROR;
    }
    if (!more && !x->trailers && !mc_response_started(r) && r->resp.length < 0)
        mc_response_length(r, (int64_t)n);
    int rc = n > 0 ? mc_response_file(r, file, off, n) : MC_OK;
    mc_file_unref(&file);
    if (rc == MC_ERROR)
        return lost(x, rc);
    int rest = put(x, NULL, 0, more);
    return rest == MC_OK && r->resp.paused && more ? MC_AGAIN : rest;
}

static int path_send(struct mc_exchange *x, PyObject *message)
{
    PyObject *path = must(message, PATH), *name = NULL;
    if (!path)
        return MC_ERROR;
    if (mc_response_started(x->r)) {
        PyErr_SetString(PyExc_RuntimeError, "http.response.pathsend behind a part of the body");
        return MC_ERROR;
    }
    if (!PyUnicode_FSConverter(path, &name))
        return MC_ERROR;
    int fd = open(PyBytes_AsString(name), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    Py_DECREF(name);
    if (fd < 0) {
        PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
        return MC_ERROR;
    }
    return put_file(x, fd, 0, -1, false);
}

/* An integer that may be left out or None: then -1. */
static int whole(PyObject *message, enum word w, off_t *out)
{
    PyObject *o = get(message, w);
    *out = -1;
    if (PyErr_Occurred())
        return MC_ERROR;
    if (!o || o == Py_None)
        return MC_OK;
    *out = (off_t)PyLong_AsLongLong(o);
    if (!PyErr_Occurred() && *out < 0)
        PyErr_Format(PyExc_ValueError, "%U must not be negative", words[w]);
    return PyErr_Occurred() ? MC_ERROR : MC_OK;
}

/* The app may close its file at once: we keep a descriptor of our own. */
static int zero_copy(struct mc_exchange *x, PyObject *message)
{
    bool more;
    off_t off, count;
    PyObject *file = must(message, FILE_);
    int fd = file ? PyObject_AsFileDescriptor(file) : -1;
    if (fd < 0 || whole(message, OFFSET, &off) != MC_OK || whole(message, COUNT, &count) != MC_OK || flag(message, MORE_BODY, &more) != MC_OK)
        return MC_ERROR;
    off = off < 0 ? lseek(fd, 0, SEEK_CUR) : off;
    int own = off < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (own < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return MC_ERROR;
    }
    return put_file(x, own, off, count, more);
}

/* ---- which is which ---- */

static const struct message {
    const char *type;
    unsigned when; /* bits of 1 << enum mc_asgi_next */
    int (*take)(struct mc_exchange *x, PyObject *message);
} messages[] = {
    {"http.response.start", 1 << MC_ASGI_START, start},
    {"http.response.body", 1 << MC_ASGI_BODY, body},
    {"http.response.zerocopysend", 1 << MC_ASGI_BODY, zero_copy},
    {"http.response.pathsend", 1 << MC_ASGI_BODY, path_send},
    {"http.response.trailers", 1 << MC_ASGI_TRAILERS, trailers},
    {"http.response.early_hint", 1 << MC_ASGI_START | 1 << MC_ASGI_BODY, early_hint},
    {"websocket.send", 1 << MC_ASGI_WS_OPEN, mc_asgi_ws_send},
    {"websocket.accept", 1 << MC_ASGI_WS_CONNECT, mc_asgi_ws_accept},
    {"websocket.close", 1 << MC_ASGI_WS_CONNECT | 1 << MC_ASGI_WS_OPEN, mc_asgi_ws_close},
    {"websocket.http.response.start", 1 << MC_ASGI_WS_CONNECT, start},
    {"websocket.http.response.body", 1 << MC_ASGI_BODY, body},
};
static const char *const expected[] = {"http.response.start", "http.response.body", "http.response.trailers", "nothing more",
                                       "websocket.accept or websocket.close", "websocket.send or websocket.close"};

/* Types are constants of apps, but a str with a '.' is no interned one. So what an object of that address was is kept, and the object held. */
static struct {
    PyObject *type;
    const struct message *message;
} seen[64];

static const struct message *find(PyObject *type)
{
    uintptr_t at = (uintptr_t)type;
    size_t n = (at >> 4 ^ at >> 10) % MC_COUNT(seen);
    if (mc_likely(seen[n].type == type))
        return seen[n].message;
    for (size_t i = 0; PyUnicode_Check(type) && i < MC_COUNT(messages); i++) {
        if (PyUnicode_CompareWithASCIIString(type, messages[i].type) != 0)
            continue;
        if (PyUnicode_CheckExact(type)) {
            Py_XDECREF(seen[n].type);
            seen[n].type = Py_NewRef(type);
            seen[n].message = &messages[i];
        }
        return &messages[i];
    }
    return NULL;
}

int mc_asgi_send_init(void)
{
    for (size_t i = 0; i < WORDS; i++) {
        if (!words[i] && !(words[i] = PyUnicode_InternFromString(word_names[i])))
            return MC_ERROR;
    }
    return MC_OK;
}

int mc_asgi_send(struct mc_exchange *x, PyObject *message)
{
    PyObject *type = NULL;
    if (PyDict_Check(message))
        type = must(message, TYPE);
    else
        PyErr_Format(PyExc_TypeError, "a message must be a dict, not %R", (PyObject *)Py_TYPE(message));
    const struct message *m = type ? find(type) : NULL;
    if (!type)
        return MC_ERROR;
    if (!m) {
        PyErr_Format(PyExc_RuntimeError, "unexpected message %R: %s is next", type, expected[x->next]);
        return MC_ERROR;
    }
    if (x->lost) {
        mc_asgi_lost();
        return MC_ERROR;
    }
    if (!x->r || !(m->when >> x->next & 1)) {
        PyErr_Format(PyExc_RuntimeError, "unexpected message %R: %s is next", type, expected[x->r ? x->next : MC_ASGI_OVER]);
        return MC_ERROR;
    }
    if (x->r->resp.paused)
        return MC_BUSY;
    struct mc_request *r = x->r;
    int rc = m->take(x, message);
    if (rc == MC_OK && (x->next == MC_ASGI_WS_OPEN || x->next == MC_ASGI_BODY))
        mc_asgi_wrote(r);
    else
        mc_asgi_touch(r);
    return rc;
}
