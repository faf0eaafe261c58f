/* Messages as RFC 5424 (or, for old and local daemons, RFC 3164) has them. Pure. */
#include "modules/log/syslog/syslog.h"

#include "core/base/clock.h"

#include <strings.h>
#include <unistd.h>

/* RFC 5424 §6.2.1, by the names that Gunicorn knows. */
static const struct {
    const char *name;
    int code;
} facilities[] = {
    {"kern", 0},    {"user", 1},    {"mail", 2},    {"daemon", 3},  {"auth", 4},    {"security", 4}, {"syslog", 5},  {"lpr", 6},
    {"news", 7},    {"uucp", 8},    {"cron", 9},    {"authpriv", 10}, {"ftp", 11},  {"local0", 16},  {"local1", 17}, {"local2", 18},
    {"local3", 19}, {"local4", 20}, {"local5", 21}, {"local6", 22}, {"local7", 23},
};

int mc_syslog_facility(const char *name)
{
    for (size_t i = 0; i < MC_COUNT(facilities); i++) {
        if (strcasecmp(facilities[i].name, name) == 0)
            return facilities[i].code;
    }
    return -1;
}

size_t mc_syslog_piece(const char *text, size_t n, size_t max)
{
    if (n <= max)
        return n;
    const char *end = memrchr(text, '\n', max);
    return end && end > text ? (size_t)(end - text) : max;
}

static char *put(char *p, const char *text)
{
    size_t n = strlen(text);
    memcpy(p, text, n);
    return p + n;
}

static int severity(enum mc_log_level level)
{
    static const int codes[] = {[MC_LOG_DEBUG] = 7, [MC_LOG_INFO] = 6, [MC_LOG_WARNING] = 4, [MC_LOG_ERROR] = 3, [MC_LOG_CRITICAL] = 2};
    return codes[level];
}

size_t mc_syslog_header(const struct mc_syslog_style *s, enum mc_log_level level, bool access, const struct timespec *now, char out[MC_SYSLOG_HEADER])
{
    char *p = out;
    const char *name = access ? s->access : s->error;
    *p++ = '<';
    p += mc_str_u64(p, (uint64_t)(s->facility * 8 + severity(level)));
    *p++ = '>';
    if (s->bsd) { /* without the host: a local daemon knows where it is */
        mc_clock_bsd(p, now->tv_sec);
        p = put(p + MC_CLOCK_BSD_LEN, " ");
        p = put(p, name);
        p = put(p, "[");
        p += mc_str_u64(p, (uint64_t)getpid());
        p = put(p, "]: ");
        return (size_t)(p - out);
    }
    p = put(p, "1 ");
    p += mc_clock_rfc3339(p, now, 6);
    *p++ = ' ';
    p = put(p, s->host);
    *p++ = ' ';
    p = put(p, name);
    *p++ = ' ';
    p += mc_str_u64(p, (uint64_t)getpid());
    p = put(p, access ? " access - " : " error - ");
    return (size_t)(p - out);
}
