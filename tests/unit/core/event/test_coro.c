/* Coroutines on their stacks: what they keep over a switch, how stacks are used again, and what happens at the end of one. */
#include "core/event/coro.h"

#include <errno.h>
#include <fenv.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct mc_coro_pool pool;

static int open_pool(void **state)
{
    (void) state;
    mc_coro_pool_init(&pool, 262144, 4);
    return 0;
}

static int close_pool(void **state)
{
    (void) state;
    assert_int_equal(pool.nused, 0);
    mc_coro_pool_fini(&pool);
    assert_null(mc_coro_current);
    return 0;
}

static void count_to_three(void *arg)
{
    int *n = arg;
    assert_non_null(mc_coro_current);
    for (int i = 1; i <= 3; i++) {
        *n = i;
        mc_coro_yield();
    }
    *n = 100;
}

static void yields_and_ends(void **state)
{
    (void) state;
    int n = 0;
    struct mc_coro *co = mc_coro_new(&pool, count_to_three, &n);
    assert_non_null(co);
    assert_null(mc_coro_data(co));
    mc_coro_set_data(co, &n);
    assert_int_equal(n, 0);
    for (int i = 1; i <= 3; i++) {
        assert_false(mc_coro_resume(co));
        assert_null(mc_coro_current);
        assert_int_equal(n, i);
        assert_ptr_equal(mc_coro_data(co), &n);
    }
    assert_true(mc_coro_resume(co));
    assert_int_equal(n, 100);
}

/* ---- depth ---- */

static unsigned __attribute__((noinline)) sum_down(unsigned n)
{
    volatile char room[64];
    room[n % sizeof room] = (char) n;
    if (n == 0) {
        mc_coro_yield();
        return 0;
    }
    return sum_down(n - 1) + n - (unsigned) room[n % sizeof room] + (unsigned) (char) n;
}

static void deep(void *arg)
{
    unsigned *result = arg;
    *result = sum_down(*result);
}

static void goes_deep(void **state)
{
    (void) state;
    unsigned a = 300, b = 200;
    struct mc_coro *first = mc_coro_new(&pool, deep, &a), *second = mc_coro_new(&pool, deep, &b);
    assert_false(mc_coro_resume(first));
    assert_false(mc_coro_resume(second));
    assert_true(mc_coro_resume(first));
    assert_true(mc_coro_resume(second));
    assert_int_equal(a, 300 * 301 / 2);
    assert_int_equal(b, 200 * 201 / 2);
}

/* ---- many ---- */

struct counter {
    unsigned seed, turns;
    double sum;
};

/* Values that the compiler likes to hold in registers, floating point among them. */
static void mix(void *arg)
{
    struct counter *c = arg;
    unsigned a = c->seed, b = a * 3, d = a * 5, e = a * 7, f = a * 11;
    double x = a, y = 0.5;
    for (unsigned i = 0; i < c->turns; i++) {
        a += b, b ^= d, d += e, e ^= f, f += a;
        x += y;
        mc_coro_yield();
    }
    c->sum = x + (double) ((a ^ b ^ d ^ e ^ f) & 0xffff);
}

static double mix_alone(unsigned seed, unsigned turns)
{
    unsigned a = seed, b = a * 3, d = a * 5, e = a * 7, f = a * 11;
    double x = a;
    for (unsigned i = 0; i < turns; i++) {
        a += b, b ^= d, d += e, e ^= f, f += a;
        x += 0.5;
    }
    return x + (double) ((a ^ b ^ d ^ e ^ f) & 0xffff);
}

static void keeps_values_over_many_switches(void **state)
{
    (void) state;
    enum { N = 100, TURNS = 1000 };
    struct counter c[N];
    struct mc_coro *co[N];
    for (unsigned i = 0; i < N; i++) {
        c[i] = (struct counter){ .seed = i + 1, .turns = TURNS };
        co[i] = mc_coro_new(&pool, mix, &c[i]);
        assert_non_null(co[i]);
    }
    assert_int_equal(pool.nused, N);
    for (unsigned t = 0; t < TURNS; t++) {
        for (unsigned i = 0; i < N; i++) {
            assert_false(mc_coro_resume(co[i]));
        }
    }
    for (unsigned i = 0; i < N; i++) {
        assert_true(mc_coro_resume(co[i]));
        assert_true(c[i].sum == mix_alone(i + 1, TURNS));
    }
    assert_int_equal(pool.nused, 0);
    assert_int_equal(pool.nfree, 4); /* the others went back to the system */
}

