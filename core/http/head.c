/* Message heads in three layers: a strict scan that finds the end, then the fields, then the rules of framing, Host and connection from our own list of
 * fields (RFC 9112 §3, §5, §6), with http-parser (this is the only file that knows it) as second opinion where framing hangs on fields.
 * http-parser can only refuse more than we do: system builds of it are lenient, so nothing of its verdicts or flags is relied upon.
 * Never reads a body. Called by the codecs of HTTP/1 (server and upstream). Worker side. */
#include "core/http/head.h"

#include <http_parser.h>
#include <stdatomic.h>

enum { BLANKS_MAX = 2, METHOD_MAX = 32, VERSION_LEN = 8, NAME_MIN = 3, NAME_MAX = 20 /* of a method, as Gunicorn has it */ };

/* ---- layer 1: where the head ends, and what no head contains ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "HTTP/1.x": its minor version in *minor. MC_OK, 505 for another version of HTTP, 400 for anything else. */
static int check_version(const char *p, uint8_t *minor)
{
    if (mc_likely(memcmp(p, "HTTP/1.1", VERSION_LEN) == 0)) {
        *minor = 1;
        return MC_OK;
    }
    if (memcmp(p, "HTTP/", 5) != 0 || !is_digit(p[5]) || p[6] != '.' || !is_digit(p[7]))
        return 400;
    if (p[5] != '1')
        return 505;
    *minor = p[7] != '0';
    return MC_OK;
}

/* A complete first line p[0,n): enough to refuse what is no HTTP/1 before its head ends. */
static int check_first_line(const struct mc_head_scan *scan, const char *p, size_t n)
{
    uint8_t minor;
    if (n < VERSION_LEN)
        return 400;
    return check_version(scan->response ? p : p + n - VERSION_LEN, &minor);
}

/* The line that is being read is p[0,n) so far: is it too much already, or wrong from the start? */
static int check_growing(const struct mc_head_scan *scan, const char *p, size_t n, const struct mc_head_limits *lim)
{
    if (!scan->line_done) {
        if (n > METHOD_MAX && !scan->response && !lim->any_method && !memchr(p, ' ', METHOD_MAX + 1))
            return 400;
        return n > lim->line ? 414 : MC_OK;
    }
    if (n && (*p == ' ' || *p == '\t' || *p == ':'))
        return 400;                               /* obs-fold; a field without name */
    return n + 2 > lim->field_size ? 431 : MC_OK; /* with the CRLF to come */
}

/* A line that is not empty is complete. */
static int check_line(struct mc_head_scan *scan, const char *p, size_t n, const struct mc_head_limits *lim)
{
    if (!scan->line_done) {
        scan->line_done = true;
        return check_first_line(scan, p, n);
    }
    return ++scan->nfields > lim->fields ? 431 : MC_OK;
}

int mc_head_find(struct mc_head_scan *state, const char *p, size_t n, const struct mc_head_limits *lim, size_t *skip, size_t *len)
{
    struct mc_head_scan scan = *state;
    size_t i = scan.seen, dropped = 0;
    int rc = MC_AGAIN;
    *skip = 0;
    while (rc == MC_AGAIN) {
        i = mc_str_plain(p, i, n);
        if (i < n && p[i] == '\t') {
            i++;
            continue;
        }
        /* Before a look at what stopped us, so that the verdict does not depend on how the bytes arrived. */
        const char *line = p + scan.line_start;
        size_t size = i - scan.line_start;
        int bad = check_growing(&scan, line, size, lim);
        if (!bad && i - dropped > lim->head)
            bad = 431;
        if (bad)
            return bad;
        if (i == n || (p[i] == '\r' && i + 1 == n))
            break;
        if (p[i] != '\r' || p[i + 1] != '\n')
            return 400; /* a bare LF or CR, or another control byte */
        i += 2;
        if (size) {
            bad = check_line(&scan, line, size, lim);
            if (bad)
                return bad;
        } else if (scan.line_done) {
            *len = i - dropped;
            rc = *len > lim->head ? 431 : MC_OK;
        } else {
            if (++scan.blanks > BLANKS_MAX)
                return 400;
            dropped = i;
        }
        scan.line_start = i;
    }
    scan.seen = i - dropped;
    scan.line_start -= dropped;
    *state = scan;
    *skip = dropped;
    return rc;
}

