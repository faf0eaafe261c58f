/* Filter `headers { request { … } response { … } }`: sets, adds and removes header fields on their way in and out. Worker side; compiled in the arbiter, too. */
#include "core/config/check.h"
#include "core/config/conf.h"
#include "core/http/vars.h"
#include "core/server/filter.h"

#include <stdio.h>

struct changes {
    struct mc_strv set, add, remove;
    bool always;
    struct mc_vars_fields sets, adds;
};

struct headers {
    const struct changes *request, *response; /* NULL: none */
};

#define WORDS                                                                                                                                                          \
    { .name = "set", .type = MC_SET_LIST, .offset = offsetof(struct changes, set), .meta = "FIELD", .check = mc_check_field, .doc = "fields 'NAME: value' in place of those of the same name" },   \
    { .name = "add", .type = MC_SET_LIST, .offset = offsetof(struct changes, add), .meta = "FIELD", .check = mc_check_field, .doc = "more fields 'NAME: value'" },     \
    { .name = "remove", .type = MC_SET_LIST, .offset = offsetof(struct changes, remove), .meta = "NAME", .check = mc_check_field_name, .doc = "names of fields that are taken away" }

static const struct mc_setting request_settings[] = { WORDS, { .name = NULL } };
static const struct mc_setting response_settings[] = {
    WORDS,
    { .name = "always", .type = MC_SET_BOOL, .offset = offsetof(struct changes, always), .dflt = "yes", .doc = "also when the status is not 2xx or 3xx" },
    { .name = NULL },
};

static int check_changes(struct mc_conf *conf, struct mc_conf_section *s, bool image, char *err, size_t errcap)
{
    struct changes *c = s->set;
    char why[200] = "";
    (void) image;
    if (mc_vars_fields_compile(conf, c, &c->set, &c->sets, why, sizeof why) == MC_OK
        && mc_vars_fields_compile(conf, c, &c->add, &c->adds, why, sizeof why) == MC_OK) {
        return MC_OK;
    }
    snprintf(err, errcap, "headers: %s", why);
    return MC_ERROR;
}

static const struct mc_section request_section = { .name = "request", .settings = request_settings, .size = sizeof(struct changes), .check = check_changes, .doc = "changes to fields of the request" };
static const struct mc_section response_section = { .name = "response", .settings = response_settings, .size = sizeof(struct changes), .check = check_changes, .doc = "changes to fields of the response" };
static const struct mc_section *const inner[] = { &request_section, &response_section, NULL };
static const struct mc_section section = {
    .name = "headers",
    .where = MC_AT_MAIN | MC_AT_SERVER | MC_AT_ROUTE,
    .size = sizeof(struct headers),
    .inner = inner,
    .doc = "header fields to add, set and take away",
};

static int attach(struct mc_conf *conf, const struct mc_conf_server *server, const struct mc_conf_route *route, void **data)
{
    struct mc_conf_section *s = mc_conf_section_for(conf, server, route, &section);
    if (s == NULL) {
        return MC_DECLINED;
    }
    struct headers *h = s->set;
    const struct mc_conf_section *in = mc_conf_section(s->inner, &request_section, NULL), *out = mc_conf_section(s->inner, &response_section, NULL);
    h->request = in ? in->set : NULL;
    h->response = out ? out->set : NULL;
    *data = h;
    return MC_OK;
}

/* ---- at work */

static void drop(struct mc_fields *f, struct mc_str name)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        if (!mc_str_eq_nocase(f->v[i].name, name)) {
            f->v[kept++] = f->v[i];
        }
    }
    f->n = kept;
}

/* MC_OK; MC_ERROR: a field could not be made, and is not there. */
static int put(struct mc_request *r, struct mc_fields *f, const struct mc_vars_field *field)
{
    struct mc_field made;
    int rc = mc_vars_field_expand(field, r, &made);
    if (rc != MC_OK) {
        return rc == MC_DECLINED ? MC_OK : MC_ERROR;
    }
    return mc_fields_push(f, &r->arena, &made);
}

/* The values first: they may speak of fields that go. */
static int apply(struct mc_request *r, struct mc_fields *f, const struct changes *c)
{
    struct mc_fields made = { 0 };
    int rc = MC_OK;
    for (size_t i = 0; i < c->sets.n; i++) {
        rc = put(r, &made, &c->sets.v[i]) == MC_OK ? rc : MC_ERROR;
    }
    for (size_t i = 0; i < c->adds.n; i++) {
        rc = put(r, &made, &c->adds.v[i]) == MC_OK ? rc : MC_ERROR;
    }
    for (size_t i = 0; i < c->remove.n; i++) {
        drop(f, mc_str(c->remove.v[i]));
    }
    for (size_t i = 0; i < c->sets.n; i++) {
        drop(f, c->sets.v[i].field.name);
    }
    for (uint32_t i = 0; i < made.n; i++) {
        rc = mc_fields_push(f, &r->arena, &made.v[i]) == MC_OK ? rc : MC_ERROR;
    }
    return rc;
}

static int change_request(struct mc_request *r, void *data)
{
    const struct headers *h = data;
    if (h->request == NULL) {
        return MC_OK;
    }
    return apply(r, &r->head.fields, h->request) == MC_OK ? MC_OK : 400;
}

static int change_response(struct mc_request *r, void *data, int64_t whole, void **state)
{
    const struct headers *h = data;
    const struct changes *c = h->response;
    static struct mc_log_limit limit;
    unsigned missed;
    (void) whole;
    (void) state;
    if (c == NULL || (!c->always && (r->resp.status < 200 || r->resp.status > 399))) {
        return MC_DECLINED;
    }
    if (apply(r, &r->resp.fields, c) != MC_OK && mc_log_limited(&limit, &missed)) {
        mc_warn("headers of route \"%s\": a response field was left out: its value may not stand in a header", r->route ? r->route->name : "");
    }
    r->resp.has_date = mc_fields_get(&r->resp.fields, MC_F_DATE) != NULL;
    r->resp.has_server = mc_fields_get(&r->resp.fields, MC_F_SERVER) != NULL;
    return MC_DECLINED; /* no interest in the body */
}

static const struct mc_filter_ops ops = { .phase = MC_FILTER_HEADERS, .attach = attach, .access = change_request, .head = change_response };
static const struct mc_section *const sections[] = { &section, NULL };

const struct mc_module mc_module_filter_headers = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "headers",
    .kind = MC_MODULE_FILTER,
    .sections = sections,
    .ops.filter = &ops,
};
