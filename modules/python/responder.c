/* start_response, write, wsgi.early_hints and gunicorn.http2.send_trailers: functions bound to one responder, made once and used by request after request
 * unless an app keeps one. Checks what the app says and gives it to the response; the strings are held by the request's arena, because the
 * response (and the access log) point into them. Worker side, GIL held. */
#include "modules/python/python.h"

#include <stdlib.h>

static struct mc_calls *spare;

/* ---- strings of the app ---- */

/* The latin-1 bytes of a str without a copy where it is ASCII, else of a bytes object that the arena holds. Latin-1 is what PEP 3333 allows. */
static int slice(struct mc_request *r, PyObject *text, struct mc_str *out)
{
    Py_ssize_t n;
    const char *p = PyUnicode_AsUTF8AndSize(text, &n);
    if (!p)
        PyErr_Clear(); /* lone surrogates: not latin-1 either, and that error says so */
    if (mc_likely(p && n == PyUnicode_GetLength(text))) {
        *out = (struct mc_str){p, (size_t)n};
        return MC_OK;
    }
    PyObject *bytes = PyUnicode_AsLatin1String(text);
    if (!bytes || mc_interp_hold(r, bytes) != MC_OK)
        return MC_ERROR;
    *out = (struct mc_str){PyBytes_AsString(bytes), (size_t)PyBytes_Size(bytes)};
    return MC_OK;
}

static bool is_str(PyObject *o)
{
    return PyUnicode_CheckExact(o) || PyUnicode_Check(o);
}

/* Both borrowed. */
static int split(PyObject *item, PyObject **key, PyObject **text)
{
    if (!(PyTuple_CheckExact(item) || PyTuple_Check(item)) || PyTuple_Size(item) != 2) {
        PyErr_Format(PyExc_TypeError, "a header must be a tuple (name, value), not %R", item);
        return MC_ERROR;
    }
    *key = PyTuple_GetItem(item, 0);
    *text = PyTuple_GetItem(item, 1);
    if (mc_likely(is_str(*key) && is_str(*text)))
        return MC_OK;
    PyErr_Format(PyExc_TypeError, "name and value of a header must be str, not %R", item);
    return MC_ERROR;
}

static int pair(struct mc_request *r, PyObject *item, struct mc_str *name, struct mc_str *value)
{
    PyObject *key, *text;
    return split(item, &key, &text) == MC_OK && slice(r, key, name) == MC_OK ? slice(r, text, value) : MC_ERROR;
}

int mc_responder_refuse(struct mc_str name, struct mc_str value, PyObject *item)
{
    if (!mc_field_name_ok(name))
        PyErr_Format(PyExc_ValueError, "invalid HTTP header name: %R", item);
    else if (!mc_field_value_ok(value))
        PyErr_Format(PyExc_ValueError, "invalid HTTP header value: %R", item);
    else if (mc_str_eq_nocase(name, MC_STR("content-length")))
        PyErr_Format(PyExc_ValueError, "invalid Content-Length: %R", item);
    else
        PyErr_NoMemory();
    return MC_ERROR;
}

/* With a word, as Gunicorn drops them. */
void mc_responder_dropped(struct mc_str name)
{
    static struct mc_log_limit limit;
    unsigned missed;
    if (mc_log_limited(&limit, &missed))
        mc_warn("Response header %.*s of the app dropped: it belongs to the connection (%u more of this kind)", (int)name.n, name.p,
                missed);
}

/* ---- start_response ---- */

static int take_status(struct mc_responder *self, PyObject *text)
{
    struct mc_str s;
    uint64_t code;
    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "the status must be str, not %R", (PyObject *)Py_TYPE(text));
        return MC_ERROR;
    }
    if (mc_interp_hold(self->r, Py_NewRef(text)) != MC_OK || slice(self->r, text, &s) != MC_OK)
        return MC_ERROR;
    struct mc_str digits = {s.p, s.n < 3 ? s.n : 3}, reason = {s.p + digits.n, s.n - digits.n};
    if (mc_str_to_u64(digits, 599, &code) != MC_OK || code < 200 || (reason.n && reason.p[0] != ' ') || !mc_field_value_ok(reason)) {
        PyErr_Format(PyExc_ValueError, "invalid HTTP status: %R", text);
        return MC_ERROR;
    }
    if (mc_response_begin(self->r, (int)code, mc_str_trim(reason)) == MC_OK)
        return MC_OK;
    mc_responder_lost(self);
    return MC_ERROR;
}

