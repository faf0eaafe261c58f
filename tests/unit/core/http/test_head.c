/* Heads: the search for the end, then everything that must be refused, then what must be understood. Inputs end at a guard page. */
#include "core/http/head.h"
#include "tests/unit/lib/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define GET  "GET / HTTP/1.1\r\n"
#define POST "POST / HTTP/1.1\r\n"
#define HOST "Host: localhost\r\n"

static const struct mc_head_limits limits = {.line = 4094, .fields = 100, .field_size = 8190, .head = 65536};

static const struct mc_head_limits any_method = {.line = 4094, .fields = 100, .field_size = 8190, .head = 65536, .any_method = true};

/* As a codec does it: shown `step` bytes more each time, dropping what it is told to. Returns the status; *head as found. */
static int find(const char *p, size_t n, size_t step, const struct mc_head_limits *lim, struct mc_str *head)
{
    struct mc_head_scan scan = {.seen = 0};
    size_t from = 0, shown = 0, skip, len;
    int rc = MC_AGAIN;
    while (rc == MC_AGAIN && shown < n) {
        shown = n - shown < step ? n : shown + step;
        struct guard g = guard_new(p + from, shown - from);
        rc = mc_head_find(&scan, g.p, g.n, lim, &skip, &len);
        guard_free(&g);
        if (rc > 0)
            break;
        from += skip;
        if (rc == MC_OK)
            *head = (struct mc_str){p + from, len};
    }
    return rc;
}

/* Whole and byte by byte must agree; then the head alone, before a guard page, is parsed. */
static int parse(const char *p, size_t n, struct mc_arena *a, struct guard *g, struct mc_head *out)
{
    struct mc_str head = MC_STR_NONE, again = MC_STR_NONE;
    int rc = find(p, n, n, &limits, &head);
    assert_int_equal(find(p, n, 1, &limits, &again), rc);
    assert_ptr_equal(head.p, again.p);
    assert_int_equal(head.n, again.n);
    *g = guard_new(head.p, head.n);
    return rc ? rc : mc_head_request(a, g->p, g->n, &limits, out);
}

static int status_of(const char *p, size_t n)
{
    struct mc_arena a;
    struct mc_head out;
    struct guard g;
    mc_arena_init(&a);
    int rc = parse(p, n, &a, &g, &out);
    guard_free(&g);
    mc_arena_fini(&a);
    return rc;
}

