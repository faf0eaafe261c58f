/* UTF-8 as it comes: contract in utf8.h. Pure. */
#include "core/base/utf8.h"

#include <string.h>

/* The bytes from p on that are ASCII, eight at a time where there are so many. */
static size_t ascii(const unsigned char *p, size_t n)
{
    size_t i = 0;
    uint64_t eight;
    while (n - i >= 8) {
        memcpy(&eight, p + i, 8);
        if (eight & UINT64_C(0x8080808080808080)) {
            break;
        }
        i += 8;
    }
    while (i < n && p[i] < 0x80) {
        i++;
    }
    return i;
}

/* The first byte of a longer character (Unicode, table 3-7). */
static bool begin(struct mc_utf8 *u, unsigned char c)
{
    u->lo = u->hi = 0;
    if (c >= 0xc2 && c <= 0xdf) {
        u->need = 1;
    } else if (c >= 0xe0 && c <= 0xef) {
        u->need = 2;
        u->lo = c == 0xe0 ? 0xa0 : 0x80;
        u->hi = c == 0xed ? 0x9f : 0xbf;
    } else if (c >= 0xf0 && c <= 0xf4) {
        u->need = 3;
        u->lo = c == 0xf0 ? 0x90 : 0x80;
        u->hi = c == 0xf4 ? 0x8f : 0xbf;
    }
    return u->need > 0;
}

bool mc_utf8_feed(struct mc_utf8 *u, const void *data, size_t n)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i++) {
        if (u->need == 0) {
            i += ascii(p + i, n - i);
            if (i == n) {
                return true;
            }
            if (!begin(u, p[i])) {
                return false;
            }
            continue;
        }
        unsigned char lo = u->hi ? u->lo : 0x80, hi = u->hi ? u->hi : 0xbf;
        if (p[i] < lo || p[i] > hi) {
            return false;
        }
        u->hi = 0;
        u->need--;
    }
    return true;
}
