/* A loop app with WebSockets, for tests/integration/native: sends back what it gets; /close, /fail, /later and /push do as they say. */
#include <monoceros/app.h>

#include <stdio.h>
#include <stdlib.h>

struct talk {
    struct monoceros_request *req;
    struct monoceros_timer *timer;
    bool fails, closes, later, full;
    char *held;
    size_t n;
    bool text;
};

static unsigned ended, gone_count;
static int last_code;

static void forget(void *data)
{
    struct talk *t = data;
    if (t->timer)
        monoceros_timer_free(t->timer);
    free(t->held);
    free(t);
}

static void on_timer(void *data)
{
    struct talk *t = data;
    if (monoceros_ws_send(t->req, t->text, t->held, t->n) == MONOCEROS_OK && t->closes)
        monoceros_ws_close(t->req, 3000, "later");
}

/* Until nothing is there, or the client is to catch up. */
static int talk(struct talk *t)
{
    struct monoceros_message m;
    int rc = MONOCEROS_OK;
    while (!t->full && (rc = monoceros_ws_read(t->req, &m)) == MONOCEROS_OK) {
        if (t->fails)
            return 500;
        if (t->closes && !t->later)
            return monoceros_ws_close(t->req, 3000, "b\xc3\xbf" "e");
        if (t->later) {
            free(t->held);
            t->held = malloc(m.data.n + 1);
            if (!t->held)
                return MONOCEROS_ERROR;
            memcpy(t->held, m.data.p, m.data.n);
            t->n = m.data.n;
            t->text = m.text;
            monoceros_timer_set(t->timer, 20);
            continue;
        }
        rc = monoceros_ws_send(t->req, m.text, m.data.p, m.data.n);
        t->full = rc == MONOCEROS_AGAIN;
        if (t->full && monoceros_ws_send(t->req, true, "x", 1) != MONOCEROS_BUSY)
            return 500;
    }
    if (!t->full && rc == MONOCEROS_ERROR) {
        ended++;
        last_code = m.code;
    }
    return MONOCEROS_OK;
}

static int count(struct monoceros_request *req)
{
    char text[64];
    int n = snprintf(text, sizeof(text), "%u %d %u", ended, last_code, gone_count);
    monoceros_status(req, 200);
    return monoceros_end(req, text, (size_t)n);
}

static int request(struct monoceros_request *req)
{
    static const struct monoceros_field fields[] = {{"X-Talk", "yes"}, {"Connection", "dropped"}};
    int asked = monoceros_ws_asked(req);
    if (asked == MONOCEROS_IGNORED)
        return count(req);
    if (asked > 0)
        return asked;
    if (monoceros_is(monoceros_path(req), "/no"))
        return 403;
    struct talk *t = calloc(1, sizeof(*t));
    if (!t || monoceros_cleanup(req, forget, t) != MONOCEROS_OK) {
        free(t);
        return 503;
    }
    t->req = req;
    t->fails = monoceros_is(monoceros_path(req), "/fail");
    t->closes = monoceros_is(monoceros_path(req), "/close") || monoceros_is(monoceros_path(req), "/push");
    t->later = monoceros_is(monoceros_path(req), "/later") || monoceros_is(monoceros_path(req), "/push");
    t->timer = monoceros_timer_new(req->worker, on_timer, t);
    req->data = t;
    if (monoceros_ws_accept(req, monoceros_header(req, "Sec-WebSocket-Protocol").p ? "talk" : NULL, fields, 2) != MONOCEROS_OK || !t->timer)
        return MONOCEROS_ERROR;
    /* What belongs to a response is no longer to be had. */
    return monoceros_write(req, "x", 1) == MONOCEROS_ERROR && monoceros_end(req, NULL, 0) == MONOCEROS_ERROR ? MONOCEROS_OK : MONOCEROS_ERROR;
}

static int body(struct monoceros_request *req)
{
    return talk(req->data);
}

static int room(struct monoceros_request *req)
{
    struct talk *t = req->data;
    t->full = false;
    return talk(t);
}

static void gone(struct monoceros_request *req)
{
    (void)req;
    gone_count++;
}

MONOCEROS_APP monoceros_app = {MONOCEROS_ABI_HEAD, .name = "talk", .kind = MONOCEROS_LOOP, .request = request, .body = body, .room = room, .gone = gone};
