/* The Python module as the module table sees it: app types and hooks. Free of Python and linked into both products: the hooks are weak, so
 * they are NULL in the program (the arbiter must know the app types, it never runs one) and real in the extension. Both sides. */
#include "modules/python/wsgi.h"

#pragma weak mc_wsgi_handler
#pragma weak mc_asgi_handler
#pragma weak mc_host_handler
#pragma weak mc_life_init_worker
#pragma weak mc_life_exit_worker

extern const struct mc_module mc_module_handler_python;

static const struct mc_app_type apps[] = {
    {.name = "wsgi", .needs = MC_NEED_BLOCKING | MC_NEED_PYTHON, .ops = &mc_wsgi_handler},
    {.name = "asgi", .needs = MC_NEED_PYTHON | MC_NEED_ITS_LOOP, .ops = &mc_asgi_handler},
    {.name = "tornado", .needs = MC_NEED_PYTHON | MC_NEED_ITS_LOOP, .ops = &mc_host_handler},
    {.name = "aiohttp", .needs = MC_NEED_PYTHON | MC_NEED_ITS_LOOP, .ops = &mc_host_handler},
    {.name = NULL},
};

const struct mc_module mc_module_handler_python = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "python",
    .kind = MC_MODULE_HANDLER,
    .apps = apps,
    .init_worker = mc_life_init_worker,
    .exit_worker = mc_life_exit_worker,
};
