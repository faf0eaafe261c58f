/* Sections of the file and their words, and the explanation of a name that is wrong where it stands.
 * Never sees a value. Called by names.c, confuse.c, cli.c and resolve.c. Arbiter and worker side. */
#include "core/config/schema.h"

#include "core/config/check.h"
#include "core/config/upstream.h"

static const struct mc_setting app_words[] = {
    {.name = "type", .type = MC_SET_STRING, .offset = offsetof(struct mc_app_words, type), .dflt = "wsgi", .doc = "kind of the app: wsgi, asgi, tornado, aiohttp or native [what worker_class says; epoll: asgi]"},
    {.name = "module",
     .type = MC_SET_STRING,
     .offset = offsetof(struct mc_app_words, module),
     .check = mc_check_filled,
     .doc = "MODULE, MODULE:NAME or MODULE:FACTORY(); native: a shared library such as ./hello.so"},
    {.name = "symbol",
     .type = MC_SET_STRING,
     .offset = offsetof(struct mc_app_words, symbol),
     .check = mc_check_filled,
     .doc = "native: the name that the library exports [monoceros_app]"},
    {.name = "chdir",
     .type = MC_SET_STRING,
     .offset = offsetof(struct mc_app_words, chdir),
     .check = mc_check_filled,
     .doc = "directory of the app, first on sys.path"},
    {.name = "home",
     .type = MC_SET_STRING,
     .offset = offsetof(struct mc_app_words, home),
     .check = mc_check_filled,
     .doc = "its virtual environment"},
    {.name = "pool", .type = MC_SET_STRING, .offset = offsetof(struct mc_app_words, pool), .doc = "the pool that runs it [the first]"},
    {.name = NULL},
};
static const struct mc_setting server_words[] = {
    {.name = "listen",
     .type = MC_SET_LIST,
     .offset = offsetof(struct mc_server_words, listen),
     .check = mc_check_filled,
     .doc = "where to listen: addresses, each with its options as words after it"},
    {.name = "names",
     .type = MC_SET_LIST,
     .offset = offsetof(struct mc_server_words, names),
     .check = mc_check_name,
     .doc = "host names, *.example.org for all below, ~PATTERN [any]"},
    {.name = "pool", .type = MC_SET_STRING, .offset = offsetof(struct mc_server_words, pool), .doc = "the pool that serves it [the first]"},
    {.name = NULL},
};
static const struct mc_setting route_words[] = {
    {.name = "app", .type = MC_SET_STRING, .offset = offsetof(struct mc_route_words, app), .doc = "the app that answers"},
    {.name = "internal", .type = MC_SET_BOOL, .offset = offsetof(struct mc_route_words, internal), .doc = "only for requests that rewrite, try or error_page sends here"},
    {.name = NULL},
};
static const struct mc_setting match_words[] = {
    {.name = "exact", .type = MC_SET_STRING, .offset = offsetof(struct mc_match_words, exact), .doc = "this very path"},
    {.name = "prefix", .type = MC_SET_STRING, .offset = offsetof(struct mc_match_words, prefix), .doc = "this path and all below"},
    {.name = "path", .type = MC_SET_STRING, .offset = offsetof(struct mc_match_words, path), .doc = "a regular expression; its groups are $1 and so on"},
    {.name = "method", .type = MC_SET_LIST, .offset = offsetof(struct mc_match_words, method), .check = mc_check_method, .doc = "one of these methods; !X: not X"},
    {.name = "host",
     .type = MC_SET_LIST,
     .offset = offsetof(struct mc_match_words, host),
     .check = mc_check_name,
     .doc = "one of these hosts: exact, *.example.org, ~PATTERN; !X: not X"},
    {.name = "scheme", .type = MC_SET_LIST, .offset = offsetof(struct mc_match_words, scheme), .check = mc_check_scheme, .doc = "http or https"},
    {.name = "client",
     .type = MC_SET_LIST,
     .offset = offsetof(struct mc_match_words, client),
     .check = mc_check_client,
     .doc = "the client's address is one of these, or in one of these networks; !X: not"},
    {.name = "header",
     .type = MC_SET_LIST,
     .offset = offsetof(struct mc_match_words, header),
     .check = mc_check_cond_header,
     .doc = "all of these: 'NAME' is there, 'NAME: PATTERN' matches, '!NAME' is not there"},
    {.name = "query",
     .type = MC_SET_LIST,
     .offset = offsetof(struct mc_match_words, query),
     .check = mc_check_cond_name,
     .doc = "all of these parameters: 'NAME', 'NAME=PATTERN', '!NAME'"},
    {.name = "cookie",
     .type = MC_SET_LIST,
     .offset = offsetof(struct mc_match_words, cookie),
     .check = mc_check_cond_name,
     .doc = "all of these cookies: 'NAME', 'NAME=PATTERN', '!NAME'"},
    {.name = NULL},
};

