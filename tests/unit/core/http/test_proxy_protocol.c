/* PROXY headers of both versions: good ones, each at every length, and wrong ones. */
#include "core/http/proxy_protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { BOTH = MC_PROXY_V1 | MC_PROXY_V2 };

static void expect(const char *bytes, size_t n, unsigned versions, int rc, const char *src, unsigned port)
{
    struct mc_proxy_header h;
    size_t used;
    char text[64] = "";
    assert_int_equal(mc_proxy_parse(bytes, n, versions, &h, &used), rc);
    if (rc != MC_OK)
        return;
    assert_true(used <= n);
    if (!h.local)
        mc_sockaddr_text(&h.src, text, sizeof text);
    assert_string_equal(text, src);
    assert_int_equal(h.local ? 0 : mc_sockaddr_port(&h.src), port);
    for (size_t i = 0; i < used; i++) { /* whatever is missing is asked for */
        assert_int_equal(mc_proxy_parse(bytes, i, versions, &h, &used), MC_AGAIN);
        assert_int_equal(used == 0 || i > 0, 1);
    }
}

static const struct {
    const char *text;
    int rc;
    const char *src;
    unsigned port;
} lines[] = {
    {"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nGET", MC_OK, "192.0.2.1", 56324},
    {"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", MC_OK, "2001:db8::1", 1},
    {"PROXY UNKNOWN\r\n", MC_OK, "", 0},
    {"PROXY UNKNOWN ffff::1 x y z\r\n", MC_OK, "", 0},
    {"PROXY TCP4 192.0.2.1 192.0.2.2 0 443\r\n", MC_OK, "192.0.2.1", 0},
    {"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\n", MC_ERROR, "", 0},
    {"PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n", MC_ERROR, "", 0},
    {"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443 1\r\n", MC_ERROR, "", 0},
    {"PROXY TCP4  192.0.2.1 192.0.2.2 56324 443\r\n", MC_ERROR, "", 0},
    {"PROXY TCP4 192.0.2.256 192.0.2.2 56324 443\r\n", MC_ERROR, "", 0},
    {"PROXY TCP4 ::1 ::1 56324 443\r\n", MC_ERROR, "", 0},
    {"PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n", MC_ERROR, "", 0},
    {"PROXY TCP4 192.0.2.1 192.0.2.2 -1 443\r\n", MC_ERROR, "", 0},
    {"PROXY TCP4 192.0.2.1 192.0.2.2 0443 443\r\n", MC_ERROR, "", 0},
    {"PROXY TCP5 192.0.2.1 192.0.2.2 56324 443\r\n", MC_ERROR, "", 0},
    {"proxy TCP4 192.0.2.1 192.0.2.2 56324 443\r\n", MC_ERROR, "", 0},
    {"PROXYTCP4 192.0.2.1 192.0.2.2 56324 443\r\n", MC_ERROR, "", 0},
    {"PROXY\r\n", MC_ERROR, "", 0},
    {"PROXY \r\n", MC_ERROR, "", 0},
    {"GET / HTTP/1.1\r\n", MC_ERROR, "", 0},
    {"PROXY TCP4 192.0.2.1", MC_AGAIN, "", 0},
};

static void version_one(void **state)
{
    (void)state;
    for (size_t i = 0; i < MC_COUNT(lines); i++)
        expect(lines[i].text, strlen(lines[i].text), BOTH, lines[i].rc, lines[i].src, lines[i].port);
    expect(lines[0].text, strlen(lines[0].text), MC_PROXY_V2, MC_ERROR, "", 0);
    char longest[200] = "PROXY UNKNOWN ";
    memset(longest + 14, 'x', sizeof longest - 14);
    expect(longest, 106, BOTH, MC_AGAIN, "", 0);
    expect(longest, 107, BOTH, MC_ERROR, "", 0);
}

/* A version 2 header; returns its length. */
static size_t build(char *out, int command, int family, const void *addresses, size_t na, const void *tlvs, size_t nt)
{
    memcpy(out, "\r\n\r\n\0\r\nQUIT\n", 12);
    out[12] = (char)command;
    out[13] = (char)family;
    out[14] = (char)((na + nt) >> 8);
    out[15] = (char)(na + nt);
    memcpy(out + 16, addresses, na);
    if (nt)
        memcpy(out + 16 + na, tlvs, nt);
    return 16 + na + nt;
}

static const char v4[12] = {(char)192, 0, 2, 1, 10, 0, 0, 1, 0x1f, (char)0x90, 0, 80};
static const char v6[36] = {0x20, 1, 0xd, (char)0xb8, [15] = 1, [31] = 1, [32] = 0x1f, (char)0x90, 0, 80};

