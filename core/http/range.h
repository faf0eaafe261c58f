/* Byte ranges (RFC 9110 §14). */
#ifndef MC_HTTP_RANGE_H
#define MC_HTTP_RANGE_H

#include "core/base/str.h"

enum { MC_RANGES_MAX = 16 };

struct mc_range {
    int64_t from, n; /* n > 0 */
};

/* The value of Range against a representation of `size` bytes. MC_OK with 1 to MC_RANGES_MAX ranges, in the order asked for; when any overlap or touch, sorted
 * and joined, so that they never add up to more than size. MC_DECLINED: ignore the field (another unit, bad syntax, too many). 416: none of them is there. */
int mc_range_parse(struct mc_str value, int64_t size, struct mc_range out[MC_RANGES_MAX], unsigned *n);

#endif