/* name and value are what is refused. */
static int take_field(struct mc_request *r, PyObject *item, struct mc_str *name, struct mc_str *value)
{
    PyObject *key, *text;
    if (split(item, &key, &text) != MC_OK || slice(r, text, value) != MC_OK)
        return MC_ERROR;
    const struct mc_field *said = mc_names_said(key);
    if (mc_unlikely(!said))
        return slice(r, key, name) == MC_OK ? mc_response_field(r, *name, *value) : MC_ERROR;
    struct mc_field field = *said;
    *name = field.name;
    field.value = *value;
    return mc_response_known(r, &field);
}

static int take_fields(struct mc_responder *self)
{
    PyObject *taken = PyList_AsTuple(self->list);
    if (!taken || mc_interp_hold(self->r, taken) != MC_OK)
        return MC_ERROR;
    self->taken = taken;
    Py_ssize_t n = PyTuple_Size(taken);
    for (Py_ssize_t i = 0; i < n; i++) {
        struct mc_str name, value;
        PyObject *item = PyTuple_GetItem(taken, i);
        int rc = take_field(self->r, item, &name, &value);
        if (mc_likely(rc == MC_OK))
            continue;
        if (rc != MC_DECLINED)
            return PyErr_Occurred() ? MC_ERROR : mc_responder_refuse(name, value, item);
        mc_responder_dropped(name);
    }
    return MC_OK;
}

static PyObject *raise_again(PyObject *info)
{
    PyObject *value = PyTuple_GetItem(info, 1), *tb = PyTuple_GetItem(info, 2);
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(value)), Py_NewRef(value), tb == Py_None ? NULL : Py_NewRef(tb));
    return NULL;
}

static bool is_exc_info(PyObject *info)
{
    return PyTuple_Check(info) && PyTuple_Size(info) == 3 && PyExceptionInstance_Check(PyTuple_GetItem(info, 1));
}

/* PEP 3333: a second call is allowed with exc_info only; it replaces what was said, or raises that error when it is too late. */
static PyObject *respond(struct mc_responder *self, PyObject *status, PyObject *headers, PyObject *info)
{
    if (!self->r) {
        PyErr_SetString(PyExc_RuntimeError, "start_response() of a request that is over");
        return NULL;
    }
    if (mc_unlikely(self->r->resp.switched)) /* the app has answered on the client's socket; what a framework says behind that is for nobody */
        return Py_NewRef(self->write);
    if (info && info != Py_None) {
        if (!is_exc_info(info))
            return PyErr_Format(PyExc_TypeError, "exc_info must be the tuple of sys.exc_info(), not %R", info);
        if (mc_response_started(self->r))
            return raise_again(info);
    } else if (self->called) {
        PyErr_SetString(PyExc_AssertionError, "Response headers already set!");
        return NULL;
    }
    if (!PyList_Check(headers))
        return PyErr_Format(PyExc_TypeError, "the headers must be a list, not %R", (PyObject *)Py_TYPE(headers));
    self->called = false;
    PyObject *earlier = self->list;
    self->list = Py_NewRef(headers);
    Py_XDECREF(earlier);
    if (take_status(self, status) != MC_OK || take_fields(self) != MC_OK)
        return NULL;
    self->called = true;
    return Py_NewRef(self->write);
}

/* By keyword, which PEP 3333 does not ask for, but Python functions allow. */
static int keywords(PyObject *names, PyObject *const *values, PyObject *out[3])
{
    static const char *const known[] = {"status", "headers", "exc_info"};
    Py_ssize_t n = PyTuple_Size(names);
    for (Py_ssize_t i = 0; i < n; i++) {
        size_t k = 0;
        while (k < 3 && PyUnicode_CompareWithASCIIString(PyTuple_GetItem(names, i), known[k]) != 0)
            k++;
        if (k == 3 || out[k]) {
            PyErr_Format(PyExc_TypeError, "start_response() got an unexpected keyword argument %R", PyTuple_GetItem(names, i));
            return MC_ERROR;
        }
        out[k] = values[i];
    }
    return MC_OK;
}

static PyObject *start_response(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names)
{
    PyObject *v[3] = {NULL, NULL, NULL};
    if (mc_likely(nargs <= 3))
        memcpy(v, args, (size_t)nargs * sizeof(*v));
    if (names && nargs <= 3 && keywords(names, args + nargs, v) != MC_OK)
        return NULL;
    if (nargs > 3 || !v[0] || !v[1]) {
        PyErr_SetString(PyExc_TypeError, "start_response() takes status, headers and optionally exc_info");
        return NULL;
    }
    return respond((struct mc_responder *)self, v[0], v[1], v[2]);
}

