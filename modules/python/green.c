/* Requests in greenlets: each one runs in a parked greenlet of a pool, begun and resumed by the hub only, between two turns of the loop, so that no frame
 * of the engine lies below a switch. A handler that has returned leaves its greenlet parked; the loop gives the request back in its next turn.
 * Nothing that others point to may lie on the stack of a greenlet: tasks and waiters are on the heap. Called by hub.c. Worker side, GIL held. */
#include "modules/python/hub.h"
#include "core/base/clock.h"
#include "core/os/fd.h"
#include "core/server/conn.h"

#include <fcntl.h>
#include <stdlib.h>

enum {
    SERVED_MAX = 1000,     /* requests of one greenlet: what apps keep by greenlet goes with it */
    KEEP = 16,             /* so many parked ones stay for ever; of the others, half of those that were not needed go each second */
    TRIM_MS = 1000,
    SPELL_NS = 1000 * 1000, /* of beginning requests, until the loop turns again */
};

struct task {
    struct mc_link link; /* in `idle`, `busy` or `over` */
    PyObject *greenlet;
    struct mc_worker *worker;
    struct mc_request *request; /* or, if NULL: */
    void (*fn)(struct mc_worker *w);
    unsigned served;
    bool parked; /* it has nothing to do: in `idle` or `over` */
    bool leave;  /* it ends when it is resumed */
    bool dead;   /* it has ended while it was parked */
};

/* A greenlet inside worker.wait. */
struct mc_green_waiter {
    struct mc_link link; /* in `woken` */
    PyObject *greenlet;
    struct mc_timer timer;
    struct mc_io io;
    bool woken, late;
};

struct mc_green_api mc_green_api;

static struct {
    struct mc_link idle; /* the one that was at work last comes first: its memory is warm */
    struct mc_link busy, over, woken;
    unsigned nidle, nbusy, least; /* least: of nidle, since the last look */
    unsigned surplus;
    struct mc_post again;
    struct mc_timer trim;
    PyObject *context; /* makes the context of a request */
    PyObject *context_name;
} self;

/* ---- switching ---- */

/* It turns soon. */
static void call_loop(struct mc_worker *w)
{
    mc_post_add(&w->loop, &self.again);
    mc_hub_touch();
}

void mc_green_news(struct mc_request *r)
{
    call_loop(r->conn->worker);
}

/* By the hub. False: an app has forked, and this is the child. */
static bool resume(PyObject *greenlet)
{
    PyObject *got = mc_green_api.go(greenlet, NULL, NULL);
    if (!got)
        mc_interp_log("Exception in the greenlet of a request");
    Py_XDECREF(got);
    return !mc_life_forked();
}

static void drop(struct task *t)
{
    Py_DECREF(t->greenlet);
    free(t);
}

/* True: there is something to do. */
static bool park(struct task *t)
{
    while (t->parked && !t->leave) {
        PyObject *got = mc_green_api.go(mc_hub_greenlet(), NULL, NULL);
        if (!got) {
            PyErr_Clear(); /* somebody has killed it, or a timer that an app has forgotten */
            return false;
        }
        Py_DECREF(got);
    }
    return !t->leave;
}

/* Each request has a context of its own: what the import of the apps has left. By the greenlet itself: from outside one without Python frames looks as if
 * it ran elsewhere. */
static void renew_context(struct task *t)
{
    PyObject *context = PyObject_CallNoArgs(self.context);
    if (!context || PyObject_SetAttr(t->greenlet, self.context_name, context) < 0)
        mc_interp_log("Exception while a request got its context");
    Py_XDECREF(context);
}

/* The life of a greenlet. */
static PyObject *live(PyObject *capsule, PyObject *none)
{
    struct task *t = PyCapsule_GetPointer(capsule, NULL);
    (void)none;
    while (park(t)) {
        renew_context(t);
        if (t->request)
            mc_request_execute(t->request);
        else
            t->fn(t->worker);
        PyErr_Clear(); /* thrown into it while it waited for its client */
        t->served++;
        t->parked = true;
        self.nbusy--;
        mc_list_remove(&t->link);
        mc_list_push(&self.over, &t->link);
        call_loop(t->worker);
    }
    t->dead = true;
    return Py_NewRef(Py_None);
}

