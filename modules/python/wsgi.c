/* One WSGI call (PEP 3333): environ, app, response. Picks the cheapest way that the result allows: one piece, a list of known size, a file, or an
 * iterator whose pieces are sent before the next is asked for. close() is called exactly once on every path.
 * Never iterates for nothing (HEAD, 204, 304, a client that left). Worker side, executed by the worker module, GIL held. */
#include "modules/python/hub.h"

#include <stdio.h>

enum { GATHER = MC_BLOCK_LARGE };

struct call {
    struct mc_request *r;
    struct mc_calls *calls;
    PyObject *result;
    PyObject *socket; /* under a hub, when an upgrade is asked for; or NULL */
};

/* ---- errors ---- */

static void ask_to_leave(void)
{
    if (mc_worker_current)
        mc_worker_ask_retire(mc_worker_current);
}

/* Log and clear the exception; the worker leaves after this response when it was SystemExit or KeyboardInterrupt. */
static void report(const struct mc_request *r, const char *what)
{
    char text[600];
    int n = snprintf(text, sizeof(text), "%s ", what);
    n += (int)mc_str_escape(text + n, sizeof(text) - (size_t)n - 1, r->head.target);
    text[n] = '\0';
    bool exiting = mc_interp_exiting();
    mc_interp_log(text);
    if (exiting)
        ask_to_leave();
}

/* The app, or we in its name, raised: what start() returns. */
static int fail(struct call *c)
{
    if (c->calls && c->calls->self->gone) {
        if (mc_log_on(MC_LOG_DEBUG))
            report(c->r, "Ignoring the error of a request whose client has left:");
        PyErr_Clear();
        return MC_ERROR;
    }
    if (mc_hub_killed()) { /* by the app, or because the worker stops */
        PyErr_Clear();
        return mc_response_started(c->r) ? MC_ERROR : 503;
    }
    report(c->r, "Error handling request");
    return mc_response_started(c->r) ? MC_ERROR : 500;
}

/* ---- the ways of a body ---- */

static bool without_body(const struct mc_request *r)
{
    return r->is_head || r->resp.status == 204 || r->resp.status == 304;
}

static int sent(struct call *c, int rc)
{
    if (mc_likely(rc == MC_OK))
        return MC_OK;
    mc_responder_lost(c->calls->self);
    return MC_ERROR;
}

static int bad_item(PyObject *item)
{
    PyErr_Format(PyExc_TypeError, "the app's iterable must yield bytes, not %R", (PyObject *)Py_TYPE(item));
    return MC_ERROR;
}

static int one_piece(struct call *c, PyObject *bytes)
{
    if (!PyBytes_Check(bytes))
        return bad_item(bytes);
    if (mc_responder_commit(c->calls->self) != MC_OK)
        return MC_ERROR;
    return sent(c, mc_response_end(c->r, PyBytes_AsString(bytes), (size_t)PyBytes_Size(bytes)));
}

static int nothing(struct call *c)
{
    if (mc_responder_commit(c->calls->self) != MC_OK)
        return MC_ERROR;
    return sent(c, mc_response_end(c->r, NULL, 0));
}

/* Pieces on their way out: small ones are put together, because each write is a send. */
struct gather {
    char *buf; /* GATHER bytes */
    size_t n;
};

static int gather(struct call *c, struct gather *g, const char *p, size_t n)
{
    if (g->n + n > GATHER && g->n > 0) {
        int rc = mc_response_write(c->r, g->buf, g->n);
        g->n = 0;
        if (rc != MC_OK)
            return rc;
    }
    if (n > GATHER)
        return mc_response_write(c->r, p, n);
    if (n)
        memcpy(g->buf + g->n, p, n);
    g->n += n;
    return MC_OK;
}

static int send_pieces(struct call *c, PyObject *tuple)
{
    struct gather g = {.buf = mc_block_get(GATHER)};
    Py_ssize_t n = PyTuple_Size(tuple);
    int rc = MC_OK;
    if (!g.buf) {
        PyErr_NoMemory();
        return MC_ERROR;
    }
    for (Py_ssize_t i = 0; i < n && rc == MC_OK; i++) {
        PyObject *item = PyTuple_GetItem(tuple, i);
        rc = gather(c, &g, PyBytes_AsString(item), (size_t)PyBytes_Size(item));
    }
    if (rc == MC_OK)
        rc = mc_response_end(c->r, g.buf, g.n);
    mc_block_put(g.buf, GATHER);
    return sent(c, rc);
}

