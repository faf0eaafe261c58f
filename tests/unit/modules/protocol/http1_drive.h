/* Drives the HTTP/1 codec (or that of DRIVE_OPS) without sockets: feeds bytes in pieces, moves the input buffer as the server may, writes down every event. */
#ifndef MC_TEST_HTTP1_DRIVE_H
#define MC_TEST_HTTP1_DRIVE_H

#include "core/base/clock.h"
#include "core/base/module.h"
#include "core/base/str.h"
#include "core/http/protocol.h"

#include <stdio.h>
#include <stdlib.h>

#ifndef DRIVE_OPS
extern const struct mc_module mc_module_protocol_http1;
#define DRIVE_OPS mc_module_protocol_http1.ops.protocol
#endif

enum feed {
    FEED_WHOLE,
    FEED_BYTES,
    FEED_AGAIN /* byte by byte, and asked again in between */,
    FEED_TIGHT /* no room behind the head */,
    FEED_COUNT
};

struct drive {
    struct mc_session s;
    struct mc_session_host host;
    struct mc_values set;
    const char *bytes;
    size_t n, fed;
    enum feed feed;
    struct mc_sb log; /* one word an event */
    struct mc_sb out; /* what the codec wrote */
    struct mc_request *live;
    bool no_request; /* request_new fails */
    bool keep_open;  /* no EOF after the last byte */
    bool silent;     /* do not answer: requests stay unfinished */
    bool cut_early;  /* answer at the head, without the body */
    /* the answer */
    const char *answer;
};

static inline struct mc_request *drive_request(struct mc_session *s)
{
    struct drive *d = mc_container(s, struct drive, s);
    struct mc_request *r = d->no_request ? NULL : calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->magic = MC_MAGIC_REQUEST;
    r->session = s;
    r->resp.length = -1;
    r->resp.date = "Sat, 21 Nov 2026 10:20:30 GMT";
    mc_arena_init(&r->arena);
    d->live = r;
    return r;
}

static inline void drive_forget(struct drive *d)
{
    struct mc_request *r = d->live;
    if (!r)
        return;
    d->s.ops->finish(r);
    mc_arena_fini(&r->arena);
    free(r);
    d->live = NULL;
}

static inline void drive_init(struct drive *d, enum feed feed)
{
    *d = (struct drive){.feed = feed, .answer = "hello"};
    d->set = (struct mc_values){
        .limit_request_line = 4094,
        .limit_request_fields = 100,
        .limit_request_field_size = 8190,
        .limit_request_head = 65536,
        .server_tokens = "name",
    };
    d->host = (struct mc_session_host){
        .set = &d->set,
        .limits = {.line = 4094, .fields = 100, .field_size = 8190, .head = 65536},
        .request_new = drive_request,
    };
    d->s = (struct mc_session){.ops = DRIVE_OPS, .host = &d->host, .allow_keepalive = true};
    mc_chain_init(&d->s.out);
    mc_sb_init(&d->log, 1 << 24);
    mc_sb_init(&d->out, 1 << 24);
    if (d->s.ops->open(&d->s) != MC_OK)
        abort();
}

static inline void drive_fini(struct drive *d)
{
    drive_forget(d);
    d->s.ops->close(&d->s);
    mc_chain_fini(&d->s.out);
    free(d->s.in.data);
    mc_sb_fini(&d->log);
    mc_sb_fini(&d->out);
}

static inline void drive_take_output(struct drive *d)
{
    struct iovec iov[8];
    while (!mc_chain_empty(&d->s.out)) {
        int n = mc_chain_iov(&d->s.out, iov, 8);
        size_t sum = 0;
        for (int i = 0; i < n; i++) {
            mc_sb_add(&d->out, iov[i].iov_base, iov[i].iov_len);
            sum += iov[i].iov_len;
        }
        if (n == 0) {
            struct mc_seg *seg = d->s.out.head;
            for (off_t i = 0; i < seg->len; i++)
                mc_sb_addc(&d->out, 'F');
            sum = (size_t)seg->len;
        }
        mc_chain_consume(&d->s.out, (off_t)sum);
    }
}

/* The answer of a respond handler. */
static inline void drive_answer(struct drive *d, int status)
{
    struct mc_request *r = d->live;
    if (!r)
        r = drive_request(&d->s);
    if (r) {
        r->resp.status = status;
        if (d->s.ops->head(r, d->answer, strlen(d->answer), true) != MC_OK)
            abort();
        drive_forget(d);
    }
    drive_take_output(d);
}

