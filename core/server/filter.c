/* The way of a request through the filters of its route, up to its handler (head and body: filter_body.c). A filter that a request has passed is not
 * asked again when another route of the request has it with the same data. Worker side, on the loop. */
#include "core/server/filter.h"

#include "core/base/log.h"
#include "core/server/engine.h"

struct passed {
    struct passed *next;
    const struct mc_filter_ops *ops;
    void *data;
};

/* Of a request that came to a route with filters; in its arena. */
struct filtered {
    const struct mc_conf_route *route; /* whose filters are being passed */
    size_t next;                       /* the filter that is to be asked next, or that has not decided yet */
    struct passed *passed;
    int verdict;                       /* MC_AGAIN while a filter has not decided */
};

/* ---- at the start of a worker */

static int compare(const void *a, const void *b)
{
    const struct mc_filter_use *x = a, *y = b;
    return (int) x->ops->phase - (int) y->ops->phase;
}

static size_t count_filters(void)
{
    size_t n = 0;
    for (const struct mc_module *const *m = mc_modules; *m; m++) {
        n += (*m)->kind == MC_MODULE_FILTER;
    }
    return n;
}

static int attach_route(struct mc_conf *conf, const struct mc_conf_server *server, struct mc_conf_route *route, struct mc_filter_use *room)
{
    size_t n = 0;
    for (const struct mc_module *const *m = mc_modules; *m; m++) {
        if ((*m)->kind != MC_MODULE_FILTER) {
            continue;
        }
        void *data = NULL;
        int rc = (*m)->ops.filter->attach(conf, server, route, &data);
        if (rc == MC_DECLINED) {
            continue;
        }
        if (rc != MC_OK) {
            return MC_ERROR;
        }
        size_t at = n++;
        struct mc_filter_use use = { (*m)->ops.filter, data };
        for (; at > 0 && compare(&room[at - 1], &use) > 0; at--) { /* stable: modules of one phase keep their order */
            room[at] = room[at - 1];
        }
        room[at] = use;
    }
    route->nfilters = n;
    if (n == 0) {
        return MC_OK;
    }
    route->filters = mc_arena_alloc(&conf->arena, n * sizeof *room);
    if (route->filters == NULL) {
        mc_critical("out of memory");
        return MC_ERROR;
    }
    memcpy(route->filters, room, n * sizeof *room);
    return MC_OK;
}

int mc_filter_attach(struct mc_conf *conf, const struct mc_conf_pool *pool)
{
    size_t most = count_filters();
    if (most == 0) {
        return MC_OK;
    }
    struct mc_filter_use *room = mc_arena_alloc(&conf->arena, most * sizeof *room);
    if (room == NULL) {
        mc_critical("out of memory");
        return MC_ERROR;
    }
    for (size_t i = 0; i < conf->nservers; i++) {
        const struct mc_conf_server *server = &conf->servers[i];
        for (size_t k = 0; server->pool == pool && k < server->nroutes; k++) {
            if (attach_route(conf, server, &server->routes[k], room) != MC_OK) {
                return MC_ERROR;
            }
        }
    }
    return MC_OK;
}

/* ---- a request's way */

static bool has_passed(const struct filtered *f, const struct mc_filter_use *use)
{
    const struct passed *p = f->passed;
    while (p && (p->ops != use->ops || p->data != use->data)) {
        p = p->next;
    }
    return p != NULL;
}

static struct filtered *begin(struct mc_request *r)
{
    struct filtered *f = r->filtered;
    if (f == NULL) {
        r->filtered = f = mc_arena_calloc(&r->arena, sizeof *f);
    }
    if (f && f->route != r->route) {
        f->route = r->route;
        f->next = 0;
    }
    return f;
}

int mc_filter_access(struct mc_request *r)
{
    const struct mc_conf_route *route = r->route;
    if (route->nfilters == 0) {
        return MC_OK;
    }
    struct filtered *f = begin(r);
    if (f == NULL) {
        return 503;
    }
    if (f->verdict != MC_OK) { /* decided meanwhile */
        int rc = f->verdict;
        f->verdict = MC_OK;
        return rc > 0 ? rc : 500;
    }
    while (f->next < route->nfilters) {
        const struct mc_filter_use *use = &route->filters[f->next];
        if (use->ops->access == NULL || has_passed(f, use)) {
            f->next++;
            continue;
        }
        struct passed *p = mc_arena_alloc(&r->arena, sizeof *p);
        if (p == NULL) {
            return 503;
        }
        *p = (struct passed){ f->passed, use->ops, use->data };
        f->passed = p;
        int rc = use->ops->access(r, use->data);
        if (rc == MC_AGAIN) {
            f->verdict = MC_AGAIN;
            return MC_AGAIN;
        }
        f->next++;
        if (rc != MC_OK) {
            return rc > 0 ? rc : 500;
        }
    }
    return MC_OK;
}

void mc_request_admit(struct mc_request *r, int rc)
{
    struct filtered *f = r->filtered;
    MC_ASSERT(r->magic == MC_MAGIC_REQUEST && r->state == MC_REQ_ADMIT && f != NULL && f->verdict == MC_AGAIN);
    f->verdict = rc;
    f->next++;
    r->state = MC_REQ_ADMITTED;
    mc_request_wake(r);
}

void mc_filter_leave(struct mc_request *r)
{
    struct filtered *f = r->filtered;
    r->filtered = NULL;
    for (const struct passed *p = f ? f->passed : NULL; p; p = p->next) {
        if (p->ops->leave) {
            p->ops->leave(r, p->data);
        }
    }
}
