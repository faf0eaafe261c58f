/* SipHash-2-4 (Aumasson, Bernstein). Pure. Called where clients choose the keys of a table. */
#include "core/base/sip.h"

static uint64_t turn(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static void rounds(uint64_t v[4], int n)
{
    while (n-- > 0) {
        v[0] += v[1];
        v[1] = turn(v[1], 13) ^ v[0];
        v[0] = turn(v[0], 32);
        v[2] += v[3];
        v[3] = turn(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = turn(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = turn(v[1], 17) ^ v[2];
        v[2] = turn(v[2], 32);
    }
}

/* Up to eight bytes, little-endian whatever the machine. */
static uint64_t word(const char *p, size_t n)
{
    uint64_t w = 0;
    while (n-- > 0)
        w = w << 8 | (unsigned char)p[n];
    return w;
}

uint64_t mc_sip(const uint64_t key[2], struct mc_str s)
{
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du, key[0] ^ 0x6c7967656e657261u, key[1] ^ 0x7465646279746573u};
    size_t i = 0;
    for (; s.n - i >= 8; i += 8) {
        uint64_t w = word(s.p + i, 8);
        v[3] ^= w;
        rounds(v, 2);
        v[0] ^= w;
    }
    uint64_t last = (uint64_t)s.n << 56 | word(s.p + i, s.n - i);
    v[3] ^= last;
    rounds(v, 2);
    v[0] ^= last;
    v[2] ^= 0xff;
    rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
