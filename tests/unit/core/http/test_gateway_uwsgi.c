/* uwsgi towards upstreams: a packet of variables out, a reply with a status line or a CGI head in. */
#include "gateway_drive.h"

static void gives(const char *bytes, const struct script *s, const char *expected, size_t left)
{
    static const struct script plain;
    expect(&mc_gateway_uwsgi, s ? s : &plain, bytes, strlen(bytes), expected, left);
}

static void replies_are_read(void **state)
{
    (void)state;
    gives("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhello", NULL, "[200 OK|Content-Type=text/plain|close]hello<end>", 0);
    gives("HTTP/1.0 404 Not Found\r\nContent-Length: 2\r\n\r\nno", NULL, "[404 Not Found|Content-Length=2|length]no<end>", 0);
    gives("Status: 302 Found\nLocation: /x\n\n", NULL, "[302 Found|Location=/x|close]<end>", 0);
    gives("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokmore", NULL, "[200 OK|Content-Length=2|length]ok<end>", 4);
    gives("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", &(struct script){.method = MC_STR("HEAD"), .keep = true}, "[200 OK|Content-Length=2|none]<end>", 0);
    gives("HTTP/1.1 204 No Content\r\n\r\n", NULL, "[204 No Content|none]<end>", 0);
}

static void wrong_ones_are_refused(void **state)
{
    (void)state;
    gives("HTTP/2 200\r\n\r\n", NULL, "<a line of the reply's head is not a field>", 0);
    gives("HTTP/1.1 99 x\r\n\r\n", NULL, "<the reply's status line is none>", 0);
    gives("HTTP/1.1 200\x01 x\r\n\r\n", NULL, "<the reply's status line is none>", 0);
    gives("HTTP/1.1 200 a\x01\r\n\r\n", NULL, "<the reply's status line is none>", 0);
    gives("HTTP/1.1 200 OK\r\nHTTP/1.1 200 OK\r\n\r\n", NULL, "<a line of the reply's head is not a field>", 0);
    gives("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", NULL, "<the reply has a Transfer-Encoding>", 0);
    gives("HTTP/1.1 200 OK\r\nStatus: 300\r\n\r\n", NULL, "<the reply's Status is none>", 0);
    gives("HTTP/1.1 200 OK\r\nA: b", NULL, "<it closed the connection within the head of the reply>", 0);
    gives("", NULL, "<it closed the connection without a reply>", 0);
    gives("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", NULL, "[200 OK|Content-Length=3|length]ok<it closed the connection within the body of the reply>", 0);
}

static void a_request_is_a_packet(void **state)
{
    (void)state;
    struct mc_arena a;
    struct mc_sb got;
    static const char *const body[] = {"he", "llo", NULL};
    mc_arena_init(&a);
    struct mc_exchange x = {.arena = &a, .target = {"\5\7", 2}};
    param(&x, "A", "bc");
    param(&x, "E", "");
    encode(&mc_gateway_uwsgi, &x, body, &got);
    assert_int_equal(got.n, 4 + 12 + 5);
    assert_memory_equal(got.p, "\5\14\0\7\1\0A\2\0bc\1\0E\0\0hello", got.n);
    mc_sb_fini(&got);
    mc_arena_fini(&a);
}

static void too_many_variables_cannot_be_said(void **state)
{
    (void)state;
    struct mc_arena a;
    struct mc_chain out;
    mc_arena_init(&a);
    mc_chain_init(&out);
    char *value = mc_arena_alloc(&a, 70001);
    assert_non_null(value);
    memset(value, 'v', 70000);
    value[70000] = '\0';
    struct mc_exchange x = {.arena = &a};
    param(&x, "A", value);
    assert_int_equal(mc_gateway_uwsgi.head(&x, &out), MC_ERROR);
    value[40000] = '\0';
    x.params.n = 0;
    param(&x, "A", value);
    param(&x, "B", value);
    assert_int_equal(mc_gateway_uwsgi.head(&x, &out), MC_ERROR);
    x.params.n = 1;
    assert_int_equal(mc_gateway_uwsgi.head(&x, &out), MC_OK);
    mc_chain_fini(&out);
    mc_arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_are_read),
        cmocka_unit_test(wrong_ones_are_refused),
        cmocka_unit_test(a_request_is_a_packet),
        cmocka_unit_test(too_many_variables_cannot_be_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
