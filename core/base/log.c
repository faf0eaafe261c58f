/* The error log: one line, one write. Lines that cannot be written are counted and the count is logged when writing works again.
 * Owns no descriptor (the caller opens, reopens and closes). Never blocks on a stalled reader of a pipe or socket and never fails.
 * Called everywhere, in every process, any thread; mc_log_signal_safe() also from handlers. */
#include "core/base/log.h"
#include "core/base/clock.h"
#include "core/base/str.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { LINE = 2048, LINE_MAX_BYTES = 65536 };

static atomic_int log_fd = STDERR_FILENO;
static atomic_int log_level = MC_LOG_INFO;
static atomic_uint lost;
static atomic_bool nowait; /* the fd is a pipe or a socket */
static atomic_bool torn;   /* the last line lacks its end: there was no room for it */

enum { TAPS = 4 };
static _Atomic(mc_log_tap_fn *) taps[TAPS];

static const char *const names[] = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"};

void mc_log_init(int fd, enum mc_log_level level)
{
    char date[32];
    mc_log_set_fd(fd);
    atomic_store(&log_level, (int)level);
    mc_clock_log_date(date, sizeof(date), time(NULL)); /* the zone for mc_log_signal_safe() */
}

int mc_log_fd(void)
{
    return atomic_load_explicit(&log_fd, memory_order_relaxed);
}

void mc_log_set_fd(int fd)
{
    struct stat st;
    atomic_store(&nowait, fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)));
    atomic_store(&log_fd, fd);
}

enum mc_log_level mc_log_level(void)
{
    return (enum mc_log_level)atomic_load_explicit(&log_level, memory_order_relaxed);
}

int mc_log_level_parse(const char *name, enum mc_log_level *out)
{
    if (strcasecmp(name, "warn") == 0) /* Python's other name for it */
        name = "warning";
    for (size_t i = 0; i < MC_COUNT(names); i++) {
        if (strcasecmp(name, names[i]) != 0)
            continue;
        *out = (enum mc_log_level)i;
        return MC_OK;
    }
    return MC_ERROR;
}

/* "[date] [pid] [LEVEL] ", async-signal-safe apart from the date, which the caller gives. */
static size_t prefix(char *out, const char *date, enum mc_log_level level)
{
    char *p = out;
    *p++ = '[';
    p = mempcpy(p, date, strlen(date));
    p = mempcpy(p, "] [", 3);
    p += mc_str_u64(p, (uint64_t)getpid());
    p = mempcpy(p, "] [", 3);
    p = mempcpy(p, names[level], strlen(names[level]));
    p = mempcpy(p, "] ", 2);
    return (size_t)(p - out);
}

/* RWF_NOWAIT keeps a stalled log reader from stopping us without touching the flags of a description that we may share with a
 * terminal or a supervisor. Kernels that cannot do it for this kind of file say EOPNOTSUPP. */
static ssize_t write_vec(struct iovec *iov, int n, size_t total)
{
    int fd = atomic_load_explicit(&log_fd, memory_order_relaxed);
    ssize_t done;
    do {
        done = -1;
        errno = EOPNOTSUPP;
        if (atomic_load_explicit(&nowait, memory_order_relaxed))
            done = pwritev2(fd, iov, n, -1, RWF_NOWAIT);
        if (done < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
            done = writev(fd, iov, n);
    } while (done < 0 && errno == EINTR);
    if (done > 0 && done < (ssize_t)total)
        atomic_store(&torn, true);
    return done == (ssize_t)total ? MC_OK : MC_ERROR;
}

static void tell_taps(enum mc_log_level level, const char *text, size_t n)
{
    for (size_t i = 0; i < TAPS; i++) {
        mc_log_tap_fn *fn = atomic_load_explicit(&taps[i], memory_order_acquire);
        if (mc_unlikely(fn != NULL))
            fn(level, text, n);
    }
}

static int write_line(enum mc_log_level level, const char *date, const char *text, size_t n)
{
    char head[96];
    size_t h = prefix(head, date, level);
    char end[] = "\n";
    struct iovec iov[4] = {{end, 1}, {head, h}, {(void *)(uintptr_t)text, n}, {end, 1}};
    bool mend = atomic_load_explicit(&torn, memory_order_relaxed) && atomic_exchange(&torn, false);
    int rc = (int)write_vec(mend ? iov : iov + 1, mend ? 4 : 3, h + n + 1 + mend);
    if (mend && rc != MC_OK)
        atomic_store(&torn, true);
    return rc;
}

static void report_lost(const char *date)
{
    unsigned n = atomic_exchange(&lost, 0);
    char text[80];
    if (n == 0)
        return;
    int len = snprintf(text, sizeof(text), "%u lines of this log could not be written", n);
    if (write_line(MC_LOG_WARNING, date, text, (size_t)len) != MC_OK)
        atomic_fetch_add(&lost, n);
}

static void emit(enum mc_log_level level, const char *text, size_t n)
{
    char date[32];
    mc_clock_log_date(date, sizeof(date), time(NULL));
    tell_taps(level, text, n);
    if (write_line(level, date, text, n) != MC_OK) {
        atomic_fetch_add(&lost, 1);
        return;
    }
    if (mc_unlikely(atomic_load_explicit(&lost, memory_order_relaxed) > 0))
        report_lost(date);
}

static bool is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
}

