/* Drives a gateway's codec: a reply to a transcript of events, whole and in pieces, with the same result. Included once by each test program. */
#ifndef MC_TEST_GATEWAY_DRIVE_H
#define MC_TEST_GATEWAY_DRIVE_H

#include "core/http/gateway.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* A builder of bytes. */
static struct mc_sb wire;

static inline void wire_begin(void)
{
    mc_sb_fini(&wire);
    mc_sb_init(&wire, 1 << 22);
}

struct script {
    struct mc_str method;
    bool keep, unsent; /* unsent: the request's body is not all sent */
};

static inline void note_head(struct mc_sb *to, const struct mc_head *h)
{
    mc_sb_addf(to, "[%d %.*s", h->status, (int)h->reason.n, h->reason.p ? h->reason.p : "");
    for (uint32_t i = 0; i < h->fields.n; i++)
        mc_sb_addf(to, "|%.*s=%.*s", (int)h->fields.v[i].name.n, h->fields.v[i].name.p, (int)h->fields.v[i].value.n, h->fields.v[i].value.p);
    mc_sb_addf(to, "|%s]", h->framing == MC_BODY_NONE ? "none" : h->framing == MC_BODY_LENGTH ? "length" : "close");
}

/* One event; false at the end. */
static inline bool note(struct mc_sb *to, struct mc_exchange *x, const struct mc_gw_event *ev)
{
    switch (ev->kind) {
    case MC_GW_HEAD:
        note_head(to, &x->reply);
        return true;
    case MC_GW_DATA:
        assert_true(ev->data.n > 0);
        mc_sb_add(to, ev->data.p, ev->data.n);
        return true;
    case MC_GW_STDERR:
        return true; /* cut where the pieces end */
    case MC_GW_END:
        mc_sb_addz(to, x->reusable ? "<end, reusable>" : "<end>");
        return false;
    case MC_GW_ERROR:
        mc_sb_addf(to, "<%s>", ev->why);
        return false;
    default:
        fail();
        return false;
    }
}

/* The transcript, with so many bytes at a time; *left: bytes behind the end. */
static inline void transcribe(const struct mc_gateway_ops *ops, const struct script *s, const char *p, size_t n, size_t piece, struct mc_sb *to, size_t *left)
{
    struct mc_arena a;
    struct mc_chain out;
    struct mc_gw_event ev;
    size_t pos = 0, shown = 0, used;
    bool more = true, eof = false;
    mc_arena_init(&a);
    mc_chain_init(&out);
    struct mc_exchange x = {.arena = &a, .method = s->method.n ? s->method : MC_STR("GET"), .keep = s->keep, .is_head = mc_str_eq(s->method, MC_STR("HEAD"))};
    assert_int_equal(ops->head(&x, &out), MC_OK);
    if (!s->unsent)
        assert_int_equal(ops->body(&x, &out, NULL, 0, true), MC_OK);
    mc_chain_fini(&out);
    while (more) {
        char *copy = malloc(shown - pos ? shown - pos : 1); /* exactly what may be read */
        assert_non_null(copy);
        memcpy(copy, p + pos, shown - pos);
        ops->input(&x, copy, shown - pos, eof, &used, &ev);
        assert_true(used <= shown - pos);
        pos += used;
        if (ev.kind != MC_GW_MORE) {
            more = note(to, &x, &ev);
        } else if (shown < n) {
            shown = n - shown < piece ? n : shown + piece;
        } else {
            assert_false(eof);
            eof = true;
        }
        free(copy);
    }
    *left = n - pos;
    mc_arena_fini(&a);
}

/* Whole, byte by byte and in sevens: always this. */
static inline void expect(const struct mc_gateway_ops *ops, const struct script *s, const char *p, size_t n, const char *expected, size_t left_expected)
{
    static const size_t pieces[] = {SIZE_MAX / 2, 1, 7};
    for (size_t i = 0; i < MC_COUNT(pieces); i++) {
        struct mc_sb got;
        size_t left;
        mc_sb_init(&got, 1 << 22);
        transcribe(ops, s, p, n, pieces[i], &got, &left);
        assert_string_equal(mc_sb_z(&got), expected);
        if (pieces[i] > n)
            assert_int_equal(left, left_expected);
        mc_sb_fini(&got);
    }
}

/* The request as bytes. */
static inline void encode(const struct mc_gateway_ops *ops, struct mc_exchange *x, const char *const *pieces, struct mc_sb *to)
{
    struct mc_chain out;
    struct iovec iov;
    mc_chain_init(&out);
    mc_sb_init(to, 1 << 22);
    assert_int_equal(ops->head(x, &out), MC_OK);
    for (; *pieces; pieces++)
        assert_int_equal(ops->body(x, &out, *pieces, strlen(*pieces), false), MC_OK);
    assert_int_equal(ops->body(x, &out, NULL, 0, true), MC_OK);
    while (mc_chain_iov(&out, &iov, 1)) {
        mc_sb_add(to, iov.iov_base, iov.iov_len);
        mc_chain_consume(&out, (off_t)iov.iov_len);
    }
    mc_chain_fini(&out);
}

static inline void param(struct mc_exchange *x, const char *name, const char *value)
{
    assert_int_equal(mc_fields_add(&x->params, x->arena, mc_str(name), mc_str(value)), MC_OK);
}

#endif