/* The mode of floating point belongs to the coroutine. */
static void round_up(void *arg)
{
    volatile double one = 1, three = 3;
    double *out = arg;
    fesetround(FE_UPWARD);
    mc_coro_yield();
    out[0] = one / three;
    assert_int_equal(fegetround(), FE_UPWARD);
    fesetround(FE_TONEAREST);
}

static void keeps_the_rounding_mode(void **state)
{
    (void) state;
    double out[1];
    volatile double one = 1, three = 3;
    struct mc_coro *co = mc_coro_new(&pool, round_up, out);
    assert_false(mc_coro_resume(co));
    assert_int_equal(fegetround(), FE_TONEAREST);
    double near = one / three;
    assert_true(mc_coro_resume(co));
    assert_true(out[0] > near);
}

/* ---- stacks ---- */

static void note_stack(void *arg)
{
    *(void **) arg = mc_coro_current;
    mc_coro_yield();
}

static void uses_stacks_again(void **state)
{
    (void) state;
    void *one, *two, *three;
    struct mc_coro *a = mc_coro_new(&pool, note_stack, &one);
    mc_coro_resume(a);
    struct mc_coro *b = mc_coro_new(&pool, note_stack, &two);
    mc_coro_resume(b);
    assert_ptr_not_equal(one, two);
    assert_true(mc_coro_resume(a));
    struct mc_coro *c = mc_coro_new(&pool, note_stack, &three);
    mc_coro_resume(c);
    assert_ptr_equal(three, one);
    assert_true(mc_coro_resume(b));
    assert_true(mc_coro_resume(c));
}

static void never_begun(void **state)
{
    (void) state;
    assert_true(mc_coro_reserve(&pool));
    assert_int_equal(pool.nfree, 1);
    assert_true(mc_coro_reserve(&pool));
    assert_int_equal(pool.nfree, 1);
}

static void small_sizes_are_raised(void **state)
{
    (void) state;
    struct mc_coro_pool p;
    mc_coro_pool_init(&p, 1, 0);
    assert_int_equal(p.size, MC_CORO_STACK_MIN);
    assert_int_equal(p.keep, 1);
    mc_coro_pool_init(&p, MC_CORO_STACK_MIN + 1, 1);
    assert_int_equal(p.size % (size_t) sysconf(_SC_PAGESIZE), 0);
    assert_true(p.size > MC_CORO_STACK_MIN);
    mc_coro_pool_fini(&p);
}

/* No more memory: an error for the caller, not an end. */
static void no_memory(void **state)
{
    (void) state;
    struct mc_coro_pool p;
    mc_coro_pool_init(&p, (size_t) 1 << 56, 1);
    errno = 0;
    assert_false(mc_coro_reserve(&p));
    assert_null(mc_coro_new(&p, note_stack, NULL));
    assert_int_not_equal(errno, 0);
    mc_coro_pool_fini(&p);
}

/* ---- the guard ---- */

static volatile unsigned limit = 1u << 30;

static unsigned __attribute__((noinline)) downwards(unsigned n)
{
    volatile char room[1024];
    room[n % sizeof room] = 1;
    return n < limit ? downwards(n + 1) + (unsigned) room[0] : 0;
}

static void overflow(void *arg)
{
    *(unsigned *) arg = downwards(0);
}

static void overflow_is_a_fault(void **state)
{
    (void) state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit none = { 0, 0 };
        unsigned n;
        signal(SIGSEGV, SIG_DFL);
        setrlimit(RLIMIT_CORE, &none);
        mc_coro_resume(mc_coro_new(&pool, overflow, &n));
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(yields_and_ends, open_pool, close_pool),
        cmocka_unit_test_setup_teardown(goes_deep, open_pool, close_pool),
        cmocka_unit_test_setup_teardown(keeps_values_over_many_switches, open_pool, close_pool),
        cmocka_unit_test_setup_teardown(keeps_the_rounding_mode, open_pool, close_pool),
        cmocka_unit_test_setup_teardown(uses_stacks_again, open_pool, close_pool),
        cmocka_unit_test_setup_teardown(never_begun, open_pool, close_pool),
        cmocka_unit_test(small_sizes_are_raised),
        cmocka_unit_test(no_memory),
        cmocka_unit_test_setup_teardown(overflow_is_a_fault, open_pool, close_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
