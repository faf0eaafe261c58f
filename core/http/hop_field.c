/* Monoceros-Hop, there and back: hex token, then words of a key (one character), '=' and a value. Texts are percent-encoded but for what is plain,
 * addresses are the hex of address and port. Called by server/hop.c and server/hop_in.c. Worker side. */
#include "core/http/hop_field.h"

#include <string.h>

enum { KEY_TEXT = 'a', KEY_ADDR = 'A', KEY_FLAGS = '1', KEY_VERSION = '2', KEY_LEFT = '3', ADDR_MAX = 36, NUMBER_MAX = 20 };
_Static_assert(MC_HOP_TEXTS <= 26 && MC_HOP_ADDRS <= 26, "one letter each");

static const char digits[] = "0123456789abcdef";

/* ---- there ---- */

/* Stands for itself: letters, digits and some that are frequent in names, paths and certificates. */
static bool plain(unsigned char c)
{
    unsigned lower = c | 32u, number = (unsigned) c - (unsigned) '0';
    return lower - (unsigned) 'a' < 26u || number < 10u || (c && strchr("-._~:/,+?&", c) != NULL) || c == '=';
}

static char *put_hex(char *w, const void *p, size_t n)
{
    const unsigned char *b = p;
    for (size_t i = 0; i < n; i++) {
        *w++ = digits[b[i] >> 4];
        *w++ = digits[b[i] & 15];
    }
    return w;
}

static char *put_key(char *w, int key)
{
    *w++ = ' ';
    *w++ = (char)key;
    *w++ = '=';
    return w;
}

static char *put_text(char *w, struct mc_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (plain(c)) {
            *w++ = (char)c;
        } else {
            *w++ = '%';
            w = put_hex(w, &c, 1);
        }
    }
    return w;
}

static char *put_addr(char *w, const union mc_sockaddr *a)
{
    if (a->family == AF_INET)
        return put_hex(put_hex(w, &a->in.sin_addr, 4), &a->in.sin_port, 2);
    return put_hex(put_hex(w, &a->in6.sin6_addr, 16), &a->in6.sin6_port, 2);
}

static char *put_number(char *w, int key, uint64_t v)
{
    w = put_key(w, key);
    return w + mc_str_u64(w, v);
}

static bool inet(const union mc_sockaddr *a)
{
    return a->family == AF_INET || a->family == AF_INET6;
}

size_t mc_hop_field_size(const struct mc_hop_field *h)
{
    size_t n = 2 * MC_HOP_TOKEN + 3 * (3 + NUMBER_MAX) + (size_t)MC_HOP_ADDRS * (3 + ADDR_MAX);
    for (unsigned i = 0; i < MC_HOP_TEXTS; i++)
        n += h->text[i].p ? 3 + 3 * h->text[i].n : 0;
    return n;
}

size_t mc_hop_field_encode(const struct mc_hop_field *h, const unsigned char token[MC_HOP_TOKEN], char *out)
{
    char *w = put_hex(out, token, MC_HOP_TOKEN);
    w = put_number(w, KEY_FLAGS, h->flags);
    w = put_number(w, KEY_VERSION, h->version);
    if (h->left > 0)
        w = put_number(w, KEY_LEFT, (uint64_t)h->left);
    for (int i = 0; i < MC_HOP_ADDRS; i++) {
        if (inet(&h->addr[i]))
            w = put_addr(put_key(w, KEY_ADDR + i), &h->addr[i]);
    }
    for (int i = 0; i < MC_HOP_TEXTS; i++) {
        if (h->text[i].p)
            w = put_text(put_key(w, KEY_TEXT + i), h->text[i]);
    }
    return (size_t)(w - out);
}

/* ---- back ---- */

