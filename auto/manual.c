/* The manual from the tables: manual FORMAT < TEMPLATE > RESULT, FORMAT roff, markdown or bash. Lines @options@, @settings@ and @sections@ of
 * the template become what the tables hold; @VERSION@ and the like are replaced inside of lines. Run by make; no part of the products. */
#include "core/config/schema.h"
#include "core/config/value.h"

#include "mc_config.h"

#include <stdio.h>

enum { FILL = 40 };

static bool roff, markdown, fill;
static size_t column;

static const struct {
    unsigned bit;
    const char *name;
} places[] = {{MC_AT_MAIN, "top level"}, {MC_AT_POOL, "pool"}, {MC_AT_APP, "app"}, {MC_AT_SERVER, "server"}, {MC_AT_ROUTE, "route"}};

/* ---- writing */

/* One character; a filled line of roff ends at the first blank behind column FILL, unless a '.' or an apostrophe would begin the next. */
static void put(char c, char next)
{
    column = c == '\n' ? 0 : column + 1;
    if (roff && fill && c == ' ' && column > FILL && next != '.' && next != '\'') {
        column = 0;
        c = '\n';
    }
    putchar(c);
}

static void plain(const char *z)
{
    for (; *z; z++)
        put(*z, z[1]);
}

/* The character at z, in UTF-8, as groff names it; its last byte. */
static const char *beyond_ascii(const char *z)
{
    char name[16];
    unsigned char first = (unsigned char)*z;
    unsigned more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1, code = first & (0x3fu >> more);
    for (; more && z[1]; more--)
        code = code << 6 | ((unsigned char)*++z & 0x3f);
    (void)snprintf(name, sizeof name, "\\[u%04X]", code);
    plain(name);
    return z;
}

/* Text in which nothing has a meaning of its own. */
static void text(const char *z)
{
    static const struct {
        char c;
        const char *roff, *markdown;
    } special[] = {{'\\', "\\e", "\\\\"}, {'-', "\\-", "-"}, {'\'', "\\(aq", "'"}, {'^', "\\(ha", "^"}, {'~', "\\(ti", "~"},
                   {'`', "\\(ga", "\\`"}, {'|', "|", "\\|"}, {'<', "<", "&lt;"},   {'*', "*", "\\*"},   {'"', "\\(dq", "\""}};
    for (; *z; z++) {
        size_t i = 0;
        if (roff && (unsigned char)*z >= 0xc0) {
            z = beyond_ascii(z);
            continue;
        }
        while (i < MC_COUNT(special) && special[i].c != *z)
            i++;
        if (i == MC_COUNT(special) || !(roff || markdown))
            put(*z, z[1]);
        else
            plain(roff ? special[i].roff : special[i].markdown);
    }
}

static void bold(const char *z)
{
    plain(roff ? "\\fB" : "**");
    text(z);
    plain(roff ? "\\fR" : "**");
}

static void italic(const char *z)
{
    plain(roff ? "\\fI" : "*");
    text(z);
    plain(roff ? "\\fR" : "*");
}

/* A word of the file or of the command line. */
static void code(const char *z)
{
    if (roff) {
        bold(z);
        return;
    }
    plain("`");
    for (; *z; z++)
        plain(*z == '|' ? "\\|" : (char[]){*z, '\0'});
    plain("`");
}

/* A line of documentation as a sentence; a first word such as "unix://PATH," or "off:" is a value, and keeps its letters. */
static void sentence(const char *doc)
{
    bool word = strcspn(doc, ",:/0123456789") >= strcspn(doc, " ");
    if (word && doc[0] >= 'a' && doc[0] <= 'z')
        text((char[]){(char)(*doc++ - 32), '\0'});
    text(doc);
    plain(".");
}

static void heading(const char *title)
{
    plain(roff ? ".SS " : "\n### ");
    text(title);
    plain("\n");
}

/* ---- what a setting is */

static const char *type_of(const struct mc_setting *s)
{
    switch (s->type) {
    case MC_SET_BOOL:
        return "yes or no";
    case MC_SET_INT:
        return s->flags & MC_SETF_AUTO ? "number or auto" : s->flags & MC_SETF_OCTAL ? "octal number" : "number";
    case MC_SET_DURATION:
        return s->flags & MC_SETF_AUTO ? "time or auto" : "time";
    case MC_SET_SIZE:
        return s->flags & MC_SETF_AUTO ? "size or auto" : "size";
    case MC_SET_LIST:
        return s->flags & MC_SETF_COMMAS ? "list, or words with commas" : "list";
    case MC_SET_STRING:
        return "text";
    }
    return "text";
}

