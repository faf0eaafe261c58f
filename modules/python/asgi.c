/* Requests of ASGI apps as a loop handler: makes scope, receive and send, begins the task, and brings together two ends that come in any order, that of
 * the task and that of the request. What the app gets wrong becomes a log record and a 500, or a cut where the response has begun. Worker side, GIL held. */
#include "modules/python/asgi.h"
#include "core/server/conn.h"

#include <stdio.h>
#include <stdlib.h>

enum { BUFFERED_MAX = 16384 }; /* of a body that is wholly read before its app begins: it needs no second look then */

static PyTypeObject *type;
static struct mc_link running; /* exchanges whose tasks run */
static PyObject *result_name, *cancel_name, *callback_name;
static PyObject *cancelled_error;

/* ---- ends ---- */

void mc_asgi_lost(void)
{
    PyErr_SetString(PyExc_ConnectionResetError, "the client has left");
}

/* The task goes on without its request. */
static void detach(struct mc_exchange *x)
{
    if (!x->r)
        return;
    if (x->ws)
        mc_asgi_ws_note(x);
    x->ws = NULL;
    x->r = NULL;
    if (x->task && !x->behind) {
        x->behind = true;
        mc_worker_current->nbehind++;
    }
    mc_asgi_news(x);
}

/* The request's memory goes. */
static void on_over(void *data)
{
    struct mc_exchange *x = data;
    detach(x);
    Py_DECREF((PyObject *)x);
}

static void cancel(struct mc_exchange *x)
{
    PyObject *done = x->task ? PyObject_CallMethodObjArgs(x->task, cancel_name, NULL) : NULL;
    Py_XDECREF(done);
    PyErr_Clear();
}

static void on_grace(struct mc_timer *t)
{
    cancel(t->data);
}

/* The task has a while to end by itself. */
static void be_patient(struct mc_exchange *x)
{
    if (!x->task)
        return;
    if (x->app->grace <= 0 || mc_timer_set(&mc_worker_current->loop, &x->grace, (uint64_t)x->app->grace) != MC_OK)
        cancel(x);
}

/* The client has left, or waited for too long: the task sees it. */
static void leave(struct mc_exchange *x)
{
    x->lost = true;
    detach(x);
    be_patient(x);
}

static void report(const struct mc_exchange *x, const char *what)
{
    char text[600];
    int n = snprintf(text, sizeof(text), "%s ", what);
    struct mc_str target = {x->target ? PyBytes_AsString(x->target) : "", x->target ? (size_t)PyBytes_Size(x->target) : 0};
    n += (int)mc_str_escape(text + n, sizeof(text) - (size_t)n - 1, target);
    text[n] = '\0';
    mc_interp_log(text);
}

/* The app has ended, with an exception set or (none) without a whole response. What start() returns for it. */
static int fail(struct mc_exchange *x)
{
    bool exiting = PyErr_Occurred() && mc_interp_exiting();
    bool started = x->r && mc_response_started(x->r);
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_RuntimeError, started ? "the app returned before its response was complete" : "the app returned without a response");
    bool told = mc_worker_current->stopped && PyErr_ExceptionMatches(cancelled_error); /* by us */
    if (x->lost || told) {
        if (mc_log_on(MC_LOG_DEBUG))
            report(x, "Ignoring the error of a request that nobody waits for any more:");
        PyErr_Clear();
    } else {
        report(x, x->next == MC_ASGI_OVER ? "Error behind the response of request" : "Error handling request");
    }
    if (exiting)
        mc_worker_ask_retire(mc_worker_current);
    return started ? MC_ERROR : 500;
}

/* rc is what start() would return for what the task has come to; an open WebSocket is closed instead. */
static int settle(struct mc_exchange *x, int rc)
{
    if (!x->ws)
        return rc;
    mc_asgi_ws_over(x, rc != MC_OK);
    mc_asgi_touch(x->r);
    return MC_OK;
}

/* What the task has come to: MC_OK, or what start() is to return. */
static int outcome(struct mc_exchange *x)
{
    PyObject *result = PyObject_CallMethodObjArgs(x->task, result_name, NULL);
    bool fine = result && (x->next == MC_ASGI_OVER || x->next == MC_ASGI_WS_OPEN || x->lost);
    Py_XDECREF(result);
    return settle(x, fine ? MC_OK : fail(x));
}

