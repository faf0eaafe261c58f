/* The inside of the Python module: what its files offer each other. Limited API of 3.11 only; everything here is called with the GIL held
 * unless it says otherwise. Functions that return a PyObject * return a new reference, or NULL with a Python exception set. */
#ifndef MC_MODULES_PYTHON_PYTHON_H
#define MC_MODULES_PYTHON_PYTHON_H

#include <Python.h>

#include "core/process/child.h"
#include "core/server/handler.h"
#include "core/server/worker.h"
#include "modules/python/wsgi.h"

/* ---- interp.c: what the interpreter offers beyond the limited API of 3.11, and exceptions ---- */
struct mc_interp {
    /* PyObject_Vectorcall: exported by every 3.11, in the limited API from 3.12 on. */
    PyObject *(*vectorcall)(PyObject *callable, PyObject *const *args, size_t nargs, PyObject *kwnames);
    /* PyContext_Enter, PyContext_Exit: exported by every version. */
    int (*context_enter)(PyObject *context);
    int (*context_exit)(PyObject *context);
    /* PyObject_GetOptionalAttr and its older names: 1 found, 0 not there (no exception), -1 exception. 15 times cheaper than a failed getattr. */
    int (*lookup)(PyObject *o, PyObject *name, PyObject **out);
    PyObject *empty;      /* '' */
    PyObject *close_name; /* 'close' */
    PyTypeObject *input_type, *errors_type, *wrapper_type, *responder_type;
};
extern struct mc_interp mc_interp;

/* Once per process, before anything else here: MC_OK, or MC_ERROR with an exception set. */
int mc_interp_init(void);
/* Log and clear the current exception: `text`, then the traceback, in one record. */
void mc_interp_log(const char *text);
/* The current exception asks the process to end (SystemExit, KeyboardInterrupt). */
bool mc_interp_exiting(void);
/* A heap type of ours without a way to make objects of it from Python (unless `spec` says so). */
PyTypeObject *mc_interp_type(PyType_Spec *spec);
/* Dealloc helper: give memory and type reference back. */
void mc_interp_free(PyObject *o);
/* Py_DECREF as an arena cleanup. */
void mc_interp_release(void *object);
/* Let the GIL go and take it back (this thread must be one that Python knows). enter: take it if this thread has let it go; true: it did. */
void mc_interp_give(void);
void mc_interp_take_back(void);
bool mc_interp_enter(void);
void mc_interp_clear_dropped(void); /* references that were let go without the GIL */
/* Tie a reference to the request's arena (takes it over, also on failure): MC_OK, or MC_ERROR with MemoryError set. */
int mc_interp_hold(struct mc_request *r, PyObject *o);

/* ---- life.c ---- */
/* After each call into the app: a process that the app has forked and that came back here ends, with the current exception's exit code. */
void mc_life_check(void);
bool mc_life_forked(void); /* this is such a process */
/* Between two turns of a loop: signal handlers of the app, and what is looked at now and then. */
void mc_life_look(struct mc_worker *w);

/* ---- extension.c ---- */
/* What ends an interpreter: threads joined, exit functions called, streams flushed. */
MC_NORETURN void mc_extension_leave(int code);

/* ---- app.c: finding and importing applications ---- */
/* In a zygote: what finding them needs of the standard library is imported once for all its workers. MC_OK, or MC_ERROR with an exception. */
int mc_app_init(void);
/* Import all Python apps of the pool that are not imported yet. MC_OK or MC_EXIT_BOOT/MC_EXIT_APP: logged, and one line in err. */
int mc_app_import(const struct mc_conf *conf, const struct mc_conf_pool *pool, char *err, size_t errcap);
PyObject *mc_app_get(const struct mc_conf_app *app); /* borrowed; never NULL after mc_app_import() */
void mc_app_drop(void);

/* ---- dev.c: with `reload` ---- */
/* The current exception, which stays, is why the apps cannot be imported; plain: its text says it all. */
void mc_dev_failed(bool plain);
bool mc_dev_is_failed(void);
/* In place of any app: the page that tells why. Without the GIL, too. As mc_handler_ops.start. */
int mc_dev_answer(struct mc_request *r);
/* Now and then: tell the arbiter of files that were loaded. */
void mc_dev_look(struct mc_worker *w);

/* ---- names.c: header names to environ keys ---- */
struct mc_name {
    PyObject *key;   /* interned 'HTTP_X_Y' */
    PyObject *lower; /* b'x-y' */
    const char *spelling;
    uint32_t n, hash;
    bool underscore; /* the name has a '_': subject to header_map */
    uint64_t stamp;  /* serial of the request that used it last: finds repeated fields */
};
int mc_names_init(void);
/* The entry of a name, learned if there is room; NULL (no exception) when the table is full. */
struct mc_name *mc_names_find(struct mc_str name, uint32_t hash);
/* 'HTTP_X_Y' of any name. */
PyObject *mc_names_key(struct mc_arena *a, struct mc_str name);
/* b'x-y' of any name. */
PyObject *mc_names_lower(struct mc_str name);

/* Of a response field, as the app names it: its name, hash and id, until the next call. NULL (no exception): no token, or too long. */
const struct mc_field *mc_names_said(PyObject *name);

/* Interned str of a common method; NULL (no exception) of others. The first one is mc_names_get. Borrowed. */
PyObject *mc_names_method(struct mc_str method);
extern PyObject *mc_names_get; /* 'GET' */

