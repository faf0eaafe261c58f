/* The response API that handlers call (contract: handler.h). Encodes through the protocol, sends or keeps what the client does not take yet.
 * Pumps output, never calls a handler. Worker side. */
#include "core/server/engine.h"
#include "core/server/proxied.h"

#include "core/http/chunk.h"
#include "core/http/hop_field.h"
#include "core/http/status.h"
#include "core/server/mux.h"

#include <errno.h>
#include <string.h>

static void do_abort(struct mc_request *r);
static void add_refusal_fields(struct mc_request *r);

static int usable(const struct mc_request *r)
{
    return !r->gone && !r->conn->broken && r->resp.state != MC_RESP_NONE && r->resp.state < MC_RESP_DONE;
}

static int do_begin(struct mc_request *r, int status, struct mc_str reason)
{
    struct mc_response *p = &r->resp;
    if (p->state >= MC_RESP_HEAD || r->conn->broken || status < 200 || status > 599) {
        return MC_ERROR;
    }
    p->state = MC_RESP_BEGUN;
    p->status = status;
    p->reason = reason;
    p->fields.n = p->trailers.n = 0;
    p->length = -1;
    p->has_date = p->has_server = p->fixed = false;
    mc_filter_reset(r);
    if (mc_unlikely(r->error_routed)) {
        p->status = status == 200 && r->error_answer ? r->error_answer : status;
        add_refusal_fields(r);
    }
    return MC_OK;
}

static int do_field(struct mc_request *r, struct mc_str name, struct mc_str value);

static void add_refusal_fields(struct mc_request *r)
{
    for (uint32_t i = 0; i < r->refusal_fields.n; i++) {
        do_field(r, r->refusal_fields.v[i].name, r->refusal_fields.v[i].value);
    }
}

static int set_length(struct mc_request *r, struct mc_str value)
{
    uint64_t n;
    if (mc_str_to_u64(value, INT64_MAX, &n) != MC_OK || (r->resp.length >= 0 && r->resp.length != (int64_t) n)) {
        return MC_ERROR;
    }
    r->resp.length = (int64_t) n;
    return MC_OK;
}

static int do_known(struct mc_request *r, const struct mc_field *field)
{
    enum mc_field_id id = field->id;
    if (r->resp.state != MC_RESP_BEGUN || !mc_field_value_ok(field->value)) {
        return MC_ERROR;
    }
    if (id == MC_F_CONTENT_LENGTH) {
        return set_length(r, field->value); /* the protocol writes it */
    }
    if (mc_field_hop_by_hop(id)) {
        return MC_DECLINED;
    }
    r->resp.has_date |= id == MC_F_DATE;
    r->resp.has_server |= id == MC_F_SERVER;
    return mc_fields_put(&r->resp.fields, &r->arena, field);
}

static int do_field(struct mc_request *r, struct mc_str name, struct mc_str value)
{
    if (!mc_field_name_ok(name)) {
        return MC_ERROR;
    }
    uint32_t hash = mc_str_hash_nocase(name);
    return do_known(r, &(struct mc_field){ .name = name, .value = value, .hash = hash, .id = (uint16_t) mc_field_id(name, hash) });
}

int mc_response_trailer(struct mc_request *r, struct mc_str name, struct mc_str value)
{
    struct mc_response *p = &r->resp;
    if (!usable(r) || !mc_field_name_ok(name) || !mc_field_value_ok(value)) {
        return MC_ERROR;
    }
    bool any = r->session->ops->any_trailers;
    bool follow = p->state == MC_RESP_HEAD ? p->chunked || (any && !p->bodyless)
                                           : (any || p->length < 0) && r->head.version > 0 && !r->is_head && !mc_status_bodyless(p->status);
    if (!follow || (r->hop && mc_request_version(r) == 10)) {
        return MC_DECLINED;
    }
    if (mc_fields_add(&p->trailers, &r->arena, name, value) != MC_OK) {
        return MC_ERROR;
    }
    if (!mc_chunk_may_trail(&p->trailers.v[p->trailers.n - 1])) {
        p->trailers.n--;
        return MC_ERROR;
    }
    return MC_OK;
}

void mc_response_length(struct mc_request *r, int64_t length)
{
    r->resp.length = length;
}

/* ---- output beyond what the client takes ---- */

/* The queue of a blocking handler has outgrown memory and file: the handler waits until half of it is gone. A client that holds up an app
 * must take MC_WAIT_BYTES in each send_timeout: single bytes do not prolong it. */
