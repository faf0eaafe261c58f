/* The grammar: NAME = VALUE, NAME = { VALUE, ... }, NAME += ..., NAME ["TITLE"] { ... }, include("GLOB").
 * libconfuse takes the last of two values, forgives a missing brace at the end of a file, and knows only closing lines; so all that is checked here.
 * Never keeps values: libconfuse does. Called by confuse.c. Arbiter and worker side. */
#include "core/config/prescan.h"

#include "core/config/scan.h"
#include "core/config/schema.h"

enum { MAX_DEPTH = 8 };

struct mc_prescan_seen {
    struct mc_prescan_seen *next;
    struct mc_str name, title;
    struct mc_conf_where at;
};

struct frame {
    const struct mc_scope *scope;
    struct mc_prescan_seen *seen;
    struct mc_conf_where at;
};

struct prescan {
    struct mc_build *b;
    struct mc_scan scan;
    struct frame stack[MAX_DEPTH];
    int depth;
};

static int unexpected(struct prescan *p, int token, const char *wanted)
{
    char name[64];
    if (token == MC_SCAN_BAD)
        return MC_ERROR;
    if (token == MC_SCAN_END)
        return mc_build_fail(p->b, p->scan.at, "the file ends here: expected %s", wanted);
    return mc_build_fail(p->b, p->scan.at, "unexpected %s: expected %s", mc_scan_name(&p->scan, token, name, sizeof name), wanted);
}

/* Remember name and title; *before is the earlier one, or NULL. */
static int remember(struct prescan *p, struct mc_str name, struct mc_str title, struct mc_conf_where at,
                    const struct mc_prescan_seen **before)
{
    struct frame *f = &p->stack[p->depth];
    struct mc_prescan_seen *s;
    *before = NULL;
    for (s = f->seen; s; s = s->next) {
        if (!mc_str_eq(s->name, name) || !mc_str_eq(s->title, title))
            continue;
        *before = s;
        return MC_OK;
    }
    s = mc_build_alloc(p->b, sizeof *s);
    if (!s)
        return MC_ERROR;
    *s = (struct mc_prescan_seen){f->seen, mc_arena_dup(p->b->arena, name), mc_arena_dup(p->b->arena, title), at};
    if (!s->name.p)
        return mc_build_fail(p->b, at, "out of memory");
    f->seen = s;
    return MC_OK;
}

static int read_list(struct prescan *p)
{
    int t;
    for (;;) {
        t = mc_scan_next(&p->scan);
        if (t == '}')
            return MC_OK;
        if (t == '{')
            return mc_build_fail(p->b, p->scan.at, "a list cannot hold a list");
        if (t != MC_SCAN_WORD && t != MC_SCAN_STRING)
            return unexpected(p, t, "a value or } in this list");
        t = mc_scan_next(&p->scan);
        if (t == '}')
            return MC_OK;
        if (t != ',')
            return unexpected(p, t, "a comma or } in this list");
    }
}

static int read_setting(struct prescan *p, const char *name, struct mc_conf_where at, int how)
{
    const struct mc_scope *scope = p->stack[p->depth].scope;
    const struct mc_setting *s = mc_schema_setting(scope, name);
    const struct mc_prescan_seen *before;
    if (!s)
        return mc_schema_unknown(p->b, at, scope, name, false);
    if (how == MC_SCAN_APPEND && s->type != MC_SET_LIST)
        return mc_build_fail(p->b, at, "'%s' is not a list: += cannot add to it", name);
    if (remember(p, mc_str(name), MC_STR_NONE, at, &before) != MC_OK)
        return MC_ERROR;
    if (before && how == '=') {
        return mc_build_fail(p->b, at, "'%s' is set twice%s; first at %s:%d", name, s->type == MC_SET_LIST ? " (use += to add)" : "",
                             before->at.file, before->at.line);
    }
    int t = mc_scan_next(&p->scan);
    if (t == '{' && s->type != MC_SET_LIST)
        return mc_build_fail(p->b, p->scan.at, "'%s' takes one value, not a list", name);
    if (t == '{')
        return read_list(p);
    if (t == MC_SCAN_WORD || t == MC_SCAN_STRING)
        return MC_OK;
    return unexpected(p, t, "a value");
}

