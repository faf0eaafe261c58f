/* Byte queues: order and count of bytes over blocks and files, whatever the cuts are. */
#include "core/base/chain.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static unsigned char pattern(size_t i)
{
    return (unsigned char)(i * 31 + i / 251);
}

static void add_pattern(struct mc_chain *c, size_t from, size_t n)
{
    unsigned char *p = malloc(n + 1);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        p[i] = pattern(from + i);
    assert_int_equal(mc_chain_add(c, p, n), MC_OK);
    free(p);
}

/* Takes everything out in pieces of at most `cut` bytes and compares. */
static void drain_pattern(struct mc_chain *c, size_t from, size_t cut)
{
    while (!mc_chain_empty(c)) {
        struct iovec iov[4];
        int n = mc_chain_iov(c, iov, 4);
        size_t seen = 0;
        assert_in_range(n, 1, 4);
        for (int k = 0; k < n && seen < cut; k++) {
            const unsigned char *p = iov[k].iov_base;
            size_t len = iov[k].iov_len < cut - seen ? iov[k].iov_len : cut - seen;
            for (size_t i = 0; i < len; i++)
                assert_int_equal(p[i], pattern(from + seen + i));
            seen += len;
        }
        mc_chain_consume(c, (off_t)seen);
        from += seen;
    }
    assert_null(c->head);
    assert_null(c->tail);
    assert_int_equal(c->mem, 0);
}

static void bytes_keep_their_order(void **state)
{
    (void)state;
    static const size_t cuts[] = {1, 2, 1000, 16319, 16320, 16321, 100000};
    for (size_t k = 0; k < MC_COUNT(cuts); k++) {
        struct mc_chain c;
        size_t at = 0, total = k == 0 ? 20000 : 60000;
        mc_chain_init(&c);
        for (size_t n = 0; at < total; n = (n * 3 + 1) % 9000) {
            add_pattern(&c, at, n);
            at += n;
        }
        assert_int_equal(c.total, at);
        assert_int_equal(c.mem, at);
        drain_pattern(&c, 0, cuts[k]);
    }
}

static void empty_holds_no_block(void **state)
{
    (void)state;
    struct mc_chain c;
    mc_chain_init(&c);
    assert_int_equal(mc_chain_add(&c, "", 0), MC_OK);
    assert_null(c.head);
    assert_int_equal(mc_chain_add(&c, "abc", 3), MC_OK);
    assert_non_null(c.head);
    mc_chain_consume(&c, 3);
    assert_null(c.head);
    assert_non_null(mc_chain_reserve(&c, 100));
    mc_chain_commit(&c, 0);
    assert_null(c.head);
    assert_null(c.tail);
    mc_chain_commit(&c, 0);
    mc_chain_consume(&c, 0);
    mc_chain_fini(&c);
}

static void reserve_is_contiguous(void **state)
{
    (void)state;
    struct mc_chain c;
    mc_chain_init(&c);
    add_pattern(&c, 0, 10000);
    unsigned char *p = mc_chain_reserve(&c, 16000);
    for (size_t i = 0; i < 16000; i++)
        p[i] = pattern(10000 + i);
    mc_chain_commit(&c, 16000);
    /* Reserved, but nothing came: the tail goes, what stands before stays. */
    assert_non_null(mc_chain_reserve(&c, 1000));
    mc_chain_commit(&c, 0);
    assert_int_equal(c.total, 26000);
    p = mc_chain_reserve(&c, 5);
    for (size_t i = 0; i < 3; i++)
        p[i] = pattern(26000 + i);
    mc_chain_commit(&c, 3);
    drain_pattern(&c, 0, 777);
}

