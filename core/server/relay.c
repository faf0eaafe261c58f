/* A request passed on to an upstream, its reply passed back (contract: relay.h). Between the response API and a call: fields, bodies, back-pressure, ends.
 * Knows no gateway. Called by handlers. Worker side, on the loop. */
#include "core/server/relay.h"

#include "core/http/status.h"
#include "core/server/health.h"
#include "core/server/engine.h"

#include <stdio.h>
#include <string.h>

/* ---- settings ---- */

static int parse_retry_on(struct mc_relay_conf *c, const char *what, char *err, size_t errcap)
{
    static const struct {
        const char *name;
        unsigned bit;
    } words[] = {
        { "error", MC_RETRY_ERROR }, { "timeout", MC_RETRY_TIMEOUT }, { "http_502", MC_RETRY_502 }, { "http_503", MC_RETRY_503 },
        { "http_504", MC_RETRY_504 }, { "off", 0 },
    };
    for (size_t i = 0; i < c->retry_on.n; i++) {
        unsigned k = 0;
        while (k < MC_COUNT(words) && strcmp(words[k].name, c->retry_on.v[i]) != 0) {
            k++;
        }
        if (k == MC_COUNT(words)) {
            snprintf(err, errcap, "%s: retry_on knows error, timeout, http_502, http_503, http_504 and off, but not \"%s\"", what, c->retry_on.v[i]);
            return MC_ERROR;
        }
        c->policy.retry_on |= words[k].bit;
    }
    return MC_OK;
}

int mc_relay_check(const struct mc_conf *conf, struct mc_relay_conf *c, const struct mc_gateway_ops *gateway, const char *what, char *err, size_t errcap)
{
    if (c->to == NULL || c->to[0] == '\0') {
        snprintf(err, errcap, "%s: \"to\" is missing: an upstream (upstream:NAME) or an address (http://HOST:PORT, unix:PATH)", what);
        return MC_ERROR;
    }
    c->policy.upstream = mc_conf_upstream_to((struct mc_conf *) (uintptr_t) conf, c->to, &c->tls, err, errcap); /* it is still being built */
    if (c->policy.upstream == NULL || parse_retry_on(c, what, err, errcap) != MC_OK) {
        return MC_ERROR;
    }
    if (c->policy.upstream->key && (c->key = mc_vars_compile(conf, NULL, c->policy.upstream->key, err, errcap)) == NULL) {
        return MC_ERROR;
    }
    c->policy.gateway = gateway;
    c->policy.connect_timeout = c->connect_timeout;
    c->policy.send_timeout = c->send_timeout;
    c->policy.read_timeout = c->read_timeout;
    c->policy.tunnel_timeout = c->tunnel_timeout;
    c->policy.retries = c->retries;
    c->policy.retry_timeout = c->retry_timeout;
    return MC_OK;
}

/* ---- fields ---- */

/* Does a list of Connection name this field? */
static bool named(const struct mc_fields *fields, struct mc_str name)
{
    for (uint32_t i = 0; i < fields->n; i++) {
        struct mc_str list = fields->v[i].value, token;
        while (fields->v[i].id == MC_F_CONNECTION && mc_str_next_token(&list, &token)) {
            if (mc_str_eq_nocase(token, name)) {
                return true;
            }
        }
    }
    return false;
}

static bool has_connection(const struct mc_fields *fields)
{
    return mc_fields_get(fields, MC_F_CONNECTION) != NULL;
}

static bool dangerous(const struct mc_request *r)
{
    const char *map = r->conn ? r->conn->worker->conf->set.header_map : NULL;
    return map && strcmp(map, "dangerous") == 0;
}

int mc_relay_fields(struct mc_request *r, struct mc_fields *out)
{
    const struct mc_fields *in = &r->head.fields;
    bool connection = has_connection(in), keep_underscores = dangerous(r);
    for (uint32_t i = 0; i < in->n; i++) {
        const struct mc_field *f = &in->v[i];
        switch (f->id) {
        case MC_F_HOST:
        case MC_F_CONTENT_LENGTH:
        case MC_F_EXPECT:
        case MC_F_PROXY:
            continue;
        default:
            break;
        }
        if (mc_field_hop_by_hop(f->id) || (!keep_underscores && memchr(f->name.p, '_', f->name.n)) || (connection && named(in, f->name))) {
            continue;
        }
        if (mc_fields_push(out, &r->arena, f) != MC_OK) {
            return MC_ERROR;
        }
    }
    return MC_OK;
}

