/* Look-ups in what was written, and its way into the structs. Owns nothing. Arbiter and worker side. */
#include "core/config/tree.h"

#include "core/config/schema.h"
#include "core/config/value.h"

const struct mc_given *mc_tree_given(const struct mc_given *list, const char *name)
{
    for (; list; list = list->next) {
        if (strcmp(list->setting->name, name) == 0)
            return list;
    }
    return NULL;
}

struct mc_block *mc_tree_inner(const struct mc_block *block, const char *kind, const struct mc_block *prev)
{
    struct mc_block *i = prev ? prev->next : block ? block->inner : NULL;
    while (i && strcmp(i->scope->name, kind) != 0)
        i = i->next;
    return i;
}

size_t mc_tree_count(const struct mc_block *block, const char *kind)
{
    size_t n = 0;
    for (const struct mc_block *i = mc_tree_inner(block, kind, NULL); i; i = mc_tree_inner(block, kind, i))
        n++;
    return n;
}

/* Gunicorn's settings that nothing here follows: their defaults are right as they are. */
static int without_effect(struct mc_build *b, const struct mc_given *g, const char *const *words)
{
    const struct mc_setting *s = g->setting;
    if (s->flags & MC_SETF_QUIET || mc_value_is_default(b->arena, s, words, g->n))
        return MC_OK;
    if (s->flags & MC_SETF_REFUSED)
        return mc_build_fail(b, g->at, "%s", mc_tree_refusal(b, s));
    mc_build_warn(b, g->at, "%s is accepted and has no effect: %s", g->label, s->doc);
    return MC_OK;
}

const char *mc_tree_refusal(struct mc_build *b, const struct mc_setting *s)
{
    const char *text = mc_build_printf(b, "setting '%s' %s", s->name, s->doc);
    return text ? text : s->doc;
}

int mc_tree_apply(struct mc_build *b, const struct mc_given *g, void *base)
{
    char err[256];
    size_t bad = 0;
    const char **words;
    words = mc_build_alloc(b, g->n * sizeof *words);
    if (!words)
        return MC_ERROR;
    for (size_t i = 0; i < g->n; i++)
        words[i] = g->words[i].text;
    if (g->setting->flags & (MC_SETF_IGNORED | MC_SETF_REFUSED))
        return without_effect(b, g, words);
    if (mc_value_set(b->arena, g->setting, base, words, g->n, &bad, err, sizeof err) == MC_OK)
        return MC_OK;
    return mc_build_fail(b, bad < g->n ? g->words[bad].at : g->at, "%s: %s", g->label, err);
}

static bool in_table(const struct mc_setting *table, const struct mc_setting *s)
{
    for (; table->name; table = mc_setting_next(table)) {
        if (table == s)
            return true;
    }
    return false;
}

int mc_tree_apply_all(struct mc_build *b, const struct mc_given *list, const struct mc_setting *own, void *base)
{
    for (; list; list = list->next) {
        if (!in_table(own ? own : mc_settings, list->setting))
            continue;
        if (mc_tree_apply(b, list, base) != MC_OK)
            return MC_ERROR;
    }
    return MC_OK;
}