/* The task is over: nothing of it stays here. */
static void put_away(struct mc_exchange *x)
{
    mc_timer_remove(&mc_worker_current->loop, &x->grace);
    if (x->behind) {
        x->behind = false;
        mc_worker_current->nbehind--;
    }
    Py_CLEAR(x->task);
    if (mc_link_linked(&x->link)) {
        mc_list_remove(&x->link);
        Py_DECREF((PyObject *)x);
    }
}

/* Outside of start(): the connection is told, too. */
static void answer(struct mc_exchange *x, int rc)
{
    struct mc_request *r = x->r;
    if (!r || x->next == MC_ASGI_OVER)
        return;
    x->next = MC_ASGI_OVER;
    if (rc > 0)
        mc_response_error(r, rc);
    else
        mc_response_abort(r);
    mc_asgi_touch(r);
}

static PyObject *on_done(PyObject *self, PyObject *task)
{
    struct mc_exchange *x = (struct mc_exchange *)Py_NewRef(self);
    (void)task;
    mc_life_check();
    if (x->task) {
        int rc = outcome(x);
        if (rc != MC_OK)
            answer(x, rc);
        put_away(x);
        mc_errors_flush();
    }
    Py_DECREF((PyObject *)x);
    return Py_NewRef(Py_None);
}

/* ---- what the app calls ---- */

static PyObject *py_receive(PyObject *self, PyObject *none)
{
    (void)none;
    return mc_asgi_receive((struct mc_exchange *)self);
}

static PyObject *py_send(PyObject *self, PyObject *message)
{
    struct mc_exchange *x = (struct mc_exchange *)self;
    int rc = mc_asgi_send(x, message);
    if (mc_likely(rc == MC_OK))
        return mc_asgi_done();
    return rc == MC_ERROR ? NULL : mc_asgi_pause(x, rc == MC_BUSY ? message : NULL);
}

static PyMethodDef def_receive = {"receive", py_receive, METH_NOARGS, NULL};
static PyMethodDef def_send = {"send", py_send, METH_O, NULL};
static PyMethodDef def_done = {"done", on_done, METH_O, NULL};

static void exchange_dealloc(PyObject *self)
{
    struct mc_exchange *x = (struct mc_exchange *)self;
    Py_XDECREF(x->target);
    Py_XDECREF(x->reason);
    mc_interp_free(self);
}

