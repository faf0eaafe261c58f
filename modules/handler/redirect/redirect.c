/* Action `redirect { to = '/new/$1'  code = 301 }`: the client is sent to another place. A loop handler. Worker side. */
#include "core/config/setting.h"
#include "core/http/status.h"
#include "core/http/vars.h"
#include "core/server/handler.h"

#include <stdio.h>

struct redirect {
    const char *to;
    int64_t code;
    struct mc_vars *vars;
};

static const struct mc_setting settings[] = {
    { .name = "to", .type = MC_SET_STRING, .offset = offsetof(struct redirect, to), .meta = "URL", .doc = "where to: a path or a URL; $1, $host and so on are replaced" },
    { .name = "code", .type = MC_SET_INT, .offset = offsetof(struct redirect, code), .dflt = "302", .min = 301, .max = 308, .meta = "CODE", .doc = "301, 302, 303, 307 or 308" },
    { .name = NULL },
};

/* A text of the configuration goes into the header as it stands. */
static bool clean(const char *p)
{
    for (; *p; p++) {
        if ((unsigned char) *p <= 0x20 || (unsigned char) *p >= 0x7f || strchr("\"<>\\^`", *p)) {
            return false;
        }
    }
    return true;
}

static int check_conf(const struct mc_conf *conf, void *action, char *err, size_t errcap)
{
    struct redirect *a = action;
    char why[160];
    if (a->to == NULL || a->to[0] == '\0') {
        snprintf(err, errcap, "redirect: needs to = 'URL'");
        return MC_ERROR;
    }
    if (!clean(a->to)) {
        snprintf(err, errcap, "redirect: to holds a byte that no URL may hold: percent-encode it");
        return MC_ERROR;
    }
    if (a->code == 304 || a->code == 305 || a->code == 306) {
        snprintf(err, errcap, "redirect: code is 301, 302, 303, 307 or 308, not %d", (int) a->code);
        return MC_ERROR;
    }
    a->vars = mc_vars_compile(conf, a, a->to, why, sizeof why);
    if (a->vars == NULL) {
        snprintf(err, errcap, "redirect: to: %s", why);
        return MC_ERROR;
    }
    return MC_OK;
}

/* "//evil.example" would be another host. */
static void stay_here(const char *template, struct mc_str *to)
{
    if (template[0] == '/' && template[1] == '/') {
        return;
    }
    while (to->n >= 2 && to->p[0] == '/' && to->p[1] == '/') {
        to->p++;
        to->n--;
    }
}

static int start(struct mc_request *r)
{
    const struct redirect *a = r->route->action;
    struct mc_str to, reason = mc_status_reason((int) a->code);
    if (mc_vars_expand_uri(a->vars, r, &to) != MC_OK) {
        return 500;
    }
    stay_here(a->to, &to);
    if (mc_response_begin(r, (int) a->code, MC_STR_NONE) != MC_OK) {
        return MC_ERROR;
    }
    if (mc_response_field(r, MC_STR("Location"), to) != MC_OK || mc_response_field(r, MC_STR("Content-Type"), MC_STR("text/plain")) != MC_OK) {
        return 500;
    }
    return mc_response_end(r, reason.p, reason.n);
}

static const struct mc_handler_ops ops = { .body = MC_BODY_DISCARD, .start = start, .quick = true };

const struct mc_module mc_module_handler_redirect = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "redirect",
    .kind = MC_MODULE_HANDLER,
    .settings = settings,
    .conf_size = sizeof(struct redirect),
    .check_conf = check_conf,
    .ops.handler = &ops,
    .doc = "sends the client elsewhere",
};
