/* Loop apps for tests/integration/native: `monoceros_app` takes bodies as they come, `whole_app` has the server read them first. */
#include <monoceros/app.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { PIECE = 8192 };

/* What a request is at. */
struct job {
    struct monoceros_request *req;
    struct monoceros_timer *timer;
    pthread_t thread;
    bool full;  /* the client must catch up first */
    long left;  /* bytes still to write */
    char held[PIECE];
};

static unsigned gone_count, rooms_count, clients;

static long argument(struct monoceros_request *req)
{
    char *text = monoceros_copy(req, monoceros_query(req));
    return text ? atol(text) : 0;
}

static int text(struct monoceros_request *req, const char *body)
{
    monoceros_status(req, 200);
    return monoceros_end(req, body, strlen(body));
}

/* ---- a large answer: as much as the client takes ---- */

static int pour(struct job *j)
{
    char piece[PIECE];
    memset(piece, 'p', sizeof(piece));
    while (j->left > 0) {
        size_t n = j->left < PIECE ? (size_t)j->left : PIECE;
        int rc = monoceros_write(j->req, piece, n);
        if (rc == MONOCEROS_ERROR)
            return rc;
        j->left -= (long)n;
        if (rc == MONOCEROS_AGAIN) /* one more is refused */
            return monoceros_write(j->req, piece, n) == MONOCEROS_BUSY ? MONOCEROS_AGAIN : 500;
    }
    return monoceros_end(j->req, NULL, 0);
}

/* ---- the body back to where it came from ---- */

static int reflect(struct job *j)
{
    ssize_t n;
    while ((n = monoceros_body_read(j->req, j->held, sizeof(j->held))) > 0) {
        int rc = monoceros_write(j->req, j->held, (size_t)n);
        j->full = rc == MONOCEROS_AGAIN;
        if (rc != MONOCEROS_OK)
            return rc; /* what is not read waits in the server until there is room */
    }
    return n == 0 ? monoceros_end(j->req, NULL, 0) : n == MONOCEROS_AGAIN ? MONOCEROS_OK : MONOCEROS_ERROR;
}

/* ---- how long it was ---- */

static int measure(struct job *j)
{
    char number[24];
    ssize_t n;
    while ((n = monoceros_body_read(j->req, j->held, sizeof(j->held))) > 0)
        j->left += n;
    snprintf(number, sizeof(number), "%ld", j->left);
    return n == 0 ? text(j->req, number) : n == MONOCEROS_AGAIN ? MONOCEROS_OK : MONOCEROS_ERROR;
}

/* ---- later: by a timer, or by another thread ---- */

static void on_time(void *data)
{
    struct job *j = data;
    struct monoceros_timer *timer = j->timer;
    j->timer = NULL;
    monoceros_timer_free(timer);
    text(j->req, "later");
}

static void on_post(void *data)
{
    struct job *j = data;
    pthread_join(j->thread, NULL);
    text(j->req, "posted");
}

static void *think(void *data)
{
    struct job *j = data;
    monoceros_post(j->req->worker, on_post, j);
    return NULL;
}

/* ---- callbacks ---- */

static void left(void *data)
{
    (void)data;
    clients--;
}

static int stats(struct monoceros_request *req)
{
    char line[96];
    snprintf(line, sizeof(line), "clients=%u gone=%u rooms=%u", clients, gone_count, rooms_count);
    return text(req, line);
}

static int request(struct monoceros_request *req)
{
    struct monoceros_str path = monoceros_path(req);
    struct job *j = monoceros_alloc(req, sizeof(*j));
    if (!j || monoceros_cleanup(req, left, NULL) != MONOCEROS_OK)
        return 503;
    clients++;
    memset(j, 0, sizeof(*j));
    j->req = req;
    req->data = j;
    if (monoceros_is(path, "/echo"))
        return monoceros_status(req, 200); /* goes on in body() */
    if (monoceros_is(path, "/length"))
        return MONOCEROS_OK;
    if (monoceros_is(path, "/pour")) {
        j->left = argument(req);
        monoceros_status(req, 200);
        return pour(j);
    }
    if (monoceros_is(path, "/later")) {
        j->timer = monoceros_timer_new(req->worker, on_time, j);
        return j->timer && monoceros_timer_set(j->timer, argument(req)) == MONOCEROS_OK ? MONOCEROS_OK : 503;
    }
    if (monoceros_is(path, "/post"))
        return pthread_create(&j->thread, NULL, think, j) == 0 ? MONOCEROS_OK : 503;
    if (monoceros_is(path, "/wait"))
        return monoceros_sleep(req, 1) == MONOCEROS_ERROR ? text(req, "refused") : 500;
    if (monoceros_is(path, "/crash"))
        return raise(SIGSEGV);
    return monoceros_is(path, "/stats") ? stats(req) : 404;
}

static int body(struct monoceros_request *req)
{
    struct monoceros_str path = monoceros_path(req);
    struct job *j = req->data;
    if (monoceros_is(path, "/length"))
        return measure(j);
    return monoceros_is(path, "/echo") && !j->full ? reflect(j) : MONOCEROS_OK;
}

static int room(struct monoceros_request *req)
{
    struct job *j = req->data;
    rooms_count++;
    j->full = false;
    return monoceros_is(monoceros_path(req), "/echo") ? reflect(j) : pour(j);
}

static void gone(struct monoceros_request *req)
{
    struct job *j = req->data;
    gone_count++;
    if (j->timer)
        monoceros_timer_free(j->timer);
}

MONOCEROS_APP monoceros_app = {MONOCEROS_ABI_HEAD, .kind = MONOCEROS_LOOP, .name = "flow", .request = request, .body = body, .room = room, .gone = gone};

static int whole(struct monoceros_request *req)
{
    struct monoceros_str all;
    int rc = monoceros_body_whole(req, 100000, &all);
    if (rc != MONOCEROS_OK)
        return rc;
    monoceros_status(req, 200);
    return monoceros_end(req, all.p, all.n);
}

MONOCEROS_APP whole_app = {MONOCEROS_ABI_HEAD, .kind = MONOCEROS_LOOP, .name = "whole", .request = whole};
