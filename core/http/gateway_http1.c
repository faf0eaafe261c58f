/* HTTP/1.1 towards upstreams, as a pure codec: an exchange to request bytes, reply bytes to events (RFC 9112). Replies are read as strictly as
 * requests: what two readers could understand differently is no reply. Never reads a socket or a clock. Called by server/upstream.c. Worker side. */
#include "core/http/chunk.h"
#include "core/http/gateway.h"

enum {
    INTERIM_MAX = 16,    /* 1xx before one reply */
    RESERVE_MAX = 16000, /* what mc_chain_reserve() can give in one piece */
    HEAD_ROOM = 192,     /* framing, Connection, version and line ends */
};

static const struct mc_head_limits limits = { .line = 8190, .fields = 512, .field_size = 65536, .head = 65536 };

enum step { STEP_HEAD, STEP_LENGTH, STEP_CHUNKED, STEP_CLOSE, STEP_TUNNEL, STEP_END };

struct http1 {
    enum step step;
    bool chunked;  /* the request's body */
    bool all_sent; /* the request is whole */
    unsigned interims;
    uint64_t left;
    struct mc_head_scan scan;
    struct mc_chunk chunk;
};

/* ---- request ---- */

static unsigned char *put(unsigned char *w, struct mc_str s)
{
    if (s.n) {
        memcpy(w, s.p, s.n);
    }
    return w + s.n;
}

/* Of known length: a few stores instead of a call. */
#define PUT(w, lit) (memcpy(w, lit, sizeof(lit) - 1), (w) + sizeof(lit) - 1)

static bool target_ok(struct mc_str t)
{
    for (size_t i = 0; i < t.n; i++) {
        if ((unsigned char) t.p[i] <= 0x20 || t.p[i] == 0x7f) {
            return false;
        }
    }
    return t.n > 0;
}

/* Methods whose requests are expected to have a body: they say so when it is empty (RFC 9110 §8.6). */
static bool wants_body(struct mc_str method)
{
    return mc_str_eq(method, MC_STR("POST")) || mc_str_eq(method, MC_STR("PUT")) || mc_str_eq(method, MC_STR("PATCH"));
}

static unsigned char *put_framing(unsigned char *w, const struct mc_exchange *x)
{
    if (x->framed) {
        return w;
    }
    if (x->length < 0) {
        return PUT(w, "Transfer-Encoding: chunked\r\n");
    }
    if (x->length > 0 || wants_body(x->method)) {
        w = PUT(w, "Content-Length: ");
        w += mc_str_u64((char *) w, (uint64_t) x->length);
        w = PUT(w, "\r\n");
    }
    return w;
}

static unsigned char *put_connection(unsigned char *w, const struct mc_exchange *x)
{
    if (x->te_trailers) {
        w = PUT(w, "TE: trailers\r\n");
    }
    if (x->upgrade.n) {
        w = PUT(w, "Upgrade: ");
        w = put(w, x->upgrade);
        return PUT(w, "\r\nConnection: upgrade\r\n");
    }
    if (x->te_trailers) {
        return x->keep ? PUT(w, "Connection: TE\r\n") : PUT(w, "Connection: close, TE\r\n");
    }
    return x->keep ? w : PUT(w, "Connection: close\r\n");
}

static unsigned char *put_head(unsigned char *w, const struct mc_exchange *x)
{
    w = put(w, x->method);
    w = PUT(w, " ");
    w = put(w, x->target);
    w = PUT(w, " HTTP/1.1\r\n");
    for (uint32_t i = 0; i < x->fields.n; i++) {
        w = put(w, x->fields.v[i].name);
        w = PUT(w, ": ");
        w = put(w, x->fields.v[i].value);
        w = PUT(w, "\r\n");
    }
    w = put_framing(w, x);
    w = put_connection(w, x);
    return PUT(w, "\r\n");
}

/* An upper bound of what put_head() writes; 0: something in it would break out of its place. */
static size_t head_size(const struct mc_exchange *x)
{
    size_t n = HEAD_ROOM + x->method.n + x->target.n + x->upgrade.n;
    if (!mc_field_name_ok(x->method) || !target_ok(x->target) || !mc_field_value_ok(x->upgrade)) {
        return 0;
    }
    for (uint32_t i = 0; i < x->fields.n; i++) {
        const struct mc_field *f = &x->fields.v[i];
        if (!mc_field_name_ok(f->name) || !mc_field_value_ok(f->value)) {
            return 0;
        }
        n += f->name.n + f->value.n + 4;
    }
    return n;
}

