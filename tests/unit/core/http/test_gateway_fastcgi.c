/* FastCGI: records in, events out, however the bytes arrive; and a request as its records. */
#include "gateway_drive.h"

enum { END = 3, OUT = 6, ERR = 7 };

static void record(int type, const char *text, size_t n, unsigned pad)
{
    mc_sb_addc(&wire, 1);
    mc_sb_addc(&wire, (char)type);
    mc_sb_addc(&wire, 0);
    mc_sb_addc(&wire, 1);
    mc_sb_addc(&wire, (char)(n >> 8));
    mc_sb_addc(&wire, (char)n);
    mc_sb_addc(&wire, (char)pad);
    mc_sb_addc(&wire, 0);
    mc_sb_add(&wire, text, n);
    while (pad--)
        mc_sb_addc(&wire, 'p');
}

static void out(const char *z)
{
    record(OUT, z, strlen(z), (unsigned)(8 - strlen(z) % 8) % 8);
}

static void end(int protocol_status)
{
    char body[8] = {0, 0, 0, 3, (char)protocol_status, 0, 0, 0};
    record(END, body, 8, 0);
}

static void gives(const struct script *s, const char *expected)
{
    static const struct script plain;
    expect(&mc_gateway_fastcgi, s ? s : &plain, wire.p, wire.n, expected, 0);
    wire_begin();
}

static void replies_are_read(void **state)
{
    (void)state;
    wire_begin();
    out("Content-Type: text/html\r\n\r\nhello ");
    record(ERR, "PHP Warning:  x\n", 16, 0);
    out("world");
    record(OUT, "", 0, 3);
    end(0);
    gives(NULL, "[200 |Content-Type=text/html|close]hello world<end>");

    out("Status: 404 Not here\nX-Powered-By: y\n\n");
    end(0);
    gives(&(struct script){.keep = true}, "[404 Not here|X-Powered-By=y|close]<end, reusable>");

    /* A head in many records. */
    out("Sta");
    out("tus: 201\r\nLoc");
    out("ation: /x\r");
    out("\n\r");
    out("\nok");
    end(0);
    gives(NULL, "[201 |Location=/x|close]ok<end>");

    out("Location: /there\r\n\r\n");
    end(0);
    gives(NULL, "[302 |Location=/there|close]<end>");

    out("Content-Length: 2\r\n\r\nok");
    end(0);
    gives(NULL, "[200 |Content-Length=2|length]ok<end>");

    /* Scripts write bodies where none may be. */
    out("Content-Length: 5\r\n\r\nhello");
    end(0);
    gives(&(struct script){.method = MC_STR("HEAD")}, "[200 |Content-Length=5|none]<end>");
    out("Status: 304\r\n\r\nhello");
    end(0);
    gives(NULL, "[304 |none]<end>");

    /* A reply before the request was all sent: the connection is not used again. */
    out("Status: 413\r\n\r\n");
    end(0);
    gives(&(struct script){.keep = true, .unsent = true}, "[413 |close]<end>");
}

static void bytes_behind_the_end_are_left(void **state)
{
    (void)state;
    wire_begin();
    out("A: b\n\n");
    end(0);
    out("more");
    expect(&mc_gateway_fastcgi, &(struct script){.keep = true}, wire.p, wire.n, "[200 |A=b|close]<end, reusable>", 16);
}

static void a_large_body(void **state)
{
    (void)state;
    struct mc_sb expected;
    char *body = malloc(65535);
    assert_non_null(body);
    memset(body, 'x', 65535);
    wire_begin();
    out("A: b\n\n");
    mc_sb_init(&expected, 1 << 22);
    mc_sb_addz(&expected, "[200 |A=b|close]");
    for (int i = 0; i < 3; i++) {
        record(OUT, body, 65535, 255);
        mc_sb_add(&expected, body, 65535);
    }
    end(0);
    mc_sb_addz(&expected, "<end>");
    struct mc_sb got;
    size_t left;
    mc_sb_init(&got, 1 << 22);
    transcribe(&mc_gateway_fastcgi, &(struct script){.keep = false}, wire.p, wire.n, 1000, &got, &left);
    assert_string_equal(mc_sb_z(&got), mc_sb_z(&expected));
    mc_sb_fini(&got);
    mc_sb_fini(&expected);
    free(body);
}

