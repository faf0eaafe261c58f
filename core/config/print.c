/* Normal form: --print-config and the configuration image of workers. Called by load.c and, for the image, by core/process.
 * Everything that was resolved stands in it as it was resolved, so reading it back asks nobody. For people, comments tell where a value is from. */
#include "core/config/resolve.h"
#include "core/config/schema.h"
#include "core/config/value.h"

enum { COMMENTS = 48 /* column */ };

struct print {
    struct mc_sb *out;
    struct mc_arena *tmp;
    const struct mc_resolve_from *from; /* NULL: no comments, and differences only */
};

/* Who may have given a value, from the one that wins on. */
struct givers {
    const struct mc_given *list[5];
};

static void indent(struct print *p, int depth)
{
    for (int i = 0; i < depth; i++)
        mc_sb_addz(p->out, "    ");
}

static void begin_comment(struct print *p, size_t line)
{
    do
        mc_sb_addc(p->out, ' ');
    while (p->out->n - line < COMMENTS && !p->out->bad);
    mc_sb_addz(p->out, " # ");
}

/* The end of a line that began at `line`. */
static void end_at(struct print *p, size_t line, struct mc_conf_where at)
{
    if (p->from && at.file) {
        begin_comment(p, line);
        mc_sb_addf(p->out, at.line ? "%s:%d" : "%s", at.file, at.line);
    }
    mc_sb_addc(p->out, '\n');
}

static void end_value(struct print *p, size_t line, const struct givers *givers, const struct mc_setting *s)
{
    const struct mc_given *g = NULL;
    for (size_t i = 0; !g && i < MC_COUNT(givers->list); i++)
        g = mc_tree_given(givers->list[i], s->name);
    if (!p->from || (g && !g->source)) {
        end_at(p, line, g ? g->at : MC_NOWHERE);
        return;
    }
    begin_comment(p, line);
    if (g && strcmp(g->source, "environment") == 0)
        mc_sb_addf(p->out, "environment: %s", s->env);
    else if (g)
        mc_sb_addf(p->out, "%s: %s", g->source, g->label);
    else
        mc_sb_addz(p->out, "default");
    mc_sb_addc(p->out, '\n');
}

/* Of the top level. */
static struct givers givers_of_main(const struct mc_resolve_from *from)
{
    return (struct givers){{from->cli, from->file ? from->file->given : NULL, from->environment}};
}

/* The setting bind spoke, unless the server says itself where it listens. */
static void end_listen(struct print *p, size_t line, const struct mc_block *server)
{
    const struct mc_given *own = server ? mc_tree_given(server->given, "listen") : NULL;
    const struct mc_setting *s = mc_settings;
    while (s->offset != offsetof(struct mc_values, bind))
        s = mc_setting_next(s);
    if (!p->from || own) {
        end_at(p, line, own ? own->at : MC_NOWHERE);
    } else if (p->from->given.n) {
        begin_comment(p, line);
        mc_sb_addz(p->out, "sockets that were handed down\n");
    } else {
        const struct givers givers = givers_of_main(p->from);
        end_value(p, line, &givers, s);
    }
}

static void open_section(struct print *p, int depth, const char *name, const char *title, struct mc_conf_where at)
{
    size_t line = p->out->n;
    indent(p, depth);
    mc_sb_addz(p->out, name);
    if (title) {
        mc_sb_addc(p->out, ' ');
        mc_value_quote(p->out, title);
    }
    mc_sb_addz(p->out, " {");
    end_at(p, line, at);
}

static void close_section(struct print *p, int depth)
{
    indent(p, depth);
    mc_sb_addz(p->out, "}\n");
}

static void print_text(struct print *p, int depth, const char *name, const char *value)
{
    indent(p, depth);
    mc_sb_addf(p->out, "%s = ", name);
    mc_value_quote(p->out, value);
    mc_sb_addc(p->out, '\n');
}

static const struct mc_block *find_block(const struct mc_block *in, const char *kind, const char *title)
{
    const struct mc_block *b = mc_tree_inner(in, kind, NULL);
    while (b && strcmp(b->title, title) != 0)
        b = mc_tree_inner(in, kind, b);
    return b;
}

/* Servers, apps and proc_name say what these said. */
static bool gone(const struct mc_setting *s)
{
    return s->flags & (MC_SETF_IGNORED | MC_SETF_REFUSED) || s->offset == offsetof(struct mc_values, bind) ||
           s->offset == offsetof(struct mc_values, wsgi_app) || s->offset == offsetof(struct mc_values, default_proc_name);
}

