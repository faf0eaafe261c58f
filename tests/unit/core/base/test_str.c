/* Slices, checked numbers, lists, escapes and the string builder. */
#include "core/base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct mc_str s(const char *z)
{
    return mc_str(z);
}

static void numbers_are_checked(void **state)
{
    (void)state;
    uint64_t v = 7;
    assert_int_equal(mc_str_to_u64(s("0"), UINT64_MAX, &v), MC_OK);
    assert_int_equal(v, 0);
    assert_int_equal(mc_str_to_u64(s("00042"), UINT64_MAX, &v), MC_OK);
    assert_int_equal(v, 42);
    assert_int_equal(mc_str_to_u64(s("18446744073709551615"), UINT64_MAX, &v), MC_OK);
    assert_true(v == UINT64_MAX);
    assert_int_equal(mc_str_to_u64(s("255"), 255, &v), MC_OK);
    static const char *const bad[] = {"", "-1", "+1", " 1", "1 ", "0x1", "1_0", "1.0", "18446744073709551616", "99999999999999999999999"};
    for (size_t i = 0; i < MC_COUNT(bad); i++)
        assert_int_equal(mc_str_to_u64(s(bad[i]), UINT64_MAX, &v), MC_ERROR);
    assert_int_equal(mc_str_to_u64(s("256"), 255, &v), MC_ERROR);
    assert_int_equal(mc_str_to_u64((struct mc_str){"1\0", 2}, 255, &v), MC_ERROR);
    assert_int_equal(v, 255); /* untouched by failures */
}

static void hex_is_checked(void **state)
{
    (void)state;
    uint64_t v;
    assert_int_equal(mc_str_hex_u64(s("fF09"), &v), MC_OK);
    assert_int_equal(v, 0xff09);
    assert_int_equal(mc_str_hex_u64(s("ffffffffffffffff"), &v), MC_OK);
    assert_true(v == UINT64_MAX);
    static const char *const bad[] = {"", "0x1", "g", "-1", " 1", "1;", "10000000000000000", "@", "G", "/", ":", "`"};
    for (size_t i = 0; i < MC_COUNT(bad); i++)
        assert_int_equal(mc_str_hex_u64(s(bad[i]), &v), MC_ERROR);
}

static void every_number_is_printed(void **state)
{
    (void)state;
    static const struct {
        uint64_t v;
        const char *text;
    } cases[] = {{0, "0"}, {9, "9"}, {10, "10"}, {12345, "12345"}, {UINT64_MAX, "18446744073709551615"}};
    for (size_t i = 0; i < MC_COUNT(cases); i++) {
        char out[20];
        size_t n = mc_str_u64(out, cases[i].v);
        assert_int_equal(n, strlen(cases[i].text));
        assert_memory_equal(out, cases[i].text, n);
    }
}

static void comparison_ignores_ascii_case_only(void **state)
{
    (void)state;
    assert_true(mc_str_eq_nocase(s("Content-LENGTH"), s("content-length")));
    assert_true(mc_str_eq_nocase(s(""), MC_STR_NONE));
    assert_false(mc_str_eq_nocase(s("a"), s("ab")));
    assert_false(mc_str_eq_nocase(s("@"), s("`")));
    assert_false(mc_str_eq_nocase(s("["), s("{")));
    assert_false(mc_str_eq_nocase(s("\xc3\x84"), s("\xc3\xa4")));
    assert_int_equal(mc_str_hash_nocase(s("HOST")), mc_str_hash_nocase(s("host")));
    assert_int_equal(mc_str_hash(s("")), 2166136261u);
    assert_int_equal(mc_str_hash(s("foobar")), 0xbf9cf968u); /* the published test vector of FNV-1a */
    assert_int_not_equal(mc_str_hash(s("HOST")), mc_str_hash(s("host")));
}

static size_t plain_by_byte(const char *p, size_t i, size_t n)
{
    while (i < n && (unsigned char)p[i] >= 0x20 && p[i] != 0x7f)
        i++;
    return i;
}

/* Every byte at every place of texts of every length, searched from everywhere. */
static void plain(void **state)
{
    char text[40];
    (void)state;
    for (size_t n = 0; n <= sizeof text; n++) {
        for (size_t at = 0; at <= n; at++) {
            for (unsigned c = 0; c < 256; c++) {
                memset(text, 0x80 + (int)(at % 0x7f), sizeof text);
                for (size_t k = at; k < n; k++)
                    text[k] = k == at || c % 3 ? (char)c : ' ';
                for (size_t from = 0; from <= n; from++)
                    assert_int_equal(mc_str_plain(text, from, n), plain_by_byte(text, from, n));
            }
        }
    }
}

static void hash_of_names(void **state)
{
    char name[40], other[40];
    (void)state;
    for (size_t n = 0; n <= sizeof name; n++) {
        for (size_t i = 0; i < n; i++) {
            name[i] = (char)('a' + (n + i) % 26);
            other[i] = (char)(i % 2 ? name[i] : name[i] - 32);
        }
        uint32_t hash = mc_str_hash_nocase((struct mc_str){name, n});
        assert_int_equal(mc_str_hash_nocase((struct mc_str){other, n}), hash);
        for (size_t i = 0; i < n; i++) { /* each byte counts, and so does the length */
            other[i] = '-';
            assert_int_not_equal(mc_str_hash_nocase((struct mc_str){other, n}), hash);
            other[i] = name[i];
            assert_int_not_equal(mc_str_hash_nocase((struct mc_str){name, i}), hash);
        }
    }
}

