/* Header fields: ids, look-up, growth, character tables. */
#include "core/http/fields.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static const struct {
    const char *name;
    enum mc_field_id id;
} names[] = {
    {"Host", MC_F_HOST},
    {"Connection", MC_F_CONNECTION},
    {"Content-Length", MC_F_CONTENT_LENGTH},
    {"Content-Type", MC_F_CONTENT_TYPE},
    {"Transfer-Encoding", MC_F_TRANSFER_ENCODING},
    {"Expect", MC_F_EXPECT},
    {"Upgrade", MC_F_UPGRADE},
    {"TE", MC_F_TE},
    {"Trailer", MC_F_TRAILER},
    {"Keep-Alive", MC_F_KEEP_ALIVE},
    {"Proxy-Connection", MC_F_PROXY_CONNECTION},
    {"Proxy", MC_F_PROXY},
    {"Cookie", MC_F_COOKIE},
    {"Authorization", MC_F_AUTHORIZATION},
    {"Referer", MC_F_REFERER},
    {"User-Agent", MC_F_USER_AGENT},
    {"Date", MC_F_DATE},
    {"Server", MC_F_SERVER},
    {"HTTP2-Settings", MC_F_HTTP2_SETTINGS},
    {"If-Match", MC_F_IF_MATCH},
    {"If-None-Match", MC_F_IF_NONE_MATCH},
    {"If-Modified-Since", MC_F_IF_MODIFIED_SINCE},
    {"If-Unmodified-Since", MC_F_IF_UNMODIFIED_SINCE},
    {"If-Range", MC_F_IF_RANGE},
    {"Range", MC_F_RANGE},
    {"Accept-Encoding", MC_F_ACCEPT_ENCODING},
    {"Content-Encoding", MC_F_CONTENT_ENCODING},
    {"Cache-Control", MC_F_CACHE_CONTROL},
    {"Vary", MC_F_VARY},
    {"ETag", MC_F_ETAG},
    {"Set-Cookie", MC_F_SET_COOKIE},
    {"Monoceros-Hop", MC_F_HOP},
};

static enum mc_field_id id_of(const char *name)
{
    return mc_field_id(mc_str(name));
}

static void ids(void **state)
{
    (void)state;
    assert_int_equal(MC_COUNT(names), MC_F_COUNT - 1); /* every id is tried */
    for (size_t i = 0; i < MC_COUNT(names); i++) {
        char text[32], *p = text;
        assert_int_equal(id_of(names[i].name), names[i].id);
        for (const char *s = names[i].name; *s; s++)
            *p++ = (char)(*s >= 'a' && *s <= 'z' ? *s - 32 : mc_lower((unsigned char)*s));
        *p = 0;
        assert_int_equal(id_of(text), names[i].id);
        for (char *dash = text; (dash = strchr(dash, '-')); *dash = '_')
            continue;
        if (strchr(text, '_'))
            assert_int_equal(id_of(text), MC_F_OTHER);
        text[0] = 'q';
        assert_int_equal(id_of(text), MC_F_OTHER);
    }
    assert_int_equal(id_of("X"), MC_F_OTHER);
    for (size_t i = 0; i < MC_COUNT(names); i++) { /* every other token is another name */
        size_t n = strlen(names[i].name);
        for (size_t at = 0; at < n; at++) {
            char text[32];
            for (int c = 0; c < 256; c++) {
                memcpy(text, names[i].name, n + 1);
                bool same = mc_lower((unsigned char)c) == mc_lower((unsigned char)text[at]);
                text[at] = (char)c;
                if (mc_field_tchar[c])
                    assert_int_equal(mc_field_id((struct mc_str){text, n}), same ? names[i].id : MC_F_OTHER);
            }
        }
    }
    assert_int_equal(id_of("Content-Lengtx"), MC_F_OTHER);
    assert_int_equal(id_of("a-name-longer-than-any-that-is-known"), MC_F_OTHER);
}

static void look_up(void **state)
{
    struct mc_arena a;
    struct mc_fields f = {.v = NULL};
    char text[100][16];
    (void)state;
    mc_arena_init(&a);
    assert_null(mc_fields_get(&f, MC_F_HOST));
    assert_null(mc_fields_find(&f, MC_STR("x")));
    for (int i = 0; i < 100; i++) {
        snprintf(text[i], sizeof(text[i]), "X-%d", i);
        assert_int_equal(mc_fields_add(&f, &a, mc_str(text[i]), mc_str(text[i] + 2)), MC_OK);
    }
    assert_int_equal(mc_fields_add(&f, &a, MC_STR("Host"), MC_STR("first")), MC_OK);
    assert_int_equal(mc_fields_add(&f, &a, MC_STR("host"), MC_STR("second")), MC_OK);
    assert_int_equal(f.n, 102);
    for (int i = 0; i < 100; i++) {
        text[i][0] = 'x';
        const struct mc_field *found = mc_fields_find(&f, mc_str(text[i]));
        assert_non_null(found);
        assert_true(mc_str_eq(found->value, mc_str(text[i] + 2)));
        assert_int_equal(found->hash, mc_str_hash_nocase(mc_str(text[i])));
    }
    assert_true(mc_str_eq(mc_fields_get(&f, MC_F_HOST)->value, MC_STR("first")));
    assert_true(mc_str_eq(mc_fields_find(&f, MC_STR("HOST"))->value, MC_STR("first")));
    assert_null(mc_fields_find(&f, MC_STR("X-100")));
    mc_arena_fini(&a);
}

static void characters(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char text[2] = {(char)c, 0};
        bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        bool token = alnum || (c && strchr("!#$%&'*+-.^_`|~", c));
        assert_int_equal(mc_field_name_ok((struct mc_str){text, 1}), token);
        assert_int_equal(mc_field_value_ok((struct mc_str){text, 1}), c == '\t' || (c >= 0x20 && c != 0x7f));
    }
    for (size_t n = 1; n < 40; n++) {
        char text[40];
        memset(text, 'a', sizeof(text));
        assert_true(mc_field_name_ok((struct mc_str){text, n}) && mc_field_value_ok((struct mc_str){text, n}));
        for (size_t at = 0; at < n; at++) {
            text[at] = '\x1f';
            assert_false(mc_field_name_ok((struct mc_str){text, n}) || mc_field_value_ok((struct mc_str){text, n}));
            text[at] = '\t';
            assert_true(mc_field_value_ok((struct mc_str){text, n}));
            text[at] = 'a';
        }
    }
    assert_false(mc_field_name_ok(MC_STR("")));
    assert_true(mc_field_value_ok(MC_STR("")));
    assert_false(mc_field_name_ok(MC_STR("a b")));
    assert_false(mc_field_value_ok(MC_STR("a\r\nSet-Cookie: b")));
}

static void hop_by_hop(void **state)
{
    (void)state;
    assert_true(mc_field_hop_by_hop(MC_F_CONNECTION) && mc_field_hop_by_hop(MC_F_TRANSFER_ENCODING) &&
                mc_field_hop_by_hop(MC_F_KEEP_ALIVE));
    assert_false(mc_field_hop_by_hop(MC_F_OTHER) || mc_field_hop_by_hop(MC_F_CONTENT_LENGTH) || mc_field_hop_by_hop(MC_F_DATE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids),
        cmocka_unit_test(look_up),
        cmocka_unit_test(characters),
        cmocka_unit_test(hop_by_hop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
