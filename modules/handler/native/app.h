/* <monoceros/app.h>: apps for Monoceros written in C (C99 or later, or C++20).
 *
 * An app is a shared library that exports one constant, `monoceros_app`. It links with nothing: the server hands it a table of functions, which
 * the inline functions below call. The smallest app:
 *
 *     static int hello(struct monoceros_request *req)
 *     {
 *         monoceros_status(req, 200);
 *         monoceros_header_add(req, "Content-Type", "text/plain");
 *         return monoceros_end(req, "Hello\n", 6);
 *     }
 *     MONOCEROS_APP monoceros_app = { MONOCEROS_ABI_HEAD, .name = "hello", .kind = MONOCEROS_BLOCKING, .request = hello };
 *
 *     cc -shared -fPIC $(pkg-config --cflags monoceros) -o hello.so hello.c && monoceros ./hello.so */
#ifndef MONOCEROS_APP_H
#define MONOCEROS_APP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The number changes when an old app can no longer be run. Within one number the structs that an app defines stay as they are, and
 * struct monoceros_api grows at its end only, so an app runs on the server it was built for and on all later ones. */
#define MONOCEROS_ABI 1

/* Two kinds of apps.
 *
 * BLOCKING: request() does all the work and returns when the response is complete. It may take its time: the server has read the request's body
 *   before, and keeps what a slow client does not take yet. Several calls may run at once, on different threads (worker_class gthread) or coroutines
 *   (greenlet), so what they share must be protected. Wait with monoceros_sleep(), _wait(), _connect(), _recv() and _send(), which hold up nobody
 *   else where the worker type can run something else meanwhile.
 *
 * LOOP: all functions are called by the worker's event loop, one at a time, in every worker type. They must return at once and never block: one
 *   that does holds up every client of the worker. request() may answer at once, or keep `req` and go on later, in body(), room(), a timer, or
 *   while another request is handled. One worker serves thousands of such requests. */
enum monoceros_kind { MONOCEROS_BLOCKING = 1, MONOCEROS_LOOP = 2 };

/* What functions return. Positive values are HTTP statuses. */
enum {
    MONOCEROS_OK = 0,
    MONOCEROS_ERROR = -1,   /* it failed, or the client is gone */
    MONOCEROS_AGAIN = -2,   /* not now; see each function */
    MONOCEROS_IGNORED = -3, /* this is the server's business, nothing was done */
    MONOCEROS_BUSY = -4     /* the last MONOCEROS_AGAIN still holds, nothing was done */
};

/* Bytes that somebody else owns: n of them at p, in general without a NUL behind. p is NULL where there is nothing. */
struct monoceros_str {
    const char *p;
    size_t n;
};

struct monoceros_api; /* below */

/* A worker process as one app sees it. Valid from init() to exit(). */
struct monoceros_worker {
    const struct monoceros_api *api;
    const char *app; /* the name in the configuration: app "NAME" { … } */
    void *data;      /* the app's own */
};

/* A request and its response. Valid until it is over: for blocking apps when request() returns; for loop apps when monoceros_end() or
 * monoceros_abort() returned, when a callback returned a status or MONOCEROS_ERROR, or when gone() returned. */
struct monoceros_request {
    const struct monoceros_api *api;
    struct monoceros_worker *worker;
    void *data; /* the app's own; NULL at first */
};

/* What the library exports. Define it with MONOCEROS_APP and MONOCEROS_ABI_HEAD; callbacks that are left out do nothing. */
struct monoceros_app {
    uint32_t abi, size, api_size; /* MONOCEROS_ABI_HEAD: checked when the app is loaded */
    int32_t kind;                 /* enum monoceros_kind */
    const char *name;             /* for messages */

    /* Once in each worker process, before its first request. MONOCEROS_OK; anything else: the worker does not start, and says so. It may block. */
    int (*init)(struct monoceros_worker *worker);
    /* Once at the worker's orderly end; not after a crash, nor when init() failed. */
    void (*exit)(struct monoceros_worker *worker);

