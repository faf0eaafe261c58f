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

#endif
