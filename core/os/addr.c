/* Addresses: parse what `bind` may say, print the normal form, compare, and sets of networks (CIDR).
 * Host names are asked of getaddrinfo(), so mc_addr_parse() may wait: start-up and reload only. Opens no listener. */
#include "core/os/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_PORT = 8000 };

static int parse_unix(const char *path, const char *text, struct mc_addr *out, char *err, size_t errcap)
{
    size_t n = strlen(path);
    if (n == 0) {
        snprintf(err, errcap, "no path in '%s'", text);
        return MC_ERROR;
    }
    if (n >= sizeof(out->u.un.sun_path)) {
        snprintf(err, errcap, "socket path too long in '%s' (at most %zu bytes)", text, sizeof(out->u.un.sun_path) - 1);
        return MC_ERROR;
    }
    out->family = out->u.un.sun_family = AF_UNIX;
    memcpy(out->u.un.sun_path, path, n + 1);
    out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
    return MC_OK;
}

static int parse_fd(const char *digits, const char *text, struct mc_addr *out, char *err, size_t errcap)
{
    uint64_t n;
    if (mc_str_to_u64(mc_str(digits), INT32_MAX, &n) != MC_OK) {
        snprintf(err, errcap, "invalid descriptor number in '%s'", text);
        return MC_ERROR;
    }
    out->fd = (int)n;
    return MC_OK;
}

int mc_addr_split(const char *text, struct mc_str *host, struct mc_str *port, char *err, size_t errcap)
{
    const char *colon = strrchr(text, ':'), *after = text;
    if (text[0] == '[') {
        const char *close = strchr(text, ']');
        if (!close || (close[1] != ':' && close[1] != '\0')) {
            snprintf(err, errcap, "expected '[IPV6]:PORT' in '%s'", text);
            return MC_ERROR;
        }
        *host = (struct mc_str){text + 1, (size_t)(close - text - 1)};
        after = close + 1;
        colon = *after == ':' ? after : NULL;
    } else {
        *host = (struct mc_str){text, colon ? (size_t)(colon - text) : strlen(text)};
        if (colon && memchr(text, ':', (size_t)(colon - text))) {
            snprintf(err, errcap, "an IPv6 address needs brackets: write '[%s]:PORT'", text);
            return MC_ERROR;
        }
    }
    *port = colon ? mc_str(colon + 1) : MC_STR_NONE;
    if (colon && port->n == 0) {
        snprintf(err, errcap, "no port after ':' in '%s'", text);
        return MC_ERROR;
    }
    return MC_OK;
}

