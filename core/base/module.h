/* How a module plugs in: one constant a module, gathered by configure into objs/modules.c. The operations are declared by the
 * layer that calls them (event, http, server); here they are only names, so that every layer may see the table. */
#ifndef MC_BASE_MODULE_H
#define MC_BASE_MODULE_H

#include "core/base/base.h"

#define MC_MODULE_ABI 1

enum mc_module_kind {
    MC_MODULE_WORKER,
    MC_MODULE_EVENT,
    MC_MODULE_TRANSPORT,
    MC_MODULE_PROTOCOL,
    MC_MODULE_HANDLER,
    MC_MODULE_FILTER,
    MC_MODULE_LOG,
    MC_MODULE_RESOLVER,
    MC_MODULE_CODING,
};

struct mc_setting;       /* core/config/setting.h */
struct mc_event_ops;     /* core/event/loop.h */
struct mc_worker_ops;    /* core/server/worker.h */
struct mc_transport_ops; /* core/server/transport.h */
struct mc_protocol_ops;  /* core/http/protocol.h */
struct mc_handler_ops;   /* core/server/handler.h */
struct mc_filter_ops;    /* core/server/filter.h */
struct mc_log_ops;       /* core/server/sinks.h */
struct mc_resolver_ops;  /* core/server/resolver.h */
struct mc_coding_ops;    /* core/server/coding.h */
struct mc_worker;        /* core/server/worker.h */
struct mc_conf;          /* core/config/conf.h */
struct mc_conf_app;

struct mc_conf_section;  /* core/config/conf.h */
struct mc_conf_where;
struct mc_gather;        /* core/config/secrets.h */
struct mc_secrets;

/* A section of the file that a module owns, such as `upstream "x" { … }`. Of an untitled one there is at most one in its place; titled ones repeat. */
struct mc_section {
    const char *name;
    bool titled;
    unsigned where;                           /* MC_AT_MAIN, MC_AT_SERVER, MC_AT_ROUTE; 0: only as another section's inner one */
    const struct mc_setting *settings;        /* offsets into a struct of `size` bytes: zeroed, defaults applied, then the file */
    size_t size;
    const struct mc_section *const *inner;    /* NULL-terminated; or NULL */
    /* Called when everything is read, outer sections and earlier ones first: check, and compile into the struct (memory of conf->arena). In the arbiter
     * and again in each child (image: the text is normal form; open no file, ask nobody). MC_OK, or MC_ERROR with err filled. */
    int (*check)(struct mc_conf *conf, struct mc_conf_section *s, bool image, char *err, size_t errcap);
    const char *doc; /* one line for the manual; or NULL */
};

/* What an app type or an action asks of the process that runs it. */
enum {
    MC_NEED_BLOCKING = 1, /* its handler may block: executed by the worker module */
    MC_NEED_PYTHON = 2,   /* lives in _monoceros.abi3.so: the pool gets a zygote */
    MC_NEED_ITS_LOOP = 4, /* has an event loop of its own, which turns the worker's (mc_worker.drive) */
};

/* A kind of app: `app "x" { type = wsgi … }`. ops is NULL in the product that cannot run it. */
struct mc_app_type {
    const char *name;
    unsigned needs; /* of every app of the type */
    const struct mc_handler_ops *ops;
    /* Types whose apps differ in how they are handled: find the app and tell. Called once an app in each worker of its pool, before any app is
     * initialised, and in a child of its own for --check-config. MC_OK with *ops set, or a positive exit code (MC_EXIT_*, logged). */
    int (*load)(const struct mc_conf_app *app, const struct mc_handler_ops **ops);
    const void *linked; /* load's: the app itself, when it is part of the program; it needs no `module` then */
};

struct mc_module {
    uint32_t abi;  /* MC_MODULE_ABI */
    uint32_t size; /* sizeof(struct mc_module) */
    const char *name;
    enum mc_module_kind kind;
    /* Handler modules that are an action of routes: `route { NAME { settings } }`; conf_size is the size of the struct that the
     * settings' offsets point into (zeroed, then defaults applied, then the file). Both 0/NULL when the module has no action. */
    const struct mc_setting *settings; /* ends with name == NULL */
    size_t conf_size;
    int (*check_conf)(const struct mc_conf *conf, void *action, char *err, size_t errcap); /* MC_OK, or MC_ERROR with err filled */
    const struct mc_section *const *sections; /* NULL-terminated; or NULL */
    union {
        const struct mc_event_ops *event;
        const struct mc_worker_ops *worker;
        const struct mc_transport_ops *transport;
        const struct mc_protocol_ops *protocol;
        const struct mc_handler_ops *handler; /* of the action */
        const struct mc_filter_ops *filter;
        const struct mc_log_ops *log;
        const struct mc_resolver_ops *resolver;
        const struct mc_coding_ops *coding;
    } ops;
    const struct mc_app_type *apps; /* ends with name == NULL; or NULL */
    const char *(*version)(void);   /* versions of libraries for -V ("OpenSSL 3.0.22"), or NULL */
    unsigned takes; /* worker modules: the MC_NEED_* of apps that they can run */
    /* When the whole configuration is read, behind all checks of sections; may fill it up. *at says where the error is. As mc_section.check. */
    int (*check_all)(struct mc_conf *conf, bool image, struct mc_conf_where *at, char *err, size_t errcap);
    /* In the arbiter: read the secrets of a pool's workers, at the start, on HUP and when a watched file has changed. MC_OK, or MC_ERROR with err
     * (later than the start, the workers keep what they have). */
    int (*gather)(struct mc_gather *g);
    /* In a short-lived child of the arbiter, when gather() has put something into `ask`: find out, and put answers into `out`, which the next gather() has
     * in `old`. May wait for its peers. MC_OK, or MC_ERROR (logged): not all is there. */
    int (*fetch)(struct mc_gather *g);
    /* In a worker, before it is ready and whenever there are others: take the secrets into use. MC_OK, or MC_ERROR (logged; nothing has changed). */
    int (*adopt)(struct mc_worker *w, const struct mc_secrets *s);
    int (*init_worker)(struct mc_worker *w);  /* after privileges are dropped, before ready: MC_OK or MC_ERROR (logged) */
    void (*exit_worker)(struct mc_worker *w);
    const char *doc; /* of the action: one line for the manual; or NULL */
};

/* A module of the tree that this build left out, so that errors can name the flag. */
struct mc_module_absent {
    const char *kind, *name, *flag; /* "worker", "gthread", "--with-worker=gthread" */
};

extern const struct mc_module *const mc_modules[];          /* ends with NULL */
extern const struct mc_module_absent mc_modules_absent[];   /* ends with name == NULL */
extern const char mc_configure_args[];

const char *mc_module_kind_name(enum mc_module_kind k);
const struct mc_module *mc_module_find(enum mc_module_kind k, const char *name); /* NULL when not built in */
const struct mc_app_type *mc_module_app_type(const char *name);
const char *mc_module_absent_flag(const char *kind, const char *name); /* NULL when unknown altogether */

#endif
