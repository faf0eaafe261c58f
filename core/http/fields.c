/* Header fields: append, look up, classify. Slices only: the bytes belong to the head they came from.
 * Never decides about framing (head.c does). Called by codecs, handlers and filters. Worker side. */
#include "core/http/fields.h"

#define TCHAR 1
/* RFC 9110 §5.6.2: "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^" / "_" / "`" / "|" / "~" / DIGIT / ALPHA */
const uint8_t mc_field_tchar[256] = {
    ['!'] = TCHAR, ['#'] = TCHAR, ['$'] = TCHAR, ['%'] = TCHAR,         ['&'] = TCHAR,         ['\''] = TCHAR,
    ['*'] = TCHAR, ['+'] = TCHAR, ['-'] = TCHAR, ['.'] = TCHAR,         ['^'] = TCHAR,         ['_'] = TCHAR,
    ['`'] = TCHAR, ['|'] = TCHAR, ['~'] = TCHAR, ['0' ... '9'] = TCHAR, ['A' ... 'Z'] = TCHAR, ['a' ... 'z'] = TCHAR,
};
const uint8_t mc_field_vchar[256] = {['\t'] = 1, [' ' ... '~'] = 1, [0x80 ... 0xff] = 1};

/* Names that the server looks at, by length; no length has more than four. */
static const struct known {
    const char *name;
    enum mc_field_id id;
} known[][4] = {
    [2] = {{"te", MC_F_TE}},
    [4] = {{"host", MC_F_HOST}, {"date", MC_F_DATE}, {"vary", MC_F_VARY}, {"etag", MC_F_ETAG}},
    [5] = {{"proxy", MC_F_PROXY}, {"range", MC_F_RANGE}},
    [6] = {{"cookie", MC_F_COOKIE}, {"expect", MC_F_EXPECT}, {"server", MC_F_SERVER}},
    [7] = {{"referer", MC_F_REFERER}, {"upgrade", MC_F_UPGRADE}, {"trailer", MC_F_TRAILER}},
    [8] = {{"if-match", MC_F_IF_MATCH}, {"if-range", MC_F_IF_RANGE}},
    [10] = {{"connection", MC_F_CONNECTION}, {"user-agent", MC_F_USER_AGENT}, {"keep-alive", MC_F_KEEP_ALIVE}, {"set-cookie", MC_F_SET_COOKIE}},
    [12] = {{"content-type", MC_F_CONTENT_TYPE}},
    [13] = {{"authorization", MC_F_AUTHORIZATION}, {"if-none-match", MC_F_IF_NONE_MATCH}, {"cache-control", MC_F_CACHE_CONTROL}, {"monoceros-hop", MC_F_HOP}},
    [14] = {{"content-length", MC_F_CONTENT_LENGTH}, {"http2-settings", MC_F_HTTP2_SETTINGS}},
    [15] = {{"accept-encoding", MC_F_ACCEPT_ENCODING}},
    [16] = {{"proxy-connection", MC_F_PROXY_CONNECTION}, {"content-encoding", MC_F_CONTENT_ENCODING}},
    [17] = {{"transfer-encoding", MC_F_TRANSFER_ENCODING}, {"if-modified-since", MC_F_IF_MODIFIED_SINCE}},
    [19] = {{"if-unmodified-since", MC_F_IF_UNMODIFIED_SINCE}},
};

/* The bit of ASCII case may be set in every byte: names are tokens, and no other byte of a token becomes one of [a-z0-9-] by it. The words overlap. */
static inline bool is(const char *lower, struct mc_str name)
{
    const uint64_t fold = 0x2020202020202020u;
    size_t i = 0;
    if (name.n < 4)
        return mc_str_eq_nocase(name, (struct mc_str){lower, name.n});
    if (name.n < 8)
        return (mc_str_word4(name.p) | (uint32_t)fold) == mc_str_word4(lower)
               && (mc_str_word4(name.p + name.n - 4) | (uint32_t)fold) == mc_str_word4(lower + name.n - 4);
    for (; name.n - i > 8; i += 8) {
        if ((mc_str_word8(name.p + i) | fold) != mc_str_word8(lower + i))
            return false;
    }
    return (mc_str_word8(name.p + name.n - 8) | fold) == mc_str_word8(lower + name.n - 8);
}

