/* Python's event loop round the worker's. asyncio's sleeps in a selector of ours (asgi.py), whose select() turns the worker's loop: clients are served in
 * there, and only descriptors of apps come out of it. uvloop watches the worker's epoll descriptor instead and turns the loop when there is something.
 * It is there before the apps are imported. Their startup and shutdown are asgi_apps.c's, requests asgi.c's. Worker side, GIL held. */
#include "modules/python/asgi.h"
#include "core/base/clock.h"
#include "modules/python/asgi.py.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    TURNS_MAX = 64,  /* of ours in one of Python's: its callbacks get their turn even when we do not see them */
    TICK_MS = 1000,
    BLOCK = 512 << 10,
};

enum phase { CLOSED, STARTING, SERVING, LEAVING };

struct foreign {
    struct mc_io io;
};

static struct {
    enum phase phase;
    struct mc_worker *w;
    PyObject *names;  /* of asgi.py */
    PyObject *loop;
    PyObject *ready;  /* asyncio: the deque of what it will call next; NULL: uvloop */
    PyObject *keys;   /* asyncio: its selector's, by descriptor */
    PyObject *stop, *future, *call_soon, *call_later, *turn; /* of the loop; turn is ours */
    PyObject *scheduled_name, *blocking_name, *set_result_name, *done_name;
    PyObject *events; /* what select() will return */
    struct foreign **foreign; /* by descriptor */
    size_t nforeign;
    bool inside, kicked, told_stop;
    bool hosts; /* some apps bring servers of their own, and have not been told of the drain */
    PyObject *timer;  /* uvloop: what turns us next */
    uint64_t timer_at;
} self;

/* ---- descriptors of apps ---- */

static void on_foreign(struct mc_io *io)
{
    PyObject *fd = self.events ? PyLong_FromLong(io->fd) : NULL;
    PyObject *key = fd ? PyDict_GetItemWithError(self.keys, fd) : NULL; /* borrowed */
    PyObject *pair = key ? Py_BuildValue("(Oi)", key, io->ready & io->want) : NULL;
    if (!pair || PyList_Append(self.events, pair) < 0)
        PyErr_Clear(); /* it is still ready in the next turn */
    Py_XDECREF(pair);
    Py_XDECREF(fd);
}

static struct foreign *foreign_of(int fd)
{
    if ((size_t)fd >= self.nforeign) {
        size_t n = (size_t)fd + 64;
        struct foreign **more = realloc(self.foreign, n * sizeof(struct foreign *));
        if (!more)
            return NULL;
        memset(more + self.nforeign, 0, (n - self.nforeign) * sizeof(struct foreign *));
        self.foreign = more;
        self.nforeign = n;
    }
    struct foreign *f = self.foreign[fd];
    if (!f && (f = calloc(1, sizeof(*f)))) {
        mc_io_init(&f->io, fd, on_foreign, f);
        f->io.level = true;
        self.foreign[fd] = f;
    }
    return f;
}

/* watch(fd, events): 1 to read, 2 to write, as in `selectors`; 0: no more. */
static PyObject *py_watch(PyObject *none, PyObject *const *args, Py_ssize_t nargs)
{
    (void)none;
    (void)nargs;
    long fd = PyLong_AsLong(args[0]), want = PyLong_AsLong(args[1]);
    if (PyErr_Occurred())
        return NULL;
    if (!self.w || fd < 0)
        return Py_NewRef(Py_None); /* the loop outlives its worker in what atexit calls */
    struct foreign *f = foreign_of((int)fd);
    if (!f)
        return PyErr_NoMemory();
    if (want == 0) {
        mc_io_unwatch(&self.w->loop, &f->io);
        return Py_NewRef(Py_None);
    }
    if (mc_io_watch(&self.w->loop, &f->io, (unsigned)want & (MC_WANT_READ | MC_WANT_WRITE)) == MC_OK)
        return Py_NewRef(Py_None);
    return PyErr_SetFromErrno(PyExc_OSError);
}

/* ---- turns ---- */

PyObject *mc_asgi_tool(const char *name)
{
    return PyDict_GetItemString(self.names, name);
}

/* While apps are imported and start the worker is not serving: what hangs then must look silent. */
static void turn_for(int ms)
{
    mc_life_check(); /* a task that has forked: the loop is not the child's */
    self.inside = true;
    if (self.phase != STARTING)
        mc_worker_turn_for(self.w, ms);
    else if (mc_loop_turn(&self.w->loop, ms < 0 || ms > TICK_MS ? TICK_MS : ms) < 0)
        mc_fatal(MC_EXIT_FAIL, "Event back end %s failed: %s", self.w->loop.ops->name, strerror(errno));
    self.inside = false;
    if (self.hosts && self.phase == SERVING && self.w->draining) {
        self.hosts = false;
        Py_XDECREF(PyObject_CallNoArgs(mc_asgi_tool("drain")));
        PyErr_Clear();
    }
    if (self.phase == SERVING && self.w->stopped && !self.told_stop) {
        PyObject *done = PyObject_CallNoArgs(self.stop);
        self.told_stop = done != NULL;
        Py_XDECREF(done);
        PyErr_Clear();
    }
}

