/* The settings of the action `static` and of the section `file_cache`: tables, and what is compiled from them. Both sides. */
#include "modules/handler/static/static.h"

#include "core/config/value.h"
#include "core/http/vars.h"

#include <stdio.h>
#include <string.h>

#define AT(f) offsetof(struct mc_static, f)

const struct mc_setting mc_static_settings[] = {
    {.name = "root", .type = MC_SET_STRING, .offset = AT(root), .meta = "DIR", .doc = "the directory; a relative one is below chdir. It may be a symbolic link that moves on"},
    {.name = "strip", .type = MC_SET_BOOL, .offset = AT(strip), .dflt = "yes", .doc = "a route's prefix is no part of the file's path: /static/a.css is a.css below root"},
    {.name = "try", .type = MC_SET_LIST, .offset = AT(try), .meta = "PATH", .doc = "paths below root, with variables, of which the first that is a file is sent; one that ends with '/' is a directory with an index"},
    {.name = "index", .type = MC_SET_LIST, .offset = AT(index), .dflt = "index.html", .meta = "NAME", .doc = "files that stand for their directory"},
    {.name = "fallthrough", .type = MC_SET_BOOL, .offset = AT(fallthrough), .dflt = "no", .doc = "what is not there, and methods but GET and HEAD, are the next route's: an app behind its files"},
    {.name = "listing", .type = MC_SET_BOOL, .offset = AT(listing), .dflt = "no", .doc = "a directory without index is answered with a page of its names"},
    {.name = "hidden", .type = MC_SET_BOOL, .offset = AT(hidden), .dflt = "no", .doc = "serve names that begin with a dot, too (.well-known always)"},
    {.name = "symlinks", .type = MC_SET_STRING, .offset = AT(symlinks), .dflt = "beneath", .meta = "WHICH", .doc = "which are followed: beneath (relative ones that stay below root), no, any"},
    {.name = "precompressed", .type = MC_SET_LIST, .offset = AT(precompressed), .meta = "CODING", .doc = "send NAME.br, NAME.zst or NAME.gz in place of NAME to clients that take it: br, zstd, gzip, the preferred first"},
    {.name = "expires", .type = MC_SET_STRING, .offset = AT(expires), .meta = "TIME", .doc = "how long clients may keep it: a duration, max (ten years), epoch (ask each time), off (say nothing)"},
    {.name = "cache_control", .type = MC_SET_STRING, .offset = AT(cache_control), .meta = "TEXT", .doc = "more words for Cache-Control: public, immutable"},
    {.name = "charset", .type = MC_SET_STRING, .offset = AT(charset), .dflt = "utf-8", .meta = "NAME", .doc = "of text files; off: none is said"},
    {.name = "default_type", .type = MC_SET_STRING, .offset = AT(default_type), .dflt = "application/octet-stream", .meta = "TYPE", .doc = "media type of files whose name tells nothing"},
    {.name = "types", .type = MC_SET_LIST, .offset = AT(types), .meta = "WORDS", .doc = "more media types: {\"text/x-diff diff patch\"}"},
    {.name = "mime_types", .type = MC_SET_STRING, .offset = AT(mime_types), .meta = "FILE", .doc = "still more of them, from a file as nginx or Apache have it; a relative one is below chdir. It is read with the settings, never by workers"},
    {.name = NULL},
};

#undef AT
#define AT(f) offsetof(struct mc_static_limits, f)

static const struct mc_setting cache_settings[] = {
    {.name = "entries", .type = MC_SET_INT, .offset = AT(entries), .dflt = "4096", .min = 1, .max = 1000000, .meta = "INT", .doc = "names that a worker remembers; besides, a quarter as many that are not there"},
    {.name = "memory", .type = MC_SET_SIZE, .offset = AT(memory), .dflt = "32m", .meta = "SIZE", .doc = "memory of a worker's cache, contents included"},
    {.name = "small", .type = MC_SET_SIZE, .offset = AT(small), .dflt = "32k", .max = 1 << 20, .meta = "SIZE", .doc = "files up to this are kept in memory, larger ones open"},
    {.name = "valid", .type = MC_SET_DURATION, .offset = AT(valid), .dflt = "1s", .meta = "TIME", .doc = "how long an answer may go unchecked; 0: look at each request"},
    {.name = "watch", .type = MC_SET_BOOL, .offset = AT(watch), .dflt = "yes", .doc = "let inotify tell of changes before that"},
    {.name = NULL},
};

static const struct mc_section file_cache = {
    .name = "file_cache", .where = MC_AT_MAIN, .settings = cache_settings, .size = sizeof(struct mc_static_limits),
    .doc = "open files and what is known of them, kept in each worker"};

const struct mc_section *const mc_static_sections[] = {&file_cache, NULL};

struct mc_static_limits mc_static_limits(const struct mc_conf *conf)
{
    const struct mc_conf_section *s = mc_conf_section(conf->sections, &file_cache, NULL);
    if (s)
        return *(const struct mc_static_limits *)s->set;
    return (struct mc_static_limits){.entries = 4096, .memory = 32 << 20, .small = 32 << 10, .valid = 1000, .watch = true};
}

/* ---- checks ---- */

static int fail(char *err, size_t cap, const char *text, const char *what)
{
    snprintf(err, cap, "static: %s%s%s%s", text, what ? " '" : "", what ? what : "", what ? "'" : "");
    return MC_ERROR;
}

