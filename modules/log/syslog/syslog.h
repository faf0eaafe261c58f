/* Inside of the syslog module. */
#ifndef MC_LOG_SYSLOG_H
#define MC_LOG_SYSLOG_H

#include "core/base/log.h"
#include "core/os/target.h"

enum {
    MC_SYSLOG_MESSAGE = 8192, /* a longer text becomes several messages: servers take no more */
    MC_SYSLOG_HEADER = 400,
    MC_SYSLOG_NAME = 48 /* RFC 5424 §6: of an APP-NAME */
};

/* ---- message.c ---- */
struct mc_syslog_style {
    bool bsd; /* RFC 3164, as local syslog daemons have always had it; else RFC 5424 */
    int facility;
    char host[256];
    char error[MC_SYSLOG_NAME + 1], access[MC_SYSLOG_NAME + 1]; /* names of the program */
};
/* The code of a facility by name (any case), -1: unknown. */
int mc_syslog_facility(const char *name);
/* What of a text fits into one message: up to `max` bytes, if possible to the end of a line. */
size_t mc_syslog_piece(const char *text, size_t n, size_t max);
/* What stands before the text; returns its length. Async-signal-safe. */
size_t mc_syslog_header(const struct mc_syslog_style *s, enum mc_log_level level, bool access, const struct timespec *now, char out[MC_SYSLOG_HEADER]);

/* ---- queue.c: a socket and what it has not taken yet. Any thread, also in signal handlers; never waits ---- */
/* Forget what a parent had, connect. */
void mc_syslog_queue_open(const struct mc_target *t);
void mc_syslog_queue_close(void);
/* MC_OK: sent or queued; MC_ERROR: lost, and counted. */
int mc_syslog_queue_put(const char *head, size_t h, const char *text, size_t n);
/* Try again. *why: an errno, or 0; returns what is lost since the last count that was taken. */
unsigned mc_syslog_queue_retry(int *why);
void mc_syslog_queue_taken(unsigned lost);

#endif
