/* uwsgi from a front server as a pure codec: a packet of variables becomes the text of an HTTP/1.0 head, which core/http/head.c checks like any other; replies are
 * http1's. One request a connection. Never reads a socket or a clock, never calls a handler. Called by core/server. Worker side. */
#include "core/base/module.h"
#include "core/http/protocol.h"

#include <arpa/inet.h>
#include <stdlib.h>

enum { HEADER = 4, VARS_MAX = 1000, HEAD_MAX = 1 << 18 };

enum step { STEP_PACKET, STEP_BODY, STEP_DONE };

struct uwsgi {
    const struct mc_protocol_ops *http1;
    struct mc_request *r;
    enum step step;
    uint64_t left; /* of the body */
};

/* Variables that are no field; in the order of enum known. */
enum known { METHOD, URI, PATH, QUERY, SCRIPT, ADDR, PORT, HTTPS, REQUEST_SCHEME, UWSGI_SCHEME, USER, TYPE, LENGTH, KNOWN };

static const struct mc_str known[KNOWN] = {
    [METHOD] = {"REQUEST_METHOD", 14}, [URI] = {"REQUEST_URI", 11},        [PATH] = {"PATH_INFO", 9},
    [QUERY] = {"QUERY_STRING", 12},    [SCRIPT] = {"SCRIPT_NAME", 11},     [ADDR] = {"REMOTE_ADDR", 11},
    [PORT] = {"REMOTE_PORT", 11},      [HTTPS] = {"HTTPS", 5},             [REQUEST_SCHEME] = {"REQUEST_SCHEME", 14},
    [UWSGI_SCHEME] = {"UWSGI_SCHEME", 12}, [USER] = {"REMOTE_USER", 11},   [TYPE] = {"CONTENT_TYPE", 12},
    [LENGTH] = {"CONTENT_LENGTH", 14},
};

static int open_session(struct mc_session *s)
{
    const struct mc_module *http1 = mc_module_find(MC_MODULE_PROTOCOL, "http1");
    struct uwsgi *u = http1 ? calloc(1, sizeof *u) : NULL;
    if (!u)
        return MC_ERROR;
    u->http1 = http1->ops.protocol;
    s->proto = u;
    return MC_OK;
}

static void close_session(struct mc_session *s)
{
    free(s->proto);
    s->proto = NULL;
}

/* ---- the packet */

static bool next_text(struct mc_str *rest, struct mc_str *out)
{
    if (rest->n < 2)
        return false;
    size_t n = (uint8_t)rest->p[0] | (size_t)(uint8_t)rest->p[1] << 8;
    if (n > rest->n - 2)
        return false;
    *out = (struct mc_str){rest->p + 2, n};
    *rest = (struct mc_str){rest->p + 2 + n, rest->n - 2 - n};
    return true;
}

/* Of the front's connection, or said in other variables. */
static bool not_ours(struct mc_str name)
{
    static const struct mc_str names[] = {MC_STR("CONNECTION"), MC_STR("KEEP_ALIVE"), MC_STR("PROXY_CONNECTION"), MC_STR("TRANSFER_ENCODING"), MC_STR("TE"),
                                          MC_STR("TRAILER"), MC_STR("UPGRADE"), MC_STR("EXPECT"), MC_STR("CONTENT_LENGTH"), MC_STR("CONTENT_TYPE"),
                                          MC_STR("HTTP2_SETTINGS"), MC_STR("PROXY")};
    for (size_t i = 0; i < MC_COUNT(names); i++) {
        if (mc_str_eq(name, names[i]))
            return true;
    }
    return false;
}

/* HTTP_X_FORWARDED_FOR: X-Forwarded-For */
static void add_name(struct mc_sb *sb, struct mc_str name)
{
    bool first = true;
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        mc_sb_addc(sb, c == '_' ? '-' : first ? (char)c : (char)mc_lower(c));
        first = c == '_';
    }
}

static void add_field(struct mc_sb *sb, const char *name, struct mc_str value)
{
    mc_sb_addz(sb, name);
    mc_sb_addz(sb, ": ");
    mc_sb_add(sb, value.p, value.n);
    mc_sb_addz(sb, "\r\n");
}

struct vars {
    struct mc_str v[KNOWN]; /* p NULL: not there */
    struct mc_sb fields;    /* from HTTP_… */
};

static int read_vars(struct mc_str rest, struct vars *vars)
{
    struct mc_str name, value;
    for (size_t i = 0; rest.n; i++) {
        if (i == VARS_MAX || !next_text(&rest, &name) || !next_text(&rest, &value))
            return 400;
        if (name.n > 5 && memcmp(name.p, "HTTP_", 5) == 0) {
            struct mc_str field = {name.p + 5, name.n - 5};
            if (!mc_field_name_ok(field) || !mc_field_value_ok(value))
                return 400;
            if (value.n == 0 || not_ours(field))
                continue;
            add_name(&vars->fields, field);
            add_field(&vars->fields, "", value);
            continue;
        }
        for (size_t k = 0; k < KNOWN; k++) {
            if (mc_str_eq(name, known[k])) {
                if (vars->v[k].p)
                    return 400; /* which of them? */
                vars->v[k] = value;
            }
        }
    }
    return vars->fields.bad ? 431 : MC_OK;
}

