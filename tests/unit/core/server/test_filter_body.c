/* Responses through filters: heads, bodies in every kind of pieces, files with back-pressure, and the ends that are no ends. */
#include "core/server/filter.h"
#include "tests/unit/lib/rig.h"

#include "core/base/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- filters of the tests ---- */

static int64_t seen_whole;
static unsigned heads, flushes, lasts;

/* Each byte becomes itself and its successor. */
static int twice_head(struct mc_request *r, void *data, int64_t whole, void **state)
{
    (void) data;
    (void) state;
    heads++;
    seen_whole = whole;
    r->resp.length = -1;
    return mc_fields_add(&r->resp.fields, &r->arena, MC_STR("X-Twice"), MC_STR("1"));
}

static int twice_body(struct mc_request *r, void *state, unsigned index, const void *p, size_t n, bool last)
{
    char *out = malloc(2 * n + 1);
    (void) state;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = ((const char *) p)[i];
        out[2 * i + 1] = (char) (((const char *) p)[i] + 1);
    }
    flushes += p == NULL;
    lasts += last;
    int rc = mc_filter_next(r, index, p ? out : NULL, 2 * n, last);
    free(out);
    return rc;
}
static const struct mc_filter_ops twice = { .phase = MC_FILTER_RANGE, .head = twice_head, .body = twice_body };

/* Holds everything back until it is told to let go. */
struct hold {
    char bytes[4096];
    size_t n;
};

static int hold_head(struct mc_request *r, void *data, int64_t whole, void **state)
{
    (void) data;
    (void) whole;
    *state = mc_arena_calloc(&r->arena, sizeof(struct hold));
    return MC_OK;
}

static int hold_body(struct mc_request *r, void *state, unsigned index, const void *p, size_t n, bool last)
{
    struct hold *h = state;
    if (n > 0) {
        MC_ASSERT(n <= sizeof h->bytes - h->n);
        memcpy(h->bytes + h->n, p, n);
        h->n += n;
    }
    if (!last && p != NULL) {
        return MC_OK;
    }
    size_t had = h->n;
    h->n = 0;
    if (last) {
        return mc_filter_next(r, index, h->bytes, had, true);
    }
    int rc = had ? mc_filter_next(r, index, h->bytes, had, false) : MC_OK;
    return rc == MC_ERROR ? rc : mc_filter_next(r, index, NULL, 0, false);
}
static const struct mc_filter_ops hold = { .phase = MC_FILTER_ENCODE, .head = hold_head, .body = hold_body };

static int mark_head(struct mc_request *r, void *data, int64_t whole, void **state)
{
    (void) data;
    (void) whole;
    (void) state;
    return mc_fields_add(&r->resp.fields, &r->arena, MC_STR("X-Mark"), MC_STR("m")) == MC_OK ? MC_DECLINED : MC_ERROR;
}
static const struct mc_filter_ops mark = { .phase = MC_FILTER_HEADERS, .head = mark_head };

/* ---- handlers ---- */

static int one(struct mc_request *r)
{
    mc_response_begin(r, 200, MC_STR_NONE);
    return mc_response_end(r, "ace", 3);
}

static int pieces(struct mc_request *r)
{
    mc_response_begin(r, 200, MC_STR_NONE);
    mc_response_write(r, "a", 1);
    mc_response_write(r, "c", 1);
    mc_response_flush(r);
    mc_response_write(r, "e", 1);
    return mc_response_end(r, NULL, 0);
}

static int shorter(struct mc_request *r)
{
    mc_response_begin(r, 200, MC_STR_NONE);
    mc_response_length(r, 10);
    mc_response_write(r, "ace", 3);
    mc_response_flush(r);
    return mc_response_end(r, NULL, 0);
}

static int longer(struct mc_request *r)
{
    mc_response_begin(r, 200, MC_STR_NONE);
    mc_response_length(r, 2);
    return mc_response_end(r, "ace", 3);
}