const struct mc_scope mc_schema_match = {
    .name = "match", .own = match_words, .doc = "which requests a route takes: all that it says must hold; without match, any"};
static const struct mc_scope *const route_inner[] = {&mc_schema_match, NULL};
const struct mc_scope mc_schema_route = {
    .name = "route", .titled = true, .where = MC_AT_ROUTE, .own = route_words, .inner = route_inner,
    .doc = "what answers requests: an app, or one action; routes are tried in the order of the file"};
static const struct mc_scope *const server_inner[] = {&mc_schema_route, NULL};
const struct mc_scope mc_schema_server = {
    .name = "server", .titled = true, .where = MC_AT_SERVER, .own = server_words, .inner = server_inner,
    .doc = "a site: addresses, host names and the routes behind them"};
const struct mc_scope mc_schema_app = {
    .name = "app", .titled = true, .where = MC_AT_APP, .own = app_words, .doc = "a web app, which a pool runs"};
const struct mc_scope mc_schema_pool = {
    .name = "pool", .titled = true, .where = MC_AT_POOL, .doc = "workers of one type, with their apps, limits and restarts"};
static const struct mc_scope *const main_inner[] = {&mc_schema_pool, &mc_schema_app, &mc_schema_server, NULL};
const struct mc_scope mc_schema_main = {.name = "", .where = MC_AT_MAIN, .inner = main_inner};

static const struct mc_section *const core_sections[] = {&mc_section_upstream, NULL};

static size_t count_sections(const struct mc_section *const *list)
{
    size_t n = 0;
    while (list && list[n])
        n++;
    return n;
}

/* The scope of a section, with scopes for its inner ones. */
static int make_scope(struct mc_build *b, struct mc_scope *scope, const struct mc_section *section)
{
    size_t n = count_sections(section->inner);
    const struct mc_scope **inner = n ? mc_build_alloc(b, (n + 1) * sizeof *inner) : NULL;
    struct mc_scope *scopes = n ? mc_build_alloc(b, n * sizeof *scopes) : NULL;
    if (n && (!inner || !scopes))
        return MC_ERROR;
    for (size_t i = 0; i < n; i++) {
        inner[i] = &scopes[i];
        if (make_scope(b, &scopes[i], section->inner[i]) != MC_OK)
            return MC_ERROR;
    }
    *scope = (struct mc_scope){
        .name = section->name, .titled = section->titled, .own = section->settings, .inner = inner, .section = section, .doc = section->doc, .in = section->where};
    return MC_OK;
}

static int add_scopes(struct mc_build *b, const struct mc_section *const *list)
{
    for (; list && *list; list++) {
        if (make_scope(b, &b->scopes[b->nscopes], *list) != MC_OK)
            return MC_ERROR;
        b->nscopes++;
    }
    return MC_OK;
}

int mc_schema_open(struct mc_build *b)
{
    size_t n = count_sections(core_sections);
    for (const struct mc_module *const *m = mc_modules; *m; m++)
        n += count_sections((*m)->sections) + ((*m)->kind == MC_MODULE_HANDLER && (*m)->settings);
    b->nscopes = 0;
    b->scopes = mc_build_alloc(b, n * sizeof *b->scopes);
    if (!b->scopes || add_scopes(b, core_sections) != MC_OK)
        return MC_ERROR;
    for (const struct mc_module *const *m = mc_modules; *m; m++) {
        if ((*m)->kind == MC_MODULE_HANDLER && (*m)->settings)
            b->scopes[b->nscopes++] = (struct mc_scope){.name = (*m)->name, .own = (*m)->settings, .module = *m, .doc = (*m)->doc,
                                                        .in = MC_AT_ROUTE};
        if (add_scopes(b, (*m)->sections) != MC_OK)
            return MC_ERROR;
    }
    return MC_OK;
}

