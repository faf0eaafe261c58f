/* Log modules: where lines and numbers go beside the error log's own descriptor. Each process that logs (arbiter, zygote, worker) starts them for itself;
 * nothing here waits, and what cannot be written is dropped and counted. */
#ifndef MC_SERVER_SINKS_H
#define MC_SERVER_SINKS_H

#include "core/config/conf.h"

/* Operations of the `log` kind. NULL: nothing to do. */
struct mc_log_ops {
    /* A process begins to log by these settings, perhaps a forked one whose parent has done so, perhaps not for the first time: tap the error log
     * (base/log.h), or stop that. Opens what it needs; failures are not the end of anything: they are counted as lost lines. */
    void (*start)(const struct mc_conf *conf);
    /* Once a second in arbiter and workers, and before they end: send what has gathered, try again what has failed. */
    void (*tick)(void);
    /* The access log. open: MC_OK with *sink; MC_DECLINED: these settings do not ask for it; MC_ERROR with errno. fd: opened by the arbiter, or -1. */
    int (*open)(const struct mc_conf *conf, int fd, void **sink);
    /* Whole lines, each with its '\n'. Returns those that are lost. */
    unsigned (*write)(void *sink, const char *p, size_t n, unsigned lines);
    void (*set_fd)(void *sink, int fd); /* after a reopen by the arbiter */
    void (*close)(void *sink);
    bool eager; /* gains nothing from gathering lines */
    /* Numbers. A request has ended (worker, on the loop); what the arbiter knows of all (backlog -1: not asked for), once a second. */
    void (*request)(int status, uint64_t usec);
    void (*gauges)(unsigned workers, int64_t backlog);
};

void mc_sinks_start(const struct mc_conf *conf);
void mc_sinks_tick(void);
/* Does anybody beside the file want access lines? */
bool mc_sinks_access(const struct mc_conf *conf);
void mc_sinks_request(int status, uint64_t usec);
void mc_sinks_gauges(unsigned workers, int64_t backlog);

#endif