static void print_value(struct print *p, int depth, const struct mc_setting *s, const void *set, const struct givers *givers)
{
    size_t line = p->out->n;
    indent(p, depth);
    if (!mc_value_is_set(s, set)) {
        mc_sb_addf(p->out, "# %s is not set\n", s->name);
        return;
    }
    mc_sb_addf(p->out, "%s = ", s->name);
    mc_value_print(p->out, s, set);
    end_value(p, line, givers, s);
}

/* What differs from the defaults of a table. */
static int print_own(struct print *p, int depth, const struct mc_setting *table, size_t size, const void *set)
{
    static const struct givers nobody;
    struct print plain = {.out = p->out};
    void *defaults = mc_arena_calloc(p->tmp, size ? size : 1);
    if (!defaults || mc_value_defaults(p->tmp, table, defaults) != MC_OK)
        return MC_ERROR;
    for (const struct mc_setting *s = table; s && s->name; s = mc_setting_next(s)) {
        if (!mc_value_equal(s, set, defaults) && mc_value_is_set(s, set))
            print_value(&plain, depth, s, set, &nobody);
    }
    return MC_OK;
}

/* The built-in settings of a scope: those that differ from the outer scope, or (outer NULL) all. */
static void print_values(struct print *p, int depth, unsigned where, const struct mc_values *set, const struct mc_values *outer,
                         const struct givers *givers)
{
    const char *group = NULL;
    for (const struct mc_setting *s = mc_settings; s->name; s = mc_setting_next(s)) {
        group = s->group ? s->group : group;
        if (!(s->where & where) || gone(s))
            continue;
        if (!outer && group && where == MC_AT_MAIN)
            mc_sb_addf(p->out, "\n# %s\n", group);
        group = NULL;
        if (!outer || (!mc_value_equal(s, set, outer) && mc_value_is_set(s, set)))
            print_value(p, depth, s, set, givers);
    }
}

static int print_sections(struct print *p, int depth, const struct mc_conf_section *list)
{
    for (const struct mc_conf_section *s = list; s; s = s->next) {
        open_section(p, depth, s->type->name, s->title, s->at);
        if (print_own(p, depth + 1, s->type->settings, s->type->size, s->set) != MC_OK || print_sections(p, depth + 1, s->inner) != MC_OK)
            return MC_ERROR;
        close_section(p, depth);
    }
    return MC_OK;
}

static int print_action(struct print *p, const struct mc_conf_route *r)
{
    open_section(p, 2, r->module->name, NULL, MC_NOWHERE);
    if (print_own(p, 3, r->module->settings, r->module->conf_size, r->action) != MC_OK)
        return MC_ERROR;
    close_section(p, 2);
    return MC_OK;
}

static int print_match(struct print *p, const struct mc_match_words *words)
{
    open_section(p, 2, "match", NULL, MC_NOWHERE);
    if (print_own(p, 3, mc_schema_match.own, sizeof *words, words) != MC_OK)
        return MC_ERROR;
    close_section(p, 2);
    return MC_OK;
}

static int print_route(struct print *p, const struct mc_conf_server *server, const struct mc_block *block, const struct mc_conf_route *r)
{
    const struct mc_block *own = find_block(block, "route", r->name);
    const struct givers givers = {{own ? own->given : NULL}};
    int rc = MC_OK;
    open_section(p, 1, "route", r->name, r->at);
    if (r->words)
        rc = print_match(p, r->words);
    print_values(p, 2, MC_AT_ROUTE, &r->set, &server->set, &givers);
    if (r->internal) {
        indent(p, 2);
        mc_sb_addz(p->out, "internal = yes\n");
    }
    if (r->app)
        print_text(p, 2, "app", r->app->name);
    else if (rc == MC_OK)
        rc = print_action(p, r);
    if (rc == MC_OK)
        rc = print_sections(p, 2, r->sections);
    close_section(p, 1);
    return rc;
}