/* Room for more input, made as a server makes it: the unread bytes move, the head of a live request stays. */
static inline void drive_room(struct drive *d, size_t more)
{
    struct mc_inbuf *in = &d->s.in;
    if (in->keep == 0) { /* nobody looks at it: a new place for everything */
        size_t left = in->len - in->pos, cap = left + more + (d->feed == FEED_TIGHT ? 0 : 2 * MC_INBUF_ROOM);
        char *fresh = malloc(cap);
        if (!fresh)
            abort();
        if (left)
            memcpy(fresh, in->data + in->pos, left);
        if (in->data)
            memset(in->data, 0xee, in->cap);
        free(in->data);
        *in = (struct mc_inbuf){.data = fresh, .len = left, .cap = cap, .eof = in->eof};
        return;
    }
    memmove(in->data + in->keep, in->data + in->pos, in->len - in->pos);
    in->len -= in->pos - in->keep;
    in->pos = in->keep;
    if (in->cap - in->len < more)
        abort();
}

static inline bool drive_more(struct drive *d)
{
    struct mc_inbuf *in = &d->s.in;
    size_t n = d->n - d->fed;
    if (n == 0) {
        bool was = in->eof;
        if (!d->keep_open)
            in->eof = true;
        return in->eof && !was;
    }
    if (d->feed != FEED_WHOLE)
        n = 1;
    else if (in->keep && n > MC_INBUF_ROOM)
        n = MC_INBUF_ROOM;
    drive_room(d, n);
    memcpy(in->data + in->len, d->bytes + d->fed, n);
    in->len += n;
    d->fed += n;
    return true;
}

static inline void drive_head(struct drive *d, struct mc_request *r)
{
    mc_sb_addf(&d->log, "HEAD %.*s %.*s", (int)r->head.method.n, r->head.method.p, (int)r->path.n, r->path.p);
    if (r->uri.query.p)
        mc_sb_addf(&d->log, "?%.*s", (int)r->uri.query.n, r->uri.query.p);
    mc_sb_addf(&d->log, " %.*s", (int)r->head.host.n, r->head.host.p);
    for (uint32_t i = 0; i < r->head.fields.n; i++) {
        const struct mc_field *f = &r->head.fields.v[i];
        if (f->id != MC_F_HOST)
            mc_sb_addf(&d->log, " %.*s=%.*s", (int)f->name.n, f->name.p, (int)f->value.n, f->value.p);
    }
    mc_sb_addz(&d->log, r->head.keepalive ? " keep [" : " close [");
}

static inline void drive_end(struct drive *d, struct mc_request *r)
{
    const struct mc_fields *trailers = &r->body.trailers;
    for (uint32_t i = 0; i < trailers->n; i++)
        mc_sb_addf(&d->log, "|%.*s=%.*s", (int)trailers->v[i].name.n, trailers->v[i].name.p, (int)trailers->v[i].value.n, trailers->v[i].value.p);
    mc_sb_addz(&d->log, "] END; ");
    if (!d->silent)
        drive_answer(d, 200);
}

/* Run all of the bytes through; returns the events: "HEAD GET / localhost keep [body] END; EOF". */
static inline const char *drive_run(struct drive *d, const char *bytes, size_t n)
{
    struct mc_input ev;
    d->bytes = bytes;
    d->n = n;
    d->fed = 0;
    for (;;) {
        d->s.ops->input(&d->s, &ev);
        switch (ev.kind) {
        case MC_IN_HEAD:
            drive_head(d, ev.r);
            if (d->cut_early)
                drive_answer(d, 200);
            else if (ev.whole)
                drive_end(d, ev.r);
            break;
        case MC_IN_DATA:
            mc_sb_add(&d->log, ev.data.p, ev.data.n);
            break;
        case MC_IN_END:
            drive_end(d, ev.r);
            break;
        case MC_IN_ERROR:
            mc_sb_addf(&d->log, "ERROR %d; ", ev.status);
            drive_answer(d, ev.status);
            return mc_sb_z(&d->log);
        case MC_IN_CUT:
            mc_sb_addz(&d->log, ev.r ? "CUT body; " : "CUT head; ");
            drive_forget(d);
            return mc_sb_z(&d->log);
        case MC_IN_EOF:
            mc_sb_addz(&d->log, "EOF");
            return mc_sb_z(&d->log);
        case MC_IN_MORE:
            if (ev.busy) {
                mc_sb_addz(&d->log, "BUSY");
                return mc_sb_z(&d->log);
            }
            if (d->feed == FEED_AGAIN) {
                struct mc_input again;
                d->s.ops->input(&d->s, &again);
                if (again.kind != MC_IN_MORE || again.started != ev.started || again.busy)
                    abort();
            }
            if (drive_more(d))
                break;
            mc_sb_addz(&d->log, ev.started ? "MORE started" : "MORE");
            return mc_sb_z(&d->log);
        }
    }
}

#endif
