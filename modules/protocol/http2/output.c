/* From records to frames: what the streams have written is given to nghttp2, which decides by windows and priorities (RFC 9218) whose DATA comes next.
 * Bodies go from the stream's queue to the carrier's without a copy where a frame holds a whole block; of files a frame's worth is read right behind its
 * header, so that a TLS record can take both from there. Worker side, on the loop. */
#include "modules/protocol/http2/http2.h"

#include <stdlib.h>
#include <unistd.h>

enum {
    FRAME_HEADER = 9,
    FRAME_MAX = MC_BLOCK_LARGE - sizeof(struct mc_seg) - FRAME_HEADER, /* fits a block with its header */
    LINK_MIN = 4096, /* from here on a block is passed on as it is */
    FIELDS_FEW = 64,
};

/* Copy the first n bytes (n <= c->total). MC_OK or MC_ERROR: a file is shorter than promised. */
static int peek(const struct mc_chain *c, void *p, size_t n)
{
    char *to = p;
    for (const struct mc_seg *g = c->head; n > 0; g = g->next) {
        size_t len = g->kind == MC_SEG_MEM ? (size_t)(g->last - g->pos) : g->len < (off_t)n ? (size_t)g->len : n;
        size_t part = len < n ? len : n;
        if (g->kind == MC_SEG_MEM)
            memcpy(to, g->pos, part);
        else if (pread(g->file->fd, to, part, g->off) != (ssize_t)part)
            return MC_ERROR;
        to += part;
        n -= part;
    }
    return MC_OK;
}

static void drop(struct mc_http2_stream *st, struct mc_chain *c, size_t n)
{
    mc_chain_consume(c, (off_t)n);
    mc_http2_tell(st, MC_STREAM_TAKEN, n);
}

void mc_http2_ended(struct mc_http2_stream *st)
{
    size_t n = st->end_held;
    st->end_held = 0;
    if (n)
        mc_http2_tell(st, MC_STREAM_TAKEN, n);
}

/* ---- heads */

static nghttp2_nv pair(const char *name, size_t n, const char *value, size_t m)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, n, m, NGHTTP2_NV_FLAG_NONE};
}

/* text: fields as a record has them; v: room for one more than there are. The number of pairs, behind those that are there. */
static size_t to_pairs(const char *text, size_t n, nghttp2_nv *v, size_t at)
{
    for (size_t used = 0; used < n;) {
        struct mc_http2_lengths l;
        memcpy(&l, text + used, sizeof(l));
        used += sizeof(l);
        v[at++] = pair(text + used, l.name, text + used + l.name, l.value);
        used += l.name + l.value;
    }
    return at;
}

static size_t count_pairs(const char *text, size_t n)
{
    size_t count = 0;
    for (size_t used = 0; used < n; count++) {
        struct mc_http2_lengths l;
        memcpy(&l, text + used, sizeof(l));
        used += sizeof(l) + l.name + l.value;
    }
    return count;
}

static ssize_t read_body(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t length, uint32_t *flags, nghttp2_data_source *source, void *user);

static int submit_head(struct mc_http2_stream *st, const struct mc_http2_record *rec, const nghttp2_nv *v, size_t n)
{
    nghttp2_session *ng = st->h->ng;
    nghttp2_data_provider data = {.source.ptr = st, .read_callback = read_body};
    bool last = rec->flags & MC_RECORD_LAST;
    if (rec->status < 200)
        return nghttp2_submit_headers(ng, NGHTTP2_FLAG_NONE, st->id, NULL, v, n, NULL) == 0 ? MC_OK : MC_ERROR;
    st->headed = true;
    return nghttp2_submit_response(ng, st->id, v, n, last ? NULL : &data) == 0 ? MC_OK : MC_ERROR;
}

