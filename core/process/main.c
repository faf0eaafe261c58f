/* The program `monoceros`: settings, then the arbiter. */
#include "core/config/conf.h"
#include "core/os/proc.h"
#include "core/process/arbiter.h"
#include "core/process/inherit.h"
#include "core/process/replace.h"
#include "core/process/status.h"

#include <stdio.h>
#include <stdlib.h>

/* Sockets of systemd stand in for `bind`, as users of Gunicorn know it; servers in a file match them by address (listeners.c). */
static int give_sockets(void)
{
    size_t n = mc_inherit_systemd(mc_inherit_ours());
    static struct mc_strv given;
    given.v = n ? calloc(n, sizeof(*given.v)) : NULL;
    for (; given.v && given.n < n; given.n++) {
        char *text;
        if (asprintf(&text, "fd://%d", MC_INHERIT_FIRST + (int)given.n) < 0)
            return MC_ERROR;
        given.v[given.n] = text;
    }
    mc_conf_give(given);
    return given.n == n ? MC_OK : MC_ERROR;
}

int main(int argc, char **argv)
{
    enum mc_conf_todo todo = MC_CONF_RUN;
    int code = MC_EXIT_OK;
    char err[256] = "out of memory";
    if (mc_inherit_open(mc_inherit_ours(), err, sizeof(err)) != MC_OK || give_sockets() != MC_OK) {
        fprintf(stderr, "monoceros: %s\n", err);
        return MC_EXIT_FAIL;
    }
    struct mc_conf *conf = mc_conf_load(argc, argv, &todo, &code);
    if (!conf)
        return code;
    if (todo == MC_CONF_STATUS || todo == MC_CONF_UPGRADE) {
        code = todo == MC_CONF_STATUS ? mc_status_run(conf) : mc_replace_run(conf->set.upgrade);
        mc_conf_free(&conf);
        return code;
    }
    (void)mc_proc_title_own();
    return mc_arbiter_run(conf, todo == MC_CONF_CHECK);
}
