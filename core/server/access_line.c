/* A line of the access log, made of a request by the list of operations that access_format.c has compiled. Everything that a client chose is escaped, so
 * a line is a line. Never waits, opens nothing. Worker side, on the loop; called by access.c. */
#include "core/server/access_format.h"

#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/http/vars.h"
#include "core/server/engine.h"

#include <stdio.h>
#include <strings.h>

enum { USER = 128, SHORT_STRING = 300 };

/* A place in the line that is being made. */
struct out {
    char *p, *end;
    bool json, value; /* the format; this atom is a JSON value */
    bool full;        /* something found no room */
    size_t longest;   /* bytes that a string may take, escaped */
};

static void put(struct out *o, struct mc_str s)
{
    size_t room = (size_t)(o->end - o->p), n = s.n < room ? s.n : room;
    o->full |= n < s.n;
    memcpy(o->p, s.p ? s.p : "", n);
    o->p += n;
}

/* What a client chose. */
static void put_escaped(struct out *o, struct mc_str s)
{
    size_t room = (size_t)(o->end - o->p);
    bool cut = room > o->longest;
    if (!o->json) {
        o->p += mc_str_escape(o->p, room, s);
        return;
    }
    o->p += mc_json_escape(o->p, cut ? o->longest : room, &s);
    o->full |= s.n > 0 && !cut;
}

static void put_quote(struct out *o)
{
    if (o->value)
        put(o, MC_STR("\""));
}

static void put_string(struct out *o, struct mc_str s)
{
    put_quote(o);
    put_escaped(o, s);
    put_quote(o);
}

static void put_absent(struct out *o)
{
    put(o, o->value ? MC_STR("null") : MC_STR("-"));
}

static void put_client(struct out *o, struct mc_str s)
{
    if (s.n == 0)
        put_absent(o);
    else
        put_string(o, s);
}

static void put_number(struct out *o, uint64_t v)
{
    char text[20];
    put(o, (struct mc_str){text, mc_str_u64(text, v)});
}

/* ---- times */

static void put_time(struct mc_access_date *d, struct out *o)
{
    time_t now = time(NULL);
    if (now != d->second) {
        struct tm tm;
        static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        d->second = now;
        if (!localtime_r(&now, &tm))
            tm = (struct tm){.tm_year = 70, .tm_mday = 1};
        long offset = tm.tm_gmtoff / 60;
        unsigned zone = (unsigned)(offset < 0 ? -offset : offset) % 6000;
        snprintf(d->text, sizeof(d->text), "[%02d/%s/%d:%02d:%02d:%02d %c%02u%02u]", tm.tm_mday, months[tm.tm_mon % 12], tm.tm_year + 1900,
                 tm.tm_hour, tm.tm_min, tm.tm_sec, offset < 0 ? '-' : '+', zone / 60, zone % 60);
    }
    put_string(o, mc_str(d->text));
}

static void put_rfc3339(struct out *o)
{
    char text[MC_CLOCK_RFC3339];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    put_string(o, (struct mc_str){text, mc_clock_rfc3339(text, &now, 3)});
}

static void put_decimal(struct out *o, uint64_t usec)
{
    char text[40];
    int n = snprintf(text, sizeof(text), "%llu.%06llu", (unsigned long long)usec / 1000000, (unsigned long long)usec % 1000000);
    put(o, (struct mc_str){text, (size_t)n});
}

/* ---- who asked, and for what */

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
    return r->id ? MC_STR("HTTP/2.0") : r->head.version ? MC_STR("HTTP/1.1") : MC_STR("HTTP/1.0");
}

static void put_request_line(struct out *o, const struct mc_request *r)
{
    put_quote(o);
    bool value = o->value;
    o->value = false; /* parts of one string */
    put_client(o, r->head.method);
    put(o, MC_STR(" "));
    put_client(o, r->head.target);
    put(o, MC_STR(" "));
    put(o, version_of(r));
    o->value = value;
    put_quote(o);
}

static void put_field(struct out *o, const struct mc_fields *fields, struct mc_str name)
{
    const struct mc_field *f = mc_fields_find(fields, name);
    put_client(o, f ? f->value : MC_STR_NONE);
}

static void put_variable(struct out *o, struct mc_request *r, struct mc_str name)
{
    struct mc_str value = MC_STR_NONE;
    /* Of a request that was taken away, the arena is still its borrower's. */
    put_client(o, r->loan == MC_LOAN_NONE && mc_vars_get(r, name, &value) == MC_OK ? value : MC_STR_NONE);
}