static int wait_for_room(struct mc_request *r, int64_t until)
{
    struct mc_conn *c = r->conn;
    const struct mc_worker *w = c->worker;
    int64_t mark = INT64_MAX;
    uint64_t deadline = 0;
    while (c->session.out.total > until) {
        if (mark - c->session.out.total >= MC_WAIT_BYTES) {
            mark = c->session.out.total;
            deadline = mc_loan_wait_until(r);
        }
        int rc = c->on ? mc_mux_wait(r, deadline) : w->ops->wait(r, MC_WANT_WRITE, deadline);
        *(c->lent ? &c->lent_ready : &c->io.ready) |= MC_WANT_WRITE;
        if (rc != MC_OK || mc_conn_flush(c) == MC_ERROR) {
            c->broken = true;
            return MC_ERROR;
        }
    }
    return MC_OK;
}

static void spool_failed(const char *dir)
{
    static struct mc_log_limit limit;
    unsigned missed;
    if (mc_log_limited(&limit, &missed)) {
        mc_error("cannot keep a response in %s: %s; its maker waits for the client instead", dir, strerror(errno));
    }
}

static int settle_blocking(struct mc_request *r)
{
    struct mc_conn *c = r->conn;
    const struct mc_values *set = mc_request_set(r);
    const struct mc_chain *out = &c->session.out;
    if (out->mem > (size_t) set->response_buffer) {
        if (out->total > set->response_buffer_file) {
            return wait_for_room(r, set->response_buffer_file / 2);
        }
        if (mc_conn_spool(c) != MC_OK) {
            spool_failed(c->worker->conf->set.tmp_upload_dir);
            return wait_for_room(r, set->response_buffer / 2);
        }
    }
    return MC_OK;
}

/* A loop handler that would rather be rid of its output: there is room for it in memory, or in the file. */
static bool kept(struct mc_request *r)
{
    struct mc_conn *c = r->conn;
    const struct mc_values *set = mc_request_set(r);
    const struct mc_chain *out = &c->session.out;
    if (!r->resp.spool) {
        return false;
    }
    if (out->mem <= (size_t) set->response_buffer) {
        return true;
    }
    /* The file is cut back only when all of it was sent, so its length is what counts, not what waits in it. */
    if (c->spool_end + (off_t) out->mem > set->response_buffer_file) {
        return false;
    }
    if (mc_conn_spool(c) != MC_OK) {
        spool_failed(c->worker->conf->set.tmp_upload_dir);
        return false;
    }
    return true;
}

static int settle(struct mc_request *r, bool last)
{
    struct mc_conn *c = r->conn;
    if (mc_request_blocking(r)) {
        /* The last piece is sent by the loop, so that pipelined replies can share one send. */
        if (!last && mc_conn_flush(c) == MC_ERROR) {
            return MC_ERROR;
        }
        return settle_blocking(r);
    }
    if (c->session.out.total > MC_OUT_HIGH) {
        if (mc_conn_flush(c) == MC_ERROR) {
            return MC_ERROR;
        }
        if (!last && c->session.out.total > MC_OUT_HIGH && !kept(r)) {
            r->resp.paused = true;
            return MC_AGAIN;
        }
    }
    return MC_OK;
}

int mc_response_settle(struct mc_request *r)
{
    return settle(r, false);
}

/* ---- head and body ---- */

static int encode_head(struct mc_request *r, const void *p, size_t n, bool last)
{
    struct mc_response *resp = &r->resp;
    if (resp->state != MC_RESP_BEGUN) {
        return MC_OK;
    }
    if (!r->body.complete && r->head.framing != MC_BODY_NONE && r->body.mode != MC_BODY_STREAMED) {
        resp->close = true; /* answered before the body was read */
    }
    if (mc_worker_leaves(r->conn->worker, r->session->inner)) {
        r->session->allow_keepalive = false;
    }
    r->session->date = mc_worker_date(r->conn->worker);
    if (r->session->inner) {
        resp->has_date = resp->has_server = true; /* the front's to add */
    }
    if (r->session->ops->head(r, p, n, last) != MC_OK) {
        r->conn->broken = true;
        return MC_ERROR;
    }
    resp->state = MC_RESP_HEAD;
    return MC_OK;
}

/* The filters of the route see the head once, before it is encoded. */
static int filter_head(struct mc_request *r, size_t n, bool last)
{
    if (mc_likely(r->route == NULL || r->route->nfilters == 0) || r->resp.filtered || r->resp.state != MC_RESP_BEGUN) {
        return MC_OK;
    }
    return mc_filter_head(r, n, last);
}

