/* Gunicorn's configuration file, gunicorn.conf.py: its settings as if a file of ours had said them. */
#ifndef MC_CONFIG_GUNICORN_H
#define MC_CONFIG_GUNICORN_H

#include "core/config/tree.h"

/* Is it a file for Python? "PATH.py", "file:PATH.py" or "python:MODULE". */
bool mc_gunicorn_is(const char *word);

struct mc_gunicorn {
    const char *name;       /* as it was given, without "file:" */
    const char *location;   /* absolute path, or "python:MODULE" */
    struct mc_block *block; /* its settings, of the top level */
    const char *hooks;      /* names of the hooks it has, "post_fork, when_ready"; "" when there are none */
};

/* Evaluate it in a child of the interpreter (python.h). word: as for mc_gunicorn_is(); python: the setting of that name, or NULL; argv:
 * what the file sees in sys.argv after the program's name. MC_ERROR: mc_build_fail() was called, and the traceback printed or logged. Waits. */
int mc_gunicorn_read(struct mc_build *b, const char *word, const char *python, char *const *argv, struct mc_gunicorn *out);

/* The same as text of a monoceros.conf, for --convert (convert.c). */
int mc_gunicorn_convert(struct mc_build *b, const char *word, const char *python, char *const *argv, struct mc_sb *out);

/* The text that does it (gunicorn.py). */
extern const char *const mc_gunicorn_text;

#endif
