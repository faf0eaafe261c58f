/* Strict decoder of the chunked coding: one byte at a time between the data, slices for the data itself.
 * Refuses what others tolerate: blanks round the size, bare CR or LF, bytes that no grammar of extensions has (RFC 9112 §7.1).
 * Called by the codecs of HTTP/1. Worker side. */
#include "core/http/chunk.h"

enum state {
    SIZE,
    EXT_START, /* after ';' */
    EXT_NAME,
    EXT_EQUALS, /* after '=' */
    EXT_TOKEN,
    EXT_QUOTED,
    EXT_ESCAPED, /* after '\' in a quoted string */
    EXT_CLOSED,  /* after the closing '"' */
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_START, /* at the start of a line after the last chunk */
    TRAILER,
    TRAILER_LF,
    FINAL_LF,
    DONE,
};

enum { DIGITS_MAX = 16 };

void mc_chunk_init(struct mc_chunk *c)
{
    *c = (struct mc_chunk){.state = SIZE};
}

static int on_size(struct mc_chunk *c, unsigned char ch)
{
    int digit = mc_hex_digit(ch);
    if (digit >= 0) {
        if (++c->digits > DIGITS_MAX || c->left > (uint64_t)INT64_MAX >> 4)
            return 400;
        c->left = c->left << 4 | (unsigned)digit;
        return MC_OK;
    }
    if (c->digits == 0)
        return 400;
    if (ch == '\r')
        c->state = SIZE_LF;
    else if (ch == ';')
        c->state = EXT_START;
    else
        return 400;
    return MC_OK;
}

/* *( ";" token [ "=" ( token / quoted-string ) ] ), without the blanks that RFC 9112 calls bad. */
static int on_extension(struct mc_chunk *c, unsigned char ch)
{
    bool token = mc_field_tchar[ch], ends = ch == ';' || ch == '\r';
    if (++c->ext > MC_CHUNK_EXT_MAX)
        return 400;
    switch (c->state) {
    case EXT_START:
        c->state = EXT_NAME;
        return token ? MC_OK : 400;
    case EXT_EQUALS:
        c->state = ch == '"' ? EXT_QUOTED : EXT_TOKEN;
        return token || ch == '"' ? MC_OK : 400;
    case EXT_QUOTED:
        if (ch == '"')
            c->state = EXT_CLOSED;
        else if (ch == '\\')
            c->state = EXT_ESCAPED;
        return mc_field_vchar[ch] ? MC_OK : 400;
    case EXT_ESCAPED:
        c->state = EXT_QUOTED;
        return mc_field_vchar[ch] ? MC_OK : 400;
    default: /* EXT_NAME, EXT_TOKEN, EXT_CLOSED */
        if (ends)
            c->state = ch == ';' ? EXT_START : SIZE_LF;
        else if (ch == '=' && c->state == EXT_NAME)
            c->state = EXT_EQUALS;
        else if (!token || c->state == EXT_CLOSED)
            return 400;
        return MC_OK;
    }
}

bool mc_chunk_may_trail(const struct mc_field *f)
{
    static const struct mc_str names[] = {
        MC_STR("age"),          MC_STR("cache-control"), MC_STR("expires"),   MC_STR("forwarded"), MC_STR("location"),
        MC_STR("max-forwards"), MC_STR("origin"),        MC_STR("pragma"),    MC_STR("range"),     MC_STR("retry-after"),
        MC_STR("set-cookie"),   MC_STR("vary"),          MC_STR("via"),       MC_STR("warning"),   MC_STR("www-authenticate"),
        MC_STR("x-real-ip"),    MC_STR("script-name"),   MC_STR("path-info"),
    };
    static const struct mc_str families[] = {MC_STR("content-"), MC_STR("if-"),          MC_STR("proxy-"),
                                             MC_STR("accept"),   MC_STR("x-forwarded-"), MC_STR("sec-")};
    if ((f->id != MC_F_OTHER && f->id != MC_F_ETAG) || memchr(f->name.p, '_', f->name.n))
        return false;
    for (unsigned i = 0; i < MC_COUNT(names); i++)
        if (mc_str_eq_nocase(f->name, names[i]))
            return false;
    for (unsigned i = 0; i < MC_COUNT(families); i++)
        if (f->name.n >= families[i].n && mc_str_eq_nocase((struct mc_str){f->name.p, families[i].n}, families[i]))
            return false;
    return true;
}

