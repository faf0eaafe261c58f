/* Conditions of routes, and the names of servers that are patterns: from words to what core/http/route.c matches. Called by sites.c.
 * Arbiter and worker side. */
#include "core/config/resolve.h"
#include "core/config/schema.h"

/* "!word": it must not hold. */
static const char *skip_mark(const char *word, bool *absent)
{
    *absent = word[0] == '!';
    return word + *absent;
}

/* A pattern whose groups become the route's next ones. */
static void *add_regex(struct mc_build *b, struct mc_conf_route *route, const struct mc_given *g, const struct mc_word *w, const char *text, bool fold,
                       unsigned *first)
{
    void *code = mc_resolve_regex(b, w->at, g->label, text, fold);
    if (!code)
        return NULL;
    *first = route->ncaptures;
    route->ncaptures += mc_conf_groups(code);
    return code;
}

static struct mc_conf_cond *new_cond(struct mc_conf_route *route, enum mc_cond_kind kind, bool absent)
{
    struct mc_conf_cond *c = &route->conds[route->nconds++];
    *c = (struct mc_conf_cond){.kind = kind, .absent = absent};
    return c;
}

static int room(struct mc_build *b, struct mc_conf_cond *c, size_t n)
{
    c->regexes = mc_build_alloc(b, n * sizeof *c->regexes);
    c->first = mc_build_alloc(b, n * sizeof *c->first);
    c->words.v = mc_build_alloc(b, n * sizeof *c->words.v);
    c->nets = mc_build_alloc(b, n * sizeof *c->nets);
    return c->regexes && c->first && c->words.v && c->nets ? MC_OK : MC_ERROR;
}

/* One of the words must hold, and none of those with a '!'. */
static int set_words(struct mc_build *b, struct mc_conf_route *route, const struct mc_given *g, enum mc_cond_kind kind)
{
    struct mc_conf_cond *conds[2] = {NULL, NULL};
    for (size_t i = 0; i < g->n; i++) {
        bool absent;
        const char *word = skip_mark(g->words[i].text, &absent);
        struct mc_conf_cond *c = conds[absent];
        if (!c) {
            conds[absent] = c = new_cond(route, kind, absent);
            if (room(b, c, g->n) != MC_OK)
                return MC_ERROR;
        }
        if (kind == MC_COND_CLIENT) {
            MC_ASSERT(mc_cidr_parse(mc_str(word), &c->nets[c->nnets++]) == MC_OK); /* the table checked it */
        } else if (kind == MC_COND_HOST && word[0] == '~') {
            void *code = add_regex(b, route, g, &g->words[i], word + 1, true, &c->first[c->nregexes]);
            if (!code)
                return MC_ERROR;
            c->regexes[c->nregexes++] = code;
        } else {
            c->words.v[c->words.n++] = word;
        }
    }
    return MC_OK;
}

/* "NAME", "!NAME" or "NAME<sep>PATTERN": each is a condition of its own. */
static int set_named(struct mc_build *b, struct mc_conf_route *route, const struct mc_given *g, enum mc_cond_kind kind, char sep)
{
    for (size_t i = 0; i < g->n; i++) {
        bool absent;
        const char *name = skip_mark(g->words[i].text, &absent), *at = strchr(name, sep), *pattern = at ? at + 1 : NULL;
        struct mc_conf_cond *c = new_cond(route, kind, absent);
        struct mc_str trimmed = mc_str_trim((struct mc_str){name, at ? (size_t)(at - name) : strlen(name)});
        if (room(b, c, 1) != MC_OK)
            return MC_ERROR;
        c->name = mc_arena_dup(b->arena, trimmed);
        if (!c->name.p)
            return mc_build_fail(b, MC_NOWHERE, "out of memory");
        while (pattern && sep == ':' && (*pattern == ' ' || *pattern == '\t'))
            pattern++;
        if (!pattern)
            continue;
        c->regexes[0] = add_regex(b, route, g, &g->words[i], pattern, false, &c->first[0]);
        if (!c->regexes[0])
            return MC_ERROR;
        c->nregexes = 1;
    }
    return MC_OK;
}

