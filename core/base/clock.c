/* Time: the monotonic clock, HTTP dates and log dates. Texts are cached a thread and second, so that a request costs no formatting.
 * Never asks the locale. mc_clock_log_date_safe() needs neither locks nor the zone files: it uses the offset seen last.
 * Called everywhere, in every process. */
#include "core/base/clock.h"

#include <stdatomic.h>
#include <string.h>

static uint64_t (*fake)(void);
static atomic_long zone_offset; /* seconds east of UTC, as of the last formatted log date */

static uint64_t real_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t mc_clock_ms(void)
{
    return mc_unlikely(fake != NULL) ? fake() : real_ns() / 1000000u;
}

uint64_t mc_clock_ns(void)
{
    return mc_unlikely(fake != NULL) ? fake() * 1000000u : real_ns();
}

void mc_clock_fake(uint64_t (*ms)(void))
{
    fake = ms;
}

struct civil {
    unsigned year, month, day, hour, min, sec, weekday; /* month and day from 1, weekday 0 = Sunday */
};

/* Days since 1970-01-01 to the proleptic Gregorian calendar, in years that begin in March (so that the leap day comes last). Own
 * code, because gmtime_r() takes a lock and may not be called from a signal handler. Years outside 0-9999 become the epoch. */
static struct civil to_civil(int64_t t)
{
    enum { ERA_DAYS = 146097 }; /* 400 years */
    if (t < -62167219200 || t > 253402300799)
        t = 0;
    int64_t days = t / 86400, rest = t % 86400;
    if (rest < 0)
        days--, rest += 86400;
    int64_t z = days + 719468; /* since 0000-03-01 */
    int64_t era = (z >= 0 ? z : z - ERA_DAYS + 1) / ERA_DAYS;
    unsigned doe = (unsigned)(z - era * ERA_DAYS);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / (ERA_DAYS - 1)) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153;
    struct civil c = {
        .day = doy - (153 * mp + 2) / 5 + 1,
        .month = mp < 10 ? mp + 3 : mp - 9,
        .hour = (unsigned)rest / 3600,
        .min = (unsigned)rest / 60 % 60,
        .sec = (unsigned)rest % 60,
        .weekday = (unsigned)(((days % 7) + 11) % 7),
    };
    c.year = (unsigned)((int64_t)yoe + era * 400 + (c.month <= 2));
    return c;
}

/* Two digits and a separator. */
static char *put2(char *p, unsigned v, char sep)
{
    p[0] = (char)('0' + v / 10 % 10);
    p[1] = (char)('0' + v % 10);
    p[2] = sep;
    return p + 3;
}

static char *put4(char *p, unsigned v, char sep)
{
    p[0] = (char)('0' + v / 1000 % 10);
    p[1] = (char)('0' + v / 100 % 10);
    return put2(p + 2, v % 100, sep);
}

static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

static void format_http(char *p, time_t t)
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    struct civil c = to_civil(t);
    memcpy(p, days[c.weekday], 3);
    memcpy(p + 3, ", ", 2);
    p = put2(p + 5, c.day, ' ');
    memcpy(p, months[c.month - 1], 3);
    p[3] = ' ';
    p = put4(p + 4, c.year, ' ');
    p = put2(p, c.hour, ':');
    p = put2(p, c.min, ':');
    p = put2(p, c.sec, ' ');
    memcpy(p, "GMT", 3);
}

void mc_clock_http_date(char out[MC_HTTP_DATE_LEN], time_t t)
{
    static _Thread_local struct {
        time_t at;
        bool set;
        char text[MC_HTTP_DATE_LEN];
    } last;
    if (!last.set || last.at != t) {
        format_http(last.text, t);
        last.at = t;
        last.set = true;
    }
    memcpy(out, last.text, MC_HTTP_DATE_LEN);
}

static void format_log(char *p, time_t t, long offset)
{
    struct civil c = to_civil((int64_t)t + offset);
    unsigned zone = (unsigned)(offset < 0 ? -offset : offset) / 60;
    p = put4(p, c.year, '-');
    p = put2(p, c.month, '-');
    p = put2(p, c.day, ' ');
    p = put2(p, c.hour, ':');
    p = put2(p, c.min, ':');
    p = put2(p, c.sec, ' ');
    *p++ = offset < 0 ? '-' : '+';
    put4(p, zone / 60 * 100 + zone % 60, '\0');
}

void mc_clock_log_date(char *out, size_t cap, time_t t)
{
    static _Thread_local struct {
        time_t at;
        bool set;
        char text[MC_LOG_DATE_LEN + 1];
    } last;
    MC_ASSERT(cap > MC_LOG_DATE_LEN);
    if (!last.set || last.at != t) {
        struct tm tm;
        long offset = localtime_r(&t, &tm) ? tm.tm_gmtoff : 0;
        atomic_store_explicit(&zone_offset, offset, memory_order_relaxed);
        format_log(last.text, t, offset);
        last.at = t;
        last.set = true;
    }
    memcpy(out, last.text, sizeof(last.text));
}

void mc_clock_log_date_safe(char *out, size_t cap, time_t t)
{
    MC_ASSERT(cap > MC_LOG_DATE_LEN);
    format_log(out, t, atomic_load_explicit(&zone_offset, memory_order_relaxed));
}

size_t mc_clock_rfc3339(char out[MC_CLOCK_RFC3339], const struct timespec *t, unsigned digits)
{
    struct civil c = to_civil((int64_t)t->tv_sec);
    char *p = put4(out, c.year, '-');
    p = put2(p, c.month, '-');
    p = put2(p, c.day, 'T');
    p = put2(p, c.hour, ':');
    p = put2(p, c.min, ':');
    p = put2(p, c.sec, '.');
    long rest = t->tv_nsec, unit = 100000000;
    if (digits == 0)
        p--;
    for (; digits > 0 && unit > 0; digits--, unit /= 10) {
        *p++ = (char)('0' + rest / unit % 10);
    }
    *p++ = 'Z';
    *p = '\0';
    return (size_t)(p - out);
}

void mc_clock_bsd(char out[MC_CLOCK_BSD_LEN + 1], time_t t)
{
    struct civil c = to_civil((int64_t)t + atomic_load_explicit(&zone_offset, memory_order_relaxed));
    memcpy(out, months[c.month - 1], 3);
    out[3] = ' ';
    put2(out + 4, c.day, ' ');
    if (out[4] == '0')
        out[4] = ' ';
    char *p = put2(out + 7, c.hour, ':');
    p = put2(p, c.min, ':');
    put2(p, c.sec, '\0');
}
