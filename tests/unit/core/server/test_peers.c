/* Peers: who is next, what failures do, what answers of name servers change. A fake clock, a scripted resolver, no socket. */
#include "core/base/clock.h"
#include "core/server/resolver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- a resolver that answers what the test says */

static struct mc_query *asked[8];
static size_t nasked;
static int opened;

static void *open_channel(struct mc_worker *w, const struct mc_strv *servers)
{
    (void)w;
    (void)servers;
    opened++;
    return &opened;
}

static int ask(void *channel, struct mc_query *q)
{
    assert_ptr_equal(channel, &opened);
    assert_null(q->state);
    q->state = q;
    asked[nasked++] = q;
    return MC_OK;
}

static void forget(struct mc_query *q)
{
    for (size_t i = 0; i < nasked; i++) {
        if (asked[i] == q) {
            asked[i] = asked[--nasked];
            break;
        }
    }
    q->state = NULL;
}

static void close_channel(void *channel)
{
    assert_ptr_equal(channel, &opened);
    assert_int_equal(nasked, 0);
    opened--;
}

static const struct mc_resolver_ops resolver_ops = {.name = "script", .open = open_channel, .ask = ask, .cancel = forget, .close = close_channel};
static const struct mc_module resolver = {.abi = MC_MODULE_ABI, .name = "script", .kind = MC_MODULE_RESOLVER, .ops.resolver = &resolver_ops};
const struct mc_module *const mc_modules[] = {&resolver, NULL};
const struct mc_module_absent mc_modules_absent[] = {{NULL, NULL, NULL}};
const char mc_configure_args[] = "";
extern const struct mc_module mc_module_event_poll;

/* ---- a worker and an upstream */

enum { MOST = 12 };

static uint64_t now_ms = 1000000;

static uint64_t fake_clock(void)
{
    return now_ms;
}

struct bed {
    struct mc_worker w;
    struct mc_conf_upstream conf;
    struct mc_conf_peer peers[MOST], *list[MOST];
    const char *names[MOST];
    struct mc_peers *set;
};

static void bed_init(struct bed *b, size_t n, enum mc_balance balance)
{
    memset(b, 0, sizeof *b);
    mc_clock_fake(fake_clock);
    mc_list_init(&b->w.upstreams);
    mc_list_init(&b->w.resolvers);
    assert_int_equal(mc_loop_open(&b->w.loop, mc_module_event_poll.ops.event), MC_OK);
    b->conf = (struct mc_conf_upstream){.name = "u", .balance = balance, .peers = b->list, .names = b->names, .npeers = n, .keepalive = 32};
    for (size_t i = 0; i < n; i++) {
        char text[32];
        b->list[i] = &b->peers[i];
        b->peers[i] = (struct mc_conf_peer){.weight = 1, .max_fails = 1, .fail_timeout = 10000};
        snprintf(text, sizeof text, "10.0.0.%zu:80", i + 1);
        assert_int_equal(mc_addr_numeric(text, 0, &b->peers[i].addr), MC_OK);
        b->names[i] = "";
    }
}

static void bed_open(struct bed *b)
{
    b->set = mc_peers_get(&b->w, &b->conf);
    assert_non_null(b->set);
    assert_ptr_equal(mc_peers_get(&b->w, &b->conf), b->set);
}

static void bed_close(struct bed *b)
{
    mc_peers_close(&b->w);
    mc_loop_close(&b->w.loop);
    mc_clock_fake(NULL);
    assert_int_equal(opened, 0);
}

static void turn(struct bed *b, uint64_t ms)
{
    now_ms += ms;
    (void)mc_loop_turn(&b->w.loop, 0);
}

static struct mc_peer *choose(struct bed *b, const struct mc_peer_choice *c)
{
    static const struct mc_peer_choice any;
    const char *why;
    int rc;
    struct mc_peer *p = mc_peers_choose(b->set, c ? c : &any, &rc, &why);
    assert_int_equal(rc, p ? MC_OK : b->set->nasking ? MC_AGAIN : MC_ERROR);
    return p;
}

