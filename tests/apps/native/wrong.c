/* Apps that no server may run; there is no `monoceros_app` here. */
#include <monoceros/app.h>

static int request(struct monoceros_request *req)
{
    return monoceros_end(req, NULL, 0);
}

static int fail(struct monoceros_worker *worker)
{
    (void)worker;
    return 7;
}

MONOCEROS_APP other_abi = {MONOCEROS_ABI_HEAD, .abi = MONOCEROS_ABI + 1, .kind = MONOCEROS_LOOP, .name = "x", .request = request};
MONOCEROS_APP other_size = {MONOCEROS_ABI_HEAD, .size = 8, .kind = MONOCEROS_LOOP, .name = "x", .request = request};
MONOCEROS_APP later_api = {MONOCEROS_ABI_HEAD, .api_size = sizeof(struct monoceros_api) + 8, .kind = MONOCEROS_LOOP, .name = "x", .request = request};
MONOCEROS_APP no_kind = {MONOCEROS_ABI_HEAD, .name = "x", .request = request};
MONOCEROS_APP no_request = {MONOCEROS_ABI_HEAD, .kind = MONOCEROS_LOOP, .name = "x"};
MONOCEROS_APP no_init = {MONOCEROS_ABI_HEAD, .kind = MONOCEROS_LOOP, .name = "x", .init = fail, .request = request};
