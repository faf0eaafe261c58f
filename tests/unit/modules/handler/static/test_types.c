/* Media types of `types` and of files as nginx and Apache have them: what they mean, and where an error is. */
#include "modules/handler/static/static.h"

#include "core/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static char path[] = "/tmp/mc-types-XXXXXX";

struct checked {
    struct mc_conf conf;
    struct mc_static s;
    int rc;
    char err[300];
};

/* What a file of n bytes (NULL: none is named) behind these types comes to. */
static void check(struct checked *c, const char *text, size_t n, const char **types, size_t ntypes)
{
    *c = (struct checked){.s.types = {types, ntypes}};
    mc_arena_init(&c->conf.arena);
    if (text) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        assert_int_equal(fwrite(text, 1, n, f), n);
        assert_int_equal(fclose(f), 0);
        c->s.mime_types = path;
    }
    c->rc = mc_static_types(&c->conf, &c->s, c->err, sizeof c->err);
}

static void is_type(const struct checked *c, const char *extension, const char *type)
{
    struct mc_str found = mc_static_type(&c->s, mc_str(extension));
    if (!type) {
        assert_null(found.p);
        return;
    }
    assert_int_equal(found.n, strlen(type));
    assert_memory_equal(found.p, type, found.n);
}

static void done(struct checked *c)
{
    mc_arena_fini(&c->conf.arena);
}

static void of_settings(void **state)
{
    (void)state;
    struct checked c;
    const char *types[] = {"text/x-diff diff PATCH", "text/plain  txt diff "};
    check(&c, NULL, 0, types, 2);
    assert_int_equal(c.rc, MC_OK);
    is_type(&c, "diff", "text/x-diff");
    is_type(&c, "patch", "text/x-diff");
    is_type(&c, "TXT", "text/plain");
    is_type(&c, "tx", NULL);
    is_type(&c, "txtt", NULL);
    is_type(&c, "", NULL);
    done(&c);
    check(&c, NULL, 0, NULL, 0);
    assert_int_equal(c.rc, MC_OK);
    is_type(&c, "txt", NULL);
    done(&c);
}

static void of_files(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "types {\n  text/html html HTM;\r\n  application/x-long\n    long longer ; a/b c;d/e f;}\n# end\n",
        "\n# a comment\n types{text/html html HTM;application/x-long long longer;a/b c # of it;\n;d/e f;}",
        "# Apache's\n\ntext/html\t\thtml HTM\napplication/x-none\napplication/x-long long\tlonger\r\na/b c\nd/e f",
    };
    for (size_t i = 0; i < MC_COUNT(texts); i++) {
        struct checked c;
        const char *types[] = {"text/mine html"};
        check(&c, texts[i], strlen(texts[i]), types, 1);
        assert_string_equal(c.err, "");
        assert_int_equal(c.rc, MC_OK);
        assert_null(c.s.mime_types);
        assert_int_equal(c.s.types.n, 5);
        assert_string_equal(c.s.types.v[0], "text/mine html");
        assert_string_equal(c.s.types.v[1], "text/html html HTM");
        assert_string_equal(c.s.types.v[2], "application/x-long long longer");
        is_type(&c, "html", "text/mine");
        is_type(&c, "htm", "text/html");
        is_type(&c, "Longer", "application/x-long");
        is_type(&c, "c", "a/b");
        is_type(&c, "f", "d/e");
        is_type(&c, "none", NULL);
        done(&c);
    }
}

static void errors(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int line;
        const char *why;
    } cases[] = {
        {"text/html html\nhtml text/html\n", 2, "a media type such as text/html is expected, not 'html'"},
        {"text/html html\n\ntext/a b/c\n", 3, "an extension such as html is expected, not 'b/c'"},
        {"/x y", 1, "a media type such as text/html is expected, not '/x'"},
        {"x/ y", 1, "a media type such as text/html is expected, not 'x/'"},
        {"a/b c;", 1, "unexpected ';'"},
        {"types\n", 2, "'{' is missing"},
        {"types {}\n{", 2, "unexpected '{'"},
        {"types a/b c;", 1, "'{' is missing"},
        {"types {\n a/b c;\n", 3, "'}' is missing"},
        {"types {\n a/b c\n}", 3, "';' is missing"},
        {"types {\n a/b c",  2, "';' is missing"},
        {"types {\n a/b;\n}", 2, "unexpected ';'"},
        {"types {\n a/b c; {\n}", 2, "unexpected '{'"},
        {"types {\n a/b c;\n}\n}", 4, "unexpected '}'"},
        {"types {\n a/b c;\n}\nmore", 4, "unexpected 'more'"},
        {"types {\n include x;\n}", 2, "a media type such as text/html is expected, not 'include'"},
        {"a/b c\001d", 1, "an extension such as html is expected"},
    };
    for (size_t i = 0; i < MC_COUNT(cases); i++) {
        struct checked c;
        char where[80];
        check(&c, cases[i].text, strlen(cases[i].text), NULL, 0);
        snprintf(where, sizeof where, "%s:%d: ", path, cases[i].line);
        assert_int_equal(c.rc, MC_ERROR);
        if (!strstr(c.err, where) || !strstr(c.err, cases[i].why))
            fail_msg("%s: \"%s\", not %s%s", cases[i].text, c.err, where, cases[i].why);
        done(&c);
    }
    struct checked c;
    check(&c, "a/b c\n\0d", 8, NULL, 0);
    assert_int_equal(c.rc, MC_ERROR);
    done(&c);
    static const char *const wrong[] = {"nothing", "a/b", "a/b ", "x y", "/ y", "a/b c\n"};
    for (size_t i = 0; i < MC_COUNT(wrong); i++) {
        const char *types[] = {wrong[i]};
        check(&c, NULL, 0, types, 1);
        assert_int_equal(c.rc, MC_ERROR);
        done(&c);
    }
    unlink(path);
    c = (struct checked){.s.mime_types = path};
    mc_arena_init(&c.conf.arena);
    assert_int_equal(mc_static_types(&c.conf, &c.s, c.err, sizeof c.err), MC_ERROR);
    assert_non_null(strstr(c.err, "No such file"));
    done(&c);
}

int main(void)
{
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    const struct CMUnitTest tests[] = {cmocka_unit_test(of_settings), cmocka_unit_test(of_files), cmocka_unit_test(errors)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