/* ---- template.c: dicts to be copied for each request ---- */
struct mc_templates {
    /* addr: where the listener is really bound; family: as it was configured. A new dict, or NULL with an exception. */
    PyObject *(*make)(const struct mc_addr *addr, int family, bool https);
    PyObject **own; /* [listener][https] */
    size_t n;
    /* For requests that other pools' workers pass on: by where theirs listen. */
    struct {
        struct mc_addr listen;
        bool https;
        PyObject *dict;
    } passed_on[8];
    unsigned next;
};
int mc_template_init(struct mc_templates *t, const struct mc_worker *w); /* MC_OK, or MC_ERROR with an exception */
void mc_template_fini(struct mc_templates *t);
PyObject *mc_template_find(struct mc_templates *t, const struct mc_request *r); /* borrowed */
/* Name and port of a TCP listener within text, where its address is printed; false: it has none. */
enum { MC_TEMPLATE_TEXT = 160 };
bool mc_template_split(const struct mc_addr *addr, char text[static MC_TEMPLATE_TEXT], const char **name, const char **port);

/* ---- environ.c ---- */
/* A field whose name has a '_', which is the same key as one with a '-' to most apps. MC_OK: let in, and *mount is set when it is SCRIPT_NAME;
 * MC_DECLINED: dropped; or a status. */
int mc_environ_admit(struct mc_request *r, const struct mc_field *f, struct mc_str *mount);
int mc_environ_init(struct mc_worker *w);
void mc_environ_fini(void);
/* The environ of r. input: NULL when the request has no body. NULL with *status > 0: answer that instead (no exception). */
struct mc_calls;
PyObject *mc_environ_new(struct mc_request *r, PyObject *input, const struct mc_calls *calls, int *status);

/* ---- environ_tls.c ---- */
int mc_environ_tls_init(void); /* MC_OK, or MC_ERROR with an exception */
void mc_environ_tls_fini(void);
int mc_environ_tls_set(PyObject *env, const struct mc_request *r); /* 0, or -1 with an exception; nothing for requests without TLS */

/* ---- input.c: wsgi.input ---- */
int mc_input_init(void);
PyObject *mc_input_new(struct mc_request *r);
PyObject *mc_input_none(void);        /* borrowed: the input of every request without a body */
void mc_input_close(PyObject *input); /* the request is over: no more reads */

/* ---- errors.c: wsgi.errors ---- */
int mc_errors_init(void);
PyObject *mc_errors_get(void); /* borrowed: one for the process */
void mc_errors_flush(void);    /* write a last line without a line end */

/* ---- file_wrapper.c: wsgi.file_wrapper ---- */
int mc_file_wrapper_init(void);
static inline bool mc_file_wrapper_check(PyObject *o)
{
    return Py_TYPE(o) == mc_interp.wrapper_type;
}
/* A real file behind it: MC_OK with a reference in *file and what is left of it; MC_DECLINED: iterate; MC_ERROR: exception. */
int mc_file_wrapper_open(PyObject *o, struct mc_file **file, off_t *off, off_t *len);

/* ---- responder.c: start_response, write, early hints, trailers ---- */
/* What a refused field is refused for, as an exception; item: what the app gave. MC_ERROR. */
int mc_responder_refuse(struct mc_str name, struct mc_str value, PyObject *item);
void mc_responder_dropped(struct mc_str name); /* a field of the connection: the server owns framing */
struct mc_responder {
    PyObject_HEAD struct mc_request *r; /* NULL: no request */
    PyObject *write;                    /* borrowed from mc_calls */
    PyObject *list;                     /* the app's header list: it may still change until the head goes out */
    PyObject *trailers;                 /* a list of those that came before the head went out; NULL: none */
    PyObject *taken;                    /* borrowed: what of it was given to the response; held by the request's arena */
    bool called;                        /* start_response() succeeded */
    bool gone;                          /* an exception of ours tells that the client left */
};
/* The functions that one app call gets, bound to one responder. */
struct mc_calls {
    struct mc_calls *next;
    struct mc_responder *self;
    PyObject *start, *write, *hints, *trailers;
};
int mc_responder_init(void);
struct mc_calls *mc_responder_take(struct mc_request *r);
/* The request is over. The functions are used again unless the app has kept one of them. */
void mc_responder_put(struct mc_calls *calls);
/* Before the first body byte: there is a status, and late changes of the list count. MC_OK, or MC_ERROR with an exception. */
int mc_responder_commit(struct mc_responder *self);
/* The client has left: sets ConnectionResetError, and `gone`. */
void mc_responder_lost(struct mc_responder *self);
void mc_responder_fini(void);


/* ---- hooks.c: Gunicorn's hooks and loggers ---- */
extern bool mc_hooks_wanted; /* a hook wants to see each request */
/* In a zygote, before the apps: the loggers, the file of setting hooks. MC_OK, or MC_ERROR with an exception set. */
int mc_hooks_open(const struct mc_conf *conf, const struct mc_conf_pool *pool, pid_t arbiter);
/* In a zygote: what the arbiter says (child.h). What a hook raises is logged. True: on_starting asks to give up. */
bool mc_hooks_tell(enum mc_hook what, uint32_t value, const char *more);
void mc_hooks_before_fork(unsigned age);
/* For texts of ours: write(level, text) to the error log; level as in `logging`. */
PyObject *mc_hooks_write(PyObject *none, PyObject *args);
/* In a worker, in this order. True: the hook asks to give up. */
bool mc_hooks_born(void);
bool mc_hooks_loaded(PyObject *app);
void mc_hooks_interrupted(struct mc_worker *w); /* with or without the GIL */
void mc_hooks_leaving(void);
/* Round a request, while mc_hooks_wanted: the object for the hooks, or NULL with an exception of pre_request; status > 0: we answer that. */
PyObject *mc_hooks_request(struct mc_request *r);
void mc_hooks_answered(struct mc_request *r, PyObject *req, PyObject *env, PyObject *fields, int status);

#endif
