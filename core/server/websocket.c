/* WebSockets of loop handlers (contract: websocket.h): the bytes of a tunnel to whole messages and back. Holds at most one message a connection; compresses
 * each message by itself, so no connection owns a compressor unless websocket_context_takeover says so. Worker side, on the loop. */
#include "core/server/websocket.h"

#include "core/base/module.h"
#include "core/base/utf8.h"
#include "core/server/coding.h"
#include "core/server/engine.h"

#include <stdlib.h>
#include <string.h>

enum {
    SMALL = 64,         /* messages below this are not worth compressing, */
    SMALL_KEPT = 16,    /* or this, when they may refer to others */
    GROW = 4096,
    JOINED = 1024,      /* up to this a message goes with its frame's head in one piece */
    REASON_MAX = 123,
    SPARES = 16,        /* inflaters that wait for a message */
    CLOSE_MS = 5000,    /* what a client has to answer our close, at most */
    BITS_LEAST = 9,
    BITS_MOST = 15,
};

enum state { OPEN, CLOSING /* our close is out */, CLOSED };

struct mc_ws {
    struct mc_request *r;
    struct mc_link link;
    struct mc_ws_reader reader;
    struct mc_utf8 utf8;
    uint8_t state;
    bool deflate, text, whole; /* whole: a message waits to be taken */
    bool keep_out, keep_in;    /* contexts: of our messages, of the client's */
    uint8_t bits;              /* the window of our messages, BITS_LEAST to BITS_MOST */
    bool pinged;               /* and nothing has come since */
    unsigned code;             /* 0: nobody has closed yet */
    char reason[REASON_MAX];
    uint8_t nreason;
    unsigned char *in;         /* MC_BLOCK_LARGE bytes while some of [pos, len) are unread, or are the message */
    size_t pos, len;
    char *buf;                 /* the message, when it does not lie in `in` as a whole */
    size_t n, cap;
    struct mc_ws_message message;
    void *inflater;            /* in the middle of a compressed message, or keep_in */
    void *deflater;            /* keep_out */
    uint64_t heard;            /* ms, when bytes came last */
    struct mc_timer timer;
};

static struct mc_link all = { &all, &all };
static const struct mc_message_coding *coding; /* NULL: none is built */
static void *deflaters[BITS_MOST + 1], *spares[SPARES]; /* by their windows; any inflater will do */
static unsigned nspares;

static const struct mc_values *set_of(const struct mc_ws *ws)
{
    return mc_request_set(ws->r);
}

static struct mc_loop *loop_of(const struct mc_ws *ws)
{
    return &ws->r->conn->worker->loop;
}

/* ---- output ---- */

/* The frame goes out at once. Same returns as mc_response_write(). */
static int put(struct mc_ws *ws, enum mc_ws_op op, bool compressed, const void *p, size_t n)
{
    unsigned char head[MC_WS_HEAD_MAX + JOINED];
    size_t nhead = mc_ws_head(head, op, compressed, n);
    bool joined = n > 0 && n <= JOINED;
    if (joined) {
        memcpy(head + nhead, p, n);
        nhead += n;
    }
    int rc = mc_response_write(ws->r, head, nhead);
    if (rc != MC_ERROR && n > 0 && !joined) {
        rc = mc_response_write(ws->r, p, n);
    }
    if (rc == MC_ERROR || mc_response_flush(ws->r) == MC_ERROR) {
        return MC_ERROR;
    }
    return ws->r->resp.paused ? MC_AGAIN : MC_OK;
}

static void put_close(struct mc_ws *ws, unsigned code, struct mc_str reason)
{
    char body[2 + REASON_MAX];
    size_t n = reason.n < REASON_MAX ? reason.n : REASON_MAX;
    body[0] = (char) (code >> 8);
    body[1] = (char) code;
    if (n > 0) {
        memcpy(body + 2, reason.p, n);
    }
    (void) put(ws, MC_WS_CLOSE, false, body, code == MC_WS_NO_STATUS ? 0 : 2 + n);
}

