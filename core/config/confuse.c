/* The only file that knows libconfuse: schema to its options, its sections to our tree, include().
 * All values are read as pointers to words with their place; their types are value.c's. Called by load.c. Arbiter and worker side. */
#include "core/config/confuse.h"

#include "core/config/prescan.h"
#include "core/config/schema.h"
#include "core/os/fd.h"

#include <confuse.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* libconfuse hands its callbacks no data of ours, and its lexer is one for the process: so is this. */
static struct reading {
    struct mc_build *b;
    struct mc_prescan_top top;
    const char *name[MC_CONFUSE_MAX_INCLUDES + 1]; /* of the file that is read, as messages call it */
    const char *path[MC_CONFUSE_MAX_INCLUDES + 1]; /* absolute; NULL: a text */
    struct stat id[MC_CONFUSE_MAX_INCLUDES + 1];   /* a file has many paths, so circles are found by this */
    int depth;
    bool broken; /* libconfuse gave up without a word: no memory, and its tree is not fit to be freed */
} * reading;

static struct mc_conf_where here(cfg_t *cfg)
{
    return (struct mc_conf_where){reading->name[reading->depth], cfg->line};
}

static void on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
    char text[256];
    (void)vsnprintf(text, sizeof text, fmt, ap);
    (void)mc_build_fail(reading->b, here(cfg), "%s", text);
}

static int on_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    struct mc_word *w = mc_build_alloc(reading->b, sizeof *w);
    (void)opt;
    if (!w)
        return -1;
    *w = (struct mc_word){mc_build_strdup(reading->b, value), here(cfg)};
    if (!w->text)
        return -1;
    *(void **)result = w;
    return 0;
}

static int read_into(cfg_t *cfg, const char *text, size_t n);

static int read_path(cfg_t *cfg, const char *name, const char *path)
{
    struct reading *r = reading;
    struct mc_conf_where at = {name, 0};
    size_t n;
    int rc;
    char *text = mc_fd_read_file(path, MC_CONFUSE_MAX_FILE, &n);
    if (!text && errno == EISDIR)
        return mc_build_fail(r->b, at, "is a directory, not a configuration file");
    if (!text && errno == EINVAL)
        return mc_build_fail(r->b, at, "is not a regular file");
    if (!text && errno == EFBIG)
        return mc_build_fail(r->b, at, "is larger than 4 MB");
    if (!text)
        return mc_build_fail(r->b, at, "cannot be read: %s", strerror(errno));
    r->name[r->depth] = name;
    r->path[r->depth] = path;
    rc = read_into(cfg, text, n);
    free(text);
    return rc;
}

/* One match of an include, in the reading that is under way. */
static int include_file(cfg_t *cfg, struct mc_conf_where at, const char *name, const char *path)
{
    struct reading *r = reading;
    char *outer_name = cfg->filename;
    int outer_line = cfg->line, rc;
    if (r->depth >= MC_CONFUSE_MAX_INCLUDES)
        return mc_build_fail(r->b, at, "more than %d files include one another", MC_CONFUSE_MAX_INCLUDES);
    if (stat(path, &r->id[r->depth + 1]) != 0)
        return mc_build_fail(r->b, at, "include(): %s: %s", name, strerror(errno));
    for (int i = 0; i <= r->depth; i++) {
        if (r->id[i].st_dev == r->id[r->depth + 1].st_dev && r->id[i].st_ino == r->id[r->depth + 1].st_ino)
            return mc_build_fail(r->b, at, "include() goes in a circle: %s is being read already", name);
    }
    r->depth++;
    rc = read_path(cfg, name, path);
    r->depth--;
    if (cfg->filename != outer_name) {
        free(cfg->filename);
        cfg->filename = outer_name;
    }
    cfg->line = outer_line;
    return rc;
}

/* Directory part of a name with its slash, "" when there is none. */
static const char *folder(struct mc_build *b, const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? mc_build_printf(b, "%.*s", (int)(slash - name + 1), name) : "";
}

/* The pattern below dir, whose own letters mean themselves. */
static const char *below(struct mc_build *b, const char *dir, const char *pattern)
{
    struct mc_sb sb;
    const char *z;
    if (pattern[0] == '/')
        return pattern;
    mc_sb_init(&sb, MC_CONFUSE_MAX_FILE);
    for (const char *p = dir; *p; p++) {
        if (strchr("*?[\\", *p))
            mc_sb_addc(&sb, '\\');
        mc_sb_addc(&sb, *p);
    }
    mc_sb_addz(&sb, pattern);
    z = mc_build_strdup(b, mc_sb_z(&sb));
    mc_sb_fini(&sb);
    return z;
}