/* ---- layer 2: the fields ---- */

/* Behind the first line, which has `line` bytes, each one is NAME ":" OWS VALUE OWS CRLF: layer 1 has seen its bytes, the end of each line and of all. */
static int split(struct mc_arena *a, const char *start, size_t line, size_t n, struct mc_fields *out)
{
    const char *p = start + line + 2, *end = start + n - 2;
    while (p < end) {
        const char *colon = p;
        while (mc_field_tchar[(unsigned char)*colon])
            colon++;
        if (colon == p || *colon != ':')
            return 400;
        const char *eol = colon;
        do /* the next control byte that is no tab is the line's CR */
            eol = start + mc_str_plain(start, (size_t)(eol + 1 - start), n);
        while (*eol == '\t');
        struct mc_str name = {p, (size_t)(colon - p)}, value = {colon + 1, (size_t)(eol - colon - 1)};
        if (mc_fields_add(out, a, name, mc_str_trim(value)) != MC_OK)
            return 500;
        p = eol + 2;
    }
    return MC_OK;
}

/* ---- http-parser: what it makes of a message whose framing hangs on fields ---- */

struct opinion {
    http_parser hp;
    bool done, bad;
};

static int on_done(http_parser *hp)
{
    struct opinion *o = hp->data;
    o->done = true;
    return 2; /* stop here: the body is none of its business */
}

static void ask(struct opinion *o, const char *p, size_t n)
{
    static const http_parser_settings settings = {.on_headers_complete = on_done};
    o->bad = o->bad || http_parser_execute(&o->hp, &settings, p, n) != n || HTTP_PARSER_ERRNO(&o->hp) != HPE_OK;
}

/* Its limit is one for the whole process (80 KiB): ours are per listener, so that one is lifted once. */
static void lift_limit(void)
{
    static atomic_bool lifted;
    if (atomic_load_explicit(&lifted, memory_order_relaxed))
        return;
    http_parser_set_max_header_size(0x7fffffff);
    atomic_store_explicit(&lifted, true, memory_order_relaxed);
}

static bool known_method(struct mc_str m)
{
#define KNOWN(num, name, string) MC_STR(#string),
    static const struct mc_str methods[] = {HTTP_METHOD_MAP(KNOWN)};
#undef KNOWN
    unsigned i = 0;
    while (i < MC_COUNT(methods) && !mc_str_eq(m, methods[i]))
        i++;
    return i < MC_COUNT(methods);
}

static bool frames(uint8_t id)
{
    return id == MC_F_CONTENT_LENGTH || id == MC_F_TRANSFER_ENCODING || id == MC_F_CONNECTION || id == MC_F_UPGRADE;
}

/* It sees the first line and the fields that decide framing: a field more is a pass more over each byte to it. Methods that it does not know would end
 * its work at once, so those have another first line, as ours is checked already. MC_OK or 400. */
static int second_opinion(enum http_parser_type type, const char *p, size_t n, const struct mc_head *head)
{
    const struct mc_str other = MC_STR("POST / HTTP/1.1\r\n");
    const char *fields = (const char *)memchr(p, '\n', n) + 1, *end = p + n;
    struct opinion o = {.done = false};
    lift_limit();
    http_parser_init(&o.hp, type);
    o.hp.data = &o;
    if (type == HTTP_RESPONSE || known_method(head->method))
        ask(&o, p, (size_t)(fields - p));
    else
        ask(&o, other.p, other.n);
    for (uint32_t i = 0; i < head->fields.n; i++) {
        const struct mc_field *f = &head->fields.v[i];
        if (frames((uint8_t)f->id))
            ask(&o, f->name.p, (size_t)((const char *)memchr(f->name.p, '\n', (size_t)(end - f->name.p)) + 1 - f->name.p));
    }
    ask(&o, end - 2, 2);
    return o.bad || !o.done ? 400 : MC_OK;
}

/* ---- layer 3: our rules ---- */

