/* gevent's or eventlet's hub round the worker's loop: it watches the loop's epoll descriptor and turns the loop when there is something. A timerfd in that
 * loop says when its next timer is due, so the hub needs to know of nothing else. The process's first greenlet waits in drive() for the end.
 * Also what patches the standard library. Never runs a request itself (green.c). Worker side, patch() in the zygote, too; GIL held. */
#include "modules/python/hub.h"
#include "core/base/clock.h"
#include "core/os/fd.h"
#include "modules/python/hub.py.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
    TURNS_MAX = 8,  /* of ours in one of the hub's: others watch descriptors there, too */
    TICK_MS = 1000,
    CUT_MS = 250,   /* for requests to end that were killed */
};

static struct {
    struct mc_worker *w; /* NULL: not open, or over */
    PyObject *adapter;   /* of hub.py */
    PyObject *hub, *main, *turn;
    struct mc_io alarm;
    uint64_t alarm_at;   /* ms; UINT64_MAX: not set */
    struct mc_timer cut;
    uint64_t cut_until;
    bool inside, interrupted, ending;
} self;

/* ---- the library ---- */

static int load(const char *kind)
{
    PyObject *names = PyDict_New(), *code = NULL, *done = NULL;
    if (names && PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins()) == 0 && (code = Py_CompileString(embedded, "<monoceros hub>", Py_file_input)))
        done = PyEval_EvalCode(code, names, names);
    if (done)
        self.adapter = PyObject_CallFunction(PyDict_GetItemString(names, "load"), "s", kind);
    Py_XDECREF(done);
    Py_XDECREF(code);
    Py_XDECREF(names);
    return self.adapter ? MC_OK : MC_ERROR;
}

static int ask(const char *method)
{
    PyObject *done = PyObject_CallMethod(self.adapter, method, NULL);
    Py_XDECREF(done);
    return done ? MC_OK : MC_ERROR;
}

int mc_hub_patch(const struct mc_conf_pool *pool)
{
    if (!pool->hub || self.adapter)
        return MC_OK;
    return load(pool->hub) == MC_OK ? ask("patch") : MC_ERROR;
}

int mc_hub_enter(const struct mc_conf_pool *pool)
{
    return self.adapter ? ask("forked") : mc_hub_patch(pool);
}

/* ---- turns ---- */

static int longest(const struct mc_worker *w)
{
    int64_t timeout = w->pool->set.timeout;
    return timeout > 0 && timeout / 2 < TICK_MS ? (int)(timeout / 2) : TICK_MS;
}

/* The descriptor is readable again when the loop's next timer is due, or at once. */
static void arm(void)
{
    int ms = mc_loop_timeout(&self.w->loop, longest(self.w));
    uint64_t at = ms > 0 ? self.w->loop.now + (uint64_t)ms : 0;
    struct itimerspec when = {.it_value = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 + (ms == 0)}};
    if (self.alarm_at <= at)
        return; /* it comes early enough, and early is no harm */
    self.alarm_at = at;
    if (timerfd_settime(self.alarm.fd, 0, &when, NULL) < 0)
        mc_fatal(MC_EXIT_FAIL, "timerfd_settime: %s", strerror(errno));
}

static void on_alarm(struct mc_io *io)
{
    uint64_t times;
    self.alarm_at = UINT64_MAX;
    if (read(io->fd, &times, sizeof(times)) < 0 && errno != EAGAIN)
        mc_error("the timer of the event loop: %s", strerror(errno));
}

void mc_hub_touch(void)
{
    if (self.w && !self.inside && !mc_life_forked()) /* or the timer of the parent would be set */
        arm();
}

PyObject *mc_hub_greenlet(void)
{
    return self.hub;
}

bool mc_hub_killed(void)
{
    return self.w && PyErr_ExceptionMatches(mc_green_api.exit);
}

/* Those at work are killed and get a moment to end; then drive() goes on. */
static void leave(struct mc_worker *w)
{
    if (!self.ending) {
        self.ending = true;
        self.cut_until = mc_loop_refresh(&w->loop) + CUT_MS;
        (void)mc_green_cut();
        if (self.interrupted)
            mc_green_call(w, mc_hooks_interrupted);
        mc_timer_set(&w->loop, &self.cut, CUT_MS);
    }
    unsigned left = mc_green_busy();
    if (left > 0 && mc_loop_refresh(&w->loop) < self.cut_until)
        return;
    if (left > 0)
        mc_warn("%u requests do not end although they were killed: left behind", left);
    w->left_behind = left;
    self.w = NULL;
    PyObject *got = mc_green_api.go(self.main, NULL, NULL); /* back here only for what the end of the process may wait for */
    Py_XDECREF(got);
    PyErr_Clear();
}

