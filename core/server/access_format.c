/* The access log's format: Gunicorn's atoms compiled into a list of operations, and a line made of a request. Everything that a client chose is
 * escaped, so a line is a line. Pure: no descriptor, no buffer of its own. Called by access.c. */
#include "core/server/access_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

enum { USER = 128 };

enum what {
    TEXT,
    DASH,
    PEER,
    USER_NAME,
    TIME,
    REQUEST_LINE,
    METHOD,
    PATH,
    QUERY,
    VERSION,
    STATUS,
    BYTES,
    SECONDS,
    MILLIS,
    MICROS,
    DECIMAL,
    PID,
    FIELD,
    RESPONSE_FIELD,
    SCHEME,
    TARGET,
    SERVER_NAME,
    SERVER_PORT,
};

struct mc_access_op {
    enum what what;
    struct mc_str text; /* TEXT, or the name of a field */
};

/* A place in the line that is being made. */
struct out {
    char *p, *end;
};

/* ---- the format ---- */

static const struct {
    char letter;
    enum what what;
} letters[] = {
    {'h', PEER},    {'l', DASH},   {'u', USER_NAME}, {'t', TIME},    {'r', REQUEST_LINE}, {'m', METHOD},
    {'U', PATH},    {'q', QUERY},  {'H', VERSION},   {'s', STATUS},  {'B', BYTES},        {'b', BYTES},
    {'T', SECONDS}, {'M', MILLIS}, {'D', MICROS},    {'L', DECIMAL}, {'p', PID},
};

/* What of a WSGI environ the server knows itself; the rest is "-". */
static const struct {
    const char *name;
    enum what what;
} variables[] = {
    {"request_method", METHOD},   {"path_info", PATH},          {"query_string", QUERY}, {"server_protocol", VERSION},
    {"remote_addr", PEER},        {"remote_user", USER_NAME},   {"raw_uri", TARGET},     {"wsgi.url_scheme", SCHEME},
    {"server_name", SERVER_NAME}, {"server_port", SERVER_PORT},
};

static struct mc_access_op field(char *name, enum what what)
{
    return (struct mc_access_op){what, mc_str(name)};
}

/* {name}e, in place: HTTP_X_Y becomes the field x-y. */
static struct mc_access_op variable(char *name)
{
    for (char *p = name; *p; p++)
        *p = (char)mc_lower((unsigned char)*p);
    for (size_t i = 0; i < MC_COUNT(variables); i++) {
        if (strcmp(name, variables[i].name) == 0)
            return (struct mc_access_op){.what = variables[i].what};
    }
    bool content = strcmp(name, "content_type") == 0 || strcmp(name, "content_length") == 0;
    if (!content && strncmp(name, "http_", 5) != 0)
        return (struct mc_access_op){.what = DASH};
    if (!content)
        name += 5;
    for (char *p = name; *p; p++)
        *p = *p == '_' ? '-' : *p;
    return field(name, FIELD);
}

static char referer[] = "referer", user_agent[] = "user-agent";

/* The inside of %(...)s. Unknown words are "-", as in Gunicorn. */
static struct mc_access_op atom(char *word)
{
    size_t n = strlen(word);
    if (strcmp(word, "f") == 0)
        return field(referer, FIELD);
    if (strcmp(word, "a") == 0)
        return field(user_agent, FIELD);
    for (size_t i = 0; n == 1 && i < MC_COUNT(letters); i++) {
        if (word[0] == letters[i].letter)
            return (struct mc_access_op){.what = letters[i].what};
    }
    if (n < 4 || word[0] != '{' || word[n - 2] != '}')
        return (struct mc_access_op){.what = DASH};
    char kind = word[n - 1];
    word[n - 2] = '\0';
    if (kind == 'i')
        return field(word + 1, FIELD);
    if (kind == 'o')
        return field(word + 1, RESPONSE_FIELD);
    return kind == 'e' ? variable(word + 1) : (struct mc_access_op){.what = DASH};
}

static void append(struct mc_access_format *f, struct mc_access_op op)
{
    f->prog[f->nops++] = op;
}