static PyMethodDef def_live = {"greenlet", live, METH_NOARGS, NULL};

/* ---- the pool ---- */

static struct task *make(struct mc_worker *w)
{
    struct task *t = calloc(1, sizeof(*t));
    PyObject *capsule = t ? PyCapsule_New(t, NULL, NULL) : NULL, *run = capsule ? PyCFunction_New(&def_live, capsule) : NULL;
    if (run)
        t->greenlet = mc_green_api.make(run, mc_hub_greenlet());
    Py_XDECREF(run);
    Py_XDECREF(capsule);
    if (t && t->greenlet) {
        t->worker = w;
        return t;
    }
    mc_interp_log("Exception while a greenlet was made");
    free(t);
    return NULL;
}

static struct task *take(struct mc_worker *w)
{
    struct mc_link *l;
    while ((l = mc_list_pop(&self.idle)) != NULL) {
        struct task *t = mc_container(l, struct task, link);
        if (--self.nidle < self.least)
            self.least = self.nidle;
        if (!t->dead)
            return t;
        drop(t);
    }
    return make(w);
}

static bool end(struct task *t)
{
    t->leave = true;
    if (!t->dead && !resume(t->greenlet))
        return false;
    drop(t);
    return true;
}

static bool begin(struct task *t)
{
    t->parked = false;
    self.nbusy++;
    mc_list_push(&self.busy, &t->link);
    return resume(t->greenlet);
}

static bool give_back(void)
{
    struct mc_link *l;
    while ((l = mc_list_pop(&self.over)) != NULL) {
        struct task *t = mc_container(l, struct task, link);
        struct mc_request *r = t->request;
        t->request = NULL;
        if (r)
            mc_request_return(r);
        if (t->served >= SERVED_MAX || t->dead) {
            if (!end(t))
                return false;
            continue;
        }
        mc_list_push_front(&self.idle, &t->link);
        self.nidle++;
    }
    return true;
}

/* After a rush. */
static void on_trim(struct mc_timer *timer)
{
    (void)timer;
    self.surplus = self.least > KEEP ? (self.least - KEEP + 1) / 2 : 0;
    self.least = self.nidle;
}

static bool trim(struct mc_worker *w)
{
    for (; self.surplus > 0 && self.nidle > KEEP; self.surplus--) {
        struct task *t = mc_container(self.idle.prev, struct task, link);
        mc_list_remove(&t->link);
        self.nidle--;
        if (!end(t))
            return false;
    }
    if (self.nidle > KEEP && self.trim.when == 0)
        mc_timer_set(&w->loop, &self.trim, TRIM_MS);
    return true;
}

/* ---- work ---- */

static bool wake_all(void)
{
    struct mc_link *l;
    while ((l = mc_list_pop(&self.woken)) != NULL) {
        struct mc_green_waiter *v = mc_container(l, struct mc_green_waiter, link);
        v->woken = true;
        if (!resume(v->greenlet))
            return false;
    }
    return true;
}

static bool start(struct mc_worker *w, struct mc_request *r)
{
    struct task *t = take(w);
    mc_request_lend(r);
    if (!t) {
        mc_response_error(r, 503);
        mc_request_return(r);
        return true;
    }
    t->request = r;
    return begin(t);
}

bool mc_green_run(struct mc_worker *w)
{
    uint64_t until = mc_clock_ns() + SPELL_NS;
    struct mc_request *r;
    if (!give_back() || !wake_all() || !give_back())
        return false;
    while (!w->stopped && (r = mc_worker_next(w)) != NULL) {
        if (!start(w, r) || !give_back())
            return false;
        if (mc_clock_ns() > until) { /* the loop first, then the rest */
            mc_post_add(&w->loop, &self.again);
            break;
        }
    }
    return trim(w);
}

void mc_green_call(struct mc_worker *w, void (*fn)(struct mc_worker *))
{
    struct task *t = take(w);
    if (!t)
        return;
    t->fn = fn;
    (void)begin(t);
}

/* ---- waiting ---- */

