/* Monoceros-Hop: all that is said comes back, and nothing else is taken for it. */
#include "core/http/hop_field.h"
#include "core/http/fields.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const unsigned char token[MC_HOP_TOKEN] = "0123456789abcdefghijklmnopqrstu";
#define HEX "303132333435363738396162636465666768696a6b6c6d6e6f70717273747500"

static union mc_sockaddr v4(const char *text, uint16_t port)
{
    union mc_sockaddr a = {.in = {.sin_family = AF_INET, .sin_port = htons(port)}};
    assert_int_equal(inet_pton(AF_INET, text, &a.in.sin_addr), 1);
    return a;
}

static union mc_sockaddr v6(const char *text, uint16_t port)
{
    union mc_sockaddr a = {.in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)}};
    assert_int_equal(inet_pton(AF_INET6, text, &a.in6.sin6_addr), 1);
    return a;
}

/* There and back. */
static void round_trip(const struct mc_hop_field *said)
{
    struct mc_hop_field heard;
    struct mc_arena a;
    char *value = malloc(mc_hop_field_size(said));
    size_t n = mc_hop_field_encode(said, token, value);
    assert_true(n <= mc_hop_field_size(said));
    assert_true(mc_field_value_ok((struct mc_str){value, n}));
    mc_arena_init(&a);
    assert_int_equal(mc_hop_field_decode((struct mc_str){value, n}, token, &a, &heard), MC_OK);
    assert_int_equal(heard.flags, said->flags);
    assert_int_equal(heard.version, said->version);
    assert_int_equal(heard.left, said->left);
    for (int i = 0; i < MC_HOP_TEXTS; i++) {
        assert_int_equal(heard.text[i].p != NULL, said->text[i].p != NULL);
        assert_true(mc_str_eq(heard.text[i], said->text[i]));
        if (heard.text[i].p)
            assert_int_equal(heard.text[i].p[heard.text[i].n], 0);
    }
    for (int i = 0; i < MC_HOP_ADDRS; i++) {
        char one[64], other[64];
        bool inet = said->addr[i].family == AF_INET || said->addr[i].family == AF_INET6;
        assert_int_equal(heard.addr[i].family, inet ? said->addr[i].family : AF_UNIX);
        if (!inet)
            continue;
        mc_sockaddr_text(&said->addr[i], one, sizeof one);
        mc_sockaddr_text(&heard.addr[i], other, sizeof other);
        assert_string_equal(one, other);
        assert_int_equal(mc_sockaddr_port(&said->addr[i]), mc_sockaddr_port(&heard.addr[i]));
    }
    mc_arena_fini(&a);
    free(value);
}

static void test_all_of_it(void **state)
{
    (void)state;
    char every[256];
    struct mc_hop_field h = {.flags = MC_HOP_FLAGS, .version = 20, .left = INT32_MAX};
    for (int i = 0; i < 256; i++)
        every[i] = (char)i;
    for (int i = 0; i < MC_HOP_TEXTS; i++)
        h.text[i] = (struct mc_str){every + i, 256 - (size_t)i};
    for (int i = 0; i < MC_HOP_ADDRS; i++)
        h.addr[i] = i % 2 ? v6("2001:db8::1", (uint16_t)(65535 - i)) : v4("192.0.2.255", (uint16_t)i);
    round_trip(&h);
}

static void test_little(void **state)
{
    (void)state;
    struct mc_hop_field h = {.version = 10, .text[MC_HOP_APP] = MC_STR("a"), .text[MC_HOP_TLS_SNI] = MC_STR("")};
    round_trip(&h);
    h.addr[MC_HOP_PEER].family = AF_UNIX;
    h.addr[MC_HOP_CLIENT] = v4("0.0.0.0", 0);
    round_trip(&h);
}

static int decode(const char *text)
{
    struct mc_hop_field h;
    struct mc_arena a;
    mc_arena_init(&a);
    int rc = mc_hop_field_decode(mc_str(text), token, &a, &h);
    mc_arena_fini(&a);
    return rc;
}

static const struct {
    const char *text;
    int rc;
} values[] = {
    {HEX " 1=0 2=11 a=shop", MC_OK},
    {HEX " a=shop 2=11", MC_OK}, /* in any order */
    {HEX " 1=0 2=11 3=1 A=7f0000011f90 a=sh%20op", MC_OK},
    {"", MC_ERROR},
    {HEX, MC_ERROR},
    {HEX " ", MC_ERROR},
    {HEX " 2=11", MC_ERROR},                /* no app */
    {HEX " 2=11 a=", MC_ERROR},
    {HEX " a=shop", MC_ERROR},              /* no version */
    {HEX " 2=11 a=shop ", MC_ERROR},
    {HEX "  2=11 a=shop", MC_ERROR},
    {HEX " 2=11 a=shop a=shop", MC_ERROR},  /* twice */
    {HEX " 2=11 2=11 a=shop", MC_ERROR},
    {HEX " 2=11 a=shop z=1", MC_ERROR},     /* unknown */
    {HEX " 2=11 a=shop Z=7f0000011f90", MC_ERROR},
    {HEX " 2=11 a=shop 9=1", MC_ERROR},
    {HEX " 2=11 a=shop \xc3=1", MC_ERROR},
    {HEX " 2=11 a=shop b", MC_ERROR},
    {HEX " 2=11 a=shop =", MC_ERROR},
    {HEX " 2=11 a=sh op", MC_ERROR},
    {HEX " 2=11 a=sh%op", MC_ERROR},
    {HEX " 2=11 a=shop%", MC_ERROR},
    {HEX " 2=11 a=shop%2", MC_ERROR},
    {HEX " 2=11 a=sh%61op", MC_ERROR},      /* only one way to say it */
    {HEX " 2=11 a=sh%2Eop", MC_ERROR},
    {HEX " 2=11 a=sh\"op", MC_ERROR},
    {HEX " 2=9 a=shop", MC_ERROR},
    {HEX " 2=31 a=shop", MC_ERROR},
    {HEX " 2=-11 a=shop", MC_ERROR},
    {HEX " 1=512 2=11 a=shop", MC_ERROR},
    {HEX " 1= 2=11 a=shop", MC_ERROR},
    {HEX " 2=11 3=0 a=shop", MC_ERROR},
    {HEX " 2=11 3=99999999999 a=shop", MC_ERROR},
    {HEX " 2=11 A=7f0000011f9 a=shop", MC_ERROR},
    {HEX " 2=11 A=7F0000011F90 a=shop", MC_ERROR},
    {HEX " 2=11 A= a=shop", MC_ERROR},
    {HEX " 2=11 A=20010db80000000000000000000000011f9 a=shop", MC_ERROR},
    {"303132333435363738396162636465666768696a6b6c6d6e6f70717273747501 2=11 a=shop", MC_ERROR}, /* another token */
    {"303132333435363738396162636465666768696A6b6c6d6e6f70717273747500 2=11 a=shop", MC_ERROR},
    {"3031323334 2=11 a=shop", MC_ERROR},
};

static void test_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < MC_COUNT(values); i++) {
        if (decode(values[i].text) != values[i].rc)
            fail_msg("%s", values[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_of_it),
        cmocka_unit_test(test_little),
        cmocka_unit_test(test_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