static bool listed(const struct mc_strv *list, struct mc_str name)
{
    for (size_t i = 0; i < list->n; i++) {
        if (mc_str_eq_nocase(mc_str(list->v[i]), name)) {
            return true;
        }
    }
    return false;
}

/* Words to the server in front, not to its clients. */
static bool for_us(struct mc_str name)
{
    const struct mc_str prefix = MC_STR("X-Accel-");
    return name.n > prefix.n && mc_str_eq_nocase((struct mc_str){ name.p, prefix.n }, prefix);
}

static bool of_pool(const struct mc_relay *q)
{
    return q->conf->policy.upstream->pool;
}

static bool stays(const struct mc_relay *q, const struct mc_field *f, bool connection)
{
    if (f->id == MC_F_HOP || (of_pool(q) && !mc_field_hop_by_hop(f->id))) {
        return f->id == MC_F_HOP;
    }
    if (mc_field_hop_by_hop(f->id) || (connection && named(&q->call.x.reply.fields, f->name)) || listed(&q->conf->hide_header, f->name)) {
        return true;
    }
    return for_us(f->name) && !listed(&q->conf->pass_header, f->name);
}

/* ---- the request's body ---- */

static ssize_t source(struct mc_call *call, int64_t off, void *p, size_t n)
{
    struct mc_relay *q = call->owner;
    struct mc_request *r = q->r;
    if (!q->streaming && !call->tunnel) {
        return mc_body_peek(r, (off_t) off, p, n);
    }
    ssize_t got = mc_body_read(r, p, n);
    if (got > 0 && !r->body.complete) {
        mc_request_wake(r); /* there is room for more now */
    }
    return got;
}

static bool replay(struct mc_call *call)
{
    return !((struct mc_relay *) call->owner)->streaming;
}

static void prologue(struct mc_call *call, struct mc_chain *out)
{
    struct mc_relay *q = call->owner;
    if (q->prologue) {
        q->prologue(q, out);
    }
}

/* ---- the reply ---- */

/* The reply cannot be given: the call ends with MC_ERROR, so the request must end here. */
static int refuse(struct mc_relay *q, int status)
{
    if (!mc_request_over(q->r)) {
        mc_response_error(q->r, status);
    }
    mc_request_wake(q->r);
    return MC_ERROR;
}

static int on_interim(struct mc_call *call)
{
    struct mc_relay *q = call->owner;
    struct mc_fields fields = { .n = 0 };
    bool connection = has_connection(&call->x.reply.fields);
    if (call->x.reply.status == 100 || call->x.reply.status == 101) {
        return MC_OK; /* the client had ours */
    }
    for (uint32_t i = 0; i < call->x.reply.fields.n; i++) {
        const struct mc_field *f = &call->x.reply.fields.v[i];
        if (f->id != MC_F_CONTENT_LENGTH && !stays(q, f, connection) && mc_fields_add(&fields, &q->r->arena, f->name, f->value) != MC_OK) {
            return refuse(q, 503);
        }
    }
    return mc_response_interim(q->r, call->x.reply.status, &fields) == MC_OK ? MC_OK : refuse(q, 503);
}

static bool says_no(const struct mc_fields *fields)
{
    const struct mc_field *f = mc_fields_find(fields, MC_STR("X-Accel-Buffering"));
    return f && mc_str_eq_nocase(f->value, MC_STR("no"));
}