static int open_section(struct prescan *p, const char *name, struct mc_str title, bool titled, struct mc_conf_where at)
{
    const struct mc_scope *scope = p->stack[p->depth].scope, *inner = mc_schema_find(p->b, scope, name);
    const struct mc_prescan_seen *before;
    if (!inner)
        return mc_schema_unknown(p->b, at, scope, name, true);
    if (inner->titled && (!titled || title.n == 0))
        return mc_build_fail(p->b, at, "'%s' needs a name: %s \"NAME\" { ... }", name, name);
    if (!inner->titled && titled)
        return mc_build_fail(p->b, at, "'%s' takes no name: %s { ... }", name, name);
    if (remember(p, mc_str(name), title, at, &before) != MC_OK)
        return MC_ERROR;
    if (before && titled) {
        return mc_build_fail(p->b, at, "there are two %s sections \"%.*s\"; the first at %s:%d", name, title.n > 40 ? 40 : (int)title.n,
                             title.p, before->at.file, before->at.line);
    }
    if (before)
        return mc_build_fail(p->b, at, "there are two %s sections; the first at %s:%d", name, before->at.file, before->at.line);
    if (p->depth + 1 >= MAX_DEPTH)
        return mc_build_fail(p->b, at, "sections are nested too deeply");
    p->stack[++p->depth] = (struct frame){.scope = inner, .at = at};
    mc_sb_addz(p->scan.out, " " MC_PRESCAN_MARK "=" MC_PRESCAN_MARK);
    return MC_OK;
}

static int read_call(struct prescan *p, const char *name, struct mc_conf_where at)
{
    int t;
    if (strcmp(name, "include") != 0)
        return mc_build_fail(p->b, at, "unknown function '%.60s()': there is include(\"GLOB\") only", name);
    if (p->depth > 0)
        return mc_build_fail(p->b, at, "include() stands at the top level only");
    if (p->b->image)
        return mc_build_fail(p->b, at, "include() has no place here");
    t = mc_scan_next(&p->scan);
    if (t != MC_SCAN_WORD && t != MC_SCAN_STRING)
        return unexpected(p, t, "a file name");
    t = mc_scan_next(&p->scan);
    return t == ')' ? MC_OK : unexpected(p, t, "')'");
}

static bool is_name(struct mc_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = mc_lower((unsigned char)s.p[i]);
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_')
            return false;
    }
    return s.n > 0 && s.n < 64;
}

static int read_statement(struct prescan *p)
{
    struct mc_conf_where at = p->scan.at;
    struct mc_str title = MC_STR_NONE;
    char name[64];
    bool titled = false;
    if (!is_name(p->scan.text))
        return unexpected(p, MC_SCAN_WORD, "the name of a setting or section");
    memcpy(name, p->scan.text.p, p->scan.text.n);
    name[p->scan.text.n] = '\0';
    int t = mc_scan_next(&p->scan);
    if (t == '=' || t == MC_SCAN_APPEND)
        return read_setting(p, name, at, t);
    if (t == '(')
        return read_call(p, name, at);
    if (t == MC_SCAN_WORD || t == MC_SCAN_STRING) {
        if (!mc_schema_find(p->b, p->stack[p->depth].scope, name) && mc_schema_setting(p->stack[p->depth].scope, name)) {
            return mc_build_fail(p->b, at, "expected '=' after '%s'", name);
        }
        title = p->scan.text;
        titled = true;
        t = mc_scan_next(&p->scan);
    }
    if (t == '{')
        return open_section(p, name, title, titled, at);
    if (t == MC_SCAN_BAD)
        return MC_ERROR;
    if (!mc_schema_find(p->b, p->stack[p->depth].scope, name) && !mc_schema_setting(p->stack[p->depth].scope, name)) {
        return mc_schema_unknown(p->b, at, p->stack[p->depth].scope, name, titled);
    }
    return unexpected(p, t, titled ? "'{'" : "'=' or '{'");
}

static int read_file(struct prescan *p)
{
    for (;;) {
        int t = mc_scan_next(&p->scan);
        if (t == MC_SCAN_END)
            break;
        if (t == MC_SCAN_WORD) {
            if (read_statement(p) != MC_OK)
                return MC_ERROR;
        } else if (t == '}' && p->depth > 0) {
            p->depth--;
        } else if (t == '}') {
            return mc_build_fail(p->b, p->scan.at, "there is a } too many");
        } else {
            return unexpected(p, t, "the name of a setting or section");
        }
    }
    if (p->depth == 0)
        return MC_OK;
    return mc_build_fail(p->b, p->stack[p->depth].at, "this %s section is never closed: a } is missing", p->stack[p->depth].scope->name);
}

int mc_prescan(struct mc_build *b, struct mc_prescan_top *top, const char *file, const char *text, size_t n, struct mc_sb *out)
{
    struct prescan p = {.b = b, .stack = {{.scope = &mc_schema_main, .seen = top->seen, .at = {file, 1}}}};
    int rc = mc_scan_open(&p.scan, b, file, text, n, out);
    if (rc == MC_OK)
        rc = read_file(&p);
    top->seen = p.stack[0].seen;
    mc_sb_addc(out, '\n');
    if (rc == MC_OK && out->bad)
        rc = mc_build_fail(b, (struct mc_conf_where){file, 0}, "is too large, or there is no memory");
    return rc;
}