static int encode_head(struct mc_http2_stream *st, const struct mc_http2_record *rec, const char *text)
{
    nghttp2_nv few[FIELDS_FEW], *v = few;
    char status[4] = {(char)('0' + rec->status / 100), (char)('0' + rec->status / 10 % 10), (char)('0' + rec->status % 10), 0};
    size_t n = count_pairs(text, (size_t)rec->n) + 1;
    if (n > FIELDS_FEW && !(v = calloc(n, sizeof(*v))))
        return MC_ERROR;
    v[0] = pair(":status", 7, status, 3);
    int rc = submit_head(st, rec, v, to_pairs(text, (size_t)rec->n, v, 1));
    if (v != few)
        free(v);
    return rc;
}

static void submit_trailers(struct mc_http2_stream *st)
{
    size_t n = count_pairs(st->tail, st->tail_n);
    nghttp2_nv *v = calloc(n + 1, sizeof(*v));
    if (!v || nghttp2_submit_trailer(st->h->ng, st->id, v, to_pairs(st->tail, st->tail_n, v, 0)) != 0)
        (void)nghttp2_submit_rst_stream(st->h->ng, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_INTERNAL_ERROR);
    free(v);
}

/* ---- records */

/* Body bytes have come, or the end. */
static void resume(struct mc_http2_stream *st)
{
    if (st->waits)
        (void)nghttp2_session_resume_data(st->h->ng, st->id);
    st->waits = false;
}

static void reset(struct mc_http2_stream *st, uint32_t code)
{
    st->aborted = true;
    (void)nghttp2_submit_rst_stream(st->h->ng, NGHTTP2_FLAG_NONE, st->id, code);
}

/* A record whose n bytes are here: a head, or trailers. */
static int take_fields(struct mc_http2_stream *st, const struct mc_http2_record *rec)
{
    const struct mc_seg *g = st->raw.head;
    bool head = rec->kind == MC_RECORD_HEAD, whole = head && rec->n > 0 && g->kind == MC_SEG_MEM && (uint64_t)(g->last - g->pos) >= rec->n;
    char *copy = whole ? NULL : malloc((size_t)rec->n + 1);
    int rc = MC_ERROR;
    if (whole || (copy && peek(&st->raw, copy, (size_t)rec->n) == MC_OK))
        rc = head ? encode_head(st, rec, whole ? (const char *)g->pos : copy) : MC_OK;
    mc_chain_consume(&st->raw, (off_t)rec->n);
    if (rc == MC_OK && !head) {
        st->tail = copy;
        st->tail_n = (size_t)rec->n;
        copy = NULL;
    }
    free(copy);
    return rc;
}

static int take_record(struct mc_http2_stream *st, const struct mc_http2_record *rec)
{
    bool fields = rec->kind == MC_RECORD_HEAD || (rec->flags & MC_RECORD_TRAILERS), last = rec->flags & MC_RECORD_LAST;
    size_t size = sizeof(*rec) + (fields ? (size_t)rec->n : 0);
    if (st->raw.total < (off_t)size)
        return MC_AGAIN;
    mc_chain_consume(&st->raw, sizeof(*rec));
    if (last)
        st->end_held = size;
    if (fields) {
        if (take_fields(st, rec) != MC_OK)
            return MC_ERROR;
        st->end = last;
    } else if (rec->kind == MC_RECORD_DATA) {
        st->data_left = rec->n;
        st->data_last = last;
        st->end = last && rec->n == 0;
    } else {
        reset(st, rec->code);
    }
    if (!last)
        mc_http2_tell(st, MC_STREAM_TAKEN, size);
    if (st->end)
        resume(st);
    return MC_OK;
}

static int take_data(struct mc_http2_stream *st)
{
    off_t n = st->raw.total < (off_t)st->data_left ? st->raw.total : (off_t)st->data_left;
    if (n == 0)
        return MC_AGAIN;
    if (mc_chain_take(&st->body, &st->raw, n) != MC_OK)
        return MC_ERROR;
    st->data_left -= (uint64_t)n;
    st->end = st->data_left == 0 && st->data_last;
    resume(st);
    return MC_OK;
}

