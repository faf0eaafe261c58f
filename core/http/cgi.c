/* Heads of CGI replies, read strictly: what stands there goes into a head of ours. Contract: cgi.h. Called by the codecs of FastCGI and uwsgi. Worker side. */
#include "core/http/cgi.h"

enum { MAX_FIELDS = 512, FIRST_CAP = 1024 };

static int fail(const char **why, const char *what)
{
    *why = what;
    return MC_ERROR;
}

static int make_room(struct mc_cgi *c, struct mc_arena *a, size_t n)
{
    size_t cap = c->cap ? c->cap : FIRST_CAP;
    while (cap < c->n + n)
        cap *= 2;
    if (cap == c->cap)
        return MC_OK;
    char *p = mc_arena_alloc(a, cap);
    if (!p)
        return MC_ERROR;
    if (c->n)
        memcpy(p, c->p, c->n);
    c->p = p;
    c->cap = cap;
    return MC_OK;
}

/* How much of p belongs to the head: with the line feed of the empty line, or all of it. */
static size_t head_part(struct mc_cgi *c, const char *p, size_t n, bool *whole)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\n' && !c->in_line) {
            *whole = true;
            return i + 1;
        }
        bool end_of_line = p[i] == '\n' || (p[i] == '\r' && !c->cr);
        c->in_line = p[i] != '\n' && (c->in_line || !end_of_line);
        c->cr = p[i] == '\r';
    }
    return n;
}

int mc_cgi_take(struct mc_cgi *c, struct mc_arena *a, const char *p, size_t n, size_t *used, const char **why)
{
    bool whole = false;
    *used = 0;
    if (n > MC_CGI_HEAD_MAX)
        n = MC_CGI_HEAD_MAX;
    n = head_part(c, p, n, &whole);
    if (c->n + n > MC_CGI_HEAD_MAX)
        return fail(why, "the head of the reply is too large");
    if (n == 0)
        return MC_AGAIN;
    if (make_room(c, a, n) != MC_OK)
        return fail(why, "out of memory");
    memcpy(c->p + c->n, p, n);
    c->n += n;
    *used = n;
    return whole ? MC_OK : MC_AGAIN;
}

/* "200 OK", "404": three digits, then a blank and any text. */
static int set_status(struct mc_head *h, struct mc_str value)
{
    uint64_t code;
    if (value.n < 3 || mc_str_to_u64((struct mc_str){value.p, 3}, 599, &code) != MC_OK || code < 200)
        return MC_ERROR;
    if (value.n > 3 && value.p[3] != ' ')
        return MC_ERROR;
    h->status = (int)code;
    h->reason = mc_str_trim((struct mc_str){value.p + 3, value.n - 3});
    return MC_OK;
}

static int set_length(struct mc_head *h, struct mc_str value)
{
    uint64_t n;
    if (h->content_length >= 0 || mc_str_to_u64(value, INT64_MAX, &n) != MC_OK)
        return MC_ERROR;
    h->content_length = (int64_t)n;
    return MC_OK;
}

/* "HTTP/1.1 200 OK": what uWSGI writes in place of a Status. */
static int set_status_line(struct mc_head *h, struct mc_str line, const char **why)
{
    bool known = line.n > 9 && (line.p[7] == '0' || line.p[7] == '1') && line.p[8] == ' ';
    if (!known || set_status(h, (struct mc_str){line.p + 9, line.n - 9}) != MC_OK || !mc_field_value_ok(h->reason))
        return fail(why, "the reply's status line is none");
    return MC_OK;
}

static int add_line(struct mc_head *h, struct mc_arena *a, struct mc_str line, const char **why)
{
    const char *colon = memchr(line.p, ':', line.n);
    struct mc_str name = {line.p, colon ? (size_t)(colon - line.p) : 0};
    if (!colon || !mc_field_name_ok(name))
        return fail(why, "a line of the reply's head is not a field");
    struct mc_str value = mc_str_trim((struct mc_str){colon + 1, line.n - name.n - 1});
    if (!mc_field_value_ok(value))
        return fail(why, "a field of the reply holds a control character");
    if (mc_str_eq_nocase(name, MC_STR("Status"))) {
        if (h->status || set_status(h, value) != MC_OK)
            return fail(why, "the reply's Status is none");
        return MC_OK;
    }
    if (h->fields.n >= MAX_FIELDS)
        return fail(why, "too many fields in the reply");
    if (mc_fields_add(&h->fields, a, name, value) != MC_OK)
        return fail(why, "out of memory");
    switch (h->fields.v[h->fields.n - 1].id) {
    case MC_F_CONTENT_LENGTH:
        return set_length(h, value) == MC_OK ? MC_OK : fail(why, "the reply's Content-Length is wrong");
    case MC_F_TRANSFER_ENCODING:
        return fail(why, "the reply has a Transfer-Encoding");
    default:
        return MC_OK;
    }
}

int mc_cgi_head(const struct mc_cgi *c, struct mc_arena *a, bool head_request, struct mc_head *out, const char **why)
{
    struct mc_str rest = {c->p, c->n};
    *out = (struct mc_head){.content_length = -1, .version = 1};
    while (rest.n) {
        const char *lf = memchr(rest.p, '\n', rest.n);
        size_t n = lf ? (size_t)(lf - rest.p) : rest.n;
        struct mc_str line = {rest.p, n && rest.p[n - 1] == '\r' ? n - 1 : n};
        rest = lf ? (struct mc_str){lf + 1, rest.n - n - 1} : MC_STR_NONE;
        if (line.n == 0)
            break;
        bool first = out->fields.n == 0 && out->status == 0, status_line = first && line.n >= 7 && memcmp(line.p, "HTTP/1.", 7) == 0;
        if ((status_line ? set_status_line(out, line, why) : add_line(out, a, line, why)) != MC_OK)
            return MC_ERROR;
    }
    if (out->fields.n == 0 && out->status == 0)
        return fail(why, "the reply has no head");
    if (out->status == 0)
        out->status = mc_fields_find(&out->fields, MC_STR("Location")) ? 302 : 200;
    bool bodyless = head_request || out->status == 204 || out->status == 304;
    out->framing = bodyless ? MC_BODY_NONE : out->content_length >= 0 ? MC_BODY_LENGTH : MC_BODY_CLOSE;
    return MC_OK;
}
