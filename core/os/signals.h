/* Signals: handlers only set a bit and write to an eventfd; a loop acts. */
#ifndef MC_OS_SIGNALS_H
#define MC_OS_SIGNALS_H

#include "core/base/base.h"

/* Install the flag handler (SA_RESTART) for these signals (0-terminated); SIGPIPE is ignored. May be called again (it re-installs).
 * In a child that has not called mc_signals_after_fork(), such as one that an app forks, the handler does what no handler would do. */
int mc_signals_catch(const int *signals);
void mc_signals_default(const int *signals);
/* Readable when a signal is pending; made by the first mc_signals_catch() of the process. After fork call mc_signals_after_fork(). */
int mc_signals_fd(void);
int mc_signals_after_fork(void); /* a fresh eventfd, no pending bits */
/* Take the pending set (bit n-1 = signal n, for n <= 64) and clear it; drains the fd. */
uint64_t mc_signals_take(void);
/* How often this one has come since it was asked last: some count. A signal that comes twice before the process runs at all comes once. */
unsigned mc_signals_times(int sig);
static inline bool mc_signals_has(uint64_t set, int sig) { return set >> (sig - 1) & 1; }
const char *mc_signals_name(int sig); /* "SIGTERM" */

#endif