    /* A request has come. Must be there. Returns
     *   MONOCEROS_OK       the response is complete (monoceros_end() was called); loop apps: or goes on later;
     *   400 to 599         nothing was sent yet: the server answers with its own plain page;
     *   MONOCEROS_ERROR    it failed: a page with status 500; when a part is sent already, the response is cut, and the client can see that. */
    int (*request)(struct monoceros_request *req);

    /* The rest is for loop apps; body() and room() return the same as request(). */
    /* More of the request's body can be read, or it has ended; of a WebSocket: a message, or its end. Where this is NULL (and for blocking apps), the server reads the whole body first. */
    int (*body)(struct monoceros_request *req);
    /* After a write returned MONOCEROS_AGAIN: the client has caught up. */
    int (*room)(struct monoceros_request *req);
    /* The client is gone, or was too slow, or the worker ends: forget req. Its memory and cleanups follow. Not called for a request that is over. */
    void (*gone)(struct monoceros_request *req);
};

#ifdef __cplusplus
#define MONOCEROS_APP extern "C" __attribute__((visibility("default"))) const struct monoceros_app
#define MONOCEROS_ABI_HEAD .abi = MONOCEROS_ABI, .size = sizeof(monoceros_app), .api_size = sizeof(monoceros_api)
#else
#define MONOCEROS_APP __attribute__((visibility("default"))) const struct monoceros_app
#define MONOCEROS_ABI_HEAD .abi = MONOCEROS_ABI, .size = sizeof(struct monoceros_app), .api_size = sizeof(struct monoceros_api)
#endif

/* What can be asked of a request. A server answers to what it does not know with nothing. */
enum monoceros_text {
    MONOCEROS_METHOD,
    MONOCEROS_TARGET,
    MONOCEROS_PATH,
    MONOCEROS_QUERY,
    MONOCEROS_SCHEME,
    MONOCEROS_HOST,
    MONOCEROS_PEER,
    MONOCEROS_TLS_VERSION, /* "TLSv1.3" */
    MONOCEROS_TLS_CIPHER,
    MONOCEROS_TLS_SERVER_NAME, /* the name that the client asked for in its handshake */
    MONOCEROS_TLS_CLIENT_VERIFY, /* "SUCCESS"; "NONE": no certificate though one could be sent; "FAILED:reason": unchecked ones are let in */
    MONOCEROS_TLS_CLIENT_SUBJECT, /* of the client's certificate, "CN=joe,O=Example" */
    MONOCEROS_TLS_CLIENT_ISSUER,
    MONOCEROS_TLS_CLIENT_SERIAL, /* hex */
    MONOCEROS_TLS_CLIENT_FINGERPRINT, /* SHA-256, hex */
    MONOCEROS_TLS_CLIENT_CERT /* PEM, percent-encoded */
};
enum monoceros_number { MONOCEROS_HTTP_VERSION, MONOCEROS_BODY_LENGTH };

/* What to wait for. */
enum { MONOCEROS_READ = 1, MONOCEROS_WRITE = 2 };

enum monoceros_level { MONOCEROS_DEBUG, MONOCEROS_INFO, MONOCEROS_WARNING, MONOCEROS_LOG_ERROR, MONOCEROS_CRITICAL };

/* A header of a response; both texts end with NUL. */
struct monoceros_field {
    const char *name, *value;
};

struct monoceros_timer {
    const struct monoceros_api *api; /* the rest is the server's */
};

/* A message of a WebSocket, or how it ended. */
struct monoceros_message {
    struct monoceros_str data; /* of a text: UTF-8 */
    bool text;
    int code; /* of the end: what the client or the server closed with; 1005: without a code; 1006: the client just left */
};

/* The server's functions. Call them through the inline functions below, which tell what they do. */
struct monoceros_api {
    uint32_t abi, size;
    const char *version; /* of the server: "0.1.0" */

