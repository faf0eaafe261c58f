/* HTTP/1.1 and 1.0 as a pure codec: input bytes to requests, responses to output bytes (RFC 9112).
 * One request at a time: pipelined bytes wait in the input until finish(). Slices of a head stay valid because in.keep tells the
 * server which bytes not to touch; body slices are handed out where they lie.
 * Never reads a socket or a clock, never calls a handler. Called by core/server on the worker side. */
#include "core/base/clock.h"
#include "core/base/module.h"
#include "core/http/chunk.h"
#include "core/http/protocol.h"
#include "core/http/status.h"


enum {
    RESERVE_MAX = 16000, /* what mc_chain_reserve() can give in one piece */
    HEAD_ROOM = 256,     /* status line without reason, Date, Content-Length, Connection, Transfer-Encoding, last CRLF: under 200 */
    CHUNK_ROOM = 32,     /* size line, CRLF and last chunk */
};

enum step {
    STEP_HEAD, /* a head is looked for */
    STEP_BODY, /* h->r's body arrives */
    STEP_WAIT, /* h->r is complete; finish() is awaited */
    STEP_RAW,  /* h->r is a tunnel */
    STEP_DEAD, /* no more requests from here */
};

struct http1 {
    struct mc_request *r; /* the one request */
    uint64_t left; /* Content-Length: bytes to come; chunked: bytes seen */
    union {
        struct mc_head_scan scan; /* STEP_HEAD */
        struct mc_chunk chunk;    /* after it */
    };
    uint8_t step; /* enum step */
};

static int open_session(struct mc_session *s)
{
    _Static_assert(sizeof(struct http1) <= MC_SESSION_OWN, "an idle connection needs no memory of ours besides");
    struct http1 *h = s->proto = s->own;
    *h = (struct http1){.step = STEP_HEAD};
    return MC_OK;
}

static void close_session(struct mc_session *s)
{
    s->proto = NULL;
}

/* ---- input ---- */

static void refuse(struct mc_session *s, struct mc_input *ev, int status)
{
    struct http1 *h = s->proto;
    h->step = STEP_DEAD;
    s->close = true;
    ev->kind = MC_IN_ERROR;
    ev->status = status;
    ev->r = h->r;
}

/* The head's bytes stay in the input, unless they leave too little room behind them for the body to pass through. */
static int keep_head(struct mc_session *s, struct mc_str *head)
{
    struct mc_inbuf *in = &s->in;
    struct http1 *h = s->proto;
    in->pos += head->n;
    if (in->cap - in->pos >= MC_INBUF_ROOM) {
        in->keep = in->pos;
        return MC_OK;
    }
    *head = mc_arena_dup(&h->r->arena, *head);
    return head->p ? MC_OK : 503;
}

/* A tunnel may live for hours, and needs no input while it is silent. */
static int move_head(struct mc_session *s, struct mc_request *r, struct mc_str head)
{
    struct mc_str copy = mc_arena_dup(&r->arena, head);
    if (!copy.p)
        return 503;
    mc_head_move(&r->head, head, copy.p);
    s->in.keep = 0;
    return MC_OK;
}

static int parse_head(struct mc_session *s, struct mc_str head)
{
    struct http1 *h = s->proto;
    struct mc_request *r = h->r = s->host->request_new(s);
    if (!r)
        return 503;
    int rc = keep_head(s, &head);
    if (rc)
        return rc;
    rc = mc_head_request(&r->arena, head.p, head.n, &s->host->limits, &r->head);
    if (mc_unlikely(r->head.upgrade) && s->in.keep && !rc)
        rc = move_head(s, r, head);
    r->is_head = mc_str_eq(r->head.method, MC_STR("HEAD")); /* a refusal has no body then, either */
    r->uri = r->head.uri;
    if (rc)
        return rc;
    r->path = r->uri.path;
    return r->path.p[0] == '*' ? MC_OK : mc_uri_normalise(&r->arena, r->uri.path, &r->path);
}

