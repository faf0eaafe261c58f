/* Module protocol/http2: a connection's session on nghttp2, its settings, and what its frames mean for us. Everything that a peer may do without end has
 * a bound (flood.c). Pure: bytes in, bytes out; the server turns streams into connections (core/server/mux.h). Worker side, on the loop. */
#include "modules/protocol/http2/http2.h"

#include "core/base/module.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    WINDOW = 1 << 20,  /* of the connection: never the one that holds a stream up, as its bytes count as taken when they come */
};

/* ---- frames that come */

static int on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *user)
{
    static const uint8_t costs[] = {
        [NGHTTP2_PRIORITY] = MC_COST_PRIORITY + 1,     [NGHTTP2_RST_STREAM] = MC_COST_RESET + 1,
        [NGHTTP2_SETTINGS] = MC_COST_SETTINGS + 1,     [NGHTTP2_PING] = MC_COST_PING + 1,
        [NGHTTP2_WINDOW_UPDATE] = MC_COST_UPDATE + 1,  [NGHTTP2_CONTINUATION] = MC_COST_CONTINUATION + 1,
        [NGHTTP2_PRIORITY_UPDATE] = MC_COST_PRIORITY + 1,
    };
    struct mc_http2 *h = user;
    if (hd->type == NGHTTP2_PRIORITY && hd->stream_id == 0) { /* nghttp2 leaves all of them out, as priorities come with RFC 9218 */
        h->over = true;
        return nghttp2_session_terminate_session(ng, NGHTTP2_PROTOCOL_ERROR) == 0 ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (hd->type < MC_COUNT(costs) && costs[hd->type])
        return mc_http2_pay(h, (enum mc_http2_cost)(costs[hd->type] - 1)) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
    return 0; /* what nghttp2 does not know costs no more than its bytes */
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    (void)ng, (void)frame;
    mc_http2_head_begin(user);
    return 0;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t n, const uint8_t *value, size_t m, uint8_t flags,
                     void *user)
{
    struct mc_http2 *h = user;
    (void)ng, (void)frame, (void)flags;
    if (mc_http2_head_add(h, (struct mc_str){(const char *)name, n}, (struct mc_str){(const char *)value, m}) == MC_OK)
        return 0;
    mc_http2_calm(h);
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* nghttp2 would only leave it out; RFC 9113 8.1.1 wants the request treated as malformed. */
static int on_invalid_header(nghttp2_session *ng, const nghttp2_frame *frame, nghttp2_rcbuf *name, nghttp2_rcbuf *value, uint8_t flags, void *user)
{
    (void)frame, (void)name, (void)value, (void)flags, (void)user;
    (void)nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_PROTOCOL_ERROR);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int end_of_input(struct mc_http2_stream *st)
{
    if (!st || st->closed)
        return 0;
    st->ended = true;
    mc_http2_tell(st, MC_STREAM_INPUT, 0);
    return 0;
}

static int on_headers(struct mc_http2 *h, const nghttp2_frame *frame)
{
    bool ended = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    int32_t id = frame->hd.stream_id;
    struct mc_http2_stream *st = mc_http2_stream_of(h, id);
    int rc = MC_OK;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        rc = mc_http2_head_open(h, id, ended);
    else if (st)
        rc = mc_http2_head_trailers(h, st);
    if (rc == MC_DECLINED)
        (void)nghttp2_submit_rst_stream(h->ng, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
    else if (rc != MC_OK)
        (void)nghttp2_submit_rst_stream(h->ng, NGHTTP2_FLAG_NONE, id, st ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_INTERNAL_ERROR);
    mc_http2_head_free(h);
    return rc == MC_OK && st && ended ? end_of_input(st) : 0;
}

static int on_frame_recv(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct mc_http2 *h = user;
    bool ended = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    (void)ng;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        return on_headers(h, frame);
    case NGHTTP2_DATA:
        if (ended)
            return end_of_input(mc_http2_stream_of(h, frame->hd.stream_id));
        return frame->hd.length > frame->data.padlen || mc_http2_pay(h, MC_COST_EMPTY) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
    default:
        return 0;
    }
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *user)
{
    struct mc_http2 *h = user;
    struct mc_http2_stream *st = mc_http2_stream_of(h, id);
    (void)flags;
    if (nghttp2_session_consume_connection(ng, n) != 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    if (!st || !st->r || (st->step == MC_H2_WAIT && !st->tunnel))
        return 0; /* nobody wants it; the window of the stream bounds it */
    if (mc_chain_add(&st->in, p, n) != MC_OK)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    mc_http2_tell(st, MC_STREAM_INPUT, n);
    return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *user)
{
    struct mc_http2_stream *st = mc_http2_stream_of(user, id);
    (void)ng, (void)code;
    if (!st)
        return 0;
    st->closed = true;
    if (!st->end || st->end_held > 0 || st->body.total > 0)
        mc_http2_tell(st, MC_STREAM_CUT, 0);
    return 0;
}

/* ---- frames that go */

/* A rule is broken: the connection ends, or a stream. */
static void tell_error(struct mc_http2 *h, bool all, uint32_t code, const uint8_t *why, size_t n)
{
    static struct mc_log_limit limits[2];
    char text[150];
    (void)snprintf(text, sizeof(text), "%s error %s%s%.*s", all ? "connection" : "stream", nghttp2_http2_strerror(code), n ? ": " : "", (int)(n < 100 ? n : 100), n ? (const char *)why : "");
    h->s->host->blame(h->s, MC_LOG_INFO, &limits[all], text);
}

static int on_frame_send(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct mc_http2 *h = user;
    (void)ng;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        uint32_t code = frame->goaway.error_code;
        if (code != NGHTTP2_NO_ERROR && code != NGHTTP2_ENHANCE_YOUR_CALM)
            tell_error(h, true, code, frame->goaway.opaque_data, frame->goaway.opaque_data_len);
        return 0;
    }
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
        uint32_t code = frame->rst_stream.error_code;
        if (code != NGHTTP2_NO_ERROR && code != NGHTTP2_CANCEL && code != NGHTTP2_INTERNAL_ERROR) { /* it makes us reset streams */
            tell_error(h, false, code, NULL, 0);
            (void)mc_http2_pay(h, MC_COST_RESET);
        }
        return 0;
    }
    bool body = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
    if (body && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
        struct mc_http2_stream *st = mc_http2_stream_of(h, frame->hd.stream_id);
        if (st)
            mc_http2_ended(st);
    }
    return 0;
}

/* ---- the session */

/* Each stream of nghttp2's takes and gives back a dozen small pieces. */
static void *take(size_t n, void *user)
{
    (void)user;
    return mc_small_get(n);
}

static void *take_zeroed(size_t k, size_t n, void *user)
{
    size_t all;
    (void)user;
    return __builtin_mul_overflow(k, n, &all) ? NULL : mc_small_zero(all);
}

static void *resize(void *p, size_t n, void *user)
{
    (void)user;
    return mc_small_resize(p, n);
}

static void give_back(void *p, void *user)
{
    (void)user;
    mc_small_put(p);
}

static nghttp2_mem memory = {.malloc = take, .free = give_back, .calloc = take_zeroed, .realloc = resize};

static nghttp2_session_callbacks *callbacks(void)
{
    nghttp2_session_callbacks *cb;
    if (nghttp2_session_callbacks_new(&cb) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback2(cb, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
    nghttp2_session_callbacks_set_send_data_callback(cb, mc_http2_send_data);
    return cb;
}

static int make_session(struct mc_http2 *h)
{
    nghttp2_session_callbacks *cb = callbacks();
    nghttp2_option *option = NULL;
    int rc = MC_ERROR;
    if (cb && nghttp2_option_new(&option) == 0) {
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_no_closed_streams(option, 1);
        nghttp2_option_set_stream_reset_rate_limit(option, UINT32_MAX, UINT32_MAX); /* flood.c counts them, those that we reset too */
        nghttp2_option_set_max_continuations(option, (size_t)h->s->host->set->http2_max_continuations + 1);
        nghttp2_option_set_builtin_recv_extension_type(option, NGHTTP2_PRIORITY_UPDATE);
        rc = nghttp2_session_server_new3(&h->ng, cb, h, option, &memory) == 0 ? MC_OK : MC_ERROR;
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    return rc;
}

static int say_settings(struct mc_http2 *h)
{
    const struct mc_values *set = h->s->host->set;
    const nghttp2_settings_entry v[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, (uint32_t)set->http2_max_concurrent_streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)set->http2_initial_window_size},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, (uint32_t)set->http2_max_frame_size},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)set->http2_max_header_list_size},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
    };
    int32_t window = set->http2_initial_window_size > WINDOW ? (int32_t)set->http2_initial_window_size : WINDOW;
    bool ok = nghttp2_submit_settings(h->ng, NGHTTP2_FLAG_NONE, v, MC_COUNT(v)) == 0 &&
              nghttp2_session_set_local_window_size(h->ng, NGHTTP2_FLAG_NONE, 0, window) == 0;
    return ok ? MC_OK : MC_ERROR;
}

