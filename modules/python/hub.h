/* The inside of gevent's and eventlet's workers: their hub turns the worker's loop, and each request runs in a greenlet. As python.h: limited API, GIL
 * held. What lies on the C stack is not to be pointed to from elsewhere: a greenlet's part of it is moved away while another one runs. */
#ifndef MC_MODULES_PYTHON_HUB_H
#define MC_MODULES_PYTHON_HUB_H

#include "modules/python/python.h"

/* What greenlet offers to C; filled in by mc_green_init(). */
struct mc_green_api {
    PyObject *(*make)(PyObject *run, PyObject *parent);
    PyObject *(*current)(void);
    PyObject *(*send)(PyObject *greenlet, PyObject *type, PyObject *value, PyObject *tb); /* throw() */
    PyObject *(*go)(PyObject *greenlet, PyObject *args, PyObject *kwargs);                /* switch() */
    PyObject *exit; /* GreenletExit; borrowed */
};
extern struct mc_green_api mc_green_api;

/* ---- hub.c ---- */
extern const struct mc_worker_ops mc_hub_ops;
/* The pool has a hub: patch the standard library, before anything of the app is imported. Once a process. MC_OK, or MC_ERROR with an exception. */
int mc_hub_patch(const struct mc_conf_pool *pool);
/* First thing in a worker: what the zygote has patched is made fit for this process; or as above. */
int mc_hub_enter(const struct mc_conf_pool *pool);
/* Behind the import of the apps: the hub executes the requests of this worker from now on. MC_OK, or MC_ERROR with an exception. */
int mc_hub_open(struct mc_worker *w);
PyObject *mc_hub_greenlet(void); /* borrowed */
/* From outside of a turn: the worker's loop has something to do, or a timer that may be the next one; it turns in time. */
void mc_hub_touch(void);
/* The current exception ends a greenlet without being an error. */
bool mc_hub_killed(void);

/* ---- green.c: requests in greenlets ---- */
int mc_green_init(void); /* MC_OK, or MC_ERROR with an exception */
/* On the hub, in a turn: go on with whom the loop has woken, begin what is ready, give back what has ended. False: this is a process that an app has
 * forked, and nothing here is its own. */
bool mc_green_run(struct mc_worker *w);
/* On the hub: fn(w) in a greenlet, so that it may wait. */
void mc_green_call(struct mc_worker *w, void (*fn)(struct mc_worker *));
/* On the hub: end those at work. How many are left then: those that go on nevertheless. */
unsigned mc_green_cut(void);
unsigned mc_green_busy(void);
void mc_green_news(struct mc_request *r); /* mc_worker_ops.wake: from a greenlet, the loop has something to do */
int mc_green_wait(struct mc_request *r, unsigned what, uint64_t deadline);                /* mc_worker_ops.wait */
int mc_green_wait_fd(struct mc_request *r, int fd, unsigned what, uint64_t deadline);     /* .wait_fd */
/* From a greenlet: until mc_green_wake(*place), which is set meanwhile (not on a C stack!), or the deadline (ms; 0: none). MC_OK, MC_AGAIN (deadline), or
 * MC_ERROR: the worker stops, or an exception was thrown in, which is set then. */
struct mc_green_waiter;
int mc_green_sleep(struct mc_worker *w, struct mc_green_waiter **place, uint64_t deadline);
void mc_green_wake(struct mc_green_waiter *v); /* on the loop */
void mc_green_dump(struct mc_request *r); /* its Python stack, to the error log */

/* ---- socket.c: monoceros.socket ---- */
int mc_socket_init(void); /* MC_OK, or MC_ERROR with an exception */
/* For a request that asks for an upgrade: the client's connection as a socket, in the environ. NULL with an exception. */
PyObject *mc_socket_new(struct mc_request *r, PyObject *env);
bool mc_socket_used(PyObject *socket); /* the response went that way */
/* The app has returned: the socket is closed, whoever waits there gets OSError; ends the response if it went that way. */
void mc_socket_end(PyObject *socket);

#endif