/* The next of asyncio's timers; borrowed, only to be compared. */
static const void *first_timer(void)
{
    PyObject *heap = PyObject_GetAttr(self.loop, self.scheduled_name);
    const void *first = heap && PyList_Check(heap) && PyList_Size(heap) > 0 ? PyList_GetItem(heap, 0) : NULL;
    Py_XDECREF(heap);
    PyErr_Clear();
    return first;
}

static int64_t milliseconds(PyObject *timeout)
{
    if (timeout == Py_None)
        return -1;
    double s = PyFloat_AsDouble(timeout);
    if (s <= 0 || PyErr_Occurred())
        return 0;
    return s > 86400 ? INT64_C(86400000) : (int64_t)(s * 1000 + 0.999);
}

/* Requests that are answered at once leave nothing for Python's loop to do: then we go on. Else it must come back: to call what is ready, to look at a
 * descriptor, or because a timer was set that it did not know of when it said how long. */
static PyObject *py_select(PyObject *none, PyObject *timeout)
{
    (void)none;
    int64_t ms = milliseconds(timeout);
    uint64_t until = ms < 0 ? UINT64_MAX : mc_clock_ms() + (uint64_t)ms;
    PyObject *events = self.w && !PyErr_Occurred() ? PyList_New(0) : NULL;
    if (!events)
        return PyErr_Occurred() ? NULL : PyList_New(0);
    const void *timer = first_timer();
    self.events = events;
    for (unsigned n = 0; n < TURNS_MAX; n++) {
        turn_for(ms > 0 ? (int)(until - self.w->loop.now) : (int)ms);
        if (ms == 0 || PyList_Size(events) > 0 || PyObject_Size(self.ready) != 0 || first_timer() != timer)
            break;
        if (self.told_stop || self.w->loop.now >= until)
            break;
    }
    self.events = NULL;
    PyErr_Clear();
    return events;
}

/* ---- uvloop ---- */

/* uvloop sees nothing of our posts. The caller may be on his way out with an exception, which stays. */
static void kick(void)
{
    PyObject *kind, *value, *traceback;
    if (self.ready || self.inside || self.kicked || !self.w)
        return;
    PyErr_Fetch(&kind, &value, &traceback);
    PyObject *handle = PyObject_CallFunctionObjArgs(self.call_soon, self.turn, NULL);
    self.kicked = handle != NULL;
    Py_XDECREF(handle);
    PyErr_Restore(kind, value, traceback);
}

static void arm(void)
{
    int ms = mc_loop_timeout(&self.w->loop, TICK_MS);
    if (ms == 0) {
        kick();
        return;
    }
    uint64_t at = self.w->loop.now + (uint64_t)ms;
    if (self.timer && self.timer_at <= at)
        return; /* it comes early enough, and early is no harm */
    PyObject *done = self.timer ? PyObject_CallMethod(self.timer, "cancel", NULL) : NULL;
    Py_XDECREF(done);
    Py_CLEAR(self.timer);
    self.timer = PyObject_CallFunction(self.call_later, "dO", ms / 1000.0, self.turn);
    self.timer_at = at;
    PyErr_Clear();
}

static PyObject *py_turn(PyObject *none, PyObject *none_too)
{
    (void)none;
    (void)none_too;
    if (!self.w || self.inside)
        return Py_NewRef(Py_None);
    self.kicked = false;
    turn_for(0);
    if (self.timer && self.timer_at <= self.w->loop.now)
        Py_CLEAR(self.timer);
    arm();
    mc_life_look(self.w);
    return Py_NewRef(Py_None);
}

void mc_asgi_touch(struct mc_request *r)
{
    if (self.inside)
        return;
    mc_request_wake(r);
    kick();
}

void mc_asgi_wrote(struct mc_request *r)
{
    if (!self.inside && !mc_request_rests(r))
        mc_asgi_touch(r);
}

/* ---- futures ---- */

PyObject *mc_asgi_future(void)
{
    PyObject *future = PyObject_CallNoArgs(self.future);
    if (future && PyObject_SetAttr(future, self.blocking_name, Py_True) < 0)
        Py_CLEAR(future);
    return future;
}

void mc_asgi_wake(PyObject *future)
{
    PyObject *done = PyObject_CallMethodObjArgs(future, self.done_name, NULL);
    PyObject *set = done == Py_False ? PyObject_CallMethodObjArgs(future, self.set_result_name, Py_None, NULL) : NULL;
    Py_XDECREF(set);
    Py_XDECREF(done);
    PyErr_Clear();
}

/* ---- serving ---- */

