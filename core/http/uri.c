/* Request targets and Host: split, check, and the one normal form of a path that routing, access rules and files share.
 * Raw bytes over 0x7f and "<>\^`{|} are taken as they are: real clients send them, and none of them separates anything here.
 * Never resolves a name. Called by head.c, codecs and the Python side. Worker side. */
#include "core/http/uri.h"

#include <arpa/inet.h>

enum { HOST_MAX = 255, IPV6_MAX = 45 };

/* Bytes of a target that are never sent raw, controls, space, DEL and the fragment mark, and those after which something has to be done. */
enum { BAD = 1, QUERY = 2, ESCAPE = 4 };
static const uint8_t target_byte[256] = {[0x00 ... 0x20] = BAD, ['#'] = BAD, [0x7f] = BAD, ['?'] = QUERY, ['%'] = ESCAPE};
/* reg-name without pct-encoded (it would give one host many spellings) and without the comma (a sign of merged fields). */
static const uint8_t host_ok[256] = {
    ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1, ['-'] = 1, ['.'] = 1, ['_'] = 1, ['~'] = 1, ['!'] = 1, ['$'] = 1,
    ['&'] = 1,         ['\''] = 1,        ['('] = 1,         [')'] = 1, ['*'] = 1, ['+'] = 1, [';'] = 1, ['='] = 1,
};

/* The byte that %XX at p stands for, or -1. */
static int unescape(const char *p, const char *end)
{
    if (end - p < 3)
        return -1;
    int hi = mc_hex_digit((unsigned char)p[1]), lo = mc_hex_digit((unsigned char)p[2]);
    return hi < 0 || lo < 0 ? -1 : hi << 4 | lo;
}

static int check_path(const char *p, const char *end)
{
    for (; p < end; p++) {
        if (mc_unlikely(*p == '%')) {
            if (unescape(p, end) < 0)
                return 400;
            p += 2;
        }
    }
    return MC_OK;
}

/* scheme "://" authority, with http and https only: nothing else can be served here. *t is left at the path. */
static int split_absolute(struct mc_str *t, struct mc_uri *out)
{
    struct mc_str host, port;
    size_t scheme = 0;
    if (t->n > 7 && mc_str_eq_nocase((struct mc_str){t->p, 7}, MC_STR("http://")))
        scheme = 4;
    else if (t->n > 8 && mc_str_eq_nocase((struct mc_str){t->p, 8}, MC_STR("https://")))
        scheme = 5;
    else
        return 400;
    const char *p = t->p + scheme + 3, *end = t->p + t->n, *start = p;
    while (p < end && *p != '/' && *p != '?')
        p++;
    out->scheme = (struct mc_str){t->p, scheme};
    out->authority = (struct mc_str){start, (size_t)(p - start)};
    *t = (struct mc_str){p, (size_t)(end - p)};
    return mc_uri_host(out->authority, &host, &port); /* userinfo fails there: '@' is no host byte */
}

int mc_uri_split(struct mc_str target, bool options, struct mc_uri *out)
{
    *out = (struct mc_uri){.path = MC_STR_NONE};
    unsigned seen = target.n ? 0 : BAD;
    for (size_t i = 0; i < target.n; i++)
        seen |= target_byte[(unsigned char)target.p[i]];
    if (seen & BAD)
        return 400;
    if (mc_unlikely(target.p[0] != '/')) {
        if (target.n == 1 && target.p[0] == '*' && options) {
            out->path = target;
            return MC_OK;
        }
        int rc = split_absolute(&target, out);
        if (rc)
            return rc;
    }
    const char *query = seen & QUERY && target.n ? memchr(target.p, '?', target.n) : NULL;
    if (query) {
        out->query = (struct mc_str){query + 1, (size_t)(target.p + target.n - query - 1)};
        target.n = (size_t)(query - target.p);
    }
    out->path = target.n ? target : MC_STR("/"); /* an absolute form may leave the path out */
    return seen & ESCAPE ? check_path(out->path.p, out->path.p + out->path.n) : MC_OK;
}

/* Is the path its own normal form? No escape, no empty segment, none that starts with a dot. */
static bool is_normal(struct mc_str path)
{
    static const uint8_t mark[256] = {['%'] = 1, ['/'] = 1, ['.'] = 1};
    for (size_t i = 0; i < path.n; i++)
        if (mark[(unsigned char)path.p[i]] && (path.p[i] == '%' || (i > 0 && path.p[i - 1] == '/')))
            return false;
    return true;
}

