/* String slices: pointer and length, not NUL-terminated unless a contract says so. */
#ifndef MC_BASE_STR_H
#define MC_BASE_STR_H

#include "core/base/base.h"

#include <endian.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

struct mc_str {
    const char *p;
    size_t n;
};

#define MC_STR(lit) ((struct mc_str){ (lit), sizeof(lit) - 1 })
#define MC_STR_NONE ((struct mc_str){ NULL, 0 })

static inline struct mc_str mc_str(const char *z) { return (struct mc_str){ z, z ? strlen(z) : 0 }; }
static inline bool mc_str_eq(struct mc_str a, struct mc_str b) { return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0); }

/* ASCII case-insensitive comparison; `lower` must already be lower case in mc_str_is(). */
bool mc_str_eq_nocase(struct mc_str a, struct mc_str b);
static inline unsigned char mc_lower(unsigned char c) { return (unsigned char) (c >= 'A' && c <= 'Z' ? c | 0x20 : c); }

/* The value of a hex digit, or -1. */
static inline int mc_hex_digit(unsigned char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c = mc_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Which of the MC_STR_STEP bytes at p are below 0x20 or 0x7f: MC_STR_STEP_BITS bits each, the first byte's the lowest. */
#ifdef __SSE2__
enum { MC_STR_STEP = 16, MC_STR_STEP_BITS = 1 };
static inline uint64_t mc_str_controls(const char *p)
{
    __m128i v = _mm_loadu_si128((const __m128i *) (const void *) p), low = _mm_set1_epi8(0x1f);
    __m128i found = _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(v, low), v), _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f)));
    return (unsigned) _mm_movemask_epi8(found);
}
#else
enum { MC_STR_STEP = 8, MC_STR_STEP_BITS = 8 };
static inline uint64_t mc_str_controls(const char *p)
{
    const uint64_t ones = 0x0101010101010101u, low = ones * 0x7f;
    uint64_t v, del;
    memcpy(&v, p, sizeof v);
    v = le64toh(v);
    del = v ^ low;
    return ~((((v & low) + ones * 0x60) | v) & (((del & low) + low) | del)) & ~low;
}
#endif

/* First position in [i, n) of a control byte, or n. */
static inline size_t mc_str_plain(const char *p, size_t i, size_t n)
{
    for (; n - i >= MC_STR_STEP; i += MC_STR_STEP) {
        uint64_t found = mc_str_controls(p + i);
        if (found)
            return i + (size_t) __builtin_ctzll(found) / MC_STR_STEP_BITS;
    }
    if (i < n && n >= MC_STR_STEP) { /* the rest, together with bytes before it */
        uint64_t found = mc_str_controls(p + n - MC_STR_STEP) >> (i + MC_STR_STEP - n) * MC_STR_STEP_BITS;
        return found ? i + (size_t) __builtin_ctzll(found) / MC_STR_STEP_BITS : n;
    }
    while (i < n && (unsigned char) p[i] >= 0x20 && p[i] != 0x7f)
        i++;
    return i;
}

/* Digits only, no sign, no blanks, checked: MC_OK, or MC_ERROR on any other byte, an empty string or a value over `max`. */
int mc_str_to_u64(struct mc_str s, uint64_t max, uint64_t *out);
/* 1-16 hex digits, same rules. */
int mc_str_hex_u64(struct mc_str s, uint64_t *out);

static inline bool mc_str_blank(char c) { return c == ' ' || c == '\t'; }

/* Strip SP and HTAB at both ends (RFC 9110 OWS). */
static inline struct mc_str mc_str_trim(struct mc_str s)
{
    while (s.n && mc_str_blank(s.p[0]))
        s.p++, s.n--;
    while (s.n && mc_str_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* Iterate a comma list (RFC 9110 §5.6.1): *rest shrinks; false at the end. Empty elements are skipped. */
bool mc_str_next_token(struct mc_str *rest, struct mc_str *token);

static inline uint64_t mc_str_word8(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t mc_str_word4(const char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Case-insensitive 32-bit hash of a header name (also used by the Python side's name cache): for this process only. Every name of every request is
 * hashed, so it takes words, of which the last two may overlap, with the bit of ASCII case set in all bytes. */
static inline uint32_t mc_str_hash_nocase(struct mc_str s)
{
    const uint64_t fold = 0x2020202020202020u, mix = 0x9e3779b97f4a7c15u;
    uint64_t h = s.n * mix, last = 0;
    if (s.n >= 8) {
        for (size_t i = 0; s.n - i > 8; i += 8) {
            h = (h ^ (mc_str_word8(s.p + i) | fold)) * mix;
            h ^= h >> 32;
        }
        last = mc_str_word8(s.p + s.n - 8);
    } else if (s.n >= 4) {
        last = (uint64_t) mc_str_word4(s.p) << 32 | mc_str_word4(s.p + s.n - 4);
    } else if (s.n > 0) {
        last = (uint64_t) (unsigned char) s.p[0] << 16 | (uint64_t) (unsigned char) s.p[s.n / 2] << 8 | (unsigned char) s.p[s.n - 1];
    }
    h = (h ^ (last | fold)) * mix;
    return (uint32_t) (h >> 32 ^ h);
}

/* FNV-1a of bytes. */
uint32_t mc_str_hash(struct mc_str s);

/* Escape for logs, as Apache and Gunicorn do: every byte outside 0x20-0x7e becomes \xNN, '"' and '\' get a '\' before them. Writes at most
 * cap bytes, never a half escape; returns the bytes written. */
size_t mc_str_escape(char *out, size_t cap, struct mc_str s);

/* Format an unsigned number in decimal; returns the length (at most 20). No NUL is written. */
size_t mc_str_u64(char *out, uint64_t v);

/* One growing, bounded string builder: the only place that measures and copies (cures the "two-pass" overflow class).
 * On overflow or lack of memory it sets `bad` and ignores all that follows. Free with mc_sb_fini(). */
struct mc_sb {
    char *p;
    size_t n, cap, max;
    bool bad;
};
void mc_sb_init(struct mc_sb *sb, size_t max);
void mc_sb_fini(struct mc_sb *sb);
void mc_sb_add(struct mc_sb *sb, const void *p, size_t n);
void mc_sb_addc(struct mc_sb *sb, char c);
void mc_sb_addz(struct mc_sb *sb, const char *z);
void mc_sb_addf(struct mc_sb *sb, const char *fmt, ...) MC_PRINTF(2, 3);
/* NUL-terminated contents (the NUL is not counted in n); "" when bad. */
const char *mc_sb_z(struct mc_sb *sb);

#endif
