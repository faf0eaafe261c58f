/* The pidfile: "PID\n", mode 0644, written whole or not at all. */
#ifndef MC_PROCESS_PIDFILE_H
#define MC_PROCESS_PIDFILE_H

#include "core/base/base.h"

/* The live process that a pidfile names; 0: no file, not a number, or a dead process. */
pid_t mc_pidfile_owner(const char *path);
/* Write our pid. Refuses (MC_ERROR with a message in err) when the file names a live process other than `self`. */
int mc_pidfile_create(const char *path, pid_t self, char *err, size_t errcap);
/* Remove it if it still holds `self`. */
void mc_pidfile_remove(const char *path, pid_t self);

#endif
