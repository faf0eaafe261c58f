/* Numbers to a StatsD server, with Gunicorn's names. Each process gathers for a second and sends few datagrams; what cannot be sent is gone.
 * Never waits. The host name is resolved when the configuration is read. In arbiter, zygotes and workers. */
#include "core/base/log.h"
#include "core/base/module.h"
#include "core/config/conf.h"
#include "core/os/fd.h"
#include "core/os/target.h"
#include "core/server/sinks.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>

extern const struct mc_module mc_module_log_statsd;

enum { PORT = 8125, DATAGRAM = 1432 /* fits an Ethernet frame */, STATUSES = 600, SAMPLES = 200, QUIET_S = 60 };

static struct {
    bool on;
    int fd;
    struct mc_target target;
    char text[MC_TARGET_TEXT];
    const char *prefix, *tags;
    uint32_t requests, statuses[STATUSES];
    uint32_t samples[SAMPLES]; /* microseconds */
    uint32_t seed;
    unsigned quiet; /* ticks until a failure is told again */
    size_t used;
    char datagram[DATAGRAM];
} self = {.fd = -1};
static atomic_uint lines[MC_LOG_CRITICAL + 1];

/* ---- settings ---- */

static const char *with_dot(struct mc_conf *conf, const char *prefix)
{
    size_t n = strlen(prefix);
    while (n > 0 && prefix[n - 1] == '.')
        n--;
    char *out = mc_arena_alloc(&conf->arena, n + 2);
    if (!out)
        return NULL;
    memcpy(out, prefix, n);
    strcpy(out + n, n ? "." : "");
    return out;
}

static bool fits(const char *text, const char *forbidden)
{
    for (const char *p = text; p && *p; p++) {
        if (*p <= ' ' || *p >= 0x7f || strchr(forbidden, *p))
            return false;
    }
    return true;
}

static int check(struct mc_conf *conf, bool image, struct mc_conf_where *at, char *err, size_t errcap)
{
    struct mc_values *set = &conf->set;
    struct mc_target t;
    char text[MC_TARGET_TEXT], why[200];
    (void)at;
    if (!set->statsd_host || image)
        return MC_OK;
    if (mc_target_parse(set->statsd_host, PORT, &t, why, sizeof why) != MC_OK)
        snprintf(err, errcap, "statsd_host: %s", why);
    else if (t.type != SOCK_DGRAM)
        snprintf(err, errcap, "statsd_host: expected HOST:PORT or unix://PATH, not '%.80s'", set->statsd_host);
    else if (!fits(set->statsd_prefix, ":|@#") || !fits(set->dogstatsd_tags, "|#"))
        snprintf(err, errcap, "statsd_prefix and dogstatsd_tags: no spaces, '|' or '#', and no ':' or '@' in a prefix");
    else {
        mc_target_print(&t, text);
        set->statsd_host = mc_arena_strdup(&conf->arena, text);
        set->statsd_prefix = with_dot(conf, set->statsd_prefix ? set->statsd_prefix : "");
        if (set->statsd_host && set->statsd_prefix)
            return MC_OK;
        snprintf(err, errcap, "out of memory");
    }
    return MC_ERROR;
}

/* ---- sending ---- */

static void failed(void)
{
    int why = errno;
    mc_fd_close(&self.fd); /* its server may have made its socket anew */
    if (self.quiet > 0)
        return;
    self.quiet = QUIET_S;
    errno = why;
    mc_warn("statsd at %s: %m", self.text);
}