/* IPv4 first, as Gunicorn does: "localhost" is 127.0.0.1. */
static int resolve(const char *host, bool bracketed, struct mc_addr *out, char *err, size_t errcap)
{
    static const int families[] = {AF_INET, AF_INET6};
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int rc = EAI_NONAME;
    if (bracketed)
        hints.ai_flags = AI_NUMERICHOST;
    for (size_t i = bracketed ? 1 : 0; i < MC_COUNT(families) && rc != 0; i++) {
        hints.ai_family = families[i];
        rc = getaddrinfo(host, NULL, &hints, &found);
    }
    if (rc != 0) {
        snprintf(err, errcap, bracketed ? "'%s' is not an IPv6 address" : "cannot resolve host '%s': %s", host, gai_strerror(rc));
        return MC_ERROR;
    }
    out->family = found->ai_family;
    out->len = found->ai_addrlen;
    memcpy(&out->u, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return MC_OK;
}

static int parse_inet(const char *text, struct mc_addr *out, char *err, size_t errcap)
{
    struct mc_str host, port;
    char name[256];
    uint64_t number = DEFAULT_PORT, ignored;
    if (mc_addr_split(text, &host, &port, err, errcap) != MC_OK)
        return MC_ERROR;
    if (port.p && mc_str_to_u64(port, 65535, &number) != MC_OK) {
        snprintf(err, errcap, "invalid port '%.*s' in '%s'", (int)port.n, port.p, text);
        return MC_ERROR;
    }
    if (!port.p && text[0] != '[' && mc_str_to_u64(host, UINT64_MAX, &ignored) == MC_OK) {
        snprintf(err, errcap, "no host in '%s': write ':%s' for a port of all addresses", text, text);
        return MC_ERROR;
    }
    if (host.n >= sizeof(name)) {
        snprintf(err, errcap, "host name too long in '%.64s…'", text);
        return MC_ERROR;
    }
    if (host.n == 0 && text[0] != '[')
        host = MC_STR("0.0.0.0");
    snprintf(name, sizeof(name), "%.*s", (int)host.n, host.p);
    if (resolve(name, text[0] == '[', out, err, errcap) != MC_OK)
        return MC_ERROR;
    if (out->family == AF_INET)
        out->u.in.sin_port = htons((uint16_t)number);
    else
        out->u.in6.sin6_port = htons((uint16_t)number);
    return MC_OK;
}

static const char *after(const char *text, const char *start)
{
    size_t n = strlen(start);
    return strncmp(text, start, n) == 0 ? text + n : NULL;
}

int mc_addr_parse(const char *text, struct mc_addr *out, char *err, size_t errcap)
{
    const char *rest;
    *out = (struct mc_addr){.fd = -1};
    if ((rest = after(text, "unix://")) || (rest = after(text, "unix:")))
        return parse_unix(rest, text, out, err, errcap);
    if ((rest = after(text, "fd://")))
        return parse_fd(rest, text, out, err, errcap);
    if ((rest = after(text, "tcp://")))
        text = rest;
    if (text[0] == '\0') {
        snprintf(err, errcap, "empty address");
        return MC_ERROR;
    }
    if (strpbrk(text, "/ \t")) {
        snprintf(err, errcap, "invalid address '%s' (HOST:PORT, [IPV6]:PORT, unix:PATH or fd://N)", text);
        return MC_ERROR;
    }
    return parse_inet(text, out, err, errcap);
}

void mc_addr_inet(struct mc_addr *a, int family, const void *raw, uint16_t port)
{
    *a = (struct mc_addr){.fd = -1, .family = family};
    a->u.sa.sa_family = (sa_family_t)family;
    if (family == AF_INET) {
        memcpy(&a->u.in.sin_addr, raw, 4);
        a->u.in.sin_port = htons(port);
        a->len = sizeof(a->u.in);
    } else {
        memcpy(&a->u.in6.sin6_addr, raw, 16);
        a->u.in6.sin6_port = htons(port);
        a->len = sizeof(a->u.in6);
    }
}

int mc_addr_numeric(const char *text, uint16_t dflt, struct mc_addr *out)
{
    char ignored[8], name[INET6_ADDRSTRLEN];
    struct mc_str host, port;
    uint64_t number = dflt;
    uint8_t raw[16];
    int family = text[0] == '[' ? AF_INET6 : AF_INET;
    if (mc_addr_split(text, &host, &port, ignored, sizeof(ignored)) != MC_OK || host.n >= sizeof(name))
        return MC_ERROR;
    if (port.p && mc_str_to_u64(port, 65535, &number) != MC_OK)
        return MC_ERROR;
    memcpy(name, host.p, host.n);
    name[host.n] = '\0';
    if (number == 0 || inet_pton(family, name, raw) != 1)
        return MC_ERROR;
    mc_addr_inet(out, family, raw, (uint16_t)number);
    return MC_OK;
}

bool mc_addr_equal(const struct mc_addr *a, const struct mc_addr *b)
{
    if (a->family != b->family || a->fd != b->fd)
        return false;
    switch (a->family) {
    case AF_INET:
        return a->u.in.sin_port == b->u.in.sin_port && a->u.in.sin_addr.s_addr == b->u.in.sin_addr.s_addr;
    case AF_INET6:
        return a->u.in6.sin6_port == b->u.in6.sin6_port && a->u.in6.sin6_scope_id == b->u.in6.sin6_scope_id &&
               memcmp(&a->u.in6.sin6_addr, &b->u.in6.sin6_addr, sizeof(struct in6_addr)) == 0;
    case AF_UNIX:
        return strncmp(a->u.un.sun_path, b->u.un.sun_path, sizeof(a->u.un.sun_path)) == 0;
    default:
        return true;
    }
}

void mc_addr_print(const struct mc_addr *a, char *out, size_t cap)
{
    char host[INET6_ADDRSTRLEN] = "", scope[16] = "";
    switch (a->family) {
    case AF_INET:
        inet_ntop(AF_INET, &a->u.in.sin_addr, host, sizeof(host));
        snprintf(out, cap, "%s:%u", host, ntohs(a->u.in.sin_port));
        return;
    case AF_INET6:
        inet_ntop(AF_INET6, &a->u.in6.sin6_addr, host, sizeof(host));
        if (a->u.in6.sin6_scope_id)
            snprintf(scope, sizeof(scope), "%%%u", a->u.in6.sin6_scope_id);
        snprintf(out, cap, "[%s%s]:%u", host, scope, ntohs(a->u.in6.sin6_port));
        return;
    case AF_UNIX:
        snprintf(out, cap, "unix:%.*s", (int)sizeof(a->u.un.sun_path), a->u.un.sun_path);
        return;
    default:
        snprintf(out, cap, "fd://%d", a->fd);
    }
}

int mc_addr_of_fd(int fd, struct mc_addr *out)
{
    *out = (struct mc_addr){.fd = -1};
    out->len = sizeof(out->u);
    if (getsockname(fd, &out->u.sa, &out->len) < 0)
        return MC_ERROR;
    out->family = out->u.sa.sa_family;
    if (out->family == AF_INET || out->family == AF_INET6 || out->family == AF_UNIX)
        return MC_OK;
    errno = EAFNOSUPPORT;
    return MC_ERROR;
}

size_t mc_sockaddr_text(const union mc_sockaddr *a, char *out, size_t cap)
{
    const void *from = a->family == AF_INET ? (const void *)&a->in.sin_addr : (const void *)&a->in6.sin6_addr;
    MC_ASSERT(cap >= INET6_ADDRSTRLEN);
    out[0] = '\0';
    if (a->family == AF_INET || a->family == AF_INET6)
        inet_ntop(a->family, from, out, (socklen_t)cap);
    return strlen(out);
}

unsigned mc_sockaddr_port(const union mc_sockaddr *a)
{
    if (a->family == AF_INET)
        return ntohs(a->in.sin_port);
    return a->family == AF_INET6 ? ntohs(a->in6.sin6_port) : 0;
}

/* Address bytes as 4 or 6; an IPv4-mapped IPv6 address is taken as IPv4. */
static uint8_t address_bytes(int family, const void *bytes, uint8_t out[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    memset(out, 0, 16);
    if (family == AF_INET) {
        memcpy(out, bytes, 4);
        return 4;
    }
    if (memcmp(bytes, mapped, sizeof(mapped)) == 0) {
        memcpy(out, (const uint8_t *)bytes + 12, 4);
        return 4;
    }
    memcpy(out, bytes, 16);
    return 6;
}

static void clear_host_bits(struct mc_cidr *c)
{
    for (unsigned i = 0; i < 16; i++) {
        unsigned keep = c->bits > i * 8 ? c->bits - i * 8 : 0;
        if (keep < 8)
            c->addr[i] &= (uint8_t)(0xff00u >> keep);
    }
}

int mc_cidr_parse(struct mc_str s, struct mc_cidr *out)
{
    char text[INET6_ADDRSTRLEN];
    uint8_t raw[16];
    *out = (struct mc_cidr){0};
    if (mc_str_eq(s, MC_STR("*")))
        return MC_OK;
    const char *slash = s.n ? memchr(s.p, '/', s.n) : NULL;
    size_t n = slash ? (size_t)(slash - s.p) : s.n;
    if (n == 0 || n >= sizeof(text))
        return MC_ERROR;
    memcpy(text, s.p, n);
    text[n] = '\0';
    int family = memchr(text, ':', n) ? AF_INET6 : AF_INET;
    if (strlen(text) != n || inet_pton(family, text, raw) != 1)
        return MC_ERROR;
    uint64_t width = family == AF_INET ? 32 : 128, bits = width;
    if (slash && mc_str_to_u64((struct mc_str){slash + 1, s.n - n - 1}, width, &bits) != MC_OK)
        return MC_ERROR;
    out->family = address_bytes(family, raw, out->addr);
    if (family == AF_INET6 && out->family == 4) {
        if (bits < 96)
            return MC_ERROR; /* a net wider than all mapped addresses says nothing useful */
        bits -= 96;
    }
    out->bits = (uint8_t)bits;
    clear_host_bits(out);
    return MC_OK;
}

static bool match_one(const struct mc_cidr *c, uint8_t family, const uint8_t addr[16])
{
    unsigned whole = c->bits / 8, rest = c->bits % 8;
    if (c->family != family || memcmp(c->addr, addr, whole) != 0)
        return false;
    return rest == 0 || ((c->addr[whole] ^ addr[whole]) & (0xff00u >> rest) & 0xff) == 0;
}

bool mc_cidr_match(const struct mc_cidr *v, size_t n, const union mc_sockaddr *a)
{
    uint8_t addr[16], family = 0;
    if (a->family == AF_INET)
        family = address_bytes(AF_INET, &a->in.sin_addr, addr);
    else if (a->family == AF_INET6)
        family = address_bytes(AF_INET6, &a->in6.sin6_addr, addr);
    for (size_t i = 0; i < n; i++) {
        if (v[i].family == 0 || (family != 0 && match_one(&v[i], family, addr)))
            return true;
    }
    return false;
}
