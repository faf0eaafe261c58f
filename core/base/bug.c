/* Assertions that failed: our own mistakes. Says where, then aborts, so that the crash report and a core dump follow.
 * Called by MC_ASSERT everywhere, in every process. Never returns and never cleans up: the state is not to be trusted. */
#include "core/base/base.h"
#include "core/base/log.h"

#include <stdlib.h>

void mc_bug(const char *file, int line, const char *what)
{
    mc_log_line(MC_LOG_CRITICAL, "Bug at %s:%d: %s", file, line, what);
    abort();
}
