/* Header fields whose values have variables. Called by handlers and filters that send or change fields. */
#include "core/http/vars.h"

#include <stdio.h>

static int one(const struct mc_conf *conf, const void *set, const char *text, struct mc_vars_field *out, char *err, size_t errcap)
{
    char why[160];
    const char *colon = strchr(text, ':');
    MC_ASSERT(colon != NULL); /* the table checked it */
    struct mc_field *f = &out->field;
    *f = mc_field(mc_str_trim((struct mc_str){text, (size_t)(colon - text)}), MC_STR_NONE);
    if (f->id == MC_F_CONTENT_LENGTH || f->id == MC_F_HOST || mc_field_hop_by_hop(f->id)) {
        snprintf(err, errcap, "the field %.*s belongs to the server", (int)f->name.n, f->name.p);
        return MC_ERROR;
    }
    for (colon++; *colon == ' ' || *colon == '\t'; colon++) {
    }
    out->value = mc_vars_compile(conf, set, colon, why, sizeof why);
    if (!out->value) {
        snprintf(err, errcap, "%.*s: %s", (int)f->name.n, f->name.p, why);
        return MC_ERROR;
    }
    struct mc_str same = mc_str_trim(mc_vars_text(out->value));
    if (same.n && mc_field_value_ok(same)) {
        f->value = same;
        out->value = NULL;
    }
    return MC_OK;
}

int mc_vars_fields_compile(const struct mc_conf *conf, const void *set, const struct mc_strv *list, struct mc_vars_fields *out, char *err, size_t errcap)
{
    struct mc_arena *a = &((struct mc_conf *)(uintptr_t)conf)->arena; /* as in mc_vars_compile() */
    *out = (struct mc_vars_fields){.v = list->n ? mc_arena_calloc(a, list->n * sizeof *out->v) : NULL};
    if (list->n && !out->v) {
        snprintf(err, errcap, "out of memory");
        return MC_ERROR;
    }
    for (; out->n < list->n; out->n++) {
        if (one(conf, set, list->v[out->n], &out->v[out->n], err, errcap) != MC_OK)
            return MC_ERROR;
    }
    return MC_OK;
}

int mc_vars_field_expand(const struct mc_vars_field *f, struct mc_request *r, struct mc_field *out)
{
    *out = f->field;
    if (!f->value)
        return MC_OK;
    if (mc_vars_expand(f->value, r, &out->value) != MC_OK)
        return MC_ERROR;
    out->value = mc_str_trim(out->value);
    if (out->value.n == 0)
        return MC_DECLINED;
    return mc_field_value_ok(out->value) ? MC_OK : MC_ERROR;
}