static int number(const struct mc_peer *p)
{
    return p ? atoi(p->text + strlen("10.0.0.")) : 0;
}

/* Ask once, with this end. */
static int once(struct bed *b, const struct mc_peer_choice *c, enum mc_peer_result how)
{
    struct mc_peer *p = choose(b, c);
    int n = number(p);
    if (p)
        mc_peers_done(b->set, p, how);
    return n;
}

static void expect_why(struct bed *b, const struct mc_peer_choice *c, const char *expected)
{
    const char *why;
    int rc;
    assert_null(mc_peers_choose(b->set, c, &rc, &why));
    assert_string_equal(why, expected);
}

/* ---- turns */

static void weights_share_smoothly(void **state)
{
    (void)state;
    struct bed b;
    static const int smooth[] = {1, 1, 2, 1, 3, 1, 1};
    bed_init(&b, 3, MC_BALANCE_ROUND_ROBIN);
    b.peers[0].weight = 5;
    bed_open(&b);
    for (int i = 0; i < 70; i++)
        assert_int_equal(once(&b, NULL, MC_PEER_OK), smooth[i % 7]);
    bed_close(&b);
}

static void failures_take_a_peer_out_of_turn(void **state)
{
    (void)state;
    struct bed b;
    bed_init(&b, 2, MC_BALANCE_ROUND_ROBIN);
    b.peers[0].max_fails = 2;
    bed_open(&b);
    assert_int_equal(once(&b, NULL, MC_PEER_FAILED), 1);
    assert_int_equal(once(&b, NULL, MC_PEER_OK), 2);
    while (once(&b, NULL, MC_PEER_NEUTRAL) != 2) {
    }
    turn(&b, 10001); /* the first one is forgotten by now */
    struct mc_peer *p;
    while (number(p = choose(&b, NULL)) != 1)
        mc_peers_done(b.set, p, MC_PEER_OK);
    mc_peers_done(b.set, p, MC_PEER_FAILED);
    assert_int_equal(p->out_until, 0);
    while (number(p = choose(&b, NULL)) != 1)
        mc_peers_done(b.set, p, MC_PEER_OK);
    mc_peers_done(b.set, p, MC_PEER_FAILED);
    for (int i = 0; i < 10; i++)
        assert_int_equal(once(&b, NULL, MC_PEER_OK), 2);
    /* Then one probe, and nobody else until it is back. */
    turn(&b, 10000);
    struct mc_peer *probe = NULL;
    for (int i = 0; i < 10; i++) {
        p = choose(&b, NULL);
        if (number(p) == 1) {
            assert_null(probe);
            probe = p;
        } else {
            mc_peers_done(b.set, p, MC_PEER_OK);
        }
    }
    assert_non_null(probe);
    mc_peers_done(b.set, probe, MC_PEER_FAILED);
    for (int i = 0; i < 10; i++)
        assert_int_equal(once(&b, NULL, MC_PEER_OK), 2);
    turn(&b, 10000);
    int seen = 0;
    for (int i = 0; i < 20; i++)
        seen += once(&b, NULL, MC_PEER_OK) == 1;
    assert_true(seen >= 7); /* in turn again, its weight comes back */
    bed_close(&b);
}

static void when_all_are_out_somebody_is_asked(void **state)
{
    (void)state;
    struct bed b;
    bed_init(&b, 3, MC_BALANCE_ROUND_ROBIN);
    b.peers[2].backup = true;
    bed_open(&b);
    assert_true(once(&b, NULL, MC_PEER_FAILED) != 3);
    assert_true(once(&b, NULL, MC_PEER_FAILED) != 3);
    assert_int_equal(once(&b, NULL, MC_PEER_OK), 3);
    assert_int_equal(once(&b, NULL, MC_PEER_FAILED), 3);
    assert_true(once(&b, NULL, MC_PEER_FAILED) > 0);
    b.peers[0].down = b.peers[1].down = true;
    assert_int_equal(once(&b, NULL, MC_PEER_FAILED), 3);
    b.peers[2].down = true;
    expect_why(&b, &(struct mc_peer_choice){0}, "no live peer");
    bed_close(&b);
}

