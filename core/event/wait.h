/* A plain wait for one descriptor: for threads that have no loop of their own. */
#ifndef MC_EVENT_WAIT_H
#define MC_EVENT_WAIT_H

#include "core/base/base.h"

/* Wait until fd (-1: none) is ready for one of `what` (MC_WANT_*, or in error) or the clock reaches `deadline` (ms; 0: never; one in the
 * past: look only).
 * MC_OK, MC_AGAIN (deadline), MC_ERROR with errno. Goes on after signals. May sleep. */
int mc_wait_fd(int fd, unsigned what, uint64_t deadline);

#endif
