/* Time: monotonic for everything that measures, real time only for texts. Replaceable in tests. */
#ifndef MC_BASE_CLOCK_H
#define MC_BASE_CLOCK_H

#include "core/base/base.h"

#include <time.h>

/* Monotonic milliseconds / nanoseconds (CLOCK_MONOTONIC, shared by all processes of the machine). */
uint64_t mc_clock_ms(void);
uint64_t mc_clock_ns(void);
/* Tests: a function that replaces mc_clock_ms() (and mc_clock_ns(), times 10^6); NULL restores. */
void mc_clock_fake(uint64_t (*ms)(void));

#define MC_HTTP_DATE_LEN 29
/* IMF-fixdate (RFC 9110 §5.6.7), exactly MC_HTTP_DATE_LEN bytes, no NUL. */
void mc_clock_http_date(char out[MC_HTTP_DATE_LEN], time_t t);
#define MC_LOG_DATE_LEN 25
/* "2026-11-21 10:20:30 +0000" with the local zone, NUL-terminated; cap >= 32. */
void mc_clock_log_date(char *out, size_t cap, time_t t);
/* The same for signal handlers: with the zone offset that mc_clock_log_date() saw last (UTC before its first call). */
void mc_clock_log_date_safe(char *out, size_t cap, time_t t);
#define MC_CLOCK_RFC3339 32
/* "2026-11-21T10:20:30.123Z" (RFC 3339, UTC) with so many digits (0 to 9) behind the point; returns the length, at most MC_CLOCK_RFC3339 - 1, and
 * writes a NUL. Async-signal-safe, as the next one. */
size_t mc_clock_rfc3339(char out[MC_CLOCK_RFC3339], const struct timespec *t, unsigned digits);
#define MC_CLOCK_BSD_LEN 15
/* "Nov 21 10:20:30" (RFC 3164 §4.1.2), local time as in mc_clock_log_date_safe(); writes a NUL, too. */
void mc_clock_bsd(char out[MC_CLOCK_BSD_LEN + 1], time_t t);

#endif