static int encode_head(struct mc_exchange *x, struct mc_chain *out)
{
    struct http1 *h = mc_arena_calloc(x->arena, sizeof *h);
    size_t need = head_size(x);
    if (h == NULL || need == 0) {
        return MC_ERROR;
    }
    h->chunked = x->length < 0;
    h->scan.response = true;
    x->state = h;
    x->reply = (struct mc_head){ .content_length = -1 };
    x->trailers.n = 0;
    x->switched = x->reusable = false;
    x->received = 0;
    unsigned char *start = need <= RESERVE_MAX ? mc_chain_reserve(out, need) : mc_arena_alloc(x->arena, need);
    if (start == NULL) {
        return MC_ERROR;
    }
    size_t n = (size_t) (put_head(start, x) - start);
    MC_ASSERT(n <= need);
    if (need > RESERVE_MAX) {
        return mc_chain_add(out, start, n);
    }
    mc_chain_commit(out, n);
    return MC_OK;
}

static int encode_last(const struct mc_exchange *x, struct mc_chain *out)
{
    uint32_t n = x->trail ? x->trail->n : 0;
    if (n == 0) {
        return mc_chain_add(out, "0\r\n\r\n", 5);
    }
    int rc = mc_chain_add(out, "0\r\n", 3);
    for (uint32_t i = 0; i < n && rc == MC_OK; i++) {
        const struct mc_field *f = &x->trail->v[i];
        const struct mc_str line[] = { f->name, MC_STR(": "), f->value, MC_STR("\r\n") };
        for (unsigned k = 0; k < MC_COUNT(line) && rc == MC_OK; k++) {
            rc = line[k].n ? mc_chain_add(out, line[k].p, line[k].n) : MC_OK;
        }
    }
    return rc == MC_OK ? mc_chain_add(out, "\r\n", 2) : rc;
}

static int encode_body(struct mc_exchange *x, struct mc_chain *out, const void *p, size_t n, bool last)
{
    struct http1 *h = x->state;
    bool chunked = h->chunked && !x->switched;
    if (n > 0 && chunked) {
        char line[24];
        size_t k = 0;
        for (int shift = 60; shift >= 0; shift -= 4) {
            if (k > 0 || n >> shift) {
                line[k++] = "0123456789abcdef"[n >> shift & 15];
            }
        }
        line[k++] = '\r';
        line[k++] = '\n';
        if (mc_chain_add(out, line, k) != MC_OK) {
            return MC_ERROR;
        }
    }
    if (n > 0 && (mc_chain_add(out, p, n) != MC_OK || (chunked && mc_chain_add(out, "\r\n", 2) != MC_OK))) {
        return MC_ERROR;
    }
    if (!last) {
        return MC_OK;
    }
    h->all_sent = true;
    return chunked ? encode_last(x, out) : MC_OK;
}

/* ---- reply ---- */

static void fail(struct mc_gw_event *ev, const char *why)
{
    ev->kind = MC_GW_ERROR;
    ev->why = why;
}

/* 101 is an answer to our Upgrade, to one of its protocols, or none at all (RFC 9110 §15.2.2). */
static bool switch_ok(const struct mc_exchange *x)
{
    const struct mc_field *f = mc_fields_get(&x->reply.fields, MC_F_UPGRADE);
    struct mc_str list = x->upgrade, token;
    while (x->reply.upgrade && f && mc_str_next_token(&list, &token)) {
        if (mc_str_eq_nocase(f->value, token)) {
            return true;
        }
    }
    return false;
}

static void take_head(struct mc_exchange *x, struct http1 *h, struct mc_gw_event *ev)
{
    struct mc_head *r = &x->reply;
    if (r->status == 101) {
        if (!switch_ok(x)) {
            fail(ev, "it switches to a protocol that it was not asked for");
            return;
        }
        x->switched = true;
        h->step = STEP_TUNNEL;
        ev->kind = MC_GW_HEAD;
        return;
    }
    if (r->status < 200) {
        if (++h->interims > INTERIM_MAX) {
            fail(ev, "too many interim replies");
            return;
        }
        h->scan = (struct mc_head_scan){ .response = true };
        ev->kind = MC_GW_INTERIM;
        return;
    }
    if (r->status > 599) {
        fail(ev, "a status that does not exist");
        return;
    }
    ev->kind = MC_GW_HEAD;
    switch (r->framing) {
    case MC_BODY_LENGTH:
        h->step = STEP_LENGTH;
        h->left = (uint64_t) r->content_length;
        break;
    case MC_BODY_CHUNKED:
        h->step = STEP_CHUNKED;
        mc_chunk_init(&h->chunk);
        break;
    case MC_BODY_CLOSE:
        h->step = STEP_CLOSE;
        break;
    default:
        h->step = STEP_END;
    }
}

