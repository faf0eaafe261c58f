/* The HTTP/1 codec: every case whole, byte by byte, asked again between bytes, and with no room behind the head. */
#include "tests/unit/modules/protocol/http1_drive.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define HOST "Host: localhost\r\n"

static void expect_events(const char *bytes, size_t n, const char *events)
{
    for (enum feed feed = FEED_WHOLE; feed < FEED_COUNT; feed++) {
        struct drive d;
        drive_init(&d, feed);
        assert_string_equal(drive_run(&d, bytes, n), events);
        drive_fini(&d);
    }
}

#define EVENTS(bytes, events) expect_events(bytes, sizeof(bytes) - 1, events)

static void requests(void **state)
{
    (void)state;
    EVENTS("GET / HTTP/1.1\r\n" HOST "\r\n", "HEAD GET / localhost keep [] END; EOF");
    EVENTS("GET /a/../b?x=1 HTTP/1.1\r\nhOsT: h:80\r\nX:  y \r\n\r\n", "HEAD GET /b?x=1 h X=y keep [] END; EOF");
    EVENTS("POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nabcde", "HEAD POST / localhost Content-Length=5 keep [abcde] END; EOF");
    EVENTS("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nabcde\r\n1\r\nf\r\n0\r\nX: y\r\nHost: z\r\n\r\n",
           "HEAD POST / localhost Transfer-Encoding=chunked keep [abcdef|X=y] END; EOF");
    EVENTS("", "EOF");
}

static void pipelined(void **state)
{
    (void)state;
    EVENTS("POST /1 HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nab\r\nGET /2 HTTP/1.1\r\n" HOST "\r\n"
           "POST /3 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /4 HTTP/1.1\r\n" HOST "\r\n\r\n",
           "HEAD POST /1 localhost Content-Length=2 keep [ab] END; HEAD GET /2 localhost keep [] END; "
           "HEAD POST /3 localhost Transfer-Encoding=chunked keep [] END; HEAD GET /4 localhost keep [] END; EOF");
    EVENTS("GET /1 HTTP/1.1\r\n" HOST "Connection: close\r\n\r\nGET /2 HTTP/1.1\r\n" HOST "\r\n",
           "HEAD GET /1 localhost Connection=close close [] END; EOF");
    EVENTS("GET /1 HTTP/1.0\r\n\r\nGET /2 HTTP/1.0\r\n\r\n", "HEAD GET /1  close [] END; EOF");
}

#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"
#define SECOND    GET("/second")

