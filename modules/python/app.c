/* Applications: "module:name", "module", "module:factory('literal')", "module:object.attribute" become a callable, with Gunicorn's rules and
 * words. Finding one is a few lines of Python, so they are Python here; what they raise is sorted into "not found" (exit code 4) and "failed to
 * boot" (3). Called in the zygote (preload, check) and in workers, GIL held. */
#include "modules/python/python.h"
#include "mc_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char source[] =
    "import ast, functools, importlib, inspect, os, sys\n"
    "\n"
    "class AppImportError(Exception):\n"
    "    pass\n"
    "\n"
    "def prepare(argument, *folders):\n"
    "    sys.argv = ['monoceros', argument]\n"
    "    os.environ['SERVER_SOFTWARE'] = 'monoceros/" MC_VERSION "'\n" /* how apps find out what serves them */
    "    folders = list(dict.fromkeys(map(os.path.abspath, folders)))\n"
    "    sys.path[:] = folders + [path for path in sys.path if path not in folders]\n"
    "\n"
    "def load(spec, kind):\n"
    "    name, colon, text = spec.partition(':')\n"
    "    text = text if colon else 'application'\n"
    "    try:\n"
    "        module = importlib.import_module(name)\n"
    "    except ModuleNotFoundError as error:\n"
    "        if not error.name or not (name + '.').startswith(error.name + '.'):\n"
    "            raise\n"
    "        if name.endswith('.py') and os.path.exists(name):\n"
    "            raise AppImportError(f'Failed to find application, did you mean {name[:-3] + \":\" + text!r}?') from None\n"
    "        raise AppImportError(f'Failed to find application: {error} in {os.getcwd()} or sys.path') from None\n"
    "    unclear = f'Failed to parse {text!r} as an attribute name or function call.'\n"
    "    try:\n"
    "        node = ast.parse(text, mode='eval').body\n"
    "    except SyntaxError:\n"
    "        raise AppImportError(unclear) from None\n"
    "    call = node if isinstance(node, ast.Call) else None\n"
    "    node = call.func if call else node\n"
    "    path = []\n"
    "    while isinstance(node, ast.Attribute):\n"
    "        path.append(node.attr)\n"
    "        node = node.value\n"
    "    if not isinstance(node, ast.Name):\n"
    "        raise AppImportError(unclear)\n"
    "    app = module\n"
    "    for part in [node.id, *reversed(path)]:\n"
    "        try:\n"
    "            app = getattr(app, part)\n"
    "        except AttributeError:\n"
    "            raise AppImportError(f'Failed to find attribute {part!r} in {name!r}.') from None\n"
    "    if call:\n"
    "        app = make(app, call, text)\n"
    "    if app is None:\n"
    "        raise AppImportError(f'Failed to find application object: {text!r}')\n"
    "    if kind in ('tornado', 'aiohttp'):\n"
    "        return app if inspect.isawaitable(app) else as_host(app, spec, kind)\n"
    "    if not callable(app):\n"
    "        raise AppImportError('Application object must be callable.')\n"
    "    return (as_asgi if kind == 'asgi' else as_wsgi)(app, spec)\n"
    "\n"
    "def is_async(app):\n"
    "    while isinstance(app, functools.partial):\n"
    "        app = app.func\n"
    "    return inspect.iscoroutinefunction(app) or not inspect.isclass(app) and inspect.iscoroutinefunction(getattr(app, '__call__', None))\n"
    "\n"
    "def as_wsgi(app, spec):\n"
    "    if is_async(app):\n"
    "        raise AppImportError(f'{spec} is an ASGI application: it needs worker_class asgi')\n"
    "    return app\n"
    "\n"
    "def as_asgi(app, spec):\n"
    "    if is_async(app) or takes(app, 3):\n"
    "        return app\n"
    "    if not takes(app, 1):\n"
    "        raise AppImportError(f'{spec} is not an ASGI application; if it is WSGI, it needs worker_class sync or gthread')\n"
    "    async def single(scope, receive, send):\n" /* ASGI 2: app(scope)(receive, send) */
    "        await app(scope)(receive, send)\n"
    "    return single\n"
    "\n"
    "def as_host(app, spec, kind):\n" /* hosts.py calls functions, and looks at what had to be awaited */
    "    try:\n"
    "        if kind == 'tornado':\n"
    "            from tornado.httputil import HTTPServerConnectionDelegate\n"
    "            right, what = isinstance(app, HTTPServerConnectionDelegate), 'a tornado.web.Application'\n"
    "        else:\n"
    "            from aiohttp.web import Application, AppRunner\n"
    "            right = isinstance(app, (Application, AppRunner)) or callable(app) and takes(app, 0)\n"
    "            what = 'an aiohttp.web.Application, nor a function that returns one'\n"
    "    except ModuleNotFoundError as error:\n"
    "        if error.name != kind:\n"
    "            raise\n"
    "        raise AppImportError(f'{spec} is to be a {kind} application, but {kind} is not installed for {sys.executable}') from None\n"
    "    if not right:\n"
    "        raise AppImportError(f'{spec} is not {what}; if it is WSGI, it needs worker_class sync or gthread, if it is ASGI, asgi')\n"
    "    return app\n"
    "\n"
    "def takes(app, n):\n"
    "    try:\n"
    "        inspect.signature(app).bind(*range(n))\n"
    "    except TypeError:\n"
    "        return False\n"
    "    except ValueError:\n" /* it has no signature: it may take anything */
    "        return n in (0, 3)\n"
    "    return True\n"
    "\n"
    "def make(factory, call, text):\n"
    "    try:\n"
    "        args = [ast.literal_eval(arg) for arg in call.args]\n"
    "        kwargs = {word.arg: ast.literal_eval(word.value) for word in call.keywords}\n"
    "    except ValueError:\n"
    "        raise AppImportError(f'Failed to parse arguments as literal values: {text!r}') from None\n"
    "    try:\n"
    "        return factory(*args, **kwargs)\n"
    "    except TypeError as error:\n"
    "        if error.__traceback__.tb_next is None:\n" /* raised by the call itself: wrong arguments */
    "            raise AppImportError(str(error)) from None\n"
    "        raise\n";