void mc_green_wake(struct mc_green_waiter *v)
{
    if (!v->woken && !mc_link_linked(&v->link))
        mc_list_push(&self.woken, &v->link);
}

static void on_timer(struct mc_timer *t)
{
    struct mc_green_waiter *v = t->data;
    v->late = true;
    mc_green_wake(v);
}

static void on_io(struct mc_io *io)
{
    mc_green_wake(io->data);
}

static struct mc_green_waiter *new_waiter(void)
{
    struct mc_green_waiter *v = mc_life_forked() ? NULL : calloc(1, sizeof(*v)); /* the loop is the parent's */
    if (v) {
        v->greenlet = mc_green_api.current();
        mc_timer_init(&v->timer, on_timer, v);
    }
    return v;
}

static void free_waiter(struct mc_worker *w, struct mc_green_waiter *v)
{
    if (mc_link_linked(&v->link))
        mc_list_remove(&v->link);
    mc_timer_remove(&w->loop, &v->timer);
    Py_DECREF(v->greenlet);
    free(v);
}

/* Until somebody wakes v, whatever for. MC_ERROR: the worker stops, or an exception was thrown in, which stays. */
static int sleep_until(struct mc_worker *w, struct mc_green_waiter *v, uint64_t deadline)
{
    uint64_t now = mc_loop_refresh(&w->loop);
    if (w->stopped || v->greenlet == mc_hub_greenlet())
        return MC_ERROR;
    v->woken = v->late = false;
    if (mc_timer_set(&w->loop, &v->timer, deadline > now ? deadline - now : 0) != MC_OK)
        return MC_ERROR;
    if (deadline == 0)
        mc_timer_clear(&v->timer);
    mc_hub_touch();
    while (!v->woken) {
        PyObject *got = mc_green_api.go(mc_hub_greenlet(), NULL, NULL);
        if (!got)
            return MC_ERROR;
        Py_DECREF(got);
    }
    mc_timer_clear(&v->timer);
    return v->late ? MC_AGAIN : MC_OK;
}

int mc_green_sleep(struct mc_worker *w, struct mc_green_waiter **place, uint64_t deadline)
{
    struct mc_green_waiter *v = new_waiter();
    if (!v) {
        PyErr_NoMemory();
        return MC_ERROR;
    }
    *place = v;
    int rc = sleep_until(w, v, deadline);
    *place = NULL;
    free_waiter(w, v);
    return rc;
}

static bool client_ready(struct mc_conn *c, unsigned what)
{
    if ((c->io.ready & what) == 0)
        return false;
    c->io.ready &= (uint8_t)~MC_WANT_WRITE; /* this edge is used up: the next one comes when the socket was full again */
    return true;
}

/* The connection is lent, so nobody else needs its events. */
int mc_green_wait(struct mc_request *r, unsigned what, uint64_t deadline)
{
    struct mc_conn *c = r->conn;
    struct mc_worker *w = c->worker;
    void (*fn)(struct mc_io *) = c->io.fn;
    void *data = c->io.data;
    struct mc_green_waiter *v = fn != on_io ? new_waiter() : NULL; /* on_io: two greenlets write one response */
    int rc = MC_OK;
    if (!v)
        return MC_ERROR;
    if (mc_io_watch(&w->loop, &c->io, MC_WANT_READ | MC_WANT_WRITE) != MC_OK)
        rc = MC_ERROR;
    c->io.fn = on_io;
    c->io.data = v;
    while (rc == MC_OK && !client_ready(c, what))
        rc = sleep_until(w, v, deadline);
    c->io.fn = fn;
    c->io.data = data;
    free_waiter(w, v);
    return rc;
}

/* A copy of the descriptor, because others may watch the same one. */
int mc_green_wait_fd(struct mc_request *r, int fd, unsigned what, uint64_t deadline)
{
    struct mc_worker *w = r->conn->worker;
    int copy = fd >= 0 && what ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
    struct mc_green_waiter *v = new_waiter();
    int rc = v && (copy >= 0 || fd < 0 || what == 0) ? MC_OK : MC_ERROR;
    if (rc == MC_OK && copy >= 0) {
        mc_io_init(&v->io, copy, on_io, v);
        v->io.level = true;
        rc = mc_io_watch(&w->loop, &v->io, what);
    }
    if (rc == MC_OK && copy < 0 && deadline == 0)
        deadline = 1; /* long past: only let the others have a turn */
    if (rc == MC_OK)
        rc = sleep_until(w, v, deadline);
    if (copy >= 0 && v && v->io.registered)
        mc_io_unwatch(&w->loop, &v->io);
    mc_fd_close(&copy);
    if (v)
        free_waiter(w, v);
    PyErr_Clear();
    return rc;
}

