/* One value of each type: what is taken, what is refused, and that print and set are each other's inverse. */
#include "fixture.h"

struct values {
    bool flag;
    int64_t number;
    const char *text;
    struct mc_strv list;
};

#define AT(f) .name = "x", .offset = offsetof(struct values, f)
static const struct mc_setting flag = {AT(flag), .type = MC_SET_BOOL};
static const struct mc_setting number = {AT(number), .type = MC_SET_INT};
static const struct mc_setting small = {AT(number), .type = MC_SET_INT, .min = 1, .max = 9};
static const struct mc_setting octal = {AT(number), .type = MC_SET_INT, .flags = MC_SETF_OCTAL, .max = 0777};
static const struct mc_setting automatic = {AT(number), .type = MC_SET_INT, .flags = MC_SETF_AUTO, .min = 1, .max = 9};
static const struct mc_setting duration = {AT(number), .type = MC_SET_DURATION};
static const struct mc_setting size = {AT(number), .type = MC_SET_SIZE};
static const struct mc_setting text = {AT(text), .type = MC_SET_STRING};
static const struct mc_setting list = {AT(list), .type = MC_SET_LIST};
static const struct mc_setting commas = {AT(list), .type = MC_SET_LIST, .flags = MC_SETF_COMMAS};

static struct mc_arena arena;

static int set(const struct mc_setting *s, struct values *v, const char *word)
{
    size_t bad;
    err[0] = '\0';
    return mc_value_set(&arena, s, v, &word, 1, &bad, err, sizeof err);
}

static void takes(const struct mc_setting *s, const char *word, int64_t wanted)
{
    struct values v = {.number = -7};
    assert_int_equal(set(s, &v, word), MC_OK);
    assert_int_equal(v.number, wanted);
}

static void refuses(const struct mc_setting *s, const char *word, const char *message)
{
    struct values v = {.number = -7};
    assert_int_equal(set(s, &v, word), MC_ERROR);
    if (!strstr(err, message))
        print_error("'%s': %s\n", word, err);
    assert_non_null(strstr(err, message));
    assert_int_equal(v.number, -7);
}

static void prints(const struct mc_setting *s, const struct values *v, const char *wanted)
{
    struct mc_sb out;
    mc_sb_init(&out, 1 << 20);
    mc_value_print(&out, s, v);
    assert_string_equal(mc_sb_z(&out), wanted);
    mc_sb_fini(&out);
}

static int setup(void **state)
{
    (void)state;
    mc_arena_init(&arena);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mc_arena_fini(&arena);
    return 0;
}

static void numbers_are_decimal(void **state)
{
    (void)state;
    takes(&number, "0", 0);
    takes(&number, "9223372036854775807", INT64_MAX);
    static const char *const bad[] = {"",     " 1", "1 ", "+1", "-1", "010", "00", "0x10", "1e3", "1.0", "10m", "9223372036854775808",
                                      "four", "1\n"};
    for (size_t i = 0; i < MC_COUNT(bad); i++)
        refuses(&number, bad[i], "expected a decimal number");
    takes(&small, "9", 9);
    refuses(&small, "0", "out of range, 1 to 9");
    refuses(&small, "10", "out of range, 1 to 9");
    takes(&automatic, "auto", 0);
    takes(&automatic, "AUTO", 0);
    refuses(&automatic, "0", "out of range");
    refuses(&automatic, "many", "or auto");
    refuses(&small, "auto", "expected a decimal number");
}

static void octal_is_octal_only_where_it_belongs(void **state)
{
    (void)state;
    takes(&octal, "022", 022);
    takes(&octal, "0o22", 022);
    takes(&octal, "22", 22); /* as Gunicorn's int(value, 0) */
    takes(&octal, "0x12", 0x12);
    takes(&octal, "0", 0);
    refuses(&octal, "08", "octal");
    refuses(&octal, "0o", "octal");
    refuses(&octal, "0x", "octal");
    refuses(&octal, "-1", "octal");
    refuses(&octal, "01000", "out of range, 0 to 0777");
    refuses(&octal, "99999999999999999999", "octal");
    prints(&octal, &(struct values){.number = 027}, "027");
}

