/* The heap against a plain search of all nodes, over many random operations (fixed seed). */
#include "core/base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { N = 300, STEPS = 20000 };

static uint32_t seed = 12345;

static uint32_t next(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static void check(const struct mc_heap *h, struct mc_heap_node *nodes)
{
    uint64_t least = UINT64_MAX;
    uint32_t in = 0;
    for (int i = 0; i < N; i++) {
        if (nodes[i].index == 0)
            continue;
        in++;
        assert_ptr_equal(h->v[nodes[i].index - 1], &nodes[i]);
        if (nodes[i].key < least)
            least = nodes[i].key;
    }
    assert_int_equal(h->n, in);
    if (in == 0)
        assert_null(mc_heap_min(h));
    else
        assert_true(mc_heap_min(h)->key == least);
}

static void random_operations(void **state)
{
    (void)state;
    static struct mc_heap_node nodes[N];
    struct mc_heap h;
    mc_heap_init(&h);
    for (int i = 0; i < STEPS; i++) {
        struct mc_heap_node *node = &nodes[next(N)];
        if (node->index == 0)
            assert_int_equal(mc_heap_add(&h, node, next(1000)), MC_OK);
        else if (next(2))
            mc_heap_rekey(&h, node, next(1000));
        else
            mc_heap_remove(&h, node);
        check(&h, nodes);
    }
    mc_heap_fini(&h);
    for (int i = 0; i < N; i++)
        assert_int_equal(nodes[i].index, 0);
}

static void keys_come_out_sorted(void **state)
{
    (void)state;
    static struct mc_heap_node nodes[N];
    struct mc_heap h;
    uint64_t last = 0;
    mc_heap_init(&h);
    for (int i = 0; i < N; i++)
        assert_int_equal(mc_heap_add(&h, &nodes[i], next(100)), MC_OK);
    for (int i = 0; i < N; i++) {
        struct mc_heap_node *least = mc_heap_min(&h);
        assert_true(least->key >= last);
        last = least->key;
        mc_heap_remove(&h, least);
        mc_heap_remove(&h, least); /* not in: nothing */
    }
    assert_null(mc_heap_min(&h));
    mc_heap_fini(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations),
        cmocka_unit_test(keys_come_out_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
