/* Fetches several upstreams with libcurl's easy interface and answers with what they said: a blocking app that does several things at once.
 *
 *   cc -shared -fPIC $(pkg-config --cflags monoceros libcurl) -o aggregate.so aggregate.c $(pkg-config --libs libcurl)
 *   UPSTREAMS="http://127.0.0.1:9001/a http://127.0.0.1:9002/b" monoceros ./aggregate.so -k greenlet
 *
 * Under greenlet monoceros_together() runs each transfer on a coroutine of its own: all upstreams are asked at the same time, and other requests are
 * served meanwhile. Under sync and gthread the same code asks one upstream after the other. libcurl knows nothing of this. */
#include <monoceros/app.h>

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

enum { UPSTREAMS = 16, TIMEOUT_MS = 5000, ANSWER_MAX = 1 << 20 };

/* Made by init() once in each worker, only read afterwards: requests on several threads need no lock. */
struct config {
    char *words; /* the environment's text, cut into… */
    const char *urls[UPSTREAMS];
    size_t n;
};

struct transfer {
    const char *url;
    char *text;
    size_t n;
    CURLcode result;
};

static int init(struct monoceros_worker *worker)
{
    const char *list = getenv("UPSTREAMS");
    if (!list || strspn(list, " ") == strlen(list)) {
        monoceros_log(worker, MONOCEROS_LOG_ERROR, "aggregate: UPSTREAMS names no URL");
        return MONOCEROS_ERROR; /* this worker does not start, and the log says why */
    }
    struct config *c = calloc(1, sizeof(*c));
    if (!c || !(c->words = strdup(list)) || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return MONOCEROS_ERROR;
    char *rest;
    for (char *word = strtok_r(c->words, " ", &rest); word && c->n < UPSTREAMS; word = strtok_r(NULL, " ", &rest))
        c->urls[c->n++] = word;
    worker->data = c;
    return MONOCEROS_OK;
}

static void leave(struct monoceros_worker *worker)
{
    struct config *c = worker->data;
    free(c->words);
    free(c);
    curl_global_cleanup();
}

/* libcurl has received something. */
static size_t receive(char *p, size_t size, size_t n, void *data)
{
    struct transfer *t = data;
    n *= size;
    char *text = t->n + n <= ANSWER_MAX ? realloc(t->text, t->n + n) : NULL;
    if (!text)
        return 0; /* this transfer fails */
    memcpy(text + t->n, p, n);
    t->text = text;
    t->n += n;
    return n;
}

static void fetch(void *data)
{
    struct transfer *t = data;
    CURL *curl = curl_easy_init();
    t->result = CURLE_OUT_OF_MEMORY;
    if (!curl)
        return;
    curl_easy_setopt(curl, CURLOPT_URL, t->url);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L); /* signals belong to the server */
    t->result = curl_easy_perform(curl);
    curl_easy_cleanup(curl);
}

static int answer(struct monoceros_request *req, const struct transfer *all, size_t n)
{
    char line[512];
    bool whole = true;
    for (size_t i = 0; i < n; i++)
        whole = whole && all[i].result == CURLE_OK;
    monoceros_status(req, whole ? 200 : 502);
    monoceros_header_add(req, "Content-Type", "text/plain");
    for (size_t i = 0; i < n; i++) {
        const char *state = all[i].result == CURLE_OK ? "ok" : curl_easy_strerror(all[i].result);
        int len = snprintf(line, sizeof(line), "== %.300s: %.100s\n", all[i].url, state);
        if (monoceros_write(req, line, (size_t)len) != MONOCEROS_OK || monoceros_write(req, all[i].text, all[i].n) != MONOCEROS_OK)
            return MONOCEROS_ERROR; /* the client is gone */
    }
    return monoceros_end(req, NULL, 0);
}

static int aggregate(struct monoceros_request *req)
{
    const struct config *c = req->worker->data;
    struct transfer transfers[UPSTREAMS];
    void *each[UPSTREAMS];
    for (size_t i = 0; i < c->n; i++) {
        transfers[i] = (struct transfer){.url = c->urls[i]};
        each[i] = &transfers[i];
    }
    int rc = monoceros_together(req, fetch, each, c->n);
    if (rc == MONOCEROS_OK)
        rc = answer(req, transfers, c->n);
    for (size_t i = 0; i < c->n; i++)
        free(transfers[i].text);
    return rc; /* MONOCEROS_ERROR before the first byte: the server answers 500 */
}

MONOCEROS_APP monoceros_app = {
    MONOCEROS_ABI_HEAD,
    .name = "aggregate",
    .kind = MONOCEROS_BLOCKING,
    .init = init,
    .exit = leave,
    .request = aggregate,
};
