/* What --status makes of a scoreboard: a small server, an empty one, and boards full of noise. */
#include "core/process/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SLOTS = 8 };

/* The board of a server with two pools and three workers, as the arbiter and they would have written it. */
static void make(struct mc_status *s)
{
    *s = (struct mc_status){.pid = 4711, .now_ms = 100000, .now = 1700000000};
    assert_int_equal(mc_scoreboard_create(&s->board, SLOTS), MC_OK);
    struct mc_board *b = &s->board;
    b->head->pid = 4711;
    b->head->generation = 2;
    b->head->start_ms = 10000;
    strcpy(b->head->name, "shop");
    strcpy(b->head->listening, "http://127.0.0.1:8000");
    b->pools[0] = (struct mc_board_pool){.name = "web", .worker = "gthread", .wanted = 2, .min = 2, .max = 8, .load = 370};
    b->pools[0].restarts[MC_RESTART_TIMEOUT] = 1;
    b->pools[0].past = (struct mc_board_sums){.requests = 100, .status = {0, 0, 100}, .latency = {100}};
    b->pools[3] = (struct mc_board_pool){.name = "ws", .worker = "epoll", .wanted = 1, .min = 1, .max = 1};
    b->kids[5] = (struct mc_board_kid){.life = MC_BOARD_READY, .pid = 4800, .pool = 0, .generation = 2, .started_ms = 90000, .ready_ms = 90100};
    b->kids[1] = (struct mc_board_kid){.life = MC_BOARD_DRAINING, .pid = 4712, .pool = 0, .generation = 1, .started_ms = 11000, .ready_ms = 12000};
    b->kids[2] = (struct mc_board_kid){.life = MC_BOARD_STARTING, .pool = 3, .generation = 2, .started_ms = 99000};
    for (unsigned i = 0; i < SLOTS; i++)
        mc_scoreboard_begin(&b->slots[i], i, 0, 1, 99500);
    struct mc_slot *busy = &b->slots[5];
    mc_slot_set(busy->requests, 7u);
    mc_slot_set(busy->status[2], 6u);
    mc_slot_set(busy->status[5], 1u);
    mc_slot_set(busy->latency[3], 7u);
    mc_slot_set(busy->busy_since_ms, 97900u);
    mc_slot_set(busy->running, 1u);
    mc_slot_set(busy->rss, UINT64_C(45) << 20);
    strcpy(busy->busy, "GET /slow?q=\"x\"");
}

static char *table(const struct mc_status *s, unsigned width, bool colour)
{
    struct mc_sb out;
    mc_sb_init(&out, 1 << 24);
    mc_status_table(s, width, colour, &out);
    assert_false(out.bad);
    char *text = strdup(mc_sb_z(&out));
    mc_sb_fini(&out);
    return text;
}

static char *json(const struct mc_status *s)
{
    struct mc_sb out;
    mc_sb_init(&out, 1 << 24);
    mc_status_json(s, &out);
    assert_false(out.bad);
    char *text = strdup(mc_sb_z(&out));
    mc_sb_fini(&out);
    return text;
}

static void has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" is not in:\n%s", part, text);
}

static void test_a_table_tells_of_pools_and_workers(void **state)
{
    (void)state;
    struct mc_status s;
    make(&s);
    char *text = table(&s, 0, false);
    has(text, "[shop], pid 4711, up 1m30s, generation 2\nListening at: http://127.0.0.1:8000\n");
    has(text, "web   gthread      1/2     2-8   37%     0       107    1");
    has(text, "timeout 1\n");
    has(text, "ws    epoll        0/1   fixed");
    has(text, "4712  web     1  draining  1m29s");
    has(text, "4800  web     2  busy        10s");
    has(text, "45M  2.1s GET /slow?q=\"x\"\n");
    has(text, "   -  ws      2  starting   1.0s");
    assert_null(strchr(text, '\033'));
    free(text);
    mc_scoreboard_close(&s.board);
}

