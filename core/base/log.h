/* The error log: Gunicorn's line format "[YYYY-MM-DD HH:MM:SS +ZZZZ] [pid] [LEVEL] message". One write(2) a line, O_APPEND.
 * A failed write is counted, never fatal; the count is logged once writing works again. Client bytes are escaped by the caller
 * with mc_str_escape(); control bytes other than '\n' and '\t' inside a message are escaped here. */
#ifndef MC_BASE_LOG_H
#define MC_BASE_LOG_H

#include "core/base/base.h"

#include <stdarg.h>

enum mc_log_level { MC_LOG_DEBUG, MC_LOG_INFO, MC_LOG_WARNING, MC_LOG_ERROR, MC_LOG_CRITICAL };

void mc_log_init(int fd, enum mc_log_level level); /* the fd stays the caller's; default: stderr at info */
int mc_log_fd(void);
void mc_log_set_fd(int fd);
enum mc_log_level mc_log_level(void);
int mc_log_level_parse(const char *name, enum mc_log_level *out); /* debug info warning error critical (any case) */
static inline bool mc_log_on(enum mc_log_level l) { return l >= mc_log_level(); }

void mc_log_line(enum mc_log_level level, const char *fmt, ...) MC_PRINTF(2, 3);
void mc_log_vline(enum mc_log_level level, const char *fmt, va_list ap) MC_PRINTF(2, 0);
#define mc_debug(...) (mc_log_on(MC_LOG_DEBUG) ? mc_log_line(MC_LOG_DEBUG, __VA_ARGS__) : (void) 0)
#define mc_info(...) mc_log_line(MC_LOG_INFO, __VA_ARGS__)
#define mc_warn(...) mc_log_line(MC_LOG_WARNING, __VA_ARGS__)
#define mc_error(...) mc_log_line(MC_LOG_ERROR, __VA_ARGS__)
#define mc_critical(...) mc_log_line(MC_LOG_CRITICAL, __VA_ARGS__)

/* Text of an app, whole lines, as it stands: no prefix, no level, no escapes. One write. */
void mc_log_text(const char *text, size_t n);

/* Others who want each line that is logged, whatever becomes of it in the log itself (syslog, counters): the bare message, and mc_log_text() as info.
 * Called by any thread, also in signal handlers: async-signal-safe, never waits, logs nothing. At most 4; set again or off: no harm. */
typedef void mc_log_tap_fn(enum mc_log_level level, const char *text, size_t n);
void mc_log_tap(mc_log_tap_fn *fn, bool on);

/* Environment failure that this process cannot survive: logs at critical, exits with code. */
MC_NORETURN void mc_fatal(int code, const char *fmt, ...) MC_PRINTF(2, 3);

/* Async-signal-safe: write a line from a handler; `text` is written as it stands. */
void mc_log_signal_safe(enum mc_log_level level, const char *text, size_t n);

/* At most one line a second and key: true when this one may be logged; *missed gets the count suppressed since the last one. */
struct mc_log_limit { _Atomic uint64_t next_ms; _Atomic unsigned missed; };
bool mc_log_limited(struct mc_log_limit *l, unsigned *missed);

#endif
