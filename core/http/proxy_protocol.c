/* PROXY protocol v1 (a line) and v2 (binary, with TLVs). Pure: bytes in, facts out. Strict: what is not exactly in the grammar is refused.
 * Called by core/server/proxied.c. Worker side. */
#include "core/http/proxy_protocol.h"

#include <arpa/inet.h>

static const char signature[12] = {'\r', '\n', '\r', '\n', '\0', '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};

/* ---- version 1 */

/* The next word up to a blank; the last one ends with the line. */
static bool next_word(struct mc_str *rest, bool last, struct mc_str *word)
{
    const char *blank = rest->n ? memchr(rest->p, ' ', rest->n) : NULL;
    if (last != (blank == NULL))
        return false;
    word->p = rest->p;
    word->n = blank ? (size_t)(blank - rest->p) : rest->n;
    if (blank)
        *rest = (struct mc_str){blank + 1, rest->n - word->n - 1};
    return word->n > 0;
}

static bool set_address(union mc_sockaddr *a, int family, struct mc_str word)
{
    char text[INET6_ADDRSTRLEN];
    if (word.n >= sizeof text || memchr(word.p, 0, word.n))
        return false;
    memcpy(text, word.p, word.n);
    text[word.n] = '\0';
    memset(a, 0, sizeof *a);
    a->family = (sa_family_t)family;
    return inet_pton(family, text, family == AF_INET ? (void *)&a->in.sin_addr : (void *)&a->in6.sin6_addr) == 1;
}

static void set_port(union mc_sockaddr *a, uint16_t port)
{
    if (a->family == AF_INET)
        a->in.sin_port = htons(port);
    else
        a->in6.sin6_port = htons(port);
}

static bool take_port(union mc_sockaddr *a, struct mc_str word)
{
    uint64_t port;
    if (mc_str_to_u64(word, 65535, &port) != MC_OK || (word.n > 1 && word.p[0] == '0'))
        return false;
    set_port(a, (uint16_t)port);
    return true;
}

static int parse_line(struct mc_str line, struct mc_proxy_header *out)
{
    struct mc_str word, src, dst;
    if (mc_str_eq(line, MC_STR("UNKNOWN")) || (line.n > 8 && memcmp(line.p, "UNKNOWN ", 8) == 0)) {
        out->local = true; /* whatever follows is to be ignored */
        return MC_OK;
    }
    if (!next_word(&line, false, &word))
        return MC_ERROR;
    int family = mc_str_eq(word, MC_STR("TCP4")) ? AF_INET : mc_str_eq(word, MC_STR("TCP6")) ? AF_INET6 : 0;
    if (family == 0 || !next_word(&line, false, &src) || !next_word(&line, false, &dst) || !set_address(&out->src, family, src) ||
        !set_address(&out->dst, family, dst))
        return MC_ERROR;
    if (!next_word(&line, false, &src) || !next_word(&line, true, &dst) || !take_port(&out->src, src) || !take_port(&out->dst, dst))
        return MC_ERROR;
    return MC_OK;
}

static int parse_v1(const char *p, size_t n, struct mc_proxy_header *out, size_t *used)
{
    size_t most = n < MC_PROXY_V1_MAX ? n : MC_PROXY_V1_MAX;
    if (memcmp(p, "PROXY ", n < 6 ? n : 6) != 0)
        return MC_ERROR;
    const char *end = memchr(p, '\n', most);
    if (!end)
        return n < MC_PROXY_V1_MAX ? MC_AGAIN : MC_ERROR;
    *used = (size_t)(end - p) + 1;
    if (*used < 8 || end[-1] != '\r')
        return MC_ERROR;
    return parse_line((struct mc_str){p + 6, *used - 8}, out);
}

/* ---- version 2 */

static unsigned get16(const char *p)
{
    return (unsigned)(unsigned char)p[0] << 8 | (unsigned char)p[1];
}

static uint32_t get32(const char *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

/* CRC-32c of the whole header with the checksum's own four bytes taken as zero. */
static uint32_t checksum(const char *p, size_t n, size_t hole)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        crc ^= i >= hole && i < hole + 4 ? 0u : (unsigned char)p[i];
        for (int k = 0; k < 8; k++)
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
    }
    return ~crc;
}

/* The next TLV of *rest. MC_OK, MC_DECLINED at the end, MC_ERROR: it reaches beyond. */
static int next_tlv(struct mc_str *rest, unsigned *type, struct mc_str *value)
{
    if (rest->n == 0)
        return MC_DECLINED;
    if (rest->n < 3 || get16(rest->p + 1) > rest->n - 3)
        return MC_ERROR;
    *type = (unsigned char)rest->p[0];
    *value = (struct mc_str){rest->p + 3, get16(rest->p + 1)};
    *rest = (struct mc_str){value->p + value->n, rest->n - 3 - value->n};
    return MC_OK;
}

/* Texts go into logs and headers: they must be ones. */
static bool take_text(struct mc_str *out, struct mc_str value)
{
    for (size_t i = 0; i < value.n; i++) {
        if ((unsigned char)value.p[i] < 0x20 || value.p[i] == 0x7f)
            return false;
    }
    *out = value;
    return true;
}