/* All pieces are there: their size is the Content-Length. The tuple keeps them while we write. */
static int pieces(struct call *c, PyObject *tuple)
{
    Py_ssize_t n = PyTuple_Size(tuple);
    int64_t total = 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *item = PyTuple_GetItem(tuple, i);
        if (!PyBytes_Check(item))
            return bad_item(item);
        total += PyBytes_Size(item);
    }
    if (mc_responder_commit(c->calls->self) != MC_OK)
        return MC_ERROR;
    if (!mc_response_started(c->r) && c->r->resp.length < 0)
        mc_response_length(c->r, total);
    return without_body(c->r) ? sent(c, mc_response_end(c->r, NULL, 0)) : send_pieces(c, tuple);
}

static int sequence(struct call *c, PyObject *tuple)
{
    switch (PyTuple_Size(tuple)) {
    case 0:
        return nothing(c);
    case 1:
        return one_piece(c, PyTuple_GetItem(tuple, 0));
    default:
        return pieces(c, tuple);
    }
}

static int list(struct call *c, PyObject *items)
{
    if (mc_likely(PyList_Size(items) == 1)) {
        PyObject *item = Py_NewRef(PyList_GetItem(items, 0)); /* the app may change its list while we wait for the client */
        int done = one_piece(c, item);
        Py_DECREF(item);
        return done;
    }
    PyObject *tuple = PyList_AsTuple(items);
    int rc = tuple ? sequence(c, tuple) : MC_ERROR;
    Py_XDECREF(tuple);
    return rc;
}

/* len() without the price of a failed one. -1: it has none. */
static Py_ssize_t length_of(PyObject *o)
{
    PyTypeObject *type = Py_TYPE(o);
    if (!PyType_GetSlot(type, Py_sq_length) && !PyType_GetSlot(type, Py_mp_length))
        return -1;
    Py_ssize_t n = PyObject_Size(o);
    if (n < 0)
        PyErr_Clear();
    return n;
}

/* A piece of an iterator: out before the next one is asked for. */
static int piece(struct call *c, PyObject *item, bool only)
{
    if (!PyBytes_Check(item))
        return bad_item(item);
    size_t n = (size_t)PyBytes_Size(item);
    if (n == 0)
        return MC_OK;
    if (mc_responder_commit(c->calls->self) != MC_OK)
        return MC_ERROR;
    if (only && !mc_response_started(c->r) && c->r->resp.length < 0)
        mc_response_length(c->r, (int64_t)n);
    if (without_body(c->r))
        return MC_OK;
    int rc = mc_response_write(c->r, PyBytes_AsString(item), n);
    return sent(c, rc == MC_OK ? mc_response_flush(c->r) : rc);
}

static int iterate(struct call *c, PyObject *iterator)
{
    bool only = length_of(c->result) == 1;
    struct mc_responder *self = c->calls->self;
    PyObject *item;
    int rc = MC_OK;
    /* Without a body nothing is asked for but what a generator needs to get to its start_response(). */
    while (rc == MC_OK && !(self->called && without_body(c->r)) && (item = PyIter_Next(iterator))) {
        mc_life_check();
        rc = piece(c, item, only);
        Py_DECREF(item);
    }
    mc_life_check();
    if (rc != MC_OK || PyErr_Occurred())
        return MC_ERROR;
    if (mc_responder_commit(self) != MC_OK)
        return MC_ERROR;
    /* The length of a body that was not made is not known: no Content-Length: 0 for it. */
    if (c->r->is_head && !mc_response_started(c->r) && c->r->resp.length < 0 && sent(c, mc_response_head(c->r)) != MC_OK)
        return MC_ERROR;
    return sent(c, mc_response_end(c->r, NULL, 0));
}

static int file(struct call *c, struct mc_file *f, off_t off, off_t left)
{
    if (mc_responder_commit(c->calls->self) != MC_OK)
        return MC_ERROR;
    if (c->r->resp.length >= 0 && c->r->resp.length - c->r->resp.sent < left)
        left = c->r->resp.length - c->r->resp.sent;
    if (!mc_response_started(c->r) && c->r->resp.length < 0)
        mc_response_length(c->r, left);
    int rc = left > 0 && !without_body(c->r) ? mc_response_file(c->r, f, off, left) : MC_OK;
    return sent(c, rc == MC_OK ? mc_response_end(c->r, NULL, 0) : rc);
}

static int generic(struct call *c)
{
    if (mc_file_wrapper_check(c->result)) {
        struct mc_file *f;
        off_t off, left;
        int rc = mc_file_wrapper_open(c->result, &f, &off, &left);
        if (rc == MC_OK) {
            rc = file(c, f, off, left);
            mc_file_unref(&f);
        }
        if (rc != MC_DECLINED)
            return rc;
    }
    PyObject *iterator = PyObject_GetIter(c->result);
    int rc = iterator ? iterate(c, iterator) : MC_ERROR;
    Py_XDECREF(iterator);
    return rc;
}