static PyType_Slot slots[] = {{Py_tp_dealloc, exchange_dealloc}, {0, NULL}};
static PyType_Spec spec = {
    .name = "monoceros.Exchange",
    .basicsize = sizeof(struct mc_exchange),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

int mc_asgi_init(void)
{
    mc_list_init(&running);
    result_name = PyUnicode_InternFromString("result");
    cancel_name = PyUnicode_InternFromString("cancel");
    callback_name = PyUnicode_InternFromString("add_done_callback");
    PyObject *asyncio = PyImport_ImportModule("asyncio");
    cancelled_error = asyncio ? PyObject_GetAttrString(asyncio, "CancelledError") : NULL;
    Py_XDECREF(asyncio);
    type = type ? type : mc_interp_type(&spec);
    return PyErr_Occurred() ? MC_ERROR : MC_OK;
}

PyObject *mc_asgi_tasks(void)
{
    PyObject *set = PySet_New(NULL);
    for (struct mc_link *l = running.next; set && l != &running; l = l->next) {
        struct mc_exchange *x = mc_container(l, struct mc_exchange, link);
        if (x->task && PySet_Add(set, x->task) < 0)
            Py_CLEAR(set);
    }
    return set;
}

void mc_asgi_forget(void)
{
    while (!mc_list_empty(&running))
        put_away(mc_container(running.next, struct mc_exchange, link));
}

/* ---- the handler ---- */

static struct mc_exchange *exchange_new(struct mc_request *r)
{
    struct mc_exchange *x = (struct mc_exchange *)PyType_GenericAlloc(type, 0);
    if (!x)
        return NULL;
    x->r = r;
    x->app = mc_asgi_app(r->route->app);
    mc_list_init(&x->waiters);
    mc_timer_init(&x->grace, on_grace, x);
    if (mc_arena_cleanup(&r->arena, on_over, Py_NewRef((PyObject *)x)) != MC_OK) {
        Py_DECREF((PyObject *)x);
        Py_DECREF((PyObject *)x);
        PyErr_NoMemory();
        return NULL;
    }
    r->hctx = x;
    return x;
}

/* The coroutine of this request. NULL with *status > 0: answer that; else with an exception. */
static PyObject *call(struct mc_exchange *x, int *status)
{
    PyObject *scope = mc_scope_new(x->r, x->app, x->websocket, &x->target, status), *coro = NULL;
    PyObject *receive = scope ? PyCFunction_New(&def_receive, (PyObject *)x) : NULL;
    PyObject *send = receive ? PyCFunction_New(&def_send, (PyObject *)x) : NULL;
    PyObject *args[4] = {NULL, scope, receive, send};
    if (send)
        coro = mc_interp.vectorcall(x->app->call, args + 1, 3 | (size_t)1 << (8 * sizeof(size_t) - 1), NULL);
    mc_life_check();
    Py_XDECREF(send);
    Py_XDECREF(receive);
    Py_XDECREF(scope);
    return coro;
}

/* The task has its first step behind it, but not its last one. */
static int go_on(struct mc_exchange *x)
{
    PyObject *callback = PyCFunction_New(&def_done, (PyObject *)x);
    PyObject *added = callback ? PyObject_CallMethodObjArgs(x->task, callback_name, callback, NULL) : NULL;
    Py_XDECREF(callback);
    if (!added)
        return fail(x);
    Py_DECREF(added);
    mc_list_push(&running, &x->link);
    Py_INCREF((PyObject *)x);
    return MC_OK;
}

static int run(struct mc_exchange *x)
{
    int status = MC_OK;
    PyObject *coro = call(x, &status);
    if (!coro)
        return status > 0 ? status : fail(x);
    bool over;
    x->task = mc_asgi_task(coro, x->app->context, &over);
    mc_life_check();
    if (!x->task)
        return settle(x, fail(x)); /* SystemExit goes through what makes the task */
    if (!over)
        return go_on(x);
    int rc = outcome(x);
    put_away(x);
    return rc;
}

/* The versions that we speak go with the refusal of another one (RFC 6455 §4.4). */
static int refuse(struct mc_request *r, int status)
{
    if (status != 426 || mc_response_begin(r, status, MC_STR_NONE) != MC_OK || mc_response_field(r, MC_STR("Sec-WebSocket-Version"), MC_STR("13")) != MC_OK)
        return status;
    return mc_response_end(r, NULL, 0);
}

static int start(struct mc_request *r)
{
    if (mc_unlikely(mc_dev_is_failed()))
        return mc_dev_answer(r);
    int asked = mc_likely(!r->head.upgrade) ? MC_DECLINED : mc_ws_asked(&r->head);
    if (asked > 0 || (asked == MC_OK && r->head.framing != MC_BODY_NONE))
        return refuse(r, asked > 0 ? asked : 400);
    struct mc_exchange *x = exchange_new(r);
    if (!x) {
        mc_interp_log("Error handling request");
        return 500;
    }
    x->websocket = asked == MC_OK;
    if (x->websocket)
        x->next = MC_ASGI_WS_CONNECT;
    int rc = run(x);
    if (rc != MC_OK)
        x->next = MC_ASGI_OVER;
    Py_DECREF((PyObject *)x);
    mc_errors_flush();
    return rc;
}

/* A client that has closed is like one that has left. */
static int resume_ws(struct mc_exchange *x, enum mc_resume why)
{
    bool lost = x->lost;
    int rc = mc_asgi_ws_resume(x, why);
    if (x->lost && !lost)
        be_patient(x);
    return rc;
}

static int resume(struct mc_request *r, enum mc_resume why)
{
    struct mc_exchange *x = r->hctx;
    if (x->websocket)
        return resume_ws(x, why);
    if (why == MC_RESUME_BODY && r->body.failed) {
        bool started = mc_response_started(r);
        leave(x);
        return started ? MC_ERROR : r->body.status;
    }
    mc_asgi_news(x);
    return MC_OK;
}

static void gone(struct mc_request *r)
{
    struct mc_exchange *x = r->hctx;
    if (x && x->r)
        leave(x);
}

/* Small bodies are here at once, mostly: with them the first step of the task can be the last. */
static int prepare(struct mc_request *r)
{
    r->body.on_demand = true;
    if (r->head.framing == MC_BODY_NONE || (r->head.content_length >= 0 && r->head.content_length <= BUFFERED_MAX && !r->head.expect_continue))
        r->body.mode = MC_BODY_BUFFERED;
    return MC_OK;
}

const struct mc_handler_ops mc_asgi_handler = {
    .needs = MC_NEED_PYTHON | MC_NEED_ITS_LOOP,
    .body = MC_BODY_STREAMED,
    .prepare = prepare,
    .start = start,
    .resume = resume,
    .abort = gone,
};