/* All of the message, compressed; NULL: it is not worth it. */
static char *compress(struct mc_ws *ws, const void *p, size_t n, size_t *size)
{
    void **with = ws->keep_out ? &ws->deflater : &deflaters[ws->bits];
    size_t cap = n;
    char *out = n >= (ws->keep_out ? SMALL_KEPT : SMALL) ? malloc(cap) : NULL;
    if (out && *with == NULL) {
        *with = coding->open(false, ws->bits);
    }
    if (out == NULL || *with == NULL) {
        free(out);
        return NULL;
    }
    struct mc_coding_io io = { .in = p, .in_n = n, .out = (unsigned char *) out, .out_n = cap };
    coding->reset(*with, ws->keep_out);
    if (coding->run(*with, &io, true) != MC_OK || cap - io.out_n < 4) { /* without room: it does not get smaller */
        if (ws->keep_out) {
            coding->reset(*with, false); /* the client sees nothing of it, so what follows must not refer to it */
        }
        free(out);
        return NULL;
    }
    *size = cap - io.out_n - 4;
    return out;
}

int mc_ws_send(struct mc_ws *ws, bool text, const void *p, size_t n)
{
    size_t size;
    enum mc_ws_op op = text ? MC_WS_TEXT : MC_WS_BINARY;
    if (ws->state != OPEN) {
        return MC_ERROR;
    }
    char *small = ws->deflate ? compress(ws, p, n, &size) : NULL;
    int rc = small ? put(ws, op, true, small, size) : put(ws, op, false, p, n);
    free(small);
    return rc;
}

/* ---- the end ---- */

static void note_end(struct mc_ws *ws, unsigned code, struct mc_str reason)
{
    if (ws->code) {
        return;
    }
    ws->code = code;
    ws->nreason = (uint8_t) (reason.n < REASON_MAX ? reason.n : REASON_MAX);
    if (ws->nreason > 0) {
        memcpy(ws->reason, reason.p, ws->nreason);
    }
}

/* No more bytes in either direction. */
static void finish(struct mc_ws *ws)
{
    ws->state = CLOSED;
    ws->r->conn->linger = true; /* a client that is still sending must be able to read our close */
    mc_timer_clear(&ws->timer);
    if (mc_response_end(ws->r, NULL, 0) != MC_OK) {
        ws->r->conn->broken = true;
    }
}

/* The client breaks the rules: it is told, and not waited for (RFC 6455 §7.1.7). */
static void fail(struct mc_ws *ws, unsigned code)
{
    note_end(ws, code, MC_STR_NONE);
    if (ws->state == OPEN) {
        put_close(ws, code, MC_STR_NONE);
    }
    finish(ws);
}

int mc_ws_close(struct mc_ws *ws, unsigned code, struct mc_str reason)
{
    if (ws->state != OPEN || reason.n > REASON_MAX || !mc_ws_code_ok(code)) {
        return MC_ERROR;
    }
    int64_t ms = set_of(ws)->websocket_ping_timeout;
    note_end(ws, code, reason);
    put_close(ws, code, reason);
    ws->state = CLOSING;
    ws->whole = false;
    (void) mc_timer_set(loop_of(ws), &ws->timer, (uint64_t) (ms < CLOSE_MS ? ms : CLOSE_MS));
    mc_request_wake(ws->r);
    return MC_OK;
}

unsigned mc_ws_ended(const struct mc_ws *ws, struct mc_str *reason)
{
    *reason = (struct mc_str) { ws->reason, ws->nreason };
    return ws->code;
}

void mc_ws_drain(void)
{
    struct mc_link *l, *next;
    mc_list_each (&all, l, next) {
        (void) mc_ws_close(mc_container(l, struct mc_ws, link), MC_WS_RESTART, MC_STR_NONE);
    }
}

/* ---- messages ---- */

static int grow(struct mc_ws *ws, size_t more)
{
    size_t cap = ws->cap ? ws->cap : GROW;
    while (cap - ws->n < more) {
        cap *= 2;
    }
    char *p = cap > ws->cap ? realloc(ws->buf, cap) : ws->buf;
    if (p == NULL) {
        return MC_WS_INTERNAL;
    }
    ws->buf = p;
    ws->cap = cap;
    return MC_OK;
}