static void durations_have_units(void **state)
{
    (void)state;
    takes(&duration, "30", 30000);
    takes(&duration, "30s", 30000);
    takes(&duration, "500ms", 500);
    takes(&duration, "5M", 300000);
    takes(&duration, "2h", 7200000);
    takes(&duration, "1d", 86400000);
    takes(&duration, "0", 0);
    refuses(&duration, "5x", "expected a duration");
    refuses(&duration, "5 s", "expected a duration");
    refuses(&duration, "s", "expected a duration");
    refuses(&duration, "1.5s", "expected a duration");
    refuses(&duration, "4000d", "out of range, 0s to 3650d");
    refuses(&duration, "9223372036854775807d", "expected a duration");
    prints(&duration, &(struct values){.number = 0}, "0s");
    prints(&duration, &(struct values){.number = 1500}, "1500ms");
    prints(&duration, &(struct values){.number = 90000}, "90s");
    prints(&duration, &(struct values){.number = 60000}, "1m");
}

static void sizes_have_units(void **state)
{
    (void)state;
    takes(&size, "8190", 8190);
    takes(&size, "64k", 65536);
    takes(&size, "10M", 10 << 20);
    takes(&size, "1g", 1 << 30);
    refuses(&size, "1t", "expected a size");
    refuses(&size, "10mb", "expected a size");
    refuses(&size, "9223372036854775807g", "expected a size");
    prints(&size, &(struct values){.number = 0}, "0");
    prints(&size, &(struct values){.number = 65536}, "64k");
    prints(&size, &(struct values){.number = 65537}, "65537");
    prints(&size, &(struct values){.number = 3LL << 30}, "3g");
}

static void bools_have_words(void **state)
{
    (void)state;
    static const char *const yes[] = {"yes", "TRUE", "On", "1", "y"}, *const no[] = {"no", "False", "OFF", "0", "N"};
    for (size_t i = 0; i < MC_COUNT(yes); i++) {
        struct values v = {.flag = false};
        assert_int_equal(set(&flag, &v, yes[i]), MC_OK);
        assert_true(v.flag);
        assert_int_equal(set(&flag, &v, no[i]), MC_OK);
        assert_false(v.flag);
    }
    struct values v = {.flag = true};
    assert_int_equal(set(&flag, &v, "ye"), MC_ERROR);
    assert_int_equal(set(&flag, &v, ""), MC_ERROR);
    prints(&flag, &v, "yes");
}

static void lists_split_only_where_they_may(void **state)
{
    (void)state;
    struct values v = {0};
    assert_int_equal(set(&commas, &v, " a, b ,,c,"), MC_OK);
    assert_int_equal(v.list.n, 3);
    assert_string_equal(v.list.v[0], "a");
    assert_string_equal(v.list.v[1], "b");
    assert_string_equal(v.list.v[2], "c");
    assert_int_equal(set(&list, &v, "a, b"), MC_OK);
    assert_int_equal(v.list.n, 1);
    assert_string_equal(v.list.v[0], "a, b");
    assert_int_equal(set(&list, &v, ""), MC_OK);
    assert_int_equal(v.list.n, 1);
    prints(&list, &v, "{''}");
    assert_int_equal(set(&commas, &v, ""), MC_OK);
    assert_int_equal(v.list.n, 0);
    prints(&commas, &v, "{}");
}

static void a_scalar_takes_one_word(void **state)
{
    (void)state;
    struct values v = {0};
    const char *two[] = {"a", "b"};
    size_t bad;
    assert_int_equal(mc_value_set(&arena, &text, &v, two, 2, &bad, err, sizeof err), MC_ERROR);
    assert_int_equal(mc_value_set(&arena, &text, &v, two, 0, &bad, err, sizeof err), MC_ERROR);
    assert_null(v.text);
}