/* Nothing in them ends its line, or its place in the first one. */
static bool clean(const struct vars *vars)
{
    static const enum known first_line[] = {METHOD, URI, QUERY};
    for (size_t k = 0; k < KNOWN; k++) {
        if (!mc_field_value_ok(vars->v[k]))
            return false;
    }
    for (size_t k = 0; k < MC_COUNT(first_line); k++) {
        struct mc_str s = vars->v[first_line[k]];
        if (s.n && (memchr(s.p, ' ', s.n) || memchr(s.p, '\t', s.n)))
            return false;
    }
    return true;
}

static void add_target(struct mc_sb *sb, const struct vars *vars)
{
    if (vars->v[URI].n) {
        mc_sb_add(sb, vars->v[URI].p, vars->v[URI].n);
        return;
    }
    mc_uri_encode(sb, vars->v[SCRIPT], true);
    mc_uri_encode(sb, vars->v[PATH].n || vars->v[SCRIPT].n ? vars->v[PATH] : MC_STR("/"), true);
    if (vars->v[QUERY].n) {
        mc_sb_addc(sb, '?');
        mc_sb_add(sb, vars->v[QUERY].p, vars->v[QUERY].n);
    }
}

/* The text of a head, of clean variables. */
static void write_head(struct mc_sb *sb, const struct vars *vars)
{
    mc_sb_add(sb, vars->v[METHOD].p, vars->v[METHOD].n);
    mc_sb_addc(sb, ' ');
    add_target(sb, vars);
    mc_sb_addz(sb, " HTTP/1.0\r\n");
    mc_sb_add(sb, vars->fields.p, vars->fields.n);
    if (vars->v[TYPE].n)
        add_field(sb, "Content-Type", vars->v[TYPE]);
    if (vars->v[LENGTH].n)
        add_field(sb, "Content-Length", vars->v[LENGTH]);
    if (vars->v[SCRIPT].n)
        add_field(sb, "SCRIPT_NAME", vars->v[SCRIPT]);
    mc_sb_addz(sb, "\r\n");
}

static bool https(const struct vars *vars)
{
    const struct mc_str *v = vars->v;
    if (v[HTTPS].n)
        return !mc_str_eq_nocase(v[HTTPS], MC_STR("off"));
    return mc_str_eq(v[UWSGI_SCHEME].n ? v[UWSGI_SCHEME] : v[REQUEST_SCHEME], MC_STR("https"));
}

/* Nobody behind us shall be told anything else in its place ("unix:" of nginx). */
static bool is_address(struct mc_str s)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr a;
    if (s.n == 0 || s.n >= sizeof text || memchr(s.p, 0, s.n))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    return inet_pton(strchr(text, ':') ? AF_INET6 : AF_INET, text, &a) == 1;
}

static int set_front(struct mc_request *r, const struct vars *vars)
{
    struct mc_front *f = mc_arena_calloc(&r->arena, sizeof *f);
    if (!f)
        return 503;
    f->addr = mc_arena_dup(&r->arena, is_address(vars->v[ADDR]) ? vars->v[ADDR] : MC_STR(""));
    f->port = mc_arena_dup(&r->arena, vars->v[PORT].p ? vars->v[PORT] : MC_STR(""));
    f->https = https(vars);
    r->front = f;
    if (vars->v[USER].n)
        r->user = mc_arena_dup(&r->arena, vars->v[USER]);
    return f->addr.p && f->port.p && (!vars->v[USER].n || r->user.p) ? MC_OK : 503;
}

static int parse(const struct mc_head_limits *lim, struct mc_request *r, struct mc_str text)
{
    struct mc_head_scan scan = {0};
    size_t skip, len;
    int rc = mc_head_find(&scan, text.p, text.n, lim, &skip, &len);
    if (rc != MC_OK)
        return rc > 0 ? rc : 400;
    if (skip || len != text.n)
        return 400; /* a value that ends the head: the rest would be a request of its own */
    rc = mc_head_request(&r->arena, text.p, text.n, lim, &r->head);
    r->is_head = mc_str_eq(r->head.method, MC_STR("HEAD"));
    r->uri = r->head.uri;
    if (rc)
        return rc;
    r->path = r->uri.path;
    return r->path.p[0] == '*' ? MC_OK : mc_uri_normalise(&r->arena, r->uri.path, &r->path);
}