static bool too_long(const struct mc_ws *ws)
{
    int64_t max = set_of(ws)->websocket_max_message_size;
    return max > 0 && ws->n > (size_t) max;
}

static void give_back(struct mc_ws *ws)
{
    if (ws->inflater && nspares < SPARES) {
        spares[nspares++] = ws->inflater;
    } else if (ws->inflater) {
        coding->close(ws->inflater);
    }
    ws->inflater = NULL;
}

/* A piece of a compressed message, behind what is in buf. MC_OK or a code. */
static int inflate_piece(struct mc_ws *ws, struct mc_str data, bool last)
{
    struct mc_coding_io io = { .in = (const unsigned char *) data.p, .in_n = data.n };
    if (ws->inflater == NULL) {
        ws->inflater = nspares > 0 ? spares[--nspares] : coding->open(true, BITS_MOST);
        if (ws->inflater == NULL) {
            return MC_WS_INTERNAL;
        }
        coding->reset(ws->inflater, false);
    }
    for (;;) {
        if (grow(ws, GROW) != MC_OK) {
            return MC_WS_INTERNAL;
        }
        size_t before = ws->n;
        io.out = (unsigned char *) ws->buf + ws->n;
        io.out_n = ws->cap - ws->n;
        int rc = coding->run(ws->inflater, &io, last);
        ws->n = ws->cap - io.out_n;
        if (rc == MC_ERROR) {
            return MC_WS_NOT_TEXT; /* §7.4.1: data that is not what its type says */
        }
        if (too_long(ws)) {
            return MC_WS_TOO_BIG;
        }
        if (ws->text && !mc_utf8_feed(&ws->utf8, ws->buf + before, ws->n - before)) {
            return MC_WS_NOT_TEXT;
        }
        if (rc == MC_OK) {
            return MC_OK;
        }
    }
}

static int plain_piece(struct mc_ws *ws, const struct mc_ws_event *ev)
{
    if (ws->text && !mc_utf8_feed(&ws->utf8, ev->data.p, ev->data.n)) {
        return MC_WS_NOT_TEXT;
    }
    if (ev->first && ev->last) { /* it stays where it lies */
        ws->message = (struct mc_ws_message) { .text = ws->text, .p = ev->data.p, .n = ev->data.n };
        return MC_OK;
    }
    if (ev->data.n > 0) {
        if (grow(ws, ev->data.n) != MC_OK) {
            return MC_WS_INTERNAL;
        }
        memcpy(ws->buf + ws->n, ev->data.p, ev->data.n);
        ws->n += ev->data.n;
    }
    return MC_OK;
}

/* A piece of a message. MC_OK or a code. */
static int take_data(struct mc_ws *ws, const struct mc_ws_event *ev)
{
    if (ws->state != OPEN) {
        return MC_OK;
    }
    if (ev->first) {
        ws->n = 0;
        ws->text = ev->op == MC_WS_TEXT;
        ws->utf8 = (struct mc_utf8) { .need = 0 };
        if (ws->inflater) {
            coding->reset(ws->inflater, true);
        }
    }
    int rc = ev->compressed ? inflate_piece(ws, ev->data, ev->last) : plain_piece(ws, ev);
    if (rc != MC_OK || !ev->last) {
        return rc;
    }
    if (!ws->keep_in) {
        give_back(ws);
    }
    if (ws->text && !mc_utf8_whole(&ws->utf8)) {
        return MC_WS_NOT_TEXT;
    }
    if (ev->compressed || !ev->first) {
        ws->message = (struct mc_ws_message) { .text = ws->text, .p = ws->buf, .n = ws->n };
    }
    ws->whole = true;
    return MC_OK;
}

static int take_close(struct mc_ws *ws, const struct mc_ws_event *ev)
{
    struct mc_utf8 utf8 = { .need = 0 };
    if (!mc_utf8_feed(&utf8, ev->data.p, ev->data.n) || !mc_utf8_whole(&utf8)) {
        return MC_WS_NOT_TEXT;
    }
    note_end(ws, ev->code, ev->data);
    if (ws->state == OPEN) {
        put_close(ws, ev->code, MC_STR_NONE);
    }
    finish(ws);
    return MC_OK;
}