static bool dev; /* reload is on */
static PyObject **apps; /* by index of the configuration */
static size_t napps;
static PyObject *loader; /* globals of the text above */

/* Borrowed; NULL with an exception. */
static PyObject *tool(const char *name)
{
    return PyDict_GetItemString(loader, name);
}

int mc_app_init(void)
{
    if (loader)
        return MC_OK;
    PyObject *code = Py_CompileString(source, "<monoceros>", Py_file_input);
    PyObject *globals = code ? PyDict_New() : NULL, *done = NULL;
    if (globals && PyDict_SetItemString(globals, "__builtins__", PyEval_GetBuiltins()) == 0)
        done = PyEval_EvalCode(code, globals, globals);
    Py_XDECREF(code);
    if (!done) {
        Py_XDECREF(globals);
        return MC_ERROR;
    }
    Py_DECREF(done);
    loader = globals;
    return MC_OK;
}

static bool ours(const struct mc_conf_app *app, const struct mc_conf_pool *pool)
{
    return app->pool == pool && (app->type->needs & MC_NEED_PYTHON) != 0;
}

static int append(PyObject *list, const char *text)
{
    PyObject *str = PyUnicode_DecodeFSDefault(text);
    int rc = str ? PyList_Append(list, str) : -1;
    Py_XDECREF(str);
    return rc;
}

/* sys.argv, and sys.path: pythonpath, then where the apps live, then what the interpreter has (Gunicorn's order). */
static int prepare(const struct mc_conf *conf, const struct mc_conf_pool *pool)
{
    PyObject *words = PyList_New(0), *tuple = NULL, *done = NULL;
    int bad = !words;
    for (size_t i = 0; i < conf->napps && !bad; i++) {
        const struct mc_strv *paths = &conf->apps[i].set.pythonpath;
        if (!ours(&conf->apps[i], pool))
            continue;
        bad = PyList_Size(words) == 0 && append(words, conf->apps[i].module) < 0;
        for (size_t k = 0; k < paths->n && !bad; k++)
            bad = append(words, paths->v[k]) < 0;
    }
    for (size_t i = 0; i < conf->napps && !bad; i++) {
        const struct mc_conf_app *app = &conf->apps[i];
        bad = ours(app, pool) && append(words, app->chdir) < 0;
    }
    if (!bad && PyList_Size(words) > 0 && (tuple = PyList_AsTuple(words)))
        done = PyObject_Call(tool("prepare"), tuple, NULL);
    bad = bad || PyErr_Occurred();
    Py_XDECREF(done);
    Py_XDECREF(tuple);
    Py_XDECREF(words);
    return bad ? MC_ERROR : MC_OK;
}

/* Each app is imported in its own directory; the process stays in that of the last one (there is only one, mostly). */
static int load(const struct mc_conf_app *app)
{
    PyObject *spec, *kind;
    if (apps[app->index])
        return MC_OK; /* preloaded */
    if (chdir(app->chdir) != 0) {
        PyErr_SetFromErrnoWithFilename(PyExc_OSError, app->chdir);
        return MC_ERROR;
    }
    spec = PyUnicode_DecodeFSDefault(app->module);
    kind = PyUnicode_FromString(app->type->name);
    apps[app->index] = spec && kind ? PyObject_CallFunctionObjArgs(tool("load"), spec, kind, NULL) : NULL;
    mc_life_check();
    Py_XDECREF(kind);
    Py_XDECREF(spec);
    return apps[app->index] ? MC_OK : MC_ERROR;
}

