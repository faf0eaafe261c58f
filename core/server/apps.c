/* The apps of a worker's pool: loaded where their type says so, their handlers looked up once, and refused where the worker type cannot run them.
 * Worker side, at start; also in a child that checks a configuration. */
#include "core/server/hop.h"

#include "core/event/wait.h"

#include <stdio.h>
#include <stdlib.h>

static bool blocks(const struct mc_conf_app *a, const struct mc_handler_ops *ops)
{
    return ((ops ? ops->needs : a->type->needs) & MC_NEED_BLOCKING) != 0;
}

/* What check_fit() of the configuration says of types, for an app whose kind shows only now. */
static int refuse(const struct mc_worker *w, const struct mc_conf_app *a)
{
    char names[200] = "";
    size_t n = 0;
    for (size_t i = 0; mc_modules[i] && n < sizeof names; i++) {
        const struct mc_module *m = mc_modules[i];
        if (m->kind == MC_MODULE_WORKER && m->takes & MC_NEED_BLOCKING) {
            n += (size_t) snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "", m->name);
        }
    }
    mc_error("worker_class '%s' cannot run app \"%s\" of type %s, which may block; worker types that can: %s", w->pool->set.worker_class, a->name,
             a->type->name, names);
    return MC_EXIT_BOOT;
}

int mc_worker_load_apps(struct mc_worker *w)
{
    const struct mc_conf *conf = w->conf;
    w->loop_only = true;
    w->handlers = calloc(conf->napps + 1, sizeof *w->handlers);
    if (w->handlers == NULL) {
        return MC_EXIT_BOOT;
    }
    for (size_t i = 0; i < conf->napps; i++) {
        const struct mc_conf_app *a = &conf->apps[i];
        const struct mc_handler_ops *ops = a->type->ops;
        if (a->pool != w->pool) {
            w->handlers[i] = &mc_hop_handler;
            continue;
        }
        int rc = a->type->load ? a->type->load(a, &ops) : MC_OK;
        if (rc != MC_OK) {
            return rc;
        }
        w->handlers[i] = ops;
        if (blocks(a, ops)) {
            w->loop_only = false;
            if (!(w->pool->worker->takes & MC_NEED_BLOCKING)) {
                return refuse(w, a);
            }
        }
    }
    return MC_OK;
}

int mc_worker_check(const struct mc_conf *conf, const struct mc_conf_pool *pool)
{
    struct mc_worker w = { .conf = conf, .pool = pool, .ops = pool->worker->ops.worker };
    int rc = mc_worker_load_apps(&w);
    free(w.handlers);
    return rc;
}

int mc_worker_wait_fd(struct mc_request *r, int fd, unsigned what, uint64_t deadline)
{
    const struct mc_worker_ops *ops = r->conn->worker->ops;
    return ops->wait_fd ? ops->wait_fd(r, fd, what, deadline) : mc_wait_fd(fd, what, deadline);
}

void mc_worker_together(struct mc_request *r, void (*fn)(void *), void *const *args, size_t n)
{
    const struct mc_worker_ops *ops = r->conn->worker->ops;
    if (ops->together) {
        ops->together(r, fn, args, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        fn(args[i]);
    }
}
