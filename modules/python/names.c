/* Header names to what apps get of them: 'X-Forwarded-For' to an interned 'HTTP_X_FORWARDED_FOR' and to b'x-forwarded-for', made once. The common
 * names are there from the start, others are learned up to a bound, because a client can send any name. And back: the str objects that apps name
 * response fields with to checked fields. Also the methods. Worker side, GIL held. */
#include "modules/python/python.h"

#include <stdlib.h>

enum { SLOTS = 2048, LEARNED_MAX = 1024, NAME_MAX_BYTES = 64 };

static struct mc_name *table[SLOTS]; /* open addressing; at most half full */
static unsigned filled;

static const char *const common[] = {
    "Host",
    "Connection",
    "User-Agent",
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Accept-Charset",
    "Cookie",
    "Referer",
    "Origin",
    "Authorization",
    "Cache-Control",
    "Pragma",
    "Upgrade-Insecure-Requests",
    "If-Modified-Since",
    "If-None-Match",
    "If-Match",
    "If-Unmodified-Since",
    "If-Range",
    "Range",
    "Expect",
    "TE",
    "Trailer",
    "Upgrade",
    "Via",
    "Forwarded",
    "From",
    "DNT",
    "Date",
    "Keep-Alive",
    "Max-Forwards",
    "Proxy-Connection",
    "Proxy-Authorization",
    "Priority",
    "Content-Encoding",
    "Content-Language",
    "Content-Disposition",
    "Content-MD5",
    "Access-Control-Request-Method",
    "Access-Control-Request-Headers",
    "Sec-Fetch-Site",
    "Sec-Fetch-Mode",
    "Sec-Fetch-User",
    "Sec-Fetch-Dest",
    "Sec-CH-UA",
    "Sec-CH-UA-Mobile",
    "Sec-CH-UA-Platform",
    "Sec-GPC",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Extensions",
    "Save-Data",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Real-IP",
    "X-Request-ID",
    "X-Correlation-ID",
    "X-Requested-With",
    "X-CSRFToken",
    "X-CSRF-Token",
    "X-HTTP-Method-Override",
    "X-Api-Key",
    "Traceparent",
    "Tracestate",
};

static const char *const method_names[] = {"GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"};
static PyObject *methods[MC_COUNT(method_names)];
PyObject *mc_names_get;

PyObject *mc_names_method(struct mc_str method)
{
    for (size_t i = 0; i < MC_COUNT(methods); i++) {
        if (mc_str_eq(method, mc_str(method_names[i])))
            return methods[i];
    }
    return NULL;
}

PyObject *mc_names_key(struct mc_arena *a, struct mc_str name)
{
    char small[5 + NAME_MAX_BYTES], *buf = small;
    if (name.n > NAME_MAX_BYTES)
        buf = mc_arena_alloc(a, 5 + name.n);
    if (!buf)
        return PyErr_NoMemory();
    memcpy(buf, "HTTP_", 5);
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        buf[5 + i] = c == '-' ? '_' : (char)(c >= 'a' && c <= 'z' ? c - 32 : c);
    }
    return PyUnicode_DecodeLatin1(buf, (Py_ssize_t)(5 + name.n), NULL);
}

PyObject *mc_names_lower(struct mc_str name)
{
    PyObject *bytes = PyBytes_FromStringAndSize(name.p, (Py_ssize_t)name.n);
    char *p = bytes ? PyBytes_AsString(bytes) : NULL;
    for (size_t i = 0; p && i < name.n; i++)
        p[i] = (char)mc_lower((unsigned char)p[i]);
    return bytes;
}

static struct mc_name *learn(struct mc_str name, uint32_t hash)
{
    if (filled >= LEARNED_MAX || name.n > NAME_MAX_BYTES)
        return NULL;
    struct mc_name *e = malloc(sizeof(*e) + name.n);
    PyObject *key = e ? mc_names_key(NULL, name) : NULL, *lower = key ? mc_names_lower(name) : NULL;
    if (!lower) {
        Py_XDECREF(key);
        PyErr_Clear(); /* the caller goes on without an entry, and meets the lack of memory there */
        free(e);
        return NULL;
    }
    PyUnicode_InternInPlace(&key);
    char *copy = (char *)(e + 1);
    memcpy(copy, name.p, name.n);
    *e = (struct mc_name){
        .key = key, .lower = lower, .spelling = copy, .n = (uint32_t)name.n, .hash = hash, .underscore = memchr(name.p, '_', name.n) != NULL};
    filled++;
    return e;
}

static bool same(const struct mc_name *e, struct mc_str name)
{
    return e->n == name.n && (memcmp(e->spelling, name.p, name.n) == 0 || mc_str_eq_nocase((struct mc_str){e->spelling, e->n}, name));
}

struct mc_name *mc_names_find(struct mc_str name, uint32_t hash)
{
    uint32_t i = (hash ^ hash >> 16) % SLOTS;
    while (table[i]) {
        if (table[i]->hash == hash && same(table[i], name))
            return table[i];
        i = (i + 1) % SLOTS;
    }
    return table[i] = learn(name, hash);
}

/* ---- response fields ---- */

enum { SAID = 256 };

/* What an object of that address was when it was seen last: it is held, so no other one has its address. Constants of apps are found again, names that
 * are made for each response push each other out. */
static struct {
    PyObject *name;
    struct mc_field field;
} said[SAID];

const struct mc_field *mc_names_said(PyObject *name)
{
    uintptr_t at = (uintptr_t)name;
    size_t i = (at >> 4 ^ at >> 12) % SAID;
    if (mc_likely(said[i].name == name))
        return &said[i].field;
    Py_ssize_t n;
    const char *p = PyUnicode_CheckExact(name) ? PyUnicode_AsUTF8AndSize(name, &n) : NULL;
    if (!p)
        PyErr_Clear();
    struct mc_str text = {p, p ? (size_t)n : 0};
    if (text.n > NAME_MAX_BYTES || !mc_field_name_ok(text))
        return NULL;
    PyObject *before = said[i].name;
    said[i].name = Py_NewRef(name);
    said[i].field = mc_field(text, MC_STR_NONE);
    Py_XDECREF(before);
    return &said[i].field;
}

int mc_names_init(void)
{
    for (size_t i = 0; i < MC_COUNT(methods); i++) {
        if (!methods[i] && !(methods[i] = PyUnicode_InternFromString(method_names[i])))
            return MC_ERROR;
    }
    mc_names_get = methods[0];
    for (size_t i = 0; i < MC_COUNT(common); i++) {
        struct mc_str name = mc_str(common[i]);
        if (!mc_names_find(name, mc_str_hash_nocase(name))) {
            PyErr_NoMemory();
            return MC_ERROR;
        }
    }
    return MC_OK;
}