/* A directory that is not there holds no file; one that cannot be read is an error. */
static int unreadable(const char *path, int why)
{
    (void)path;
    return why != ENOENT && why != ENOTDIR;
}

static int on_include(cfg_t *cfg, cfg_opt_t *opt, int argc, const char **argv)
{
    struct reading *r = reading;
    struct mc_conf_where at = here(cfg);
    glob_t found = {0};
    int rc = MC_OK, got;
    (void)opt;
    MC_ASSERT(argc == 1); /* prescan.c */
    if (!r->path[r->depth]) {
        (void)mc_build_fail(r->b, at, "include() has no place here");
        return -1;
    }
    const char *dir = folder(r->b, r->path[r->depth]), *shown = folder(r->b, r->name[r->depth]);
    const char *pattern = dir ? below(r->b, dir, argv[0]) : NULL;
    if (!pattern || !shown)
        return -1;
    got = glob(pattern, 0, unreadable, &found);          /* sorted */
    if (got == GLOB_NOMATCH && !strpbrk(argv[0], "*?[")) /* an empty conf.d is fine, a file that was named is not */
        rc = mc_build_fail(r->b, at, "include(): there is no file %s", argv[0]);
    else if (got != 0 && got != GLOB_NOMATCH)
        rc = mc_build_fail(r->b, at, "include(): cannot search %s: %s", argv[0], strerror(errno));
    for (size_t i = 0; rc == MC_OK && i < found.gl_pathc; i++) {
        const char *path = mc_build_strdup(r->b, found.gl_pathv[i]), *name = path;
        if (path && argv[0][0] != '/')
            name = mc_build_printf(r->b, "%s%s", shown, path + strlen(dir));
        rc = path && name ? include_file(cfg, at, name, path) : MC_ERROR;
    }
    globfree(&found);
    return rc == MC_OK ? 0 : -1;
}

static size_t count_options(const struct mc_scope *scope)
{
    size_t n = 3; /* the mark, include, the end */
    for (size_t i = 0; mc_schema_next(scope, &i);)
        n++;
    for (size_t i = 0; mc_schema_inner(reading->b, scope, i); i++)
        n++;
    return n;
}

static cfg_opt_t *make_options(const struct mc_scope *scope)
{
    const struct mc_setting *s;
    const struct mc_scope *inner;
    cfg_opt_t *opts = mc_build_alloc(reading->b, count_options(scope) * sizeof *opts), *o = opts;
    if (!opts)
        return NULL;
    for (size_t i = 0; (s = mc_schema_next(scope, &i));) {
        *o++ = (cfg_opt_t)CFG_PTR_CB(s->name, NULL, s->type == MC_SET_LIST ? CFGF_LIST | CFGF_NODEFAULT : CFGF_NODEFAULT, on_value, NULL);
    }
    for (size_t i = 0; (inner = mc_schema_inner(reading->b, scope, i)); i++) {
        cfg_opt_t *sub = make_options(inner);
        if (!sub)
            return NULL;
        *o++ = (cfg_opt_t)CFG_SEC(inner->name, sub, CFGF_MULTI | (inner->titled ? CFGF_TITLE | CFGF_NO_TITLE_DUPES : 0));
    }
    if (scope == &mc_schema_main)
        *o++ = (cfg_opt_t)CFG_FUNC("include", on_include);
    else
        *o++ = (cfg_opt_t)CFG_PTR_CB(MC_PRESCAN_MARK, NULL, CFGF_NODEFAULT, on_value, NULL);
    *o = (cfg_opt_t)CFG_END();
    return opts;
}

/* Text of one file, checked, into cfg. */
static int read_into(cfg_t *cfg, const char *text, size_t n)
{
    struct reading *r = reading;
    struct mc_sb clean;
    int rc;
    mc_sb_init(&clean, 4 * MC_CONFUSE_MAX_FILE);
    rc = mc_prescan(r->b, &r->top, r->name[r->depth], text, n, &clean);
    if (rc == MC_OK) {
        FILE *fp = fmemopen(clean.p, clean.n, "r");
        cfg->filename = strdup(r->name[r->depth]);
        if (!fp || !cfg->filename)
            rc = mc_build_fail(r->b, MC_NOWHERE, "out of memory");
        else if (cfg_parse_fp(cfg, fp) != CFG_SUCCESS) {
            r->broken = r->broken || !r->b->failed;
            rc = mc_build_fail(r->b, MC_NOWHERE, "out of memory");
        }
        if (fp)
            fclose(fp);
    }
    mc_sb_fini(&clean);
    return rc;
}