static void list_elements(void **state)
{
    (void)state;
    struct mc_str rest = s(" ,, close\t,keep-alive , ,x"), t;
    assert_true(mc_str_next_token(&rest, &t));
    assert_true(mc_str_eq(t, s("close")));
    assert_true(mc_str_next_token(&rest, &t));
    assert_true(mc_str_eq(t, s("keep-alive")));
    assert_true(mc_str_next_token(&rest, &t));
    assert_true(mc_str_eq(t, s("x")));
    assert_false(mc_str_next_token(&rest, &t));
    rest = s(" , ,");
    assert_false(mc_str_next_token(&rest, &t));
    assert_int_equal(mc_str_trim(s(" \t ")).n, 0);
    assert_true(mc_str_eq(mc_str_trim(s("\t a b ")), s("a b")));
}

static void escapes_are_whole_or_absent(void **state)
{
    (void)state;
    char out[64];
    size_t n = mc_str_escape(out, sizeof(out), (struct mc_str){"a\"\\\x00\x7f\xffz~ ", 9});
    assert_int_equal(n, strlen("a\\\"\\\\\\x00\\x7f\\xffz~ "));
    assert_memory_equal(out, "a\\\"\\\\\\x00\\x7f\\xffz~ ", n);
    for (size_t cap = 0; cap <= 9; cap++) {
        memset(out, '#', sizeof(out));
        n = mc_str_escape(out, cap, s("a\n\nb"));
        assert_int_equal(n, cap == 0 ? 0 : cap < 5 ? 1 : cap < 9 ? 5 : 9);
        assert_int_equal(out[n], '#');
        memset(out, '#', sizeof(out));
        n = mc_str_escape(out, cap, s("a\"\\"));
        assert_int_equal(n, cap == 0 ? 0 : cap < 3 ? 1 : cap < 5 ? 3 : 5);
        assert_int_equal(out[n], '#');
    }
}

static void all_bytes_escaped_stay_printable(void **state)
{
    (void)state;
    unsigned char all[256];
    char out[1024];
    for (unsigned i = 0; i < 256; i++)
        all[i] = (unsigned char)i;
    size_t n = mc_str_escape(out, sizeof(out), (struct mc_str){(char *)all, 256});
    assert_int_equal(n, 93 + 2 * 2 + 161 * 4);
    for (size_t i = 0; i < n; i++)
        assert_true(out[i] >= 0x20 && out[i] <= 0x7e && (out[i] != '"' || out[i - 1] == '\\'));
}

static void builder_grows_and_stops_at_its_bound(void **state)
{
    (void)state;
    struct mc_sb sb;
    mc_sb_init(&sb, 10);
    assert_string_equal(mc_sb_z(&sb), "");
    mc_sb_addz(&sb, "abc");
    mc_sb_addf(&sb, "%d-%s", 42, "xy");
    assert_string_equal(mc_sb_z(&sb), "abc42-xy");
    mc_sb_addc(&sb, '!');
    mc_sb_addc(&sb, '?');
    assert_false(sb.bad);
    assert_string_equal(mc_sb_z(&sb), "abc42-xy!?");
    assert_int_equal(sb.n, 10);
    mc_sb_add(&sb, "", 0);
    assert_false(sb.bad);
    mc_sb_addc(&sb, '.');
    assert_true(sb.bad);
    assert_string_equal(mc_sb_z(&sb), "");
    mc_sb_addz(&sb, "ignored");
    assert_int_equal(sb.n, 10);
    mc_sb_fini(&sb);
    assert_false(sb.bad);
    mc_sb_addz(&sb, "again");
    assert_string_equal(mc_sb_z(&sb), "again");
    mc_sb_fini(&sb);
}

static void builder_formats_of_every_length(void **state)
{
    (void)state;
    for (int width = 0; width < 300; width++) {
        struct mc_sb sb;
        mc_sb_init(&sb, 250);
        mc_sb_addz(&sb, "12345");
        mc_sb_addf(&sb, "%*s", width, "");
        assert_int_equal(sb.bad, width > 245);
        if (!sb.bad)
            assert_int_equal(strlen(mc_sb_z(&sb)), 5 + width);
        mc_sb_fini(&sb);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_checked),
        cmocka_unit_test(hex_is_checked),
        cmocka_unit_test(every_number_is_printed),
        cmocka_unit_test(comparison_ignores_ascii_case_only),
        cmocka_unit_test(plain),
        cmocka_unit_test(hash_of_names),
        cmocka_unit_test(list_elements),
        cmocka_unit_test(escapes_are_whole_or_absent),
        cmocka_unit_test(all_bytes_escaped_stay_printable),
        cmocka_unit_test(builder_grows_and_stops_at_its_bound),
        cmocka_unit_test(builder_formats_of_every_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