/* The parser of files is the judge of quoting. */
static void quoted(const char *bytes)
{
    struct mc_sb out;
    struct mc_conf *c;
    mc_sb_init(&out, 1 << 20);
    mc_sb_addz(&out, "proc_name = ");
    mc_value_quote(&out, bytes);
    mc_sb_addz(&out, "\n" SERVER);
    c = mc_conf_parse(mc_sb_z(&out), out.n, "q", err, sizeof err);
    if (!c)
        print_error("%s: %s\n", mc_sb_z(&out), err);
    assert_non_null(c);
    assert_string_equal(c->set.proc_name, bytes);
    mc_conf_free(&c);
    mc_sb_fini(&out);
}

static void quoting_keeps_every_byte(void **state)
{
    (void)state;
    static const char *const traps[] = {"",         "'",           "\"",           "\\",      "\\\\",  "\\'",     "'\\",
                                        "a\\nb",    "\\d+\\\\x\\", "${HOME}",      "${",      "$x",    "a\nb",    "\n${A}\"",
                                        "\t\\\x01", "\x7f",        "\xff\x80\xc3", "# // /*", "a;b|c", "\\\n",    "\n\\",
                                        "\n'\\'",   "\\0\\9",      "\x01\x61g",    "{a, b}",  "\r\n",  "it's \\'"};
    for (size_t i = 0; i < MC_COUNT(traps); i++)
        quoted(traps[i]);
}

static void quoting_keeps_random_bytes(void **state)
{
    (void)state;
    static const char alphabet[] = "\\\\\\'''\"\"$${}{}\n\t\r\x01\x7f\xff ab01x#/*;|+=(),";
    unsigned seed = 20261121;
    for (int round = 0; round < 400; round++) {
        char bytes[24];
        size_t n = 0;
        for (; n < (size_t)round % sizeof bytes; n++) {
            seed = seed * 1103515245u + 12345u;
            bytes[n] = alphabet[(seed >> 16) % (sizeof alphabet - 1)];
        }
        bytes[n] = '\0';
        quoted(bytes);
    }
}

static void every_default_of_the_table_is_good(void **state)
{
    (void)state;
    struct mc_values v = {0};
    assert_int_equal(mc_value_defaults(&arena, mc_settings, &v), MC_OK);
    assert_int_equal(v.workers, 1);
    assert_int_equal(v.timeout, 30000);
    assert_int_equal(v.keepalive, -1);
    assert_int_equal(v.limit_request_line, 4094);
    assert_int_equal(v.limit_request_body, 100 << 20);
    assert_int_equal(v.response_buffer_file, 1 << 30);
    assert_int_equal(v.backlog, 2048);
    assert_true(v.sendfile);
    assert_int_equal(v.secure_scheme_headers.n, 3);
    assert_string_equal(v.secure_scheme_headers.v[1], "X-FORWARDED-PROTO: https");
    assert_int_equal(v.forwarded_allow_ips.n, 2);
    assert_string_equal(v.access_log_format, "%(h)s %(l)s %(u)s %(t)s \"%(r)s\" %(s)s %(b)s \"%(f)s\" \"%(a)s\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_decimal),        cmocka_unit_test(octal_is_octal_only_where_it_belongs),
        cmocka_unit_test(durations_have_units),       cmocka_unit_test(sizes_have_units),
        cmocka_unit_test(bools_have_words),           cmocka_unit_test(lists_split_only_where_they_may),
        cmocka_unit_test(a_scalar_takes_one_word),    cmocka_unit_test(quoting_keeps_every_byte),
        cmocka_unit_test(quoting_keeps_random_bytes), cmocka_unit_test(every_default_of_the_table_is_good),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