static int set_root(const struct mc_conf *conf, struct mc_static *s, char *err, size_t cap)
{
    struct mc_arena *a = (struct mc_arena *)&conf->arena;
    if (!s->root || !s->root[0])
        return fail(err, cap, "root is missing", NULL);
    s->dir = s->root[0] == '/' ? s->root : mc_arena_printf(a, "%s/%s", conf->cwd ? conf->cwd : ".", s->root);
    return s->dir ? MC_OK : fail(err, cap, "out of memory", NULL);
}

static int set_links(struct mc_static *s, char *err, size_t cap)
{
    static const char *const names[] = {[MC_LINKS_BENEATH] = "beneath", [MC_LINKS_NO] = "no", [MC_LINKS_ANY] = "any"};
    for (unsigned i = 0; i < MC_COUNT(names); i++) {
        if (strcmp(s->symlinks, names[i]) == 0) {
            s->links = (enum mc_static_links)i;
            return MC_OK;
        }
    }
    return fail(err, cap, "symlinks is beneath, no or any, not", s->symlinks);
}

static int set_codings(struct mc_static *s, char *err, size_t cap)
{
    static const struct mc_static_coding known[] = {
        {{"br", 2}, {".br", 3}},
        {{"zstd", 4}, {".zst", 4}},
        {{"gzip", 4}, {".gz", 3}},
    };
    for (size_t i = 0; i < s->precompressed.n; i++) {
        struct mc_str name = mc_str(s->precompressed.v[i]);
        unsigned k = 0;
        while (k < MC_COUNT(known) && !mc_str_eq(known[k].name, name))
            k++;
        if (k == MC_COUNT(known))
            return fail(err, cap, "precompressed takes br, zstd and gzip, not", s->precompressed.v[i]);
        for (unsigned j = 0; j < s->ncodings; j++) {
            if (mc_str_eq(s->coding_names[j], name))
                return fail(err, cap, "precompressed names twice", s->precompressed.v[i]);
        }
        s->codings[s->ncodings] = known[k];
        s->coding_names[s->ncodings++] = known[k].name;
    }
    return MC_OK;
}

static int set_caching(const struct mc_conf *conf, struct mc_static *s, char *err, size_t cap)
{
    struct mc_arena *a = (struct mc_arena *)&conf->arena;
    static const struct mc_setting duration = {.name = "expires", .type = MC_SET_DURATION};
    const char *age = "", *more = s->cache_control ? s->cache_control : "";
    int64_t ms;
    size_t bad;
    if (!mc_field_value_ok(mc_str(more)))
        return fail(err, cap, "cache_control must not hold control characters", NULL);
    if (!s->expires || strcmp(s->expires, "off") == 0) {
        age = "";
    } else if (strcmp(s->expires, "epoch") == 0) {
        age = "no-cache";
    } else if (strcmp(s->expires, "max") == 0) {
        age = "max-age=315360000";
    } else if (mc_value_set(a, &duration, &ms, &s->expires, 1, &bad, err, cap) == MC_OK && ms >= 0) {
        age = mc_arena_printf(a, "max-age=%lld", (long long)(ms / 1000));
    } else {
        return fail(err, cap, "expires is a duration such as 30d, max, epoch or off, not", s->expires);
    }
    const char *all = age ? mc_arena_printf(a, "%s%s%s", age, age[0] && more[0] ? ", " : "", more) : NULL;
    if (!all)
        return fail(err, cap, "out of memory", NULL);
    s->caching = mc_str(all);
    return MC_OK;
}

static int check_names(const struct mc_static *s, char *err, size_t cap)
{
    for (size_t i = 0; i < s->index.n; i++) {
        const char *name = s->index.v[i];
        if (!name[0] || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            return fail(err, cap, "index takes names of files, not", name);
    }
    if (!mc_field_value_ok(mc_str(s->charset)) || !mc_field_value_ok(mc_str(s->default_type)))
        return fail(err, cap, "charset and default_type must not hold control characters", NULL);
    return MC_OK;
}

static int set_tries(const struct mc_conf *conf, struct mc_static *s, char *err, size_t cap)
{
    if (s->try.n == 0)
        return MC_OK;
    s->tries = mc_arena_calloc((struct mc_arena *)&conf->arena, s->try.n * sizeof *s->tries);
    if (!s->tries)
        return fail(err, cap, "out of memory", NULL);
    for (size_t i = 0; i < s->try.n; i++) {
        char why[200];
        s->tries[i] = mc_vars_compile(conf, s, s->try.v[i], why, sizeof why);
        if (!s->tries[i])
            return fail(err, cap, why, NULL);
    }
    return MC_OK;
}

int mc_static_check(const struct mc_conf *conf, void *action, char *err, size_t errcap)
{
    struct mc_static *s = action;
    s->at.fd = -1;
    if (set_root(conf, s, err, errcap) != MC_OK || set_links(s, err, errcap) != MC_OK || set_codings(s, err, errcap) != MC_OK ||
        set_caching(conf, s, err, errcap) != MC_OK || check_names(s, err, errcap) != MC_OK ||
        mc_static_types(conf, s, err, errcap) != MC_OK)
        return MC_ERROR;
    return set_tries(conf, s, err, errcap);
}