static void input_head(struct mc_session *s, struct mc_input *ev)
{
    struct http1 *h = s->proto;
    struct mc_inbuf *in = &s->in;
    size_t skip, len;
    if (s->close || (in->pos == in->len && in->eof)) {
        ev->kind = MC_IN_EOF;
        return;
    }
    if (in->pos == in->len)
        return; /* MORE */
    int rc = mc_head_find(&h->scan, in->data + in->pos, in->len - in->pos, &s->host->limits, &skip, &len);
    if (rc > 0) {
        refuse(s, ev, rc);
        return;
    }
    in->pos += skip;
    if (rc == MC_AGAIN) {
        ev->started = in->pos < in->len;
        if (in->eof)
            ev->kind = ev->started ? MC_IN_CUT : MC_IN_EOF;
        return;
    }
    rc = parse_head(s, (struct mc_str){in->data + in->pos, len});
    if (rc) {
        refuse(s, ev, rc);
        return;
    }
    const struct mc_head *got = &h->r->head;
    ev->whole = got->framing == MC_BODY_NONE;
    h->step = ev->whole ? STEP_WAIT : STEP_BODY;
    h->left = got->framing == MC_BODY_LENGTH ? (uint64_t)got->content_length : 0;
    if (got->framing == MC_BODY_CHUNKED)
        mc_chunk_init(&h->chunk);
    ev->kind = MC_IN_HEAD;
    ev->r = h->r;
}

static void end_body(struct http1 *h, struct mc_input *ev)
{
    h->step = STEP_WAIT;
    ev->kind = MC_IN_END;
}

static void input_length(struct mc_session *s, struct mc_input *ev)
{
    struct http1 *h = s->proto;
    struct mc_inbuf *in = &s->in;
    size_t n = in->len - in->pos;
    if (h->left == 0) {
        end_body(h, ev);
        return;
    }
    if (n > h->left)
        n = (size_t)h->left;
    if (n == 0)
        return;
    ev->kind = MC_IN_DATA;
    ev->data = (struct mc_str){in->data + in->pos, n};
    in->pos += n;
    h->left -= n;
}

static void input_chunked(struct mc_session *s, struct mc_input *ev)
{
    struct http1 *h = s->proto;
    struct mc_inbuf *in = &s->in;
    size_t used;
    int rc = mc_chunk_decode(&h->chunk, in->data + in->pos, in->len - in->pos, &used, &ev->data, &h->r->arena, &h->r->body.trailers);
    in->pos += used;
    if (rc == MC_OK) {
        ev->kind = MC_IN_DATA;
        h->left += ev->data.n;
    } else if (rc == MC_DECLINED) {
        h->r->body.length = (int64_t)h->left;
        end_body(h, ev);
    } else if (rc > 0) {
        refuse(s, ev, rc);
    }
}

static void input_raw(struct mc_session *s, struct mc_input *ev)
{
    struct http1 *h = s->proto;
    struct mc_inbuf *in = &s->in;
    ev->r = h->r;
    if (in->pos < in->len) {
        ev->kind = MC_IN_DATA;
        ev->data = (struct mc_str){in->data + in->pos, in->len - in->pos};
        in->pos = in->len;
    } else if (in->eof) {
        h->step = STEP_DEAD;
        ev->kind = MC_IN_END;
    }
}

static void input(struct mc_session *s, struct mc_input *ev)
{
    struct http1 *h = s->proto;
    *ev = (struct mc_input){.kind = MC_IN_MORE};
    switch ((enum step)h->step) {
    case STEP_HEAD:
        input_head(s, ev);
        return;
    case STEP_BODY:
        ev->r = h->r;
        if (h->r->head.framing == MC_BODY_CHUNKED)
            input_chunked(s, ev);
        else
            input_length(s, ev);
        if (ev->kind == MC_IN_MORE && s->in.eof) {
            h->step = STEP_DEAD;
            s->close = true;
            ev->kind = MC_IN_CUT;
        }
        return;
    case STEP_WAIT:
        ev->r = h->r;
        ev->busy = true;
        return;
    case STEP_RAW:
        input_raw(s, ev);
        return;
    case STEP_DEAD:
        ev->kind = MC_IN_EOF;
        return;
    }
}