static int take(struct mc_ws *ws, const struct mc_ws_event *ev)
{
    switch (ev->op) {
    case MC_WS_PING:
        /* A client that sends pings and reads no answers gets none: those who wait already say the same. */
        if (ws->state == OPEN && !ws->r->resp.paused) {
            (void) put(ws, MC_WS_PONG, false, ev->data.p, ev->data.n);
        }
        return MC_OK;
    case MC_WS_CLOSE:
        return take_close(ws, ev);
    case MC_WS_TEXT:
    case MC_WS_BINARY:
        return take_data(ws, ev);
    default:
        return MC_OK; /* a pong: that something came is noted */
    }
}

/* ---- input ---- */

static void drop_input(struct mc_ws *ws)
{
    if (ws->in) {
        mc_block_put(ws->in, MC_BLOCK_LARGE);
    }
    ws->in = NULL;
    ws->pos = ws->len = 0;
}

/* MC_OK: there are bytes; MC_AGAIN; MC_ERROR: there will be none. */
static int fill(struct mc_ws *ws)
{
    if (ws->pos < ws->len) {
        return MC_OK;
    }
    if (mc_body_available(ws->r) == 0 && !ws->r->body.complete && !ws->r->body.failed) {
        drop_input(ws);
        return MC_AGAIN;
    }
    ws->in = ws->in ? ws->in : mc_block_get(MC_BLOCK_LARGE);
    ssize_t n = ws->in ? mc_body_read(ws->r, ws->in, MC_BLOCK_LARGE) : MC_ERROR;
    if (n <= 0) {
        return n == MC_AGAIN ? MC_AGAIN : MC_ERROR;
    }
    ws->pos = 0;
    ws->len = (size_t) n;
    ws->heard = loop_of(ws)->now;
    ws->pinged = false;
    return MC_OK;
}

int mc_ws_pump(struct mc_ws *ws)
{
    struct mc_ws_event ev;
    while (!ws->whole && ws->state != CLOSED) {
        int rc = fill(ws);
        if (rc == MC_AGAIN) {
            return MC_AGAIN;
        }
        if (rc != MC_OK) {
            note_end(ws, MC_WS_ABNORMAL, MC_STR_NONE);
            finish(ws);
            break;
        }
        size_t used;
        rc = mc_ws_read(&ws->reader, ws->in + ws->pos, ws->len - ws->pos, &used, &ev);
        ws->pos += used;
        rc = rc == MC_OK ? take(ws, &ev) : rc;
        if (rc > 0) {
            fail(ws, (unsigned) rc);
        }
    }
    return MC_OK;
}

int mc_ws_next(struct mc_ws *ws, struct mc_ws_message *m)
{
    if (ws->n > 0 && !ws->whole && ws->reader.message == 0) { /* the last one has been used */
        free(ws->buf);
        ws->buf = NULL;
        ws->n = ws->cap = 0;
    }
    if (mc_ws_pump(ws) == MC_AGAIN) {
        return MC_AGAIN;
    }
    if (!ws->whole) {
        return MC_DECLINED;
    }
    ws->whole = false;
    *m = ws->message;
    return MC_OK;
}

/* ---- time ---- */

static void on_timer(struct mc_timer *t)
{
    struct mc_ws *ws = t->data;
    const struct mc_values *set = set_of(ws);
    uint64_t now = loop_of(ws)->now, silent = now - ws->heard, interval = (uint64_t) set->websocket_ping_interval;
    if (ws->state == CLOSING) {
        ws->r->conn->broken = true; /* as if it had gone: its handler hears of it */
    } else if (ws->state == OPEN && ws->pinged && !ws->whole) { /* an app that does not take its message keeps the pong from us */
        mc_debug("connection %d: no pong in time", ws->r->conn->io.fd);
        note_end(ws, MC_WS_ABNORMAL, MC_STR_NONE);
        ws->r->conn->broken = true;
    } else if (ws->state == OPEN && silent < interval) {
        (void) mc_timer_set(loop_of(ws), t, interval - silent);
        return;
    } else if (ws->state == OPEN) {
        ws->pinged = true;
        (void) put(ws, MC_WS_PING, false, NULL, 0);
        (void) mc_timer_set(loop_of(ws), t, (uint64_t) set->websocket_ping_timeout);
    }
    mc_request_wake(ws->r);
}