/* ---- trailers ---- */

/* Give those that wait to the response; some cannot have any (HEAD, 304). */
static int take_trailers(struct mc_responder *self)
{
    struct mc_request *r = self->r;
    PyObject *tuple = PySequence_Tuple(self->trailers);
    Py_CLEAR(self->trailers);
    if (!tuple || mc_interp_hold(r, tuple) != MC_OK)
        return MC_ERROR;
    for (Py_ssize_t i = 0; i < PyTuple_Size(tuple); i++) {
        struct mc_str name, value;
        PyObject *item = PyTuple_GetItem(tuple, i);
        if (pair(r, item, &name, &value) != MC_OK)
            return MC_ERROR;
        if (!mc_field_name_ok(name) || !mc_field_value_ok(value))
            return mc_responder_refuse(name, value, item);
        int rc = mc_response_trailer(r, name, value);
        if (rc == MC_DECLINED)
            return MC_OK;
        if (rc != MC_OK) {
            PyErr_Format(PyExc_ValueError, "not a field that may stand behind a body: %R", item);
            return MC_ERROR;
        }
    }
    return MC_OK;
}

/* As Gunicorn has it: a list of (name, value), at any time before the body ends; each call adds. Before the head is out they wait, as it may change. */
static PyObject *send_trailers(PyObject *o, PyObject *trailers)
{
    struct mc_responder *self = (struct mc_responder *)o;
    if (!self->r) {
        PyErr_SetString(PyExc_RuntimeError, "send_trailers() of a request that is over");
        return NULL;
    }
    PyObject *list = self->trailers ? Py_NewRef(self->trailers) : PyList_New(0);
    PyObject *all = list ? PySequence_InPlaceConcat(list, trailers) : NULL;
    Py_XDECREF(list);
    if (!all)
        return NULL;
    Py_XDECREF(self->trailers);
    self->trailers = all;
    if (mc_response_started(self->r) && take_trailers(self) != MC_OK)
        return NULL;
    return Py_NewRef(Py_None);
}

/* ---- the head, just before it goes out ---- */

static bool unchanged(const struct mc_responder *self)
{
    Py_ssize_t n = PyTuple_Size(self->taken);
    if (Py_REFCNT(self->list) == 1)
        return true; /* only we have it */
    if (PyList_Size(self->list) != n)
        return false;
    for (Py_ssize_t i = 0; i < n; i++) {
        if (PyList_GetItem(self->list, i) != PyTuple_GetItem(self->taken, i))
            return false;
    }
    return true;
}

int mc_responder_commit(struct mc_responder *self)
{
    struct mc_request *r = self->r;
    if (!self->called) {
        PyErr_SetString(PyExc_AssertionError, "the app sends a body but has not called start_response()");
        return MC_ERROR;
    }
    if (mc_response_started(r))
        return MC_OK;
    if (!unchanged(self)) {
        if (mc_response_begin(r, r->resp.status, r->resp.reason) != MC_OK) {
            mc_responder_lost(self);
            return MC_ERROR;
        }
        if (take_fields(self) != MC_OK)
            return MC_ERROR;
    }
    return mc_likely(!self->trailers) ? MC_OK : take_trailers(self);
}

void mc_responder_lost(struct mc_responder *self)
{
    if (PyErr_Occurred())
        return; /* thrown into a greenlet that waited for the client */
    self->gone = true;
    PyErr_SetString(PyExc_ConnectionResetError, "the client has left");
}

/* ---- write ---- */

static PyObject *write_body(PyObject *o, PyObject *data)
{
    struct mc_responder *self = (struct mc_responder *)o;
    if (!self->r) {
        PyErr_SetString(PyExc_RuntimeError, "write() of a request that is over");
        return NULL;
    }
    if (!PyBytes_Check(data))
        return PyErr_Format(PyExc_TypeError, "write() argument must be bytes, not %R", (PyObject *)Py_TYPE(data));
    if (mc_responder_commit(self) != MC_OK)
        return NULL;
    size_t n = (size_t)PyBytes_Size(data);
    int rc = n ? mc_response_write(self->r, PyBytes_AsString(data), n) : mc_response_head(self->r);
    if (rc == MC_OK)
        rc = mc_response_flush(self->r);
    if (rc == MC_OK)
        return Py_NewRef(Py_None);
    mc_responder_lost(self);
    return NULL;
}