static void lines_for_the_error_log(void **state)
{
    (void)state;
    struct mc_arena a;
    struct mc_chain sent;
    struct mc_gw_event ev;
    size_t used;
    mc_arena_init(&a);
    mc_chain_init(&sent);
    struct mc_exchange x = {.arena = &a};
    assert_int_equal(mc_gateway_fastcgi.head(&x, &sent), MC_OK);
    mc_chain_fini(&sent);
    wire_begin();
    record(ERR, "\n", 1, 0);
    record(ERR, "PHP Notice\r\n", 12, 4);
    mc_gateway_fastcgi.input(&x, wire.p, wire.n, false, &used, &ev);
    assert_int_equal(ev.kind, MC_GW_STDERR);
    assert_int_equal(ev.data.n, 10);
    assert_memory_equal(ev.data.p, "PHP Notice", 10);
    mc_arena_fini(&a);
}

static void wrong_ones_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *head, *why;
    } heads[] = {
        {"Status: 99\n\n", "<the reply's Status is none>"},
        {"Status: 600\n\n", "<the reply's Status is none>"},
        {"Status: 200x\n\n", "<the reply's Status is none>"},
        {"Status: 100\n\n", "<the reply's Status is none>"},
        {"Status: 200\nStatus: 200\n\n", "<the reply's Status is none>"},
        {"A: b\rc\n\n", "<a field of the reply holds a control character>"},
        {"A: b\x01\n\n", "<a field of the reply holds a control character>"},
        {" A: b\n\n", "<a line of the reply's head is not a field>"},
        {"A : b\n\n", "<a line of the reply's head is not a field>"},
        {"A\n\n", "<a line of the reply's head is not a field>"},
        {"A: b\n c\n\n", "<a line of the reply's head is not a field>"},
        {": b\n\n", "<a line of the reply's head is not a field>"},
        {"\n", "<the reply has no head>"},
        {"Content-Length: 1\nContent-Length: 1\n\n", "<the reply's Content-Length is wrong>"},
        {"Content-Length: -1\n\n", "<the reply's Content-Length is wrong>"},
        {"Content-Length: 99999999999999999999\n\n", "<the reply's Content-Length is wrong>"},
        {"Transfer-Encoding: chunked\n\n", "<the reply has a Transfer-Encoding>"},
        {"Content-Length: 1\n\nab", "[200 |Content-Length=1|length]<the reply is longer than its Content-Length>"},
        {"Content-Length: 3\n\nab", "[200 |Content-Length=3|length]ab<the reply is shorter than its Content-Length>"},
        {"A: b\n", "<it ended the request without a reply>"},
        {"", "<it ended the request without a reply>"},
    };
    wire_begin();
    for (size_t i = 0; i < MC_COUNT(heads); i++) {
        struct mc_sb got;
        size_t left;
        out(heads[i].head);
        end(0);
        mc_sb_init(&got, 4096);
        transcribe(&mc_gateway_fastcgi, &(struct script){.keep = true}, wire.p, wire.n, SIZE_MAX / 2, &got, &left);
        assert_string_equal(mc_sb_z(&got), heads[i].why);
        mc_sb_fini(&got);
        wire_begin();
    }
    static const char *const refusals[] = {"<it takes no further request on this connection>", "<it is overloaded>", "<it is no responder>",
                                           "<an unknown status of FastCGI>"};
    for (int i = 0; i < 4; i++) {
        end(i + 1);
        gives(NULL, refusals[i]);
    }
    record(END, "short", 5, 0);
    gives(NULL, "<a record of FastCGI that is too short>");
    record(END, "", 0, 0);
    gives(NULL, "<a record of FastCGI that is too short>");
}

static void not_fastcgi_at_all(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
    } wrong[] = {{"HTTP/1.1 200 OK", 8}, {"\1\6\0\2\0\0\0\0", 8}, {"\1\6\1\1\0\0\0\0", 8}, {"\2\6\0\1\0\0\0\0", 8}, {"\1\4\0\1\0\0\0\0", 8}, {"\1\13\0\0\0\10\0\0", 8}};
    for (size_t i = 0; i < MC_COUNT(wrong); i++) {
        wire_begin();
        mc_sb_add(&wire, wrong[i].bytes, wrong[i].n);
        gives(NULL, "<not a record of FastCGI that was to be expected>");
    }
}

