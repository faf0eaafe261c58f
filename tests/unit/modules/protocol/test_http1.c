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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),
        cmocka_unit_test(pipelined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