static int print_server(struct print *p, const struct mc_conf_server *server)
{
    const struct mc_block *block = p->from ? find_block(p->from->file, "server", server->name) : NULL;
    const struct givers givers = {{block ? block->given : NULL}};
    open_section(p, 0, "server", server->name, server->at);
    size_t line = p->out->n;
    indent(p, 1);
    mc_sb_addz(p->out, "listen = {");
    for (size_t i = 0; i < server->nlistens; i++) {
        if (i)
            mc_sb_addz(p->out, ", ");
        mc_value_quote(p->out, server->listens[i]->text);
    }
    mc_sb_addc(p->out, '}');
    end_listen(p, line, block);
    for (size_t i = 0; i < server->nnames; i++) {
        if (i == 0)
            indent(p, 1);
        mc_sb_addz(p->out, i == 0 ? "names = {" : ", ");
        mc_value_quote(p->out, server->names[i].p);
        if (i + 1 == server->nnames)
            mc_sb_addz(p->out, "}\n");
    }
    print_text(p, 1, "pool", server->pool->name);
    print_values(p, 1, MC_AT_SERVER, &server->set, &server->pool->set, &givers);
    if (print_sections(p, 1, server->sections) != MC_OK)
        return MC_ERROR;
    for (size_t i = 0; i < server->nroutes; i++) {
        if (print_route(p, server, block, &server->routes[i]) != MC_OK)
            return MC_ERROR;
    }
    close_section(p, 0);
    return MC_OK;
}

static void print_app(struct print *p, const struct mc_conf_app *app)
{
    const struct mc_block *block = p->from ? find_block(p->from->file, "app", app->name) : NULL;
    const struct givers givers = {{block ? block->given : NULL}};
    open_section(p, 0, "app", app->name, app->at);
    print_text(p, 1, "type", app->type->name);
    if (app->module)
        print_text(p, 1, "module", app->module);
    if (app->symbol)
        print_text(p, 1, "symbol", app->symbol);
    print_text(p, 1, "chdir", app->chdir);
    if (app->home)
        print_text(p, 1, "home", app->home);
    print_text(p, 1, "pool", app->pool->name);
    print_values(p, 1, MC_AT_APP, &app->set, &app->pool->set, &givers);
    close_section(p, 0);
}

/* The command line beats what the first pool says of itself. */
static struct givers givers_of_pool(const struct mc_resolve_from *from, const struct mc_conf_pool *pool)
{
    const struct mc_block *block = find_block(from->file, "pool", pool->name);
    const struct mc_given *own = block ? block->given : NULL, *file = from->file ? from->file->given : NULL;
    if (pool->index == 0)
        return (struct givers){{from->cli, own, file, from->environment}};
    return (struct givers){{own, from->cli, file, from->environment}};
}

static int print(struct print *p, const struct mc_conf *c)
{
    struct mc_values *defaults = mc_arena_calloc(p->tmp, sizeof *defaults);
    struct givers givers = {{NULL}};
    if (!defaults || mc_value_defaults(p->tmp, mc_settings, defaults) != MC_OK)
        return MC_ERROR;
    if (p->from) {
        mc_sb_addz(p->out, "# What holds, and where it comes from. This is a configuration file, too.\n");
        givers = givers_of_main(p->from);
    }
    print_values(p, 0, MC_AT_MAIN, &c->set, p->from ? NULL : defaults, &givers);
    if (p->from)
        mc_sb_addc(p->out, '\n');
    int rc = print_sections(p, 0, c->sections);
    for (size_t i = 0; rc == MC_OK && i < c->npools; i++) {
        open_section(p, 0, "pool", c->pools[i].name, c->pools[i].at);
        if (p->from)
            givers = givers_of_pool(p->from, &c->pools[i]);
        print_values(p, 1, MC_AT_POOL, &c->pools[i].set, p->from ? NULL : &c->set, &givers);
        close_section(p, 0);
    }
    for (size_t i = 0; rc == MC_OK && i < c->napps; i++)
        print_app(p, &c->apps[i]);
    for (size_t i = 0; rc == MC_OK && i < c->nservers; i++)
        rc = print_server(p, &c->servers[i]);
    return rc == MC_OK && !p->out->bad ? MC_OK : MC_ERROR;
}

static int print_with(const struct mc_conf *c, const struct mc_resolve_from *from, struct mc_sb *out)
{
    struct mc_arena tmp;
    mc_arena_init(&tmp);
    int rc = print(&(struct print){.out = out, .tmp = &tmp, .from = from}, c);
    mc_arena_fini(&tmp);
    return rc;
}

int mc_conf_print(const struct mc_conf *c, struct mc_sb *out)
{
    return print_with(c, NULL, out);
}

int mc_conf_print_origins(const struct mc_conf *c, struct mc_sb *out)
{
    return print_with(c, c->from, out);
}