static int take_packet(const struct mc_head_limits *lim, struct mc_request *r, struct mc_str packet)
{
    struct vars vars = {.v = {{NULL, 0}}};
    struct mc_sb sb;
    mc_sb_init(&vars.fields, HEAD_MAX);
    mc_sb_init(&sb, HEAD_MAX);
    int rc = read_vars(packet, &vars);
    if (rc == MC_OK && !clean(&vars))
        rc = 400;
    if (rc == MC_OK) {
        write_head(&sb, &vars);
        struct mc_str text = sb.bad ? MC_STR_NONE : mc_arena_dup(&r->arena, (struct mc_str){sb.p, sb.n});
        rc = text.p ? parse(lim, r, text) : 431;
    }
    if (rc == MC_OK)
        rc = set_front(r, &vars);
    mc_sb_fini(&sb);
    mc_sb_fini(&vars.fields);
    return rc;
}

/* ---- input */

static void refuse(struct mc_session *s, struct mc_input *ev, int status)
{
    struct uwsgi *u = s->proto;
    u->step = STEP_DONE;
    s->close = true;
    ev->kind = MC_IN_ERROR;
    ev->status = status;
    ev->r = u->r;
}

static void input_packet(struct mc_session *s, struct mc_input *ev)
{
    struct uwsgi *u = s->proto;
    struct mc_inbuf *in = &s->in;
    size_t n = in->len - in->pos;
    const uint8_t *b = n ? (const uint8_t *)in->data + in->pos : NULL;
    if (s->close || (n == 0 && in->eof)) {
        ev->kind = MC_IN_EOF;
        return;
    }
    size_t size = n >= HEADER ? b[1] | (size_t)b[2] << 8 : 0;
    if (n && b[0] != 0) {
        refuse(s, ev, 400); /* not for us, or not uwsgi at all */
        return;
    }
    if (n < HEADER || n < HEADER + size) {
        ev->started = n > 0;
        if (in->eof)
            ev->kind = MC_IN_CUT;
        return;
    }
    u->r = s->host->request_new(s);
    int rc = u->r ? take_packet(&s->host->limits, u->r, (struct mc_str){(const char *)b + HEADER, size}) : 503;
    in->pos += HEADER + size;
    if (rc) {
        refuse(s, ev, rc);
        return;
    }
    u->step = STEP_BODY;
    u->left = u->r->head.framing == MC_BODY_LENGTH ? (uint64_t)u->r->head.content_length : 0;
    ev->kind = MC_IN_HEAD;
    ev->r = u->r;
}

static void input_body(struct mc_session *s, struct mc_input *ev)
{
    struct uwsgi *u = s->proto;
    struct mc_inbuf *in = &s->in;
    size_t n = in->len - in->pos;
    ev->r = u->r;
    if (u->left == 0) {
        u->step = STEP_DONE;
        ev->kind = MC_IN_END;
        return;
    }
    if (n > u->left)
        n = (size_t)u->left;
    if (n) {
        ev->kind = MC_IN_DATA;
        ev->data = (struct mc_str){in->data + in->pos, n};
        in->pos += n;
        u->left -= n;
    } else if (in->eof) {
        u->step = STEP_DONE;
        s->close = true;
        ev->kind = MC_IN_CUT;
    }
}

static void input(struct mc_session *s, struct mc_input *ev)
{
    struct uwsgi *u = s->proto;
    *ev = (struct mc_input){.kind = MC_IN_MORE};
    switch (u->step) {
    case STEP_PACKET:
        input_packet(s, ev);
        return;
    case STEP_BODY:
        input_body(s, ev);
        return;
    case STEP_DONE:
        ev->r = u->r;
        ev->busy = u->r != NULL;
        if (!ev->busy)
            ev->kind = MC_IN_EOF;
        return;
    }
}

static void finish(struct mc_request *r)
{
    struct uwsgi *u = r->session->proto;
    if (u->r != r)
        return;
    u->r = NULL;
    u->step = STEP_DONE;
    r->session->close = true;
}

/* ---- output: http1's, which keeps nothing of a session but of the request */

static const struct mc_protocol_ops *http1(const struct mc_request *r)
{
    return ((const struct uwsgi *)r->session->proto)->http1;
}

static int head(struct mc_request *r, const void *p, size_t n, bool last)
{
    return http1(r)->head(r, p, n, last);
}

static int body(struct mc_request *r, const void *p, size_t n, bool last)
{
    return http1(r)->body(r, p, n, last);
}

static int file(struct mc_request *r, struct mc_file *f, off_t off, off_t n, bool last)
{
    return http1(r)->file(r, f, off, n, last);
}

/* The front has spoken with the client already. */
static int interim(struct mc_request *r, int status, const struct mc_fields *fields)
{
    (void)r;
    (void)status;
    (void)fields;
    return MC_OK;
}

static int switch_to(struct mc_request *r, struct mc_str upgrade, const struct mc_fields *fields)
{
    (void)r;
    (void)upgrade;
    (void)fields;
    return MC_ERROR;
}

static const struct mc_protocol_ops ops = {
    .name = "uwsgi",
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

const struct mc_module mc_module_protocol_uwsgi = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "uwsgi",
    .kind = MC_MODULE_PROTOCOL,
    .ops.protocol = &ops,
};