/* After a refusal nothing is read as a request again. */
static void refused(void **state)
{
    (void)state;
    EVENTS("GET / HTTP/1.1\r\n\r\n" SECOND, "ERROR 400; ");
    EVENTS("GET / HTTP/2.0\r\n\r\n" SECOND, "ERROR 505; ");
    EVENTS("brew / HTTP/1.1\r\n" HOST "\r\n" SECOND, "ERROR 501; ");
    EVENTS("GET /../x HTTP/1.1\r\n" HOST "\r\n" SECOND, "ERROR 400; ");
    EVENTS("GET /%00 HTTP/1.1\r\n" HOST "\r\n" SECOND, "ERROR 400; ");
    EVENTS("\r\n\r\n\r\n" SECOND, "ERROR 400; ");
    EVENTS("POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SECOND, "ERROR 400; ");
    EVENTS("POST / HTTP/1.1\r\n" HOST "Expect: cake\r\nContent-Length: 5\r\n\r\nhello" SECOND, "ERROR 417; ");
    EVENTS(SECOND "GET / HTTP/1.1\nHost: a\n\n" SECOND, "HEAD GET /second localhost keep [] END; ERROR 400; ");
#define CHUNKED      "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
#define CHUNKED_HEAD "HEAD POST / localhost Transfer-Encoding=chunked keep ["
    EVENTS(CHUNKED "1\r\na\r\n5 \r\nhello\r\n0\r\n\r\n" SECOND, CHUNKED_HEAD "aERROR 400; ");
    EVENTS(CHUNKED "5\r\nhelloXX0\r\n\r\n" SECOND, CHUNKED_HEAD "helloERROR 400; ");
    EVENTS(CHUNKED "0\r\n\n" SECOND, CHUNKED_HEAD "ERROR 400; ");
}

static void cut(void **state)
{
    (void)state;
    EVENTS("G", "CUT head; ");
    EVENTS("GET / HTTP/1.1\r\n" HOST, "CUT head; ");
    EVENTS("GET / HTTP/1.1\r\n" HOST "\r", "CUT head; ");
    EVENTS("\r\n", "EOF");
    EVENTS(GET("/") "\r\n", "HEAD GET / localhost keep [] END; EOF");
    EVENTS(GET("/") "GE", "HEAD GET / localhost keep [] END; CUT head; ");
    EVENTS("POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhell", "HEAD POST / localhost Content-Length=5 keep [hellCUT body; ");
    EVENTS(CHUNKED "5\r\nhello\r\n0\r\n", CHUNKED_HEAD "helloCUT body; ");
}

static void waiting(void **state)
{
    static const struct {
        const char *bytes, *events;
    } rows[] = {
        {"", "MORE"},
        {"\r\n", "MORE"},
        {"\r\n\r\n", "MORE"},
        {"\r", "MORE started"},
        {"G", "MORE started"},
        {"GET / HTTP/1.1\r\n", "MORE started"},
        {GET("/"), "HEAD GET / localhost keep [] END; MORE"},
        {GET("/") "\r\nG", "HEAD GET / localhost keep [] END; MORE started"},
    };
    (void)state;
    for (size_t i = 0; i < MC_COUNT(rows); i++) {
        for (enum feed feed = FEED_WHOLE; feed < FEED_COUNT; feed++) {
            struct drive d;
            drive_init(&d, feed);
            d.keep_open = true;
            assert_string_equal(drive_run(&d, rows[i].bytes, strlen(rows[i].bytes)), rows[i].events);
            if (!d.s.in.keep && strcmp(rows[i].events, "MORE") == 0)
                assert_int_equal(d.s.in.pos, d.s.in.len);
            drive_fini(&d);
        }
    }
}

/* One request at a time; the end of input shows when the next one is asked for. */
static void busy(void **state)
{
    static const char bytes[] = GET("/1") GET("/2");
    (void)state;
    for (enum feed feed = FEED_WHOLE; feed < FEED_COUNT; feed++) {
        struct drive d;
        drive_init(&d, feed);
        d.silent = true;
        assert_string_equal(drive_run(&d, bytes, sizeof(bytes) - 1), "HEAD GET /1 localhost keep [] END; BUSY");
        assert_true(mc_str_eq(d.live->path, MC_STR("/1")) && mc_str_eq(d.live->head.host, MC_STR("localhost")));
        drive_fini(&d);
    }
}

/* A request that ends before its body does ends the connection: the rest of the body is no request. */
static void finished_early(void **state)
{
    static const char bytes[] = "POST / HTTP/1.1\r\n" HOST "Content-Length: 60\r\n\r\n" SECOND SECOND;
    (void)state;
    for (enum feed feed = FEED_WHOLE; feed < FEED_COUNT; feed++) {
        struct drive d;
        drive_init(&d, feed);
        d.cut_early = true;
        assert_string_equal(drive_run(&d, bytes, sizeof(bytes) - 1), "HEAD POST / localhost Content-Length=60 keep [EOF");
        assert_true(d.s.close);
        drive_fini(&d);
    }
}

static void long_heads(void **state)
{
    struct mc_sb text, events;
    (void)state;
    mc_sb_init(&text, 1 << 20);
    mc_sb_init(&events, 1 << 20);
    mc_sb_addz(&text, "POST / HTTP/1.1\r\n" HOST);
    mc_sb_addz(&events, "HEAD POST / localhost");
    for (int i = 0; i < 90; i++) {
        mc_sb_addf(&text, "X-%d: %0200d\r\n", i, i);
        mc_sb_addf(&events, " X-%d=%0200d", i, i);
    }
    mc_sb_addz(&text, "Content-Length: 3\r\n\r\nabc" SECOND);
    mc_sb_addz(&events, " Content-Length=3 keep [abc] END; HEAD GET /second localhost keep [] END; EOF");
    expect_events(mc_sb_z(&text), text.n, mc_sb_z(&events));
    mc_sb_fini(&text);
    mc_sb_fini(&events);
}

static void no_memory(void **state)
{
    struct drive d;
    (void)state;
    drive_init(&d, FEED_WHOLE);
    d.no_request = true;
    assert_string_equal(drive_run(&d, GET("/"), sizeof(GET("/")) - 1), "ERROR 503; ");
    assert_true(d.s.close);
    drive_fini(&d);
}

/* ---- output ---- */

#define DATE "Date: Sat, 21 Nov 2026 10:20:30 GMT\r\n"
#define TOP  "Server: monoceros\r\n" DATE

struct reply {
    const char *request;
    int status;
    const char *body; /* NULL: given later in pieces */
    int64_t length;
    const char *out;
    bool close;
};

/* The request, an answer in one call of head(), and all that was written. */
static void expect_reply(const struct reply *row)
{
    struct drive d;
    struct mc_input ev;
    drive_init(&d, FEED_WHOLE);
    d.silent = true;
    drive_run(&d, row->request, strlen(row->request));
    assert_non_null(d.live);
    d.live->resp.status = row->status;
    d.live->resp.length = row->length;
    assert_int_equal(d.s.ops->head(d.live, row->body, row->body ? strlen(row->body) : 0, true), MC_OK);
    drive_take_output(&d);
    assert_string_equal(mc_sb_z(&d.out), row->out);
    assert_int_equal(d.s.close, row->close);
    drive_forget(&d);
    d.s.ops->input(&d.s, &ev);
    assert_int_equal(ev.kind, row->close ? MC_IN_EOF : MC_IN_MORE);
    drive_fini(&d);
}

static void framing(void **state)
{
#define OLD          "GET / HTTP/1.0\r\n\r\n"
#define OLD_KEEP     "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
#define CLOSING      "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"
#define HEAD_REQUEST "HEAD / HTTP/1.1\r\n" HOST "\r\n"
    static const struct reply rows[] = {
        {GET("/"), 200, "hello", -1, "HTTP/1.1 200 OK\r\n" TOP "Content-Length: 5\r\n\r\nhello", false},
        {GET("/"), 200, "", -1, "HTTP/1.1 200 OK\r\n" TOP "Content-Length: 0\r\n\r\n", false},
        {GET("/"), 404, "x", 1, "HTTP/1.1 404 Not Found\r\n" TOP "Content-Length: 1\r\n\r\nx", false},
        {GET("/"), 299, "x", 1, "HTTP/1.1 299 Unknown\r\n" TOP "Content-Length: 1\r\n\r\nx", false},
        {GET("/"), 204, "x", 1, "HTTP/1.1 204 No Content\r\n" TOP "\r\n", false},
        {GET("/"), 304, "", -1, "HTTP/1.1 304 Not Modified\r\n" TOP "\r\n", false},
        {GET("/"), 304, "", 7, "HTTP/1.1 304 Not Modified\r\n" TOP "Content-Length: 7\r\n\r\n", false},
        {HEAD_REQUEST, 200, "hello", -1, "HTTP/1.1 200 OK\r\n" TOP "Content-Length: 5\r\n\r\n", false},
        {HEAD_REQUEST, 200, "", 9, "HTTP/1.1 200 OK\r\n" TOP "Content-Length: 9\r\n\r\n", false},
        {HEAD_REQUEST, 200, "", -1, "HTTP/1.1 200 OK\r\n" TOP "\r\n", false},
        {CLOSING, 200, "a", -1, "HTTP/1.1 200 OK\r\n" TOP "Connection: close\r\nContent-Length: 1\r\n\r\na", true},
        {OLD, 200, "a", -1, "HTTP/1.1 200 OK\r\n" TOP "Connection: close\r\nContent-Length: 1\r\n\r\na", true},
        {OLD_KEEP, 200, "a", -1, "HTTP/1.1 200 OK\r\n" TOP "Connection: keep-alive\r\nContent-Length: 1\r\n\r\na", false},
    };
    (void)state;
    for (size_t i = 0; i < MC_COUNT(rows); i++)
        expect_reply(&rows[i]);
}

struct piece {
    const char *body;
    bool last;
};

/* Head alone, then pieces. */
static void expect_pieces(const char *request, int64_t length, const struct piece *pieces, size_t n, const char *out, bool close)
{
    struct drive d;
    drive_init(&d, FEED_WHOLE);
    d.silent = true;
    drive_run(&d, request, strlen(request));
    d.live->resp.status = 200;
    d.live->resp.length = length;
    int64_t sent = 0;
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(pieces[i].body);
        int rc =
            i ? d.s.ops->body(d.live, pieces[i].body, len, pieces[i].last) : d.s.ops->head(d.live, pieces[i].body, len, pieces[i].last);
        assert_int_equal(rc, MC_OK);
        if (!d.live->resp.bodyless)
            sent += (int64_t)len;
        assert_int_equal(d.live->resp.sent, sent);
    }
    assert_int_equal(d.live->resp.direct, !d.live->resp.bodyless && !d.live->resp.chunked);
    drive_take_output(&d);
    assert_string_equal(mc_sb_z(&d.out), out);
    assert_int_equal(d.s.close, close);
    drive_fini(&d);
}

