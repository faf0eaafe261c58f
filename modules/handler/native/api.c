/* The table of functions that apps call (contracts: app.h): requests and responses, over the server's own API. Answers wrong use with an error where
 * it can be seen. Output of a loop app outside of its callbacks wakes the connection. Worker side: the loop, or whoever executes the request. */
#include "modules/handler/native/native.h"

#include "core/server/proxied.h"
#include "mc_config.h"

#include <fcntl.h>
#include <unistd.h>
#include <sys/stat.h>

_Static_assert((int)MONOCEROS_OK == (int)MC_OK && (int)MONOCEROS_ERROR == (int)MC_ERROR && (int)MONOCEROS_AGAIN == (int)MC_AGAIN &&
                   (int)MONOCEROS_IGNORED == (int)MC_DECLINED && (int)MONOCEROS_READ == (int)MC_WANT_READ && (int)MONOCEROS_WRITE == (int)MC_WANT_WRITE &&
                   (int)MONOCEROS_CRITICAL == (int)MC_LOG_CRITICAL,
               "results and conditions pass through unchanged");

static struct monoceros_str out(struct mc_str s)
{
    return (struct monoceros_str){s.p, s.n};
}

static struct mc_str in(struct monoceros_str s)
{
    return (struct mc_str){s.p, s.n};
}

/* rc, after the connection was told that there may be something to do for it. */
static int done(struct mc_native_call *c, int rc)
{
    if (!c->inside && !mc_native_blocking(c->native))
        mc_request_wake(c->r);
    return rc;
}

/* ---- the request ---- */

static struct mc_str tls_text(struct mc_request *r, enum monoceros_text what)
{
    static const enum mc_fact facts[] = {
        [MONOCEROS_TLS_VERSION] = MC_FACT_TLS_PROTOCOL,
        [MONOCEROS_TLS_CIPHER] = MC_FACT_TLS_CIPHER,
        [MONOCEROS_TLS_SERVER_NAME] = MC_FACT_TLS_SNI,
        [MONOCEROS_TLS_CLIENT_VERIFY] = MC_FACT_TLS_VERIFY,
        [MONOCEROS_TLS_CLIENT_SUBJECT] = MC_FACT_TLS_SUBJECT,
        [MONOCEROS_TLS_CLIENT_ISSUER] = MC_FACT_TLS_ISSUER,
        [MONOCEROS_TLS_CLIENT_SERIAL] = MC_FACT_TLS_SERIAL,
        [MONOCEROS_TLS_CLIENT_FINGERPRINT] = MC_FACT_TLS_FINGERPRINT,
        [MONOCEROS_TLS_CLIENT_CERT] = MC_FACT_TLS_CERT,
    };
    struct mc_str value;
    bool known = (unsigned)what >= MONOCEROS_TLS_VERSION && (unsigned)what < MC_COUNT(facts);
    return known && r->fact && r->fact(r, facts[what], &value) ? value : MC_STR_NONE;
}

static struct monoceros_str text(struct monoceros_request *q, enum monoceros_text what)
{
    struct mc_request *r = mc_native_call(q)->r;
    switch (what) {
    case MONOCEROS_METHOD:
        return out(r->head.method);
    case MONOCEROS_TARGET:
        return out(r->head.target);
    case MONOCEROS_PATH:
        return out(r->path);
    case MONOCEROS_QUERY:
        return out(r->uri.query);
    case MONOCEROS_SCHEME:
        return out(r->https ? MC_STR("https") : MC_STR("http"));
    case MONOCEROS_HOST:
        return out(r->head.host);
    case MONOCEROS_PEER:
        return out(mc_request_client((struct mc_request *) (uintptr_t) r));
    default:
        return out(tls_text(r, what));
    }
}

static int64_t number(struct monoceros_request *q, enum monoceros_number what)
{
    const struct mc_request *r = mc_native_call(q)->r;
    switch (what) {
    case MONOCEROS_HTTP_VERSION:
        return mc_request_version(r);
    case MONOCEROS_BODY_LENGTH:
        return r->body.length < 0 && r->body.complete ? r->body.received : r->body.length;
    }
    return -1;
}