/* One % sequence; *p stands behind it. */
static int sequence(struct mc_access_format *f, char **p, char *err, size_t errcap)
{
    char *at = *p, *bracket = at[1] == '(' ? strchr(at, ')') : NULL;
    if (at[1] == '%') {
        append(f, (struct mc_access_op){TEXT, {at, 1}});
        *p = at + 2;
        return MC_OK;
    }
    if (!bracket || (bracket[1] != 's' && bracket[1] != 'd')) {
        snprintf(err, errcap, "\"%.20s\" is not of the form %%(NAME)s", at);
        return MC_ERROR;
    }
    *bracket = '\0';
    append(f, atom(at + 2));
    *p = bracket + 2;
    return MC_OK;
}

int mc_access_format_compile(struct mc_access_format *f, const char *format, char *err, size_t errcap)
{
    f->names = strdup(format);
    snprintf(f->pid, sizeof(f->pid), "<%ld>", (long)getpid());
    f->prog = calloc(strlen(format) + 1, sizeof(*f->prog));
    if (!f->names || !f->prog) {
        snprintf(err, errcap, "out of memory");
        return MC_ERROR;
    }
    for (char *p = f->names; *p;) {
        size_t n = strcspn(p, "%");
        if (n)
            append(f, (struct mc_access_op){TEXT, {p, n}});
        p += n;
        if (*p && sequence(f, &p, err, errcap) != MC_OK)
            return MC_ERROR;
    }
    return MC_OK;
}

void mc_access_format_free(struct mc_access_format *f)
{
    free(f->names);
    free(f->prog);
    f->names = NULL;
    f->prog = NULL;
}

/* ---- a line ---- */

static void put(struct out *o, struct mc_str s)
{
    size_t room = (size_t)(o->end - o->p), n = s.n < room ? s.n : room;
    memcpy(o->p, s.p ? s.p : "", n);
    o->p += n;
}

/* What a client chose. */
static void put_escaped(struct out *o, struct mc_str s)
{
    o->p += mc_str_escape(o->p, (size_t)(o->end - o->p), s);
}

static void put_client(struct out *o, struct mc_str s)
{
    if (s.n == 0)
        put(o, MC_STR("-"));
    else
        put_escaped(o, s);
}

static void put_number(struct out *o, uint64_t v)
{
    char text[20];
    put(o, (struct mc_str){text, mc_str_u64(text, v)});
}

static void put_time(struct mc_access_format *f, struct out *o)
{
    time_t now = time(NULL);
    if (now != f->second) {
        struct tm tm;
        static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        f->second = now;
        if (!localtime_r(&now, &tm))
            tm = (struct tm){.tm_year = 70, .tm_mday = 1};
        long offset = tm.tm_gmtoff / 60;
        unsigned zone = (unsigned)(offset < 0 ? -offset : offset) % 6000;
        snprintf(f->date, sizeof(f->date), "[%02d/%s/%d:%02d:%02d:%02d %c%02u%02u]", tm.tm_mday, months[tm.tm_mon % 12], tm.tm_year + 1900,
                 tm.tm_hour, tm.tm_min, tm.tm_sec, offset < 0 ? '-' : '+', zone / 60, zone % 60);
    }
    put(o, mc_str(f->date));
}

