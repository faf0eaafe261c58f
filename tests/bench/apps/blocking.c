/* The app of the table of worker types, blocking: the answer of hello.py, and the same after 10 ms. */
#include <monoceros/app.h>

static int request(struct monoceros_request *req)
{
    if (monoceros_is(monoceros_path(req), "/wait") && monoceros_sleep(req, 10) != MONOCEROS_OK)
        return MONOCEROS_ERROR;
    monoceros_status(req, 200);
    monoceros_header_add(req, "Content-Type", "text/plain; charset=utf-8");
    return monoceros_end(req, "Hello, world!", 13);
}

MONOCEROS_APP monoceros_app = {MONOCEROS_ABI_HEAD, .name = "blocking", .kind = MONOCEROS_BLOCKING, .request = request};
