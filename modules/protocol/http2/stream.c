/* The codec of one stream's session. In: what the frames brought becomes events, at the pace at which they are asked for; the window of the stream follows.
 * Out: heads and pieces of the body become records in the session's queue, which output.c makes frames of. What writes records may run on any thread: it
 * touches the request and that queue only. Worker side. */
#include "modules/protocol/http2/http2.h"

#include "core/http/status.h"

#include <stdlib.h>

enum { ONE_GO = 8192 };

static int open_session(struct mc_session *s)
{
    (void)s;
    return MC_ERROR; /* streams are made by their carrier */
}

/* ---- in */

/* What was handed out last is used up. */
static void consume(struct mc_http2_stream *st)
{
    if (st->handed == 0)
        return;
    mc_chain_consume(&st->in, (off_t)st->handed);
    if (!st->closed) {
        (void)nghttp2_session_consume_stream(st->h->ng, st->id, st->handed);
        mc_http2_tell(st, MC_STREAM_WORK, 0);
    }
    st->handed = 0;
}

static void input_body(struct mc_http2_stream *st, struct mc_input *ev)
{
    if (st->tunnel && !st->r->resp.switched) { /* what comes early waits for the answer */
        st->step = MC_H2_WAIT;
        ev->kind = MC_IN_END;
        return;
    }
    struct iovec iov;
    if (mc_chain_iov(&st->in, &iov, 1) == 1) {
        ev->kind = MC_IN_DATA;
        ev->data = (struct mc_str){iov.iov_base, iov.iov_len};
        st->handed = iov.iov_len;
        return;
    }
    if (!st->ended)
        return; /* MORE */
    st->step = MC_H2_WAIT;
    ev->status = mc_http2_head_take_trailers(st);
    ev->kind = ev->status ? MC_IN_ERROR : MC_IN_END;
    if (st->r->head.framing == MC_BODY_CHUNKED)
        st->r->body.length = st->r->body.received;
}

static void input(struct mc_session *s, struct mc_input *ev)
{
    struct mc_http2_stream *st = s->proto;
    *ev = (struct mc_input){.kind = MC_IN_MORE, .r = st->r};
    switch (st->step) {
    case MC_H2_HEAD:
        st->step = st->status ? MC_H2_WAIT : MC_H2_BODY;
        ev->kind = st->status ? MC_IN_ERROR : MC_IN_HEAD;
        ev->status = st->status;
        return;
    case MC_H2_BODY:
        consume(st);
        input_body(st, ev);
        return;
    case MC_H2_WAIT:
        ev->busy = true;
        return;
    }
}

/* ---- records */

static int put_record(struct mc_session *s, struct mc_http2_record rec)
{
    return mc_chain_add(&s->out, &rec, sizeof(rec));
}

static size_t field_size(struct mc_str name, struct mc_str value)
{
    return sizeof(struct mc_http2_lengths) + name.n + value.n;
}

static size_t fields_size(const struct mc_fields *f)
{
    size_t n = 0;
    for (uint32_t i = 0; f && i < f->n; i++)
        n += field_size(f->v[i].name, f->v[i].value);
    return n;
}

/* A record with fields is written in one go where a block holds it. */
struct pen {
    struct mc_chain *out;
    unsigned char *w; /* NULL: piece by piece */
    size_t n;
    bool failed;
};

static void write_bytes(struct pen *p, const void *from, size_t n)
{
    if (n == 0)
        return;
    if (p->w)
        p->w = mempcpy(p->w, from, n);
    else if (!p->failed)
        p->failed = mc_chain_add(p->out, from, n) != MC_OK;
}

static struct pen begin_record(struct mc_session *s, struct mc_http2_record rec)
{
    struct pen p = {.out = &s->out, .n = sizeof(rec) + (size_t)rec.n};
    if (p.n <= ONE_GO) {
        p.w = mc_chain_reserve(p.out, p.n);
        p.failed = !p.w;
    }
    write_bytes(&p, &rec, sizeof(rec));
    return p;
}

static void write_field(struct pen *p, struct mc_str name, struct mc_str value)
{
    struct mc_http2_lengths l = {(uint32_t)name.n, (uint32_t)value.n};
    write_bytes(p, &l, sizeof(l));
    write_bytes(p, name.p, name.n);
    write_bytes(p, value.p, value.n);
}

static void write_fields(struct pen *p, const struct mc_fields *f)
{
    for (uint32_t i = 0; f && i < f->n; i++)
        write_field(p, f->v[i].name, f->v[i].value);
}

static int end_record(struct pen *p)
{
    if (p->w)
        mc_chain_commit(p->out, p->n);
    return p->failed ? MC_ERROR : MC_OK;
}