static void input_head(struct mc_exchange *x, struct http1 *h, const char *p, size_t n, bool eof, size_t *used, struct mc_gw_event *ev)
{
    size_t skip, len;
    if (n == 0) {
        if (eof) {
            fail(ev, "it closed the connection without a reply");
        }
        return;
    }
    int rc = mc_head_find(&h->scan, p, n, &limits, &skip, &len);
    if (rc > 0 || skip > 0) {
        fail(ev, rc == 414 || rc == 431 ? "the head of the reply is too large" : "the head of the reply is not HTTP/1");
        return;
    }
    if (rc == MC_AGAIN) {
        if (eof) {
            fail(ev, "it closed the connection within the head of the reply");
        }
        return;
    }
    struct mc_str head = mc_arena_dup(x->arena, (struct mc_str){ p, len });
    if (head.p == NULL) {
        fail(ev, "out of memory");
        return;
    }
    *used = len;
    if (mc_head_response(x->arena, head.p, head.n, x->is_head, &x->reply) != MC_OK) {
        fail(ev, "the head of the reply breaks the rules of HTTP");
        return;
    }
    take_head(x, h, ev);
}

static void give(struct mc_exchange *x, struct mc_gw_event *ev, const char *p, size_t n)
{
    ev->kind = MC_GW_DATA;
    ev->data = (struct mc_str){ p, n };
    x->received += (int64_t) n;
}

static void end(struct mc_exchange *x, struct http1 *h, struct mc_gw_event *ev)
{
    x->reusable = h->step != STEP_CLOSE && !x->switched && h->all_sent && x->reply.keepalive;
    h->step = STEP_END;
    ev->kind = MC_GW_END;
}

static void input_chunked(struct mc_exchange *x, struct http1 *h, const char *p, size_t n, bool eof, size_t *used, struct mc_gw_event *ev)
{
    struct mc_str data;
    int rc = mc_chunk_decode(&h->chunk, p, n, used, &data, x->arena, &x->trailers);
    if (rc == MC_DECLINED) {
        end(x, h, ev);
    } else if (rc > 0) {
        fail(ev, "the chunks of the reply break the rules of HTTP");
    } else if (data.n) {
        give(x, ev, data.p, data.n);
    } else if (eof) {
        fail(ev, "it closed the connection within the body of the reply");
    }
}

static void input_length(struct mc_exchange *x, struct http1 *h, const char *p, size_t n, bool eof, size_t *used, struct mc_gw_event *ev)
{
    if (h->left == 0) {
        end(x, h, ev);
    } else if (n > 0) {
        *used = n < h->left ? n : (size_t) h->left;
        h->left -= *used;
        give(x, ev, p, *used);
    } else if (eof) {
        fail(ev, "it closed the connection within the body of the reply");
    }
}

static void input(struct mc_exchange *x, const char *p, size_t n, bool eof, size_t *used, struct mc_gw_event *ev)
{
    struct http1 *h = x->state;
    *used = 0;
    *ev = (struct mc_gw_event){ .kind = MC_GW_MORE };
    switch (h->step) {
    case STEP_HEAD:
        input_head(x, h, p, n, eof, used, ev);
        break;
    case STEP_LENGTH:
        input_length(x, h, p, n, eof, used, ev);
        break;
    case STEP_CHUNKED:
        input_chunked(x, h, p, n, eof, used, ev);
        break;
    case STEP_CLOSE:
    case STEP_TUNNEL:
        if (n > 0) {
            *used = n;
            give(x, ev, p, n);
        } else if (eof) {
            end(x, h, ev);
        }
        break;
    case STEP_END:
        end(x, h, ev);
        break;
    }
}

const struct mc_gateway_ops mc_gateway_http1 = { .name = "http", .head = encode_head, .body = encode_body, .input = input };