static void send_datagram(void)
{
    if (self.used == 0)
        return;
    if (self.fd < 0)
        self.fd = mc_target_connect(&self.target);
    if (self.fd < 0 || send(self.fd, self.datagram, self.used, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        failed();
    self.used = 0;
}

MC_PRINTF(2, 3) static void put(const char *name, const char *fmt, ...)
{
    char line[600];
    va_list ap;
    int n = snprintf(line, 400, "%s%s:", self.prefix, name);
    if (n >= 400)
        return;
    va_start(ap, fmt);
    n += vsnprintf(line + n, 80, fmt, ap);
    va_end(ap);
    size_t len = (size_t)n, tags = self.tags && *self.tags ? strlen(self.tags) + 2 : 0;
    if (len + tags + 1 > sizeof self.datagram)
        return;
    if (self.used + 1 + len + tags > sizeof self.datagram)
        send_datagram();
    char *p = self.datagram + self.used;
    if (self.used > 0)
        *p++ = '\n';
    p = mempcpy(p, line, len);
    if (tags) {
        p = mempcpy(p, "|#", 2);
        p = mempcpy(p, self.tags, tags - 2);
    }
    self.used = (size_t)(p - self.datagram);
}

static void put_samples(void)
{
    uint32_t n = self.requests < SAMPLES ? self.requests : SAMPLES;
    for (uint32_t i = 0; i < n; i++) {
        unsigned ms = self.samples[i] / 1000, us = self.samples[i] % 1000;
        if (self.requests <= SAMPLES)
            put("gunicorn.request.duration", "%u.%03u|ms", ms, us);
        else
            put("gunicorn.request.duration", "%u.%03u|ms|@%.6f", ms, us, (double)n / self.requests);
    }
}

static void put_lines(void)
{
    static const char *const names[] = {[MC_LOG_WARNING] = "gunicorn.log.warning",
                                        [MC_LOG_ERROR] = "gunicorn.log.error",
                                        [MC_LOG_CRITICAL] = "gunicorn.log.critical"};
    for (size_t i = MC_LOG_WARNING; i <= MC_LOG_CRITICAL; i++) {
        unsigned n = atomic_exchange(&lines[i], 0);
        if (n > 0)
            put(names[i], "%u|c", n);
    }
}

static void flush(void)
{
    if (!self.on)
        return;
    self.quiet -= self.quiet > 0;
    put_lines();
    if (self.requests > 0) {
        put("gunicorn.requests", "%u|c", self.requests);
        put_samples();
    }
    for (unsigned status = 0; self.requests > 0 && status < STATUSES; status++) {
        char name[40];
        if (self.statuses[status] == 0)
            continue;
        snprintf(name, sizeof name, "gunicorn.request.status.%u", status);
        put(name, "%u|c", self.statuses[status]);
        self.statuses[status] = 0;
    }
    self.requests = 0;
    send_datagram();
}

/* ---- gathering ---- */

static void on_line(enum mc_log_level level, const char *text, size_t n)
{
    (void)text;
    (void)n;
    atomic_fetch_add_explicit(&lines[level], 1, memory_order_relaxed);
}

/* A fair sample: each of n requests has the same chance to be in it. */
static void on_request(int status, uint64_t usec)
{
    if (!self.on)
        return;
    uint32_t at = self.requests++;
    if (at >= SAMPLES) {
        self.seed = self.seed * 1664525 + 1013904223;
        at = (uint32_t)((uint64_t)self.seed * self.requests >> 32);
    }
    if (at < SAMPLES)
        self.samples[at] = usec < UINT32_MAX ? (uint32_t)usec : UINT32_MAX;
    if (status > 0 && status < STATUSES)
        self.statuses[status]++;
}

static void on_gauges(unsigned workers, int64_t backlog)
{
    if (!self.on)
        return;
    put("gunicorn.workers", "%u|g", workers);
    if (backlog >= 0)
        put("gunicorn.backlog", "%lld|h", (long long)backlog);
}

/* ---- */

static void start(const struct mc_conf *conf)
{
    const struct mc_values *set = &conf->set;
    char err[200];
    mc_target_forget(&self.target, &self.fd);
    memset(self.statuses, 0, sizeof self.statuses);
    self.on = false;
    self.requests = 0;
    self.used = 0;
    self.quiet = 0;
    for (size_t i = 0; i <= MC_LOG_CRITICAL; i++)
        atomic_store(&lines[i], 0);
    mc_log_tap(on_line, false);
    if (!set->statsd_host)
        return;
    if (mc_target_parse(set->statsd_host, PORT, &self.target, err, sizeof err) != MC_OK) { /* numbers: it was read before */
        mc_error("statsd_host: %s", err);
        return;
    }
    snprintf(self.text, sizeof self.text, "%s", set->statsd_host);
    self.prefix = set->statsd_prefix ? set->statsd_prefix : "";
    self.tags = set->dogstatsd_tags;
    self.on = true;
    mc_log_tap(on_line, true);
}

static const struct mc_log_ops ops = {.start = start, .tick = flush, .request = on_request, .gauges = on_gauges};

const struct mc_module mc_module_log_statsd = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "statsd",
    .kind = MC_MODULE_LOG,
    .check_all = check,
    .ops.log = &ops,
};