static void cut_anywhere(void **state)
{
    (void)state;
    struct mc_sb whole;
    wire_begin();
    out("A: b\r\n\r\nhello");
    end(0);
    mc_sb_init(&whole, 4096);
    mc_sb_add(&whole, wire.p, wire.n);
    for (size_t n = 0; n < whole.n; n++) {
        struct mc_sb got;
        size_t left;
        mc_sb_init(&got, 4096);
        transcribe(&mc_gateway_fastcgi, &(struct script){.keep = true}, whole.p, n, 1, &got, &left);
        assert_non_null(strstr(mc_sb_z(&got), n ? "<it closed the connection within the reply>" : "<it closed the connection without a reply>"));
        mc_sb_fini(&got);
    }
    mc_sb_fini(&whole);
}

static void heads_without_end_are_bounded(void **state)
{
    (void)state;
    struct mc_sb got;
    size_t left;
    wire_begin();
    for (int i = 0; i < 3000; i++)
        out("X-Field: of some length\r\n");
    mc_sb_init(&got, 4096);
    transcribe(&mc_gateway_fastcgi, &(struct script){.keep = true}, wire.p, wire.n, 1000, &got, &left);
    assert_string_equal(mc_sb_z(&got), "<the head of the reply is too large>");
    mc_sb_fini(&got);
}

static void a_request_is_records(void **state)
{
    (void)state;
    struct mc_arena a;
    struct mc_sb got;
    static const char *const body[] = {"hello", NULL};
    mc_arena_init(&a);
    struct mc_exchange x = {.arena = &a, .keep = true};
    param(&x, "A", "b");
    param(&x, "EMPTY", "");
    encode(&mc_gateway_fastcgi, &x, body, &got);
    static const char expected[] = "\1\1\0\1\0\10\0\0"
                                   "\0\1\1\0\0\0\0\0"
                                   "\1\4\0\1\0\13\5\0"
                                   "\1\1Ab\5\0EMPTY\0\0\0\0\0"
                                   "\1\4\0\1\0\0\0\0"
                                   "\1\5\0\1\0\5\3\0hello\0\0\0"
                                   "\1\5\0\1\0\0\0\0";
    assert_int_equal(got.n, sizeof expected - 1);
    assert_memory_equal(got.p, expected, got.n);
    mc_sb_fini(&got);
    mc_arena_fini(&a);
}

static void large_requests_take_many_records(void **state)
{
    (void)state;
    struct mc_arena a;
    struct mc_sb got;
    mc_arena_init(&a);
    char *value = mc_arena_alloc(&a, 70001), *piece = mc_arena_alloc(&a, 100001);
    assert_true(value && piece);
    memset(value, 'v', 70000);
    memset(piece, 'p', 100000);
    value[70000] = piece[100000] = '\0';
    struct mc_exchange x = {.arena = &a};
    param(&x, "LONG", value);
    const char *body[] = {piece, NULL};
    encode(&mc_gateway_fastcgi, &x, body, &got);
    size_t params = 0, stdin_bytes = 0, ends = 0;
    for (size_t i = 0; i < got.n;) {
        const uint8_t *r = (const uint8_t *)got.p + i;
        size_t n = (size_t)r[4] << 8 | r[5];
        assert_int_equal(r[0], 1);
        assert_int_equal((n + r[6]) % 8, 0);
        params += r[1] == 4 ? n : 0;
        stdin_bytes += r[1] == 5 ? n : 0;
        ends += r[1] >= 4 && n == 0;
        i += 8 + n + r[6];
        assert_true(i <= got.n);
    }
    assert_int_equal(params, 1 + 4 + 4 + 70000);
    assert_int_equal(stdin_bytes, 100000);
    assert_int_equal(ends, 2);
    assert_memory_equal(got.p + 24, "\4\x80\1\x11\x70LONGvvv", 12);
    mc_sb_fini(&got);
    mc_arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_are_read),
        cmocka_unit_test(bytes_behind_the_end_are_left),
        cmocka_unit_test(a_large_body),
        cmocka_unit_test(lines_for_the_error_log),
        cmocka_unit_test(wrong_ones_are_refused),
        cmocka_unit_test(not_fastcgi_at_all),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(heads_without_end_are_bounded),
        cmocka_unit_test(a_request_is_records),
        cmocka_unit_test(large_requests_take_many_records),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    mc_sb_fini(&wire);
    return rc;
}