static int hex_digit(char c)
{
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static bool get_hex(struct mc_str s, void *out, size_t n)
{
    unsigned char *b = out;
    if (s.n != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        int high = hex_digit(s.p[2 * i]), low = hex_digit(s.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        b[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

/* The time that it takes says nothing about where they differ. */
static bool same_token(struct mc_str s, const unsigned char token[MC_HOP_TOKEN])
{
    unsigned char given[MC_HOP_TOKEN];
    unsigned differ = 0;
    if (!get_hex(s, given, sizeof(given)))
        return false;
    for (size_t i = 0; i < sizeof(given); i++)
        differ |= given[i] ^ token[i];
    return differ == 0;
}

static bool get_text(struct mc_str s, char **w, struct mc_str *out)
{
    char *start = *w;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '%') {
            if (s.n - i < 3 || !get_hex((struct mc_str){s.p + i + 1, 2}, &c, 1) || plain(c))
                return false;
            i += 2;
        } else if (!plain(c)) {
            return false;
        }
        *(*w)++ = (char)c;
    }
    *out = (struct mc_str){start, (size_t)(*w - start)};
    *(*w)++ = '\0';
    return true;
}

static bool get_addr(struct mc_str s, union mc_sockaddr *out)
{
    struct mc_str port = {s.p + (s.n < 4 ? 0 : s.n - 4), 4};
    memset(out, 0, sizeof(*out));
    if (s.n == 12) {
        out->family = AF_INET;
        return get_hex((struct mc_str){s.p, 8}, &out->in.sin_addr, 4) && get_hex(port, &out->in.sin_port, 2);
    }
    out->family = AF_INET6;
    return s.n == ADDR_MAX && get_hex((struct mc_str){s.p, 32}, &out->in6.sin6_addr, 16) && get_hex(port, &out->in6.sin6_port, 2);
}

static bool get_number(struct mc_str s, uint64_t max, uint64_t *out)
{
    return s.n > 0 && mc_str_to_u64(s, max, out) == MC_OK;
}

struct reader {
    struct mc_hop_field *h;
    char *w;         /* room for texts */
    uint64_t seen[2]; /* keys */
};

/* One word; a second one of its kind is as wrong as an unknown one. */
static bool take(struct reader *r, struct mc_str word)
{
    uint64_t v;
    if (word.n < 2 || word.p[1] != '=')
        return false;
    unsigned key = (unsigned char)word.p[0];
    struct mc_str value = {word.p + 2, word.n - 2};
    if (key > 127 || r->seen[key / 64] & 1ull << key % 64)
        return false;
    r->seen[key / 64] |= 1ull << key % 64;
    if (key >= KEY_TEXT && key < KEY_TEXT + MC_HOP_TEXTS)
        return get_text(value, &r->w, &r->h->text[key - KEY_TEXT]);
    if (key >= KEY_ADDR && key < KEY_ADDR + MC_HOP_ADDRS)
        return get_addr(value, &r->h->addr[key - KEY_ADDR]);
    switch (key) {
    case KEY_FLAGS:
        if (!get_number(value, MC_HOP_FLAGS, &v))
            return false;
        r->h->flags = (unsigned)v;
        return true;
    case KEY_VERSION:
        if (!get_number(value, 30, &v) || v < 10)
            return false;
        r->h->version = (unsigned)v;
        return true;
    case KEY_LEFT:
        if (!get_number(value, INT32_MAX, &v) || v == 0)
            return false;
        r->h->left = (int64_t)v;
        return true;
    default:
        return false;
    }
}

int mc_hop_field_decode(struct mc_str value, const unsigned char token[MC_HOP_TOKEN], struct mc_arena *a, struct mc_hop_field *out)
{
    struct reader r = {.h = out};
    const char *p = value.p, *end = value.p + value.n;
    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < MC_HOP_ADDRS; i++)
        out->addr[i].family = AF_UNIX;
    if (value.n < 2 * MC_HOP_TOKEN || !same_token((struct mc_str){p, 2 * MC_HOP_TOKEN}, token))
        return MC_ERROR;
    p += 2 * MC_HOP_TOKEN;
    r.w = mc_arena_alloc(a, (size_t)(end - p) + 1); /* a text and its end are shorter than their word */
    if (!r.w)
        return 503;
    while (p < end) {
        if (*p++ != ' ')
            return MC_ERROR;
        const char *space = memchr(p, ' ', (size_t)(end - p));
        size_t n = (size_t)((space ? space : end) - p);
        if (!take(&r, (struct mc_str){p, n}))
            return MC_ERROR;
        p += n;
    }
    return out->text[MC_HOP_APP].n && out->version ? MC_OK : MC_ERROR;
}