static void pieces(void **state)
{
    static const struct piece two[] = {{"hello", false}, {"", false}, {"0123456789abcdef", true}};
    static const struct piece late[] = {{"", false}, {"ab", false}, {"", true}};
    (void)state;
    expect_pieces(GET("/"), -1, two, 3,
                  "HTTP/1.1 200 OK\r\n" TOP "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n", false);
    expect_pieces(GET("/"), -1, late, 3, "HTTP/1.1 200 OK\r\n" TOP "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", false);
    expect_pieces(GET("/"), 21, two, 3, "HTTP/1.1 200 OK\r\n" TOP "Content-Length: 21\r\n\r\nhello0123456789abcdef", false);
    expect_pieces(OLD_KEEP, -1, two, 3, "HTTP/1.1 200 OK\r\n" TOP "Connection: close\r\n\r\nhello0123456789abcdef", true);
    expect_pieces(OLD_KEEP, 21, two, 3,
                  "HTTP/1.1 200 OK\r\n" TOP "Connection: keep-alive\r\nContent-Length: 21\r\n\r\nhello0123456789abcdef", false);
    expect_pieces(HEAD_REQUEST, -1, two, 3, "HTTP/1.1 200 OK\r\n" TOP "\r\n", false);
}

/* Bodies and heads that no single block holds come out whole. */
static void large(void **state)
{
    static const size_t sizes[] = {1, 15000, 15700, 15800, 15968, 15969, 16000, 16384, 70000};
    char *text = malloc(70001);
    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < MC_COUNT(sizes); i++) {
        for (int chunked = 0; chunked < 2; chunked++) {
            struct drive d;
            char frame[32] = "";
            memset(text, 'x', sizes[i]);
            text[sizes[i]] = 0;
            drive_init(&d, FEED_WHOLE);
            d.silent = true;
            drive_run(&d, GET("/"), strlen(GET("/")));
            d.live->resp.status = 200;
            if (chunked)
                snprintf(frame, sizeof(frame), "%zx\r\n", sizes[i]);
            assert_int_equal(d.s.ops->head(d.live, text, sizes[i], !chunked), MC_OK);
            assert_int_equal(d.s.ops->body(d.live, text, chunked ? sizes[i] : 0, true), MC_OK);
            drive_take_output(&d);
            const char *body = strstr(mc_sb_z(&d.out), "\r\n\r\n") + 4;
            size_t head = (size_t)(body - d.out.p), want = sizes[i];
            if (chunked)
                want = 2 * (strlen(frame) + sizes[i] + 2) + 5;
            assert_int_equal(d.out.n - head, want);
            assert_memory_equal(body, frame, strlen(frame));
            assert_memory_equal(body + strlen(frame), text, sizes[i]);
            if (chunked)
                assert_string_equal(d.out.p + d.out.n - 7, "\r\n0\r\n\r\n");
            drive_fini(&d);
        }
    }
    free(text);
}

