/* Directories that the arbiter watches (inotify), and who wants to know: certificates (keys.c), and with `reload` the files of apps. */
#ifndef MC_PROCESS_WATCH_H
#define MC_PROCESS_WATCH_H

#include "core/base/base.h"

struct mc_arbiter;
struct mc_kid;

enum { MC_WATCH_KEYS = 1, MC_WATCH_APP = 2, MC_WATCH_ABOVE = 4 /* only whether a directory of the app is moved there */ };

/* Watch a directory for files that are written, replaced, made or removed there. More than one may want it. MC_OK or MC_ERROR (errno). */
int mc_watch_dir(struct mc_arbiter *a, const char *dir, unsigned who);
/* A memfd from a worker: paths of the files that it has loaded, each with its NUL; one that ends with '/' is a directory where new modules count. */
void mc_watch_files(struct mc_kid *k, int fd);
void mc_watch_tend(struct mc_arbiter *a); /* on each turn */
void mc_watch_close(struct mc_arbiter *a);

/* ---- watch_match.c: patterns as Gunicorn takes them for reload_extra_files ---- */
/* '*', '?' and '[]' match within a name and no leading dot, "**" any number of directories. Both absolute. */
bool mc_watch_match(const char *pattern, const char *path);
/* Could a file below this directory match? */
bool mc_watch_below(const char *pattern, const char *dir);
bool mc_watch_is_pattern(const char *text);

#endif