/* The first field of each kind that has a say, and what the lists of Connection said. */
struct facts {
    const struct mc_field *host, *length, *coding, *type, *expect;
    bool upgrade, close, keep, wants_upgrade;
};

static int once(const struct mc_field **slot, const struct mc_field *f)
{
    if (*slot)
        return 400;
    *slot = f;
    return MC_OK;
}

static void read_connection(struct mc_str list, struct facts *k)
{
    struct mc_str token;
    while (mc_str_next_token(&list, &token)) {
        if (mc_str_eq_nocase(token, MC_STR("close")))
            k->close = true;
        else if (mc_str_eq_nocase(token, MC_STR("keep-alive")))
            k->keep = true;
        else if (mc_str_eq_nocase(token, MC_STR("upgrade")))
            k->wants_upgrade = true;
    }
}

/* 501 for codings that we do not know, 400 for what is no list of codings. */
static int refuse_coding(struct mc_str value)
{
    bool unknown = false;
    while (true) {
        const char *comma = value.n ? memchr(value.p, ',', value.n) : NULL;
        struct mc_str coding = mc_str_trim((struct mc_str){value.p, comma ? (size_t)(comma - value.p) : value.n});
        if (!mc_field_name_ok(coding))
            return 400;
        if (!mc_str_eq_nocase(coding, MC_STR("chunked")))
            unknown = true;
        if (!comma)
            return unknown ? 501 : 400;
        value.n -= (size_t)(comma + 1 - value.p);
        value.p = comma + 1;
    }
}

/* One look at every field. Only names that match as they are count: "Content_Length" is just another name. */
static int gather(const struct mc_fields *fields, struct facts *k)
{
    int rc = MC_OK;
    for (uint32_t i = 0; i < fields->n && rc == MC_OK; i++) {
        const struct mc_field *f = &fields->v[i];
        switch (f->id) {
        case MC_F_HOST:
            rc = once(&k->host, f);
            break;
        case MC_F_CONTENT_LENGTH:
            rc = once(&k->length, f);
            break;
        case MC_F_CONTENT_TYPE:
            rc = once(&k->type, f);
            break;
        case MC_F_TRANSFER_ENCODING:
            rc = once(&k->coding, f);
            if (rc)
                rc = refuse_coding(k->coding->value) == 501 ? 501 : refuse_coding(f->value);
            break;
        case MC_F_EXPECT:
            if (k->expect)
                return 417;
            k->expect = f;
            break;
        case MC_F_CONNECTION:
            read_connection(f->value, k);
            break;
        case MC_F_UPGRADE:
            k->upgrade = true;
            break;
        default:
            break;
        }
    }
    return rc;
}

/* RFC 9112 §6.3, without the choices it leaves. */
static int decide_framing(const struct facts *k, struct mc_head *out)
{
    if (k->coding) {
        if (k->length || out->version == 0)
            return 400;
        if (!mc_str_eq_nocase(k->coding->value, MC_STR("chunked")))
            return refuse_coding(k->coding->value);
        out->framing = MC_BODY_CHUNKED;
    } else if (k->length) {
        uint64_t length;
        if (mc_str_to_u64(k->length->value, INT64_MAX, &length) != MC_OK)
            return 400;
        out->content_length = (int64_t)length;
        out->framing = length ? MC_BODY_LENGTH : MC_BODY_NONE;
    }
    return MC_OK;
}

/* RFC 9112 §3.2, RFC 9110 §7.2: one legal Host on 1.1, and the authority of the target wins over it. */
static int decide_host(const struct facts *k, struct mc_head *out)
{
    out->host = out->port = MC_STR("");
    if (!k->host && out->version > 0)
        return 400;
    if (k->host && mc_uri_host(k->host->value, &out->host, &out->port) != MC_OK)
        return 400;
    return out->uri.authority.p ? mc_uri_host(out->uri.authority, &out->host, &out->port) : MC_OK;
}

static void decide_connection(const struct facts *k, struct mc_head *out)
{
    out->keepalive = !k->close && (out->version > 0 || k->keep);
    out->upgrade = out->version > 0 && k->wants_upgrade && k->upgrade;
}

