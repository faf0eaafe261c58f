/* Native apps: what the files of this module know of each other. app.h is what apps see. */
#ifndef MC_NATIVE_NATIVE_H
#define MC_NATIVE_NATIVE_H

#include "core/server/conn.h"
#include "core/server/websocket.h"
#include "modules/handler/native/app.h"

/* An app in this worker. */
struct mc_native {
    struct monoceros_worker worker; /* what the app sees */
    const struct mc_conf_app *conf;
    const struct monoceros_app *app;
    bool ready;            /* init() was fine */
    struct mc_link timers;
};

/* A request of an app, in the request's arena. */
struct mc_native_call {
    struct monoceros_request request; /* what the app sees */
    struct mc_request *r;
    struct mc_native *native;
    bool inside; /* in a callback for this request: the connection is looked at afterwards anyway */
    struct mc_ws *ws;  /* once it is accepted */
    bool ws_over;      /* the app has closed it, or knows that it is closed: it is not called any more */
    unsigned together; /* in so many mc_native_together(): the response is nobody's meanwhile */
};

static inline struct mc_native *mc_native_of(struct monoceros_worker *w) { return mc_container(w, struct mc_native, worker); }
static inline struct mc_native_call *mc_native_call(struct monoceros_request *q) { return mc_container(q, struct mc_native_call, request); }
static inline bool mc_native_blocking(const struct mc_native *n) { return n->app->kind == MONOCEROS_BLOCKING; }

/* ---- native.c ---- */
/* mc_app_type.load of shared libraries and of linked apps. */
int mc_native_load(const struct mc_conf_app *conf, const struct mc_handler_ops **ops);
/* For the report of a crash: what the app is called for on the loop (r or `what`), until it has returned. */
void mc_native_note(const struct mc_request *r, const struct mc_native *n, const char *what);
void mc_native_noted(void);

/* ---- load.c ---- */
/* Find and check the app of a configuration. MC_OK, or an exit code (logged). */
int mc_native_find(const struct mc_conf_app *conf, const struct monoceros_app **app);

/* ---- api.c ---- */
extern const struct monoceros_api mc_native_api;

/* ---- wait.c: of monoceros_api ---- */
int mc_native_wait(struct monoceros_request *q, int fd, unsigned what, int64_t ms);
int mc_native_connect(struct monoceros_request *q, const struct sockaddr *to, socklen_t n, int64_t ms);
ssize_t mc_native_recv(struct monoceros_request *q, int fd, void *p, size_t n, int64_t ms);
int mc_native_send(struct monoceros_request *q, int fd, const void *p, size_t n, int64_t ms);
int mc_native_together(struct monoceros_request *q, void (*fn)(void *data), void *const *data, size_t n);

/* ---- ws.c: of monoceros_api ---- */
int mc_native_ws_asked(struct monoceros_request *q);
int mc_native_ws_accept(struct monoceros_request *q, const char *subprotocol, const struct monoceros_field *fields, size_t n);
int mc_native_ws_read(struct monoceros_request *q, struct monoceros_message *message);
int mc_native_ws_send(struct monoceros_request *q, bool text, const void *p, size_t n);
int mc_native_ws_close(struct monoceros_request *q, int code, const char *reason);
/* What the app returned from a callback of such a request: what the server is to hear. */
int mc_native_ws_result(struct mc_native_call *c, int rc);

/* ---- loop.c: of monoceros_api, and its start and end in a worker ---- */
int mc_native_loop_open(struct mc_worker *w);
void mc_native_loop_close(struct mc_worker *w);
void mc_native_drop_timers(struct mc_native *n);
struct monoceros_timer *mc_native_timer_new(struct monoceros_worker *worker, void (*fn)(void *data), void *data);
int mc_native_timer_set(struct monoceros_timer *timer, int64_t ms);
void mc_native_timer_clear(struct monoceros_timer *timer);
void mc_native_timer_free(struct monoceros_timer *timer);
int mc_native_post(struct monoceros_worker *worker, void (*fn)(void *data), void *data);

#endif