    struct monoceros_str (*text)(struct monoceros_request *req, enum monoceros_text what);
    int64_t (*number)(struct monoceros_request *req, enum monoceros_number what);
    struct monoceros_str (*header)(struct monoceros_request *req, struct monoceros_str name);
    bool (*header_at)(struct monoceros_request *req, size_t i, struct monoceros_str *name, struct monoceros_str *value);
    ssize_t (*body_read)(struct monoceros_request *req, void *p, size_t n);
    int (*body_whole)(struct monoceros_request *req, size_t max, struct monoceros_str *body);
    void *(*alloc)(struct monoceros_request *req, size_t n);
    int (*cleanup)(struct monoceros_request *req, void (*fn)(void *data), void *data);

    int (*status)(struct monoceros_request *req, int status);
    int (*header_add)(struct monoceros_request *req, struct monoceros_str name, struct monoceros_str value);
    int (*length)(struct monoceros_request *req, int64_t n);
    int (*write)(struct monoceros_request *req, const void *p, size_t n);
    int (*sendfile)(struct monoceros_request *req, int fd, off_t off, int64_t n);
    int (*flush)(struct monoceros_request *req);
    int (*trailer_add)(struct monoceros_request *req, struct monoceros_str name, struct monoceros_str value);
    int (*end)(struct monoceros_request *req, const void *p, size_t n);
    int (*early_hints)(struct monoceros_request *req, const struct monoceros_field *fields, size_t n);
    void (*abort)(struct monoceros_request *req);

    int (*wait)(struct monoceros_request *req, int fd, unsigned what, int64_t ms);
    int (*connect)(struct monoceros_request *req, const struct sockaddr *to, socklen_t n, int64_t ms);
    ssize_t (*recv)(struct monoceros_request *req, int fd, void *p, size_t n, int64_t ms);
    int (*send)(struct monoceros_request *req, int fd, const void *p, size_t n, int64_t ms);

    struct monoceros_timer *(*timer_new)(struct monoceros_worker *worker, void (*fn)(void *data), void *data);
    int (*timer_set)(struct monoceros_timer *timer, int64_t ms);
    void (*timer_clear)(struct monoceros_timer *timer);
    void (*timer_free)(struct monoceros_timer *timer);
    int (*post)(struct monoceros_worker *worker, void (*fn)(void *data), void *data);
    void (*vlog)(struct monoceros_worker *worker, enum monoceros_level level, const char *format, va_list arguments);
    int (*together)(struct monoceros_request *req, void (*fn)(void *data), void *const *data, size_t n);

    int (*ws_asked)(struct monoceros_request *req);
    int (*ws_accept)(struct monoceros_request *req, const char *subprotocol, const struct monoceros_field *fields, size_t n);
    int (*ws_read)(struct monoceros_request *req, struct monoceros_message *message);
    int (*ws_send)(struct monoceros_request *req, bool text, const void *p, size_t n);
    int (*ws_close)(struct monoceros_request *req, int code, const char *reason);
};

/* ---- the request: both kinds, while it is valid. All that they return lives as long as the request. ---- */

/* "GET". Never empty. Methods are case-sensitive. */
static inline struct monoceros_str monoceros_method(struct monoceros_request *req)
{
    return req->api->text(req, MONOCEROS_METHOD);
}
/* The target as the client sent it: "/a%20b/../c?x=1". */
static inline struct monoceros_str monoceros_target(struct monoceros_request *req)
{
    return req->api->text(req, MONOCEROS_TARGET);
}
/* The path in normal form, as routes see it: percent-decoded once, without dot segments or double slashes: "/c". It may hold any byte but NUL.
 * "*" for OPTIONS *. */