/* ---- out */

static int interim(struct mc_request *r, int status, const struct mc_fields *fields)
{
    struct mc_session *s = r->session;
    struct pen p = begin_record(s, (struct mc_http2_record){.kind = MC_RECORD_HEAD, .status = (uint16_t)status, .n = fields_size(fields)});
    write_fields(&p, fields);
    return end_record(&p);
}

static int body(struct mc_request *r, const void *p, size_t n, bool last);

/* A body may always have trailers behind it, as each has an end of its own; so `chunked` is true when nobody knows its length. */
static void decide(struct mc_request *r, size_t n, bool last)
{
    struct mc_response *resp = &r->resp;
    resp->bodyless = r->is_head || mc_status_bodyless(resp->status);
    if (resp->status == 204)
        resp->length = -1;
    else if (resp->length < 0 && last && resp->trailers.n == 0 && (n || !resp->bodyless) && resp->status != 304)
        resp->length = (int64_t)n;
    resp->chunked = !resp->bodyless && resp->length < 0;
    resp->direct = false; /* there is a record before every piece */
    resp->close = true;   /* one request a stream */
}

/* A 2xx without a tunnel would tell the client of an extended CONNECT that it has one. */
static int no_tunnel(struct mc_request *r)
{
    struct mc_session *s = r->session;
    struct mc_response *resp = &r->resp;
    resp->status = 501;
    resp->bodyless = resp->close = true;
    resp->chunked = resp->direct = false;
    struct mc_http2_record rec = {.kind = MC_RECORD_HEAD, .status = 501, .flags = MC_RECORD_LAST};
    rec.n = resp->date ? field_size(MC_STR("date"), (struct mc_str){resp->date, MC_HTTP_DATE_LEN}) : 0;
    struct pen p = begin_record(s, rec);
    if (resp->date)
        write_field(&p, MC_STR("date"), (struct mc_str){resp->date, MC_HTTP_DATE_LEN});
    return end_record(&p);
}

static int head(struct mc_request *r, const void *p, size_t n, bool last)
{
    struct mc_session *s = r->session;
    struct mc_response *resp = &r->resp;
    char length[24];
    if (r->head.upgrade && resp->status >= 200 && resp->status < 300)
        return no_tunnel(r);
    decide(r, n, last);
    struct mc_str server = mc_protocol_server(r), date = {resp->date, resp->has_date || !resp->date ? 0 : MC_HTTP_DATE_LEN};
    struct mc_str number = {length, resp->length >= 0 ? mc_str_u64(length, (uint64_t)resp->length) : 0};
    bool over = resp->bodyless || (last && n == 0 && resp->trailers.n == 0);
    struct mc_http2_record rec = {.kind = MC_RECORD_HEAD, .status = (uint16_t)resp->status, .flags = over ? MC_RECORD_LAST : 0};
    rec.n = fields_size(&resp->fields);
    rec.n += server.n ? field_size(MC_STR("server"), server) : 0;
    rec.n += date.n ? field_size(MC_STR("date"), date) : 0;
    rec.n += number.n ? field_size(MC_STR("content-length"), number) : 0;
    struct pen pen = begin_record(s, rec);
    if (server.n)
        write_field(&pen, MC_STR("server"), server);
    if (date.n)
        write_field(&pen, MC_STR("date"), date);
    write_fields(&pen, &resp->fields);
    if (number.n)
        write_field(&pen, MC_STR("content-length"), number);
    if (end_record(&pen) != MC_OK)
        return MC_ERROR;
    return over || (n == 0 && !last) ? MC_OK : body(r, p, n, last);
}

/* What was promised and does not come must not look like the whole. */
static int put_end(struct mc_request *r)
{
    struct mc_session *s = r->session;
    const struct mc_response *resp = &r->resp;
    if (resp->length > resp->sent)
        return put_record(s, (struct mc_http2_record){.kind = MC_RECORD_RESET, .code = NGHTTP2_INTERNAL_ERROR});
    struct mc_http2_record rec = {.kind = MC_RECORD_DATA, .flags = MC_RECORD_LAST};
    if (resp->trailers.n) {
        rec.flags |= MC_RECORD_TRAILERS;
        rec.n = fields_size(&resp->trailers);
    }
    struct pen p = begin_record(s, rec);
    write_fields(&p, &resp->trailers);
    return end_record(&p);
}

/* Our side of a tunnel is closed already. On the loop. */
static bool shut(struct mc_http2_stream *st, bool last)
{
    bool before = st->shut;
    st->shut |= last;
    return before;
}

