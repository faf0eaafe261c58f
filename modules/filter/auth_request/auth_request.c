/* Filter `auth_request { to = "upstream:auth"  path = "/check" }`: another server says whether a request may pass. Decides in access(), through a call to
 * that server. Worker side, on the loop; checked in the arbiter, too. */
#include "core/config/tls_client.h"
#include "core/http/vars.h"
#include "core/server/conn.h"
#include "core/server/filter.h"
#include "core/server/relay.h"
#include "core/server/tls.h"

#include <stdio.h>

enum { BODY_MAX = 65536 /* of an answer that is read to its end, to keep the connection */ };

struct auth {
    bool off;
    const char *to, *path, *user;
    int64_t timeout;
    struct mc_strv copy;
    struct mc_tls_client tls;
    struct mc_call_policy policy;
    struct mc_vars *path_vars;
};

/* One question. */
struct question {
    struct mc_call call;
    struct mc_request *r;
    const struct auth *a;
    int status;
};

#define AUTH(field) .offset = offsetof(struct auth, field)

static const struct mc_setting settings[] = {
    { .name = "to", .type = MC_SET_STRING, AUTH(to), .meta = "UPSTREAM", .doc = "who is asked: as of proxy" },
    { .name = "path", .type = MC_SET_STRING, AUTH(path), .dflt = "/", .meta = "TEXT", .doc = "target of the question, with variables" },
    { .name = "timeout", .type = MC_SET_DURATION, AUTH(timeout), .dflt = "5s", .min = 1, .meta = "TIME", .doc = "to connect, and again for the answer" },
    { .name = "copy", .type = MC_SET_LIST, AUTH(copy), .meta = "NAME", .doc = "fields that the request takes from the answer; the client's of these names are dropped" },
    { .name = "user", .type = MC_SET_STRING, AUTH(user), .meta = "NAME", .doc = "field of the answer that tells who the client is ($remote_user)" },
    { .name = "off", .type = MC_SET_BOOL, AUTH(off), .doc = "ask nobody here, whatever is said outside" },
    MC_TLS_CLIENT_SETTINGS(struct auth, tls),
    { .name = NULL },
};

/* ---- check ---- */

static int check_tls(struct mc_conf *conf, struct mc_conf_section *s, bool image, char *err, size_t errcap)
{
    struct auth *a = s->set;
    if (a->tls.name == NULL && a->tls.verify) {
        const char *host = a->to + strlen("https://");
        if (strncmp(host, "upstream:", 9) == 0) {
            snprintf(err, errcap, "auth_request: tls_name is missing: the name that certificates of %s must be for", a->to);
            return MC_ERROR;
        }
        size_t n = strcspn(host, *host == '[' ? "]" : ":/");
        a->tls.name = mc_arena_printf(&conf->arena, "%.*s", (int) (n - (*host == '[')), host + (*host == '['));
    }
    a->tls.alpn = "http/1.1";
    a->policy.transport = mc_transport_tls();
    a->policy.setup = &a->tls;
    return mc_tls_client_add(conf, &a->tls, s->at, image, err, errcap);
}

static int check(struct mc_conf *conf, struct mc_conf_section *s, bool image, char *err, size_t errcap)
{
    struct auth *a = s->set;
    bool tls = false;
    if (a->off) {
        return MC_OK;
    }
    if (a->to == NULL) {
        snprintf(err, errcap, "auth_request: \"to\" is missing: an upstream (upstream:NAME) or an address (http://HOST:PORT, unix:PATH)");
        return MC_ERROR;
    }
    for (size_t i = 0; i < a->copy.n; i++) {
        struct mc_str name = mc_str(a->copy.v[i]);
        enum mc_field_id id = mc_field_id(name);
        if (!mc_field_name_ok(name) || mc_field_hop_by_hop(id) || id == MC_F_CONTENT_LENGTH || id == MC_F_HOST) {
            snprintf(err, errcap, "auth_request: copy: \"%s\" cannot be copied", a->copy.v[i]);
            return MC_ERROR;
        }
    }
    a->policy.upstream = mc_conf_upstream_to(conf, a->to, &tls, err, errcap);
    if (a->policy.upstream == NULL || (a->path_vars = mc_vars_compile(conf, a, a->path, err, errcap)) == NULL) {
        return MC_ERROR;
    }
    a->policy.gateway = &mc_gateway_http1;
    a->policy.connect_timeout = a->policy.send_timeout = a->policy.read_timeout = a->policy.retry_timeout = a->timeout;
    a->policy.retries = 1;
    a->policy.retry_on = MC_RETRY_ERROR | MC_RETRY_TIMEOUT;
    return tls ? check_tls(conf, s, image, err, errcap) : MC_OK;
}

