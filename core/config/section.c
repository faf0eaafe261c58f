/* Sections that core and modules bring: from what was written to filled structs. Knows none of them. Called by sites.c. Arbiter and worker side. */
#include "core/config/resolve.h"
#include "core/config/schema.h"
#include "core/config/value.h"

static struct mc_conf_section *fill(struct mc_build *b, const struct mc_block *block)
{
    const struct mc_section *type = block->scope->section;
    struct mc_conf_section *s = mc_build_alloc(b, sizeof *s);
    if (!s)
        return NULL;
    *s = (struct mc_conf_section){.type = type, .title = block->title, .at = block->at, .set = mc_build_alloc(b, type->size ? type->size : 1)};
    if (!s->set)
        return NULL;
    if (type->settings && mc_value_defaults(b->arena, type->settings, s->set) != MC_OK) {
        (void)mc_build_fail(b, MC_NOWHERE, "out of memory");
        return NULL;
    }
    if (type->settings && mc_tree_apply_all(b, block->given, type->settings, s->set) != MC_OK)
        return NULL;
    return mc_resolve_sections(b, block, &s->inner) == MC_OK ? s : NULL;
}

int mc_resolve_sections(struct mc_build *b, const struct mc_block *block, struct mc_conf_section **out)
{
    struct mc_conf_section **tail = out;
    for (const struct mc_block *i = block->inner; i; i = i->next) {
        if (!i->scope->section)
            continue;
        *tail = fill(b, i);
        if (!*tail)
            return MC_ERROR;
        tail = &(*tail)->next;
    }
    return MC_OK;
}

int mc_resolve_check_sections(struct mc_build *b, struct mc_conf *c, struct mc_conf_section *list)
{
    char err[320] = "";
    for (struct mc_conf_section *s = list; s; s = s->next) {
        if (s->type->check && s->type->check(c, s, b->image, err, sizeof err) != MC_OK)
            return mc_build_fail(b, s->at, "%s", err);
        if (mc_resolve_check_sections(b, c, s->inner) != MC_OK)
            return MC_ERROR;
    }
    return MC_OK;
}

struct mc_conf_section *mc_conf_section(struct mc_conf_section *list, const struct mc_section *type, const struct mc_conf_section *prev)
{
    struct mc_conf_section *s = prev ? prev->next : list;
    while (s && s->type != type)
        s = s->next;
    return s;
}

struct mc_conf_section *mc_conf_section_named(struct mc_conf_section *list, const struct mc_section *type, const char *title)
{
    struct mc_conf_section *s = mc_conf_section(list, type, NULL);
    while (s && strcmp(s->title, title) != 0)
        s = mc_conf_section(list, type, s);
    return s;
}

struct mc_conf_section *mc_conf_section_for(const struct mc_conf *c, const struct mc_conf_server *server, const struct mc_conf_route *route,
                                            const struct mc_section *type)
{
    struct mc_conf_section *s = route ? mc_conf_section(route->sections, type, NULL) : NULL;
    if (!s && server)
        s = mc_conf_section(server->sections, type, NULL);
    return s ? s : mc_conf_section(c->sections, type, NULL);
}