static inline struct monoceros_str monoceros_path(struct monoceros_request *req)
{
    return req->api->text(req, MONOCEROS_PATH);
}
/* What follows '?', as sent: "x=1". p is NULL where there is no '?'. */
static inline struct monoceros_str monoceros_query(struct monoceros_request *req)
{
    return req->api->text(req, MONOCEROS_QUERY);
}
/* "http" or "https": that of the connection, or of a trusted proxy's client. */
static inline struct monoceros_str monoceros_scheme(struct monoceros_request *req)
{
    return req->api->text(req, MONOCEROS_SCHEME);
}
/* The host that the client addressed, without port: of the target or of Host. Empty where an HTTP/1.0 client named none. */
static inline struct monoceros_str monoceros_host(struct monoceros_request *req)
{
    return req->api->text(req, MONOCEROS_HOST);
}
/* The address of the other end of the connection, without port: "127.0.0.1", "::1"; empty for unix sockets. */
static inline struct monoceros_str monoceros_peer(struct monoceros_request *req)
{
    return req->api->text(req, MONOCEROS_PEER);
}
/* A fact of the client's TLS: one of MONOCEROS_TLS_*. false, with *value empty: the connection has no TLS, or this is not known. */
static inline bool monoceros_tls(struct monoceros_request *req, enum monoceros_text what, struct monoceros_str *value)
{
    *value = req->api->text(req, what);
    return value->p != NULL;
}
/* 10 for HTTP/1.0, 11 for HTTP/1.1, 20 for HTTP/2. */
static inline int monoceros_version(struct monoceros_request *req)
{
    return (int)req->api->number(req, MONOCEROS_HTTP_VERSION);
}
/* The value of the first header of this name (any case); p is NULL where there is none, only n is 0 where it is empty. */
static inline struct monoceros_str monoceros_header(struct monoceros_request *req, const char *name)
{
    struct monoceros_str s;
    s.p = name;
    s.n = strlen(name);
    return req->api->header(req, s);
}
/* The i-th header, from 0, in the order in which they came. false: there are not so many. */
static inline bool monoceros_header_at(struct monoceros_request *req, size_t i, struct monoceros_str *name, struct monoceros_str *value)
{
    return req->api->header_at(req, i, name, value);
}
/* Bytes of the body: 0 where there is none; -1: not known yet (chunked, and still coming). */
static inline int64_t monoceros_body_length(struct monoceros_request *req)
{
    return req->api->number(req, MONOCEROS_BODY_LENGTH);
}
/* Read up to n bytes of the body into p. > 0: so many; 0: the end; MONOCEROS_ERROR: it was cut off. MONOCEROS_AGAIN (only loop apps
 * that have body()): nothing is there yet, body() will be called. What is not read stays with the server, which soon reads no more from
 * the client: an app that cannot take more just leaves it, and reads on when it can. */
static inline ssize_t monoceros_body_read(struct monoceros_request *req, void *p, size_t n)
{
    return req->api->body_read(req, p, n);
}
/* All (that is left) of the body in one piece, with a NUL behind it. MONOCEROS_OK; 413: it is longer than `max` bytes; 503: no memory;
 * MONOCEROS_ERROR: cut off; MONOCEROS_AGAIN (loop apps with body()): it has not come wholly. Each is fit to be returned by request(). */
static inline int monoceros_body_whole(struct monoceros_request *req, size_t max, struct monoceros_str *body)
{
    return req->api->body_whole(req, max, body);
}
/* n bytes of memory, aligned for anything, not cleared, that are freed with the request. NULL: no memory. */
static inline void *monoceros_alloc(struct monoceros_request *req, size_t n)
{
    return req->api->alloc(req, n);
}
/* A copy of s with a NUL behind it, freed with the request. NULL: no memory, or s.p is NULL. */
static inline char *monoceros_copy(struct monoceros_request *req, struct monoceros_str s)
{
    char *z = s.p ? (char *)req->api->alloc(req, s.n + 1) : NULL;
    if (z) {
        memcpy(z, s.p, s.n);
        z[s.n] = '\0';
    }
    return z;
}
/* Is s this text, byte for byte? */
static inline bool monoceros_is(struct monoceros_str s, const char *z)
{
    return s.p && s.n == strlen(z) && memcmp(s.p, z, s.n) == 0;
}
/* Call fn(data) when the request is over, however it ends, and its memory is about to be freed; the last one first. It must not use the request.
 * MONOCEROS_OK; MONOCEROS_ERROR: no memory, it will not be called. */