static const struct mc_section section = {
    .name = "auth_request",
    .where = MC_AT_MAIN | MC_AT_SERVER | MC_AT_ROUTE,
    .settings = settings,
    .size = sizeof(struct auth),
    .check = check,
    .doc = "asks another server or route whether a request may go on",
};

static int attach(struct mc_conf *conf, const struct mc_conf_server *server, const struct mc_conf_route *route, void **data)
{
    struct mc_conf_section *s = mc_conf_section_for(conf, server, route, &section);
    struct auth *a = s ? s->set : NULL;
    if (a == NULL || a->off) {
        return MC_DECLINED;
    }
    *data = a;
    return MC_OK;
}

/* ---- the question ---- */

/* Fields that would make the answer about something else than the question, or that we say ourselves. */
static bool stays(struct mc_str name)
{
    static const struct mc_str names[] = {
        MC_STR("Range"), MC_STR("If-Range"), MC_STR("If-Match"), MC_STR("If-None-Match"), MC_STR("If-Modified-Since"), MC_STR("If-Unmodified-Since"),
        MC_STR("X-Original-URI"), MC_STR("X-Original-Method"), MC_STR("X-Forwarded-For"), MC_STR("X-Forwarded-Proto"), MC_STR("X-Forwarded-Host"),
        MC_STR("Forwarded"), MC_STR("X-Real-IP"),
    };
    for (unsigned i = 0; i < MC_COUNT(names); i++) {
        if (mc_str_eq_nocase(name, names[i])) {
            return true;
        }
    }
    return false;
}

static struct mc_str client_text(struct mc_request *r)
{
    char text[64];
    size_t n = r->client ? mc_sockaddr_text(r->client, text, sizeof text) : 0;
    return n ? mc_arena_dup(&r->arena, (struct mc_str){ text, n }) : MC_STR("unknown");
}

static int fill(struct question *q)
{
    struct mc_request *r = q->r;
    struct mc_exchange *x = &q->call.x;
    const struct mc_field *host = mc_fields_get(&r->head.fields, MC_F_HOST);
    const struct { struct mc_str name, value; } ours[] = {
        { MC_STR("X-Original-URI"), r->head.target },
        { MC_STR("X-Original-Method"), r->head.method },
        { MC_STR("X-Forwarded-For"), client_text(r) },
        { MC_STR("X-Forwarded-Proto"), r->https ? MC_STR("https") : MC_STR("http") },
        { MC_STR("X-Forwarded-Host"), host ? host->value : MC_STR_NONE },
    };
    x->arena = &r->arena;
    x->method = MC_STR("GET");
    if (mc_vars_expand_uri(q->a->path_vars, r, &x->target) != MC_OK || x->target.n == 0 || x->target.p[0] != '/') {
        return MC_ERROR;
    }
    if (mc_fields_add(&x->fields, x->arena, MC_STR("Host"), host && host->value.n ? host->value : MC_STR("localhost")) != MC_OK) {
        return MC_ERROR;
    }
    uint32_t to = x->fields.n;
    if (mc_relay_fields(r, &x->fields) != MC_OK) {
        return MC_ERROR;
    }
    for (uint32_t i = to; i < x->fields.n; i++) {
        if (!stays(x->fields.v[i].name)) {
            x->fields.v[to++] = x->fields.v[i];
        }
    }
    x->fields.n = to;
    for (unsigned i = 0; i < MC_COUNT(ours); i++) {
        if (ours[i].value.n && mc_fields_add(&x->fields, x->arena, ours[i].name, ours[i].value) != MC_OK) {
            return MC_ERROR;
        }
    }
    return MC_OK;
}

