/* Server-Sent Events to thousands of clients from one timer: a loop app. Nothing here waits; request() keeps the request and returns.
 *
 *   cc -shared -fPIC $(pkg-config --cflags monoceros) -o events.so events.c
 *   monoceros ./events.so -k epoll --worker-connections 20000       # then: curl -N http://127.0.0.1:8000/
 *
 * All functions of a loop app run one after the other on the worker's loop, so no lock is needed. Each worker has clients and a count of its own. */
#include <monoceros/app.h>

#include <stdio.h>
#include <stdlib.h>

enum { TICK_MS = 1000 };

struct client {
    struct client *prev, *next;
    struct monoceros_request *req;
};

struct hub {
    struct client clients; /* head of a ring */
    size_t n;
    unsigned long ticks;
    struct monoceros_timer *timer;
    int64_t every; /* ms */
};

static void forget(struct client *c, struct hub *hub)
{
    c->prev->next = c->next;
    c->next->prev = c->prev;
    hub->n--;
}

static void tick(void *data)
{
    struct hub *hub = data;
    char event[96];
    int n = snprintf(event, sizeof(event), "id: %lu\ndata: {\"tick\": %lu, \"clients\": %zu}\n\n", hub->ticks, hub->ticks, hub->n);
    hub->ticks++;
    for (struct client *c = hub->clients.next; c != &hub->clients; c = c->next) {
        /* MONOCEROS_AGAIN: taken, but this client is slow. Then MONOCEROS_BUSY: it misses events until it has caught up, and holds up nobody.
         * MONOCEROS_ERROR: it has left; gone() comes in a moment. */
        monoceros_write(c->req, event, (size_t)n);
    }
    monoceros_timer_set(hub->timer, hub->every);
}

static int subscribe(struct monoceros_request *req)
{
    struct hub *hub = req->worker->data;
    if (!monoceros_is(monoceros_method(req), "GET"))
        return 405;
    struct client *c = monoceros_alloc(req, sizeof(*c)); /* lives as long as the request */
    if (!c)
        return 503;
    monoceros_status(req, 200);
    monoceros_header_add(req, "Content-Type", "text/event-stream");
    monoceros_header_add(req, "Cache-Control", "no-store");
    if (monoceros_write(req, "retry: 2000\n\n", 13) == MONOCEROS_ERROR)
        return MONOCEROS_ERROR;
    c->req = req;
    c->next = &hub->clients;
    c->prev = hub->clients.prev;
    c->prev->next = c->next->prev = c;
    hub->n++;
    req->data = c;
    return MONOCEROS_OK; /* to be continued by tick() */
}

static void gone(struct monoceros_request *req)
{
    forget(req->data, req->worker->data);
}

static int init(struct monoceros_worker *worker)
{
    struct hub *hub = calloc(1, sizeof(*hub));
    const char *every = getenv("TICK_MS");
    if (!hub)
        return MONOCEROS_ERROR;
    hub->clients.prev = hub->clients.next = &hub->clients;
    hub->every = every ? atol(every) : TICK_MS;
    hub->timer = monoceros_timer_new(worker, tick, hub);
    worker->data = hub;
    return hub->timer ? monoceros_timer_set(hub->timer, hub->every) : MONOCEROS_ERROR;
}

static void leave(struct monoceros_worker *worker)
{
    free(worker->data); /* the timer goes with the worker */
}

MONOCEROS_APP monoceros_app = {
    MONOCEROS_ABI_HEAD,
    .name = "events",
    .kind = MONOCEROS_LOOP,
    .init = init,
    .exit = leave,
    .request = subscribe,
    .gone = gone,
};
