/* What the module table names of the Python side. Python-free: module.c is linked into both products, the rest into the extension only. */
#ifndef MC_MODULES_PYTHON_WSGI_H
#define MC_MODULES_PYTHON_WSGI_H

#include "core/server/handler.h"
#include "core/server/worker.h"

extern const struct mc_handler_ops mc_wsgi_handler, mc_asgi_handler, mc_host_handler;

/* Import the pool's apps and tie the interpreter to the worker's loop. MC_OK, or the exit code of this failure (logged). */
int mc_life_init_worker(struct mc_worker *w);
void mc_life_exit_worker(struct mc_worker *w);

#endif