/* Who asked, when, and who answered. */
static bool put_who(struct mc_access_format *f, struct out *o, const struct mc_access_op *op, const struct mc_access_fact *fact)
{
    switch (op->what) {
    case MC_ATOM_TEXT:
        put(o, op->text);
        break;
    case MC_ATOM_PEER:
        put_client(o, fact->peer);
        break;
    case MC_ATOM_USER:
        put_user(o, fact->r);
        break;
    case MC_ATOM_TIME:
        put_time(&f->date, o);
        break;
    case MC_ATOM_TIME_RFC3339:
        put_rfc3339(o);
        break;
    case MC_ATOM_PID:
        put(o, o->value ? (struct mc_str){f->pid + 1, strlen(f->pid) - 2} : mc_str(f->pid));
        break;
    default:
        return false;
    }
    return true;
}

/* What of the request itself. */
static bool put_request(struct out *o, const struct mc_access_op *op, struct mc_request *r)
{
    switch (op->what) {
    case MC_ATOM_REQUEST_LINE:
        put_request_line(o, r);
        break;
    case MC_ATOM_METHOD:
        put_client(o, r->head.method);
        break;
    case MC_ATOM_PATH:
        put_client(o, r->path.n ? r->path : r->uri.path);
        break;
    case MC_ATOM_QUERY:
        put_string(o, r->uri.query);
        break;
    case MC_ATOM_TARGET:
        put_client(o, r->head.target);
        break;
    case MC_ATOM_PROTOCOL:
        put_string(o, version_of(r));
        break;
    case MC_ATOM_SCHEME:
        put_string(o, r->https ? MC_STR("https") : MC_STR("http"));
        break;
    case MC_ATOM_SERVER_NAME:
        put_client(o, r->head.host);
        break;
    case MC_ATOM_SERVER_PORT:
        put_client(o, r->head.port);
        break;
    case MC_ATOM_FIELD:
        put_field(o, &r->head.fields, op->text);
        break;
    case MC_ATOM_VARIABLE:
        put_variable(o, r, op->text);
        break;
    default:
        return false;
    }
    return true;
}

/* ---- what became of it */

/* Content-Length is no field of the response: the server makes it. */
static void put_response_field(struct out *o, const struct mc_request *r, struct mc_str name)
{
    if (mc_str_eq_nocase(name, MC_STR("content-length")) && r->resp.length >= 0)
        put_number(o, (uint64_t)r->resp.length);
    else
        put_field(o, &r->resp.fields, name);
}

static void put_result(struct out *o, const struct mc_access_op *op, const struct mc_access_fact *f)
{
    switch (op->what) {
    case MC_ATOM_STATUS:
        put_number(o, (uint64_t)f->r->resp.status);
        break;
    case MC_ATOM_BYTES:
        put_number(o, f->bytes > 0 ? (uint64_t)f->bytes : 0);
        break;
    case MC_ATOM_SECONDS:
        put_number(o, f->usec / 1000000);
        break;
    case MC_ATOM_MILLIS:
        put_number(o, f->usec / 1000);
        break;
    case MC_ATOM_MICROS:
        put_number(o, f->usec);
        break;
    case MC_ATOM_DECIMAL:
        put_decimal(o, f->usec);
        break;
    case MC_ATOM_RESPONSE_FIELD:
        put_response_field(o, f->r, op->text);
        break;
    default:
        put_absent(o);
        break;
    }
}

static size_t make(struct mc_access_format *f, const struct mc_access_fact *fact, struct out *o)
{
    char *start = o->p;
    for (size_t i = 0; i < f->nops; i++) {
        const struct mc_access_op *op = &f->prog[i];
        o->value = op->value;
        if (!put_who(f, o, op, fact) && !put_request(o, op, fact->r))
            put_result(o, op, fact);
    }
    return (size_t)(o->p - start);
}

size_t mc_access_format_line(struct mc_access_format *f, const struct mc_access_fact *fact, char *out, size_t cap)
{
    struct out o = {.p = out, .end = out + cap, .json = f->json, .longest = cap};
    size_t n = make(f, fact, &o);
    if (!f->json || !o.full)
        return n;
    /* A piece of JSON is none. */
    o = (struct out){.p = out, .end = out + cap, .json = true, .longest = SHORT_STRING};
    return make(f, fact, &o);
}
