/* JSON strings. Pure, async-signal-safe; called by the access log. */
#include "core/base/json.h"

enum { ESCAPE_MAX = 12 /* a pair of surrogates */ };

static const char hex[] = "0123456789abcdef";

/* The length of the UTF-8 character at p (RFC 3629), 0 when it is none. */
static size_t decode(const unsigned char *p, size_t n, uint32_t *c)
{
    static const struct {
        unsigned char mask, lead;
        uint32_t least;
    } forms[] = {{0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (size_t i = 0; i < MC_COUNT(forms); i++) {
        size_t len = i + 2;
        if ((p[0] & forms[i].mask) != forms[i].lead)
            continue;
        if (n < len)
            return 0;
        *c = p[0] & (unsigned char)~forms[i].mask;
        for (size_t k = 1; k < len; k++) {
            if ((p[k] & 0xc0) != 0x80)
                return 0;
            *c = *c << 6 | (p[k] & 0x3f);
        }
        bool valid = *c >= forms[i].least && *c <= 0x10ffff && !(*c >= 0xd800 && *c <= 0xdfff);
        return valid ? len : 0;
    }
    return 0;
}

static char *put_unit(char *out, uint32_t unit)
{
    *out++ = '\\';
    *out++ = 'u';
    for (int shift = 12; shift >= 0; shift -= 4)
        *out++ = hex[unit >> shift & 15];
    return out;
}

static char *put_byte(char *out, unsigned char c)
{
    static const char from[] = "\b\t\n\f\r", to[] = "btnfr";
    const char *at = c ? strchr(from, c) : NULL;
    if (c == '"' || c == '\\' || at) {
        *out++ = '\\';
        *out++ = at ? to[at - from] : (char)c;
    } else if (c < 0x20 || c == 0x7f) {
        return put_unit(out, c);
    } else if (c < 0x80) {
        *out++ = (char)c;
    } else {
        memcpy(out, "\\\\x", 3);
        out[3] = hex[c >> 4];
        out[4] = hex[c & 15];
        out += 5;
    }
    return out;
}

size_t mc_json_escape(char *out, size_t cap, struct mc_str *s)
{
    char *p = out;
    while (s->n > 0) {
        char text[ESCAPE_MAX], *end = text;
        const unsigned char *from = (const unsigned char *)s->p;
        uint32_t c = 0;
        size_t used = *from < 0x80 ? 0 : decode(from, s->n, &c);
        if (used == 0)
            end = put_byte(text, *from);
        else if (c < 0x10000)
            end = put_unit(text, c);
        else
            end = put_unit(put_unit(text, 0xd800 + ((c - 0x10000) >> 10)), 0xdc00 + ((c - 0x10000) & 0x3ff));
        size_t len = (size_t)(end - text);
        if (len > cap - (size_t)(p - out))
            break;
        memcpy(p, text, len);
        p += len;
        used += used == 0;
        s->p += used;
        s->n -= used;
    }
    return (size_t)(p - out);
}