static int on_switch(struct mc_relay *q)
{
    struct mc_fields fields = { .n = 0 };
    const struct mc_head *reply = &q->call.x.reply;
    for (uint32_t i = 0; i < reply->fields.n; i++) {
        const struct mc_field *f = &reply->fields.v[i];
        if (f->id != MC_F_CONTENT_LENGTH && !stays(q, f, true) && mc_fields_add(&fields, &q->r->arena, f->name, f->value) != MC_OK) {
            return refuse(q, 503);
        }
    }
    if (mc_response_switch(q->r, mc_fields_get(&reply->fields, MC_F_UPGRADE)->value, &fields) != MC_OK) { /* the codec has compared it */
        mc_call_tell(&q->call, MC_LOG_ERROR, "its answer is no handshake for this client", "502");
        return refuse(q, 502);
    }
    mc_request_wake(q->r);
    return MC_OK;
}

static int on_head(struct mc_call *call)
{
    struct mc_relay *q = call->owner;
    struct mc_request *r = q->r;
    const struct mc_head *reply = &call->x.reply;
    bool connection = has_connection(&reply->fields);
    if (call->x.switched) {
        return on_switch(q);
    }
    if (of_pool(q) && mc_fields_get(&reply->fields, MC_F_HOP)) {
        return refuse(q, reply->status); /* not the app's own answer */
    }
    if (q->conf->intercept_errors && reply->status >= 400 && mc_errors_find(r, reply->status)) {
        const struct mc_field *ask = reply->status == 401 ? mc_fields_find(&reply->fields, MC_STR("WWW-Authenticate")) : NULL;
        return ask && mc_fields_add(&r->refusal_fields, &r->arena, ask->name, ask->value) != MC_OK ? refuse(q, 503) : refuse(q, reply->status);
    }
    if (mc_response_begin(r, reply->status, reply->reason) != MC_OK) {
        return refuse(q, 502);
    }
    for (uint32_t i = 0; i < reply->fields.n; i++) {
        const struct mc_field *f = &reply->fields.v[i];
        bool length_of_none = f->id == MC_F_CONTENT_LENGTH && reply->status == 204;
        if (!length_of_none && !stays(q, f, connection) && mc_response_known(r, f) == MC_ERROR) {
            return refuse(q, 502);
        }
    }
    r->resp.spool = of_pool(q) ? !q->streaming : q->conf->response_buffering && !says_no(&reply->fields); /* apps that stream are slowed down */
    int rc = mc_relay_cookie(q) == MC_ERROR ? 503 : q->on_head ? q->on_head(q) : MC_OK;
    if (rc != MC_OK) {
        return refuse(q, rc > 0 ? rc : 502);
    }
    /* With the first of the body, if it comes in this turn. A body that is promised may be waited for: what counts is the whole. */
    if (!r->resp.spool || reply->framing != MC_BODY_LENGTH) {
        mc_post_add(&r->conn->worker->loop, &q->post);
    }
    return MC_OK;
}

static void head_alone(struct mc_post *p)
{
    struct mc_relay *q = p->data;
    if (!mc_response_started(q->r)) {
        mc_response_head(q->r);
    }
    mc_request_wake(q->r);
}

static int on_data(struct mc_call *call, const char *p, size_t n)
{
    struct mc_relay *q = call->owner;
    mc_post_remove(&q->post);
    mc_request_wake(q->r);
    int rc = mc_response_write(q->r, p, n);
    return rc == MC_ERROR ? refuse(q, 503) : rc;
}

static void on_half(struct mc_call *call)
{
    struct mc_relay *q = call->owner;
    mc_response_half_close(q->r);
}

/* By then whoever waits now has had an answer. */
static void add_retry_after(struct mc_relay *q)
{
    int64_t s = (q->conf->policy.queue_timeout + 999) / 1000;
    const char *value = mc_arena_printf(&q->r->arena, "%lld", (long long) (s > 0 ? s : 1));
    if (value) {
        (void) mc_fields_add(&q->r->refusal_fields, &q->r->arena, MC_STR("Retry-After"), mc_str(value));
    }
}