static int anew(struct mc_request *r)
{
    mc_response_begin(r, 200, MC_STR_NONE);
    mc_response_write(r, "never seen", 10);
    mc_response_begin(r, 500, MC_STR_NONE);
    return mc_response_end(r, "a", 1);
}

static struct mc_file *file;
static off_t file_size;
static int whole_file(struct mc_request *r)
{
    mc_response_begin(r, 200, MC_STR_NONE);
    mc_response_length(r, file_size + 2);
    if (mc_response_write(r, "<", 1) == MC_ERROR || mc_response_file(r, file, 0, file_size) == MC_ERROR) {
        return MC_ERROR;
    }
    return mc_response_end(r, ">", 1);
}

static unsigned resumed;
static int in_turns(struct mc_request *r)
{
    mc_response_begin(r, 200, MC_STR_NONE);
    resumed = 0;
    int rc = mc_response_file(r, file, 0, file_size);
    return rc == MC_AGAIN ? MC_OK : MC_ERROR;
}
static int on_room(struct mc_request *r, enum mc_resume why)
{
    assert_int_equal(why, MC_RESUME_ROOM);
    resumed++;
    return mc_response_end(r, "!", 1);
}

/* A stream of a loop handler that pauses: the rest comes from outside. */
static struct mc_request *paused;
static int pausing(struct mc_request *r)
{
    paused = r;
    mc_response_begin(r, 200, MC_STR_NONE);
    return mc_response_write(r, "a", 1);
}

#define LOOP(f) { .body = MC_BODY_DISCARD, .start = f }
static const struct mc_handler_ops loop_one = LOOP(one), loop_pieces = LOOP(pieces), loop_shorter = LOOP(shorter), loop_longer = LOOP(longer),
                                   loop_anew = LOOP(anew), loop_pausing = LOOP(pausing), loop_file = LOOP(whole_file);
static const struct mc_handler_ops loop_turns = { .body = MC_BODY_DISCARD, .start = in_turns, .resume = on_room };
static const struct mc_handler_ops block_file = { .needs = MC_NEED_BLOCKING, .body = MC_BODY_BUFFERED, .start = whole_file };
static const struct mc_handler_ops block_pieces = { .needs = MC_NEED_BLOCKING, .body = MC_BODY_BUFFERED, .start = pieces };

static struct rig rig;

static void use(struct rig *g, const struct mc_handler_ops *handler, struct mc_filter_use *filters, size_t n)
{
    seen_whole = -2;
    heads = flushes = lasts = 0;
    rig_open(g);
    rig_route(g, "/", handler);
    g->routes[0].filters = filters;
    g->routes[0].nfilters = n;
    rig_connect(g);
}

static const char *ask(struct rig *g, const char *request)
{
    rig_sendz(g, request);
    rig_turn(g);
    return rig_text(g);
}

#define GET "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
#define HEAD "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"

static struct mc_filter_use with_twice[] = { { &twice, NULL }, { &mark, NULL } };
static struct mc_filter_use with_both[] = { { &twice, NULL }, { &hold, NULL }, { &mark, NULL } };

static void heads_and_bodies(void **state)
{
    (void) state;
    use(&rig, &loop_one, with_twice, 2);
    const char *text = ask(&rig, GET);
    assert_non_null(strstr(text, "X-Twice: 1\r\nX-Mark: m\r\nContent-Length: 6\r\n\r\nabcdef"));
    assert_int_equal(seen_whole, 3);
    assert_int_equal(rig.sends, 1); /* head and body as ever in one */
    rig_close(&rig);

    use(&rig, &loop_one, with_both, 3);
    text = ask(&rig, HEAD);
    assert_non_null(strstr(text, "X-Twice: 1\r\nX-Mark: m\r\n"));
    assert_null(strstr(text, "abcdef"));
    assert_int_equal(seen_whole, -1);
    assert_int_equal(lasts, 0);
    text = ask(&rig, GET); /* the connection is in order */
    assert_non_null(strstr(text, "\r\n\r\nabcdef"));
    rig_close(&rig);
}

