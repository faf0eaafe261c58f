/* How the tasks of requests begin: each is an asyncio.Task whose first step is taken at once, because most requests need no other. From 3.12 on Python
 * offers that (eager_start). In 3.11 we stand where a new task tells its loop and the set of all tasks of itself, take the step in place of the loop,
 * and keep the set's entry at hand: what Python code does there costs more than a small request. Worker side, GIL held. */
#include "modules/python/asgi.h"

static struct {
    PyObject *type, *keywords; /* the task's type, and what it is called with */
    PyObject *done, *self_name, *copy_name, *name_name, *context_name;
    uint64_t serial;
    /* 3.11 */
    PyObject *call_soon; /* the loop's own; NULL: Python takes the first step itself */
    PyObject *add;       /* of the set of all tasks */
    PyObject *all;       /* what it keeps: weak references */
    PyObject *remove;    /* their callback */
    bool armed;          /* a task is being made */
    PyObject *step, *context, *task, *ref; /* what came of it; the task is borrowed, only to be compared */
} self;

/* ---- 3.11: where a new task is announced ---- */

static PyObject *py_call_soon(PyObject *none, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    (void)none;
    if (!self.armed || self.step || nargs != 1 || !kwnames)
        return mc_interp.vectorcall(self.call_soon, args, (size_t)nargs, kwnames);
    self.step = Py_NewRef(args[0]);
    self.context = Py_NewRef(args[1]);
    return Py_NewRef(Py_None);
}

static PyObject *py_add(PyObject *none, PyObject *task)
{
    (void)none;
    if (!self.armed || self.ref)
        return mc_interp.vectorcall(self.add, &task, 1, NULL);
    self.ref = PyWeakref_NewRef(task, self.remove);
    self.task = task;
    return self.ref && PySet_Add(self.all, self.ref) == 0 ? Py_NewRef(Py_None) : NULL;
}

static PyMethodDef def_call_soon = {"call_soon", (PyCFunction)(void (*)(void))py_call_soon, METH_FASTCALL | METH_KEYWORDS, NULL};
static PyMethodDef def_add = {"add", py_add, METH_O, NULL};

/* Objects that the collector finds while a task is made may have announced tasks or callbacks of their own: those are their loop's. */
static bool is_step_of(PyObject *task)
{
    PyObject *owner = NULL;
    bool its = self.step && mc_interp.lookup(self.step, self.self_name, &owner) > 0 && owner == task;
    Py_XDECREF(owner);
    PyErr_Clear();
    return its;
}

static int post_step(void)
{
    PyObject *args[2] = {self.step, self.context}, *names = Py_BuildValue("(s)", "context");
    PyObject *handle = names ? mc_interp.vectorcall(self.call_soon, args, 1, names) : NULL;
    Py_XDECREF(names);
    Py_XDECREF(handle);
    return handle ? MC_OK : MC_ERROR;
}

/* As the loop's handle would: the task catches all but what asks the process to end. */
static int take_step(void)
{
    if (mc_interp.context_enter(self.context) < 0)
        return MC_ERROR;
    PyObject *result = mc_interp.vectorcall(self.step, NULL, 0, NULL);
    PyObject *type, *value, *tb;
    PyErr_Fetch(&type, &value, &tb);
    if (mc_interp.context_exit(self.context) < 0)
        PyErr_Clear();
    PyErr_Restore(type, value, tb);
    Py_XDECREF(result);
    return result ? MC_OK : MC_ERROR;
}

static int announced(PyObject *task)
{
    if (!self.step)
        return MC_OK;
    int rc = is_step_of(task) ? take_step() : post_step();
    Py_CLEAR(self.step);
    Py_CLEAR(self.context);
    return rc;
}

/* Of a task that is over: without a reference to it no callback is called at its end. */
static void forget_entry(PyObject *task, bool over)
{
    if (over && self.task == task && PySet_Discard(self.all, self.ref) < 0)
        PyErr_Clear();
    self.task = NULL;
    Py_CLEAR(self.ref);
}

/* ---- all versions ---- */

static PyObject *name_of_next(void)
{
    char text[32] = "Request-";
    return PyUnicode_DecodeLatin1(text, (Py_ssize_t)(8 + mc_str_u64(text + 8, ++self.serial)), NULL);
}

