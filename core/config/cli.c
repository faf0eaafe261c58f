/* Command line and environment to a list of given settings. Options may follow the APP; a long option may be cut short while it is unique;
 * short ones may stand together. Values are checked here, so that a bad one is a usage error (exit 2) and names its option.
 * Never prints. Called by load.c in the arbiter. */
#include "core/config/cli.h"

#include "core/config/schema.h"
#include "core/config/value.h"

#include <stdio.h>

struct args {
    struct mc_build *b;
    int argc, i;
    char *const *argv;
    struct mc_cli *out;
};

static int usage(struct mc_build *b, const char *what, const char *which, const char *more)
{
    b->code = MC_EXIT_USAGE;
    return mc_build_fail(b, MC_NOWHERE, "%s%.80s%s", what, which, more);
}

static struct mc_given *find_given(struct mc_given *list, const struct mc_setting *s)
{
    while (list && list->setting != s)
        list = list->next;
    return list;
}

/* Add a word to s's entry (lists) or make it the word (scalars); the entry is made when there is none. */
static int give(struct mc_build *b, struct mc_given **list, const struct mc_setting *s, const char *label, const char *word)
{
    struct mc_given *g = find_given(*list, s);
    struct mc_word *words;
    size_t n = g && s->type == MC_SET_LIST ? g->n : 0;
    if (!g) {
        g = mc_build_alloc(b, sizeof *g);
        if (!g)
            return MC_ERROR;
        *g = (struct mc_given){.next = *list, .setting = s};
        *list = g;
    }
    words = mc_build_alloc(b, (n + 1) * sizeof *words);
    if (!words)
        return MC_ERROR;
    if (n)
        memcpy(words, g->words, n * sizeof *words);
    words[n] = (struct mc_word){word, MC_NOWHERE};
    g->words = words;
    g->n = n + 1;
    g->label = label;
    g->source = b->options ? b->options : "command line";
    return MC_OK;
}

/* Is the word good for s? Stored nowhere. */
static int try(struct mc_build *b, const struct mc_setting *s, const char *label, const char *word)
{
    union {
        bool b;
        int64_t n;
        const char *z;
        struct mc_strv v;
    } room;
    struct mc_setting here = *s;
    char err[256];
    size_t bad;
    here.offset = 0;
    if (s->flags & MC_SETF_IGNORED)
        return MC_OK;
    if (s->flags & MC_SETF_REFUSED && !mc_value_is_default(b->arena, s, &word, 1))
        return usage(b, label, ": ", mc_tree_refusal(b, s));
    if (mc_value_set(b->arena, &here, &room, &word, 1, &bad, err, sizeof err) == MC_OK)
        return MC_OK;
    b->code = MC_EXIT_USAGE;
    return mc_build_fail(b, MC_NOWHERE, "%s: %s", label, err);
}

static int take(struct args *a, const struct mc_setting *s, const char *label, const char *word)
{
    label = mc_build_strdup(a->b, label);
    if (!label || try(a->b, s, label, word) != MC_OK)
        return MC_ERROR;
    return give(a->b, &a->out->given, s, label, word);
}

static bool fits(const struct mc_setting *s, const char *word)
{
    char ignored[256];
    return word && s->check(word, ignored, sizeof ignored) == MC_OK;
}

/* The argument that follows an option; a word with a dash is the next option, "-" alone is a word. */
static const char *next_argument(struct args *a)
{
    const char *w = a->i < a->argc ? a->argv[a->i] : NULL;
    if (!w || (w[0] == '-' && w[1] && !(w[1] >= '0' && w[1] <= '9')))
        return NULL;
    a->i++;
    return w;
}

static const char *flag_word(const struct mc_setting *s)
{
    return s->flags & MC_SETF_NEGATED ? "no" : "yes";
}

static void show(struct args *a, enum mc_cli_show what)
{
    if (a->out->show == MC_CLI_SHOW_NOTHING)
        a->out->show = what;
}