static inline int monoceros_cleanup(struct monoceros_request *req, void (*fn)(void *data), void *data)
{
    return req->api->cleanup(req, fn, data);
}

/* ---- the response: both kinds ----
 * status, then headers, then bytes, then end. Everything that is passed is copied or sent before the function returns.
 * MONOCEROS_ERROR from a write means that nobody will read the rest: clean up and return MONOCEROS_ERROR. */

/* Begin, or (nothing was sent yet) begin anew, without the headers so far. 200 to 599. MONOCEROS_OK, MONOCEROS_ERROR. */
static inline int monoceros_status(struct monoceros_request *req, int status)
{
    return req->api->status(req, status);
}
/* Add a header; one that stands there already is kept. "Content-Length" works as monoceros_length(). MONOCEROS_OK; MONOCEROS_ERROR: not a name, a
 * control character in the value, too late, no memory; MONOCEROS_IGNORED: "Connection", "Transfer-Encoding" and such are the server's. */
static inline int monoceros_header_add(struct monoceros_request *req, const char *name, const char *value)
{
    struct monoceros_str n, v;
    n.p = name;
    n.n = strlen(name);
    v.p = value;
    v.n = strlen(value);
    return req->api->header_add(req, n, v);
}
/* The response will have exactly n bytes. Where nobody says, the server finds out or uses chunks. MONOCEROS_OK; MONOCEROS_ERROR: too late. */
static inline int monoceros_length(struct monoceros_request *req, int64_t n)
{
    return req->api->length(req, n);
}
/* Bytes of the body. MONOCEROS_OK; MONOCEROS_ERROR. Blocking apps: may wait, when a client is very far behind. Loop apps never wait:
 * MONOCEROS_AGAIN: they were taken, but the client is slow: write no more until room(); MONOCEROS_BUSY: written nevertheless, and not taken. body() may
 * come meanwhile. */
static inline int monoceros_write(struct monoceros_request *req, const void *p, size_t n)
{
    return req->api->write(req, p, n);
}
/* n bytes of a regular file from `off` on (n == -1: to its end), without a copy through the app. Returns as monoceros_write(). The descriptor stays
 * the app's, which may close it at once; its position is neither used nor changed. Do not shorten the file before it is sent. */
static inline int monoceros_sendfile(struct monoceros_request *req, int fd, off_t off, int64_t n)
{
    return req->api->sendfile(req, fd, off, n);
}
/* Send what is there now, head included; the server otherwise waits for more to send with it. Loop apps need not call it: what they wrote goes
 * out at the end of the loop's turn. MONOCEROS_OK, MONOCEROS_ERROR. */
static inline int monoceros_flush(struct monoceros_request *req)
{
    return req->api->flush(req);
}
/* A header that follows the body, between status and end. Only chunked HTTP/1.1 responses have such: MONOCEROS_IGNORED where a length is set, for
 * HTTP/1.0 and for responses without body; MONOCEROS_ERROR: a bad or forbidden name (framing, routing, cookies, …) or value, no memory. Clients
 * may drop trailers. Those that are added before the first byte is sent are announced in "Trailer". */
static inline int monoceros_trailer_add(struct monoceros_request *req, const char *name, const char *value)
{
    struct monoceros_str n, v;
    n.p = name;
    n.n = strlen(name);
    v.p = value;
    v.n = strlen(value);
    return req->api->trailer_add(req, n, v);
}
/* The last n bytes (n may be 0; p NULL then). Loop apps: req is over afterwards, do not touch it again. MONOCEROS_OK; MONOCEROS_ERROR. Both fit to be
 * returned by request(). */
