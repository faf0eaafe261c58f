/* Accept-Encoding, words of lists, Vary; media types by name. */
#include "core/http/mime.h"
#include "core/http/negotiate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void codings(void **state)
{
    static const struct {
        const char *accept;
        int want; /* of br, zstd, gzip */
    } cases[] = {
        {NULL, -1},
        {"", -1},
        {"gzip", 2},
        {"GZIP", 2},
        {"x-gzip", 2},
        {"gzip, deflate, br, zstd", 0},
        {"gzip;q=1.0, br;q=0.5", 2},
        {"gzip;q=0.5, br;q=0.501", 0},
        {"br;q=0, gzip", 2},
        {"br;q=0.000", -1},
        {"*", 0},
        {"*;q=0", -1},
        {"gzip;q=0, *", 0},
        {"br;q=0, *;q=0.1", 1},
        {"identity, gzip;q=0.5", -1},
        {"identity;q=0.5, gzip", 2},
        {"identity, gzip", 2},
        {"identity;q=0", -1},
        {"deflate", -1},
        {"gzip;q=", -1},
        {"gzip;q=2", -1},
        {"gzip;q=1.5", -1},
        {"gzip;q=-1", -1},
        {"gzip;q=0.1234", -1},
        {"gzip;q=0.x", -1},
        {"gzip; q=0.8 ; a=b", 2},
        {"gzip;;;", 2},
        {"gzipx, xbr, b r", -1},
    };
    static const struct mc_str names[] = {MC_STR("br"), MC_STR("zstd"), MC_STR("gzip")};
    (void)state;
    for (size_t i = 0; i < MC_COUNT(cases); i++) {
        struct mc_arena a;
        struct mc_fields f = {0};
        mc_arena_init(&a);
        if (cases[i].accept)
            mc_fields_add(&f, &a, MC_STR("accept-encoding"), mc_str(cases[i].accept));
        assert_int_equal(mc_negotiate_coding(&f, names, 3), cases[i].want);
        mc_arena_fini(&a);
    }
}

static void lines_add_up(void **state)
{
    static const struct mc_str names[] = {MC_STR("br"), MC_STR("gzip")};
    struct mc_arena a;
    struct mc_fields f = {0};
    (void)state;
    mc_arena_init(&a);
    mc_fields_add(&f, &a, MC_STR("Accept-Encoding"), MC_STR("gzip"));
    mc_fields_add(&f, &a, MC_STR("Accept-Encoding"), MC_STR("br"));
    assert_int_equal(mc_negotiate_coding(&f, names, 2), 0);
    mc_arena_fini(&a);
}

static void vary(void **state)
{
    struct mc_arena a;
    struct mc_fields f = {0};
    (void)state;
    mc_arena_init(&a);
    assert_int_equal(mc_negotiate_vary(&f, &a, MC_STR("Accept-Encoding")), MC_OK);
    assert_int_equal(mc_negotiate_vary(&f, &a, MC_STR("Accept-Encoding")), MC_OK);
    assert_int_equal(f.n, 1);
    f.n = 0;
    mc_fields_add(&f, &a, MC_STR("vary"), MC_STR("Cookie, accept-encoding"));
    assert_int_equal(mc_negotiate_vary(&f, &a, MC_STR("Accept-Encoding")), MC_OK);
    assert_int_equal(f.n, 1);
    f.n = 0;
    mc_fields_add(&f, &a, MC_STR("Vary"), MC_STR("Cookie"));
    assert_int_equal(mc_negotiate_vary(&f, &a, MC_STR("Accept-Encoding")), MC_OK);
    assert_int_equal(f.n, 2);
    f.n = 0;
    mc_fields_add(&f, &a, MC_STR("Vary"), MC_STR("*"));
    assert_int_equal(mc_negotiate_vary(&f, &a, MC_STR("Accept-Encoding")), MC_OK);
    assert_int_equal(f.n, 1);
    f.n = 0;
    mc_fields_add(&f, &a, MC_STR("Cache-Control"), MC_STR("private, max-age=5 , No-Transform"));
    assert_true(mc_negotiate_has(&f, MC_F_CACHE_CONTROL, MC_STR("no-transform")) && mc_negotiate_has(&f, MC_F_CACHE_CONTROL, MC_STR("max-age")));
    assert_false(mc_negotiate_has(&f, MC_F_CACHE_CONTROL, MC_STR("public")));
    mc_arena_fini(&a);
}

static void media_types(void **state)
{
    static const struct {
        const char *path, *extension, *type;
    } cases[] = {
        {"a.html", "html", "text/html"}, {"a.b/c.CSS", "CSS", "text/css"},     {"x.js", "js", "text/javascript"}, {"x.tar.gz", "gz", "application/gzip"},
        {"x.woff2", "woff2", "font/woff2"}, {"x.3gp", "3gp", "video/3gpp"},   {"x.zst", "zst", "application/zstd"},
        {"README", NULL, NULL},          {".profile", NULL, NULL},             {"a.b/README", NULL, NULL},        {"a/.htaccess", NULL, NULL},
        {"a.", "", NULL},                {"x.averyveryverylongextension", "averyveryverylongextension", NULL}, {"", NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < MC_COUNT(cases); i++) {
        struct mc_str e = mc_mime_extension(mc_str(cases[i].path)), t = mc_mime_type(e);
        assert_true(mc_str_eq(e, mc_str(cases[i].extension)));
        assert_true(mc_str_eq(t, mc_str(cases[i].type)));
    }
    assert_true(mc_mime_is_text(MC_STR("text/x-anything")) && mc_mime_is_text(MC_STR("application/json")) && mc_mime_is_text(MC_STR("image/svg+xml")));
    assert_false(mc_mime_is_text(MC_STR("image/png")) || mc_mime_is_text(MC_STR("text/")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(codings), cmocka_unit_test(lines_add_up), cmocka_unit_test(vary), cmocka_unit_test(media_types)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