static void close_session(struct mc_session *s)
{
    struct mc_http2 *h = s->proto;
    if (!h)
        return;
    MC_ASSERT(h->nstreams == 0);
    nghttp2_session_del(h->ng);
    mc_http2_head_free(h);
    free(h);
    s->proto = NULL;
}

static int open_session(struct mc_session *s)
{
    struct mc_http2 *h = calloc(1, sizeof(*h));
    if (!h)
        return MC_ERROR;
    s->proto = h;
    h->s = s;
    h->list_max = (size_t)s->host->set->http2_max_header_list_size;
    h->streams_max = (uint32_t)s->host->set->http2_max_concurrent_streams;
    mc_list_init(&h->streams);
    mc_http2_flood_init(h);
    if (make_session(h) == MC_OK && say_settings(h) == MC_OK)
        return MC_OK;
    close_session(s);
    return MC_ERROR;
}

/* What nghttp2 does not end with a GOAWAY of its own. */
static void broken(struct mc_http2 *h, int rc)
{
    static struct mc_log_limit limit;
    bool flood = rc == NGHTTP2_ERR_FLOODED || rc == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS;
    bool magic = rc == NGHTTP2_ERR_BAD_CLIENT_MAGIC;
    h->s->host->blame(h->s, flood ? MC_LOG_WARNING : MC_LOG_INFO, &limit, rc < 0 ? nghttp2_strerror(rc) : "no more is read");
    (void)nghttp2_session_terminate_session(h->ng, flood ? NGHTTP2_ENHANCE_YOUR_CALM : magic ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_INTERNAL_ERROR);
}

