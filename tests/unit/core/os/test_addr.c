/* Addresses: what `bind` accepts and refuses, the normal form, networks. */
#include "core/os/socket.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void good_addresses_have_a_normal_form(void **state)
{
    (void)state;
    static const struct {
        const char *text, *normal;
    } cases[] = {
        {"127.0.0.1:8080", "127.0.0.1:8080"},
        {"127.0.0.1", "127.0.0.1:8000"},
        {":80", "0.0.0.0:80"},
        {"0.0.0.0:0", "0.0.0.0:0"},
        {"tcp://127.0.0.1:65535", "127.0.0.1:65535"},
        {"localhost:81", "127.0.0.1:81"},
        {"[::1]:8080", "[::1]:8080"},
        {"[::]", "[::]:8000"},
        {"[2001:DB8::0:1]:1", "[2001:db8::1]:1"},
        {"[::ffff:10.0.0.1]:1", "[::ffff:10.0.0.1]:1"},
        {"[fe80::1%1]:1", "[fe80::1%1]:1"},
        {"unix:/run/x.sock", "unix:/run/x.sock"},
        {"unix:///run/x.sock", "unix:/run/x.sock"},
        {"unix:rel ative:1", "unix:rel ative:1"},
        {"fd://3", "fd://3"},
    };
    for (size_t i = 0; i < MC_COUNT(cases); i++) {
        struct mc_addr a, again;
        char err[128] = "", out[160];
        if (mc_addr_parse(cases[i].text, &a, err, sizeof(err)) != MC_OK)
            fail_msg("%s: %s", cases[i].text, err);
        mc_addr_print(&a, out, sizeof(out));
        assert_string_equal(out, cases[i].normal);
        assert_int_equal(mc_addr_parse(out, &again, err, sizeof(err)), MC_OK);
        assert_true(mc_addr_equal(&a, &again));
    }
}

static void bad_addresses_are_explained(void **state)
{
    (void)state;
    static const struct {
        const char *text, *err;
    } cases[] = {
        {"", "empty address"},
        {"localhost:x", "invalid port 'x' in 'localhost:x'"},
        {"127.0.0.1:65536", "invalid port '65536' in '127.0.0.1:65536'"},
        {"127.0.0.1:-1", "invalid port '-1' in '127.0.0.1:-1'"},
        {"127.0.0.1:", "no port after ':' in '127.0.0.1:'"},
        {"[::1]:", "no port after ':' in '[::1]:'"},
        {"::1", "an IPv6 address needs brackets: write '[::1]:PORT'"},
        {"::1:8000", "an IPv6 address needs brackets: write '[::1:8000]:PORT'"},
        {"[::1", "expected '[IPV6]:PORT' in '[::1'"},
        {"[::1]8000", "expected '[IPV6]:PORT' in '[::1]8000'"},
        {"[127.0.0.1]:80", "'127.0.0.1' is not an IPv6 address"},
        {"[]:80", "'' is not an IPv6 address"},
        {"8000", "no host in '8000': write ':8000' for a port of all addresses"},
        {"unix:", "no path in 'unix:'"},
        {"fd://", "invalid descriptor number in 'fd://'"},
        {"fd://x", "invalid descriptor number in 'fd://x'"},
        {"fd://99999999999", "invalid descriptor number in 'fd://99999999999'"},
        {"http://x:1", "invalid address 'http://x:1' (HOST:PORT, [IPV6]:PORT, unix:PATH or fd://N)"},
        {"a b:1", "invalid address 'a b:1' (HOST:PORT, [IPV6]:PORT, unix:PATH or fd://N)"},
    };
    for (size_t i = 0; i < MC_COUNT(cases); i++) {
        struct mc_addr a;
        char err[160] = "";
        assert_int_equal(mc_addr_parse(cases[i].text, &a, err, sizeof(err)), MC_ERROR);
        assert_string_equal(err, cases[i].err);
    }
}

static void paths_have_a_bound(void **state)
{
    (void)state;
    char text[256] = "unix:/", err[256];
    struct mc_addr a;
    memset(text + 6, 'x', 106);
    assert_int_equal(mc_addr_parse(text, &a, err, sizeof(err)), MC_OK);
    text[6 + 106] = 'x';
    assert_int_equal(mc_addr_parse(text, &a, err, sizeof(err)), MC_ERROR);
    assert_non_null(strstr(err, "too long"));
    memset(text, 'h', 255);
    text[255] = '\0';
    assert_int_equal(mc_addr_parse(text, &a, err, sizeof(err)), MC_ERROR);
    char small[8];
    assert_int_equal(mc_addr_parse("localhost:x", &a, small, sizeof(small)), MC_ERROR);
    assert_string_equal(small, "invalid");
}

