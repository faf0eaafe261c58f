/* Media types that the settings name: `types`, and files as nginx and Apache have them (`mime_types`), which are read in the arbiter and become part of `types`, so
 * that workers open nothing. Called by settings.c and send.c. Both sides. */
#include "modules/handler/static/static.h"

#include "core/os/fd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1 << 20 };

struct mc_static_type {
    struct mc_str extension, type;
    size_t rank; /* the first one counts */
};

/* ---- a file ---- */

enum token { END, LINE, WORD, OPEN, CLOSE, STOP };

struct reader {
    struct mc_arena *arena;
    struct mc_strv *out;
    const char *path, *p;
    int line;
    struct mc_str word; /* of WORD */
    char *entry;        /* "TYPE EXTENSION…" so far; NULL: a type is next */
    bool full;          /* it has an extension */
    char *err;
    size_t cap;
};

static int fail(struct reader *t, const char *text, struct mc_str what)
{
    snprintf(t->err, t->cap, "static: mime_types: %s:%d: %s%s%.*s%s", t->path, t->line, text, what.p ? " '" : "", (int)what.n, what.p ? what.p : "", what.p ? "'" : "");
    return MC_ERROR;
}

static enum token next(struct reader *t)
{
    t->p += strspn(t->p, " \t\r");
    if (*t->p == '#')
        t->p += strcspn(t->p, "\n");
    switch (*t->p) {
    case 0:
        return END;
    case '\n':
        t->p++;
        return LINE;
    case '{':
        t->p++;
        return OPEN;
    case '}':
        t->p++;
        return CLOSE;
    case ';':
        t->p++;
        return STOP;
    default:
        t->word = (struct mc_str){t->p, strcspn(t->p, " \t\r\n{};")};
        t->p += t->word.n;
        return WORD;
    }
}

static int unexpected(struct reader *t, enum token k)
{
    return fail(t, "unexpected", k == WORD ? t->word : (struct mc_str){t->p - 1, 1});
}

static bool type_ok(struct mc_str s)
{
    const char *slash = memchr(s.p, '/', s.n);
    return slash && slash > s.p && slash + 1 < s.p + s.n && mc_field_value_ok(s);
}

static int add_word(struct reader *t)
{
    struct mc_str w = t->word;
    if (!t->entry && !type_ok(w))
        return fail(t, "a media type such as text/html is expected, not", w);
    if (t->entry && (memchr(w.p, '/', w.n) || !mc_field_value_ok(w)))
        return fail(t, "an extension such as html is expected, not", w);
    t->full = t->entry != NULL;
    t->entry = mc_arena_printf(t->arena, "%s%s%.*s", t->entry ? t->entry : "", t->entry ? " " : "", (int)w.n, w.p);
    return t->entry ? MC_OK : fail(t, "out of memory", MC_STR_NONE);
}

/* Types without extensions are many in Apache's file. */
static void end_entry(struct reader *t)
{
    if (t->full)
        t->out->v[t->out->n++] = t->entry;
    t->entry = NULL;
    t->full = false;
}

/* TYPE EXTENSION… a line. */
static int read_lines(struct reader *t)
{
    for (;;) {
        enum token k = next(t);
        if (k == WORD && add_word(t) != MC_OK)
            return MC_ERROR;
        if (k == LINE || k == END)
            end_entry(t);
        if (k == LINE)
            t->line++;
        if (k == END)
            return MC_OK;
        if (k == OPEN || k == CLOSE || k == STOP)
            return unexpected(t, k);
    }
}

static enum token past_lines(struct reader *t)
{
    enum token k;
    while ((k = next(t)) == LINE)
        t->line++;
    return k;
}

/* TYPE EXTENSION… ; between braces. */
static int read_block(struct reader *t)
{
    enum token k = past_lines(t);
    if (k != OPEN)
        return fail(t, "'{' is missing behind 'types'", MC_STR_NONE);
    while ((k = past_lines(t)) != CLOSE || t->entry) {
        if (k == STOP && t->full)
            end_entry(t);
        else if (k == WORD && add_word(t) != MC_OK)
            return MC_ERROR;
        else if (k == CLOSE || k == END)
            return fail(t, t->entry ? "';' is missing" : "'}' is missing", MC_STR_NONE);
        else if (k != WORD)
            return unexpected(t, k);
    }
    k = past_lines(t);
    return k == END ? MC_OK : unexpected(t, k);
}

/* Does it begin as nginx's does? The reader is left behind the word then. */
static bool is_block(struct reader *t)
{
    struct reader ahead = *t;
    if (past_lines(&ahead) != WORD || !mc_str_eq(ahead.word, MC_STR("types")))
        return false;
    *t = ahead;
    return true;
}

