/* The inside of ASGI 3.0: the worker's event loop of Python, and what the requests of such apps are made of. As python.h: limited API, GIL held, new
 * references. */
#ifndef MC_MODULES_PYTHON_ASGI_H
#define MC_MODULES_PYTHON_ASGI_H

#include "core/server/websocket.h"
#include "modules/python/python.h"

/* What an ASGI app is in this worker. */
struct mc_asgi_app {
    PyObject *call;    /* the app; borrowed of app.c; NULL: not of this type, or not of this pool */
    PyObject *state;   /* dict of its lifespan; each request gets a copy */
    PyObject *context; /* what its startup left for requests, or None */
    int64_t grace;     /* ms between a client's end and the cancellation of its task */
};

/* What send() takes next. */
enum mc_asgi_next { MC_ASGI_START, MC_ASGI_BODY, MC_ASGI_TRAILERS, MC_ASGI_OVER, MC_ASGI_WS_CONNECT, MC_ASGI_WS_OPEN };

/* A request and the task that answers it; either may be over before the other. receive() and send() are its methods. */
struct mc_exchange {
    PyObject_HEAD struct mc_request *r; /* NULL: the request is over */
    const struct mc_asgi_app *app;
    struct mc_link link;      /* with all others whose task runs, which hold a reference */
    struct mc_link waiters;   /* receive() and send() that wait */
    PyObject *task;
    PyObject *target;         /* bytes, for the log */
    struct mc_timer grace;
    uint8_t next;             /* enum mc_asgi_next */
    bool trailers;            /* the response announced some */
    bool taken;               /* receive() has given the whole body; or that a WebSocket is asked for */
    bool websocket;
    bool lost;                /* the client left before the response was complete */
    bool behind;              /* counted in mc_worker.nbehind */
    struct mc_ws *ws;         /* once it is accepted, until the request is over */
    unsigned code;            /* of its end; 0: not known yet */
    PyObject *reason;         /* str, or NULL */
};

/* ---- asgi_apps.c ---- */
/* Before the apps are imported: when one of the pool is of this kind, make the loop, which is theirs from then on. MC_OK or an exit code (logged). */
int mc_asgi_prepare(struct mc_worker *w);
/* Behind the import: run the startups. MC_OK or an exit code (logged). */
int mc_asgi_open(struct mc_worker *w);
/* At the worker's end, when its connections are closed: cancel, shut down, within what is left of the worker's time. Also when the import has failed and
 * the worker shall live. */
void mc_asgi_close(struct mc_worker *w);
const struct mc_asgi_app *mc_asgi_app(const struct mc_conf_app *app);

/* ---- asgi_loop.c ---- */
/* more: text of Python to be run among the names of asgi.py, or NULL. MC_OK, or MC_ERROR with an exception. */
int mc_asgi_loop_open(struct mc_worker *w, const char *more);
bool mc_asgi_loop_is_open(void);
void mc_asgi_loop_serve(void); /* it will drive the worker */
void mc_asgi_loop_leave(void); /* no more clients: only what the apps have left is run */
void mc_asgi_loop_close(void);
PyObject *mc_asgi_tool(const char *name); /* of asgi.py; borrowed */
/* A future of the loop, ready to be given to whoever awaits: its task waits until mc_asgi_wake(). */
PyObject *mc_asgi_future(void);
void mc_asgi_wake(PyObject *future); /* nothing when it is done or cancelled */
/* r's connection has something to do, or posts were set by Python's side: our loop turns soon. In one of its turns, nothing. */
void mc_asgi_touch(struct mc_request *r);
/* The same behind output, of which nothing may be left to do. */
void mc_asgi_wrote(struct mc_request *r);

/* ---- asgi_task.c ---- */
int mc_asgi_task_init(PyObject *loop); /* MC_OK, or MC_ERROR with an exception */
/* The task of a coroutine (taken over), whose first step has been taken, and whether it was the last one. context: None, or what a copy of is the task's.
 * Only where no task runs: in a turn of our loop. */
PyObject *mc_asgi_task(PyObject *coro, PyObject *context, bool *over);

/* ---- asgi_scope.c ---- */
int mc_scope_init(const struct mc_worker *w); /* MC_OK, or MC_ERROR with an exception */
void mc_scope_fini(void);
/* The scope of r, and its raw_path. NULL with *status > 0: answer that instead (no exception). */
PyObject *mc_scope_new(struct mc_request *r, const struct mc_asgi_app *app, bool websocket, PyObject **raw, int *status);

/* ---- asgi_wait.c: what receive() and send() return ---- */
int mc_asgi_wait_init(void);
PyObject *mc_asgi_done(void);                     /* it is done already; one for all */
PyObject *mc_asgi_receive(struct mc_exchange *x); /* the next event, when there is one */
/* Until the client has caught up. message (may be NULL): is to be sent then. */
PyObject *mc_asgi_pause(struct mc_exchange *x, PyObject *message);
void mc_asgi_news(struct mc_exchange *x); /* all who wait look again */

/* ---- asgi_send.c ---- */
int mc_asgi_send_init(void);
/* MC_OK; MC_AGAIN: taken, but nothing more before there is room; MC_BUSY: not taken for that reason; MC_ERROR with an exception. */
enum { MC_BUSY = -5 };
int mc_asgi_send(struct mc_exchange *x, PyObject *message);

/* Each pair of bytes of an app's headers to fn, held by r. As for mc_response_field(): MC_DECLINED is told in the log, MC_ERROR becomes an exception. */
int mc_asgi_fields(struct mc_request *r, PyObject *headers, int (*fn)(struct mc_request *, struct mc_str, struct mc_str));

/* ---- asgi_ws.c ---- */
int mc_asgi_ws_init(void);
PyObject *mc_asgi_ws_event(struct mc_exchange *x); /* for receive(); NULL without an exception: none yet */
/* Messages; returns as mc_asgi_send(). */
int mc_asgi_ws_accept(struct mc_exchange *x, PyObject *message);
int mc_asgi_ws_send(struct mc_exchange *x, PyObject *message);
int mc_asgi_ws_close(struct mc_exchange *x, PyObject *message);
int mc_asgi_ws_resume(struct mc_exchange *x, enum mc_resume why);
void mc_asgi_ws_note(struct mc_exchange *x);              /* keep how it ended: its memory is about to go */
void mc_asgi_ws_over(struct mc_exchange *x, bool failed); /* the app has ended and left it open */

/* ---- asgi.c ---- */
int mc_asgi_init(void);
PyObject *mc_asgi_tasks(void); /* set of those that still run */
void mc_asgi_forget(void);     /* the rest of them will never end */
/* The client has left: sets ConnectionResetError. */
void mc_asgi_lost(void);

#endif
