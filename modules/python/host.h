/* Apps with a server of their own (Tornado, aiohttp), as the rest of the Python module sees them. Apart from asgi.h: an exchange there is another one. */
#ifndef MC_MODULES_PYTHON_HOST_H
#define MC_MODULES_PYTHON_HOST_H

#include "modules/python/python.h"

extern const char *const mc_host_text; /* of hosts.py */
bool mc_host_is(const struct mc_conf_app *app);
/* Its private socket, bytes; requests may come from now on. MC_OK, or MC_ERROR with an exception. */
int mc_host_open(const struct mc_worker *w, const struct mc_conf_app *app, PyObject *address);

#endif