/* Any token may be a method (RFC 9110 §9.1), and apps define some; but names like Gunicorn's only, as the others are mistakes or probes. */
static int check_method(struct mc_str m, bool any)
{
    if (mc_str_eq(m, MC_STR("PRI")))
        return 400; /* the preface of HTTP/2 */
    if (mc_str_eq(m, MC_STR("TRACE")))
        return 405;
    if (mc_str_eq(m, MC_STR("CONNECT")))
        return 501;
    if (any)
        return MC_OK;
    if (m.n < NAME_MIN || m.n > NAME_MAX || memchr(m.p, '#', m.n))
        return 501;
    for (size_t i = 0; i < m.n; i++) {
        if (m.p[i] >= 'a' && m.p[i] <= 'z')
            return 501;
    }
    return MC_OK;
}

/* The methods of nearly all requests need no look at each byte. Their length, or 0. */
static size_t usual_method(const char *p, size_t n)
{
    if (n > 4 && memcmp(p, "GET ", 4) == 0)
        return 3;
    return n > 5 && (memcmp(p, "POST ", 5) == 0 || memcmp(p, "HEAD ", 5) == 0) ? 4 : 0;
}

/* method SP target SP version CRLF, and nothing more (RFC 9112 §3). *line: its bytes before CRLF. */
static int request_line(const char *p, size_t n, const struct mc_head_limits *lim, struct mc_head *out, size_t *line)
{
    *line = mc_str_plain(p, 0, n);
    if (*line == n || p[*line] != '\r')
        return 400;
    const char *end = p + *line, *space;
    size_t usual = usual_method(p, *line);
    space = usual ? p + usual : memchr(p, ' ', *line);
    if (!space || (space - p > METHOD_MAX && !lim->any_method))
        return 400;
    struct mc_str method = {p, (size_t)(space - p)};
    if (!usual && !mc_field_name_ok(method))
        return 400;
    out->method = method;
    if ((size_t)(end - p) > lim->line)
        return 414;
    if (end - space < VERSION_LEN + 3 || end[-VERSION_LEN - 1] != ' ')
        return 400;
    struct mc_str target = {space + 1, (size_t)(end - VERSION_LEN - 1 - (space + 1))};
    out->target = target;
    int rc = check_version(end - VERSION_LEN, &out->version);
    if (!rc && !usual)
        rc = check_method(method, lim->any_method);
    return rc ? rc : mc_uri_split(target, !usual && mc_str_eq(method, MC_STR("OPTIONS")), &out->uri);
}

static int check_expect(const struct facts *k, struct mc_head *out)
{
    if (!k->expect)
        return MC_OK;
    if (!mc_str_eq_nocase(k->expect->value, MC_STR("100-continue")))
        return 417;
    out->expect_continue = out->version > 0 && out->framing != MC_BODY_NONE;
    return MC_OK;
}

static void move(struct mc_str *s, struct mc_str from, const char *to)
{
    uintptr_t at = (uintptr_t)s->p - (uintptr_t)from.p;
    if (s->p && at <= from.n)
        s->p = to + at;
}

int mc_head_request(struct mc_arena *a, const char *p, size_t n, const struct mc_head_limits *lim, struct mc_head *out)
{
    struct facts k = {.host = NULL};
    size_t line;
    *out = (struct mc_head){.content_length = -1};
    int rc = request_line(p, n, lim, out, &line);
    if (!rc)
        rc = split(a, p, line, n, &out->fields);
    if (!rc && out->fields.n > lim->fields)
        rc = 431;
    if (!rc)
        rc = gather(&out->fields, &k);
    if (!rc)
        rc = decide_framing(&k, out);
    if (!rc)
        rc = decide_host(&k, out);
    if (!rc && (k.length || k.coding)) /* else there is no body, whatever anybody thinks (RFC 9112 §6.3) */
        rc = second_opinion(HTTP_REQUEST, p, n, out);
    if (rc)
        return rc;
    decide_connection(&k, out);
    return check_expect(&k, out);
}

