/* What the service manager is told (sd_notify): one datagram a message to $NOTIFY_SOCKET. Without it all of this does nothing. */
#ifndef MC_PROCESS_NOTIFY_H
#define MC_PROCESS_NOTIFY_H

#include "core/base/str.h"

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

/* "/run/systemd/notify" or "@abstract" to an address; its length, or 0: neither. */
socklen_t mc_notify_address(const char *text, struct sockaddr_un *out);
/* Times (ms, monotonic) of WATCHDOG_USEC: half of it, at least 1; 0: there is none, or it is for another process. */
uint64_t mc_notify_watchdog(const char *usec, const char *pid, pid_t self);

/* Take NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment: they are ours, no app's. main: we are the process that the manager
 * knows; else it is silent until mc_notify_promote(). */
void mc_notify_open(bool main);
/* The program before us has told the manager that we are its main process now: what it has not heard of us is told. */
void mc_notify_promote(uint64_t now);
void mc_notify_close(void);

/* Each may be called on every turn: what was told already is not told again. */
void mc_notify_ready(void);
void mc_notify_status(const char *fmt, ...) MC_PRINTF(1, 2);
/* WATCHDOG=1 when it is time; the next time, or 0: never. */
uint64_t mc_notify_alive(uint64_t now);
/* A reload begins; mc_notify_ready() ends it. */
void mc_notify_reloading(void);
/* The end begins and may take so long; 0: not known. */
void mc_notify_stopping(uint64_t limit_ms);
/* The manager has told us to stop, and gives us so much longer. */
void mc_notify_extend(uint64_t ms);
/* The one after us is the main process from now on; we say no more. */
void mc_notify_main(pid_t pid);

#endif
