/* stdout and stderr of workers and zygotes: capture_output sends them to the error log. By descriptor, so it holds for threads, C code and programs that
 * apps start, and the last words of a crash are there, too: nobody has to read them first. In freshly forked children. */
#include "core/process/child.h"

#include "core/config/conf.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

void mc_stdio_capture(const struct mc_conf *conf, int errorlog)
{
    if (!conf->set.capture_output)
        return;
    /* C code would gather its lines in a file, and lines of several processes must stay whole. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    bool inherited = strcmp(conf->set.errorlog, "-") == 0;
    dup2(inherited ? STDERR_FILENO : errorlog, STDOUT_FILENO);
    if (!inherited)
        dup2(errorlog, STDERR_FILENO);
}