static struct mc_given *take_setting(const struct mc_setting *s, cfg_opt_t *opt)
{
    struct mc_given *g;
    unsigned n = cfg_opt_size(opt);
    if (n == 0 && !(opt->flags & CFGF_MODIFIED))
        return NULL;
    g = mc_build_alloc(reading->b, sizeof *g);
    if (!g)
        return NULL;
    *g = (struct mc_given){.setting = s, .label = s->name, .n = n, .words = mc_build_alloc(reading->b, n * sizeof *g->words)};
    if (!g->words)
        return NULL;
    for (unsigned i = 0; i < n; i++)
        g->words[i] = *(struct mc_word *)cfg_opt_getnptr(opt, i);
    if (n)
        g->at = g->words[0].at;
    return g;
}

/* Titles stand in log lines. */
static bool fit_title(const char *title)
{
    size_t n = 0;
    for (; title[n]; n++) {
        if ((unsigned char)title[n] < 0x20 || title[n] == 0x7f)
            return false;
    }
    return n > 0 && n <= 100;
}

static struct mc_block *take_block(cfg_t *cfg, const struct mc_scope *scope)
{
    struct mc_block *block = mc_build_alloc(reading->b, sizeof *block), **tail;
    const struct mc_scope *inner;
    const struct mc_setting *s;
    if (!block)
        return NULL;
    block->scope = scope;
    block->title = cfg_title(cfg) ? mc_build_strdup(reading->b, cfg_title(cfg)) : NULL;
    if (block->title && !fit_title(block->title)) {
        (void)mc_build_fail(reading->b, ((struct mc_word *)cfg_getptr(cfg, MC_PRESCAN_MARK))->at,
                            "the name of a %s is 1 to 100 characters, and no control characters", scope->name);
        return NULL;
    }
    if (scope != &mc_schema_main)
        block->at = ((struct mc_word *)cfg_getptr(cfg, MC_PRESCAN_MARK))->at;
    struct mc_given **next = &block->given;
    for (size_t i = 0; (s = mc_schema_next(scope, &i));) {
        *next = take_setting(s, cfg_getopt(cfg, s->name));
        if (*next && (*next)->at.file == NULL)
            (*next)->at = block->at;
        if (*next)
            next = &(*next)->next;
    }
    tail = &block->inner;
    for (size_t i = 0; (inner = mc_schema_inner(reading->b, scope, i)); i++) {
        cfg_opt_t *opt = cfg_getopt(cfg, inner->name);
        for (unsigned k = 0; k < cfg_opt_size(opt); k++) {
            *tail = take_block(cfg_opt_getnsec(opt, k), inner);
            if (!*tail)
                return NULL;
            tail = &(*tail)->next;
        }
    }
    return reading->b->failed ? NULL : block;
}

static struct mc_block *read_tree(struct mc_build *b, const char *name, const char *path, const char *text, size_t n)
{
    struct reading r = {.b = b, .name = {mc_build_strdup(b, name)}}; /* places in the configuration point to it */
    struct mc_block *root = NULL;
    cfg_opt_t *opts;
    cfg_t *cfg;
    MC_ASSERT(!reading);
    reading = &r;
    if (path)
        (void)stat(path, &r.id[0]); /* reading it tells when it is not there */
    opts = r.name[0] ? make_options(&mc_schema_main) : NULL;
    cfg = opts ? cfg_init(opts, CFGF_NONE) : NULL;
    if (!cfg) {
        (void)mc_build_fail(b, MC_NOWHERE, "out of memory");
    } else {
        cfg_set_error_function(cfg, on_error);
        int rc = path ? read_path(cfg, r.name[0], path) : read_into(cfg, text, n);
        if (rc == MC_OK)
            root = take_block(cfg, &mc_schema_main);
        if (!r.broken)
            cfg_free(cfg);
    }
    reading = NULL;
    return root;
}

struct mc_block *mc_confuse_text(struct mc_build *b, const char *name, const char *text, size_t n)
{
    return read_tree(b, name, NULL, text, n);
}

struct mc_block *mc_confuse_file(struct mc_build *b, const char *name, const char *path)
{
    return read_tree(b, name, path, NULL, 0);
}

const char *mc_confuse_version(void)
{
    return confuse_version;
}