static void fields(void **state)
{
    static char value[17000];
    struct drive d;
    (void)state;
    memset(value, 'v', sizeof(value));
    drive_init(&d, FEED_WHOLE);
    d.silent = true;
    drive_run(&d, GET("/"), strlen(GET("/")));
    struct mc_response *resp = &d.live->resp;
    resp->status = 200;
    resp->reason = MC_STR("Fine");
    resp->has_date = resp->has_server = true;
    assert_int_equal(mc_fields_add(&resp->fields, &d.live->arena, MC_STR("Server"), MC_STR("mine")), MC_OK);
    assert_int_equal(mc_fields_add(&resp->fields, &d.live->arena, MC_STR("X-Long"), (struct mc_str){value, sizeof(value)}), MC_OK);
    assert_int_equal(mc_fields_add(&resp->fields, &d.live->arena, MC_STR("Date"), MC_STR("")), MC_OK);
    assert_int_equal(d.s.ops->head(d.live, "ab", 2, true), MC_OK);
    drive_take_output(&d);
    static const char start[] = "HTTP/1.1 200 Fine\r\nServer: mine\r\nX-Long: vvv", end[] = "vvv\r\nDate: \r\nContent-Length: 2\r\n\r\nab";
    const char *out = mc_sb_z(&d.out);
    assert_memory_equal(out, start, sizeof(start) - 1);
    assert_string_equal(out + d.out.n - (sizeof(end) - 1), end);
    assert_int_equal(d.out.n, sizeof(start) - 1 + sizeof(value) - 6 + sizeof(end) - 1);
    drive_fini(&d);
}