static void pieces_and_flushes(void **state)
{
    const struct mc_handler_ops *handlers[] = { &loop_pieces, &block_pieces };
    (void) state;
    for (size_t i = 0; i < MC_COUNT(handlers); i++) {
        use(&rig, handlers[i], with_both, 3);
        const char *text = ask(&rig, GET);
        assert_non_null(strstr(text, "Transfer-Encoding: chunked"));
        /* What a blocking handler gives piece by piece leaves so; a loop handler flushes where it wants to. */
        assert_non_null(strstr(text, i == 0 ? "\r\n\r\n4\r\nabcd\r\n2\r\nef\r\n0\r\n\r\n" : "\r\n\r\n2\r\nab\r\n2\r\ncd\r\n2\r\nef\r\n0\r\n\r\n"));
        assert_int_equal(lasts, 1);
        assert_true(flushes >= 1);
        rig_close(&rig);
    }
}

static void a_stream_that_pauses_is_seen(void **state)
{
    (void) state;
    use(&rig, &loop_pausing, with_both, 3);
    assert_non_null(strstr(ask(&rig, GET), "\r\n\r\n2\r\nab\r\n"));
    unsigned before = flushes;
    rig_turn(&rig);
    assert_int_equal(flushes, before); /* once a pause */
    assert_int_equal(mc_response_write(paused, "c", 1), MC_OK);
    assert_int_equal(mc_response_write(paused, "e", 1), MC_OK);
    mc_request_wake(paused);
    rig_turn(&rig);
    assert_non_null(strstr(rig_text(&rig), "\r\n\r\n2\r\nab\r\n4\r\ncdef\r\n"));
    assert_int_equal(mc_response_end(paused, NULL, 0), MC_OK);
    mc_request_wake(paused);
    rig_turn(&rig);
    assert_non_null(strstr(rig_text(&rig), "cdef\r\n0\r\n\r\n"));
    rig_close(&rig);
}

static void wrong_lengths(void **state)
{
    (void) state;
    use(&rig, &loop_shorter, with_twice, 2);
    const char *text = ask(&rig, GET);
    assert_non_null(strstr(text, "abcdef"));
    assert_null(strstr(text, "\r\n0\r\n")); /* cut: nobody takes it for whole */
    assert_null(rig.c);
    rig_close(&rig);

    use(&rig, &loop_longer, with_twice, 2);
    text = ask(&rig, GET);
    assert_non_null(strstr(text, "\r\n\r\nabcd"));
    assert_null(strstr(text, "e"  "f"));
    rig_close(&rig);

    use(&rig, &loop_anew, (struct mc_filter_use[]){ { &hold, NULL }, { &mark, NULL } }, 2);
    text = ask(&rig, GET);
    assert_non_null(strstr(text, "HTTP/1.1 500 "));
    assert_null(strstr(text, "never seen"));
    assert_int_equal(rig_count(&rig, "X-Mark"), 1);
    rig_close(&rig);
}

static char letter(off_t i)
{
    return (char) ('a' + 2 * (i % 7));
}

static void check_file(const char *body, off_t from, off_t n)
{
    for (off_t i = 0; i < n; i++) {
        if (body[2 * i] != letter(from + i) || body[2 * i + 1] != letter(from + i) + 1) {
            fail_msg("byte %lld is wrong", (long long) i);
        }
    }
}

/* The content of a chunked response, in place. */
static size_t unchunk(char *text)
{
    char *r = strstr(text, "\r\n\r\n") + 4, *w = text;
    for (;;) {
        size_t n = strtoul(r, &r, 16);
        if (n == 0) {
            break;
        }
        memmove(w, r + 2, n);
        w += n;
        r += n + 4;
    }
    return (size_t) (w - text);
}

