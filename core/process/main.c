/* The program `monoceros`: settings, then the arbiter. */
#include "core/config/conf.h"
#include "core/os/proc.h"
#include "core/process/arbiter.h"
#include "core/process/status.h"

int main(int argc, char **argv)
{
    enum mc_conf_todo todo = MC_CONF_RUN;
    int code = MC_EXIT_OK;
    struct mc_conf *conf = mc_conf_load(argc, argv, &todo, &code);
    if (!conf)
        return code;
    if (todo == MC_CONF_STATUS) {
        code = mc_status_run(conf);
        mc_conf_free(&conf);
        return code;
    }
    (void)mc_proc_title_own();
    return mc_arbiter_run(conf, todo == MC_CONF_CHECK);
}