static size_t count_controls(const char *text, size_t n)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        found += is_control(text[i]);
    return found;
}

/* Control bytes as \xNN; without memory for that, as '?'. */
static void emit_scrubbed(enum mc_log_level level, char *text, size_t n, size_t controls)
{
    char *out = malloc(n + 3 * controls), *p = out;
    for (size_t i = 0; i < n; i++) {
        if (!is_control(text[i])) {
            if (out)
                *p++ = text[i];
        } else if (out) {
            p += mc_str_escape(p, 4, (struct mc_str){text + i, 1});
        } else {
            text[i] = '?';
        }
    }
    if (out)
        emit(level, out, (size_t)(p - out));
    else
        emit(level, text, n);
    free(out);
}

void mc_log_text(const char *text, size_t n)
{
    struct iovec iov = {(void *)(uintptr_t)text, n};
    if (n)
        tell_taps(MC_LOG_INFO, text, text[n - 1] == '\n' ? n - 1 : n);
    if (n && write_vec(&iov, 1, n) != MC_OK)
        atomic_fetch_add(&lost, 1);
}

void mc_log_vline(enum mc_log_level level, const char *fmt, va_list ap)
{
    char line[LINE], *text = line;
    int saved = errno;
    if (!mc_log_on(level))
        return;
    va_list again;
    va_copy(again, ap);
    int len = vsnprintf(line, sizeof(line), fmt, ap);
    size_t n = len < 0 ? 0 : (size_t)len;
    if (n >= sizeof(line)) {
        size_t cap = n < LINE_MAX_BYTES ? n + 1 : LINE_MAX_BYTES;
        char *more = malloc(cap);
        if (more) {
            vsnprintf(more, cap, fmt, again);
            text = more;
        } else {
            cap = sizeof(line);
        }
        n = n < cap ? n : cap - 1;
    }
    va_end(again);
    while (n && text[n - 1] == '\n')
        n--;
    size_t controls = count_controls(text, n);
    if (mc_unlikely(controls > 0))
        emit_scrubbed(level, text, n, controls);
    else
        emit(level, text, n);
    if (text != line)
        free(text);
    errno = saved;
}

void mc_log_line(enum mc_log_level level, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    mc_log_vline(level, fmt, ap);
    va_end(ap);
}

void mc_fatal(int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    mc_log_vline(MC_LOG_CRITICAL, fmt, ap);
    va_end(ap);
    /* Not exit(): in a forked child the exit handlers belong to the parent's interpreter. */
    _exit(code);
}

void mc_log_signal_safe(enum mc_log_level level, const char *text, size_t n)
{
    char date[32];
    struct timespec now;
    int saved = errno;
    clock_gettime(CLOCK_REALTIME, &now);
    mc_clock_log_date_safe(date, sizeof(date), now.tv_sec);
    tell_taps(level, text, n);
    if (write_line(level, date, text, n) != MC_OK)
        atomic_fetch_add(&lost, 1);
    errno = saved;
}

void mc_log_tap(mc_log_tap_fn *fn, bool on)
{
    mc_log_tap_fn *none = NULL;
    for (size_t i = 0; i < TAPS; i++) {
        if (atomic_load(&taps[i]) == fn) {
            atomic_store(&taps[i], on ? fn : NULL);
            return;
        }
    }
    for (size_t i = 0; on && i < TAPS; i++, none = NULL) {
        if (atomic_compare_exchange_strong(&taps[i], &none, fn))
            return;
    }
    MC_ASSERT(!on);
}

bool mc_log_limited(struct mc_log_limit *l, unsigned *missed)
{
    uint64_t now = mc_clock_ms(), next = l->next_ms;
    if (now < next || !atomic_compare_exchange_strong(&l->next_ms, &next, now + 1000)) {
        l->missed++;
        return false;
    }
    *missed = atomic_exchange(&l->missed, 0);
    return true;
}
