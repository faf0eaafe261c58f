/* SHA-1 (FIPS 180-4), for the handshake of WebSockets, which asks for it. Not for anything that must be safe. */
#ifndef MC_BASE_SHA1_H
#define MC_BASE_SHA1_H

#include "core/base/base.h"

enum { MC_SHA1_MAX = 119 /* bytes: two blocks are enough for the one who asks */ };
void mc_sha1(const void *p, size_t n, unsigned char out[20]);

#endif