static struct monoceros_str header(struct monoceros_request *q, struct monoceros_str name)
{
    const struct mc_field *f = mc_fields_find(&mc_native_call(q)->r->head.fields, in(name));
    return out(f ? f->value : MC_STR_NONE);
}

static bool header_at(struct monoceros_request *q, size_t i, struct monoceros_str *name, struct monoceros_str *value)
{
    const struct mc_fields *f = &mc_native_call(q)->r->head.fields;
    if (i >= f->n)
        return false;
    *name = out(f->v[i].name);
    *value = out(f->v[i].value);
    return true;
}

static ssize_t body_read(struct monoceros_request *q, void *p, size_t n)
{
    struct mc_native_call *c = mc_native_call(q);
    ssize_t got = c->ws ? MC_ERROR : mc_body_read(c->r, p, n);
    if (got > 0)
        done(c, MC_OK); /* there is room for more of it */
    return got;
}

static int body_whole(struct monoceros_request *q, size_t max, struct monoceros_str *body)
{
    struct mc_request *r = mc_native_call(q)->r;
    size_t n = (size_t)mc_body_available(r), have = 0;
    if (n > max || (r->head.content_length >= 0 && (uint64_t)r->head.content_length - (uint64_t)(r->body.received - (int64_t)n) > max))
        return 413;
    if (!r->body.complete)
        return r->body.failed ? MONOCEROS_ERROR : MONOCEROS_AGAIN;
    char *p = mc_arena_alloc(&r->arena, n + 1);
    if (!p)
        return 503;
    while (have < n) {
        ssize_t got = mc_body_read(r, p + have, n - have);
        if (got <= 0)
            return MONOCEROS_ERROR;
        have += (size_t)got;
    }
    p[n] = '\0';
    *body = (struct monoceros_str){p, n};
    return MONOCEROS_OK;
}

static void *alloc(struct monoceros_request *q, size_t n)
{
    return mc_arena_alloc(&mc_native_call(q)->r->arena, n);
}

static int cleanup(struct monoceros_request *q, void (*fn)(void *data), void *data)
{
    return mc_arena_cleanup(&mc_native_call(q)->r->arena, fn, data);
}

/* ---- the response ---- */

static int status(struct monoceros_request *q, int code)
{
    struct mc_native_call *c = mc_native_call(q);
    return c->together ? MONOCEROS_ERROR : mc_response_begin(c->r, code, MC_STR_NONE);
}

typedef int (*add_fn)(struct mc_request *, struct mc_str, struct mc_str);

/* The server keeps slices: they must live as long as the request. */
static int add(struct mc_native_call *c, add_fn fn, struct monoceros_str name, struct monoceros_str value)
{
    struct mc_request *r = c->r;
    if (c->together)
        return MONOCEROS_ERROR;
    struct mc_str n = mc_arena_dup(&r->arena, in(name)), v = mc_arena_dup(&r->arena, in(value));
    return n.p && v.p ? fn(r, n, v) : MONOCEROS_ERROR;
}

static int header_add(struct monoceros_request *q, struct monoceros_str name, struct monoceros_str value)
{
    return add(mc_native_call(q), mc_response_field, name, value);
}

static int trailer_add(struct monoceros_request *q, struct monoceros_str name, struct monoceros_str value)
{
    return add(mc_native_call(q), mc_response_trailer, name, value);
}

static int length(struct monoceros_request *q, int64_t n)
{
    struct mc_native_call *c = mc_native_call(q);
    struct mc_request *r = c->r;
    if (c->together || r->resp.state != MC_RESP_BEGUN || n < 0)
        return MONOCEROS_ERROR;
    mc_response_length(r, n);
    return MONOCEROS_OK;
}

static int write_(struct monoceros_request *q, const void *p, size_t n)
{
    struct mc_native_call *c = mc_native_call(q);
    if (c->r->resp.paused)
        return MONOCEROS_BUSY;
    if (c->together || c->ws)
        return MONOCEROS_ERROR;
    return done(c, mc_response_write(c->r, p, n));
}