static void range_of(const struct mc_setting *s)
{
    char lo[32], hi[32];
    if (s->type == MC_SET_BOOL || s->type == MC_SET_STRING || s->type == MC_SET_LIST || (!s->min && !s->max) || s->max == INT32_MAX)
        return;
    mc_value_number(lo, sizeof lo, s, s->min);
    mc_value_number(hi, sizeof hi, s, s->max);
    text(s->max ? " From " : " At least ");
    text(lo);
    if (s->max) {
        text(" to ");
        text(hi);
    }
    plain(".");
}

static void flags_of(const struct mc_setting *s)
{
    char one[64];
    const char *comma = "";
    if (s->letter) {
        (void)snprintf(one, sizeof one, "-%c", s->letter);
        code(one);
        comma = ", ";
    }
    for (const char *f = s->flag; f && *f; f += strcspn(f, "|"), f += *f == '|') {
        text(comma);
        (void)snprintf(one, sizeof one, "%.*s", (int)strcspn(f, "|"), f);
        code(one);
        comma = ", ";
    }
}

/* Lists may break after their commas, and ciphers after their colons. */
static void default_of(const struct mc_setting *s)
{
    const char *dflt = mc_value_default_text(s);
    if (!*dflt)
        return;
    text(" Default: ");
    for (; *dflt; dflt++) {
        text((char[]){*dflt, '\0'});
        if (*dflt == ',' && s->type == MC_SET_LIST)
            plain(" ");
        else if (roff && *dflt == ':')
            plain("\\:");
    }
    plain(".");
}

static void environment_of(const struct mc_setting *s)
{
    if (!s->env)
        return;
    text(" Environment: ");
    code(s->env);
    plain(".");
}

static void places_of(unsigned where)
{
    const char *comma = "";
    for (size_t i = 0; i < MC_COUNT(places); i++) {
        if (!(where & places[i].bit))
            continue;
        text(comma);
        text(places[i].name);
        comma = ", ";
    }
}

/* What --help says of it. */
static void option(const struct mc_setting *s)
{
    plain(".TP\n");
    flags_of(s);
    if (s->meta) {
        plain(" ");
        italic(s->meta);
    }
    plain("\n");
    fill = true;
    if (s->flags & MC_SETF_NEGATED) {
        text("Do not ");
        text(s->doc);
        plain(".");
    } else {
        sentence(s->doc);
    }
    if (!(s->flags & MC_SETF_FLAG))
        default_of(s);
    environment_of(s);
    plain("\n");
    fill = false;
}

static void setting_roff(const struct mc_setting *s, bool placed)
{
    plain(".TP\n");
    bold(s->name);
    text(" = ");
    italic(type_of(s));
    plain("\n");
    fill = true;
    if (s->doc)
        sentence(s->doc);
    default_of(s);
    range_of(s);
    if (placed) {
        text(" Stands in: ");
        places_of(s->where);
        plain(".");
    }
    if (s->flag) {
        text(" Option: ");
        flags_of(s);
        plain(".");
    }
    environment_of(s);
    plain("\n");
    fill = false;
}

static void setting_markdown(const struct mc_setting *s, bool placed)
{
    const char *dflt = mc_value_default_text(s);
    text("| ");
    plain("`");
    plain(s->name);
    plain("` | ");
    text(type_of(s));
    plain(" | ");
    if (*dflt)
        code(dflt);
    plain(" | ");
    if (placed) {
        places_of(s->where);
        plain(" | ");
        flags_of(s);
        plain(" | ");
    }
    if (s->doc)
        sentence(s->doc);
    range_of(s);
    environment_of(s);
    plain(" |\n");
}

static void begin_table(bool placed)
{
    if (markdown)
        (void)fputs(placed ? "\n| setting | type | default | stands in | option | |\n|---|---|---|---|---|---|\n"
                           : "\n| setting | type | default | |\n|---|---|---|---|\n",
                    stdout);
}

static void setting(const struct mc_setting *s, bool placed)
{
    if (roff)
        setting_roff(s, placed);
    else
        setting_markdown(s, placed);
}

/* ---- lists of them */

static bool shown(const struct mc_setting *s)
{
    return !(s->flags & MC_SETF_REFUSED);
}

static void options(void)
{
    const char *group = NULL;
    for (const struct mc_setting *s = mc_settings; s->name; s = mc_setting_next(s)) {
        group = s->group ? s->group : group;
        if (!s->flag || !shown(s))
            continue;
        if (group)
            heading(group);
        group = NULL;
        option(s);
    }
}