static void tokens(void **state)
{
    static const char *const rows[][2] = {
        {"on", "\r\nServer: monoceros/"}, {"name", "\r\nServer: monoceros\r\n"}, {"off", NULL}, {"me 1", "\r\nServer: me 1\r\n"}};
    (void)state;
    for (size_t i = 0; i < MC_COUNT(rows); i++) {
        struct drive d;
        drive_init(&d, FEED_WHOLE);
        d.set.server_tokens = rows[i][0];
        drive_run(&d, GET("/"), strlen(GET("/")));
        const char *out = mc_sb_z(&d.out);
        if (rows[i][1])
            assert_non_null(strstr(out, rows[i][1]));
        else
            assert_null(strstr(out, "Server"));
        drive_fini(&d);
    }
}

static void files(void **state)
{
    struct drive d;
    struct mc_file *f = mc_file_new(-1);
    (void)state;
    assert_non_null(f);
    drive_init(&d, FEED_WHOLE);
    d.silent = true;
    drive_run(&d, GET("/"), strlen(GET("/")));
    d.live->resp.status = 200;
    assert_int_equal(d.s.ops->head(d.live, "ab", 2, false), MC_OK);
    assert_int_equal(d.s.ops->file(d.live, f, 5, 11, false), MC_OK);
    assert_int_equal(d.s.ops->file(d.live, f, 5, 0, false), MC_OK);
    assert_int_equal(d.s.ops->file(d.live, f, 5, 1, true), MC_OK);
    assert_int_equal(d.live->resp.sent, 14);
    drive_take_output(&d);
    assert_string_equal(strstr(mc_sb_z(&d.out), "\r\n\r\n"), "\r\n\r\n2\r\nab\r\nb\r\nFFFFFFFFFFF\r\n1\r\nF\r\n0\r\n\r\n");
    drive_fini(&d);
    assert_int_equal(f->refs, 1);
    mc_file_unref(&f);
}