static void version_two(void **state)
{
    (void)state;
    char b[600];
    static const char path[216];
    size_t n = build(b, 0x21, 0x11, v4, 12, NULL, 0);
    expect(b, n, BOTH, MC_OK, "192.0.2.1", 8080);
    expect(b, n, MC_PROXY_V1, MC_ERROR, "", 0);
    n = build(b, 0x21, 0x21, v6, 36, NULL, 0);
    expect(b, n, BOTH, MC_OK, "2001:db8::1", 8080);
    n = build(b, 0x20, 0, v4, 0, NULL, 0);
    expect(b, n, BOTH, MC_OK, "", 0);
    n = build(b, 0x20, 0x11, v4, 12, "\1\xff\xff", 3); /* of a LOCAL nothing is looked at */
    expect(b, n, BOTH, MC_OK, "", 0);
    n = build(b, 0x21, 0x31, path, 216, NULL, 0);
    expect(b, n, BOTH, MC_OK, "", 0);
    static const struct {
        int command, family;
        size_t n;
    } wrong[] = {{0x22, 0x11, 12}, {0x11, 0x11, 12}, {0x21, 0x12, 12}, {0x21, 0x41, 12}, {0x21, 0x11, 11}, {0x21, 0x21, 12}, {0x21, 0x31, 12}};
    for (size_t i = 0; i < MC_COUNT(wrong); i++) {
        n = build(b, wrong[i].command, wrong[i].family, v4, wrong[i].n, NULL, 0);
        expect(b, n, BOTH, MC_ERROR, "", 0);
    }
    n = build(b, 0x21, 0x11, v4, 12, NULL, 0);
    b[14] = 0x10; /* 4096 + 12 bytes: too many */
    expect(b, n, BOTH, MC_ERROR, "", 0);
}

static int parse_tlvs(const char *tlvs, size_t n, struct mc_proxy_header *h)
{
    static char b[600];
    size_t used, len = build(b, 0x21, 0x11, v4, 12, tlvs, n);
    return mc_proxy_parse(b, len, BOTH, h, &used);
}

static void tlvs_are_read(void **state)
{
    (void)state;
    struct mc_proxy_header h;
    static const char good[] = "\1\0\2h2" "\2\0\4host" "\5\0\2\xff\0" "\4\0\0" "\x20\0\x13\5\0\0\0\0\x21\0\4" "TLS1" "\x22\0\4john";
    assert_int_equal(parse_tlvs(good, sizeof good - 1, &h), MC_OK);
    assert_true(mc_str_eq(h.alpn, MC_STR("h2")) && mc_str_eq(h.authority, MC_STR("host")) && h.unique_id.n == 2);
    assert_true(h.ssl && h.ssl_verified && mc_str_eq(h.ssl_version, MC_STR("TLS1")) && mc_str_eq(h.ssl_cn, MC_STR("john")));
    static const struct {
        const char *p;
        size_t n;
    } wrong[] = {
        {"\1", 1}, {"\1\0", 2}, {"\1\0\3h2", 5}, {"\2\0\1\n", 4}, {"\x20\0\4\1\0\0\0", 7}, {"\x20\0\x8\1\0\0\0\0\x21\0\1", 11}, {"\3\0\4\0\0\0\0", 7}, {"\3\0\3\0\0\0", 6},
    };
    for (size_t i = 0; i < MC_COUNT(wrong); i++)
        assert_int_equal(parse_tlvs(wrong[i].p, wrong[i].n, &h), MC_ERROR);
    static const char unverified[] = "\x20\0\5\7\0\0\0\1";
    assert_int_equal(parse_tlvs(unverified, sizeof unverified - 1, &h), MC_OK);
    assert_true(h.ssl && !h.ssl_verified);
}

/* The checksum of a header that holds it, by the definition. */
static uint32_t crc32c(const char *p, size_t n)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        crc ^= (unsigned char)p[i];
        for (int k = 0; k < 8; k++)
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
    }
    return ~crc;
}

static void the_checksum_counts(void **state)
{
    (void)state;
    char b[64];
    struct mc_proxy_header h;
    size_t used, n = build(b, 0x21, 0x11, v4, 12, "\3\0\4\0\0\0\0", 7);
    assert_int_equal(crc32c("123456789", 9), 0xe3069283u);
    uint32_t crc = crc32c(b, n);
    for (int i = 0; i < 4; i++)
        b[n - 4 + (size_t)i] = (char)(crc >> (24 - 8 * i));
    assert_int_equal(mc_proxy_parse(b, n, BOTH, &h, &used), MC_OK);
    b[20] ^= 1;
    assert_int_equal(mc_proxy_parse(b, n, BOTH, &h, &used), MC_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_one),
        cmocka_unit_test(version_two),
        cmocka_unit_test(tlvs_are_read),
        cmocka_unit_test(the_checksum_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