static int sextet(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

/* User name of Basic credentials (RFC 7617): up to the first colon; nothing when there is none. */
static size_t basic_user(struct mc_str s, char out[USER])
{
    unsigned bits = 0, have = 0;
    size_t n = 0;
    if (s.n < 6 || strncasecmp(s.p, "basic ", 6) != 0)
        return 0;
    for (size_t i = 6; i < s.n && n < USER; i++) {
        int v = sextet(s.p[i]);
        if (v < 0)
            break;
        bits = (bits << 6 | (unsigned)v) & 0xffff;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        out[n] = (char)(bits >> have);
        if (out[n] == ':')
            return n;
        n++;
    }
    return 0;
}

static void put_user(struct out *o, const struct mc_request *r)
{
    char user[USER];
    const struct mc_field *f = mc_fields_get(&r->head.fields, MC_F_AUTHORIZATION);
    put_client(o, r->user.p ? r->user : (struct mc_str){user, f ? basic_user(f->value, user) : 0});
}

static struct mc_str version_of(const struct mc_request *r)
{
    return r->head.version ? MC_STR("HTTP/1.1") : MC_STR("HTTP/1.0");
}

static void put_request_line(struct out *o, const struct mc_request *r)
{
    put_client(o, r->head.method);
    put(o, MC_STR(" "));
    put_client(o, r->head.target);
    put(o, MC_STR(" "));
    put(o, version_of(r));
}

static void put_field(struct out *o, const struct mc_fields *fields, struct mc_str name)
{
    const struct mc_field *f = mc_fields_find(fields, name);
    put_client(o, f ? f->value : MC_STR_NONE);
}

/* Content-Length is no field of the response: the server makes it. */
static void put_response_field(struct out *o, const struct mc_request *r, struct mc_str name)
{
    if (mc_str_eq_nocase(name, MC_STR("content-length")) && r->resp.length >= 0)
        put_number(o, (uint64_t)r->resp.length);
    else
        put_field(o, &r->resp.fields, name);
}

static void put_decimal(struct out *o, uint64_t usec)
{
    char text[40];
    int n = snprintf(text, sizeof(text), "%llu.%06llu", (unsigned long long)usec / 1000000, (unsigned long long)usec % 1000000);
    put(o, (struct mc_str){text, (size_t)n});
}

/* Who asked. */
static void put_peer(struct out *o, const struct mc_access_op *op, const struct mc_access_fact *f)
{
    if (op->what == PEER)
        put_client(o, f->peer);
    else
        put_user(o, f->r);
}

/* What of the request itself. */
static bool put_request(struct out *o, const struct mc_access_op *op, const struct mc_request *r)
{
    switch (op->what) {
    case REQUEST_LINE:
        put_request_line(o, r);
        break;
    case METHOD:
        put_client(o, r->head.method);
        break;
    case PATH:
        put_client(o, r->path.n ? r->path : r->uri.path);
        break;
    case QUERY:
        put_escaped(o, r->uri.query);
        break;
    case TARGET:
        put_client(o, r->head.target);
        break;
    case VERSION:
        put(o, version_of(r));
        break;
    case SCHEME:
        put(o, r->https ? MC_STR("https") : MC_STR("http"));
        break;
    case SERVER_NAME:
        put_client(o, r->head.host);
        break;
    case SERVER_PORT:
        put_client(o, r->head.port);
        break;
    case FIELD:
        put_field(o, &r->head.fields, op->text);
        break;
    default:
        return false;
    }
    return true;
}

/* What became of it. */
static void put_result(struct out *o, const struct mc_access_op *op, const struct mc_access_fact *f)
{
    switch (op->what) {
    case STATUS:
        put_number(o, (uint64_t)f->r->resp.status);
        break;
    case BYTES:
        put_number(o, f->bytes > 0 ? (uint64_t)f->bytes : 0);
        break;
    case SECONDS:
        put_number(o, f->usec / 1000000);
        break;
    case MILLIS:
        put_number(o, f->usec / 1000);
        break;
    case MICROS:
        put_number(o, f->usec);
        break;
    case DECIMAL:
        put_decimal(o, f->usec);
        break;
    case RESPONSE_FIELD:
        put_response_field(o, f->r, op->text);
        break;
    default:
        put(o, MC_STR("-"));
        break;
    }
}

static void put_op(struct mc_access_format *f, struct out *o, const struct mc_access_op *op, const struct mc_access_fact *fact)
{
    if (op->what == TEXT)
        put(o, op->text);
    else if (op->what == TIME)
        put_time(f, o);
    else if (op->what == PID)
        put(o, mc_str(f->pid));
    else if (op->what == PEER || op->what == USER_NAME)
        put_peer(o, op, fact);
    else if (!put_request(o, op, fact->r))
        put_result(o, op, fact);
}

size_t mc_access_format_line(struct mc_access_format *f, const struct mc_access_fact *fact, char *out, size_t cap)
{
    struct out o = {out, out + cap};
    for (size_t i = 0; i < f->nops; i++)
        put_op(f, &o, &f->prog[i], fact);
    return (size_t)(o.p - out);
}