/* The server counts references without locks, so each call gives it a descriptor of its own. */
static int sendfile_(struct monoceros_request *q, int fd, off_t off, int64_t n)
{
    struct mc_native_call *c = mc_native_call(q);
    struct stat st;
    if (c->r->resp.paused)
        return MONOCEROS_BUSY;
    if (c->together || c->ws || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || off < 0 || off > st.st_size || n < -1 || n > st.st_size - off)
        return MONOCEROS_ERROR;
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    struct mc_file *file = own >= 0 ? mc_file_new(own) : NULL;
    if (!file) {
        if (own >= 0)
            close(own);
        return MONOCEROS_ERROR;
    }
    int rc = mc_response_file(c->r, file, off, n < 0 ? st.st_size - off : (off_t)n);
    mc_file_unref(&file);
    return done(c, rc);
}

static int flush(struct monoceros_request *q)
{
    struct mc_native_call *c = mc_native_call(q);
    int rc = c->together || c->ws ? MONOCEROS_ERROR : mc_response_head(c->r);
    return done(c, rc == MC_OK ? mc_response_flush(c->r) : rc);
}

static int end(struct monoceros_request *q, const void *p, size_t n)
{
    struct mc_native_call *c = mc_native_call(q);
    return c->together || c->ws ? MONOCEROS_ERROR : done(c, mc_response_end(c->r, p, n));
}

static int early_hints(struct monoceros_request *q, const struct monoceros_field *fields, size_t n)
{
    struct mc_native_call *c = mc_native_call(q);
    struct mc_request *r = c->r;
    struct mc_fields all = {.n = 0};
    if (c->together)
        return MONOCEROS_ERROR;
    for (size_t i = 0; i < n; i++) {
        struct mc_str name = mc_str(fields[i].name), value = mc_str(fields[i].value);
        if (!mc_field_name_ok(name) || !mc_field_value_ok(value) || mc_fields_add(&all, &r->arena, name, value) != MC_OK)
            return MONOCEROS_ERROR;
    }
    return done(c, mc_response_interim(r, 103, &all));
}

static void cut(struct monoceros_request *q)
{
    struct mc_native_call *c = mc_native_call(q);
    if (c->r->resp.state < MC_RESP_DONE && !c->together)
        mc_response_abort(c->r);
    done(c, MC_OK);
}

static void vlog(struct monoceros_worker *worker, enum monoceros_level level, const char *format, va_list arguments)
{
    (void)worker;
    if ((unsigned)level <= MONOCEROS_CRITICAL && mc_log_on((enum mc_log_level)level))
        mc_log_vline((enum mc_log_level)level, format, arguments);
}

const struct monoceros_api mc_native_api = {
    .abi = MONOCEROS_ABI,
    .size = sizeof(struct monoceros_api),
    .version = MC_VERSION,
    .text = text,
    .number = number,
    .header = header,
    .header_at = header_at,
    .body_read = body_read,
    .body_whole = body_whole,
    .alloc = alloc,
    .cleanup = cleanup,
    .status = status,
    .header_add = header_add,
    .length = length,
    .write = write_,
    .sendfile = sendfile_,
    .flush = flush,
    .trailer_add = trailer_add,
    .end = end,
    .early_hints = early_hints,
    .abort = cut,
    .wait = mc_native_wait,
    .connect = mc_native_connect,
    .recv = mc_native_recv,
    .send = mc_native_send,
    .timer_new = mc_native_timer_new,
    .timer_set = mc_native_timer_set,
    .timer_clear = mc_native_timer_clear,
    .timer_free = mc_native_timer_free,
    .post = mc_native_post,
    .vlog = vlog,
    .together = mc_native_together,
    .ws_asked = mc_native_ws_asked,
    .ws_accept = mc_native_ws_accept,
    .ws_read = mc_native_ws_read,
    .ws_send = mc_native_ws_send,
    .ws_close = mc_native_ws_close,
};