/* ---- the answer ---- */

/* The request takes a field from the answer, and only from there. */
static int take(struct question *q, struct mc_str name)
{
    struct mc_fields *f = &q->r->head.fields;
    uint32_t to = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        if (!mc_str_eq_nocase(f->v[i].name, name)) {
            f->v[to++] = f->v[i];
        }
    }
    f->n = to;
    const struct mc_field *from = mc_fields_find(&q->call.x.reply.fields, name);
    return from ? mc_fields_add(f, &q->r->arena, name, from->value) : MC_OK;
}

static int admit(struct question *q)
{
    const struct mc_field *user = q->a->user ? mc_fields_find(&q->call.x.reply.fields, mc_str(q->a->user)) : NULL;
    for (size_t i = 0; i < q->a->copy.n; i++) {
        if (take(q, mc_str(q->a->copy.v[i])) != MC_OK) {
            return 503;
        }
    }
    if (user) {
        q->r->user = user->value;
    }
    return MC_OK;
}

static int refuse(struct question *q)
{
    for (uint32_t i = 0; i < q->call.x.reply.fields.n; i++) {
        const struct mc_field *f = &q->call.x.reply.fields.v[i];
        bool goes = mc_str_eq_nocase(f->name, MC_STR("WWW-Authenticate")) || mc_str_eq_nocase(f->name, MC_STR("Set-Cookie"));
        if (goes && mc_fields_add(&q->r->refusal_fields, &q->r->arena, f->name, f->value) != MC_OK) {
            return 503;
        }
    }
    return q->status;
}

static void decide(struct question *q)
{
    int rc = 500;
    if (q->status >= 200 && q->status < 300) {
        rc = admit(q);
    } else if (q->status == 401 || q->status == 403) {
        rc = refuse(q);
    } else if (q->status) {
        mc_error("auth_request: %s says %d, which is neither yes nor no", q->call.peer_text, q->status);
    }
    mc_request_admit(q->r, rc);
}

static int on_head(struct mc_call *call)
{
    struct question *q = call->owner;
    q->status = call->x.reply.status;
    return MC_OK;
}

static int on_data(struct mc_call *call, const char *p, size_t n)
{
    (void) p;
    (void) n;
    if (call->x.received <= BODY_MAX) {
        return MC_OK;
    }
    decide(call->owner);
    return MC_ERROR;
}

static void on_done(struct mc_call *call, int status)
{
    struct question *q = call->owner;
    if (status) {
        q->status = 0; /* the log says why */
    }
    decide(q);
}

static const struct mc_call_ops call_ops = { .head = on_head, .data = on_data, .done = on_done };

static void end_call(void *data)
{
    struct question *q = data;
    mc_call_cancel(&q->call);
}

static int ask(struct mc_request *r, void *data)
{
    struct question *q = mc_arena_calloc(&r->arena, sizeof *q);
    if (q == NULL || mc_arena_cleanup(&r->arena, end_call, q) != MC_OK) {
        return 503;
    }
    q->r = r;
    q->a = data;
    q->call.policy = &q->a->policy;
    q->call.ops = &call_ops;
    q->call.owner = q;
    q->call.worker = r->conn->worker;
    if (fill(q) != MC_OK || mc_call_start(&q->call) != MC_OK) {
        return 500;
    }
    return MC_AGAIN;
}

static const struct mc_filter_ops ops = { .phase = MC_FILTER_AUTH, .attach = attach, .access = ask };
static const struct mc_section *const sections[] = { &section, NULL };

const struct mc_module mc_module_filter_auth_request = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "auth_request",
    .kind = MC_MODULE_FILTER,
    .sections = sections,
    .ops.filter = &ops,
};