static void different_addresses_differ(void **state)
{
    (void)state;
    static const char *const all[] = {"127.0.0.1:1", "127.0.0.1:2", "127.0.0.2:1", "[::1]:1", "[::1]:2",
                                      "[::2]:1",     "unix:/a",     "unix:/b",     "fd://3",  "fd://4"};
    for (size_t i = 0; i < MC_COUNT(all); i++) {
        for (size_t j = 0; j < MC_COUNT(all); j++) {
            struct mc_addr a, b;
            char err[64];
            assert_int_equal(mc_addr_parse(all[i], &a, err, sizeof(err)), MC_OK);
            assert_int_equal(mc_addr_parse(all[j], &b, err, sizeof(err)), MC_OK);
            assert_int_equal(mc_addr_equal(&a, &b), i == j);
        }
    }
}

static union mc_sockaddr peer(const char *text)
{
    union mc_sockaddr a;
    memset(&a, 0, sizeof(a));
    if (strcmp(text, "unix") == 0) {
        a.family = AF_UNIX;
    } else if (strchr(text, ':')) {
        a.in6.sin6_family = AF_INET6;
        a.in6.sin6_port = htons(6666);
        assert_int_equal(inet_pton(AF_INET6, text, &a.in6.sin6_addr), 1);
    } else {
        a.in.sin_family = AF_INET;
        a.in.sin_port = htons(4444);
        assert_int_equal(inet_pton(AF_INET, text, &a.in.sin_addr), 1);
    }
    return a;
}

static void peers_have_texts(void **state)
{
    (void)state;
    char out[46];
    union mc_sockaddr a = peer("10.1.2.3");
    assert_int_equal(mc_sockaddr_text(&a, out, sizeof(out)), 8);
    assert_string_equal(out, "10.1.2.3");
    assert_int_equal(mc_sockaddr_port(&a), 4444);
    a = peer("2001:db8::ff");
    assert_int_equal(mc_sockaddr_text(&a, out, sizeof(out)), 12);
    assert_string_equal(out, "2001:db8::ff");
    assert_int_equal(mc_sockaddr_port(&a), 6666);
    a = peer("unix");
    assert_int_equal(mc_sockaddr_text(&a, out, sizeof(out)), 0);
    assert_string_equal(out, "");
    assert_int_equal(mc_sockaddr_port(&a), 0);
}

static void networks_match(void **state)
{
    (void)state;
    static const struct {
        const char *net, *peer;
        bool match;
    } cases[] = {
        {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1", "127.0.0.2", false},
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"10.9.9.9/8", "10.1.1.1", true},
        {"0.0.0.0/0", "1.2.3.4", true},
        {"0.0.0.0/0", "::1", false},
        {"192.168.128.0/17", "192.168.200.1", true},
        {"192.168.128.0/17", "192.168.127.255", false},
        {"1.2.3.4/31", "1.2.3.5", true},
        {"1.2.3.4/31", "1.2.3.6", false},
        {"::1", "::1", true},
        {"::1", "::2", false},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"::/0", "::1", true},
        {"10.0.0.0/8", "::ffff:10.1.1.1", true},
        {"::ffff:10.0.0.0/104", "10.1.1.1", true},
        {"::ffff:10.0.0.0/104", "11.1.1.1", false},
        {"*", "1.2.3.4", true},
        {"*", "::1", true},
        {"*", "unix", true},
        {"0.0.0.0/0", "unix", false},
        {"::/0", "unix", false},
    };
    for (size_t i = 0; i < MC_COUNT(cases); i++) {
        struct mc_cidr c;
        union mc_sockaddr a = peer(cases[i].peer);
        assert_int_equal(mc_cidr_parse(mc_str(cases[i].net), &c), MC_OK);
        if (mc_cidr_match(&c, 1, &a) != cases[i].match)
            fail_msg("%s %s", cases[i].net, cases[i].peer);
        assert_false(mc_cidr_match(&c, 0, &a));
    }
}

static void bad_networks_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "/8",
                                      "10.0.0.0/33",
                                      "10.0.0.0/",
                                      "10.0.0.0/-1",
                                      "10.0.0.0/8x",
                                      "10.0.0",
                                      "x",
                                      "::1/129",
                                      "::ffff:0.0.0.0/95",
                                      "10.0.0.1 ",
                                      "**",
                                      "1.2.3.4.5",
                                      "0x7f.0.0.1",
                                      "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb"};
    struct mc_cidr c;
    for (size_t i = 0; i < MC_COUNT(bad); i++) {
        if (mc_cidr_parse(mc_str(bad[i]), &c) != MC_ERROR)
            fail_msg("'%s' was taken", bad[i]);
    }
    assert_int_equal(mc_cidr_parse((struct mc_str){"10.0.0.1\0", 9}, &c), MC_ERROR);
    assert_int_equal(mc_cidr_parse((struct mc_str){"10.0.0.1/8,x", 10}, &c), MC_OK); /* a slice */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_addresses_have_a_normal_form),
        cmocka_unit_test(bad_addresses_are_explained),
        cmocka_unit_test(paths_have_a_bound),
        cmocka_unit_test(different_addresses_differ),
        cmocka_unit_test(peers_have_texts),
        cmocka_unit_test(networks_match),
        cmocka_unit_test(bad_networks_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