static inline enum mc_field_id find_id(struct mc_str name)
{
    if (name.n >= MC_COUNT(known))
        return MC_F_OTHER;
    const struct known *k = known[name.n];
    for (unsigned i = 0; i < MC_COUNT(known[0]) && k[i].name; i++) {
        if ((name.p[0] | 0x20) == k[i].name[0] && is(k[i].name, name))
            return k[i].id;
    }
    return MC_F_OTHER;
}

enum mc_field_id mc_field_id(struct mc_str name)
{
    return find_id(name);
}

static inline void fill(struct mc_field *f, struct mc_str name, struct mc_str value)
{
    *f = (struct mc_field){.name = name, .value = value, .hash = mc_str_hash_nocase(name), .id = (uint16_t)find_id(name)};
}

struct mc_field mc_field(struct mc_str name, struct mc_str value)
{
    struct mc_field f;
    fill(&f, name, value);
    return f;
}

static bool grow(struct mc_fields *f, struct mc_arena *a)
{
    uint32_t cap = f->cap ? f->cap * 2 : 16;
    struct mc_field *v = mc_arena_alloc(a, cap * sizeof(*v));
    if (!v)
        return false;
    if (f->n)
        memcpy(v, f->v, f->n * sizeof(*v));
    f->v = v;
    f->cap = cap;
    return true;
}

static inline void note(struct mc_fields *f, const struct mc_field *added)
{
    _Static_assert(MC_F_COUNT <= 64, "a bit each");
    f->ids |= 1ull << added->id;
    f->hashes |= 1ull << added->hash % 64;
}

void mc_fields_set(struct mc_fields *f, uint32_t i, struct mc_field field)
{
    f->v[i] = field;
    note(f, &field);
}

int mc_fields_push(struct mc_fields *f, struct mc_arena *a, const struct mc_field *field)
{
    if (mc_unlikely(f->n == f->cap) && !grow(f, a))
        return MC_ERROR;
    f->v[f->n++] = *field;
    note(f, field);
    return MC_OK;
}

int mc_fields_add(struct mc_fields *f, struct mc_arena *a, struct mc_str name, struct mc_str value)
{
    if (mc_unlikely(f->n == f->cap) && !grow(f, a))
        return MC_ERROR;
    struct mc_field *added = &f->v[f->n++];
    fill(added, name, value);
    note(f, added);
    return MC_OK;
}

const struct mc_field *mc_fields_get(const struct mc_fields *f, enum mc_field_id id)
{
    for (uint32_t i = 0; mc_fields_may_have(f, id) && i < f->n; i++)
        if (f->v[i].id == id)
            return &f->v[i];
    return NULL;
}

const struct mc_field *mc_fields_find(const struct mc_fields *f, struct mc_str name)
{
    uint32_t hash = mc_str_hash_nocase(name);
    for (uint32_t i = 0; (f->hashes >> hash % 64 & 1) && i < f->n; i++)
        if (f->v[i].hash == hash && mc_str_eq_nocase(f->v[i].name, name))
            return &f->v[i];
    return NULL;
}

bool mc_field_name_ok(struct mc_str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    const uint8_t *t = mc_field_tchar;
    size_t i = 0;
    for (; s.n - i >= 4; i += 4) {
        if (!(t[p[i]] & t[p[i + 1]] & t[p[i + 2]] & t[p[i + 3]]))
            return false;
    }
    for (; i < s.n; i++) {
        if (!t[p[i]])
            return false;
    }
    return s.n > 0;
}

bool mc_field_value_ok(struct mc_str s)
{
    for (size_t i = 0; (i = mc_str_plain(s.p, i, s.n)) < s.n; i++) {
        if (s.p[i] != '\t')
            return false;
    }
    return true;
}

bool mc_field_hop_by_hop(enum mc_field_id id)
{
    switch (id) {
    case MC_F_CONNECTION:
    case MC_F_TRANSFER_ENCODING:
    case MC_F_UPGRADE:
    case MC_F_TE:
    case MC_F_TRAILER:
    case MC_F_KEEP_ALIVE:
    case MC_F_PROXY_CONNECTION:
    case MC_F_HTTP2_SETTINGS:
        return true;
    default:
        return false;
    }
}
