/* The scoreboard between two mappings, and the noise that a hostile worker writes. */
#include "core/process/scoreboard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void test_two_mappings_see_the_same(void **state)
{
    (void)state;
    struct mc_board a, b;
    assert_int_equal(mc_scoreboard_create(&a, 8), MC_OK);
    assert_int_equal(mc_scoreboard_open(&b, dup(a.shm.fd)), MC_OK);
    assert_int_equal(b.n, 8);
    mc_scoreboard_begin(mc_scoreboard_slot(&a, 3), 3, 1, 2, 1234);
    struct mc_slot *s = mc_scoreboard_slot(&b, 3);
    assert_int_equal(s->magic, MC_MAGIC_SLOT);
    assert_int_equal(s->index, 3);
    assert_int_equal(mc_slot_get(s->pool), 1);
    assert_int_equal(mc_slot_get(s->generation), 2);
    assert_int_equal(mc_slot_get(s->beat_ms), 1234);
    assert_int_equal(mc_slot_get(s->state), MC_SLOT_STARTING);
    mc_slot_add(s->requests, 5);
    assert_int_equal(mc_slot_get(mc_scoreboard_slot(&a, 3)->requests), 5);
    mc_scoreboard_end(mc_scoreboard_slot(&a, 3));
    assert_int_equal(mc_slot_get(s->state), MC_SLOT_EMPTY);
    assert_null(mc_scoreboard_slot(&b, 8));
    assert_null(mc_scoreboard_slot(&b, UINT32_MAX));
    mc_scoreboard_close(&b);
    mc_scoreboard_close(&a);
}

static void test_a_head_that_lies_is_refused(void **state)
{
    (void)state;
    struct mc_board a, b;
    assert_int_equal(mc_scoreboard_create(&a, 8), MC_OK);
    uint32_t *head = a.shm.p, right = head[2];
    head[2] = 9; /* more slots than there is memory */
    assert_int_equal(mc_scoreboard_open(&b, dup(a.shm.fd)), MC_ERROR);
    head[2] = UINT32_MAX;
    assert_int_equal(mc_scoreboard_open(&b, dup(a.shm.fd)), MC_ERROR);
    head[2] = right;
    head[0] ^= 1;
    assert_int_equal(mc_scoreboard_open(&b, dup(a.shm.fd)), MC_ERROR);
    mc_scoreboard_close(&a);
}

static void test_noise_is_made_safe_to_print(void **state)
{
    (void)state;
    struct mc_board a;
    char out[MC_BOARD_BUSY_TEXT];
    assert_int_equal(mc_scoreboard_create(&a, 1), MC_OK);
    struct mc_slot *s = mc_scoreboard_slot(&a, 0);
    memset(s, 0xff, sizeof(*s));
    assert_int_equal(strlen(mc_scoreboard_busy(s, out)), MC_SLOT_TEXT);
    for (size_t i = 0; i < MC_SLOT_TEXT; i++)
        assert_int_equal(out[i], '?');
    memcpy(s->busy, "GET /a\n\x1b[0m", 12);
    assert_string_equal(mc_scoreboard_busy(s, out), "GET /a??[0m");
    s->busy[0] = '\0';
    assert_string_equal(mc_scoreboard_busy(s, out), "");
    mc_scoreboard_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_mappings_see_the_same),
        cmocka_unit_test(test_a_head_that_lies_is_refused),
        cmocka_unit_test(test_noise_is_made_safe_to_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
