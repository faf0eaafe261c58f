/* SHA-1 of a short text: contract in sha1.h. Pure. */
#include "core/base/sha1.h"

#include <string.h>

static uint32_t rol(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

static void block(uint32_t h[5], const unsigned char *p)
{
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (unsigned i = 0; i < 16; i++) {
        w[i] = (uint32_t) p[4 * i] << 24 | (uint32_t) p[4 * i + 1] << 16 | (uint32_t) p[4 * i + 2] << 8 | p[4 * i + 3];
    }
    for (unsigned i = 16; i < 80; i++) {
        w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    }
    for (unsigned i = 0; i < 80; i++) {
        uint32_t f = i < 20 ? (b & c) | (~b & d) : i < 40 || i >= 60 ? b ^ c ^ d : (b & c) | (b & d) | (c & d);
        uint32_t k = i < 20 ? 0x5a827999 : i < 40 ? 0x6ed9eba1 : i < 60 ? 0x8f1bbcdc : 0xca62c1d6;
        uint32_t t = rol(a, 5) + f + e + k + w[i];
        e = d;
        d = c;
        c = rol(b, 30);
        b = a;
        a = t;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

void mc_sha1(const void *p, size_t n, unsigned char out[20])
{
    uint32_t h[5] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 };
    unsigned char text[128] = { 0 };
    MC_ASSERT(n <= MC_SHA1_MAX);
    size_t blocks = n + 9 <= 64 ? 1 : 2;
    if (n > 0) {
        memcpy(text, p, n);
    }
    text[n] = 0x80;
    text[64 * blocks - 2] = (unsigned char) (n * 8 >> 8);
    text[64 * blocks - 1] = (unsigned char) (n * 8);
    for (size_t i = 0; i < blocks; i++) {
        block(h, text + 64 * i);
    }
    for (unsigned i = 0; i < 20; i++) {
        out[i] = (unsigned char) (h[i / 4] >> (24 - 8 * (i % 4)));
    }
}
