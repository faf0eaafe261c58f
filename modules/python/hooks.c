/* Gunicorn's hooks and loggers, the C side of hooks.py: runs its text once in a zygote, then calls its functions by name. Everything is NULL where
 * there is no hooks file; then only the loggers exist. Zygote and workers, GIL held. */
#include "modules/python/python.h"
#include "core/config/gunicorn.h"
#include "core/http/status.h"
#include "core/process/child.h"
#include "core/server/conn.h"
#include "core/server/proxied.h"

#include "modules/python/hooks.py.h"

#include <signal.h>
#include <stdio.h>

bool mc_hooks_wanted;

static PyObject *names; /* of hooks.py */
static bool any;        /* there is a hooks file */

/* ---- what hooks.py gets from us ---- */

PyObject *mc_hooks_write(PyObject *self, PyObject *args)
{
    long level = PyLong_AsLong(PyTuple_GetItem(args, 0));
    PyObject *text = PyTuple_GetItem(args, 1), *bytes = NULL;
    (void)self;
    if (text && !PyErr_Occurred())
        bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
    if (!bytes)
        return NULL;
    enum mc_log_level l = level >= 50   ? MC_LOG_CRITICAL
                          : level >= 40 ? MC_LOG_ERROR
                          : level >= 30 ? MC_LOG_WARNING
                          : level >= 20 ? MC_LOG_INFO
                                        : MC_LOG_DEBUG;
    if (mc_log_on(l))
        mc_log_line(l, "%s", PyBytes_AsString(bytes));
    Py_DECREF(bytes);
    return Py_NewRef(Py_None);
}

static PyObject *py_requests(PyObject *self, PyObject *none)
{
    (void)self;
    (void)none;
    return PyLong_FromUnsignedLongLong(mc_worker_current ? mc_slot_get(mc_worker_current->slot->requests) : 0);
}

static PyObject *py_log_fd(PyObject *self, PyObject *none)
{
    (void)self;
    (void)none;
    return PyLong_FromLong(mc_log_fd());
}

static PyObject *py_fatal(PyObject *self, PyObject *none)
{
    (void)self;
    (void)none;
    signal(SIGABRT, SIG_DFL);
    raise(SIGABRT);
    return Py_NewRef(Py_None);
}

static PyMethodDef tools[] = {
    {"write", mc_hooks_write, METH_VARARGS, NULL},
    {"requests", py_requests, METH_NOARGS, NULL},
    {"log_fd", py_log_fd, METH_NOARGS, NULL},
    {"fatal", py_fatal, METH_NOARGS, NULL},
};

/* Takes the reference; NULL is an exception of the caller's making. */
static int put(PyObject *dict, const char *key, PyObject *value)
{
    int rc = value ? PyDict_SetItemString(dict, key, value) : -1;
    Py_XDECREF(value);
    return rc;
}

/* The names that a text of ours makes. */
static PyObject *run_text(const char *source, const char *filename, bool with_tools)
{
    PyObject *code = Py_CompileString(source, filename, Py_file_input), *dict = code ? PyDict_New() : NULL, *done = NULL;
    int bad = !dict || PyDict_SetItemString(dict, "__builtins__", PyEval_GetBuiltins()) < 0 ||
              put(dict, "__name__", PyUnicode_FromString("monoceros")) < 0;
    for (size_t i = 0; i < MC_COUNT(tools) && with_tools && !bad; i++)
        bad = put(dict, tools[i].ml_name, PyCFunction_New(&tools[i], NULL)) < 0;
    if (!bad)
        done = PyEval_EvalCode(code, dict, dict);
    Py_XDECREF(code);
    if (!done)
        Py_CLEAR(dict);
    Py_XDECREF(done);
    return dict;
}

/* ---- settings as Python knows them ---- */

static PyObject *string(const char *z)
{
    return z ? PyUnicode_DecodeFSDefault(z) : Py_NewRef(Py_None);
}