/* "SyntaxError: invalid syntax (FILE, line N)" with the whole path, which its own text leaves out; NULL: it is of another kind. */
static PyObject *describe_syntax(PyObject *type, PyObject *value)
{
    PyObject *text = NULL;
    if (!PyErr_GivenExceptionMatches(type, PyExc_SyntaxError))
        return NULL;
    PyObject *name = PyObject_GetAttrString(type, "__name__"), *why = PyObject_GetAttrString(value, "msg");
    PyObject *file = PyObject_GetAttrString(value, "filename"), *line = PyObject_GetAttrString(value, "lineno");
    if (name && why && file && line && file != Py_None)
        text = PyUnicode_FromFormat("%U: %S (%S, line %S)", name, why, file, line);
    PyErr_Clear();
    Py_XDECREF(line);
    Py_XDECREF(file);
    Py_XDECREF(why);
    Py_XDECREF(name);
    return text;
}

/* "ModuleNotFoundError: No module named 'x' (FILE, line N)": where it was raised. */
static PyObject *describe(PyObject *type, PyObject *value, PyObject *tb)
{
    PyObject *name = PyObject_GetAttrString(type, "__name__"), *text = NULL, *last = NULL, *next = tb ? Py_NewRef(tb) : NULL;
    while (next && next != Py_None) {
        Py_XDECREF(last);
        last = next;
        next = PyObject_GetAttrString(last, "tb_next");
    }
    PyObject *frame = last ? PyObject_GetAttrString(last, "tb_frame") : NULL, *code = frame ? PyObject_GetAttrString(frame, "f_code") : NULL;
    PyObject *file = code ? PyObject_GetAttrString(code, "co_filename") : NULL, *line = last ? PyObject_GetAttrString(last, "tb_lineno") : NULL;
    text = describe_syntax(type, value);
    if (!text && name && file && line)
        text = PyUnicode_FromFormat("%U: %S (%S, line %S)", name, value, file, line);
    else if (!text && name)
        text = PyUnicode_FromFormat("%U: %S", name, value);
    Py_XDECREF(line);
    Py_XDECREF(file);
    Py_XDECREF(code);
    Py_XDECREF(frame);
    Py_XDECREF(next);
    Py_XDECREF(last);
    Py_XDECREF(name);
    return text;
}

/* One line about the current exception, which stays. */
static void tell(char *out, size_t cap, bool not_found)
{
    PyObject *type, *value, *tb, *text = NULL;
    PyErr_Fetch(&type, &value, &tb);
    PyErr_NormalizeException(&type, &value, &tb);
    if (value)
        text = not_found ? PyObject_Str(value) : describe(type, value, tb);
    PyObject *bytes = text ? PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace") : NULL;
    PyErr_Clear();
    snprintf(out, cap, "%s", bytes ? PyBytes_AsString(bytes) : "the application could not be imported");
    for (char *p = strchr(out, '\n'); p; p = strchr(p, '\n'))
        *p = ' ';
    Py_XDECREF(bytes);
    Py_XDECREF(text);
    PyErr_Restore(type, value, tb);
}

/* Gunicorn's words for a failed boot: one line when the app is not there, else the traceback. */
static int fail(char *err, size_t errcap)
{
    PyObject *error = loader ? tool("AppImportError") : NULL;
    bool not_found = error && PyErr_ExceptionMatches(error);
    tell(err, errcap, not_found);
    if (dev)
        mc_dev_failed(not_found);
    if (not_found) {
        PyErr_Clear();
        mc_error("%s", err);
        return MC_EXIT_APP;
    }
    mc_interp_log("Exception in worker process");
    return MC_EXIT_BOOT;
}

int mc_app_import(const struct mc_conf *conf, const struct mc_conf_pool *pool, char *err, size_t errcap)
{
    dev = conf->set.reload;
    if (!apps) {
        apps = calloc(conf->napps, sizeof(*apps));
        napps = conf->napps;
    }
    if (!apps) {
        PyErr_NoMemory();
        return fail(err, errcap);
    }
    if (mc_app_init() != MC_OK || prepare(conf, pool) != MC_OK)
        return fail(err, errcap);
    for (size_t i = 0; i < conf->napps; i++) {
        if (ours(&conf->apps[i], pool) && load(&conf->apps[i]) != MC_OK)
            return fail(err, errcap);
    }
    return MC_OK;
}

PyObject *mc_app_get(const struct mc_conf_app *app)
{
    MC_ASSERT(app->index < napps && apps[app->index] != NULL);
    return apps[app->index];
}

void mc_app_drop(void)
{
    for (size_t i = 0; i < napps; i++)
        Py_CLEAR(apps[i]);
    free(apps);
    apps = NULL;
    napps = 0;
}