static void close_result(struct call *c)
{
    PyObject *method, *done = NULL;
    int found = mc_interp.lookup(c->result, mc_interp.close_name, &method);
    if (found == 0)
        return;
    if (found > 0) {
        mc_response_flush(c->r); /* what close() does may take long: the client has its answer before */
        done = PyObject_CallNoArgs(method);
        mc_life_check();
        Py_DECREF(method);
    }
    if (!done)
        report(c->r, "Error closing the response of request");
    Py_XDECREF(done);
}

/* The exact built-in types have no close() and no iterator of their own. bytes: meant as one piece, and iterating would give numbers. */
static int answer(struct call *c)
{
    if (PyList_CheckExact(c->result)) {
        if (mc_likely(list(c, c->result) == MC_OK))
            return MC_OK;
        return fail(c);
    }
    if (PyTuple_CheckExact(c->result))
        return sequence(c, c->result) == MC_OK ? MC_OK : fail(c);
    if (PyBytes_CheckExact(c->result))
        return one_piece(c, c->result) == MC_OK ? MC_OK : fail(c);
    int rc = generic(c) == MC_OK ? MC_OK : fail(c);
    close_result(c);
    return rc;
}

/* ---- the call ---- */

/* An app that has the client's socket need not call start_response(); Gunicorn's way to tell of that is a StopIteration. */
static int upgraded(struct call *c)
{
    if (c->result)
        close_result(c);
    else if (PyErr_ExceptionMatches(PyExc_StopIteration) || mc_hub_killed())
        PyErr_Clear();
    else
        report(c->r, "Error handling request");
    return MC_OK;
}

static int call_app(struct call *c, PyObject *app, PyObject *env)
{
    PyObject *args[3] = {NULL, env, c->calls->start}; /* args[0] is the callee's scratch (vectorcall) */
    c->result = mc_interp.vectorcall(app, args + 1, 2 | (size_t)1 << (8 * sizeof(size_t) - 1), NULL);
    mc_life_check();
    int rc = mc_unlikely(c->socket && mc_socket_used(c->socket)) ? upgraded(c) : c->result ? answer(c) : fail(c);
    Py_XDECREF(c->result);
    return rc;
}

static PyObject *make_environ(struct call *c, PyObject *input, int *status)
{
    PyObject *env = mc_environ_new(c->r, input, c->calls, status);
    if (mc_unlikely(c->r->head.upgrade) && env && mc_hub_greenlet()) {
        c->socket = mc_socket_new(c->r, env);
        if (!c->socket)
            Py_CLEAR(env);
    }
    return env;
}

/* With pre_request or post_request. */
static int run_hooked(struct call *c, PyObject *input)
{
    int status = 0, rc;
    PyObject *req = mc_hooks_request(c->r), *env = req ? make_environ(c, input, &status) : NULL;
    if (env) {
        rc = call_app(c, mc_app_get(c->r->route->app), env);
        mc_hooks_answered(c->r, req, env, c->calls->self->taken, rc);
    } else {
        rc = status > 0 ? status : fail(c);
    }
    Py_XDECREF(env);
    Py_XDECREF(req);
    return rc;
}

static int run(struct call *c, PyObject *input)
{
    int status;
    if (mc_unlikely(mc_hooks_wanted))
        return run_hooked(c, input);
    PyObject *env = make_environ(c, input, &status);
    if (!env)
        return status > 0 ? status : fail(c);
    int rc = call_app(c, mc_app_get(c->r->route->app), env);
    Py_DECREF(env);
    return rc;
}

static int start(struct mc_request *r)
{
    if (mc_unlikely(mc_dev_is_failed()))
        return mc_dev_answer(r);
    bool entered = mc_interp_enter();
    struct call c = {.r = r, .calls = mc_responder_take(r)};
    bool body = r->head.framing != MC_BODY_NONE;
    PyObject *input = c.calls && body ? mc_input_new(r) : NULL;
    int rc = c.calls && (input || !body) ? run(&c, input) : fail(&c);
    if (mc_unlikely(c.socket != NULL)) {
        bool used = mc_socket_used(c.socket);
        mc_socket_end(c.socket);
        Py_DECREF(c.socket);
        rc = used && r->resp.state < MC_RESP_DONE ? MC_ERROR : rc; /* the client has left */
    }
    if (input) {
        mc_input_close(input);
        Py_DECREF(input);
    }
    if (c.calls)
        mc_responder_put(c.calls);
    mc_errors_flush();
    if (entered)
        mc_interp_give();
    return rc;
}

const struct mc_handler_ops mc_wsgi_handler = {
    .needs = MC_NEED_BLOCKING | MC_NEED_PYTHON,
    .body = MC_BODY_BUFFERED,
    .start = start,
};