static int parse_ssl(struct mc_str value, struct mc_proxy_header *out)
{
    enum { CLIENT_SSL = 1, CLIENT_CERT_CONN = 2, CLIENT_CERT_SESS = 4, VERSION = 0x21, CN = 0x22, CIPHER = 0x23 };
    unsigned type;
    int rc;
    if (value.n < 5)
        return MC_ERROR;
    unsigned client = (unsigned char)value.p[0];
    out->ssl = client & CLIENT_SSL;
    out->ssl_verified = client & (CLIENT_CERT_CONN | CLIENT_CERT_SESS) && get32(value.p + 1) == 0;
    struct mc_str rest = {value.p + 5, value.n - 5};
    while ((rc = next_tlv(&rest, &type, &value)) == MC_OK) {
        struct mc_str *to = type == VERSION ? &out->ssl_version : type == CN ? &out->ssl_cn : type == CIPHER ? &out->ssl_cipher : NULL;
        if (to && !take_text(to, value))
            return MC_ERROR;
    }
    return rc == MC_DECLINED ? MC_OK : MC_ERROR;
}

static int parse_tlvs(const char *p, size_t from, size_t n, struct mc_proxy_header *out)
{
    enum { ALPN = 1, AUTHORITY = 2, CRC = 3, UNIQUE_ID = 5, SSL = 0x20 };
    struct mc_str rest = {p + from, n - from}, value;
    unsigned type;
    int rc;
    while ((rc = next_tlv(&rest, &type, &value)) == MC_OK) {
        bool ok = true;
        if (type == ALPN)
            ok = take_text(&out->alpn, value);
        else if (type == AUTHORITY)
            ok = take_text(&out->authority, value);
        else if (type == UNIQUE_ID) {
            ok = value.n <= 128;
            out->unique_id = value;
        } else if (type == CRC)
            ok = value.n == 4 && get32(value.p) == checksum(p, n, (size_t)(value.p - p));
        else if (type == SSL)
            ok = parse_ssl(value, out) == MC_OK;
        if (!ok)
            return MC_ERROR;
    }
    return rc == MC_DECLINED ? MC_OK : MC_ERROR;
}

/* Bytes of the two addresses and their ports; -1: a transport that cannot be. */
static int address_size(unsigned family)
{
    switch (family) {
    case 0x00:
        return 0;
    case 0x11:
        return 12;
    case 0x21:
        return 36;
    case 0x31:
        return 216;
    default:
        return -1;
    }
}

static void take_addresses(const char *p, unsigned family, struct mc_proxy_header *out)
{
    out->src.family = out->dst.family = AF_UNIX;
    if (family == 0x11) {
        out->src.family = out->dst.family = AF_INET;
        memcpy(&out->src.in.sin_addr, p, 4);
        memcpy(&out->dst.in.sin_addr, p + 4, 4);
        set_port(&out->src, (uint16_t)get16(p + 8));
        set_port(&out->dst, (uint16_t)get16(p + 10));
    } else if (family == 0x21) {
        out->src.family = out->dst.family = AF_INET6;
        memcpy(&out->src.in6.sin6_addr, p, 16);
        memcpy(&out->dst.in6.sin6_addr, p + 16, 16);
        set_port(&out->src, (uint16_t)get16(p + 32));
        set_port(&out->dst, (uint16_t)get16(p + 34));
    }
}

static int parse_v2(const char *p, size_t n, struct mc_proxy_header *out, size_t *used)
{
    size_t most = n < sizeof signature ? n : sizeof signature;
    if (memcmp(p, signature, most) != 0)
        return MC_ERROR;
    if (n < 16)
        return MC_AGAIN;
    unsigned command = (unsigned char)p[12], family = (unsigned char)p[13];
    size_t length = get16(p + 14);
    int addresses = address_size(family);
    if ((command != 0x20 && command != 0x21) || length > MC_PROXY_MAX - 16)
        return MC_ERROR;
    if (command == 0x21 && (addresses < 0 || length < (size_t)addresses))
        return MC_ERROR;
    if (n < 16 + length)
        return MC_AGAIN;
    *used = 16 + length;
    out->local = command == 0x20 || family == 0;
    if (command == 0x20)
        return MC_OK; /* its addresses and TLVs are to be ignored */
    take_addresses(p + 16, family, out);
    return parse_tlvs(p, 16 + (size_t)addresses, *used, out);
}

int mc_proxy_parse(const char *p, size_t n, unsigned versions, struct mc_proxy_header *out, size_t *used)
{
    memset(out, 0, sizeof *out);
    *used = 0;
    if (n == 0)
        return MC_AGAIN;
    if (p[0] == '\r')
        return versions & MC_PROXY_V2 ? parse_v2(p, n, out, used) : MC_ERROR;
    return versions & MC_PROXY_V1 ? parse_v1(p, n, out, used) : MC_ERROR;
}
