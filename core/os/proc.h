/* Process properties: identity, title, parent, memory. */
#ifndef MC_OS_PROC_H
#define MC_OS_PROC_H

#include "core/base/base.h"

/* Drop to uid/gid for good: setgroups (only gid, or initgroups when `initgroups`), setresgid, setresuid, then checks that root cannot be
 * regained, and sets PR_SET_NO_NEW_PRIVS. (uid_t)-1/(gid_t)-1: keep (both: nothing happens).
 * MC_OK, or MC_ERROR with errno: the process must not go on. */
int mc_proc_drop(uid_t uid, gid_t gid, bool initgroups);
/* "www-data" or "33" to ids; a user gives its primary group too when gid is not NULL ((gid_t)-1 for a number without an account).
 * MC_ERROR: no such name. */
int mc_proc_user(const char *name, uid_t *uid, gid_t *gid);
int mc_proc_group(const char *name, gid_t *gid);

/* Title of the process (ps, top): overwrites the argument area found through /proc/self/stat; works in a foreign interpreter too. */
void mc_proc_title(const char *fmt, ...) MC_PRINTF(1, 2);
/* Our own program, once, early in main(): copies the environment elsewhere, so that titles may be longer than the arguments. */
int mc_proc_title_own(void);

/* SIGKILL/SIGTERM us when the parent dies (PR_SET_PDEATHSIG); the caller then compares getppid(). Must follow every uid change. */
int mc_proc_parent_death(int sig);
int mc_proc_subreaper(void);
/* CPUs this process may use: affinity and cgroup quota (v1/v2), at least 1. */
unsigned mc_proc_cpus(void);
/* Tests: the same `cpus` cut by the cgroup files below another root directory. */
unsigned mc_proc_cpus_under(const char *root, unsigned cpus);
/* Path of the running program; "" when unknown. */
const char *mc_proc_exe(void);

/* What malloc() has and nobody uses goes back to the system, where the C library can do that. May take milliseconds. */
void mc_proc_trim(void);

/* Fatal-signal report: on SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT writes one CRITICAL line "<SIGNAL> while handling: <text>" to the log
 * (async-signal-safe), then the handler that was there before, or the default action. May be called again.
 * text: NUL-terminated buffer that is read at the time of the crash (may be "" or NULL). */
int mc_proc_crash_handler(const volatile char *text);

#endif
