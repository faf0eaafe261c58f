/* uwsgi towards upstreams, as a pure codec: a packet of variables in place of a head, then the body as it is. The reply is that of HTTP/1.x, mostly with a status
 * line, or a CGI head; it ends with its length or with the connection. Never reads a socket or a clock. Called by server/upstream.c. Worker side. */
#include "core/http/cgi.h"
#include "core/http/gateway.h"

enum { VARS_MAX = 65535 };

struct uwsgi {
    struct mc_cgi head;
    bool headed;
};

/* ---- request */

static void add_text(struct mc_sb *sb, struct mc_str s)
{
    if (s.n > VARS_MAX) {
        sb->bad = true;
        return;
    }
    mc_sb_addc(sb, (char)s.n);
    mc_sb_addc(sb, (char)(s.n >> 8));
    mc_sb_add(sb, s.p, s.n);
}

static int encode_head(struct mc_exchange *x, struct mc_chain *out)
{
    struct mc_sb sb;
    uint8_t modifiers[2] = {0, 0};
    if (x->target.n == 2)
        memcpy(modifiers, x->target.p, 2);
    x->state = mc_arena_calloc(x->arena, sizeof(struct uwsgi));
    x->reply = (struct mc_head){.content_length = -1};
    x->trailers.n = 0;
    x->switched = x->reusable = false;
    x->received = 0;
    mc_sb_init(&sb, VARS_MAX);
    for (uint32_t i = 0; i < x->params.n; i++) {
        add_text(&sb, x->params.v[i].name);
        add_text(&sb, x->params.v[i].value);
    }
    const uint8_t header[4] = {modifiers[0], (uint8_t)sb.n, (uint8_t)(sb.n >> 8), modifiers[1]};
    int rc = MC_ERROR;
    if (x->state && !sb.bad && mc_chain_add(out, header, sizeof header) == MC_OK)
        rc = mc_chain_add(out, sb.p, sb.n);
    mc_sb_fini(&sb);
    return rc;
}

static int encode_body(struct mc_exchange *x, struct mc_chain *out, const void *p, size_t n, bool last)
{
    (void)x;
    (void)last;
    return n ? mc_chain_add(out, p, n) : MC_OK;
}

/* ---- reply */

static void fail(struct mc_gw_event *ev, const char *why)
{
    ev->kind = MC_GW_ERROR;
    ev->why = why;
}

static void read_head(struct mc_exchange *x, struct uwsgi *u, const char *p, size_t n, bool eof, size_t *used, struct mc_gw_event *ev)
{
    int rc = mc_cgi_take(&u->head, x->arena, p, n, used, &ev->why);
    if (rc == MC_AGAIN) {
        if (eof)
            fail(ev, u->head.n ? "it closed the connection within the head of the reply" : "it closed the connection without a reply");
        return;
    }
    if (rc == MC_OK)
        rc = mc_cgi_head(&u->head, x->arena, x->is_head, &x->reply, &ev->why);
    u->headed = rc == MC_OK;
    ev->kind = rc == MC_OK ? MC_GW_HEAD : MC_GW_ERROR;
}

static void input(struct mc_exchange *x, const char *p, size_t n, bool eof, size_t *used, struct mc_gw_event *ev)
{
    struct uwsgi *u = x->state;
    const struct mc_head *r = &x->reply;
    *used = 0;
    *ev = (struct mc_gw_event){.kind = MC_GW_MORE};
    if (!u->headed) {
        read_head(x, u, p, n, eof, used, ev);
        return;
    }
    bool whole = r->framing == MC_BODY_NONE || (r->framing == MC_BODY_LENGTH && x->received == r->content_length);
    if (whole || (n == 0 && eof && r->framing == MC_BODY_CLOSE)) {
        ev->kind = MC_GW_END;
        return;
    }
    if (n == 0) {
        if (eof)
            fail(ev, "it closed the connection within the body of the reply");
        return;
    }
    if (r->framing == MC_BODY_LENGTH && (int64_t)n > r->content_length - x->received)
        n = (size_t)(r->content_length - x->received);
    *used = n;
    x->received += (int64_t)n;
    ev->kind = MC_GW_DATA;
    ev->data = (struct mc_str){p, n};
}

const struct mc_gateway_ops mc_gateway_uwsgi = {.name = "uwsgi", .head = encode_head, .body = encode_body, .input = input};