static int body(struct mc_request *r, const void *p, size_t n, bool last)
{
    struct mc_session *s = r->session;
    struct mc_response *resp = &r->resp;
    if (resp->bodyless || (resp->switched && shut(s->proto, last)))
        return MC_OK;
    resp->sent += (int64_t)n;
    bool end = last && resp->trailers.n == 0 && resp->length <= resp->sent;
    if (n > 0 || end) {
        struct mc_http2_record rec = {.kind = MC_RECORD_DATA, .n = n, .flags = end ? MC_RECORD_LAST : 0};
        if (put_record(s, rec) != MC_OK || mc_chain_add(&s->out, p, n) != MC_OK)
            return MC_ERROR;
    }
    return last && !end ? put_end(r) : MC_OK;
}

static int file(struct mc_request *r, struct mc_file *f, off_t off, off_t n, bool last)
{
    struct mc_session *s = r->session;
    if (n == 0 || r->resp.bodyless)
        return body(r, NULL, 0, last);
    r->resp.sent += n;
    if (put_record(s, (struct mc_http2_record){.kind = MC_RECORD_DATA, .n = (uint64_t)n}) != MC_OK || mc_chain_add_file(&s->out, f, off, n) != MC_OK)
        return MC_ERROR;
    return last ? put_end(r) : MC_OK;
}

/* On the loop. What stands for 101 in HTTP/2 is 200 without an end; and without what only 101 needs. */
static int switch_to(struct mc_request *r, struct mc_str upgrade, const struct mc_fields *fields)
{
    struct mc_session *s = r->session;
    struct mc_http2_stream *st = s->proto;
    struct mc_fields kept = {.n = 0};
    (void)upgrade;
    if (!st->tunnel || st->r != r || st->step != MC_H2_WAIT || !mc_http2_tunnel_accepted(r, fields))
        return MC_ERROR;
    for (uint32_t i = 0; fields && i < fields->n; i++) {
        const struct mc_field *f = &fields->v[i];
        if (!mc_str_eq_nocase(f->name, MC_STR("sec-websocket-accept")) && mc_fields_add(&kept, &r->arena, f->name, f->value) != MC_OK)
            return MC_ERROR;
    }
    struct mc_str server = mc_protocol_server(r);
    struct mc_http2_record rec = {.kind = MC_RECORD_HEAD, .status = 200};
    rec.n = fields_size(&kept) + (server.n ? field_size(MC_STR("server"), server) : 0);
    struct pen p = begin_record(s, rec);
    if (server.n)
        write_field(&p, MC_STR("server"), server);
    write_fields(&p, &kept);
    if (end_record(&p) != MC_OK)
        return MC_ERROR;
    r->resp.direct = false;
    st->step = MC_H2_BODY;
    s->close = true;
    return MC_OK;
}

/* ---- the end */

static void finish(struct mc_request *r)
{
    struct mc_session *s = r->session;
    struct mc_http2_stream *st = s->proto;
    s->close = true; /* a stream has one request */
    if (r->resp.state != MC_RESP_DONE)
        st->aborted = true;
    if (r->resp.state == MC_RESP_ABORTED)
        (void)put_record(s, (struct mc_http2_record){.kind = MC_RECORD_RESET, .code = NGHTTP2_INTERNAL_ERROR});
    if (st->r == r)
        st->r = NULL;
}

/* The connection of the stream goes: if the stream is not over, the peer is told. */
static void close_session(struct mc_session *s)
{
    struct mc_http2_stream *st = s->proto;
    struct mc_http2 *h = st->h;
    if (!st->closed) {
        bool whole = st->end && st->end_held == 0 && !st->aborted; /* all of the answer is out; what the client still sends is of no use */
        (void)nghttp2_session_set_stream_user_data(h->ng, st->id, NULL);
        (void)nghttp2_submit_rst_stream(h->ng, NGHTTP2_FLAG_NONE, st->id, whole ? NGHTTP2_NO_ERROR : st->aborted ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_CANCEL);
    }
    if (st->r && st->step == MC_H2_HEAD) /* reset before anybody looked at it */
        s->host->request_free(st->r);
    mc_list_remove(&st->link);
    h->nstreams--;
    mc_chain_fini(&st->in);
    mc_chain_fini(&st->raw);
    mc_chain_fini(&st->body);
    free(st->trailers);
    free(st->tail);
    mc_small_put(st);
    s->proto = NULL;
}

const struct mc_protocol_ops mc_http2_stream_ops = {
    .name = "http/2 stream",
    .open = open_session,
    .input = input,
    .head = head,
    .body = body,
    .file = file,
    .interim = interim,
    .switch_to = switch_to,
    .finish = finish,
    .close = close_session,
    .any_trailers = true,
};