/* The keyword arguments are the same dict each time: no task keeps it, and it keeps no context. */
static PyObject *make(PyObject *coro, PyObject *context)
{
    PyObject *own = context == Py_None ? Py_NewRef(Py_None) : PyObject_CallMethodObjArgs(context, self.copy_name, NULL);
    PyObject *name = own ? name_of_next() : NULL, *args = name ? PyTuple_Pack(1, coro) : NULL, *task = NULL;
    if (args && PyDict_SetItem(self.keywords, self.name_name, name) == 0 && PyDict_SetItem(self.keywords, self.context_name, own) == 0) {
        self.armed = self.call_soon != NULL;
        task = PyObject_Call(self.type, args, self.keywords);
        self.armed = false;
        if (own != Py_None && PyDict_SetItem(self.keywords, self.context_name, Py_None) < 0)
            PyErr_Clear();
    }
    Py_XDECREF(args);
    Py_XDECREF(name);
    Py_XDECREF(own);
    return task;
}

PyObject *mc_asgi_task(PyObject *coro, PyObject *context, bool *over)
{
    PyObject *task = make(coro, context);
    Py_DECREF(coro);
    int rc = task && self.call_soon ? announced(task) : MC_OK;
    if (!task) {
        Py_CLEAR(self.step);
        Py_CLEAR(self.context);
    }
    PyObject *done = task && rc == MC_OK ? mc_interp.vectorcall(self.done, &task, 1, NULL) : NULL;
    *over = done == Py_True;
    Py_XDECREF(done);
    if (self.ref)
        forget_entry(task, *over);
    if (!done)
        Py_CLEAR(task);
    return task;
}

/* ---- opening ---- */

/* The set is the process's, and there may be a loop after this one. */
static int stand_before_set(PyObject *asyncio)
{
    PyObject *tasks = PyObject_GetAttrString(asyncio, "tasks"), *set = tasks ? PyObject_GetAttrString(tasks, "_all_tasks") : NULL;
    Py_XDECREF(tasks);
    if (!set)
        return MC_ERROR;
    self.add = PyObject_GetAttrString(set, "add");
    self.all = PyObject_GetAttrString(set, "data");
    self.remove = PyObject_GetAttrString(set, "_remove");
    PyObject *add = PyCFunction_New(&def_add, NULL);
    bool bad = !self.add || !self.all || !self.remove || !add || PyObject_SetAttrString(set, "add", add) < 0;
    Py_XDECREF(add);
    Py_DECREF(set);
    return bad ? MC_ERROR : MC_OK;
}

static int stand_between(PyObject *asyncio, PyObject *loop)
{
    PyObject *call_soon = PyCFunction_New(&def_call_soon, NULL);
    self.call_soon = PyObject_GetAttrString(loop, "call_soon");
    bool bad = !self.call_soon || !call_soon || PyObject_SetAttrString(loop, "call_soon", call_soon) < 0 || (!self.add && stand_before_set(asyncio) != MC_OK);
    Py_XDECREF(call_soon);
    return bad ? MC_ERROR : MC_OK;
}

int mc_asgi_task_init(PyObject *loop)
{
    bool eager = Py_Version >= 0x030c0000;
    PyObject *asyncio = PyImport_ImportModule("asyncio");
    if (!asyncio)
        return MC_ERROR;
    self.type = PyObject_GetAttrString(asyncio, "Task");
    self.done = self.type ? PyObject_GetAttrString(self.type, "done") : NULL;
    self.self_name = PyUnicode_InternFromString("__self__");
    self.copy_name = PyUnicode_InternFromString("copy");
    self.name_name = PyUnicode_InternFromString("name");
    self.context_name = PyUnicode_InternFromString("context");
    self.keywords = Py_BuildValue("{s:O}", "loop", loop);
    int rc = self.keywords && !PyErr_Occurred() ? MC_OK : MC_ERROR;
    if (rc == MC_OK)
        rc = eager ? PyDict_SetItemString(self.keywords, "eager_start", Py_True) : stand_between(asyncio, loop);
    Py_DECREF(asyncio);
    return rc;
}
