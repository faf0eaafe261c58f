/* FastCGI towards upstreams, as a pure codec: an exchange to records, records to events (FastCGI 1.0, responder role, one request at a time on a connection).
 * Never reads a socket or a clock. Called by server/upstream.c. Worker side. */
#include "core/http/cgi.h"
#include "core/http/gateway.h"

enum {
    VERSION = 1,
    BEGIN_REQUEST = 1,
    END_REQUEST = 3,
    PARAMS = 4,
    STDIN = 5,
    STDOUT = 6,
    STDERR = 7,
    RESPONDER = 1,
    KEEP_CONN = 1,
    REQUEST_ID = 1,
    HEADER = 8,
    MOST = 32760,        /* bytes of a record of ours: a multiple of 8, so only the last one is padded */
    PARAMS_MAX = 1 << 20 /* bytes of all variables */
};

enum step { STEP_HEADER, STEP_CONTENT, STEP_PADDING, STEP_END };

struct fastcgi {
    struct mc_cgi head;
    bool headed, all_sent, ended;
    /* the record that is being read */
    enum step step;
    uint8_t type;
    uint32_t left, padding;
    uint8_t end[8]; /* of END_REQUEST */
    uint32_t nend;
};

/* ---- request */

static int put_record(struct mc_chain *out, uint8_t type, const void *p, size_t n)
{
    static const uint8_t zeros[8];
    size_t pad = (8 - n % 8) % 8;
    const uint8_t header[HEADER] = {VERSION, type, 0, REQUEST_ID, (uint8_t)(n >> 8), (uint8_t)n, (uint8_t)pad, 0};
    if (mc_chain_add(out, header, HEADER) != MC_OK || (n && mc_chain_add(out, p, n) != MC_OK))
        return MC_ERROR;
    return pad ? mc_chain_add(out, zeros, pad) : MC_OK;
}

/* A stream: as many records as it takes; an empty one ends it. */
static int put_stream(struct mc_chain *out, uint8_t type, const char *p, size_t n)
{
    for (size_t k; n; p += k, n -= k) {
        k = n < MOST ? n : MOST;
        if (put_record(out, type, p, k) != MC_OK)
            return MC_ERROR;
    }
    return MC_OK;
}

static void add_length(struct mc_sb *sb, size_t n)
{
    if (n > 127) {
        mc_sb_addc(sb, (char)(0x80 | n >> 24));
        mc_sb_addc(sb, (char)(n >> 16));
        mc_sb_addc(sb, (char)(n >> 8));
    }
    mc_sb_addc(sb, (char)n);
}

static int put_params(struct mc_chain *out, const struct mc_fields *params)
{
    struct mc_sb sb;
    int rc = MC_ERROR;
    mc_sb_init(&sb, PARAMS_MAX);
    for (uint32_t i = 0; i < params->n; i++) {
        add_length(&sb, params->v[i].name.n);
        add_length(&sb, params->v[i].value.n);
        mc_sb_add(&sb, params->v[i].name.p, params->v[i].name.n);
        mc_sb_add(&sb, params->v[i].value.p, params->v[i].value.n);
    }
    if (!sb.bad && put_stream(out, PARAMS, sb.p, sb.n) == MC_OK)
        rc = put_record(out, PARAMS, NULL, 0);
    mc_sb_fini(&sb);
    return rc;
}

static int encode_head(struct mc_exchange *x, struct mc_chain *out)
{
    const uint8_t begin[8] = {0, RESPONDER, x->keep ? KEEP_CONN : 0};
    x->state = mc_arena_calloc(x->arena, sizeof(struct fastcgi));
    x->reply = (struct mc_head){.content_length = -1};
    x->trailers.n = 0;
    x->switched = x->reusable = false;
    x->received = 0;
    if (!x->state || put_record(out, BEGIN_REQUEST, begin, sizeof begin) != MC_OK)
        return MC_ERROR;
    return put_params(out, &x->params);
}

static int encode_body(struct mc_exchange *x, struct mc_chain *out, const void *p, size_t n, bool last)
{
    struct fastcgi *f = x->state;
    if (put_stream(out, STDIN, p, n) != MC_OK)
        return MC_ERROR;
    if (!last)
        return MC_OK;
    f->all_sent = true;
    return put_record(out, STDIN, NULL, 0);
}

/* ---- reply */

static void fail(struct mc_gw_event *ev, const char *why)
{
    ev->kind = MC_GW_ERROR;
    ev->why = why;
}

static size_t read_header(struct fastcgi *f, const char *p, size_t n, struct mc_gw_event *ev)
{
    const uint8_t *b = (const uint8_t *)p;
    if (n < HEADER)
        return 0;
    f->step = STEP_CONTENT;
    f->type = b[1];
    f->left = (uint32_t)b[4] << 8 | b[5];
    f->padding = b[6];
    f->nend = 0;
    bool known = f->type == STDOUT || f->type == STDERR || f->type == END_REQUEST;
    if (b[0] != VERSION || b[2] != 0 || b[3] != REQUEST_ID || !known)
        fail(ev, "not a record of FastCGI that was to be expected");
    return HEADER;
}

