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
    char build[32];
    assert_int_equal(mc_scoreboard_create(&a, 8), MC_OK);
    struct mc_board_head *head = a.shm.p, right = *head;
    uint32_t *lies[] = {&head->magic, &head->version, &head->head_size, &head->pool_size, &head->kid_size, &head->slot_size, &head->slots_at};
    for (size_t i = 0; i < MC_COUNT(lies); i++) {
        ++*lies[i];
        assert_int_equal(mc_scoreboard_open(&b, dup(a.shm.fd)), MC_ERROR);
        *head = right;
    }
    static const uint32_t counts[] = {9, UINT32_MAX, UINT32_MAX / 2, 1 << 30}; /* more slots than there is memory */
    for (size_t i = 0; i < MC_COUNT(counts); i++) {
        head->nslots = counts[i];
        assert_int_equal(mc_scoreboard_open(&b, dup(a.shm.fd)), MC_ERROR);
    }
    *head = right;
    assert_int_equal(mc_scoreboard_parse(&b, a.shm.p, a.shm.n - 1), MC_ERROR);
    assert_int_equal(mc_scoreboard_parse(&b, a.shm.p, sizeof(*head) - 1), MC_ERROR);
    assert_int_equal(mc_scoreboard_open(&b, dup(a.shm.fd)), MC_OK);
    mc_scoreboard_close(&b);
    /* Of another build at least the name is known. */
    head->version++;
    strcpy(head->build, "9.9\n");
    assert_string_equal(mc_scoreboard_build(a.shm.p, a.shm.n, build), "9.9?");
    assert_string_equal(mc_scoreboard_build(a.shm.p, 20, build), "");
    head->magic++;
    assert_string_equal(mc_scoreboard_build(a.shm.p, a.shm.n, build), "");
    mc_scoreboard_close(&a);
}

static void test_sums_stay_numbers(void **state)
{
    (void)state;
    static struct mc_slot slot;
    struct mc_board_sums sums = {.requests = 5};
    const uint64_t most = UINT64_C(1) << 53;
    mc_slot_set(slot.requests, 2u);
    mc_slot_set(slot.latency[15], UINT64_MAX); /* noise */
    mc_scoreboard_add(&sums, &slot);
    assert_int_equal(sums.requests, 7);
    assert_int_equal(sums.latency[15], 0);
    mc_slot_set(slot.requests, most);
    mc_scoreboard_add(&sums, &slot);
    assert_int_equal(sums.requests, most);
    mc_scoreboard_add(&sums, &slot);
    assert_int_equal(sums.requests, most);
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
        cmocka_unit_test(test_sums_stay_numbers),
        cmocka_unit_test(test_noise_is_made_safe_to_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
