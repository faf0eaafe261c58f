/* The app of the table of worker types, on the loop: the answer of blocking.c, and the same after a timer of 10 ms. */
#include <monoceros/app.h>

static int answer(struct monoceros_request *req)
{
    monoceros_status(req, 200);
    monoceros_header_add(req, "Content-Type", "text/plain; charset=utf-8");
    return monoceros_end(req, "Hello, world!", 13);
}

static void forget(struct monoceros_request *req)
{
    monoceros_timer_free(req->data);
    req->data = NULL;
}

static void waited(void *data)
{
    struct monoceros_request *req = data;
    forget(req);
    answer(req);
}

static int request(struct monoceros_request *req)
{
    if (!monoceros_is(monoceros_path(req), "/wait"))
        return answer(req);
    struct monoceros_timer *timer = monoceros_timer_new(req->worker, waited, req);
    if (!timer || monoceros_timer_set(timer, 10) != MONOCEROS_OK)
        return 503;
    req->data = timer;
    return MONOCEROS_OK; /* to be continued by waited() */
}

MONOCEROS_APP monoceros_app = {MONOCEROS_ABI_HEAD, .name = "looping", .kind = MONOCEROS_LOOP, .request = request, .gone = forget};