static void finish(struct mc_request *r)
{
    struct mc_session *s = r->session;
    struct http1 *h = s->proto;
    if (h->r != r)
        return; /* an answer to what never became a request */
    h->r = NULL;
    s->in.keep = 0;
    if (h->step != STEP_WAIT) { /* the rest of its body would be taken for a request */
        h->step = STEP_DEAD;
        s->close = true;
        return;
    }
    h->step = STEP_HEAD;
    h->scan = (struct mc_head_scan){.seen = 0};
}

/* ---- output ---- */

static inline unsigned char *put(unsigned char *w, const void *p, size_t n)
{
    memcpy(w, p, n);
    return w + n;
}

#define PUT(w, lit) put(w, lit, sizeof(lit) - 1)

static unsigned char *put_str(unsigned char *w, struct mc_str s)
{
    return s.n ? put(w, s.p, s.n) : w;
}

static unsigned char *put_hex(unsigned char *w, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    int shift = 0;
    while (shift < 60 && n >> (shift + 4))
        shift += 4;
    for (; shift >= 0; shift -= 4)
        *w++ = (unsigned char)digits[n >> shift & 15];
    return w;
}

/* How the body is delimited, and whether the connection survives (RFC 9112 §6, §9.3). n: the body bytes at hand, wholly so if `last`. */
static void decide(struct mc_request *r, size_t n, bool last)
{
    struct mc_session *s = r->session;
    struct mc_response *resp = &r->resp;
    bool no_length = resp->status < 200 || resp->status == 204;
    resp->bodyless = r->is_head || mc_status_bodyless(resp->status);
    resp->chunked = false;
    if (no_length)
        resp->length = -1;
    else if (resp->length < 0 && last && resp->trailers.n == 0 && (n || !resp->bodyless) && resp->status != 304)
        resp->length = (int64_t)n;
    if (!resp->bodyless && resp->length < 0) {
        resp->chunked = r->head.version > 0;
        if (!resp->chunked)
            resp->close = true;
    }
    resp->direct = !resp->bodyless && !resp->chunked;
    if (!r->head.keepalive || !s->allow_keepalive || s->close)
        resp->close = true;
    if (resp->close)
        s->close = true;
}

static size_t fields_size(const struct mc_fields *fields)
{
    size_t n = 0;
    for (uint32_t i = 0; i < fields->n; i++)
        n += fields->v[i].name.n + fields->v[i].value.n + 4;
    return n;
}

/* An upper bound of what put_head() writes. */
static size_t bound(const struct mc_request *r, struct mc_str server)
{
    return HEAD_ROOM + r->resp.reason.n + server.n + fields_size(&r->resp.fields) + fields_size(&r->resp.trailers);
}

static unsigned char *put_fields(unsigned char *w, const struct mc_fields *fields)
{
    for (uint32_t i = 0; i < fields->n; i++) {
        w = put_str(w, fields->v[i].name);
        w = PUT(w, ": ");
        w = put_str(w, fields->v[i].value);
        w = PUT(w, "\r\n");
    }
    return w;
}

/* The trailers that are known by now (RFC 9110 §6.6.2). */
static unsigned char *put_trailer_names(unsigned char *w, const struct mc_fields *trailers)
{
    if (trailers->n == 0)
        return w;
    w = PUT(w, "Trailer: ");
    for (uint32_t i = 0; i < trailers->n; i++) {
        if (i > 0)
            w = PUT(w, ", ");
        w = put_str(w, trailers->v[i].name);
    }
    return PUT(w, "\r\n");
}

static unsigned char *put_status(unsigned char *w, int status, struct mc_str reason)
{
    struct mc_str line = mc_status_line(status);
    if (mc_likely(reason.n == 0 && line.p))
        return put(w, line.p, line.n);
    MC_ASSERT(status >= 100 && status <= 999);
    w = PUT(w, "HTTP/1.1 ");
    *w++ = (unsigned char)('0' + status / 100);
    *w++ = (unsigned char)('0' + status / 10 % 10);
    *w++ = (unsigned char)('0' + status % 10);
    *w++ = ' ';
    w = put_str(w, reason.n ? reason : mc_status_reason(status));
    return PUT(w, "\r\n");
}