static void on_done(struct mc_call *call, int status)
{
    struct mc_relay *q = call->owner;
    struct mc_request *r = q->r;
    mc_post_remove(&q->post);
    mc_request_wake(r);
    if (r->resp.switched) {
        mc_response_end(r, NULL, 0);
    } else if (status) {
        if (call->fault == MC_FAULT_QUEUE) {
            add_retry_after(q);
        }
        mc_response_error(r, status); /* or a cut, when the head is out */
    } else {
        for (uint32_t i = 0; i < call->x.trailers.n; i++) {
            (void) mc_response_trailer(r, call->x.trailers.v[i].name, call->x.trailers.v[i].value); /* not everybody can be given them */
        }
        if (mc_response_end(r, NULL, 0) != MC_OK) {
            (void) refuse(q, 503);
        }
    }
}

static const struct mc_call_ops ops = {
    .source = source,
    .replay = replay,
    .prologue = prologue,
    .interim = on_interim,
    .head = on_head,
    .data = on_data,
    .half = on_half,
    .done = on_done,
};

/* ---- what handlers call ---- */

int mc_relay_open(struct mc_worker *w, const struct mc_module *module, size_t offset)
{
    for (size_t i = 0; i < w->conf->nservers; i++) {
        const struct mc_conf_server *s = &w->conf->servers[i];
        for (size_t k = 0; s->pool == w->pool && k < s->nroutes; k++) {
            if (s->routes[k].module != module) {
                continue;
            }
            const struct mc_relay_conf *c = (const void *) ((const char *) s->routes[k].action + offset);
            struct mc_peers *u = mc_peers_get(w, c->policy.upstream);
            if (u == NULL) {
                return MC_ERROR;
            }
            mc_health_start(u, &c->policy);
        }
    }
    return MC_OK;
}

int mc_relay_prepare(struct mc_request *r, const struct mc_relay_conf *c)
{
    r->body.mode = c->request_buffering ? MC_BODY_BUFFERED : MC_BODY_STREAMED;
    return MC_OK;
}

static int64_t length_of(const struct mc_request *r)
{
    if (r->head.framing == MC_BODY_NONE) {
        return 0;
    }
    return r->body.complete ? r->body.received : r->head.content_length;
}

static bool takes_trailers(const struct mc_request *r)
{
    const struct mc_field *f = mc_fields_get(&r->head.fields, MC_F_TE);
    struct mc_str list = f ? f->value : MC_STR_NONE, token;
    while (f && mc_str_next_token(&list, &token)) {
        if (mc_str_eq_nocase(token, MC_STR("trailers"))) {
            return true;
        }
    }
    return false;
}

static void end_call(void *data)
{
    struct mc_relay *q = data;
    mc_call_cancel(&q->call);
    mc_post_remove(&q->post);
}

struct mc_relay *mc_relay_new(struct mc_request *r, const struct mc_relay_conf *c)
{
    struct mc_relay *q = mc_arena_calloc(&r->arena, sizeof *q);
    if (q == NULL || mc_arena_cleanup(&r->arena, end_call, q) != MC_OK) {
        return NULL;
    }
    q->r = r;
    q->conf = c;
    q->streaming = r->body.mode == MC_BODY_STREAMED;
    mc_post_init(&q->post, head_alone, q);
    struct mc_call *call = &q->call;
    call->policy = &c->policy;
    call->ops = &ops;
    call->owner = q;
    call->worker = r->conn->worker;
    call->x.arena = &r->arena;
    call->x.method = r->head.method;
    call->x.is_head = r->is_head;
    call->x.length = length_of(r);
    call->x.te_trailers = takes_trailers(r);
    r->hctx = q;
    r->relay = q;
    return q;
}

int mc_relay_run(struct mc_relay *q)
{
    return mc_relay_choice(q) == MC_OK && mc_call_start(&q->call) == MC_OK ? MC_OK : 503;
}

int mc_relay_resume(struct mc_request *r, enum mc_resume why)
{
    struct mc_relay *q = r->hctx;
    if (why == MC_RESUME_ROOM) {
        mc_call_resume(&q->call);
    } else if (r->body.failed && !r->resp.switched) {
        mc_call_cancel(&q->call);
        return r->body.status;
    } else {
        mc_call_more(&q->call);
    }
    return MC_OK;
}

void mc_relay_abort(struct mc_request *r)
{
    struct mc_relay *q = r->hctx;
    end_call(q);
}