static void files(void **state)
{
    const struct mc_handler_ops *handlers[] = { &loop_file, &block_file };
    (void) state;
    for (size_t i = 0; i < MC_COUNT(handlers); i++) {
        use(&rig, handlers[i], with_twice, 2);
        char *text = strdup(ask(&rig, GET));
        size_t n = unchunk(text);
        assert_int_equal(n, 2 * (file_size + 2));
        assert_memory_equal(text, "<=", 2);
        check_file(text + 2, 0, file_size);
        assert_memory_equal(text + n - 2, ">?", 2);
        assert_int_equal(lasts, 1);
        free(text);
        rig_close(&rig);
    }
}

/* A client that takes little: the file is read as there is room, and never held in memory. */
static void slow_client(void **state)
{
    (void) state;
    use(&rig, &loop_file, with_twice, 2);
    rig.room = 1000;
    ask(&rig, GET);
    off_t most = 0;
    for (unsigned i = 0; rig.c && rig.c->request && i < 10000; i++) {
        most = rig.c->session.out.total > most ? rig.c->session.out.total : most;
        rig_more_room(&rig, 20000);
        rig_turn(&rig);
    }
    assert_true(most < 300000); /* of 1.4 million */
    rig_more_room(&rig, 10000000);
    rig_turn(&rig);
    char *text = strdup(rig_text(&rig));
    size_t n = unchunk(text);
    assert_int_equal(n, 2 * (file_size + 2));
    check_file(text + 2, 0, file_size);
    free(text);
    rig_close(&rig);
}

static void handler_goes_on_behind_a_file(void **state)
{
    (void) state;
    use(&rig, &loop_turns, with_twice, 2);
    char *text = strdup(ask(&rig, GET));
    assert_int_equal(resumed, 1);
    size_t n = unchunk(text);
    assert_int_equal(n, 2 * (file_size + 1));
    assert_memory_equal(text + n - 2, "!\"", 2);
    free(text);
    rig_close(&rig);
}

static void client_leaves(void **state)
{
    (void) state;
    use(&rig, &loop_file, with_twice, 2);
    rig.room = 1000;
    ask(&rig, GET);
    rig.dead = true;
    rig_more_room(&rig, 1000);
    rig_turn(&rig);
    assert_null(rig.c);
    rig_close(&rig);
}

static void file_shrinks(void **state)
{
    (void) state;
    use(&rig, &loop_file, with_twice, 2);
    off_t whole = file_size;
    file_size += 1000; /* promised more than there is */
    const char *text = ask(&rig, GET);
    file_size = whole;
    assert_null(strstr(text, "\r\n0\r\n"));
    assert_true(rig.c == NULL || rig.was_shutdown);
    rig_close(&rig);
}

static int set_up(void **state)
{
    (void) state;
    mc_log_init(open("/dev/null", O_WRONLY | O_CLOEXEC), MC_LOG_CRITICAL);
    FILE *f = tmpfile();
    file_size = 700000;
    for (off_t i = 0; i < file_size; i++) {
        fputc(letter(i), f);
    }
    fflush(f);
    file = mc_file_new(dup(fileno(f)));
    fclose(f);
    return file ? 0 : -1;
}

static int tear_down(void **state)
{
    (void) state;
    assert_int_equal(file->refs, 1); /* every response has let go of it */
    mc_file_unref(&file);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_and_bodies),
        cmocka_unit_test(pieces_and_flushes),
        cmocka_unit_test(a_stream_that_pauses_is_seen),
        cmocka_unit_test(wrong_lengths),
        cmocka_unit_test(files),
        cmocka_unit_test(slow_client),
        cmocka_unit_test(handler_goes_on_behind_a_file),
        cmocka_unit_test(client_leaves),
        cmocka_unit_test(file_shrinks),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