static unsigned char *put_head(unsigned char *w, const struct mc_request *r, struct mc_str server)
{
    const struct mc_response *resp = &r->resp;
    w = put_status(w, resp->status, resp->reason);
    if (server.n) {
        w = PUT(w, "Server: ");
        w = put_str(w, server);
        w = PUT(w, "\r\n");
    }
    if (!resp->has_date && resp->date) {
        w = PUT(w, "Date: ");
        w = put(w, resp->date, MC_HTTP_DATE_LEN);
        w = PUT(w, "\r\n");
    }
    if (resp->close)
        w = PUT(w, "Connection: close\r\n");
    else if (r->head.version == 0)
        w = PUT(w, "Connection: keep-alive\r\n");
    w = put_fields(w, &resp->fields);
    if (resp->length >= 0) {
        w = PUT(w, "Content-Length: ");
        w += mc_str_u64((char *)w, (uint64_t)resp->length);
        w = PUT(w, "\r\n\r\n");
    } else if (resp->chunked) {
        w = put_trailer_names(w, &resp->trailers);
        w = PUT(w, "Transfer-Encoding: chunked\r\n\r\n");
    } else {
        w = PUT(w, "\r\n");
    }
    return w;
}

/* The last chunk and the trailer section (RFC 9112 §7.1.2). */
static unsigned char *put_last(unsigned char *w, const struct mc_response *resp)
{
    w = PUT(w, "0\r\n");
    w = put_fields(w, &resp->trailers);
    return PUT(w, "\r\n");
}

/* What put_body() writes at most. */
static size_t body_room(const struct mc_response *resp, size_t n, bool last)
{
    return n + CHUNK_ROOM + (last ? fields_size(&resp->trailers) : 0);
}

static unsigned char *put_body(unsigned char *w, const struct mc_response *resp, const void *p, size_t n, bool last)
{
    if (!resp->chunked)
        return n ? put(w, p, n) : w;
    if (n) {
        w = put_hex(w, n);
        w = PUT(w, "\r\n");
        w = put(w, p, n);
        w = PUT(w, "\r\n");
    }
    return last ? put_last(w, resp) : w;
}

/* The line before a chunk of n bytes. */
static int add_chunk_size(struct mc_chain *out, size_t n)
{
    unsigned char *w = mc_chain_reserve(out, CHUNK_ROOM), *start = w;
    if (!w)
        return MC_ERROR;
    w = put_hex(w, n);
    w = PUT(w, "\r\n");
    mc_chain_commit(out, (size_t)(w - start));
    return MC_OK;
}

/* The end of the body in pieces that may be larger than a reserve. */
static int add_last(struct mc_request *r)
{
    size_t need = body_room(&r->resp, 0, true);
    unsigned char *start = mc_arena_alloc(&r->arena, need);
    return start ? mc_chain_add(&r->session->out, start, (size_t)(put_last(start, &r->resp) - start)) : MC_ERROR;
}

/* What stands after a chunk. */
static int add_chunk_end(struct mc_request *r, bool last)
{
    if (mc_chain_add(&r->session->out, "\r\n", 2) != MC_OK)
        return MC_ERROR;
    return last ? add_last(r) : MC_OK;
}

static int body(struct mc_request *r, const void *p, size_t n, bool last)
{
    struct mc_chain *out = &r->session->out;
    if (r->resp.bodyless)
        return MC_OK;
    r->resp.sent += (int64_t)n;
    size_t room = body_room(&r->resp, n, last);
    if (room <= RESERVE_MAX) {
        unsigned char *w = mc_chain_reserve(out, room);
        if (!w)
            return MC_ERROR;
        mc_chain_commit(out, (size_t)(put_body(w, &r->resp, p, n, last) - w));
        return MC_OK;
    }
    if (!r->resp.chunked)
        return mc_chain_add(out, p, n);
    if (n == 0)
        return last ? add_last(r) : MC_OK;
    if (add_chunk_size(out, n) != MC_OK || mc_chain_add(out, p, n) != MC_OK)
        return MC_ERROR;
    return add_chunk_end(r, last);
}

