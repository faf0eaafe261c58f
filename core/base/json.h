/* Text as the inside of a JSON string (RFC 8259 §7). */
#ifndef MC_BASE_JSON_H
#define MC_BASE_JSON_H

#include "core/base/str.h"

/* Printable ASCII only: other characters of valid UTF-8 become \uXXXX, bytes that are none become \\xNN (the text \xNN). Writes at most cap bytes, never
 * a half escape; s shrinks to what found no room. Returns the bytes written. */
size_t mc_json_escape(char *out, size_t cap, struct mc_str *s);

#endif