static PyObject *list_of(const struct mc_strv *words)
{
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < words->n; i++) {
        PyObject *item = string(words->v[i]);
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

static PyObject *value_of(const struct mc_setting *s, const struct mc_values *set)
{
    const void *p = (const char *)set + s->offset;
    if (s->type == MC_SET_BOOL)
        return PyBool_FromLong(*(const bool *)p);
    if (s->type == MC_SET_STRING)
        return string(*(const char *const *)p);
    if (s->type == MC_SET_LIST)
        return list_of(p);
    int64_t n = *(const int64_t *)p;
    if (s->flags & MC_SETF_UNSET && n < 0)
        return Py_NewRef(Py_None);
    if (s->type == MC_SET_DURATION)
        return n % 1000 ? PyFloat_FromDouble((double)n / 1000) : PyLong_FromLongLong(n / 1000);
    return PyLong_FromLongLong(n);
}

static PyObject *bind_of(const struct mc_conf *conf)
{
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < conf->nlistens && !conf->listens[i].hop; i++) { /* those between pools are nobody's to know; they come last */
        PyObject *item = string(conf->listens[i].text);
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

static PyObject *settings_of(const struct mc_conf *conf, const struct mc_conf_pool *pool)
{
    PyObject *dict = PyDict_New();
    for (const struct mc_setting *s = mc_settings; dict && s->name; s = mc_setting_next(s)) {
        if (s->flags & (MC_SETF_IGNORED | MC_SETF_REFUSED) || s->where == MC_AT_CLI || s->offset == offsetof(struct mc_values, wsgi_app))
            continue;
        if (put(dict, s->name, value_of(s, &pool->set)) < 0)
            Py_CLEAR(dict);
    }
    if (dict && put(dict, "bind", bind_of(conf)) < 0)
        Py_CLEAR(dict);
    for (size_t i = 0; dict && i < conf->napps; i++) {
        if (conf->apps[i].pool == pool && put(dict, "wsgi_app", string(conf->apps[i].module)) < 0)
            Py_CLEAR(dict);
    }
    return dict;
}

/* ---- calls ---- */

/* Function of hooks.py; takes the reference to args (NULL: an exception of the caller's making). NULL with an exception. */
static PyObject *call(const char *name, PyObject *args)
{
    PyObject *function = PyDict_GetItemString(names, name); /* borrowed */
    PyObject *done = args && function ? PyObject_Call(function, args, NULL) : NULL;
    mc_life_check();
    Py_XDECREF(args);
    return done;
}

/* The same for those that catch what hooks raise: what comes here is ours, and logged. Whether they said yes. */
static bool ask(const char *name, PyObject *args)
{
    PyObject *done = call(name, args);
    if (!done)
        mc_interp_log("Exception while a hook was called");
    bool yes = done == Py_True;
    Py_XDECREF(done);
    return yes;
}

static bool has(const char *hook)
{
    PyObject *hooks = PyDict_GetItemString(names, "hooks");
    return hooks && PyDict_GetItemString(hooks, hook);
}

int mc_hooks_open(const struct mc_conf *conf, const struct mc_conf_pool *pool, pid_t arbiter)
{
    PyObject *reader = run_text(mc_gunicorn_text, "<monoceros settings>", false), *settings = NULL, *done = NULL;
    any = conf->set.hooks != NULL;
    names = reader ? run_text(embedded, "<monoceros hooks>", true) : NULL;
    settings = names ? settings_of(conf, pool) : NULL;
    if (settings)
        done = call("setup", Py_BuildValue("(OONl)", reader, settings, string(conf->set.hooks), (long)arbiter));
    Py_XDECREF(settings);
    Py_XDECREF(reader);
    if (!done)
        return MC_ERROR;
    Py_DECREF(done);
    mc_hooks_wanted = has("pre_request") || has("post_request");
    return MC_OK;
}

bool mc_hooks_tell(enum mc_hook what, uint32_t value, const char *more)
{
    static const char *const words[] = {
        [MC_HOOK_STARTING] = "on_starting", [MC_HOOK_READY] = "when_ready",  [MC_HOOK_BORN] = "born",       [MC_HOOK_CHILD_EXIT] = "child_exit",
        [MC_HOOK_GONE] = "gone", [MC_HOOK_NWORKERS] = "nworkers_changed", [MC_HOOK_RELOAD] = "on_reload", [MC_HOOK_EXIT] = "on_exit", [MC_HOOK_PRE_EXEC] = "pre_exec",
    };
    return any && (size_t)what < MC_COUNT(words) && ask("tell", Py_BuildValue("(sks)", words[what], (unsigned long)value, more));
}

void mc_hooks_before_fork(unsigned age)
{
    if (any)
        (void)ask("before_fork", Py_BuildValue("(I)", age));
}

/* ---- in a worker ---- */

bool mc_hooks_born(void)
{
    return any && (ask("born", PyTuple_New(0)) || ask("watch_abort", PyTuple_New(0)));
}

bool mc_hooks_loaded(PyObject *app)
{
    return any && ask("loaded", PyTuple_Pack(1, app ? app : Py_None));
}

void mc_hooks_interrupted(struct mc_worker *w)
{
    bool entered = any && mc_interp_enter();
    (void)w;
    if (any)
        (void)ask("interrupted", PyTuple_New(0));
    if (entered)
        mc_interp_give();
}

void mc_hooks_leaving(void)
{
    if (any)
        (void)ask("leaving", PyTuple_New(0));
    any = mc_hooks_wanted = false;
}

static PyObject *latin1(struct mc_str s)
{
    return PyUnicode_DecodeLatin1(s.p ? s.p : "", (Py_ssize_t)s.n, NULL);
}

/* [('HOST', 'x'), …] */
static PyObject *headers_of(const struct mc_request *r)
{
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list && i < r->head.fields.n; i++) {
        PyObject *name = latin1(r->head.fields.v[i].name), *upper = name ? PyObject_CallMethod(name, "upper", NULL) : NULL;
        PyObject *item = upper ? Py_BuildValue("(NN)", upper, latin1(r->head.fields.v[i].value)) : NULL;
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
        Py_XDECREF(name);
    }
    return list;
}

static PyObject *peer_of(struct mc_request *r)
{
    if (r->client->family == AF_UNIX)
        return PyUnicode_FromString("");
    return Py_BuildValue("(Ni)", latin1(mc_request_client(r)), (int)mc_sockaddr_port(r->client));
}

PyObject *mc_hooks_request(struct mc_request *r)
{
    struct mc_str target = r->head.target, path = target;
    const char *mark = target.n ? memchr(target.p, '?', target.n) : NULL;
    if (mark)
        path.n = (size_t)(mark - path.p);
    return call("before_request", Py_BuildValue("(NNNNiNNs)", latin1(r->head.method), latin1(target), latin1(path), latin1(r->uri.query),
                                                (int)r->head.version, headers_of(r), peer_of(r), r->https ? "https" : "http"));
}

void mc_hooks_answered(struct mc_request *r, PyObject *req, PyObject *env, PyObject *fields, int status)
{
    char line[160];
    struct mc_str reason = r->resp.reason;
    bool answered = status <= 0; /* by the app */
    if (answered) {
        status = r->resp.status;
        reason = reason.n ? reason : mc_status_reason(status);
    } else {
        reason = mc_status_reason(status);
    }
    snprintf(line, sizeof(line), "%d %.*s", status, (int)(reason.n < 128 ? reason.n : 128), reason.p ? reason.p : "");
    PyObject *list = fields ? PySequence_List(fields) : PyList_New(0);
    (void)ask("after_request", Py_BuildValue("(OONNLN)", req, env, latin1(mc_str(line)), list, (long long)r->resp.sent, PyBool_FromLong(answered)));
}