static void test_a_table_keeps_to_the_width(void **state)
{
    (void)state;
    struct mc_status s;
    make(&s);
    memset(s.board.slots[5].busy, 'x', MC_SLOT_TEXT);
    for (unsigned width = 60; width < 140; width += 7) {
        char *text = table(&s, width, false);
        /* The lines above the tables are sentences. */
        for (char *line = strstr(text, "POOL"); line && *line; line = strchr(line, '\n') + 1)
            assert_true(strcspn(line, "\n") <= width);
        has(text, "xx..\n");
        has(text, "4800");
        free(text);
    }
    char *text = table(&s, 0, true);
    has(text, "\033[36mbusy");
    free(text);
    mc_scoreboard_close(&s.board);
}

static void test_json_has_its_keys(void **state)
{
    (void)state;
    struct mc_status s;
    make(&s);
    s.board.head->reload = MC_BOARD_ROLLING;
    s.board.head->failed_time = 1699999000;
    strcpy(s.board.head->failure, "monoceros.conf:3: a \"word\"\n");
    char *text = json(&s);
    has(text, "{\"arbiter\":{\"pid\":4711,");
    has(text, "\"uptime_s\":90.000,");
    has(text, "\"reload\":{\"state\":\"rolling\",\"generation\":null,\"done\":0,\"failed\":0,\"last_done\":null,\"last_failed\":\"2023-11-14T21:56:40Z\","
              "\"failure\":\"monoceros.conf:3: a \\\"word\\\"?\"}");
    has(text, "\"workers\":{\"wanted\":2,\"min\":2,\"max\":8,\"starting\":0,\"ready\":1,\"draining\":1},\"zygote\":null,\"busy\":0.370,");
    has(text, "\"timeout\":1,\"crash\":0,");
    has(text, "\"requests\":107,\"status\":{\"aborted\":0,\"1xx\":0,\"2xx\":106,\"3xx\":0,\"4xx\":0,\"5xx\":1}");
    has(text, "\"busy_s\":2.100,\"busy_with\":\"GET /slow?q=\\\"x\\\"\"");
    has(text, "{\"lt_ms\":null,\"count\":0}]");
    free(text);
    mc_scoreboard_close(&s.board);
}

static void test_quantiles_lie_in_their_buckets(void **state)
{
    (void)state;
    uint64_t none[MC_SLOT_BUCKETS] = {0}, one[MC_SLOT_BUCKETS] = {[4] = 100}, two[MC_SLOT_BUCKETS] = {[0] = 90, [MC_SLOT_BUCKETS - 1] = 10};
    assert_true(mc_scoreboard_quantile(none, 0.5) < 0);
    assert_true(mc_scoreboard_quantile(one, 0.5) == 12); /* 8 to 16 ms, half of the way */
    assert_true(mc_scoreboard_quantile(one, 1) == 16);
    assert_true(mc_scoreboard_quantile(two, 0.45) == 0.5);
    assert_true(mc_scoreboard_quantile(two, 0.95) == 16384); /* or more */
}

/* Each part in turn, then everything: whatever it says, it is text, and it ends. */
static void test_noise_is_told_as_text(void **state)
{
    (void)state;
    srand(7);
    for (unsigned round = 0; round < 60; round++) {
        struct mc_status s;
        make(&s);
        char *bytes = s.board.shm.p;
        size_t from = round % 3 == 0 ? sizeof(struct mc_board_head) : round % 3 == 1 ? (size_t)((char *)s.board.slots - bytes) : 0;
        size_t to = round % 3 == 2 ? sizeof(struct mc_board_head) : s.board.shm.n;
        for (size_t i = from; i < to; i++)
            bytes[i] = (char)(round < 30 ? rand() : 0xff);
        for (unsigned i = 0; i < SLOTS; i++) /* or nobody would be shown */
            s.board.kids[i].life = i % MC_BOARD_LIVES;
        char *text = table(&s, round * 5, false);
        for (const char *c = text; *c; c++)
            assert_true(*c == '\n' || (*c >= 0x20 && *c < 0x7f));
        free(text);
        text = json(&s);
        for (const char *c = text; *c; c++)
            assert_true(*c == '\n' || (*c >= 0x20 && *c < 0x7f));
        free(text);
        mc_scoreboard_close(&s.board);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_table_tells_of_pools_and_workers),
        cmocka_unit_test(test_a_table_keeps_to_the_width),
        cmocka_unit_test(test_json_has_its_keys),
        cmocka_unit_test(test_quantiles_lie_in_their_buckets),
        cmocka_unit_test(test_noise_is_told_as_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