static void settings(void)
{
    const char *group = NULL;
    for (const struct mc_setting *s = mc_settings; s->name; s = mc_setting_next(s)) {
        group = s->group ? s->group : group;
        if (!shown(s) || !(s->where & ~(unsigned)MC_AT_CLI))
            continue;
        if (group) {
            heading(group);
            begin_table(true);
        }
        group = NULL;
        setting(s, true);
    }
}

/* A section, then those in it. `in`: the section round it, or NULL: scope->in says where it stands. */
static void section(const struct mc_scope *scope, const struct mc_scope *in)
{
    char title[96];
    (void)snprintf(title, sizeof title, "%s%s", scope->name, scope->titled ? " \"NAME\"" : "");
    heading(title);
    if (markdown)
        plain("\n");
    fill = true;
    if (scope->doc)
        sentence(scope->doc);
    text(scope->module ? " An action. Stands in: " : " Stands in: ");
    if (in)
        text(in->name);
    else
        places_of(scope->in ? scope->in : MC_AT_MAIN);
    plain(".");
    if (scope->where) {
        text(" Takes the settings that stand in ");
        places_of(scope->where);
        plain(".");
    }
    plain("\n");
    fill = false;
    if (scope->own && scope->own->name)
        begin_table(false);
    for (const struct mc_setting *s = scope->own; s && s->name; s = mc_setting_next(s))
        setting(s, false);
    for (size_t i = 0; scope->inner && scope->inner[i]; i++)
        section(scope->inner[i], scope);
}

static int sections(void)
{
    char err[256] = "";
    struct mc_arena arena;
    struct mc_build b = {.arena = &arena, .err = err, .errcap = sizeof err};
    mc_arena_init(&arena);
    int rc = mc_schema_open(&b);
    for (size_t i = 0; rc == MC_OK && mc_schema_main.inner[i]; i++)
        section(mc_schema_main.inner[i], NULL);
    for (size_t i = 0; rc == MC_OK && i < b.nscopes; i++)
        section(&b.scopes[i], NULL);
    if (rc != MC_OK)
        (void)fprintf(stderr, "manual: %s\n", err);
    mc_arena_fini(&arena);
    return rc;
}

/* ---- words for a shell */

/* All flags whose argument is called so ("*": any flag), with a character between them. */
static void flag_words(const char *meta, char between)
{
    bool first = true;
    for (const struct mc_setting *s = mc_settings; s->name; s = mc_setting_next(s)) {
        if (!s->flag || !shown(s) || (*meta != '*' && (!s->meta || strcmp(s->meta, meta) != 0)))
            continue;
        for (const char *f = s->flag; *f; f += strcspn(f, "|"), f += *f == '|') {
            (void)printf("%s%.*s", first ? "" : (char[]){between, '\0'}, (int)strcspn(f, "|"), f);
            first = false;
        }
        if (s->letter && *meta != '*')
            (void)printf("%c-%c", between, s->letter);
    }
}

static void worker_words(void)
{
    const char *blank = "";
    for (const struct mc_module *const *m = mc_modules; *m; m++) {
        if ((*m)->kind != MC_MODULE_WORKER)
            continue;
        (void)printf("%s%s", blank, (*m)->name);
        blank = " ";
    }
}

static bool replace(const char **p, const char *name)
{
    size_t n = strlen(name);
    if (strncmp(*p, name, n) != 0)
        return false;
    *p += n;
    return true;
}

static void copy_line(const char *p)
{
    while (*p) {
        if (replace(&p, "@VERSION@"))
            plain(MC_VERSION);
        else if (replace(&p, "@CONF@"))
            text(MC_CONF_PATH);
        else if (replace(&p, "@FLAGS@"))
            flag_words("*", ' ');
        else if (replace(&p, "@FILE_FLAGS@"))
            flag_words("FILE", '|');
        else if (replace(&p, "@DIR_FLAGS@"))
            flag_words("DIR", '|');
        else if (replace(&p, "@WORKERS@"))
            worker_words();
        else
            putchar(*p++);
    }
}

int main(int argc, char **argv)
{
    char line[4096];
    int rc = MC_OK;
    roff = argc == 2 && strcmp(argv[1], "roff") == 0;
    markdown = argc == 2 && strcmp(argv[1], "markdown") == 0;
    if (!roff && !markdown && (argc != 2 || strcmp(argv[1], "bash") != 0)) {
        (void)fprintf(stderr, "manual: roff, markdown or bash\n");
        return 2;
    }
    while (rc == MC_OK && fgets(line, sizeof line, stdin)) {
        if (strcmp(line, "@options@\n") == 0)
            options();
        else if (strcmp(line, "@settings@\n") == 0)
            settings();
        else if (strcmp(line, "@sections@\n") == 0)
            rc = sections();
        else
            copy_line(line);
    }
    return rc == MC_OK && !ferror(stdin) && fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