static void fini(void *data)
{
    struct mc_ws *ws = data;
    mc_timer_remove(loop_of(ws), &ws->timer);
    mc_list_remove(&ws->link);
    give_back(ws);
    if (ws->deflater) {
        coding->close(ws->deflater);
    }
    drop_input(ws);
    free(ws->buf);
}

/* ---- opening ---- */

static const struct mc_message_coding *find_coding(void)
{
    for (size_t i = 0; mc_modules[i]; i++) {
        if (mc_modules[i]->kind == MC_MODULE_CODING && mc_modules[i]->ops.coding->messages) {
            return mc_modules[i]->ops.coding->messages;
        }
    }
    return NULL;
}

static int add(struct mc_fields *f, struct mc_request *r, struct mc_str name, struct mc_str value)
{
    struct mc_str kept = mc_arena_dup(&r->arena, value);
    return kept.p ? mc_fields_add(f, &r->arena, name, kept) : MC_ERROR;
}

/* The head of the answer. */
static int agree(struct mc_ws *ws, struct mc_str subprotocol, const struct mc_fields *more)
{
    struct mc_request *r = ws->r;
    struct mc_fields f = { .n = 0 };
    struct mc_ws_deflate d;
    char accept[MC_WS_ACCEPT], text[MC_WS_EXTENSIONS_MAX];
    coding = coding ? coding : find_coding();
    const struct mc_values *set = mc_request_set(r);
    bool wanted = coding && set->websocket_deflate;
    struct mc_str extensions = wanted ? mc_ws_negotiate(&r->head.fields, set->websocket_context_takeover, &d, text) : MC_STR_NONE;
    if (!mc_ws_accept(&r->head, accept)
        || add(&f, r, MC_STR("Sec-WebSocket-Accept"), (struct mc_str) { accept, sizeof accept }) != MC_OK
        || (subprotocol.n && add(&f, r, MC_STR("Sec-WebSocket-Protocol"), subprotocol) != MC_OK)
        || (extensions.n && add(&f, r, MC_STR("Sec-WebSocket-Extensions"), extensions) != MC_OK)) {
        return MC_ERROR;
    }
    for (uint32_t i = 0; more && i < more->n; i++) {
        if (mc_fields_add(&f, &r->arena, more->v[i].name, more->v[i].value) != MC_OK) {
            return MC_ERROR;
        }
    }
    ws->deflate = ws->reader.deflate = extensions.n > 0;
    ws->bits = ws->deflate ? d.bits_out : BITS_MOST;
    MC_ASSERT(ws->bits >= BITS_LEAST && ws->bits <= BITS_MOST);
    ws->keep_out = ws->deflate && d.keep_out;
    ws->keep_in = ws->deflate && d.keep_in;
    return mc_response_switch(r, MC_STR("websocket"), &f);
}

struct mc_ws *mc_ws_open(struct mc_request *r, struct mc_str subprotocol, const struct mc_fields *fields)
{
    struct mc_ws *ws = mc_arena_calloc(&r->arena, sizeof *ws);
    if (ws == NULL || mc_arena_cleanup(&r->arena, fini, ws) != MC_OK) {
        return NULL;
    }
    ws->r = r;
    mc_timer_init(&ws->timer, on_timer, ws);
    if (agree(ws, subprotocol, fields) != MC_OK) {
        return NULL;
    }
    int64_t interval = set_of(ws)->websocket_ping_interval;
    ws->reader.max = (uint64_t) set_of(ws)->websocket_max_message_size;
    ws->heard = loop_of(ws)->now;
    if (interval > 0) {
        (void) mc_timer_set(loop_of(ws), &ws->timer, (uint64_t) interval);
    }
    mc_list_push(&all, &ws->link);
    if (r->conn->worker->draining) {
        (void) mc_ws_close(ws, MC_WS_RESTART, MC_STR_NONE);
    }
    (void) mc_response_flush(r);
    mc_request_wake(r);
    return ws;
}
