/* The uwsgi codec of listeners: packets to requests however they arrive, answers as HTTP, and what is refused. */
#define DRIVE_OPS mc_module_find(MC_MODULE_PROTOCOL, "uwsgi")->ops.protocol
#include "http1_drive.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct mc_sb vars;

static void text(const char *z)
{
    size_t n = strlen(z);
    mc_sb_addc(&vars, (char)n);
    mc_sb_addc(&vars, (char)(n >> 8));
    mc_sb_add(&vars, z, n);
}

/* NAME, VALUE, …, NULL: the events of such a packet with this body, the same for every feed. */
static void gives(const char *expected, const char *body, ...)
{
    const char *word;
    va_list ap;
    mc_sb_init(&vars, 1 << 20);
    va_start(ap, body);
    while ((word = va_arg(ap, const char *)))
        text(word);
    va_end(ap);
    struct mc_sb all;
    mc_sb_init(&all, 1 << 20);
    mc_sb_addc(&all, 0);
    mc_sb_addc(&all, (char)vars.n);
    mc_sb_addc(&all, (char)(vars.n >> 8));
    mc_sb_addc(&all, 0);
    mc_sb_add(&all, vars.p, vars.n);
    mc_sb_addz(&all, body);
    for (int feed = 0; feed < FEED_COUNT; feed++) {
        struct drive d;
        drive_init(&d, (enum feed)feed);
        assert_string_equal(drive_run(&d, all.p, all.n), expected);
        drive_fini(&d);
    }
    mc_sb_fini(&all);
    mc_sb_fini(&vars);
}

static void packets_become_requests(void **state)
{
    (void)state;
    gives("HEAD GET /a?b example.org X-Some-Thing=1 close [] END; EOF", "", "REQUEST_METHOD", "GET", "REQUEST_URI", "/a?b", "HTTP_HOST", "example.org",
          "HTTP_X_SOME_THING", "1", "CONTENT_LENGTH", "", "CONTENT_TYPE", "", "SERVER_PROTOCOL", "HTTP/1.1", NULL);
    gives("HEAD POST /x  Content-Type=t/x Content-Length=5 close [hello] END; EOF", "hellomore", "REQUEST_METHOD", "POST", "REQUEST_URI", "/x", "CONTENT_TYPE", "t/x",
          "CONTENT_LENGTH", "5", NULL);
    gives("HEAD GET /m/p q?r  SCRIPT_NAME=/m close [] END; EOF", "", "REQUEST_METHOD", "GET", "SCRIPT_NAME", "/m", "PATH_INFO", "/p q", "QUERY_STRING", "r", NULL);
    gives("HEAD GET /  close [] END; EOF", "", "REQUEST_METHOD", "GET", "HTTP_CONNECTION", "keep-alive", "HTTP_TRANSFER_ENCODING", "chunked", "HTTP_EXPECT", "100-continue", NULL);
}

static void wrong_ones_are_refused(void **state)
{
    (void)state;
    gives("ERROR 400; ", "", "REQUEST_METHOD", "GET", "REQUEST_URI", "/", "HTTP_X", "a\r\nY: z", NULL);
    gives("ERROR 400; ", "", "REQUEST_METHOD", "GET", "REQUEST_URI", "/ HTTP/1.1\r\nY: z", NULL);
    gives("ERROR 400; ", "", "REQUEST_METHOD", "GET", "REQUEST_URI", "/", "REQUEST_URI", "/", NULL);
    gives("ERROR 400; ", "", "REQUEST_METHOD", "GET", "REQUEST_URI", "/", "HTTP_X Y", "a", NULL);
    gives("ERROR 400; ", "", "REQUEST_METHOD", "GET", "REQUEST_URI", "/", "ODD", NULL);
    gives("HEAD POST /  Content-Length=5 close [hiCUT body; ", "hi", "REQUEST_METHOD", "POST", "CONTENT_LENGTH", "5", NULL);
}

static void the_answer_is_http_and_the_last(void **state)
{
    (void)state;
    static const char packet[] = "\0\25\0\0\16\0REQUEST_METHOD\3\0GET";
    struct drive d;
    drive_init(&d, FEED_WHOLE);
    assert_string_equal(drive_run(&d, packet, sizeof packet - 1), "HEAD GET /  close [] END; EOF");
    assert_non_null(strstr(mc_sb_z(&d.out), "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(mc_sb_z(&d.out), "Connection: close\r\n"));
    assert_non_null(strstr(mc_sb_z(&d.out), "Content-Length: 5\r\n\r\nhello"));
    drive_fini(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packets_become_requests),
        cmocka_unit_test(wrong_ones_are_refused),
        cmocka_unit_test(the_answer_is_http_and_the_last),
    };
    if (!mc_module_find(MC_MODULE_PROTOCOL, "uwsgi"))
        return 0; /* not in this build */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
