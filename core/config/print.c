/* Normal form: --print-config and the configuration image of workers. Called by load.c and, for the image, by core/process.
 * Everything that was resolved stands in it as it was resolved, so reading it back asks nobody. */
#include "core/config/conf.h"
#include "core/config/schema.h"
#include "core/config/value.h"

static void indent(struct mc_sb *out, int depth)
{
    for (int i = 0; i < depth; i++)
        mc_sb_addz(out, "    ");
}

static void open_section(struct mc_sb *out, int depth, const char *name, const char *title)
{
    indent(out, depth);
    mc_sb_addz(out, name);
    if (title) {
        mc_sb_addc(out, ' ');
        mc_value_quote(out, title);
    }
    mc_sb_addz(out, " {\n");
}

static void close_section(struct mc_sb *out, int depth)
{
    indent(out, depth);
    mc_sb_addz(out, "}\n");
}

static void print_text(struct mc_sb *out, int depth, const char *name, const char *value)
{
    indent(out, depth);
    mc_sb_addf(out, "%s = ", name);
    mc_value_quote(out, value);
    mc_sb_addc(out, '\n');
}

/* Servers and apps say what these said. */
static bool gone(const struct mc_setting *s)
{
    return s->flags & (MC_SETF_IGNORED | MC_SETF_REFUSED) || s->offset == offsetof(struct mc_values, bind) || s->offset == offsetof(struct mc_values, wsgi_app);
}

static void print_values(struct mc_sb *out, int depth, const struct mc_setting *table, unsigned where, const void *set, const void *outer)
{
    for (const struct mc_setting *s = table; s->name; s = mc_setting_next(s)) {
        if (where && (!(s->where & where) || gone(s)))
            continue;
        if (mc_value_equal(s, set, outer) || !mc_value_is_set(s, set))
            continue;
        indent(out, depth);
        mc_sb_addf(out, "%s = ", s->name);
        mc_value_print(out, s, set);
        mc_sb_addc(out, '\n');
    }
}

static int print_sections(struct mc_sb *out, int depth, struct mc_arena *tmp, const struct mc_conf_section *list)
{
    for (const struct mc_conf_section *s = list; s; s = s->next) {
        void *defaults = mc_arena_calloc(tmp, s->type->size ? s->type->size : 1);
        if (!defaults || (s->type->settings && mc_value_defaults(tmp, s->type->settings, defaults) != MC_OK))
            return MC_ERROR;
        open_section(out, depth, s->type->name, s->title);
        if (s->type->settings)
            print_values(out, depth + 1, s->type->settings, 0, s->set, defaults);
        if (print_sections(out, depth + 1, tmp, s->inner) != MC_OK)
            return MC_ERROR;
        close_section(out, depth);
    }
    return MC_OK;
}

static int print_action(struct mc_sb *out, struct mc_arena *tmp, const struct mc_conf_route *r)
{
    void *defaults = mc_arena_calloc(tmp, r->module->conf_size ? r->module->conf_size : 1);
    if (!defaults || mc_value_defaults(tmp, r->module->settings, defaults) != MC_OK)
        return MC_ERROR;
    open_section(out, 2, r->module->name, NULL);
    print_values(out, 3, r->module->settings, 0, r->action, defaults);
    close_section(out, 2);
    return MC_OK;
}

static int print_route(struct mc_sb *out, struct mc_arena *tmp, const struct mc_conf_server *server, const struct mc_conf_route *r)
{
    static const struct mc_match_words nothing;
    int rc = MC_OK;
    open_section(out, 1, "route", r->name);
    if (r->words) {
        open_section(out, 2, "match", NULL);
        print_values(out, 3, mc_schema_match.own, 0, r->words, &nothing);
        close_section(out, 2);
    }
    print_values(out, 2, mc_settings, MC_AT_ROUTE, &r->set, &server->set);
    if (r->internal) {
        indent(out, 2);
        mc_sb_addz(out, "internal = yes\n");
    }
    if (r->app)
        print_text(out, 2, "app", r->app->name);
    else
        rc = print_action(out, tmp, r);
    if (rc == MC_OK)
        rc = print_sections(out, 2, tmp, r->sections);
    close_section(out, 1);
    return rc;
}

static int print_server(struct mc_sb *out, struct mc_arena *tmp, const struct mc_conf_server *server)
{
    open_section(out, 0, "server", server->name);
    indent(out, 1);
    mc_sb_addz(out, "listen = {");
    for (size_t i = 0; i < server->nlistens; i++) {
        if (i)
            mc_sb_addz(out, ", ");
        mc_value_quote(out, server->listens[i]->text);
    }
    mc_sb_addz(out, "}\n");
    for (size_t i = 0; i < server->nnames; i++) {
        if (i == 0)
            indent(out, 1);
        mc_sb_addz(out, i == 0 ? "names = {" : ", ");
        mc_value_quote(out, server->names[i].p);
        if (i + 1 == server->nnames)
            mc_sb_addz(out, "}\n");
    }
    print_text(out, 1, "pool", server->pool->name);
    print_values(out, 1, mc_settings, MC_AT_SERVER, &server->set, &server->pool->set);
    if (print_sections(out, 1, tmp, server->sections) != MC_OK)
        return MC_ERROR;
    for (size_t i = 0; i < server->nroutes; i++) {
        if (print_route(out, tmp, server, &server->routes[i]) != MC_OK)
            return MC_ERROR;
    }
    close_section(out, 0);
    return MC_OK;
}

static void print_app(struct mc_sb *out, const struct mc_conf_app *app)
{
    open_section(out, 0, "app", app->name);
    print_text(out, 1, "type", app->type->name);
    if (app->module)
        print_text(out, 1, "module", app->module);
    if (app->symbol)
        print_text(out, 1, "symbol", app->symbol);
    print_text(out, 1, "chdir", app->chdir);
    if (app->home)
        print_text(out, 1, "home", app->home);
    print_text(out, 1, "pool", app->pool->name);
    print_values(out, 1, mc_settings, MC_AT_APP, &app->set, &app->pool->set);
    close_section(out, 0);
}

int mc_conf_print(const struct mc_conf *c, struct mc_sb *out)
{
    struct mc_arena tmp;
    struct mc_values *defaults;
    int rc;
    mc_arena_init(&tmp);
    defaults = mc_arena_calloc(&tmp, sizeof *defaults);
    rc = defaults ? mc_value_defaults(&tmp, mc_settings, defaults) : MC_ERROR;
    if (rc == MC_OK)
        print_values(out, 0, mc_settings, MC_AT_MAIN, &c->set, defaults);
    if (rc == MC_OK)
        rc = print_sections(out, 0, &tmp, c->sections);
    for (size_t i = 0; rc == MC_OK && i < c->npools; i++) {
        open_section(out, 0, "pool", c->pools[i].name);
        print_values(out, 1, mc_settings, MC_AT_POOL, &c->pools[i].set, &c->set);
        close_section(out, 0);
    }
    for (size_t i = 0; rc == MC_OK && i < c->napps; i++)
        print_app(out, &c->apps[i]);
    for (size_t i = 0; rc == MC_OK && i < c->nservers; i++)
        rc = print_server(out, &tmp, &c->servers[i]);
    mc_arena_fini(&tmp);
    return rc == MC_OK && !out->bad ? MC_OK : MC_ERROR;
}
