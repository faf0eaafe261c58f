/* Header fields whose values have variables. Called by handlers and filters that send or change fields. */
#include "core/http/vars.h"

#include <stdio.h>

static int one(const struct mc_conf *conf, const void *set, const char *text, struct mc_vars_field *out, char *err, size_t errcap)
{
    char why[160];
    const char *colon = strchr(text, ':');
    MC_ASSERT(colon != NULL); /* the table checked it */
    out->name = mc_str_trim((struct mc_str){text, (size_t)(colon - text)});
    out->hash = mc_str_hash_nocase(out->name);
    enum mc_field_id id = mc_field_id(out->name, out->hash);
    if (id == MC_F_CONTENT_LENGTH || id == MC_F_HOST || mc_field_hop_by_hop(id)) {
        snprintf(err, errcap, "the field %.*s belongs to the server", (int)out->name.n, out->name.p);
        return MC_ERROR;
    }
    for (colon++; *colon == ' ' || *colon == '\t'; colon++) {
    }
    out->value = mc_vars_compile(conf, set, colon, why, sizeof why);
    if (out->value)
        return MC_OK;
    snprintf(err, errcap, "%.*s: %s", (int)out->name.n, out->name.p, why);
    return MC_ERROR;
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

int mc_vars_field_expand(const struct mc_vars_field *f, struct mc_request *r, struct mc_str *out)
{
    if (mc_vars_expand(f->value, r, out) != MC_OK)
        return MC_ERROR;
    *out = mc_str_trim(*out);
    if (out->n == 0)
        return MC_DECLINED;
    return mc_field_value_ok(*out) ? MC_OK : MC_ERROR;
}
