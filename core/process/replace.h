/* monoceros --upgrade PIDFILE: a running server replaced in one step. A process of its own. */
#ifndef MC_PROCESS_REPLACE_H
#define MC_PROCESS_REPLACE_H

/* Checks the settings with the program that would be started, sends USR2, waits until the new one is ready, sends TERM to the old one and waits until
 * the new one has its place. Says on the terminal what it does; what went wrong on stderr, and then the old one goes on. Returns the exit code: 0, or
 * 1. May sleep. */
int mc_replace_run(const char *pidfile);

#endif