/* "-w4", "-w" "4", "-Dw4" */
static int short_options(struct args *a, const char *word)
{
    for (const char *p = word + 1; *p; p++) {
        char label[3] = {'-', *p, '\0'};
        const struct mc_setting *s = mc_settings;
        if (*p == 'h')
            show(a, MC_CLI_SHOW_HELP);
        if (*p == 'v')
            show(a, MC_CLI_SHOW_VERSION);
        if (*p == 'V')
            show(a, MC_CLI_SHOW_BUILD);
        if (strchr("hvV", *p))
            continue;
        while (s->name && s->letter != *p)
            s = mc_setting_next(s);
        if (!s->name) {
            const struct mc_setting_absent *absent = mc_schema_absent(NULL, label);
            if (absent)
                return usage(a->b, label, ": ", mc_build_printf(a->b, "setting '%s' %s", absent->name, absent->why));
            return usage(a->b, "unknown option ", label, "; see --help");
        }
        if (s->flags & MC_SETF_FLAG) {
            if (take(a, s, label, flag_word(s)) != MC_OK)
                return MC_ERROR;
            continue;
        }
        const char *value = p[1] == '=' ? p + 2 : p[1] ? p + 1 : next_argument(a);
        if (!value)
            return usage(a->b, label, " needs a value", "; see --help");
        return take(a, s, label, value);
    }
    return MC_OK;
}

/* What a long option may mean. */
struct meaning {
    const struct mc_setting *setting;
    const struct mc_setting_absent *absent;
    enum mc_cli_show show;
    const char *flag; /* its whole name; ends with NUL or '|' */
    bool exact;
    size_t n; /* how many options begin so */
};

/* Does the word begin one of these flags ("--a|--b")? The whole word beats beginnings; two flags of one option are no doubt. */
static void consider(struct meaning *m, const char *word, const char *flags, struct meaning what)
{
    size_t n = strlen(word);
    while (flags && *flags && !m->exact) {
        size_t len = strcspn(flags, "|");
        bool same = m->n && m->setting == what.setting && m->absent == what.absent && m->show == what.show;
        if (len >= n && memcmp(flags, word, n) == 0 && (!same || len == n)) {
            what.exact = len == n;
            what.flag = flags;
            what.n = what.exact ? 1 : m->n + 1;
            *m = what;
        }
        flags += len + (flags[len] == '|');
    }
}

static struct meaning look_up(const char *word)
{
    struct meaning m = {0};
    consider(&m, word, "--help", (struct meaning){.show = MC_CLI_SHOW_HELP});
    consider(&m, word, "--version", (struct meaning){.show = MC_CLI_SHOW_VERSION});
    for (const struct mc_setting *s = mc_settings; s->name; s = mc_setting_next(s))
        consider(&m, word, s->flag, (struct meaning){.setting = s});
    for (const struct mc_setting_absent *s = mc_settings_absent; s->name; s++)
        consider(&m, word, s->flag, (struct meaning){.absent = s});
    return m;
}

static int unknown_option(struct args *a, const char *word)
{
    const char *best = NULL;
    unsigned distance = MC_SCHEMA_FAR;
    for (const struct mc_setting *s = mc_settings; s->name; s = mc_setting_next(s)) {
        for (const char *f = s->flag; f && *f; f += strcspn(f, "|"), f += *f == '|') {
            const char *one = mc_build_printf(a->b, "%.*s", (int)strcspn(f, "|"), f);
            if (!one)
                return MC_ERROR;
            unsigned d = mc_schema_distance(word, one);
            if (d >= distance || s->flags & MC_SETF_REFUSED)
                continue;
            distance = d;
            best = one;
        }
    }
    if (best)
        return usage(a->b, "unknown option ", word, mc_build_printf(a->b, ": did you mean %s? see --help", best));
    return usage(a->b, "unknown option ", word, "; see --help");
}

static int long_option(struct args *a, const char *word)
{
    size_t len = strcspn(word, "=");
    const char *value = word[len] ? word + len + 1 : NULL, *name = mc_build_printf(a->b, "%.*s", (int)len, word);
    struct meaning m;
    if (!name)
        return MC_ERROR;
    m = look_up(name);
    if (m.n == 0)
        return unknown_option(a, name);
    if (m.n > 1)
        return usage(a->b, name, " may mean several options", "; see --help");
    name = mc_build_printf(a->b, "%.*s", (int)strcspn(m.flag, "|"), m.flag);
    if (!name)
        return MC_ERROR;
    if (m.absent)
        return usage(a->b, name, ": ", mc_build_printf(a->b, "setting '%s' %s", m.absent->name, m.absent->why));
    if (!m.setting || m.setting->flags & MC_SETF_FLAG) {
        if (value)
            return usage(a->b, name, " takes no value", "; see --help");
        if (m.setting)
            return take(a, m.setting, name, flag_word(m.setting));
        show(a, m.show);
        return MC_OK;
    }
    if (!value && m.setting->flags & MC_SETF_OPTIONAL)
        value = fits(m.setting, a->argv[a->i]) ? a->argv[a->i++] : "auto";
    if (!value)
        value = next_argument(a);
    if (!value && m.setting->flags & MC_SETF_ALONE)
        value = "";
    if (!value)
        return usage(a->b, name, " needs a value", "; see --help");
    return take(a, m.setting, name, value);
}

