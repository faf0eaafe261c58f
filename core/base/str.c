/* Slices and the string builder: checked numbers, comma lists, hashes, escapes. ASCII only; the locale is never asked.
 * Called everywhere, in every process. Allocates only in the builder. */
#include "core/base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

bool mc_str_eq_nocase(struct mc_str a, struct mc_str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++) {
        if (mc_lower((unsigned char)a.p[i]) != mc_lower((unsigned char)b.p[i]))
            return false;
    }
    return true;
}

enum { FIT = 19 /* digits, whatever they are */ };

int mc_str_to_u64(struct mc_str s, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    const char *p = s.p, *end = s.p + s.n, *fit = s.n > FIT ? s.p + FIT : end;
    unsigned d;
    for (; p < fit; v = v * 10 + d) {
        d = (unsigned char)*p++ - (unsigned)'0';
        if (d > 9)
            return MC_ERROR;
    }
    for (; p < end; v = v * 10 + d) {
        d = (unsigned char)*p++ - (unsigned)'0';
        if (d > 9 || v > (UINT64_MAX - d) / 10)
            return MC_ERROR;
    }
    if (s.n == 0 || v > max)
        return MC_ERROR;
    *out = v;
    return MC_OK;
}

int mc_str_hex_u64(struct mc_str s, uint64_t *out)
{
    uint64_t v = 0;
    if (s.n == 0 || s.n > 16)
        return MC_ERROR;
    for (size_t i = 0; i < s.n; i++) {
        int d = mc_hex_digit((unsigned char)s.p[i]);
        if (d < 0)
            return MC_ERROR;
        v = v << 4 | (uint64_t)d;
    }
    *out = v;
    return MC_OK;
}

bool mc_str_next_token(struct mc_str *rest, struct mc_str *token)
{
    while (rest->n) {
        const char *comma = memchr(rest->p, ',', rest->n);
        size_t n = comma ? (size_t)(comma - rest->p) : rest->n;
        *token = mc_str_trim((struct mc_str){rest->p, n});
        size_t skip = comma ? n + 1 : n;
        rest->p += skip;
        rest->n -= skip;
        if (token->n)
            return true;
    }
    return false;
}

enum { FNV_BASIS = 2166136261u, FNV_PRIME = 16777619u };

uint32_t mc_str_hash(struct mc_str s)
{
    uint32_t h = FNV_BASIS;
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * FNV_PRIME;
    return h;
}

size_t mc_str_escape(char *out, size_t cap, struct mc_str s)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool plain = c >= 0x20 && c <= 0x7e, quoted = c == '"' || c == '\\';
        if (cap - n < (!plain ? 4u : quoted ? 2u : 1u))
            break;
        if (!plain || quoted)
            out[n++] = '\\';
        if (plain) {
            out[n++] = (char)c;
            continue;
        }
        out[n++] = 'x';
        out[n++] = hex[c >> 4];
        out[n++] = hex[c & 15];
    }
    return n;
}

size_t mc_str_u64(char *out, uint64_t v)
{
    size_t n = 1;
    for (uint64_t rest = v; rest >= 10; rest /= 10)
        n++;
    for (size_t i = n; i-- > 0; v /= 10)
        out[i] = (char)('0' + v % 10);
    return n;
}

void mc_sb_init(struct mc_sb *sb, size_t max)
{
    *sb = (struct mc_sb){.max = max};
}

void mc_sb_fini(struct mc_sb *sb)
{
    free(sb->p);
    *sb = (struct mc_sb){.max = sb->max};
}

/* Room for n more bytes and the NUL of mc_sb_z(). */
static bool fit(struct mc_sb *sb, size_t n)
{
    if (sb->bad)
        return false;
    if (n > sb->max - sb->n || sb->max > SIZE_MAX / 2) {
        sb->bad = true;
        return false;
    }
    size_t need = sb->n + n + 1;
    if (need <= sb->cap)
        return true;
    size_t cap = sb->cap ? sb->cap * 2 : 64;
    if (cap > sb->max + 1)
        cap = sb->max + 1;
    if (cap < need)
        cap = need;
    char *p = realloc(sb->p, cap);
    if (!p) {
        sb->bad = true;
        return false;
    }
    sb->p = p;
    sb->cap = cap;
    return true;
}

void mc_sb_add(struct mc_sb *sb, const void *p, size_t n)
{
    if (n == 0 || !fit(sb, n))
        return;
    memcpy(sb->p + sb->n, p, n);
    sb->n += n;
}

void mc_sb_addc(struct mc_sb *sb, char c)
{
    mc_sb_add(sb, &c, 1);
}

void mc_sb_addz(struct mc_sb *sb, const char *z)
{
    mc_sb_add(sb, z, strlen(z));
}

void mc_sb_addf(struct mc_sb *sb, const char *fmt, ...)
{
    if (!fit(sb, 0))
        return;
    size_t room = sb->cap - sb->n;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(sb->p + sb->n, room, fmt, ap);
    va_end(ap);
    if (n < 0 || !fit(sb, (size_t)n)) {
        sb->bad = true;
        return;
    }
    if ((size_t)n >= room) {
        va_start(ap, fmt);
        vsnprintf(sb->p + sb->n, sb->cap - sb->n, fmt, ap);
        va_end(ap);
    }
    sb->n += (size_t)n;
}

const char *mc_sb_z(struct mc_sb *sb)
{
    if (!fit(sb, 0))
        return "";
    sb->p[sb->n] = '\0';
    return sb->p;
}
