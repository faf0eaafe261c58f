/* Status codes and their texts (RFC 9110 §15, IANA registry). */
#ifndef MC_HTTP_STATUS_H
#define MC_HTTP_STATUS_H

#include "core/base/str.h"

/* "Not Found"; "Unknown" for a code without a registered text. */
struct mc_str mc_status_reason(int status);
/* "HTTP/1.1 404 Not Found\r\n"; p is NULL for a code without a registered text. */
struct mc_str mc_status_line(int status);
/* 1xx, 204 and 304 never carry a body (RFC 9112 §6.3). */
static inline bool mc_status_bodyless(int status) { return status < 200 || status == 204 || status == 304; }

#endif