/* Remove empty and dot segments of w[0,n), which starts with '/', in place (RFC 3986 §5.2.4, but never above the root). */
static int remove_dots(char *w, size_t n, size_t *len)
{
    size_t in = 0, out = 0;
    bool slash = true; /* the result ends with '/' */
    while (in < n) {
        size_t start = ++in; /* after the '/' */
        while (in < n && w[in] != '/')
            in++;
        size_t seg = in - start;
        slash = in < n;
        if (seg == 0 || (seg == 1 && w[start] == '.')) {
            slash = true;
            continue;
        }
        if (seg == 2 && w[start] == '.' && w[start + 1] == '.') {
            if (out == 0)
                return 400;
            while (w[--out] != '/')
                continue;
            slash = true;
            continue;
        }
        w[out++] = '/';
        memmove(w + out, w + start, seg);
        out += seg;
    }
    if (slash || out == 0)
        w[out++] = '/';
    w[out] = 0;
    *len = out;
    return MC_OK;
}

int mc_uri_normalise(struct mc_arena *a, struct mc_str path, struct mc_str *out)
{
    *out = path;
    if (path.n == 0 || path.p[0] != '/')
        return 400;
    if (mc_likely(is_normal(path)))
        return MC_OK;
    char *w = mc_arena_alloc(a, path.n + 2);
    if (!w)
        return 500;
    size_t n = 0;
    const char *end = path.p + path.n;
    for (const char *p = path.p; p < end; p++) {
        int c = (unsigned char)*p;
        if (c == '%') {
            c = unescape(p, end);
            if (c <= 0)
                return 400;
            p += 2;
        }
        w[n++] = (char)c;
    }
    out->p = w;
    return remove_dots(w, n, &out->n);
}

int mc_uri_decode(struct mc_arena *a, struct mc_str path, struct mc_str *out)
{
    *out = path;
    if (path.n == 0 || !memchr(path.p, '%', path.n))
        return MC_OK;
    char *w = mc_arena_alloc(a, path.n + 1);
    if (!w)
        return MC_ERROR;
    size_t n = 0;
    const char *end = path.p + path.n;
    for (const char *p = path.p; p < end; p++) {
        int c = *p == '%' ? unescape(p, end) : -1;
        w[n++] = c < 0 ? *p : (char)c;
        if (c >= 0)
            p += 2;
    }
    w[n] = 0;
    *out = (struct mc_str){w, n};
    return MC_OK;
}

/* "[" IPv6address "]"; no zone (RFC 6874 keeps it out of messages) and no IPvFuture (there is none). Its length, or 0. */
static MC_NOINLINE size_t ipv6_literal(struct mc_str s)
{
    char text[IPV6_MAX + 1];
    struct in6_addr addr;
    const char *close = memchr(s.p, ']', s.n);
    size_t n = close ? (size_t)(close - s.p) - 1 : 0;
    if (n == 0 || n > IPV6_MAX)
        return 0;
    memcpy(text, s.p + 1, n);
    text[n] = 0;
    return strlen(text) == n && inet_pton(AF_INET6, text, &addr) == 1 ? n + 2 : 0;
}

int mc_uri_host(struct mc_str s, struct mc_str *host, struct mc_str *port)
{
    const char *p = s.p, *end = s.p + s.n;
    *host = *port = MC_STR("");
    while (p < end && host_ok[(unsigned char)*p])
        p++;
    size_t n = (size_t)(p - s.p);
    if (n == 0 && s.n && *p == '[')
        n = ipv6_literal(s);
    if (n == 0 || n > HOST_MAX)
        return 400;
    if (n < s.n) {
        uint64_t number;
        if (s.p[n] != ':')
            return 400;
        *port = (struct mc_str){s.p + n + 1, s.n - n - 1};
        if (port->n && mc_str_to_u64(*port, 65535, &number) != MC_OK)
            return 400;
    }
    *host = (struct mc_str){s.p, n};
    return MC_OK;
}

/* RFC 3986: 1 = stands in a path as itself; 2 = may stand in a target, where it has a meaning of its own. */
static const uint8_t uri_ok[256] = {
    ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1, ['-'] = 1, ['.'] = 1, ['_'] = 1, ['~'] = 1, ['!'] = 1, ['$'] = 1, ['&'] = 1, ['\''] = 1,
    ['('] = 1,         [')'] = 1,         ['*'] = 1,         ['+'] = 1, [','] = 1, [';'] = 1, ['='] = 1, [':'] = 1, ['@'] = 1, ['/'] = 1,
    ['?'] = 2,         ['#'] = 2,         ['%'] = 2,         ['['] = 2, [']'] = 2,
};

void mc_uri_encode(struct mc_sb *out, struct mc_str s, bool path)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t plain = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (uri_ok[c] == 1 || (!path && uri_ok[c] == 2))
            continue;
        char text[3] = {'%', hex[c >> 4], hex[c & 15]};
        mc_sb_add(out, s.p + plain, i - plain);
        mc_sb_add(out, text, sizeof text);
        plain = i + 1;
    }
    if (s.n > plain)
        mc_sb_add(out, s.p + plain, s.n - plain);
}
