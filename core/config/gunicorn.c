/* gunicorn.conf.py: evaluated in a child, its words become the given settings of a block, so that every check and message is that of the table.
 * Names that Gunicorn has and we have not are told once each; those that it does not know either are the file's own affair.
 * Never runs Python in this process. Called by load.c; arbiter side. */
#include "core/config/gunicorn.h"

#include "core/config/python.h"
#include "core/config/schema.h"
#include "core/config/value.h"

#include "core/config/gunicorn.py.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const mc_gunicorn_text = embedded;

/* The answer of the child: texts, each with its NUL. */
struct answer {
    struct mc_build *b;
    struct mc_gunicorn *out;
    const char *p, *end;
    bool done;
};

static bool ends_with(const char *z, const char *tail)
{
    size_t n = strlen(z), m = strlen(tail);
    return n > m && strcmp(z + n - m, tail) == 0;
}

bool mc_gunicorn_is(const char *word)
{
    return strncmp(word, "python:", 7) == 0 || ends_with(word, ".py");
}

/* NULL: there is no further text. */
static const char *next(struct answer *a)
{
    const char *z = a->p;
    if (z >= a->end)
        return NULL;
    a->p += strlen(z) + 1;
    return z;
}

static long next_number(struct answer *a)
{
    const char *z = next(a);
    return z ? strtol(z, NULL, 10) : 0;
}

static struct mc_conf_where place(struct answer *a)
{
    return (struct mc_conf_where){a->out->name, (int)next_number(a)};
}

static const struct mc_setting *find_setting(const char *name)
{
    const struct mc_setting *s = mc_settings;
    while (s->name && strcmp(s->name, name) != 0)
        s = mc_setting_next(s);
    return s->name ? s : NULL;
}

static int give(struct answer *a, const struct mc_setting *s, struct mc_conf_where at, const char *const *words, size_t n)
{
    struct mc_given *g = mc_build_alloc(a->b, sizeof *g);
    struct mc_word *copy = mc_build_alloc(a->b, n * sizeof *copy);
    if (!g || !copy)
        return MC_ERROR;
    for (size_t i = 0; i < n; i++)
        copy[i] = (struct mc_word){words[i], at};
    *g = (struct mc_given){.next = a->out->block->given, .setting = s, .label = s->name, .words = copy, .n = n, .at = at};
    a->out->block->given = g;
    return MC_OK;
}

/* "set NAME LINE COUNT WORD..." */
static int take_set(struct answer *a)
{
    const char *name = next(a);
    struct mc_conf_where at = place(a);
    size_t n = (size_t)next_number(a);
    const char **words = n <= (size_t)(a->end - a->p) ? mc_build_alloc(a->b, n * sizeof *words) : NULL;
    if (!name || !words)
        return MC_ERROR;
    for (size_t i = 0; i < n; i++) {
        const char *word = next(a);
        words[i] = word ? mc_build_strdup(a->b, word) : NULL;
        if (!words[i])
            return MC_ERROR;
    }
    const struct mc_setting *s = find_setting(name);
    const struct mc_setting_absent *absent = mc_schema_absent(name, NULL);
    if (!s && absent)
        mc_build_warn(a->b, at, "%s %s: ignored", name, absent->why);
    if (!s || (n == 0 ? s->type != MC_SET_LIST : s->type == MC_SET_STRING && !*words[0]))
        return MC_OK; /* '' is as good as None */
    if (!(s->flags & MC_SETF_REFUSED))
        return give(a, s, at, words, n);
    if (!mc_value_is_default(a->b->arena, s, words, n))
        mc_build_warn(a->b, at, "%s %s: ignored", name, s->doc);
    return MC_OK;
}

/* "hook NAME LINE": the file itself is the one with hooks. */
static int take_hook(struct answer *a)
{
    const char *name = next(a);
    struct mc_conf_where at = place(a);
    if (!name)
        return MC_ERROR;
    if (!*a->out->hooks && give(a, find_setting("hooks"), at, &a->out->location, 1) != MC_OK)
        return MC_ERROR;
    a->out->hooks = mc_build_printf(a->b, "%s%s%s", a->out->hooks, *a->out->hooks ? ", " : "", name);
    return a->out->hooks ? MC_OK : MC_ERROR;
}

/* "fail LINE TEXT TRACEBACK" */
static int take_failure(struct answer *a)
{
    struct mc_conf_where at = place(a);
    const char *line = next(a), *traceback = next(a);
    if (traceback && *traceback)
        a->b->detail = mc_build_strdup(a->b, traceback);
    return mc_build_fail(a->b, at, "%s", line ? line : "failed");
}

static int take(struct answer *a)
{
    int rc = MC_OK;
    while (rc == MC_OK && !a->done) {
        const char *kind = next(a);
        if (!kind)
            return MC_ERROR;
        if (strcmp(kind, "set") == 0)
            rc = take_set(a);
        else if (strcmp(kind, "hook") == 0)
            rc = take_hook(a);
        else if (strcmp(kind, "fail") == 0)
            rc = take_failure(a);
        else
            a->done = strcmp(kind, "end") == 0;
    }
    return rc;
}

static int run(struct mc_build *b, const char *python, char *const *argv, struct mc_gunicorn *out, char **answer, size_t *n)
{
    char found[4096], err[256];
    size_t count = 0;
    while (argv[count])
        count++;
    const char **words = mc_build_alloc(b, (count + 2) * sizeof *words);
    if (!words)
        return MC_ERROR;
    words[0] = out->location;
    words[1] = out->name;
    for (size_t i = 0; i < count; i++)
        words[2 + i] = argv[i];
    const char *interpreter = mc_python_find(python, NULL, found, sizeof found);
    if (mc_python_run(interpreter, b->start, embedded, words, count + 2, answer, n, err, sizeof err) == MC_OK)
        return MC_OK;
    return mc_build_fail(b, (struct mc_conf_where){out->name, 0}, "%s", err);
}

int mc_gunicorn_read(struct mc_build *b, const char *word, const char *python, char *const *argv, struct mc_gunicorn *out)
{
    char *answer = NULL;
    size_t n = 0;
    word += strncmp(word, "file:", 5) == 0 ? 5 : 0;
    *out = (struct mc_gunicorn){.name = mc_build_strdup(b, word), .hooks = "", .block = mc_build_alloc(b, sizeof *out->block)};
    out->location = strncmp(word, "python:", 7) == 0 ? out->name : mc_build_path(b, b->start, word);
    if (!out->name || !out->location || !out->block)
        return MC_ERROR;
    out->block->scope = &mc_schema_main;
    if (out->location != out->name && access(out->location, R_OK) != 0)
        return mc_build_fail(b, (struct mc_conf_where){out->name, 0}, "cannot be read: %s", strerror(errno));
    if (run(b, python, argv, out, &answer, &n) != MC_OK)
        return MC_ERROR;
    struct answer a = {.b = b, .out = out, .p = answer, .end = answer + n};
    int rc = take(&a);
    free(answer);
    if (rc != MC_OK)
        return mc_build_fail(b, (struct mc_conf_where){out->name, 0}, "the interpreter gave no answer that makes sense");
    return MC_OK;
}