static void never_out_with_max_fails_zero(void **state)
{
    (void)state;
    struct bed b;
    bed_init(&b, 2, MC_BALANCE_ROUND_ROBIN);
    b.peers[0].max_fails = 0;
    bed_open(&b);
    for (int i = 0; i < 6; i++)
        assert_int_equal(once(&b, NULL, i % 2 ? MC_PEER_OK : MC_PEER_FAILED), 1 + i % 2);
    bed_close(&b);
}

static void tried_ones_are_not_asked_again(void **state)
{
    (void)state;
    struct bed b;
    const struct mc_peer *tried[3];
    struct mc_peer_choice c = {.tried = tried};
    bed_init(&b, 3, MC_BALANCE_ROUND_ROBIN);
    bed_open(&b);
    for (c.ntried = 0; c.ntried < 3; c.ntried++) {
        struct mc_peer *p = choose(&b, &c);
        for (size_t i = 0; i < c.ntried; i++)
            assert_ptr_not_equal(tried[i], p);
        mc_peers_done(b.set, p, MC_PEER_NEUTRAL);
        tried[c.ntried] = p;
    }
    expect_why(&b, &c, "no other live peer");
    bed_close(&b);
}

static void at_most_max_conns(void **state)
{
    (void)state;
    struct bed b;
    bed_init(&b, 2, MC_BALANCE_ROUND_ROBIN);
    b.peers[0].max_conns = 1;
    b.peers[1].max_conns = 2;
    bed_open(&b);
    struct mc_peer *p[3];
    int sum = 0;
    for (int i = 0; i < 3; i++)
        sum += number(p[i] = choose(&b, NULL));
    assert_int_equal(sum, 5);
    expect_why(&b, &(struct mc_peer_choice){0}, "all peers are at max_conns");
    for (int i = 0; i < 3; i++)
        mc_peers_done(b.set, p[i], MC_PEER_OK);
    bed_close(&b);
}