static void drive(struct mc_worker *w)
{
    self.phase = SERVING;
    kick();
    while (!w->stopped) {
        PyObject *done = PyObject_CallMethod(self.loop, "run_forever", NULL);
        mc_life_check();
        if (done) {
            Py_DECREF(done); /* told to stop, or an app has stopped it: then it goes on */
            continue;
        }
        bool exiting = mc_interp_exiting();
        mc_interp_log(exiting ? "An app asks its worker to exit" : "Exception in the event loop");
        if (!exiting)
            mc_fatal(MC_EXIT_FAIL, "The event loop of this worker's apps cannot go on");
        mc_worker_ask_retire(w);
    }
    self.phase = LEAVING;
}

/* ---- opening ---- */

static PyMethodDef tools[] = {
    {"watch", (PyCFunction)(void (*)(void))py_watch, METH_FASTCALL, NULL},
    {"select", py_select, METH_O, NULL},
    {"turn", py_turn, METH_NOARGS, NULL},
    {"write", mc_hooks_write, METH_VARARGS, NULL},
};

static int run(const char *text, const char *name)
{
    PyObject *code = Py_CompileString(text, name, Py_file_input);
    PyObject *done = code ? PyEval_EvalCode(code, self.names, self.names) : NULL;
    Py_XDECREF(code);
    Py_XDECREF(done);
    return done ? MC_OK : MC_ERROR;
}

static int run_texts(const char *more)
{
    self.names = PyDict_New();
    int bad = !self.names || PyDict_SetItemString(self.names, "__builtins__", PyEval_GetBuiltins()) < 0;
    PyObject *name = PyUnicode_FromString("monoceros.asgi");
    bad = bad || !name || PyDict_SetItemString(self.names, "__name__", name) < 0;
    Py_XDECREF(name);
    for (size_t i = 0; i < MC_COUNT(tools) && !bad; i++) {
        PyObject *f = PyCFunction_New(&tools[i], NULL);
        bad = !f || PyDict_SetItemString(self.names, tools[i].ml_name, f) < 0;
        Py_XDECREF(f);
    }
    bad = bad || run(embedded, "<monoceros asgi>") != MC_OK;
    self.turn = bad ? NULL : mc_asgi_tool("turn");
    return bad ? MC_ERROR : more ? run(more, "<monoceros hosts>") : MC_OK;
}

static PyObject *given(PyObject *tuple, Py_ssize_t i)
{
    PyObject *o = PyTuple_GetItem(tuple, i);
    return o == Py_None ? NULL : Py_NewRef(o);
}

static int make_loop(struct mc_worker *w)
{
    PyObject *seen = PyObject_CallFunction(mc_asgi_tool("open_loop"), "si", w->pool->set.asgi_loop, w->loop.ops->fd(&w->loop));
    if (!seen)
        return MC_ERROR;
    self.loop = given(seen, 0);
    self.ready = given(seen, 1);
    self.keys = given(seen, 2);
    Py_DECREF(seen);
    self.stop = PyObject_GetAttrString(self.loop, "stop");
    self.future = PyObject_GetAttrString(self.loop, "create_future");
    self.call_soon = PyObject_GetAttrString(self.loop, "call_soon");
    self.call_later = PyObject_GetAttrString(self.loop, "call_later");
    self.scheduled_name = PyUnicode_InternFromString("_scheduled");
    self.blocking_name = PyUnicode_InternFromString("_asyncio_future_blocking");
    self.set_result_name = PyUnicode_InternFromString("set_result");
    self.done_name = PyUnicode_InternFromString("done");
    return PyErr_Occurred() ? MC_ERROR : mc_asgi_task_init(self.loop);
}

int mc_asgi_loop_open(struct mc_worker *w, const char *more)
{
    /* asyncio's transports read into 256 KiB and give most of it back. glibc maps and unmaps that each time, until it has seen a larger block go. */
    PyMem_Free(PyMem_Malloc(BLOCK));
    self.w = w;
    self.phase = STARTING;
    self.hosts = more != NULL;
    return run_texts(more) == MC_OK ? make_loop(w) : MC_ERROR;
}

bool mc_asgi_loop_is_open(void)
{
    return self.w != NULL;
}

void mc_asgi_loop_serve(void)
{
    self.w->drive = drive;
}

void mc_asgi_loop_leave(void)
{
    if (self.w->drive) /* else it has served nothing, and an app that hangs is still silent */
        self.phase = LEAVING;
}

void mc_asgi_loop_close(void)
{
    PyObject *closed = PyObject_CallMethod(self.loop, "close", NULL);
    if (!closed)
        mc_interp_log("Exception while the event loop is closed");
    Py_XDECREF(closed);
    for (size_t i = 0; i < self.nforeign; i++) {
        if (self.foreign[i])
            mc_io_unwatch(&self.w->loop, &self.foreign[i]->io);
        free(self.foreign[i]);
    }
    free(self.foreign);
    self.foreign = NULL;
    self.nforeign = 0;
    self.phase = CLOSED;
    self.w = NULL; /* the rest stays for what the interpreter's end may call */
}
