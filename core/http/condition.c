/* Decides whether the client's copy is good enough. Pure: validators in, a status out. Called by handlers. Worker side. */
#include "core/http/condition.h"

#include "core/http/date.h"

static bool weak(struct mc_str tag)
{
    return tag.n >= 2 && tag.p[0] == 'W' && tag.p[1] == '/';
}

static struct mc_str opaque(struct mc_str tag)
{
    return weak(tag) ? (struct mc_str){tag.p + 2, tag.n - 2} : tag;
}

/* The next entity tag of a list. Commas may stand inside the quotes, so a comma list would cut them. */
static bool next_tag(struct mc_str *rest, struct mc_str *tag)
{
    const char *p = rest->p, *end = rest->p + rest->n;
    while (p < end && (*p == ' ' || *p == '\t' || *p == ','))
        p++;
    const char *start = p;
    if (end - p >= 2 && p[0] == 'W' && p[1] == '/')
        p += 2;
    if (p >= end || *p != '"')
        return false;
    const char *close = memchr(p + 1, '"', (size_t)(end - p - 1));
    if (!close)
        return false;
    *tag = (struct mc_str){start, (size_t)(close + 1 - start)};
    *rest = (struct mc_str){close + 1, (size_t)(end - close - 1)};
    return true;
}

/* Does one of the lists name our tag? `exact`: strong comparison (§8.8.3.2). */
static bool listed(const struct mc_fields *f, enum mc_field_id id, struct mc_str etag, bool exact)
{
    for (uint32_t i = 0; i < f->n; i++) {
        struct mc_str rest = f->v[i].value, tag;
        if (f->v[i].id != id)
            continue;
        if (mc_str_eq(rest, MC_STR("*")))
            return true;
        while (etag.p && next_tag(&rest, &tag)) {
            if (mc_str_eq(opaque(tag), opaque(etag)) && !(exact && (weak(tag) || weak(etag))))
                return true;
        }
    }
    return false;
}

/* -1: no such field, or no date in it; else whether we were modified after it. */
static int modified_since(const struct mc_fields *f, enum mc_field_id id, time_t modified)
{
    const struct mc_field *field = modified == (time_t)-1 ? NULL : mc_fields_get(f, id);
    time_t then;
    if (!field || mc_date_parse(field->value, &then) != MC_OK)
        return -1;
    return modified > then;
}

int mc_condition(const struct mc_fields *f, const struct mc_validators *v)
{
    if (mc_fields_get(f, MC_F_IF_MATCH)) {
        if (!listed(f, MC_F_IF_MATCH, v->etag, true))
            return 412;
    } else if (modified_since(f, MC_F_IF_UNMODIFIED_SINCE, v->modified) == 1) {
        return 412;
    }
    if (mc_fields_get(f, MC_F_IF_NONE_MATCH))
        return listed(f, MC_F_IF_NONE_MATCH, v->etag, false) ? 304 : MC_OK;
    return modified_since(f, MC_F_IF_MODIFIED_SINCE, v->modified) == 0 ? 304 : MC_OK;
}

bool mc_condition_range(const struct mc_fields *f, const struct mc_validators *v)
{
    const struct mc_field *field = mc_fields_get(f, MC_F_IF_RANGE);
    time_t then;
    if (!field)
        return true;
    if (field->value.n && (field->value.p[0] == '"' || weak(field->value)))
        return v->etag.p && !weak(v->etag) && mc_str_eq(field->value, v->etag);
    return v->modified != (time_t)-1 && mc_date_parse(field->value, &then) == MC_OK && then == v->modified;
}