const struct mc_setting *mc_schema_next(const struct mc_scope *scope, size_t *i)
{
    size_t n = 0;
    for (const struct mc_setting *s = scope->own; s && s->name; s = mc_setting_next(s)) {
        if (n++ == *i) {
            (*i)++;
            return s;
        }
    }
    for (const struct mc_setting *s = mc_settings; s->name; s = mc_setting_next(s)) {
        if (!(s->where & scope->where) || n++ < *i)
            continue;
        (*i)++;
        return s;
    }
    return NULL;
}

const struct mc_setting *mc_schema_setting(const struct mc_scope *scope, const char *name)
{
    const struct mc_setting *s;
    for (size_t i = 0; (s = mc_schema_next(scope, &i));) {
        if (strcmp(s->name, name) == 0)
            return s;
    }
    return NULL;
}

const struct mc_scope *mc_schema_inner(const struct mc_build *b, const struct mc_scope *scope, size_t index)
{
    size_t n = 0;
    while (scope->inner && scope->inner[n])
        n++;
    if (index < n)
        return scope->inner[index];
    index -= n;
    for (size_t i = 0; i < b->nscopes; i++) {
        if (b->scopes[i].in & scope->where && index-- == 0)
            return &b->scopes[i];
    }
    return NULL;
}

const struct mc_scope *mc_schema_find(const struct mc_build *b, const struct mc_scope *scope, const char *name)
{
    const struct mc_scope *inner;
    for (size_t i = 0; (inner = mc_schema_inner(b, scope, i)); i++) {
        if (strcmp(inner->name, name) == 0)
            return inner;
    }
    return NULL;
}

bool mc_schema_flag_is(const char *flags, const char *flag)
{
    size_t n = strlen(flag);
    while (flags && *flags) {
        size_t len = strcspn(flags, "|");
        if (len == n && memcmp(flags, flag, n) == 0)
            return true;
        flags += len + (flags[len] == '|');
    }
    return false;
}

const struct mc_setting_absent *mc_schema_absent(const char *name, const char *flag)
{
    for (const struct mc_setting_absent *a = mc_settings_absent; a->name; a++) {
        if ((name && strcmp(a->name, name) == 0) || (flag && mc_schema_flag_is(a->flag, flag)))
            return a;
    }
    return NULL;
}

const char *mc_schema_place(const struct mc_scope *scope)
{
    if (scope == &mc_schema_main)
        return "at the top level";
    if (scope == &mc_schema_pool)
        return "in a pool section";
    if (scope == &mc_schema_app)
        return "in an app section";
    if (scope == &mc_schema_server)
        return "in a server section";
    if (scope == &mc_schema_route)
        return "in a route section";
    if (scope->section)
        return "in this section";
    return scope == &mc_schema_match ? "in a match section" : "in the section of a handler";
}

/* Levenshtein distance, two rows; a word of n letters may have n/4 + 1 mistakes. */
unsigned mc_schema_distance(const char *a, const char *b)
{
    enum { MAX = 48 };
    unsigned row[MAX + 1];
    size_t la = strlen(a), lb = strlen(b);
    if (la == 0 || lb == 0 || la > MAX || lb > MAX)
        return MC_SCHEMA_FAR + 1;
    for (size_t j = 0; j <= lb; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= la; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= lb; j++) {
            unsigned replace = diagonal + (mc_lower((unsigned char)a[i - 1]) != mc_lower((unsigned char)b[j - 1]));
            unsigned other = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = replace < other ? replace : other;
        }
    }
    return row[lb] <= lb / 4 + 1 && row[lb] < lb ? row[lb] : MC_SCHEMA_FAR + 1;
}

