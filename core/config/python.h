/* The user's own interpreter, as the arbiter's side sees it: which one, and a short run of it. */
#ifndef MC_CONFIG_PYTHON_H
#define MC_CONFIG_PYTHON_H

#include "core/base/base.h"

/* The interpreter: `named` (setting python; with a '/', or looked up on PATH), else that of the virtual environment `home` or $VIRTUAL_ENV,
 * else python3 on PATH. Any of the arguments may be NULL. Points into out or to `named`; never NULL, and not known to exist. */
const char *mc_python_find(const char *named, const char *home, char *out, size_t cap);

enum { MC_PYTHON_SECONDS = 30, MC_PYTHON_MAX = 16 << 20 };

/* A short run: `interpreter -c text words...` in a child with our environment and stderr (its stdout goes there, too), in directory dir, whose
 * descriptor 3 collects what it has to say: *answer, malloc'ed, *n bytes, NUL after them. MC_OK: it ended with 0; MC_ERROR: one line in err
 * that names the reason. After MC_PYTHON_SECONDS it is killed. Waits for its end, so it is never called in the arbiter's loop. */
int mc_python_run(const char *interpreter, const char *dir, const char *text, const char *const *words, size_t nwords, char **answer,
                  size_t *n, char *err, size_t errcap);

#endif
