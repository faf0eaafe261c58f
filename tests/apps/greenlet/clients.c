/* Client libraries, untouched, one call a request: /curl?URL, /redis?SOCKET and /pq?CONNINFO. What is built in says -DWITH_CURL and so on. */
#include "modules/handler/native/app.h"

#include <stdio.h>
#include <stdlib.h>

static int answer(struct monoceros_request *req, const char *text, size_t n)
{
    monoceros_status(req, 200);
    return monoceros_end(req, text, n);
}

#ifdef WITH_CURL
#include <curl/curl.h>

struct text {
    char *p;
    size_t n;
};

static size_t keep(char *p, size_t size, size_t n, void *data)
{
    struct text *t = data;
    char *more = realloc(t->p, t->n + size * n + 1);
    if (more == NULL) {
        return 0;
    }
    t->p = more;
    memcpy(t->p + t->n, p, size * n);
    t->n += size * n;
    return size * n;
}

static int by_curl(struct monoceros_request *req, const char *url)
{
    struct text t = { NULL, 0 };
    CURL *c = curl_easy_init();
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &t);
    CURLcode rc = curl_easy_perform(c);
    curl_easy_cleanup(c);
    const char *why = curl_easy_strerror(rc);
    int done = rc == CURLE_OK ? answer(req, t.p ? t.p : "", t.n) : answer(req, why, strlen(why));
    free(t.p);
    return done;
}
#else
#define by_curl(req, what) ((void) (req), (void) (what), 501)
#endif

#ifdef WITH_REDIS
#include <hiredis/hiredis.h>

static int by_redis(struct monoceros_request *req, const char *path)
{
    redisContext *c = redisConnectUnix(path);
    redisReply *r = c && !c->err ? redisCommand(c, "BLPOP queue 60") : NULL;
    char text[200];
    snprintf(text, sizeof text, "%s", r && r->type == REDIS_REPLY_ARRAY && r->elements == 2 ? r->element[1]->str : c ? c->errstr : "no memory");
    if (r) {
        freeReplyObject(r);
    }
    if (c) {
        redisFree(c);
    }
    return answer(req, text, strlen(text));
}
#else
#define by_redis(req, what) ((void) (req), (void) (what), 501)
#endif

#ifdef WITH_PQ
#include <libpq-fe.h>

static int by_pq(struct monoceros_request *req, const char *info)
{
    PGconn *c = PQconnectdb(info);
    PGresult *r = PQstatus(c) == CONNECTION_OK ? PQexec(c, "select pg_advisory_lock_shared(1)::text || 'locked'") : NULL;
    char text[300];
    snprintf(text, sizeof text, "%s", r && PQresultStatus(r) == PGRES_TUPLES_OK ? PQgetvalue(r, 0, 0) : PQerrorMessage(c));
    PQclear(r);
    PQfinish(c);
    return answer(req, text, strlen(text));
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
    if (monoceros_is(path, "/curl")) {
        return by_curl(req, what);
    }
    if (monoceros_is(path, "/redis")) {
        return by_redis(req, what);
    }
    return monoceros_is(path, "/pq") ? by_pq(req, what) : 404;
}

MONOCEROS_APP monoceros_app = { MONOCEROS_ABI_HEAD, .name = "clients", .kind = MONOCEROS_BLOCKING, .request = handle };