static const struct mc_scope *const places[] = {&mc_schema_main,   &mc_schema_pool,  &mc_schema_app,
                                                &mc_schema_server, &mc_schema_route, &mc_schema_match};

/* The flag of a module of the tree that would bring a section or setting of this name. */
static const char *missing_module(const char *name)
{
    static const enum mc_module_kind kinds[] = {MC_MODULE_HANDLER, MC_MODULE_TRANSPORT, MC_MODULE_FILTER, MC_MODULE_LOG,
                                                MC_MODULE_PROTOCOL};
    for (size_t i = 0; i < MC_COUNT(kinds); i++) {
        const char *flag = mc_module_absent_flag(mc_module_kind_name(kinds[i]), name);
        if (flag)
            return flag;
    }
    return NULL;
}

/* Written in the wrong shape, or in the wrong place. */
static int misplaced(struct mc_build *b, struct mc_conf_where at, const struct mc_scope *scope, const char *name, bool section)
{
    const struct mc_scope *inner = mc_schema_find(b, scope, name);
    if (inner && !section)
        return mc_build_fail(b, at, "'%s' is a section: write %s%s { ... }", name, name, inner->titled ? " \"NAME\"" : "");
    if (section && mc_schema_setting(scope, name))
        return mc_build_fail(b, at, "'%s' is a setting: write %s = VALUE", name, name);
    const char *first = NULL, *second = NULL;
    for (size_t i = 0; i < MC_COUNT(places); i++) {
        if (section ? !mc_schema_find(b, places[i], name) : !mc_schema_setting(places[i], name))
            continue;
        if (first && !second)
            second = mc_schema_place(places[i]);
        if (!first)
            first = mc_schema_place(places[i]);
    }
    if (first) {
        return mc_build_fail(b, at, "'%s' belongs %s%s%s, not %s", name, first, second ? " or " : "", second ? second : "",
                             mc_schema_place(scope));
    }
    for (const struct mc_setting *s = mc_settings; s->name; s = mc_setting_next(s)) {
        if (s->where & MC_AT_CLI && strcmp(s->name, name) == 0)
            return mc_build_fail(b, at, "'%s' belongs on the command line", name);
    }
    return MC_OK;
}

static const char *suggestion(const struct mc_build *b, const struct mc_scope *scope, const char *name, bool section)
{
    const struct mc_scope *inner;
    const struct mc_setting *s;
    const char *best = NULL;
    unsigned distance = MC_SCHEMA_FAR, d;
    for (size_t i = 0; !section && (s = mc_schema_next(scope, &i));) {
        d = mc_schema_distance(name, s->name);
        if (d >= distance)
            continue;
        distance = d;
        best = s->name;
    }
    for (size_t i = 0; section && (inner = mc_schema_inner(b, scope, i)); i++) {
        d = mc_schema_distance(name, inner->name);
        if (d >= distance)
            continue;
        distance = d;
        best = inner->name;
    }
    return best;
}

int mc_schema_unknown(struct mc_build *b, struct mc_conf_where at, const struct mc_scope *scope, const char *name, bool section)
{
    static const char *const later[] = {"log", "limit", "metrics", "control", "proxy", "static", "redirect", "status"};
    const char *what = section ? "section" : "setting", *flag = missing_module(name), *guess;
    const struct mc_setting_absent *absent = mc_schema_absent(name, NULL);
    if (flag)
        return mc_build_fail(b, at, "%s '%s' needs a module that was left out of this build: configure it with %s", what, name, flag);
    if (misplaced(b, at, scope, name, section) != MC_OK)
        return MC_ERROR;
    if (absent)
        return mc_build_fail(b, at, "setting '%s' %s", name, absent->why);
    for (size_t i = 0; section && i < MC_COUNT(later); i++) {
        if (strcmp(later[i], name) == 0)
            return mc_build_fail(b, at, "section '%s' is not built yet in this version", name);
    }
    guess = suggestion(b, scope, name, section);
    if (guess)
        return mc_build_fail(b, at, "unknown %s '%.60s' %s: did you mean '%s'?", what, name, mc_schema_place(scope), guess);
    return mc_build_fail(b, at, "unknown %s '%.60s' %s", what, name, mc_schema_place(scope));
}