static const struct row {
    const char *bytes;
    size_t n;
    int status; /* MC_OK, MC_AGAIN, or as refused */
} refused[] = {
#define R(bytes, status)                                                                                                                   \
    {                                                                                                                                      \
        bytes, sizeof(bytes) - 1, status                                                                                                   \
    }
    /* request line */
    R("GET / http/1.1\r\n" HOST "\r\n", 400),
    R("GET / HTTP/1.10\r\n" HOST "\r\n", 400),
    R("GET / HTTP/01.1\r\n" HOST "\r\n", 400),
    R("GET / HTTP/1.1x\r\n" HOST "\r\n", 400),
    R("GET / HTTP/1.1 \r\n" HOST "\r\n", 400),
    R("GET / HTCPCP/1.1\r\n" HOST "\r\n", 400),
    R("GET / HTTP/1.\r\n" HOST "\r\n", 400),
    R("GET / HTTP/1,1\r\n" HOST "\r\n", 400),
    R("GET / HTTP/2.0\r\n" HOST "\r\n", 505),
    R("GET / HTTP/9.9\r\n" HOST "\r\n", 505),
    R("GET / HTTP/0.9\r\n" HOST "\r\n", 505),
    R("GET /\r\n", 400),
    R("GET\r\n", 400),
    R("GETHTTP/1.1\r\n" HOST "\r\n", 400),
    R("A\r\n", 400),
    R("SOURCE / ICE/1.0\r\n\r\n", 400),
    R("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    R("PRI * HTTP/1.1\r\n" HOST "\r\n", 400),
    R("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" GET HOST "\r\n", 400),
    R(" GET / HTTP/1.1\r\n" HOST "\r\n", 400),
    R("\tGET / HTTP/1.1\r\n" HOST "\r\n", 400),
    R("GET  / HTTP/1.1\r\n" HOST "\r\n", 400),
    R("GET /  HTTP/1.1\r\n" HOST "\r\n", 400),
    R("GET / x HTTP/1.1\r\n" HOST "\r\n", 400),
    R("GET\t/ HTTP/1.1\r\n" HOST "\r\n", 400),
    R("GET /\tHTTP/1.1\r\n" HOST "\r\n", 400),
    R("GET HTTP/1.1\r\n" HOST "\r\n", 400),
    R("GET  HTTP/1.1\r\n" HOST "\r\n", 400),
    R("/ HTTP/1.1\r\n" HOST "\r\n", 400),
    R("GE(T / HTTP/1.1\r\n" HOST "\r\n", 400),
    R("GET: / HTTP/1.1\r\n" HOST "\r\n", 400),
    R("GET\0 / HTTP/1.1\r\n" HOST "\r\n", 400),
    R("GET\xc3 / HTTP/1.1\r\n" HOST "\r\n", 400),
    R("get / HTTP/1.1\r\n" HOST "\r\n", 501),
    R("Get / HTTP/1.1\r\n" HOST "\r\n", 501),
    R("brew / HTTP/1.1\r\n" HOST "\r\n", 501),
    R("BREw / HTTP/1.1\r\n" HOST "\r\n", 501),
    R("BREW#1 / HTTP/1.1\r\n" HOST "\r\n", 501),
    R("GE / HTTP/1.1\r\n" HOST "\r\n", 501),
    R("METHODS-OF-21-LETTERS / HTTP/1.1\r\n" HOST "\r\n", 501),
    R("BREW foo HTTP/1.1\r\n" HOST "\r\n", 400),
    R("BREW / HTTP/1.1\r\n" HOST "X Y: z\r\n\r\n", 400),
    R("BREW / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    R("CONNECT h:443 HTTP/1.1\r\n" HOST "\r\n", 501),
    R("CONNECT / HTTP/1.1\r\n" HOST "\r\n", 501),
    R("TRACE / HTTP/1.1\r\n" HOST "\r\n", 405),
    R("GET * HTTP/1.1\r\n" HOST "\r\n", 400),
    R("GET foo HTTP/1.1\r\n" HOST "\r\n", 400),
    R("GET localhost:80 HTTP/1.1\r\n" HOST "\r\n", 400),
    R("GET http://u:p@localhost/ HTTP/1.1\r\n" HOST "\r\n", 400),
    R("GET ftp://localhost/ HTTP/1.1\r\n" HOST "\r\n", 400),
    R("GET /#x HTTP/1.1\r\n" HOST "\r\n", 400),
    R("GET /%zz HTTP/1.1\r\n" HOST "\r\n", 400),
    R("GET /\x7f HTTP/1.1\r\n" HOST "\r\n", 400),
    R("GET /\0 HTTP/1.1\r\n" HOST "\r\n", 400),
    /* line ends */
    R("GET / HTTP/1.1\n" HOST "\r\n", 400),
    R("GET / HTTP/1.1\r" HOST "\r\n", 400),
    R("GET / HTTP/1.1\r\r\n" HOST "\r\n", 400),
    R(GET "Host: localhost\n\r\n", 400),
    R(GET HOST "X: a\rb\r\n\r\n", 400),
    R(GET HOST "\n", 400),
    R(GET HOST "\rZ", 400),
    R(GET HOST "\r\r\n", 400),
    R("GET / HTTP/1.1\nHost: localhost\n\n", 400),
    R("\n" GET HOST "\r\n", 400),
    R("\r" GET HOST "\r\n", 400),
    R("\r\n\r\n\r\n" GET HOST "\r\n", 400),
    R("\x16\x03\x01\x02", 400),
    R("\0", 400),
    /* fields */
    R(GET " Host: localhost\r\n\r\n", 400),
    R(GET "\tHost: localhost\r\n\r\n", 400),
    R(GET HOST "X: a\r\n b\r\n\r\n", 400),
    R(GET HOST "X: a\r\n\tb\r\n\r\n", 400),
    R(GET HOST "X: a\r\n \r\n\r\n", 400),
    R(POST HOST "Content-Length:\r\n 5\r\n\r\n", 400),
    R(POST HOST "Transfer-Encoding:\r\n chunked\r\n\r\n", 400),
    R(POST HOST "Transfer-\r\nEncoding: chunked\r\n\r\n", 400),
    R(GET HOST "no colon\r\n\r\n", 400),
    R(GET HOST ": y\r\n\r\n", 400),
    R(GET HOST ":\r\n\r\n", 400),
    R(GET HOST "X : y\r\n\r\n", 400),
    R(GET HOST "X\t: y\r\n\r\n", 400),
    R(GET HOST "X Y: 1\r\n\r\n", 400),
    R(GET HOST "X(: 1\r\n\r\n", 400),
    R(GET HOST "X\xc3: 1\r\n\r\n", 400),
    R(GET HOST "X\0: 1\r\n\r\n", 400),
    R(GET HOST "X: \0\r\n\r\n", 400),
    R(GET HOST "X: \x01\r\n\r\n", 400),
    R(GET HOST "X: \x7f\r\n\r\n", 400),
    R(GET HOST "X: \x0b\r\n\r\n", 400),
    R(GET HOST "Content-Type: a\r\nContent-Type: b\r\n\r\n", 400),
    R(POST HOST "Content-Length : 5\r\n\r\n", 400),
    R(POST HOST "Transfer-Encoding\xa0: chunked\r\n\r\n", 400),
    /* Host */
    R(GET "\r\n", 400),
    R(GET HOST HOST "\r\n", 400),
    R(GET "Host: a\r\nhost: b\r\n\r\n", 400),
    R(GET "Host:\r\n\r\n", 400),
    R(GET "Host: a b\r\n\r\n", 400),
    R(GET "Host: a/b\r\n\r\n", 400),
    R(GET "Host: u@a\r\n\r\n", 400),
    R(GET "Host: a:99999\r\n\r\n", 400),
    R(GET "Host: \xe9"
          "a\r\n\r\n",
      400),
    R(GET "Host: [::1\r\n\r\n", 400),
    R("GET / HTTP/1.0\r\nHost: a b\r\n\r\n", 400),
    R("GET http://localhost/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    R("GET http://localhost/ HTTP/1.1\r\n\r\n", 400),
    R("GET http://a,b/ HTTP/1.1\r\n" HOST "\r\n", 400),
    /* expectations */
    R(POST HOST "Content-Length: 1\r\nExpect: cake\r\n\r\n", 417),
    R(POST HOST "Content-Length: 1\r\nExpect: 100-continue, cake\r\n\r\n", 417),
    R(POST HOST "Content-Length: 1\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n\r\n", 417),
};

static void refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < MC_COUNT(refused); i++) {
        int got = status_of(refused[i].bytes, refused[i].n);
        if (got != refused[i].status)
            print_error("row %zu (%s): %d\n", i, refused[i].bytes, got);
        assert_int_equal(got, refused[i].status);
    }
}

static int status_of_field(const char *field, size_t n)
{
    char text[512];
    size_t len = (size_t)snprintf(text, sizeof(text), "%s%s", POST, HOST);
    memcpy(text + len, field, n);
    memcpy(text + len + n, "\r\n\r\n", 4);
    return status_of(text, len + n + 4);
}

static void lengths(void **state)
{
    static const struct row rows[] = {
        R("-5", 400),
        R("-0", 400),
        R("+5", 400),
        R("0x5", 400),
        R("5e0", 400),
        R("5.0", 400),
        R("0_5", 400),
        R("5a", 400),
        R("5 5", 400),
        R("", 400),
        R("abc", 400),
        R("\"5\"", 400),
        R("5, 6", 400),
        R("5, 5", 400),
        R("5,", 400),
        R(",5", 400),
        R("\x0b"
          "5",
          400),
        R("5\xa0", 400),
        R("\"\\\"5\"", 400),
        R("\xef\xbc\x95", 400),
        R("5\0", 400),
        R("5;a", 400),
        R("9223372036854775808", 400),
        R("18446744073709551616", 400),
        R("18446744073709551621", 400),
        R("79228162514264337593543950341", 400),
        R("0", MC_OK),
        R("5", MC_OK),
        R("\t 5 ", MC_OK),
        R("0005", MC_OK),
        R("9223372036854775807", MC_OK),
    };
    (void)state;
    for (size_t i = 0; i < MC_COUNT(rows); i++) {
        char text[128] = "Content-Length: ";
        size_t n = strlen(text);
        memcpy(text + n, rows[i].bytes, rows[i].n);
        int got = status_of_field(text, n + rows[i].n);
        if (got != rows[i].status)
            print_error("Content-Length: %s: %d\n", rows[i].bytes, got);
        assert_int_equal(got, rows[i].status);
    }
}

static void codings(void **state)
{
    static const struct row rows[] = {
        R("chunked", MC_OK),
        R("Chunked", MC_OK),
        R("\tchunked ", MC_OK),
        R("xchunked", 501),
        R("chunkedx", 501),
        R("\x0b"
          "chunked",
          400),
        R("chunked\x0b", 400),
        R("\xa0"
          "chunked",
          400),
        R("chunked\x85", 400),
        R("\"chunked\"", 400),
        R("cow", 501),
        R("\"chun ked\"", 400),
        R("chunked;a=b", 400),
        R("", 400),
        R("chunked\r", 400),
        R("chunked\0", 400),
        R("chunked, identity", 501),
        R("identity", 501),
        R("gzip, chunked", 501),
        R("chunked, chunked", 400),
        R("chunked,", 400),
        R(",chunked", 400),
        R("chun ked", 400),
        R("chunked\r\nTransfer-Encoding: cow", 501),
        R("chunked\r\nTransfer-Encoding: chunked", 400),
        R("cow\r\nTransfer-Encoding: chunked", 501),
        R("chunked\r\nTransfer-Encoding:", 400),
        R("identity\r\nTransfer-Encoding: chunked", 501),
        R("chunked\r\nContent-Length: 5", 400),
        R("chunked\r\nContent-Length: 0", 400),
        R("cow\r\nContent-Length: 5", 400),
    };
    (void)state;
    for (size_t i = 0; i < MC_COUNT(rows); i++) {
        char text[128] = "Transfer-Encoding: ";
        size_t n = strlen(text);
        memcpy(text + n, rows[i].bytes, rows[i].n);
        int got = status_of_field(text, n + rows[i].n);
        if (got != rows[i].status)
            print_error("Transfer-Encoding: %s: %d\n", rows[i].bytes, got);
        assert_int_equal(got, rows[i].status);
    }
    assert_int_equal(status_of_field("Content-Length: 5\r\nTransfer-Encoding: chunked", 45), 400);
    assert_int_equal(status_of_field("Content-Length: 5\r\nContent-Length: 5", 36), 400);
    assert_int_equal(status_of_field("Content-Length: 5\r\ncontent-length: 6", 36), 400);
    const char old[] = "POST / HTTP/1.0\r\n" HOST "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_int_equal(status_of(old, sizeof(old) - 1), 400);
}

struct view {
    struct mc_arena a;
    struct guard g;
    struct mc_head h;
};

static struct view *view_new(const char *bytes)
{
    struct view *v = calloc(1, sizeof(*v));
    assert_non_null(v);
    mc_arena_init(&v->a);
    assert_int_equal(parse(bytes, strlen(bytes), &v->a, &v->g, &v->h), MC_OK);
    return v;
}

static void view_free(struct view *v)
{
    mc_arena_fini(&v->a);
    guard_free(&v->g);
    free(v);
}

static void understood(void **state)
{
    (void)state;
    struct view *v =
        view_new("\r\n\r\nPOST http://Other:81/x?y HTTP/1.1\r\nhOsT: localhost:80\r\nX-\x7c!#$%&'*+.^_`~09aZ:  a \t b\xff \r\nE:\r\n"
                 "Content_Length: 99\r\nContent-Length: 5\r\nTransfer_Encoding: chunked\r\nExpect: 100-Continue\r\n\r\n");
    assert_true(mc_str_eq(v->h.method, MC_STR("POST")) && mc_str_eq(v->h.target, MC_STR("http://Other:81/x?y")));
    assert_true(mc_str_eq(v->h.host, MC_STR("Other")) && mc_str_eq(v->h.port, MC_STR("81")));
    assert_true(mc_str_eq(v->h.uri.path, MC_STR("/x")) && mc_str_eq(v->h.uri.query, MC_STR("y")));
    assert_int_equal(v->h.fields.n, 7);
    assert_true(mc_str_eq(v->h.fields.v[1].value, MC_STR("a \t b\xff")));
    assert_true(v->h.fields.v[2].value.p && v->h.fields.v[2].value.n == 0);
    assert_int_equal(v->h.framing, MC_BODY_LENGTH);
    assert_int_equal(v->h.content_length, 5);
    assert_true(v->h.keepalive && v->h.expect_continue && v->h.version == 1);
    view_free(v);
    v = view_new("GET / HTTP/1.0\r\n\r\n");
    assert_true(v->h.host.n == 0 && v->h.version == 0 && !v->h.keepalive && v->h.framing == MC_BODY_NONE && v->h.content_length == -1);
    view_free(v);
    v = view_new("OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n");
    assert_true(mc_str_eq(v->h.uri.path, MC_STR("*")) && mc_str_eq(v->h.host, MC_STR("[::1]")));
    view_free(v);
    v = view_new("GET / HTTP/1.7\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n");
    assert_true(v->h.version == 1 && v->h.framing == MC_BODY_NONE && v->h.content_length == 0 && !v->h.expect_continue);
    view_free(v);
    v = view_new("POST / HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_true(!v->h.expect_continue && v->h.framing == MC_BODY_LENGTH);
    view_free(v);
    v = view_new("M-SEARCH / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_int_equal(v->h.framing, MC_BODY_CHUNKED);
    view_free(v);
}

/* Apps define methods of their own: what http-parser does not know is parsed all the same. */
static void methods(void **state)
{
    static const char *const names[] = {"BREW", "QUERY", "VERSION-CONTROL",     "BASELINE-CONTROL", "-BLARGH",
                                        "X_1",  "GETX",  "METHOD-OF-20-LETTERS"};
    (void)state;
    for (size_t i = 0; i < MC_COUNT(names); i++) {
        char text[128];
        (void)snprintf(text, sizeof(text), "%s /x?y HTTP/1.1\r\n" HOST "Content-Length: 5\r\nConnection: close\r\n\r\n", names[i]);
        struct view *v = view_new(text);
        assert_true(mc_str_eq(v->h.method, mc_str(names[i])) && mc_str_eq(v->h.target, MC_STR("/x?y")));
        assert_int_equal(v->h.fields.n, 3);
        assert_true(mc_str_eq(v->h.fields.v[0].name, MC_STR("Host")) && mc_str_eq(v->h.fields.v[0].value, MC_STR("localhost")));
        assert_true(v->h.framing == MC_BODY_LENGTH && v->h.content_length == 5 && !v->h.keepalive);
        view_free(v);
    }
}

/* permit_unconventional_http_method: a token is a method, whatever its letters and length; what is no token stays wrong. */
static void any_methods(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        int status, strict;
    } rows[] = {
        {"get", MC_OK, 501},
        {"BREW#1", MC_OK, 501},
        {"X", MC_OK, 501},
        {"METHODS-OF-21-LETTERS", MC_OK, 501},
        {"A-METHOD-THAT-IS-LONGER-THAN-ALL-OF-THIRTY-TWO", MC_OK, 400},
        {"GET", MC_OK, MC_OK},
        {"GE(T", 400, 400},
        {"TRACE", 405, 405},
        {"CONNECT", 501, 501},
        {"PRI", 400, 400},
    };
    for (size_t i = 0; i < MC_COUNT(rows); i++) {
        const struct mc_head_limits *both[] = {&any_method, &limits};
        char text[128];
        int n = snprintf(text, sizeof text, "%s / HTTP/1.1\r\n" HOST "\r\n", rows[i].method);
        for (size_t k = 0; k < 2; k++) {
            struct mc_str head, again;
            struct mc_arena a;
            struct mc_head out;
            mc_arena_init(&a);
            int rc = find(text, (size_t)n, (size_t)n, both[k], &head);
            assert_int_equal(find(text, (size_t)n, 1, both[k], &again), rc);
            if (rc == MC_OK)
                rc = mc_head_request(&a, head.p, head.n, both[k], &out);
            assert_int_equal(rc, k == 0 ? rows[i].status : rows[i].strict);
            if (rc == MC_OK)
                assert_true(mc_str_eq(out.method, mc_str(rows[i].method)));
            mc_arena_fini(&a);
        }
    }
}

static void connection(void **state)
{
    static const struct {
        const char *bytes;
        bool keep, upgrade;
    } rows[] = {
        {GET HOST "\r\n", true, false},
        {GET HOST "Connection: close\r\n\r\n", false, false},
        {GET HOST "Connection: a,  Close ,b\r\n\r\n", false, false},
        {GET HOST "Connection: keep-alive\r\nConnection: close\r\n\r\n", false, false},
        {GET HOST "Connection: closed, xclose\r\n\r\n", true, false},
        {GET HOST "Connection: ,\r\n\r\n", true, false},
        {GET HOST "Connection: Content-Length\r\nContent-Length: 0\r\n\r\n", true, false},
        {GET HOST "Upgrade: foo\r\n\r\n", true, false},
        {GET HOST "Connection: upgrade\r\n\r\n", true, false},
        {GET HOST "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n", true, true},
        {GET HOST "Proxy-Connection: close\r\n\r\n", true, false},
        {"GET / HTTP/1.0\r\n\r\n", false, false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true, false},
        {"GET / HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n", false, false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false, false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, upgrade\r\nUpgrade: x\r\n\r\n", true, false},
    };
    (void)state;
    for (size_t i = 0; i < MC_COUNT(rows); i++) {
        struct view *v = view_new(rows[i].bytes);
        assert_int_equal(v->h.keepalive, rows[i].keep);
        assert_int_equal(v->h.upgrade, rows[i].upgrade);
        view_free(v);
    }
}

/* Slices follow the bytes, and what never lay in them stays. */
static void moved(void **state)
{
    static const char text[] = "GET http://there.example:81?q=1 HTTP/1.1\r\nHost: here\r\nX-Empty:\r\nX-Last: value\r\n\r\n";
    struct guard old = guard_new(text, sizeof(text) - 1), new = guard_new(text, sizeof(text) - 1);
    struct mc_arena a;
    struct mc_head h;
    (void)state;
    mc_arena_init(&a);
    assert_int_equal(mc_head_request(&a, old.p, old.n, &limits, &h), MC_OK);
    mc_head_move(&h, (struct mc_str){old.p, old.n}, new.p);
    guard_free(&old);
    assert_true(mc_str_eq(h.method, MC_STR("GET")) && mc_str_eq(h.target, MC_STR("http://there.example:81?q=1")));
    assert_true(mc_str_eq(h.uri.path, MC_STR("/")) && mc_str_eq(h.uri.query, MC_STR("q=1")));
    assert_true(mc_str_eq(h.host, MC_STR("there.example")) && mc_str_eq(h.port, MC_STR("81")));
    assert_int_equal(h.fields.n, 3);
    assert_true(mc_str_eq(h.fields.v[0].name, MC_STR("Host")) && mc_str_eq(h.fields.v[0].value, MC_STR("here")));
    assert_true(mc_str_eq(h.fields.v[1].name, MC_STR("X-Empty")) && h.fields.v[1].value.n == 0);
    assert_true(mc_str_eq(h.fields.v[2].value, MC_STR("value")));
    assert_null(h.reason.p);
    mc_arena_fini(&a);
    guard_free(&new);
}

/* Fill with `n` bytes of c between two texts and look only at the search. */
static int find_long(const char *before, char c, size_t n, const char *after, const struct mc_head_limits *lim)
{
    size_t nb = strlen(before), na = strlen(after);
    struct guard g = guard_new(NULL, nb + n + na);
    struct mc_str head = MC_STR_NONE;
    memcpy(g.p, before, nb);
    memset(g.p + nb, c, n);
    memcpy(g.p + nb + n, after, na);
    int rc = find(g.p, g.n, g.n, lim, &head);
    assert_int_equal(find(g.p, g.n, 4096, lim, &head), rc);
    guard_free(&g);
    return rc;
}

static void sizes(void **state)
{
    const struct mc_head_limits lim = {.line = 100, .fields = 5, .field_size = 50, .head = 200};
    (void)state;
    /* the line: 100 bytes are taken, 101 are not */
    assert_int_equal(find_long("GET /", 'a', 100 - 14, " HTTP/1.1\r\n\r\n", &lim), MC_OK);
    assert_int_equal(find_long("GET /", 'a', 100 - 13, " HTTP/1.1\r\n\r\n", &lim), 414);
    assert_int_equal(find_long("GET /", 'a', 200000, "", &lim), 414);
    assert_int_equal(find_long("", 'A', 33, "", &lim), 400);
    assert_int_equal(find_long("", 'A', 32, "", &lim), MC_AGAIN);
    assert_int_equal(find_long("", 'A', 100000, " / HTTP/1.1\r\n\r\n", &limits), 400);
    /* a field: name, value and CRLF */
    assert_int_equal(find_long(GET "X: ", 'a', 45, "\r\n\r\n", &lim), MC_OK);
    assert_int_equal(find_long(GET "X: ", 'a', 46, "\r\n\r\n", &lim), 431);
    assert_int_equal(find_long(GET "X: ", 'a', 200000, "", &limits), 431);
    assert_int_equal(find_long(GET, 'a', 200000, "", &limits), 431);
    /* count */
    assert_int_equal(find_long(GET "a:\r\na:\r\na:\r\na:\r\n", 'a', 1, ":\r\n\r\n", &lim), MC_OK);
    assert_int_equal(find_long(GET "a:\r\na:\r\na:\r\na:\r\na:\r\n", 'a', 1, ":\r\n\r\n", &lim), 431);
    /* all of it */
    assert_int_equal(find_long("GET /", 'a', 80,
                               " HTTP/1.1\r\na: 3456789012345678901234567890\r\nb: 3456789012345678901234567890\r\n"
                               "c: 34567890123456789012345678\r\nd: 4\r\n\r\n",
                               &lim),
                     431);
    assert_int_equal(find_long("", 'A', 0, "", &lim), MC_AGAIN);
    assert_int_equal(find_long(GET "a: 3456789012345678901234567890\r\nb: 3456789012345678901234567890\r\n"
                                   "c: 3456789012345678901234567890\r\nd: 3456789012345678901234567890\r\n",
                               'e', 40, "", &lim),
                     MC_AGAIN);
    assert_int_equal(find_long(GET "a: 3456789012345678901234567890\r\nb: 3456789012345678901234567890\r\n"
                                   "c: 3456789012345678901234567890\r\nd: 3456789012345678901234567890123456789\r\n",
                               'e', 48, "", &lim),
                     431);
    /* empty lines */
    assert_int_equal(find_long("\r\n\r\n", 'A', 0, GET "\r\n", &lim), MC_OK);
    assert_int_equal(find_long("\r\n\r\n\r\n", 'A', 0, "", &lim), 400);
}

/* Who has a head from elsewhere is held to the same limits. */
static void limits_of_the_parser(void **state)
{
    static const char text[] = GET HOST "X: y\r\n\r\n";
    const struct mc_head_limits rows[] = {{.line = 13, .fields = 2}, {.line = 14, .fields = 1}, {.line = 14, .fields = 2}};
    const int want[] = {414, 431, MC_OK};
    (void)state;
    for (size_t i = 0; i < MC_COUNT(rows); i++) {
        struct mc_arena a;
        struct mc_head h;
        mc_arena_init(&a);
        assert_int_equal(mc_head_request(&a, text, sizeof(text) - 1, &rows[i], &h), want[i]);
        mc_arena_fini(&a);
    }
}

static void responses(void **state)
{
    static const struct {
        const char *bytes;
        bool head;
        int rc, framing;
        int64_t length;
        bool keep;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, MC_OK, MC_BODY_LENGTH, 5, true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, MC_OK, MC_BODY_NONE, 5, true},
        {"HTTP/1.1 304 \r\nContent-Length: 5\r\n\r\n", false, MC_OK, MC_BODY_NONE, 5, true},
        {"HTTP/1.1 204 No\r\n\r\n", false, MC_OK, MC_BODY_NONE, -1, true},
        {"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n", false, MC_OK, MC_BODY_NONE, -1, true},
        {"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n", false, MC_OK, MC_BODY_CHUNKED, -1, true},
        {"HTTP/1.1 200 OK\r\n\r\n", false, MC_OK, MC_BODY_CLOSE, -1, false},
        {"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false, MC_OK, MC_BODY_NONE, 0, false},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n", false, MC_OK, MC_BODY_LENGTH, 1, false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", false, MC_ERROR, 0, 0, false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", false, MC_ERROR, 0, 0, false},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", false, MC_ERROR, 0, 0, false},
        {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, MC_ERROR, 0, 0, false},
        {"HTTP/1.1 099 OK\r\n\r\n", false, MC_ERROR, 0, 0, false},
        {"HTTP/1.1 20 OK\r\n\r\n", false, MC_ERROR, 0, 0, false},
        {"HTTP/1.1 2000 OK\r\n\r\n", false, MC_ERROR, 0, 0, false},
        {"HTTP/1.1\r\n\r\n", false, MC_ERROR, 0, 0, false},
        {"HTTP/1.1 200OK\r\n\r\n", false, MC_ERROR, 0, 0, false},
        {"HTTP/2.0 200 OK\r\n\r\n", false, MC_ERROR, 0, 0, false},
        {"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", false, MC_ERROR, 0, 0, false},
    };
    (void)state;
    for (size_t i = 0; i < MC_COUNT(rows); i++) {
        struct mc_head_scan scan = {.response = true};
        struct guard g = guard_new(rows[i].bytes, strlen(rows[i].bytes));
        struct mc_arena a;
        struct mc_head h;
        size_t skip, len;
        mc_arena_init(&a);
        int rc = mc_head_find(&scan, g.p, g.n, &limits, &skip, &len);
        if (rc == MC_OK)
            rc = mc_head_response(&a, g.p, len, rows[i].head, &h);
        else
            rc = MC_ERROR;
        assert_int_equal(rc, rows[i].rc);
        if (rc == MC_OK) {
            assert_int_equal(h.framing, rows[i].framing);
            assert_int_equal(h.content_length, rows[i].length);
            assert_int_equal(h.keepalive, rows[i].keep);
        }
        mc_arena_fini(&a);
        guard_free(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals),  cmocka_unit_test(lengths),    cmocka_unit_test(codings), cmocka_unit_test(understood),
        cmocka_unit_test(methods), cmocka_unit_test(any_methods),   cmocka_unit_test(connection), cmocka_unit_test(moved), cmocka_unit_test(sizes),   cmocka_unit_test(limits_of_the_parser),
        cmocka_unit_test(responses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