int mc_http2_give(struct mc_session *stream, struct mc_chain *bytes)
{
    struct mc_http2_stream *st = stream->proto;
    struct mc_http2_record rec;
    int rc = MC_OK;
    if (st->closed) {
        drop(st, bytes, (size_t)bytes->total);
        return MC_OK;
    }
    mc_chain_move(&st->raw, bytes);
    while (rc == MC_OK) {
        if (st->data_left > 0)
            rc = take_data(st);
        else if (st->raw.total < (off_t)sizeof(rec))
            rc = MC_AGAIN;
        else
            rc = peek(&st->raw, &rec, sizeof(rec)) == MC_OK ? take_record(st, &rec) : MC_ERROR;
    }
    if (rc == MC_ERROR)
        reset(st, NGHTTP2_INTERNAL_ERROR);
    return rc == MC_ERROR ? MC_ERROR : MC_OK;
}

/* ---- frames */

/* How much of the body the next frame takes; the bytes are fetched by mc_http2_send_data(). */
static ssize_t read_body(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t length, uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct mc_http2_stream *st = mc_http2_stream_of(user, id);
    (void)ng, (void)buf, (void)source;
    if (!st)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    off_t n = st->body.total < (off_t)length ? st->body.total : (off_t)length;
    const struct mc_seg *g = st->body.head;
    if (n == 0 && !st->end) {
        st->waits = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (n > FRAME_MAX)
        n = FRAME_MAX;
    if (n > 0 && g->kind == MC_SEG_MEM && g->last - g->pos >= LINK_MIN && n > g->last - g->pos)
        n = g->last - g->pos;
    if (n > 0)
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (st->end && n == st->body.total) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (st->tail) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            submit_trailers(st);
        }
    }
    return (ssize_t)n;
}

static int copy_data(struct mc_chain *out, struct mc_chain *body, const uint8_t *head, size_t n)
{
    unsigned char *w = mc_chain_reserve(out, FRAME_HEADER + n);
    if (!w)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    memcpy(w, head, FRAME_HEADER);
    if (peek(body, w + FRAME_HEADER, n) != MC_OK) {
        mc_chain_commit(out, 0);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* the stream is reset */
    }
    mc_chain_commit(out, FRAME_HEADER + n);
    mc_chain_consume(body, (off_t)n);
    return 0;
}

int mc_http2_send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *framehd, size_t length, nghttp2_data_source *source, void *user)
{
    struct mc_http2 *h = user;
    struct mc_http2_stream *st = mc_http2_stream_of(h, frame->hd.stream_id);
    struct mc_chain *out = &h->s->out;
    int rc = 0;
    (void)ng, (void)source;
    if ((size_t)out->total >= h->out_max)
        return NGHTTP2_ERR_WOULDBLOCK;
    if (!st || st->body.total < (off_t)length)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    const struct mc_seg *g = st->body.head;
    if (g->kind == MC_SEG_MEM && length >= LINK_MIN && (size_t)(g->last - g->pos) == length) {
        if (mc_chain_add(out, framehd, FRAME_HEADER) != MC_OK || mc_chain_take(out, &st->body, (off_t)length) != MC_OK)
            rc = NGHTTP2_ERR_CALLBACK_FAILURE;
    } else {
        rc = copy_data(out, &st->body, framehd, length);
    }
    if (rc == 0) {
        mc_http2_tell(st, MC_STREAM_TAKEN, length);
        mc_http2_credit(h, MC_COST_UPDATE, 4); /* for the stream and for the connection, and as much again */
    }
    return rc;
}

int mc_http2_output(struct mc_session *carrier, size_t max)
{
    struct mc_http2 *h = carrier->proto;
    const uint8_t *p;
    h->out_max = max;
    while ((size_t)carrier->out.total < max) {
        ssize_t n = nghttp2_session_mem_send(h->ng, &p);
        if (n < 0)
            return MC_ERROR;
        if (n == 0)
            break;
        if (mc_chain_add(&carrier->out, p, (size_t)n) != MC_OK)
            return MC_ERROR;
    }
    bool over = !nghttp2_session_want_read(h->ng) && !nghttp2_session_want_write(h->ng);
    return over ? MC_DECLINED : MC_OK;
}