static int do_head(struct mc_request *r)
{
    return usable(r) && filter_head(r, 0, false) == MC_OK ? encode_head(r, NULL, 0, false) : MC_ERROR;
}

/* Never more bytes than were announced. */
static size_t clip(struct mc_request *r, size_t n)
{
    struct mc_response *p = &r->resp;
    if (p->length < 0 || p->bodyless || r->is_head || mc_status_bodyless(p->status) || (uint64_t) n <= (uint64_t) (p->length - p->sent)) {
        return n;
    }
    if (!p->close) {
        p->close = true;
        mc_warn("the response is longer than its Content-Length of %lld: cut", (long long) p->length);
    }
    return (size_t) (p->length - p->sent);
}

static int put(struct mc_request *r, const void *p, size_t n, bool last)
{
    struct mc_response *resp = &r->resp;
    if (resp->state == MC_RESP_BEGUN) {
        if (n < MC_DIRECT) {
            return encode_head(r, p, n, last);
        }
        if (last && resp->length < 0 && resp->trailers.n == 0) {
            resp->length = (int64_t) n;
        }
        if (encode_head(r, NULL, 0, false) != MC_OK) {
            return MC_ERROR;
        }
    }
    if (resp->bodyless) {
        n = 0;
    }
    if (resp->direct && n >= MC_DIRECT) {
        resp->sent += (int64_t) n;
        return mc_conn_send_direct(r->conn, p, n) == MC_ERROR ? MC_ERROR : MC_OK;
    }
    if (r->session->ops->body(r, p, n, last) != MC_OK) {
        r->conn->broken = true;
        return MC_ERROR;
    }
    return MC_OK;
}

int mc_response_emit(struct mc_request *r, const void *p, size_t n, bool last)
{
    return usable(r) ? put(r, p, clip(r, n), last) : MC_ERROR;
}

/* Through the filters. What waits there goes on by itself; a loop handler is asked to pause meanwhile. */
static int give(struct mc_request *r, const void *p, size_t n, bool last)
{
    if (mc_likely(r->resp.run == NULL)) {
        return put(r, p, clip(r, n), last);
    }
    int rc = mc_filter_write(r, p, n, last);
    if (rc == MC_AGAIN && !last) {
        r->resp.paused = true;
    }
    return rc;
}

static int do_write(struct mc_request *r, const void *p, size_t n)
{
    if (!usable(r) || filter_head(r, n, false) != MC_OK) {
        return MC_ERROR;
    }
    int rc = give(r, p, n, false);
    return rc == MC_OK ? settle(r, false) : rc;
}

/* The last byte is encoded. */
static int finish(struct mc_request *r)
{
    struct mc_response *resp = &r->resp;
    resp->state = MC_RESP_DONE;
    if (!resp->bodyless && resp->length > resp->sent) {
        mc_warn("the response is shorter than its Content-Length: %lld of %lld bytes", (long long) resp->sent, (long long) resp->length);
        r->session->close = true;
    }
    if (resp->close) {
        r->session->close = true;
    }
    return settle(r, true);
}

static int do_end(struct mc_request *r, const void *p, size_t n)
{
    if (!usable(r) || filter_head(r, n, true) != MC_OK) {
        return MC_ERROR;
    }
    int rc = give(r, p, n, true);
    if (rc != MC_OK) {
        return rc == MC_AGAIN ? MC_OK : rc; /* the loop goes on with it: mc_response_finish() */
    }
    return finish(r);
}

int mc_response_pump(struct mc_request *r)
{
    int rc = usable(r) ? mc_filter_pump(r) : MC_ERROR;
    if (rc == MC_ERROR) {
        do_abort(r);
    }
    return rc == MC_DECLINED ? finish(r) : rc;
}

static int do_file(struct mc_request *r, struct mc_file *f, off_t off, off_t n)
{
    if (!usable(r) || n < 0 || filter_head(r, 0, false) != MC_OK) {
        return MC_ERROR;
    }
    if (r->resp.run) {
        int rc = mc_filter_file(r, f, off, n);
        r->resp.paused |= rc == MC_AGAIN;
        return rc == MC_OK ? settle(r, false) : rc;
    }
    if (encode_head(r, NULL, 0, false) != MC_OK) {
        return MC_ERROR;
    }
    off_t left = r->resp.bodyless ? 0 : (off_t) clip(r, (size_t) n);
    if (left == 0) {
        return MC_OK;
    }
    if (r->session->ops->file(r, f, off, left, false) != MC_OK) {
        r->conn->broken = true;
        return MC_ERROR;
    }
    return settle(r, false);
}

