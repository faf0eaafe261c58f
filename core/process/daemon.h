/* Going to the background. */
#ifndef MC_PROCESS_DAEMON_H
#define MC_PROCESS_DAEMON_H

#include "core/base/base.h"

/* Double fork and setsid. Returns in the daemon only (MC_OK, or MC_ERROR in the first process when it cannot fork): the launching process
 * waits for mc_daemon_report() and exits with its code, or with 1 when the daemon ends without a report. May wait (launching process only). */
int mc_daemon_start(void);
/* Tell the launching process how the start went and let go of the terminal: stdin, stdout and stderr become /dev/null; with keep, stdout and stderr only
 * if they are a terminal. */
void mc_daemon_report(int code, bool keep);

#endif
