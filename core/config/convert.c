/* --convert: a gunicorn.conf.py as a monoceros.conf, in the order of the table; what has no equal becomes a comment.
 * Called by load.c; arbiter side. */
#include "core/config/gunicorn.h"

#include "core/config/value.h"

static struct mc_sb *comments; /* warnings of the reading that is under way */

static void keep_warning(const char *line)
{
    mc_sb_addf(comments, "# %s\n", line);
}

static int add_setting(struct mc_build *b, const struct mc_given *g, struct mc_values *values, struct mc_sb *out)
{
    char err[256];
    size_t bad = 0;
    const struct mc_setting *s = g->setting;
    const char **words = mc_build_alloc(b, g->n * sizeof *words);
    if (!words)
        return MC_ERROR;
    for (size_t i = 0; i < g->n; i++)
        words[i] = g->words[i].text;
    if (s->flags & MC_SETF_IGNORED) {
        if (!mc_value_is_default(b->arena, s, words, g->n))
            mc_sb_addf(out, "# %s has no effect: %s\n", s->name, s->doc);
        return MC_OK;
    }
    if (mc_value_set(b->arena, s, values, words, g->n, &bad, err, sizeof err) != MC_OK)
        return mc_build_fail(b, g->at, "%s: %s", s->name, err);
    if (!(s->where & MC_AT_MAIN))
        return MC_OK; /* check_config and the like are for the command line */
    mc_sb_addf(out, "%s = ", s->name);
    mc_value_print(out, s, values);
    mc_sb_addc(out, '\n');
    return MC_OK;
}

int mc_gunicorn_convert(struct mc_build *b, const char *word, const char *python, char *const *argv, struct mc_sb *out)
{
    struct mc_gunicorn g;
    struct mc_values *values = mc_build_alloc(b, sizeof *values);
    struct mc_sb notes;
    mc_sb_init(&notes, 65536);
    comments = &notes;
    b->warn = keep_warning;
    int rc = values ? mc_gunicorn_read(b, word, python, argv, &g) : MC_ERROR;
    if (rc == MC_OK)
        mc_sb_addf(out, "# Made from %s by monoceros --convert. What the file computes is as it is on this machine, in this environment.\n", g.name);
    for (const struct mc_setting *s = mc_settings; rc == MC_OK && s->name; s = mc_setting_next(s)) {
        const struct mc_given *given = mc_tree_given(g.block->given, s->name);
        rc = given ? add_setting(b, given, values, out) : MC_OK;
    }
    if (rc == MC_OK && !values->wsgi_app)
        mc_sb_addz(out, "# wsgi_app = 'MODULE:NAME'   unless the command line names the app\n");
    if (rc == MC_OK && *g.hooks)
        mc_sb_addf(out, "# what %s is still for: %s\n", g.name, g.hooks);
    if (rc == MC_OK)
        mc_sb_addz(out, mc_sb_z(&notes));
    mc_sb_fini(&notes);
    comments = NULL;
    return rc;
}