static void file_with_length(void **state)
{
    struct drive d;
    struct mc_file *f = mc_file_new(-1);
    (void)state;
    assert_non_null(f);
    drive_init(&d, FEED_WHOLE);
    d.silent = true;
    drive_run(&d, GET("/"), strlen(GET("/")));
    d.live->resp.status = 200;
    d.live->resp.length = 3;
    assert_int_equal(d.s.ops->head(d.live, NULL, 0, false), MC_OK);
    assert_int_equal(d.s.ops->file(d.live, f, 0, 3, true), MC_OK);
    assert_true(d.live->resp.direct && d.live->resp.sent == 3);
    drive_take_output(&d);
    assert_string_equal(strstr(mc_sb_z(&d.out), "\r\nContent-Length"), "\r\nContent-Length: 3\r\n\r\nFFF");
    drive_fini(&d);
    mc_file_unref(&f);
}

static void interims(void **state)
{
    static const char post[] = "POST / HTTP/1.%d\r\n" HOST "Content-Length: 2\r\nExpect: 100-continue\r\nConnection: keep-alive\r\n\r\n";
    (void)state;
    for (int minor = 0; minor < 2; minor++) {
        struct drive d;
        struct mc_fields links = {.v = NULL};
        char text[256];
        drive_init(&d, FEED_WHOLE);
        d.silent = d.keep_open = true;
        drive_run(&d, text, (size_t)snprintf(text, sizeof(text), post, minor));
        assert_int_equal(d.live->head.expect_continue, minor);
        assert_int_equal(mc_fields_add(&links, &d.live->arena, MC_STR("Link"), MC_STR("</a>")), MC_OK);
        assert_int_equal(d.s.ops->interim(d.live, 100, NULL), MC_OK);
        assert_int_equal(d.s.ops->interim(d.live, 103, &links), MC_OK);
        drive_take_output(&d);
        assert_string_equal(mc_sb_z(&d.out), minor ? "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" : "");
        drive_fini(&d);
    }
}

/* The answer to bytes that never became a request says that the connection ends. */
static void error_answers(void **state)
{
    struct drive d;
    (void)state;
    drive_init(&d, FEED_BYTES);
    drive_run(&d, "\x16\x03\x01", 3);
    assert_string_equal(mc_sb_z(&d.out), "HTTP/1.1 400 Bad Request\r\n" TOP "Connection: close\r\nContent-Length: 5\r\n\r\nhello");
    drive_fini(&d);
    drive_init(&d, FEED_WHOLE);
    drive_run(&d, "HEAD / HTTP/1.1\r\n\r\n", 19);
    assert_string_equal(mc_sb_z(&d.out), "HTTP/1.1 400 Bad Request\r\n" TOP "Connection: close\r\nContent-Length: 5\r\n\r\n");
    drive_fini(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),  cmocka_unit_test(pipelined),     cmocka_unit_test(refused),        cmocka_unit_test(cut),
        cmocka_unit_test(waiting),   cmocka_unit_test(busy),          cmocka_unit_test(finished_early), cmocka_unit_test(long_heads),
        cmocka_unit_test(no_memory), cmocka_unit_test(framing),       cmocka_unit_test(pieces),         cmocka_unit_test(large),
        cmocka_unit_test(fields),    cmocka_unit_test(tokens),        cmocka_unit_test(files),          cmocka_unit_test(file_with_length),
        cmocka_unit_test(interims),  cmocka_unit_test(error_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