static int positional(struct args *a, const char *word)
{
    if (a->out->app)
        return usage(a->b, "one APP only, and there are two: ", a->out->app, mc_build_printf(a->b, " and %.80s; see --help", word));
    if (!*word)
        return usage(a->b, "APP must not be empty", "", "; see --help");
    a->out->app = word;
    return MC_OK;
}

int mc_cli_parse(struct mc_build *b, int argc, char *const *argv, struct mc_cli *out)
{
    struct args a = {.b = b, .argc = argc, .argv = argv, .out = out};
    bool options = true;
    *out = (struct mc_cli){0};
    while (a.i < a.argc && out->show == MC_CLI_SHOW_NOTHING) {
        const char *w = a.argv[a.i++];
        int rc = MC_OK;
        if (options && strcmp(w, "--") == 0)
            options = false;
        else if (options && w[0] == '-' && w[1] == '-')
            rc = long_option(&a, w);
        else if (options && w[0] == '-' && w[1])
            rc = short_options(&a, w);
        else
            rc = positional(&a, w);
        if (rc != MC_OK)
            return MC_ERROR;
    }
    return MC_OK;
}

void mc_cli_merge(struct mc_given **under, struct mc_given *over)
{
    for (struct mc_given **p = under; *p;) {
        if (find_given(over, (*p)->setting))
            *p = (*p)->next;
        else
            p = &(*p)->next;
    }
    while (*under)
        under = &(*under)->next;
    *under = over;
}

int mc_cli_environment(struct mc_build *b, const char *(*get)(const char *name), struct mc_given **out)
{
    for (const struct mc_setting *s = mc_settings; s->name; s = mc_setting_next(s)) {
        const char *value = s->env ? get(s->env) : NULL, *label;
        if (!value || !*value)
            continue;
        if (strcmp(s->env, "PORT") == 0)
            value = mc_build_printf(b, "0.0.0.0:%s", value);
        label = mc_build_printf(b, "%s in the environment", s->env);
        if (!value || !label || give(b, out, s, label, value) != MC_OK)
            return MC_ERROR;
        find_given(*out, s)->source = "environment";
    }
    return MC_OK;
}

/* One word of the text at *p into out; false when there is none left. *open: a quote was not closed. */
static bool next_word(const char **p, struct mc_sb *out, bool *open)
{
    char quote = 0;
    while (**p == ' ' || **p == '\t' || **p == '\n' || **p == '\r')
        ++*p;
    if (!**p)
        return false;
    for (; **p && (quote || !strchr(" \t\n\r", **p)); ++*p) {
        char c = **p;
        if (quote ? c == quote : c == '"' || c == '\'') {
            quote = quote ? 0 : c;
        } else if (c == '\\' && quote != '\'' && (*p)[1] && (!quote || strchr("\"\\$`", (*p)[1]))) {
            mc_sb_addc(out, *++*p);
        } else {
            mc_sb_addc(out, c);
        }
    }
    *open = quote != 0;
    return true;
}

int mc_cli_words(struct mc_build *b, const char *label, const char *text, int *argc, char ***argv)
{
    enum { MAX_WORDS = 1024 };
    char **v = mc_build_alloc(b, (MAX_WORDS + 1) * sizeof *v);
    bool open = false;
    int n = 0;
    while (v) {
        struct mc_sb sb;
        mc_sb_init(&sb, strlen(text) + 1);
        bool more = next_word(&text, &sb, &open);
        if (more && n < MAX_WORDS)
            v[n] = mc_arena_strdup(b->arena, mc_sb_z(&sb));
        bool lost = sb.bad || (more && n < MAX_WORDS && !v[n]);
        mc_sb_fini(&sb);
        if (lost)
            return mc_build_fail(b, MC_NOWHERE, "out of memory");
        if (!more)
            break;
        if (open)
            return usage(b, label, ": a quote is not closed", "");
        if (n == MAX_WORDS)
            return usage(b, label, ": too many words", "");
        n++;
    }
    *argc = n;
    *argv = v;
    b->options = label;
    return v ? MC_OK : MC_ERROR;
}