static void turn(struct mc_worker *w)
{
    for (unsigned n = 0; n < TURNS_MAX; n++) {
        mc_worker_turn_for(w, 0);
        if (!mc_green_run(w))
            return;
        if (mc_loop_timeout(&w->loop, -1) != 0)
            break;
    }
}

/* An app has forked: the descriptors are its parent's, and so are the clients. */
static PyObject *leave_alone(void)
{
    self.w = NULL;
    if (ask("unwatch") != MC_OK)
        PyErr_Clear();
    return Py_NewRef(Py_None);
}

static PyObject *py_turn(PyObject *none, PyObject *args)
{
    struct mc_worker *w = self.w;
    (void)none;
    (void)args;
    if (!w || self.inside)
        return Py_NewRef(Py_None);
    if (mc_life_forked())
        return leave_alone();
    self.inside = true;
    turn(w);
    self.inside = false;
    if (mc_life_forked())
        return leave_alone();
    mc_life_look(w);
    if (w->stopped)
        leave(w);
    if (self.w)
        arm();
    return Py_NewRef(Py_None);
}

static PyMethodDef def_turn = {"turn", py_turn, METH_VARARGS, NULL};

/* ---- serving ---- */

static int watch(struct mc_worker *w)
{
    PyObject *done = PyObject_CallMethod(self.adapter, "watch", "iO", w->loop.ops->fd(&w->loop), self.turn);
    Py_XDECREF(done);
    return done ? MC_OK : MC_ERROR;
}

/* What brings us back before the end: an exception that the hub leaves to the first greenlet, or an app that has switched to it. */
static void drive(struct mc_worker *w)
{
    if (watch(w) != MC_OK) {
        mc_interp_log("Exception in worker process");
        mc_fatal(MC_EXIT_FAIL, "The hub of %s does not take this worker's event loop", w->pool->hub);
    }
    arm();
    while (self.w) {
        PyObject *got = mc_green_api.go(self.hub, NULL, NULL);
        mc_life_check();
        if (!got) {
            if (mc_interp_exiting())
                mc_worker_ask_retire(w);
            mc_interp_log("Exception in the hub");
        }
        Py_XDECREF(got);
    }
}

static unsigned room(struct mc_worker *w)
{
    unsigned most = (unsigned)w->pool->set.worker_connections;
    return w->nrunning < most ? most - w->nrunning : 0;
}

static void stop(struct mc_worker *w)
{
    (void)w;
    mc_fd_close(&self.alarm.fd);
}

const struct mc_worker_ops mc_hub_ops = {
    .name = "greenlet",
    .caps = MC_CAP_BLOCKING | MC_CAP_KEEPALIVE,
    .room = room,
    .wait = mc_green_wait,
    .wait_fd = mc_green_wait_fd,
    .wake = mc_green_news,
    .stop = stop,
};

/* worker_int may wait, so it has to have a greenlet. */
static void on_interrupted(struct mc_worker *w)
{
    (void)w;
    self.interrupted = true;
}

static void on_cut(struct mc_timer *t)
{
    (void)t; /* leave() looks at the clock */
}

int mc_hub_open(struct mc_worker *w)
{
    int fd = w->loop.ops->fd(&w->loop);
    if (fd < 0) {
        PyErr_Format(PyExc_RuntimeError, "worker_class %s needs the event back end epoll", w->pool->hub);
        return MC_ERROR;
    }
    if (mc_green_init() != MC_OK || mc_socket_init() != MC_OK)
        return MC_ERROR;
    self.hub = PyObject_CallMethod(self.adapter, "hub", NULL);
    self.turn = PyCFunction_New(&def_turn, NULL);
    self.main = mc_green_api.current();
    if (!self.hub || !self.turn || !self.main)
        return MC_ERROR;
    int alarm = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    mc_io_init(&self.alarm, alarm, on_alarm, NULL);
    self.alarm.level = true;
    self.alarm_at = UINT64_MAX;
    if (alarm < 0 || mc_io_watch(&w->loop, &self.alarm, MC_WANT_READ) != MC_OK) {
        PyErr_SetFromErrno(PyExc_OSError);
        return MC_ERROR;
    }
    mc_timer_init(&self.cut, on_cut, NULL);
    self.w = w;
    w->ops = &mc_hub_ops;
    w->drive = drive;
    w->dump = mc_green_dump;
    w->interrupted = on_interrupted;
    return MC_OK;
}