static inline int monoceros_end(struct monoceros_request *req, const void *p, size_t n)
{
    return req->api->end(req, p, n);
}
/* A 103 response before the real one, such as { "Link", "</style.css>; rel=preload; as=style" }. HTTP/1.0 clients get none.
 * MONOCEROS_OK; MONOCEROS_ERROR: too late, bad fields, client gone. */
static inline int monoceros_early_hints(struct monoceros_request *req, const struct monoceros_field *fields, size_t n)
{
    return req->api->early_hints(req, fields, n);
}
/* Cut the response: the client can see that it is not whole. Loop apps: req is over afterwards. */
static inline void monoceros_abort(struct monoceros_request *req)
{
    req->api->abort(req);
}

/* ---- WebSockets: loop apps that have body(). The server checks frames and texts, joins fragments, inflates, and answers pings. ---- */

/* Does the client ask for a WebSocket? MONOCEROS_OK; MONOCEROS_IGNORED: it does not; 400, 426: it does, but wrongly (fit to be returned). */
static inline int monoceros_ws_asked(struct monoceros_request *req)
{
    return req->api->ws_asked(req);
}
/* Agree, instead of a response: with this subprotocol (one of those in Sec-WebSocket-Protocol; NULL: none) and n further headers. From then on only
 * monoceros_ws_read(), _send() and _close() may be used for writing and reading; body() tells that there is something to read, room() as ever.
 * MONOCEROS_OK; MONOCEROS_ERROR: nobody asked, too late, no body(), bad headers, the client is gone. */
static inline int monoceros_ws_accept(struct monoceros_request *req, const char *subprotocol, const struct monoceros_field *fields, size_t n)
{
    return req->api->ws_accept(req, subprotocol, fields, n);
}
/* The next message, valid until the next call or until the callback returns. MONOCEROS_OK; MONOCEROS_AGAIN: none is there, body() will be called;
 * MONOCEROS_ERROR: it is over, message->code says how: req is over afterwards, do not touch it again. A message that is not read stays with the
 * client. */
static inline int monoceros_ws_read(struct monoceros_request *req, struct monoceros_message *message)
{
    return req->api->ws_read(req, message);
}
/* Send a message; a text must be UTF-8. Returns as monoceros_write(); MONOCEROS_ERROR also when the other side has closed: reading tells. */
static inline int monoceros_ws_send(struct monoceros_request *req, bool text, const void *p, size_t n)
{
    return req->api->ws_send(req, text, p, n);
}
/* Close with a code (1000 to 1003, 1007 to 1014, 3000 to 4999) and a reason of at most 123 bytes (NULL: none). req is over afterwards, do not touch it
 * again. MONOCEROS_OK; MONOCEROS_ERROR: not such a code, or no WebSocket; then nothing was done. */
static inline int monoceros_ws_close(struct monoceros_request *req, int code, const char *reason)
{
    return req->api->ws_close(req, code, reason);
}

/* ---- waiting: blocking apps only, inside request() (loop apps get MONOCEROS_ERROR with errno EDEADLK). ms is the most that they wait, in
 * milliseconds; -1: for ever. Under sync and gthread they hold the process or thread, under greenlet only this request. ---- */

/* Pass ms milliseconds. MONOCEROS_OK; MONOCEROS_ERROR: the worker ends. */
static inline int monoceros_sleep(struct monoceros_request *req, int64_t ms)
{
    int rc = req->api->wait(req, -1, 0, ms);
    return rc == MONOCEROS_AGAIN ? MONOCEROS_OK : rc;
}
/* Wait for a descriptor of any library: MONOCEROS_READ, MONOCEROS_WRITE or both. MONOCEROS_OK: one of them would not block now (perhaps an error is
 * there to read); MONOCEROS_AGAIN: the time is over; MONOCEROS_ERROR with errno. */
