/* UTF-8 as it comes (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF; wrong bytes are found as soon as they are there. */
#ifndef MC_BASE_UTF8_H
#define MC_BASE_UTF8_H

#include "core/base/base.h"

/* Zeroed: between two characters. */
struct mc_utf8 {
    uint8_t need;   /* bytes of this character that are still to come */
    uint8_t lo, hi; /* bounds of the next one, when they are narrower than 80-BF; hi 0: they are not */
};

/* false: it cannot be UTF-8 any more. */
bool mc_utf8_feed(struct mc_utf8 *u, const void *p, size_t n);
static inline bool mc_utf8_whole(const struct mc_utf8 *u) { return u->need == 0; }

#endif
