/* Action `respond { status = 200  type = "text/plain"  body = "…" }`: a short answer. The smallest handler: copy it to start another.
 * A loop handler. Worker side. */
#include "core/config/setting.h"
#include "core/config/check.h"
#include "core/http/status.h"
#include "core/http/vars.h"
#include "core/server/conn.h"
#include "core/server/handler.h"

#include <stdio.h>

struct respond {
    int64_t status;
    bool health;
    const char *type, *body;
    struct mc_strv headers;
    struct mc_vars *text;
    struct mc_vars_fields fields;
    struct mc_field content_type;
};

static const struct mc_setting settings[] = {
    { .name = "status", .type = MC_SET_INT, .offset = offsetof(struct respond, status), .dflt = "200", .min = 200, .max = 599, .meta = "CODE", .doc = "status code" },
    { .name = "type", .type = MC_SET_STRING, .offset = offsetof(struct respond, type), .dflt = "text/plain; charset=utf-8", .meta = "TYPE", .doc = "Content-Type" },
    { .name = "health", .type = MC_SET_BOOL, .offset = offsetof(struct respond, health), .doc = "is the answer to a health check: 503 as soon as the server is to stop (shutdown_delay)" },
    { .name = "body", .type = MC_SET_STRING, .offset = offsetof(struct respond, body), .meta = "TEXT", .doc = "the text, with variables; without one, the status and its reason" },
    { .name = "headers", .type = MC_SET_LIST, .offset = offsetof(struct respond, headers), .meta = "FIELD", .check = mc_check_field, .doc = "fields 'NAME: value', with variables" },
    { .name = NULL },
};

static int check_conf(const struct mc_conf *conf, void *action, char *err, size_t errcap)
{
    struct respond *a = action;
    char why[200] = "";
    if (!mc_field_value_ok(mc_str(a->type))) {
        snprintf(err, errcap, "respond: type must not hold control characters");
        return MC_ERROR;
    }
    if (a->body && a->body[0] && mc_status_bodyless((int) a->status)) {
        snprintf(err, errcap, "respond: a response with status %d has no body", (int) a->status);
        return MC_ERROR;
    }
    a->content_type = mc_field(MC_STR("Content-Type"), mc_str(a->type));
    a->text = a->body ? mc_vars_compile(conf, a, a->body, why, sizeof why) : NULL;
    if ((a->body && a->text == NULL) || mc_vars_fields_compile(conf, a, &a->headers, &a->fields, why, sizeof why) != MC_OK) {
        snprintf(err, errcap, "respond: %s", why);
        return MC_ERROR;
    }
    return MC_OK;
}

static int add_fields(struct mc_request *r, const struct mc_vars_fields *fields)
{
    struct mc_field made;
    for (size_t i = 0; i < fields->n; i++) {
        int rc = mc_vars_field_expand(&fields->v[i], r, &made);
        if (rc == MC_ERROR || (rc == MC_OK && mc_response_add(r, &made) == MC_ERROR)) {
            return MC_ERROR;
        }
    }
    return MC_OK;
}

static int start(struct mc_request *r)
{
    const struct respond *a = r->route->action;
    int status = (int) a->status;
    if (a->health && mc_slot_get(r->conn->worker->slot->ending)) {
        return 503;
    }
    if (mc_response_begin(r, status, MC_STR_NONE) != MC_OK) {
        return MC_ERROR;
    }
    if (add_fields(r, &a->fields) != MC_OK) {
        return 500;
    }
    if (mc_status_bodyless(status)) {
        return mc_response_end(r, NULL, 0);
    }
    struct mc_str body;
    if (a->text == NULL) {
        body = mc_status_reason(status);
    } else if (mc_vars_expand(a->text, r, &body) != MC_OK) {
        return 500;
    }
    if (mc_response_add(r, &a->content_type) != MC_OK) {
        return 500;
    }
    return mc_response_end(r, body.p, body.n);
}

static const struct mc_handler_ops ops = { .body = MC_BODY_DISCARD, .start = start, .quick = true };

const struct mc_module mc_module_handler_respond = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "respond",
    .kind = MC_MODULE_HANDLER,
    .settings = settings,
    .conf_size = sizeof(struct respond),
    .check_conf = check_conf,
    .ops.handler = &ops,
    .doc = "answers with a fixed text",
};