static void the_least_loaded_for_its_weight(void **state)
{
    (void)state;
    struct bed b;
    struct mc_peer *p[12];
    int count[4] = {0};
    bed_init(&b, 3, MC_BALANCE_LEAST_CONN);
    b.peers[1].weight = 2;
    bed_open(&b);
    for (int i = 0; i < 12; i++)
        count[number(p[i] = choose(&b, NULL))]++;
    assert_int_equal(count[1], 3);
    assert_int_equal(count[2], 6);
    assert_int_equal(count[3], 3);
    for (int i = 0; i < 12; i++) {
        if (number(p[i]) == 3)
            mc_peers_done(b.set, p[i], MC_PEER_OK);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(number(choose(&b, NULL)), 3);
    bed_close(&b);
}

/* ---- hash and cookie */

enum { KEYS = 20000 };

static void hash_keeps_weights_and_keys(void **state)
{
    (void)state;
    struct bed b;
    static uint8_t place[KEYS];
    int count[MOST + 1] = {0}, moved = 0, of_third = 0;
    bed_init(&b, 10, MC_BALANCE_HASH);
    b.peers[0].weight = 6;
    bed_open(&b);
    for (uint32_t i = 0; i < KEYS; i++) {
        char text[32];
        int n = snprintf(text, sizeof text, "client-%u", i);
        struct mc_peer_choice c = {.hash = mc_str_hash((struct mc_str){text, (size_t)n})};
        place[i] = (uint8_t)once(&b, &c, MC_PEER_OK);
        count[place[i]]++;
        assert_int_equal(once(&b, &c, MC_PEER_OK), place[i]);
    }
    for (int i = 1; i <= 10; i++) {
        int share = KEYS / 15 * (i == 1 ? 6 : 1);
        assert_in_range(count[i], share * 85 / 100, share * 115 / 100);
    }
    b.peers[2].down = true;
    for (uint32_t i = 0; i < KEYS; i++) {
        char text[32];
        int n = snprintf(text, sizeof text, "client-%u", i);
        struct mc_peer_choice c = {.hash = mc_str_hash((struct mc_str){text, (size_t)n})};
        int now = once(&b, &c, MC_PEER_OK);
        moved += now != place[i];
        of_third += place[i] == 3;
    }
    assert_int_equal(moved, of_third); /* its own keys, and no other */
    bed_close(&b);
}

static void a_cookie_leads_to_its_peer(void **state)
{
    (void)state;
    struct bed b;
    bed_init(&b, 3, MC_BALANCE_ROUND_ROBIN);
    bed_open(&b);
    struct mc_peer *p = choose(&b, NULL);
    struct mc_peer_choice c = {.sticky = p->hash};
    int n = number(p);
    assert_true(p->hash != 0);
    mc_peers_done(b.set, p, MC_PEER_OK);
    for (int i = 0; i < 5; i++)
        assert_int_equal(once(&b, &c, MC_PEER_OK), n);
    assert_int_equal(once(&b, &c, MC_PEER_FAILED), n);
    assert_int_not_equal(once(&b, &c, MC_PEER_OK), n); /* out of turn: another one rather than none */
    c.sticky = 12345;
    assert_int_not_equal(once(&b, &c, MC_PEER_OK), 0);
    bed_close(&b);
}

/* ---- names */

static int woken;

static void on_wake(struct mc_peer_wait *w)
{
    (void)w;
    woken++;
}

static void bed_name(struct bed *b, size_t i)
{
    b->peers[i].host = "api.example.org";
    b->peers[i].port = 80;
}

static void answer(struct mc_query *q, int rc, uint32_t ttl, int n, ...)
{
    struct mc_peer_found found[MOST] = {{.weight = 0}};
    va_list ap;
    va_start(ap, n);
    for (int i = 0; i < n; i++) {
        char text[32];
        snprintf(text, sizeof text, "10.0.0.%d:80", va_arg(ap, int));
        assert_int_equal(mc_addr_numeric(text, 0, &found[i].addr), MC_OK);
    }
    va_end(ap);
    forget(q);
    q->rc = rc;
    q->why = "no such name";
    q->found = found;
    q->n = (size_t)n;
    q->ttl = ttl;
    q->done(q);
    q->found = NULL;
}

static int known(struct bed *b)
{
    struct mc_link *l, *next;
    int n = 0;
    mc_list_each (&b->set->peers, l, next)
        n += !mc_container(l, struct mc_peer, link)->gone;
    return n;
}

static void calls_wait_for_the_first_answer(void **state)
{
    (void)state;
    struct bed b;
    struct mc_peer_wait wait[2] = {{.wake = on_wake}, {.wake = on_wake}};
    bed_init(&b, 1, MC_BALANCE_ROUND_ROBIN);
    bed_name(&b, 0);
    bed_open(&b);
    assert_int_equal(nasked, 1);
    assert_string_equal(asked[0]->host, "api.example.org");
    assert_null(choose(&b, NULL));
    mc_list_push(&b.set->waiting, &wait[0].link);
    mc_list_push(&b.set->waiting, &wait[1].link);
    woken = 0;
    answer(asked[0], MC_OK, 5, 2, 1, 2);
    assert_int_equal(woken, 2);
    assert_int_equal(once(&b, NULL, MC_PEER_OK) + once(&b, NULL, MC_PEER_OK), 3);
    bed_close(&b);
}

static void answers_add_and_remove_peers(void **state)
{
    (void)state;
    struct bed b;
    bed_init(&b, 1, MC_BALANCE_ROUND_ROBIN);
    bed_name(&b, 0);
    bed_open(&b);
    answer(asked[0], MC_OK, 5, 2, 1, 2);
    turn(&b, 4999);
    assert_int_equal(nasked, 0);
    turn(&b, 1);
    assert_int_equal(nasked, 1);
    /* The first one goes while it is being asked. */
    struct mc_peer *p[2] = {choose(&b, NULL), choose(&b, NULL)};
    struct mc_peer *gone = number(p[0]) == 1 ? p[0] : p[1], *stays = gone == p[0] ? p[1] : p[0];
    mc_peers_done(b.set, stays, MC_PEER_FAILED);
    uint64_t out = stays->out_until;
    answer(asked[0], MC_OK, 0, 2, 2, 3);
    assert_int_equal(known(&b), 2);
    assert_int_equal(b.set->npeers, 3);
    assert_true(gone->gone);
    assert_int_equal(stays->out_until, out); /* it is the same peer */
    for (int i = 0; i < 4; i++)
        assert_int_equal(once(&b, NULL, MC_PEER_OK), 3);
    mc_peers_done(b.set, gone, MC_PEER_OK);
    assert_int_equal(b.set->npeers, 2);
    /* A time to live of nothing is a second. */
    turn(&b, 999);
    assert_int_equal(nasked, 0);
    turn(&b, 1);
    assert_int_equal(nasked, 1);
    bed_close(&b);
}

static void one_that_comes_back_is_the_same(void **state)
{
    (void)state;
    struct bed b;
    bed_init(&b, 1, MC_BALANCE_ROUND_ROBIN);
    bed_name(&b, 0);
    bed_open(&b);
    answer(asked[0], MC_OK, 1, 1, 1);
    struct mc_peer *p = choose(&b, NULL);
    turn(&b, 1000);
    answer(asked[0], MC_OK, 1, 1, 2);
    turn(&b, 1000);
    answer(asked[0], MC_OK, 1, 2, 2, 1);
    assert_int_equal(b.set->npeers, 2);
    assert_false(p->gone);
    mc_peers_done(b.set, p, MC_PEER_OK);
    assert_int_equal(b.set->npeers, 2);
    bed_close(&b);
}

static void failures_keep_what_is_known(void **state)
{
    (void)state;
    struct bed b;
    bed_init(&b, 2, MC_BALANCE_ROUND_ROBIN);
    bed_name(&b, 0);
    b.conf.resolve = 3000;
    bed_open(&b);
    assert_int_equal(once(&b, NULL, MC_PEER_OK), 2); /* nobody waits while another peer is there */
    answer(asked[0], MC_OK, 1, 1, 1);
    turn(&b, 2999);
    assert_int_equal(nasked, 0); /* `resolve` is the floor */
    turn(&b, 1);
    answer(asked[0], MC_ERROR, 0, 0);
    assert_int_equal(known(&b), 2);
    static const uint64_t pauses[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000};
    for (size_t i = 0; i < MC_COUNT(pauses); i++) {
        turn(&b, pauses[i] - 1);
        assert_int_equal(nasked, 0);
        turn(&b, 1);
        assert_int_equal(nasked, 1);
        answer(asked[0], MC_DECLINED, 0, 0);
    }
    assert_int_equal(known(&b), 2);
    turn(&b, 30000);
    answer(asked[0], MC_OK, 1, 1, 4);
    assert_int_equal(known(&b), 2);
    bed_close(&b);
}

static void no_address_at_all(void **state)
{
    (void)state;
    struct bed b;
    bed_init(&b, 1, MC_BALANCE_ROUND_ROBIN);
    bed_name(&b, 0);
    bed_open(&b);
    answer(asked[0], MC_DECLINED, 0, 0);
    expect_why(&b, &(struct mc_peer_choice){0}, "no address is known");
    bed_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_share_smoothly),
        cmocka_unit_test(failures_take_a_peer_out_of_turn),
        cmocka_unit_test(when_all_are_out_somebody_is_asked),
        cmocka_unit_test(never_out_with_max_fails_zero),
        cmocka_unit_test(tried_ones_are_not_asked_again),
        cmocka_unit_test(at_most_max_conns),
        cmocka_unit_test(the_least_loaded_for_its_weight),
        cmocka_unit_test(hash_keeps_weights_and_keys),
        cmocka_unit_test(a_cookie_leads_to_its_peer),
        cmocka_unit_test(calls_wait_for_the_first_answer),
        cmocka_unit_test(answers_add_and_remove_peers),
        cmocka_unit_test(one_that_comes_back_is_the_same),
        cmocka_unit_test(failures_keep_what_is_known),
        cmocka_unit_test(no_address_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
