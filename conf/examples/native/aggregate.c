/* Fetches several upstreams at once with libcurl and answers with what they said: a blocking app that uses a library which waits by itself.
 *
 *   cc -shared -fPIC $(pkg-config --cflags monoceros libcurl) -o aggregate.so aggregate.c $(pkg-config --libs libcurl)
 *   UPSTREAMS="http://127.0.0.1:9001/a http://127.0.0.1:9002/b" monoceros ./aggregate.so -k gthread --threads 8
 *
 * curl_multi_poll() waits for all transfers together. Under sync and gthread that holds this process or thread, no client: the server has
 * read the request before and sends the answer by itself. */
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
    CURL *curl;
    char *text;
    size_t n;
    bool done;
    CURLcode result;
};

static int init(struct monoceros_worker *worker)
{
    struct config *c = calloc(1, sizeof(*c));
    const char *list = getenv("UPSTREAMS");
    if (!c || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(c->words = strdup(list ? list : "")))
        return MONOCEROS_ERROR;
    char *rest;
    for (char *word = strtok_r(c->words, " ", &rest); word && c->n < UPSTREAMS; word = strtok_r(NULL, " ", &rest))
        c->urls[c->n++] = word;
    if (c->n == 0) {
        monoceros_log(worker, MONOCEROS_LOG_ERROR, "aggregate: UPSTREAMS names no URL");
        return MONOCEROS_ERROR; /* this worker does not start, and the log says why */
    }
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

static int start(CURLM *all, struct transfer *t, const char *url)
{
    t->curl = curl_easy_init();
    if (!t->curl)
        return MONOCEROS_ERROR;
    curl_easy_setopt(t->curl, CURLOPT_URL, url);
    curl_easy_setopt(t->curl, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(t->curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(t->curl, CURLOPT_PRIVATE, t);
    curl_easy_setopt(t->curl, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
    curl_easy_setopt(t->curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(t->curl, CURLOPT_NOSIGNAL, 1L); /* signals belong to the server */
    return curl_multi_add_handle(all, t->curl) == CURLM_OK ? MONOCEROS_OK : MONOCEROS_ERROR;
}

static int fetch(CURLM *all)
{
    int running = 1, left;
    while (running > 0) {
        if (curl_multi_perform(all, &running) != CURLM_OK || (running > 0 && curl_multi_poll(all, NULL, 0, 1000, NULL) != CURLM_OK))
            return MONOCEROS_ERROR;
    }
    for (CURLMsg *m; (m = curl_multi_info_read(all, &left));) {
        struct transfer *t;
        if (m->msg == CURLMSG_DONE && curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t) == CURLE_OK) {
            t->done = true;
            t->result = m->data.result;
        }
    }
    return MONOCEROS_OK;
}

static int answer(struct monoceros_request *req, const struct config *c, const struct transfer *all)
{
    char line[512];
    bool whole = true;
    for (size_t i = 0; i < c->n; i++)
        whole = whole && all[i].done && all[i].result == CURLE_OK;
    monoceros_status(req, whole ? 200 : 502);
    monoceros_header_add(req, "Content-Type", "text/plain");
    for (size_t i = 0; i < c->n; i++) {
        const char *state = !all[i].done ? "not done" : all[i].result == CURLE_OK ? "ok" : curl_easy_strerror(all[i].result);
        int n = snprintf(line, sizeof(line), "== %.300s: %.100s\n", c->urls[i], state);
        if (monoceros_write(req, line, (size_t)n) != MONOCEROS_OK || monoceros_write(req, all[i].text, all[i].n) != MONOCEROS_OK)
            return MONOCEROS_ERROR; /* the client is gone */
    }
    return monoceros_end(req, NULL, 0);
}

static int aggregate(struct monoceros_request *req)
{
    const struct config *c = req->worker->data;
    struct transfer transfers[UPSTREAMS] = {{.n = 0}};
    CURLM *all = curl_multi_init();
    int rc = all ? MONOCEROS_OK : MONOCEROS_ERROR;
    for (size_t i = 0; i < c->n && rc == MONOCEROS_OK; i++)
        rc = start(all, &transfers[i], c->urls[i]);
    if (rc == MONOCEROS_OK)
        rc = fetch(all);
    if (rc == MONOCEROS_OK)
        rc = answer(req, c, transfers);
    for (size_t i = 0; i < c->n; i++) {
        if (transfers[i].curl) {
            curl_multi_remove_handle(all, transfers[i].curl);
            curl_easy_cleanup(transfers[i].curl);
        }
        free(transfers[i].text);
    }
    curl_multi_cleanup(all);
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