static inline int monoceros_wait(struct monoceros_request *req, int fd, unsigned what, int64_t ms)
{
    return req->api->wait(req, fd, what, ms);
}
/* A connected stream socket to an address (AF_INET, AF_INET6, AF_UNIX): >= 0, a non-blocking, close-on-exec descriptor that the app closes.
 * MONOCEROS_AGAIN: not in time; MONOCEROS_ERROR with errno. */
static inline int monoceros_connect(struct monoceros_request *req, const struct sockaddr *to, socklen_t n, int64_t ms)
{
    return req->api->connect(req, to, n, ms);
}
/* Up to n bytes from a socket, as soon as there are some: > 0; 0: the other end has closed; MONOCEROS_AGAIN: none in time; MONOCEROS_ERROR with errno. */
static inline ssize_t monoceros_recv(struct monoceros_request *req, int fd, void *p, size_t n, int64_t ms)
{
    return req->api->recv(req, fd, p, n, ms);
}
/* All n bytes to a socket. MONOCEROS_OK; MONOCEROS_AGAIN: not all in time (how many went out is not known); MONOCEROS_ERROR with errno; no SIGPIPE. */
static inline int monoceros_send(struct monoceros_request *req, int fd, const void *p, size_t n, int64_t ms)
{
    return req->api->send(req, fd, p, n, ms);
}
/* Call fn(data[0]) … fn(data[n-1]) and return when all have returned. Under greenlet they run at the same time, each on a stack of its own, so
 * that blocking calls (of any library) wait together; under sync and gthread one after the other, in this order. fn may use the request's facts, body,
 * memory and waits, not the response: its functions refuse (MONOCEROS_ERROR) until all have returned. Under greenlet one fn runs at a
 * time, and another one only while it waits, so what they share needs no lock. MONOCEROS_OK: all were called, each once; MONOCEROS_ERROR: a loop
 * app (errno EDEADLK), none was. */
static inline int monoceros_together(struct monoceros_request *req, void (*fn)(void *data), void *const *data, size_t n)
{
    return req->api->together(req, fn, data, n);
}

/* ---- timers and posts: their functions run on the worker's loop, as those of loop apps do, and must not block ---- */

/* A timer, not set. Loop apps, from init() to exit(). It is freed with the worker at the latest. NULL: no memory, or a blocking app. */
static inline struct monoceros_timer *monoceros_timer_new(struct monoceros_worker *worker, void (*fn)(void *data), void *data)
{
    return worker->api->timer_new(worker, fn, data);
}
/* Call fn(data) once, in ms milliseconds (0: as soon as possible, but not now); a timer that is set is moved. MONOCEROS_OK; MONOCEROS_ERROR: no memory. */
static inline int monoceros_timer_set(struct monoceros_timer *timer, int64_t ms)
{
    return timer->api->timer_set(timer, ms);
}
/* Do not call it; nothing when it is not set. */
static inline void monoceros_timer_clear(struct monoceros_timer *timer)
{
    timer->api->timer_clear(timer);
}
/* Clear and free; also from within its own fn. */
static inline void monoceros_timer_free(struct monoceros_timer *timer)
{
    timer->api->timer_free(timer);
}
/* Call fn(data) on the loop, soon: the one function that any thread of the app may call (from init() until exit() returns). Calls keep the order in
 * which one thread posts them. What is still waiting when the worker ends is not called. MONOCEROS_OK; MONOCEROS_ERROR: no memory, or a blocking app. */
static inline int monoceros_post(struct monoceros_worker *worker, void (*fn)(void *data), void *data)
{
    return worker->api->post(worker, fn, data);
}

/* ---- the log: both kinds, any thread ---- */

/* A line in the server's error log, as printf() would write it, without newline at its end. Texts of clients are escaped by nobody but you. */
__attribute__((format(printf, 3, 4))) static inline void monoceros_log(struct monoceros_worker *worker, enum monoceros_level level,
                                                                       const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    worker->api->vlog(worker, level, format, arguments);
    va_end(arguments);
}

#ifdef __cplusplus
}
#endif

#endif