static int set_path(struct mc_build *b, struct mc_conf_route *route, const struct mc_given *g)
{
    unsigned first;
    if (route->match != MC_MATCH_ALL)
        return mc_build_fail(b, g->at, "match: write one of exact, prefix and path");
    route->pattern = mc_str(g->words[0].text);
    if (strcmp(g->setting->name, "path") == 0) {
        route->match = MC_MATCH_REGEX;
        route->regex = add_regex(b, route, g, &g->words[0], route->pattern.p, false, &first);
        return route->regex ? MC_OK : MC_ERROR;
    }
    route->match = strcmp(g->setting->name, "exact") == 0 ? MC_MATCH_EXACT : MC_MATCH_PREFIX;
    if (route->pattern.p[0] != '/')
        return mc_build_fail(b, g->words[0].at, "%s: a path begins with /, not as '%.80s'", g->label, route->pattern.p);
    return MC_OK;
}

static const struct {
    const char *name;
    enum mc_cond_kind kind;
    char sep; /* of a name and its pattern; 0: plain words */
} kinds[] = {
    {"method", MC_COND_METHOD, 0},   {"host", MC_COND_HOST, 0},       {"scheme", MC_COND_SCHEME, 0}, {"client", MC_COND_CLIENT, 0},
    {"header", MC_COND_HEADER, ':'}, {"query", MC_COND_QUERY, '='}, {"cookie", MC_COND_COOKIE, '='},
};

static int set_cond(struct mc_build *b, struct mc_conf_route *route, const struct mc_given *g)
{
    for (size_t i = 0; i < MC_COUNT(kinds); i++) {
        if (strcmp(kinds[i].name, g->setting->name) != 0)
            continue;
        return kinds[i].sep ? set_named(b, route, g, kinds[i].kind, kinds[i].sep) : set_words(b, route, g, kinds[i].kind);
    }
    return set_path(b, route, g);
}

/* The path first, whatever the order in the file: $1 is one of its groups. */
int mc_resolve_match(struct mc_build *b, struct mc_conf_route *route, const struct mc_block *match)
{
    size_t n = 0;
    for (const struct mc_given *g = match->given; g; g = g->next)
        n += g->n + 1;
    if (n == 0)
        return mc_build_fail(b, match->at, "match: write one of exact, prefix and path, or another condition");
    route->words = mc_build_alloc(b, sizeof *route->words);
    route->conds = mc_build_alloc(b, n * sizeof *route->conds);
    if (!route->words || !route->conds || mc_tree_apply_all(b, match->given, mc_schema_match.own, route->words) != MC_OK)
        return MC_ERROR;
    for (int pass = 0; pass < 2; pass++) {
        for (const struct mc_given *g = match->given; g; g = g->next) {
            bool path = g->setting->type == MC_SET_STRING;
            if (path == (pass == 0) && set_cond(b, route, g) != MC_OK)
                return MC_ERROR;
        }
    }
    return MC_OK;
}

int mc_resolve_name_patterns(struct mc_build *b, struct mc_conf_server *server, const struct mc_given *names)
{
    for (size_t i = 0; i < server->nnames; i++) {
        if (server->names[i].p[0] != '~')
            continue;
        if (!server->regexes)
            server->regexes = mc_build_alloc(b, server->nnames * sizeof *server->regexes);
        if (!server->regexes)
            return MC_ERROR;
        server->regexes[i] = mc_resolve_regex(b, names->words[i].at, "names", server->names[i].p + 1, true);
        if (!server->regexes[i])
            return MC_ERROR;
        unsigned n = mc_conf_groups(server->regexes[i]);
        if (n > server->ncaptures)
            server->ncaptures = n;
    }
    return MC_OK;
}
