/* Calls the log modules of the build. Owns nothing. In every process that logs. */
#include "core/server/sinks.h"

static const struct mc_log_ops *ops_of(const struct mc_module *m)
{
    return m->kind == MC_MODULE_LOG ? m->ops.log : NULL;
}

void mc_sinks_start(const struct mc_conf *conf)
{
    for (size_t i = 0; mc_modules[i]; i++) {
        const struct mc_log_ops *ops = ops_of(mc_modules[i]);
        if (ops && ops->start)
            ops->start(conf);
    }
}

void mc_sinks_tick(void)
{
    for (size_t i = 0; mc_modules[i]; i++) {
        const struct mc_log_ops *ops = ops_of(mc_modules[i]);
        if (ops && ops->tick)
            ops->tick();
    }
}

bool mc_sinks_access(const struct mc_conf *conf)
{
    for (size_t i = 0; mc_modules[i]; i++) {
        const struct mc_log_ops *ops = ops_of(mc_modules[i]);
        void *sink;
        if (!ops || !ops->open || ops->open(conf, -1, &sink) != MC_OK)
            continue;
        ops->close(sink);
        return true;
    }
    return false;
}

void mc_sinks_request(int status, uint64_t usec)
{
    for (size_t i = 0; mc_modules[i]; i++) {
        const struct mc_log_ops *ops = ops_of(mc_modules[i]);
        if (ops && ops->request)
            ops->request(status, usec);
    }
}

void mc_sinks_gauges(unsigned workers, int64_t backlog)
{
    for (size_t i = 0; mc_modules[i]; i++) {
        const struct mc_log_ops *ops = ops_of(mc_modules[i]);
        if (ops && ops->gauges)
            ops->gauges(workers, backlog);
    }
}