void mc_head_move(struct mc_head *head, struct mc_str from, const char *to)
{
    struct mc_uri *uri = &head->uri;
    struct mc_str *slices[] = {&head->method, &head->target, &head->reason, &uri->path, &uri->query, &uri->authority, &uri->scheme, &head->host, &head->port};
    for (size_t i = 0; i < MC_COUNT(slices); i++)
        move(slices[i], from, to);
    for (uint32_t i = 0; i < head->fields.n; i++) {
        move(&head->fields.v[i].name, from, to);
        move(&head->fields.v[i].value, from, to);
    }
}

/* Fields that were split elsewhere: each one again by our own tables, and against the limits of a line. */
static int check_fields(const struct mc_head_limits *lim, const struct mc_fields *fields)
{
    size_t all = 0;
    if (fields->n > lim->fields)
        return 431;
    for (uint32_t i = 0; i < fields->n; i++) {
        const struct mc_field *f = &fields->v[i];
        size_t size = f->name.n + f->value.n + 4; /* ": " and CRLF */
        all += size;
        if (!mc_field_name_ok(f->name) || !mc_field_value_ok(f->value))
            return 400;
        if (size > lim->field_size || all > lim->head)
            return 431;
        if (mc_field_hop_by_hop(f->id) && f->id != MC_F_TE && f->id != MC_F_TRAILER)
            return 400;
    }
    return MC_OK;
}

int mc_head_check(const struct mc_head_limits *lim, bool body, struct mc_head *out)
{
    struct facts k = {.host = NULL};
    out->version = 1;
    out->content_length = -1;
    if ((out->method.n > METHOD_MAX && !lim->any_method) || !mc_field_name_ok(out->method))
        return 400;
    if (out->method.n + out->target.n + VERSION_LEN + 2 > lim->line)
        return 414;
    int rc = check_method(out->method, lim->any_method);
    if (!rc)
        rc = mc_uri_split(out->target, mc_str_eq(out->method, MC_STR("OPTIONS")), &out->uri);
    if (!rc)
        rc = check_fields(lim, &out->fields);
    if (!rc)
        rc = gather(&out->fields, &k);
    if (!rc)
        rc = decide_framing(&k, out);
    if (!rc)
        rc = decide_host(&k, out);
    if (rc)
        return rc;
    out->keepalive = true;
    out->framing = !body ? MC_BODY_NONE : out->content_length >= 0 ? MC_BODY_LENGTH : MC_BODY_CHUNKED;
    return check_expect(&k, out);
}

/* "HTTP/1.x" SP 3DIGIT SP [reason] CRLF; the second space may be missing when there is no reason. */
static int status_line(const char *p, size_t n, struct mc_head *out, size_t *line)
{
    const char *end = memchr(p, '\r', n);
    uint64_t status;
    if (!end || end - p < VERSION_LEN + 4 || p[VERSION_LEN] != ' ')
        return MC_ERROR;
    *line = (size_t)(end - p);
    if (check_version(p, &out->version) != MC_OK)
        return MC_ERROR;
    if (mc_str_to_u64((struct mc_str){p + VERSION_LEN + 1, 3}, 999, &status) != MC_OK || status < 100)
        return MC_ERROR;
    const char *reason = p + VERSION_LEN + 4;
    if (reason < end && *reason++ != ' ')
        return MC_ERROR;
    out->status = (int)status;
    out->reason = (struct mc_str){reason, (size_t)(end - reason)};
    return mc_field_value_ok(out->reason) ? MC_OK : MC_ERROR;
}

int mc_head_response(struct mc_arena *a, const char *p, size_t n, bool head_request, struct mc_head *out)
{
    struct facts k = {.host = NULL};
    size_t line;
    *out = (struct mc_head){.content_length = -1};
    if (status_line(p, n, out, &line) != MC_OK || split(a, p, line, n, &out->fields) != MC_OK)
        return MC_ERROR;
    if (gather(&out->fields, &k) != MC_OK || decide_framing(&k, out) != MC_OK || second_opinion(HTTP_RESPONSE, p, n, out) != MC_OK)
        return MC_ERROR;
    decide_connection(&k, out);
    if (head_request || out->status < 200 || out->status == 204 || out->status == 304) {
        out->framing = MC_BODY_NONE;
    } else if (out->framing == MC_BODY_NONE && out->content_length < 0) {
        out->framing = MC_BODY_CLOSE;
        out->keepalive = false;
    }
    return MC_OK;
}