static void an_unused_reserve_is_skipped(void **state)
{
    (void)state;
    struct mc_chain c;
    struct iovec iov[4];
    mc_chain_init(&c);
    assert_non_null(mc_chain_reserve(&c, 10));
    assert_int_equal(mc_chain_iov(&c, iov, 4), 0);
    add_pattern(&c, 0, 5);
    drain_pattern(&c, 0, 5);
    assert_non_null(mc_chain_reserve(&c, 10));
    mc_chain_fini(&c);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void files_are_counted(void **state)
{
    (void)state;
    struct mc_chain c;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct mc_file *f = mc_file_new(fd);
    mc_chain_init(&c);
    assert_int_equal(mc_chain_add_file(&c, f, 0, 0), MC_OK);
    assert_null(c.head);
    assert_int_equal(mc_chain_add_file(&c, f, 100, 50), MC_OK);
    assert_int_equal(mc_chain_add_file(&c, f, 150, 50), MC_OK); /* merged */
    assert_ptr_equal(c.head, c.tail);
    assert_int_equal(f->refs, 2);
    assert_int_equal(mc_chain_add_file(&c, f, 300, 10), MC_OK);
    assert_int_equal(f->refs, 3);
    mc_file_unref(&f);
    assert_null(f);
    mc_file_unref(&f);
    assert_int_equal(c.total, 110);
    assert_int_equal(c.mem, 0);
    mc_chain_consume(&c, 30);
    assert_int_equal(c.head->off, 130);
    assert_int_equal(c.head->len, 70);
    mc_chain_consume(&c, 75);
    assert_int_equal(c.head->off, 305);
    assert_true(is_open(fd));
    mc_chain_consume(&c, 5);
    assert_false(is_open(fd));
    assert_null(c.head);
}

static void iovecs_stop_before_a_file(void **state)
{
    (void)state;
    struct mc_chain c;
    struct iovec iov[8];
    struct mc_file *f = mc_file_new(open("/dev/null", O_RDONLY | O_CLOEXEC));
    mc_chain_init(&c);
    add_pattern(&c, 0, 40000);
    assert_int_equal(mc_chain_add_file(&c, f, 0, 10), MC_OK);
    add_pattern(&c, 0, 1);
    mc_file_unref(&f);
    assert_int_equal(mc_chain_iov(&c, iov, 8), 3);
    assert_int_equal(mc_chain_iov(&c, iov, 2), 2);
    mc_chain_consume(&c, 40000);
    assert_int_equal(mc_chain_iov(&c, iov, 8), 0);
    mc_chain_consume(&c, 10);
    assert_int_equal(mc_chain_iov(&c, iov, 8), 1);
    assert_int_equal(c.total, 1);
    mc_chain_fini(&c);
    assert_true(mc_chain_empty(&c));
}

static void moving_keeps_order(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 4096, 4097, 16320, 50000};
    for (size_t i = 0; i < MC_COUNT(sizes); i++) {
        for (size_t j = 0; j < MC_COUNT(sizes); j++) {
            struct mc_chain a, b;
            mc_chain_init(&a);
            mc_chain_init(&b);
            add_pattern(&a, 0, sizes[i]);
            add_pattern(&b, sizes[i], sizes[j]);
            mc_chain_move(&a, &b);
            assert_true(mc_chain_empty(&b));
            assert_null(b.head);
            add_pattern(&a, sizes[i] + sizes[j], 3);
            assert_int_equal(a.total, sizes[i] + sizes[j] + 3);
            drain_pattern(&a, 0, 5000);
        }
    }
}

static void a_moved_file_stays_behind_the_bytes(void **state)
{
    (void)state;
    struct mc_chain a, b;
    struct mc_file *f = mc_file_new(open("/dev/null", O_RDONLY | O_CLOEXEC));
    mc_chain_init(&a);
    mc_chain_init(&b);
    add_pattern(&a, 0, 10);
    assert_int_equal(mc_chain_add_file(&b, f, 5, 5), MC_OK);
    mc_chain_move(&a, &b);
    mc_file_unref(&f);
    assert_int_equal(a.mem, 10);
    assert_int_equal(a.total, 15);
    assert_int_equal(a.tail->kind, MC_SEG_FILE);
    mc_chain_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_keep_their_order), cmocka_unit_test(empty_holds_no_block),
        cmocka_unit_test(reserve_is_contiguous),  cmocka_unit_test(an_unused_reserve_is_skipped),
        cmocka_unit_test(files_are_counted),      cmocka_unit_test(iovecs_stop_before_a_file),
        cmocka_unit_test(moving_keeps_order),     cmocka_unit_test(a_moved_file_stays_behind_the_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