/* The gathered lines, each with its CRLF. MC_DECLINED (the end), or a status. */
static int read_trailers(struct mc_chunk *c, struct mc_arena *a, struct mc_fields *trailers)
{
    if (c->tail.n == 0)
        return MC_DECLINED;
    const char *p = c->tail.p, *end = p + c->tail.n;
    while (p < end) {
        const char *cr = memchr(p, '\r', (size_t)(end - p));
        const char *colon = memchr(p, ':', (size_t)(cr - p));
        struct mc_str name = {p, colon ? (size_t)(colon - p) : 0};
        if (!mc_field_name_ok(name))
            return 400;
        struct mc_str value = {colon + 1, (size_t)(cr - colon - 1)};
        if (mc_fields_add(trailers, a, name, mc_str_trim(value)) != MC_OK)
            return 500;
        if (!mc_chunk_may_trail(&trailers->v[trailers->n - 1]))
            trailers->n--;
        p = cr + 2;
    }
    return MC_DECLINED;
}

static int on_trailer(struct mc_chunk *c, unsigned char ch, struct mc_arena *a)
{
    if (c->state == TRAILER_LF && ch != '\n')
        return 400;
    if (c->state != TRAILER_LF && ch != '\r' && !mc_field_vchar[ch])
        return 400;
    if (c->state == TRAILER_START && (ch == ' ' || ch == '\t'))
        return 400;
    if (++c->trailer > MC_CHUNK_TRAILER_MAX)
        return 431;
    if (!c->tail.p && !(c->tail.p = mc_arena_alloc(a, MC_CHUNK_TRAILER_MAX)))
        return 500;
    ((char *)(uintptr_t)c->tail.p)[c->tail.n++] = (char)ch;
    c->state = ch == '\n' ? TRAILER_START : ch == '\r' ? TRAILER_LF : TRAILER;
    return MC_OK;
}

/* The LF of a size line: the chunk's data or, after the last chunk, trailers follow. */
static void begin_data(struct mc_chunk *c)
{
    c->state = c->left ? DATA : TRAILER_START;
    c->digits = 0;
}

static int on_byte(struct mc_chunk *c, unsigned char ch, struct mc_arena *a, struct mc_fields *trailers)
{
    switch (c->state) {
    case SIZE:
        return on_size(c, ch);
    case SIZE_LF:
        begin_data(c);
        return ch == '\n' ? MC_OK : 400;
    case DATA_CR:
        c->state = DATA_LF;
        return ch == '\r' ? MC_OK : 400;
    case DATA_LF:
        c->state = SIZE;
        return ch == '\n' ? MC_OK : 400;
    case TRAILER_START:
        if (ch != '\r')
            return on_trailer(c, ch, a);
        c->state = FINAL_LF;
        return MC_OK;
    case TRAILER:
    case TRAILER_LF:
        return on_trailer(c, ch, a);
    case FINAL_LF:
        c->state = DONE;
        return ch == '\n' ? read_trailers(c, a, trailers) : 400;
    default:
        return on_extension(c, ch);
    }
}

int mc_chunk_decode(struct mc_chunk *c, const char *p, size_t n, size_t *used, struct mc_str *data, struct mc_arena *a,
                    struct mc_fields *trailers)
{
    size_t i = 0;
    int rc = MC_OK;
    *data = MC_STR_NONE;
    MC_ASSERT(c->state != DONE);
    while (rc == MC_OK && i < n && c->state != DATA)
        rc = on_byte(c, (unsigned char)p[i++], a, trailers);
    if (rc == MC_OK && i < n) {
        size_t take = c->left < n - i ? (size_t)c->left : n - i;
        *data = (struct mc_str){p + i, take};
        i += take;
        c->left -= take;
        if (c->left == 0)
            c->state = DATA_CR;
    }
    *used = i;
    return rc == MC_OK && !data->n ? MC_AGAIN : rc;
}