/* ---- the end ---- */

unsigned mc_green_busy(void)
{
    return self.nbusy;
}

unsigned mc_green_cut(void)
{
    struct mc_link batch = self.busy, *l;
    if (mc_list_empty(&self.busy))
        return 0;
    batch.next->prev = batch.prev->next = &batch;
    mc_list_init(&self.busy);
    while ((l = mc_list_pop(&batch)) != NULL) {
        struct task *t = mc_container(l, struct task, link);
        mc_list_push(&self.busy, &t->link);
        PyObject *got = t->request ? mc_green_api.send(t->greenlet, mc_green_api.exit, NULL, NULL) : Py_NewRef(Py_None);
        if (!got)
            mc_interp_log("Exception in the greenlet of a request");
        Py_XDECREF(got);
        if (mc_life_forked())
            return 0;
    }
    (void)give_back();
    return self.nbusy;
}

/* ---- stacks ---- */

static PyObject *stack_of(PyObject *greenlet)
{
    PyObject *frame = PyObject_GetAttrString(greenlet, "gr_frame"), *module = frame && frame != Py_None ? PyImport_ImportModule("traceback") : NULL;
    PyObject *lines = module ? PyObject_CallMethod(module, "format_stack", "O", frame) : NULL;
    PyObject *text = lines ? PyUnicode_Join(mc_interp.empty, lines) : NULL;
    Py_XDECREF(lines);
    Py_XDECREF(module);
    Py_XDECREF(frame);
    return text;
}

void mc_green_dump(struct mc_request *r)
{
    for (struct mc_link *l = self.busy.next; l != &self.busy; l = l->next) {
        struct task *t = mc_container(l, struct task, link);
        if (t->request != r)
            continue;
        PyObject *text = stack_of(t->greenlet), *bytes = text ? PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace") : NULL;
        if (bytes)
            mc_error("Its greenlet (most recent call last):\n%s", PyBytes_AsString(bytes));
        PyErr_Clear();
        Py_XDECREF(bytes);
        Py_XDECREF(text);
    }
}

/* ---- start ---- */

static void on_again(struct mc_post *p)
{
    (void)p; /* that there is something to do was all it had to say */
}

/* A pointer to a function in a table of data pointers: the way that ISO C leaves open. */
static void slot(void *const *table, size_t i, void *function)
{
    memcpy(function, &table[i], sizeof(table[i]));
}

int mc_green_init(void)
{
    enum { EXIT = 2, MAKE, CURRENT, SEND, GO }; /* greenlet.h */
    void *const *table = PyCapsule_Import("greenlet._C_API", 0);
    if (!table)
        return MC_ERROR;
    mc_green_api.exit = table[EXIT];
    slot(table, MAKE, &mc_green_api.make);
    slot(table, CURRENT, &mc_green_api.current);
    slot(table, SEND, &mc_green_api.send);
    slot(table, GO, &mc_green_api.go);
    mc_list_init(&self.idle);
    mc_list_init(&self.busy);
    mc_list_init(&self.over);
    mc_list_init(&self.woken);
    mc_post_init(&self.again, on_again, NULL);
    mc_timer_init(&self.trim, on_trim, NULL);
    self.context_name = PyUnicode_InternFromString("gr_context");
    PyObject *module = PyImport_ImportModule("contextvars"), *now = module ? PyObject_CallMethod(module, "copy_context", NULL) : NULL;
    self.context = now ? PyObject_GetAttrString(now, "copy") : NULL;
    Py_XDECREF(now);
    Py_XDECREF(module);
    return self.context && self.context_name ? MC_OK : MC_ERROR;
}