static int file(struct mc_request *r, struct mc_file *f, off_t off, off_t n, bool last)
{
    struct mc_chain *out = &r->session->out;
    if (n == 0 || r->resp.bodyless)
        return body(r, NULL, 0, last);
    r->resp.sent += n;
    if (!r->resp.chunked)
        return mc_chain_add_file(out, f, off, n);
    if (add_chunk_size(out, (size_t)n) != MC_OK || mc_chain_add_file(out, f, off, n) != MC_OK)
        return MC_ERROR;
    return add_chunk_end(r, last);
}

static int head(struct mc_request *r, const void *p, size_t n, bool last)
{
    struct mc_chain *out = &r->session->out;
    decide(r, n, last);
    struct mc_str server = mc_protocol_server(r);
    size_t need = bound(r, server), with_body = need + body_room(&r->resp, n, last);
    bool together = !r->resp.bodyless && with_body <= RESERVE_MAX;
    if (together)
        need = with_body;
    bool in_place = need <= RESERVE_MAX;
    unsigned char *start = in_place ? mc_chain_reserve(out, need) : mc_arena_alloc(&r->arena, need);
    if (!start)
        return MC_ERROR;
    unsigned char *w = put_head(start, r, server);
    if (together) {
        w = put_body(w, &r->resp, p, n, last);
        r->resp.sent += (int64_t)n;
    }
    MC_ASSERT((size_t)(w - start) <= need);
    if (in_place)
        mc_chain_commit(out, (size_t)(w - start));
    else if (mc_chain_add(out, start, (size_t)(w - start)) != MC_OK)
        return MC_ERROR;
    return together || n == 0 ? MC_OK : body(r, p, n, last);
}

static int interim(struct mc_request *r, int status, const struct mc_fields *fields)
{
    struct mc_chain *out = &r->session->out;
    size_t need = HEAD_ROOM;
    if (r->head.version == 0)
        return MC_OK; /* RFC 9110 §15.2: never to a 1.0 client */
    for (uint32_t i = 0; fields && i < fields->n; i++)
        need += fields->v[i].name.n + fields->v[i].value.n + 4;
    unsigned char *start = mc_arena_alloc(&r->arena, need), *w = start;
    if (!start)
        return MC_ERROR;
    w = put_status(w, status, MC_STR_NONE);
    if (fields)
        w = put_fields(w, fields);
    w = PUT(w, "\r\n");
    return mc_chain_add(out, start, (size_t)(w - start));
}

static int switch_to(struct mc_request *r, struct mc_str upgrade, const struct mc_fields *fields)
{
    struct mc_session *s = r->session;
    struct http1 *h = s->proto;
    struct mc_str server = mc_protocol_server(r);
    size_t need = HEAD_ROOM + server.n + upgrade.n + (fields ? fields_size(fields) : 0);
    if (r->head.version == 0 || h->r != r || h->step != STEP_WAIT)
        return MC_ERROR;
    unsigned char *start = mc_arena_alloc(&r->arena, need), *w = start;
    if (!start)
        return MC_ERROR;
    w = put_status(w, 101, MC_STR_NONE);
    if (server.n) {
        w = PUT(w, "Server: ");
        w = put_str(w, server);
        w = PUT(w, "\r\n");
    }
    if (fields)
        w = put_fields(w, fields);
    w = PUT(w, "Upgrade: ");
    w = put_str(w, upgrade);
    w = PUT(w, "\r\nConnection: upgrade\r\n\r\n");
    MC_ASSERT((size_t)(w - start) <= need);
    if (mc_chain_add(&s->out, start, (size_t)(w - start)) != MC_OK)
        return MC_ERROR;
    h->step = STEP_RAW;
    s->close = true;
    return MC_OK;
}

static const struct mc_protocol_ops ops = {
    .name = "http/1.1",
    .alpn = "http/1.1",
    .open = open_session,
    .input = input,
    .head = head,
    .body = body,
    .file = file,
    .interim = interim,
    .switch_to = switch_to,
    .finish = finish,
    .close = close_session,
};

const struct mc_module mc_module_protocol_http1 = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "http1",
    .kind = MC_MODULE_PROTOCOL,
    .ops.protocol = &ops,
};
