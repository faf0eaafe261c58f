/* Client libraries, untouched, one call a request: /curl?URL, /redis?SOCKET and /pq?CONNINFO. A body is what is asked: what curl uploads, a command
 * of redis, an SQL statement. What curl downloads goes to the client as it comes. What is built in says -DWITH_CURL and so on. */
#include "modules/handler/native/app.h"

#include <stdio.h>
#include <stdlib.h>

static int answer(struct monoceros_request *req, int status, const char *text)
{
    monoceros_status(req, status);
    return monoceros_end(req, text, strlen(text));
}

/* The text of the body, or what is asked without one. */
static const char *asked(struct monoceros_request *req, const char *otherwise)
{
    struct monoceros_str body;
    return monoceros_body_whole(req, 1000, &body) == MONOCEROS_OK && body.n > 0 ? body.p : otherwise;
}

#ifdef WITH_CURL
#include <curl/curl.h>

static size_t pass_down(char *p, size_t size, size_t n, void *data)
{
    return monoceros_write(data, p, size * n) == MONOCEROS_OK ? size * n : 0;
}

static size_t pass_up(char *p, size_t size, size_t n, void *data)
{
    ssize_t got = monoceros_body_read(data, p, size * n);
    return got < 0 ? CURL_READFUNC_ABORT : (size_t)got;
}

static int by_curl(struct monoceros_request *req, const char *url)
{
    CURL *c = curl_easy_init();
    const char *ca = getenv("CLIENTS_CA");
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, pass_down);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, req);
    if (ca) {
        curl_easy_setopt(c, CURLOPT_CAINFO, ca);
    }
    if (monoceros_body_length(req) > 0) {
        curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)monoceros_body_length(req));
        curl_easy_setopt(c, CURLOPT_READFUNCTION, pass_up);
        curl_easy_setopt(c, CURLOPT_READDATA, req);
    }
    monoceros_status(req, 200);
    CURLcode rc = curl_easy_perform(c);
    curl_easy_cleanup(c);
    if (rc == CURLE_OK) {
        return monoceros_end(req, NULL, 0);
    }
    monoceros_log(req->worker, MONOCEROS_LOG_ERROR, "curl: %s", curl_easy_strerror(rc));
    return MONOCEROS_ERROR; /* 500, or a cut */
}
#else
#define by_curl(req, what) ((void) (req), (void) (what), 501)
#endif

#ifdef WITH_REDIS
#include <hiredis/hiredis.h>

static int by_redis(struct monoceros_request *req, const char *path)
{
    redisContext *c = redisConnectUnix(path);
    redisReply *r = c && !c->err ? redisCommand(c, asked(req, "BLPOP queue 60")) : NULL;
    char text[200];
    if (r && r->type == REDIS_REPLY_NIL) {
        snprintf(text, sizeof text, "nil");
    } else {
        snprintf(text, sizeof text, "%s", r && r->type == REDIS_REPLY_ARRAY && r->elements == 2 ? r->element[1]->str : c ? c->errstr : "no memory");
    }
    if (r) {
        freeReplyObject(r);
    }
    if (c) {
        redisFree(c);
    }
    return answer(req, 200, text);
}
#else
#define by_redis(req, what) ((void) (req), (void) (what), 501)
#endif

#ifdef WITH_PQ
#include <libpq-fe.h>

static int by_pq(struct monoceros_request *req, const char *info)
{
    PGconn *c = PQconnectdb(info);
    PGresult *r = PQstatus(c) == CONNECTION_OK ? PQexec(c, asked(req, "select pg_advisory_lock_shared(1)::text || 'locked'")) : NULL;
    char text[300];
    snprintf(text, sizeof text, "%s", r && PQresultStatus(r) == PGRES_TUPLES_OK ? PQgetvalue(r, 0, 0) : PQerrorMessage(c));
    PQclear(r);
    PQfinish(c);
    return answer(req, 200, text);
}
#else
#define by_pq(req, what) ((void) (req), (void) (what), 501)
#endif

static int handle(struct monoceros_request *req)
{
    char *what = monoceros_copy(req, monoceros_query(req));
    struct monoceros_str path = monoceros_path(req);
    for (char *p = what; p && *p; p++) {
        *p = *p == '+' ? ' ' : *p;
    }
    if (what && monoceros_is(path, "/curl")) {
        return by_curl(req, what);
    }
    if (what && monoceros_is(path, "/redis")) {
        return by_redis(req, what);
    }
    return what && monoceros_is(path, "/pq") ? by_pq(req, what) : 404;
}

MONOCEROS_APP monoceros_app = { MONOCEROS_ABI_HEAD, .name = "clients", .kind = MONOCEROS_BLOCKING, .request = handle };
