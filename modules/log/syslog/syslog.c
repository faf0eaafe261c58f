/* Error log and access log to a syslog server, beside files. In every process that logs: each has a socket of its own and tells the server itself.
 * Never waits: what the server does not take is queued, then dropped and counted, and the count is logged when it takes messages again.
 * Host names are resolved when the configuration is read, by whoever reads it. */
#include "modules/log/syslog/syslog.h"

#include "core/base/module.h"
#include "core/config/conf.h"
#include "core/server/sinks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCAL "/dev/log"

extern const struct mc_module mc_module_log_syslog;

enum { PORT = 514 };

static struct {
    bool on, told; /* told: that messages are lost */
    unsigned before; /* lost at the last tick */
    char text[MC_TARGET_TEXT];
    struct mc_target target;
    struct mc_syslog_style style;
} self;
static _Thread_local bool quiet; /* this line is about us */

/* ---- settings ---- */

/* systemd's journal takes the old form only. */
static bool is_journal(const char *path)
{
    char *real = realpath(path, NULL);
    bool yes = real && strcmp(real, "/run/systemd/journal/dev-log") == 0;
    free(real);
    return yes;
}

static const char *default_address(void)
{
    struct stat st;
    return stat(LOCAL, &st) == 0 && S_ISSOCK(st.st_mode) ? "unix://" LOCAL : "udp://localhost";
}

static int check(struct mc_conf *conf, bool image, struct mc_conf_where *at, char *err, size_t errcap)
{
    struct mc_target t;
    char text[MC_TARGET_TEXT], why[200];
    (void)at;
    if (!conf->set.syslog || image)
        return MC_OK;
    if (mc_target_parse(conf->set.syslog_addr ? conf->set.syslog_addr : default_address(), PORT, &t, why, sizeof why) != MC_OK) {
        snprintf(err, errcap, "syslog_addr: %s", why);
        return MC_ERROR;
    }
    mc_target_print(&t, text);
    conf->set.syslog_addr = mc_arena_strdup(&conf->arena, text);
    if (conf->set.syslog_addr && strcmp(conf->set.syslog_format, "auto") == 0)
        conf->set.syslog_format = t.addr.family == AF_UNIX && is_journal(t.addr.u.un.sun_path) ? "rfc3164" : "rfc5424";
    if (conf->set.syslog_addr)
        return MC_OK;
    snprintf(err, errcap, "out of memory");
    return MC_ERROR;
}

/* RFC 5424 §6: printable, no spaces. */
static void put_name(char *out, size_t cap, const char *text)
{
    size_t n = 0;
    for (; *text && n + 1 < cap; text++)
        out[n++] = *text > ' ' && *text < 0x7f ? *text : '_';
    out[n] = '\0';
}

/* "monoceros.shop.error": as Gunicorn names its own. The end says which log it is, so the middle gives way when it is long. */
static void name_program(const struct mc_conf *conf, const char *log, char out[MC_SYSLOG_NAME + 1])
{
    char middle[MC_SYSLOG_NAME], text[2 * MC_SYSLOG_NAME];
    const char *name = conf->set.syslog_prefix;
    if (!name)
        name = conf->set.proc_name && *conf->set.proc_name ? conf->set.proc_name : conf->napps && conf->apps[0].module ? conf->apps[0].module : "";
    snprintf(middle, sizeof middle - 16, "%s%s", *name ? "." : "", name);
    for (char *p = middle; *p; p++)
        *p = *p == ':' ? '.' : *p;
    snprintf(text, sizeof text, "monoceros%s.%s", middle, log);
    put_name(out, MC_SYSLOG_NAME + 1, text);
}

/* ---- lines ---- */

static unsigned send_text(enum mc_log_level level, bool access, const char *text, size_t n)
{
    char head[MC_SYSLOG_HEADER];
    struct timespec now;
    unsigned lost = 0;
    clock_gettime(CLOCK_REALTIME, &now);
    size_t h = mc_syslog_header(&self.style, level, access, &now, head);
    while (n > 0) {
        size_t part = mc_syslog_piece(text, n, MC_SYSLOG_MESSAGE - h);
        lost += mc_syslog_queue_put(head, h, text, part) != MC_OK;
        text += part;
        n -= part;
        if (n > 0 && *text == '\n')
            text++, n--;
    }
    return lost;
}

static void on_line(enum mc_log_level level, const char *text, size_t n)
{
    if (self.on && !quiet)
        (void)send_text(level, false, text, n);
}

static void tick(void)
{
    int why = 0;
    if (!self.on)
        return;
    unsigned lost = mc_syslog_queue_retry(&why);
    bool worse = lost != self.before;
    self.before = lost;
    if (lost == 0 || (worse && self.told))
        return;
    quiet = true;
    if (worse && why) {
        errno = why;
        mc_warn("syslog at %s takes no messages (%m): they are dropped and counted", self.text);
        self.told = true;
    } else if (why == 0) {
        mc_syslog_queue_taken(lost);
        self.before = 0;
        self.told = false;
        quiet = false; /* syslog is to hear of it, too */
        mc_warn("syslog: %u messages were dropped, sending works again", lost);
    }
    quiet = false;
}

/* ---- the access log ---- */

static int open_sink(const struct mc_conf *conf, int fd, void **sink)
{
    (void)fd;
    *sink = &self;
    return conf->set.syslog && !conf->set.disable_redirect_access_to_syslog ? MC_OK : MC_DECLINED;
}

static unsigned write_lines(void *sink, const char *p, size_t n, unsigned lines)
{
    (void)sink;
    unsigned lost = 0;
    for (const char *end; lines > 0 && n > 0 && (end = memchr(p, '\n', n)) != NULL; lines--) {
        size_t len = (size_t)(end - p);
        lost += self.on && send_text(MC_LOG_INFO, true, p, len) > 0;
        p = end + 1;
        n -= len + 1;
    }
    return lost;
}

static void close_sink(void *sink)
{
    (void)sink;
    tick();
}

/* ---- */

static void start(const struct mc_conf *conf)
{
    char err[200];
    mc_syslog_queue_close();
    self.on = self.told = false;
    self.before = 0;
    mc_log_tap(on_line, false);
    if (!conf->set.syslog || !conf->set.syslog_addr)
        return;
    if (mc_target_parse(conf->set.syslog_addr, PORT, &self.target, err, sizeof err) != MC_OK) { /* numbers: it was read before */
        mc_error("syslog_addr: %s", err);
        return;
    }
    snprintf(self.text, sizeof self.text, "%s", conf->set.syslog_addr);
    self.style.bsd = strcmp(conf->set.syslog_format, "rfc3164") == 0;
    self.style.facility = mc_syslog_facility(conf->set.syslog_facility);
    if (gethostname(err, sizeof err) != 0 || !*err)
        snprintf(err, sizeof err, "-"); /* RFC 5424: NILVALUE */
    err[sizeof err - 1] = '\0';
    put_name(self.style.host, sizeof self.style.host, err);
    name_program(conf, "error", self.style.error);
    name_program(conf, "access", self.style.access);
    mc_syslog_queue_open(&self.target);
    self.on = true;
    mc_log_tap(on_line, true);
}

static const struct mc_log_ops ops = {
    .start = start, .tick = tick, .open = open_sink, .write = write_lines, .close = close_sink, .eager = true};

const struct mc_module mc_module_log_syslog = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "syslog",
    .kind = MC_MODULE_LOG,
    .check_all = check,
    .ops.log = &ops,
};