static int read_file(const struct mc_conf *conf, struct mc_static *s, char *err, size_t cap)
{
    struct mc_arena *a = (struct mc_arena *)&conf->arena;
    const char *path = s->mime_types[0] == '/' ? s->mime_types : mc_arena_printf(a, "%s/%s", conf->cwd ? conf->cwd : ".", s->mime_types);
    size_t n = 0, most = s->types.n + 1;
    char *text = path ? mc_fd_read_file(path, FILE_MAX, &n) : NULL;
    if (!text) {
        snprintf(err, cap, "static: mime_types: cannot read %s: %s", s->mime_types, strerror(errno));
        return MC_ERROR;
    }
    for (size_t i = 0; i < n; i++)
        most += text[i] == '\n' || text[i] == ';';
    struct mc_strv all = {.v = mc_arena_alloc(a, most * sizeof *all.v), .n = s->types.n};
    struct reader t = {.arena = a, .out = &all, .path = path, .p = text, .line = 1, .err = err, .cap = cap};
    int rc;
    if (!all.v) {
        rc = fail(&t, "out of memory", MC_STR_NONE);
    } else if (strlen(text) != n) {
        rc = fail(&t, "this is no text", MC_STR_NONE);
    } else {
        if (s->types.n)
            memcpy(all.v, s->types.v, s->types.n * sizeof *all.v);
        rc = is_block(&t) ? read_block(&t) : read_lines(&t);
    }
    free(text);
    s->types = all;
    s->mime_types = NULL; /* the normal form holds what was read */
    return rc;
}

/* ---- the table ---- */

static int by_extension(const void *a, const void *b)
{
    const struct mc_static_type *x = a, *y = b;
    size_t n = x->extension.n < y->extension.n ? x->extension.n : y->extension.n;
    for (size_t i = 0; i < n; i++) {
        int d = mc_lower((unsigned char)x->extension.p[i]) - mc_lower((unsigned char)y->extension.p[i]);
        if (d)
            return d;
    }
    return (x->extension.n > y->extension.n) - (x->extension.n < y->extension.n);
}

static int by_rank(const void *a, const void *b)
{
    const struct mc_static_type *x = a, *y = b;
    int d = by_extension(a, b);
    return d ? d : (x->rank > y->rank) - (x->rank < y->rank);
}

/* Splits "TYPE EXTENSION…"; the number of extensions, put into out unless that is NULL. */
static size_t split(const char *words, size_t rank, struct mc_static_type *out)
{
    struct mc_str type = {words, strcspn(words, " ")};
    size_t count = 0;
    for (const char *p = words + type.n; *(p += strspn(p, " ")); count++) {
        size_t n = strcspn(p, " ");
        if (out)
            out[count] = (struct mc_static_type){.extension = {p, n}, .type = type, .rank = rank + count};
        p += n;
    }
    return count;
}

int mc_static_types(const struct mc_conf *conf, struct mc_static *s, char *err, size_t cap)
{
    size_t n = 0, kept = 0;
    for (size_t i = 0; i < s->types.n; i++) {
        struct mc_str type = {s->types.v[i], strcspn(s->types.v[i], " ")};
        if (!type_ok(type) || !mc_field_value_ok(mc_str(s->types.v[i])) || split(s->types.v[i], 0, NULL) == 0) {
            snprintf(err, cap, "static: types takes a media type and extensions (\"text/x-diff diff patch\"), not '%s'", s->types.v[i]);
            return MC_ERROR;
        }
    }
    if (s->mime_types && read_file(conf, s, err, cap) != MC_OK)
        return MC_ERROR;
    for (size_t i = 0; i < s->types.n; i++)
        n += split(s->types.v[i], 0, NULL);
    if (n == 0)
        return MC_OK;
    s->table = mc_arena_alloc((struct mc_arena *)&conf->arena, n * sizeof *s->table);
    if (!s->table) {
        snprintf(err, cap, "static: out of memory");
        return MC_ERROR;
    }
    n = 0;
    for (size_t i = 0; i < s->types.n; i++)
        n += split(s->types.v[i], n, s->table + n);
    qsort(s->table, n, sizeof *s->table, by_rank);
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || by_extension(&s->table[kept - 1], &s->table[i]) != 0)
            s->table[kept++] = s->table[i];
    }
    s->ntable = kept;
    return MC_OK;
}

struct mc_str mc_static_type(const struct mc_static *s, struct mc_str extension)
{
    struct mc_static_type key = {.extension = extension}, *found = NULL;
    if (extension.n && s->ntable)
        found = bsearch(&key, s->table, s->ntable, sizeof key, by_extension);
    return found ? found->type : MC_STR_NONE;
}