/* ---- early hints ---- */

static PyObject *early_hints(PyObject *o, PyObject *headers)
{
    struct mc_responder *self = (struct mc_responder *)o;
    if (!self->r || mc_response_started(self->r))
        return Py_NewRef(Py_None); /* too late to be early */
    struct mc_fields fields = {0};
    PyObject *tuple = PySequence_Tuple(headers);
    if (!tuple || mc_interp_hold(self->r, tuple) != MC_OK)
        return NULL;
    Py_ssize_t n = PyTuple_Size(tuple);
    for (Py_ssize_t i = 0; i < n; i++) {
        struct mc_str name, value;
        PyObject *item = PyTuple_GetItem(tuple, i);
        if (pair(self->r, item, &name, &value) != MC_OK)
            return NULL;
        if (!mc_field_name_ok(name) || !mc_field_value_ok(value) || mc_fields_add(&fields, &self->r->arena, name, value) != MC_OK) {
            mc_responder_refuse(name, value, item);
            return NULL;
        }
    }
    if (mc_response_interim(self->r, 103, &fields) == MC_OK)
        return Py_NewRef(Py_None);
    mc_responder_lost(self);
    return NULL;
}

/* ---- one set for one app call at a time ---- */

static PyMethodDef def_start = {"start_response", (PyCFunction)(void (*)(void))start_response, METH_FASTCALL | METH_KEYWORDS, NULL};
static PyMethodDef def_write = {"write", write_body, METH_O, NULL};
static PyMethodDef def_hints = {"early_hints", early_hints, METH_O, NULL};
static PyMethodDef def_trailers = {"send_trailers", send_trailers, METH_O, NULL};

static void responder_dealloc(PyObject *self)
{
    Py_CLEAR(((struct mc_responder *)self)->list);
    Py_CLEAR(((struct mc_responder *)self)->trailers);
    mc_interp_free(self);
}

static PyType_Slot slots[] = {{Py_tp_dealloc, responder_dealloc}, {0, NULL}};
static PyType_Spec spec = {
    .name = "monoceros.Responder",
    .basicsize = sizeof(struct mc_responder),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

static void calls_free(struct mc_calls *c)
{
    if (c->self)
        c->self->write = NULL;
    Py_XDECREF(c->start);
    Py_XDECREF(c->write);
    Py_XDECREF(c->hints);
    Py_XDECREF(c->trailers);
    Py_XDECREF((PyObject *)c->self);
    free(c);
}

static struct mc_calls *calls_new(void)
{
    struct mc_calls *c = calloc(1, sizeof(*c));
    if (!c) {
        PyErr_NoMemory();
        return NULL;
    }
    PyObject *self = PyType_GenericAlloc(mc_interp.responder_type, 0);
    c->self = (struct mc_responder *)self;
    c->start = self ? PyCFunction_NewEx(&def_start, self, NULL) : NULL;
    c->write = c->start ? PyCFunction_NewEx(&def_write, self, NULL) : NULL;
    c->hints = c->write ? PyCFunction_NewEx(&def_hints, self, NULL) : NULL;
    c->trailers = c->hints ? PyCFunction_NewEx(&def_trailers, self, NULL) : NULL;
    if (c->trailers) {
        c->self->write = c->write;
        return c;
    }
    calls_free(c);
    return NULL;
}

int mc_responder_init(void)
{
    mc_interp.responder_type = mc_interp_type(&spec);
    return mc_interp.responder_type ? MC_OK : MC_ERROR;
}

struct mc_calls *mc_responder_take(struct mc_request *r)
{
    struct mc_calls *c = spare;
    if (mc_likely(c != NULL))
        spare = c->next;
    else if (!(c = calls_new()))
        return NULL;
    c->self->r = r;
    return c;
}

void mc_responder_put(struct mc_calls *c)
{
    struct mc_responder *self = c->self;
    self->r = NULL;
    self->taken = NULL;
    self->called = self->gone = false;
    Py_CLEAR(self->list);
    Py_CLEAR(self->trailers);
    if (mc_unlikely(Py_REFCNT(c->start) > 1 || Py_REFCNT(c->write) > 1 || Py_REFCNT(c->hints) > 1 || Py_REFCNT(c->trailers) > 1)) {
        calls_free(c);
        return;
    }
    c->next = spare;
    spare = c;
}

void mc_responder_fini(void)
{
    while (spare) {
        struct mc_calls *c = spare;
        spare = c->next;
        calls_free(c);
    }
}