static int do_interim(struct mc_request *r, int status, const struct mc_fields *fields)
{
    if (r->resp.state >= MC_RESP_HEAD || r->conn->broken) {
        return MC_ERROR;
    }
    if (r->head.version == 0) {
        return MC_OK; /* HTTP/1.0 knows none */
    }
    if (r->session->ops->interim(r, status, fields) != MC_OK) {
        return MC_ERROR;
    }
    return mc_conn_flush(r->conn) == MC_ERROR ? MC_ERROR : MC_OK;
}

static int do_flush(struct mc_request *r)
{
    if (r->resp.run && mc_filter_flush(r) == MC_ERROR) {
        return MC_ERROR;
    }
    return mc_conn_flush(r->conn) == MC_ERROR ? MC_ERROR : MC_OK;
}

/* ---- other ends ---- */

static void do_abort(struct mc_request *r)
{
    struct mc_response *p = &r->resp;
    if (p->state == MC_RESP_HEAD && !p->chunked && !p->bodyless && p->length < 0) {
        r->conn->stream.reset = true;
    }
    p->state = MC_RESP_ABORTED;
    r->session->close = true;
}

static int do_error(struct mc_request *r, int status)
{
    char plain[512];
    struct mc_str text = MC_STR_NONE, type = MC_STR("text/html; charset=utf-8");
    const struct mc_error_page *page = mc_errors_find(r, status);
    int answer = page ? mc_errors_answer(page, status) : r->error_routed ? r->error_status : status;
    if (!mc_response_started(r) && !r->conn->broken && page && !mc_errors_text(page, &text, &type)) {
        mc_errors_defer(r, page, status);
        return MC_OK;
    }
    if (mc_response_started(r) || do_begin(r, answer, MC_STR_NONE) != MC_OK) {
        do_abort(r);
        return MC_ERROR;
    }
    if (text.p == NULL) {
        text = (struct mc_str){ plain, mc_page_error(plain, sizeof plain, answer) };
    }
    do_field(r, MC_STR("Content-Type"), type);
    if (status == 405) { /* RFC 9110 §15.5.6 asks for it */
        do_field(r, MC_STR("Allow"), MC_STR("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    if (r->hop) {
        do_field(r, MC_STR(MC_HOP_FIELD), MC_STR(MC_HOP_ERROR)); /* the front answers as it does for its own errors */
    }
    if (!r->error_routed) { /* else they are there */
        add_refusal_fields(r);
    }
    int rc = do_end(r, text.p, text.n);
    if (rc != MC_OK && !mc_request_over(r)) {
        do_abort(r);
    }
    return rc;
}

/* ---- the API: each call under the loan of its request (loan.c) ---- */

#define UNDER_LOAN(r, expr)                    \
    if (!mc_loan_enter(r)) {                   \
        return MC_ERROR;                       \
    }                                          \
    int rc = (expr);                           \
    mc_loan_leave(r);                          \
    return rc

int mc_response_begin(struct mc_request *r, int status, struct mc_str reason)
{
    UNDER_LOAN(r, do_begin(r, status, reason));
}

int mc_response_field(struct mc_request *r, struct mc_str name, struct mc_str value)
{
    UNDER_LOAN(r, do_field(r, name, value));
}

int mc_response_known(struct mc_request *r, const struct mc_field *field)
{
    UNDER_LOAN(r, do_known(r, field));
}

int mc_response_head(struct mc_request *r)
{
    UNDER_LOAN(r, do_head(r));
}

int mc_response_write(struct mc_request *r, const void *p, size_t n)
{
    UNDER_LOAN(r, do_write(r, p, n));
}

int mc_response_end(struct mc_request *r, const void *p, size_t n)
{
    UNDER_LOAN(r, do_end(r, p, n));
}

int mc_response_file(struct mc_request *r, struct mc_file *f, off_t off, off_t n)
{
    UNDER_LOAN(r, do_file(r, f, off, n));
}

int mc_response_interim(struct mc_request *r, int status, const struct mc_fields *fields)
{
    UNDER_LOAN(r, do_interim(r, status, fields));
}

int mc_response_flush(struct mc_request *r)
{
    UNDER_LOAN(r, do_flush(r));
}

int mc_response_error(struct mc_request *r, int status)
{
    UNDER_LOAN(r, do_error(r, status));
}

void mc_response_abort(struct mc_request *r)
{
    if (mc_loan_enter(r)) {
        do_abort(r);
        mc_loan_leave(r);
    }
}