static int input(struct mc_session *s)
{
    struct mc_http2 *h = s->proto;
    size_t n = s->in.len - s->in.pos;
    const uint8_t *p = (const uint8_t *)s->in.data + s->in.pos;
    s->in.pos = s->in.len;
    if (h->over)
        return MC_ERROR;
    ssize_t used = nghttp2_session_mem_recv(h->ng, p, n);
    if (used == (ssize_t)n && !h->over)
        return MC_OK;
    if (!h->over)
        broken(h, (int)used);
    h->over = true;
    return MC_ERROR;
}

static void leave(struct mc_session *s, bool last)
{
    struct mc_http2 *h = s->proto;
    if (last)
        (void)nghttp2_submit_goaway(h->ng, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h->ng), NGHTTP2_NO_ERROR, NULL, 0);
    else
        (void)nghttp2_submit_shutdown_notice(h->ng);
}

/* A carrier makes no requests: mux is all there is. */
static const struct mc_mux_ops mux = {
    .stream = &mc_http2_stream_ops,
    .preface = NGHTTP2_CLIENT_MAGIC,
    .input = input,
    .output = mc_http2_output,
    .give = mc_http2_give,
    .leave = leave,
};

static const struct mc_protocol_ops ops = {
    .name = "http/2",
    .alpn = "h2",
    .open = open_session,
    .close = close_session,
    .mux = &mux,
};

static const char *version(void)
{
    static char text[32];
    snprintf(text, sizeof(text), "nghttp2 %s", nghttp2_version(0)->version_str);
    return text;
}

const struct mc_module mc_module_protocol_http2 = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "http2",
    .kind = MC_MODULE_PROTOCOL,
    .ops.protocol = &ops,
    .version = version,
};
