/* WebSockets of loop apps (contract: app.h), over core/server/websocket.h. Keeps an app from being called for one that is over. Worker side, on the loop. */
#include "modules/handler/native/native.h"

static int done(struct mc_native_call *c, int rc)
{
    if (!c->inside)
        mc_request_wake(c->r);
    return rc;
}

int mc_native_ws_asked(struct monoceros_request *q)
{
    struct mc_native_call *c = mc_native_call(q);
    return mc_native_blocking(c->native) ? MONOCEROS_IGNORED : mc_ws_asked(&c->r->head);
}

int mc_native_ws_accept(struct monoceros_request *q, const char *subprotocol, const struct monoceros_field *fields, size_t n)
{
    struct mc_native_call *c = mc_native_call(q);
    struct mc_request *r = c->r;
    struct mc_fields all = {.n = 0};
    struct mc_str sub = mc_str(subprotocol);
    if (c->ws || mc_native_ws_asked(q) != MONOCEROS_OK || !c->native->app->body || (sub.p && !mc_field_name_ok(sub)))
        return MONOCEROS_ERROR;
    for (size_t i = 0; i < n; i++) {
        struct mc_str name = mc_arena_dup(&r->arena, mc_str(fields[i].name)), value = mc_arena_dup(&r->arena, mc_str(fields[i].value));
        if (!name.p || !value.p || !mc_field_name_ok(name) || !mc_field_value_ok(value) || mc_fields_add(&all, &r->arena, name, value) != MC_OK)
            return MONOCEROS_ERROR;
        if (mc_field_hop_by_hop(all.v[all.n - 1].id) || all.v[all.n - 1].id == MC_F_CONTENT_LENGTH)
            all.n--;
    }
    c->ws = mc_ws_open(r, sub, &all);
    return done(c, c->ws ? MONOCEROS_OK : MONOCEROS_ERROR);
}

int mc_native_ws_read(struct monoceros_request *q, struct monoceros_message *message)
{
    struct mc_native_call *c = mc_native_call(q);
    struct mc_ws_message m;
    struct mc_str reason;
    int rc = c->ws && !c->ws_over ? mc_ws_next(c->ws, &m) : MC_DECLINED;
    *message = (struct monoceros_message){.code = 0};
    if (rc == MC_OK) {
        message->data = (struct monoceros_str){m.n ? m.p : "", m.n};
        message->text = m.text;
    } else if (rc == MC_DECLINED) {
        message->code = c->ws ? (int)mc_ws_ended(c->ws, &reason) : 0;
        c->ws_over = c->ws != NULL;
    }
    return done(c, rc == MC_DECLINED ? MONOCEROS_ERROR : rc);
}

int mc_native_ws_send(struct monoceros_request *q, bool text, const void *p, size_t n)
{
    struct mc_native_call *c = mc_native_call(q);
    if (c->r->resp.paused)
        return MONOCEROS_BUSY;
    return c->ws && !c->ws_over ? done(c, mc_ws_send(c->ws, text, p, n)) : MONOCEROS_ERROR;
}

int mc_native_ws_close(struct monoceros_request *q, int code, const char *reason)
{
    struct mc_native_call *c = mc_native_call(q);
    struct mc_str text = mc_str(reason);
    if (!c->ws || c->ws_over || code < 0 || !mc_ws_code_ok((unsigned)code) || text.n > 123)
        return MONOCEROS_ERROR;
    (void)mc_ws_close(c->ws, (unsigned)code, text); /* the client may have been quicker */
    c->ws_over = true;
    return done(c, MONOCEROS_OK);
}

int mc_native_ws_result(struct mc_native_call *c, int rc)
{
    if (rc == MONOCEROS_OK || rc == MONOCEROS_AGAIN || rc == MONOCEROS_BUSY || c->ws_over)
        return MC_OK;
    (void)mc_ws_close(c->ws, MC_WS_INTERNAL, MC_STR_NONE);
    c->ws_over = true;
    return MC_OK;
}