static size_t read_head(struct mc_exchange *x, struct fastcgi *f, const char *p, size_t n, struct mc_gw_event *ev)
{
    size_t used;
    int rc = mc_cgi_take(&f->head, x->arena, p, n, &used, &ev->why);
    if (rc == MC_OK)
        rc = mc_cgi_head(&f->head, x->arena, x->is_head, &x->reply, &ev->why);
    f->headed = rc == MC_OK;
    if (rc != MC_AGAIN)
        ev->kind = rc == MC_OK ? MC_GW_HEAD : MC_GW_ERROR;
    return used;
}

/* Scripts write bodies to HEAD, too. */
static void read_body(struct mc_exchange *x, const char *p, size_t n, struct mc_gw_event *ev)
{
    if (x->reply.framing == MC_BODY_NONE)
        return;
    x->received += (int64_t)n;
    if (x->reply.content_length >= 0 && x->received > x->reply.content_length) {
        fail(ev, "the reply is longer than its Content-Length");
        return;
    }
    ev->kind = MC_GW_DATA;
    ev->data = (struct mc_str){p, n};
}

static void read_stderr(const char *p, size_t n, struct mc_gw_event *ev)
{
    while (n && (p[n - 1] == '\n' || p[n - 1] == '\r' || p[n - 1] == ' '))
        n--;
    if (n == 0)
        return;
    ev->kind = MC_GW_STDERR;
    ev->data = (struct mc_str){p, n};
}

static size_t read_end(struct fastcgi *f, const char *p, size_t n)
{
    for (size_t i = 0; i < n && f->nend < sizeof f->end; i++)
        f->end[f->nend++] = (uint8_t)p[i];
    return n;
}

static size_t read_content(struct mc_exchange *x, struct fastcgi *f, const char *p, size_t n, struct mc_gw_event *ev)
{
    size_t used = n < f->left ? n : f->left;
    if (f->type == END_REQUEST)
        used = read_end(f, p, used);
    else if (f->type == STDERR)
        read_stderr(p, used, ev);
    else if (f->headed)
        read_body(x, p, used, ev);
    else
        used = read_head(x, f, p, used, ev);
    f->left -= (uint32_t)used;
    return used;
}

/* What END_REQUEST means. */
static void check_end(const struct mc_exchange *x, struct fastcgi *f, struct mc_gw_event *ev)
{
    static const char *const refusals[] = {"", "it takes no further request on this connection", "it is overloaded", "it is no responder"};
    unsigned status = f->end[4];
    f->ended = true;
    if (f->nend < sizeof f->end)
        fail(ev, "a record of FastCGI that is too short");
    else if (status)
        fail(ev, status < MC_COUNT(refusals) ? refusals[status] : "an unknown status of FastCGI");
    else if (!f->headed)
        fail(ev, "it ended the request without a reply");
    else if (x->reply.framing == MC_BODY_LENGTH && x->received < x->reply.content_length)
        fail(ev, "the reply is shorter than its Content-Length");
}

/* One step; bytes used. It stands still when it needs more bytes. */
static size_t step(struct mc_exchange *x, struct fastcgi *f, const char *p, size_t n, struct mc_gw_event *ev)
{
    size_t used = 0;
    switch (f->step) {
    case STEP_HEADER:
        return read_header(f, p, n, ev);
    case STEP_CONTENT:
        if (f->left && n)
            used = read_content(x, f, p, n, ev);
        if (f->left == 0 && ev->kind != MC_GW_ERROR) {
            f->step = STEP_PADDING;
            if (f->type == END_REQUEST)
                check_end(x, f, ev);
        }
        return used;
    case STEP_PADDING:
        used = n < f->padding ? n : f->padding;
        f->padding -= (uint32_t)used;
        if (f->padding == 0)
            f->step = f->ended ? STEP_END : STEP_HEADER;
        return used;
    case STEP_END:
        x->reusable = x->keep && f->all_sent;
        ev->kind = MC_GW_END;
    }
    return 0;
}

static void input(struct mc_exchange *x, const char *p, size_t n, bool eof, size_t *used, struct mc_gw_event *ev)
{
    struct fastcgi *f = x->state;
    enum step before;
    size_t k;
    *used = 0;
    *ev = (struct mc_gw_event){.kind = MC_GW_MORE};
    do {
        before = f->step;
        k = step(x, f, p + *used, n - *used, ev);
        *used += k;
    } while (ev->kind == MC_GW_MORE && (k > 0 || f->step != before));
    if (ev->kind == MC_GW_MORE && eof)
        fail(ev, n == 0 && f->step == STEP_HEADER && !f->headed ? "it closed the connection without a reply" : "it closed the connection within the reply");
}

const struct mc_gateway_ops mc_gateway_fastcgi = {.name = "fastcgi", .head = encode_head, .body = encode_body, .input = input};
