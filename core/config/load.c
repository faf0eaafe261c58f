/* One load from the first word of the command line to the finished configuration; and again for a reload.
 * Owns what a reload needs: the words, the environment and the directory of the first time. Prints errors at start.
 * Called by core/process (arbiter); mc_conf_parse() by workers, too. */
#include "core/config/cli.h"
#include "core/config/confuse.h"
#include "core/config/gunicorn.h"
#include "core/config/help.h"
#include "core/config/resolve.h"
#include "core/config/schema.h"

#include "mc_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

extern char **environ;

/* Our own copies: the argument area is overwritten by the process title, the environment by raw_env, the directory by chdir. */
static struct {
    int argc;
    char **argv, **env;
    char *dir;
} first;

static struct mc_strv given;

void mc_conf_give(struct mc_strv addresses)
{
    given = addresses;
}

void mc_conf_first(struct mc_conf_first *out)
{
    *out = (struct mc_conf_first){.argv = first.argv, .env = first.env, .dir = first.dir};
}

enum { MAX_PRINT = 16 << 20 };

static char **copy_words(char **from, int *count)
{
    int n = 0;
    while (from[n])
        n++;
    char **to = calloc((size_t)n + 1, sizeof *to);
    for (int i = 0; to && i < n; i++) {
        to[i] = strdup(from[i]);
        if (to[i])
            continue;
        while (i > 0)
            free(to[--i]);
        free(to);
        to = NULL;
    }
    if (count)
        *count = n;
    return to;
}

static void free_words(char **words)
{
    for (char **w = words; w && *w; w++)
        free(*w);
    free(words);
}

static int remember(char **argv)
{
    free_words(first.argv);
    free_words(first.env);
    free(first.dir);
    first.argv = copy_words(argv, &first.argc);
    first.env = copy_words(environ, NULL);
    first.dir = get_current_dir_name(); /* as it was called: a link may lead elsewhere later */
    return first.argv && first.env && first.dir ? MC_OK : MC_ERROR;
}

static struct mc_conf *new_conf(struct mc_build *b)
{
    struct mc_conf *c = calloc(1, sizeof *c);
    if (!c) {
        (void)mc_build_fail(b, MC_NOWHERE, "out of memory");
        return NULL;
    }
    mc_arena_init(&c->arena);
    b->arena = &c->arena;
    return c;
}

void mc_conf_free(struct mc_conf **c)
{
    if (!*c)
        return;
    mc_arena_fini(&(*c)->arena);
    free(*c);
    *c = NULL;
}

static const char *environment(const char *name)
{
    return getenv(name);
}

/* The options of an environment variable, under those of cli. */
static int read_variable(struct mc_build *b, const char *name, bool app_too, struct mc_cli *cli)
{
    const char *text = getenv(name);
    struct mc_cli below = {0};
    char **argv;
    int argc;
    if (!text)
        return MC_OK;
    if (mc_cli_words(b, name, text, &argc, &argv) != MC_OK || mc_cli_parse(b, argc, argv, &below) != MC_OK)
        return MC_ERROR;
    if ((below.app && !app_too) || below.show != MC_CLI_SHOW_NOTHING) {
        b->code = MC_EXIT_USAGE;
        return mc_build_fail(b, MC_NOWHERE, "%s holds options only, no APP and no --help or --version", name);
    }
    mc_cli_merge(&below.given, cli->given);
    cli->given = below.given;
    return MC_OK;
}

/* Command line over MONOCEROS_CMD_ARGS over GUNICORN_CMD_ARGS, in which Gunicorn passes over an APP. */
static int read_options(struct mc_build *b, struct mc_cli *cli)
{
    if (mc_cli_parse(b, first.argc - 1, first.argv + 1, cli) != MC_OK)
        return MC_ERROR;
    if (cli->show != MC_CLI_SHOW_NOTHING)
        return MC_OK;
    return read_variable(b, "MONOCEROS_CMD_ARGS", false, cli) == MC_OK ? read_variable(b, "GUNICORN_CMD_ARGS", true, cli) : MC_ERROR;
}

/* The file to read: -c, else ./monoceros.conf, else ./gunicorn.conf.py, else the installed one when nothing else says what to serve.
 * NULL in *name: none. */
static int find_file(struct mc_build *b, const struct mc_cli *cli, const char **name)
{
    static const char *const here[] = {"monoceros.conf", "gunicorn.conf.py"};
    const struct mc_given *g = mc_tree_given(cli->given, "config");
    *name = NULL;
    if (g) {
        *name = mc_build_strdup(b, g->words[0].text); /* outlives the words */
        return *name ? MC_OK : MC_ERROR;
    }
    for (size_t i = 0; i < MC_COUNT(here) && !*name; i++) {
        const char *path = mc_build_path(b, b->start, here[i]);
        if (!path)
            return MC_ERROR;
        if (access(path, F_OK) == 0)
            *name = here[i];
    }
    if (!*name && !cli->app && access(MC_CONF_PATH, F_OK) == 0)
        *name = MC_CONF_PATH;
    return MC_OK;
}

static const char *python_of(const struct mc_cli *cli)
{
    const struct mc_given *g = mc_tree_given(cli->given, "python");
    return g ? g->words[0].text : NULL;
}

/* What the file says, in *block, and in *name how it is called. */
static int read_file(struct mc_build *b, const struct mc_cli *cli, const char **name, const struct mc_block **block)
{
    struct mc_gunicorn g;
    if (mc_gunicorn_is(*name)) {
        if (mc_gunicorn_read(b, *name, python_of(cli), first.argv + 1, &g) != MC_OK)
            return MC_ERROR;
        *name = g.name;
        *block = g.block;
        return MC_OK;
    }
    *name += strncmp(*name, "file:", 5) == 0 ? 5 : 0;
    const char *path = mc_build_path(b, b->start, *name);
    *block = path ? mc_confuse_file(b, *name, path) : NULL;
    return *block ? MC_OK : MC_ERROR;
}

/* --status with its pidfile: no configuration is needed, nor looked at. */
static int asked_status(struct mc_build *b, const struct mc_cli *cli, struct mc_conf *c)
{
    const struct mc_given *status = mc_tree_given(cli->given, "status"), *json = mc_tree_given(cli->given, "json");
    if (json && !status) {
        b->code = MC_EXIT_USAGE;
        return mc_build_fail(b, MC_NOWHERE, "--json says how --status prints: there is no --status");
    }
    c->set.json = json != NULL;
    c->set.status = status && *status->words[0].text ? mc_build_strdup(b, status->words[0].text) : NULL;
    return status && *status->words[0].text && !c->set.status ? MC_ERROR : MC_OK;
}

/* --upgrade PIDFILE: neither is one. */
static int asked_upgrade(struct mc_build *b, const struct mc_cli *cli, struct mc_conf *c)
{
    const struct mc_given *g = mc_tree_given(cli->given, "upgrade");
    c->set.upgrade = g ? mc_build_strdup(b, g->words[0].text) : NULL;
    return g && !c->set.upgrade ? MC_ERROR : MC_OK;
}

/* Everything but printing. *nothing: there is neither an app nor a file. */
static int build(struct mc_build *b, struct mc_conf *c, struct mc_cli *cli, bool *nothing)
{
    struct mc_resolve_from from = {0};
    struct mc_given *env = NULL;
    const char *name;
    b->start = first.dir;
    *nothing = false;
    if (mc_schema_open(b) != MC_OK || read_options(b, cli) != MC_OK)
        return MC_ERROR;
    if (cli->show != MC_CLI_SHOW_NOTHING || mc_tree_given(cli->given, "convert"))
        return MC_OK;
    if (asked_status(b, cli, c) != MC_OK || c->set.status)
        return c->set.status ? MC_OK : MC_ERROR;
    if (asked_upgrade(b, cli, c) != MC_OK || c->set.upgrade)
        return c->set.upgrade ? MC_OK : MC_ERROR;
    if (mc_cli_environment(b, environment, &env) != MC_OK || find_file(b, cli, &name) != MC_OK)
        return MC_ERROR;
    if (!name && !cli->app && mc_tree_given(cli->given, "status"))
        return mc_build_fail(b, MC_NOWHERE, "--status needs a PIDFILE: there is no configuration here that sets one");
    if (!name && !cli->app) {
        *nothing = true;
        return MC_ERROR;
    }
    from.environment = env;
    from.cli = cli->given;
    from.given = given;
    from.app = cli->app;
    if (name && read_file(b, cli, &name, &from.file) != MC_OK)
        return MC_ERROR;
    c->set.config = name;
    if (mc_resolve(b, &from, c) != MC_OK)
        return MC_ERROR;
    c->set.config = name;
    return MC_OK;
}

static void to_terminal(const char *line)
{
    (void)fprintf(stderr, "monoceros: warning: %s\n", line);
}

static void to_log(const char *line)
{
    mc_warn("%s", line);
}

/* Text to a stream; MC_EXIT_OK, or MC_EXIT_FAIL when it did not arrive. */
static int show(FILE *to, struct mc_sb *text)
{
    bool ok = !text->bad && fputs(mc_sb_z(text), to) >= 0 && fflush(to) == 0;
    if (!ok)
        (void)fprintf(stderr, "monoceros: cannot write: %s\n", text->bad ? "out of memory" : strerror(errno));
    return ok ? MC_EXIT_OK : MC_EXIT_FAIL;
}

static int show_asked(enum mc_cli_show what)
{
    struct mc_sb out;
    int code;
    mc_sb_init(&out, MAX_PRINT);
    if (what == MC_CLI_SHOW_HELP)
        mc_help_options(&out);
    else if (what == MC_CLI_SHOW_VERSION)
        mc_help_version(&out);
    else
        mc_help_build(&out);
    code = show(stdout, &out);
    mc_sb_fini(&out);
    return code;
}

static int show_nothing(void)
{
    struct mc_sb out;
    mc_sb_init(&out, MAX_PRINT);
    mc_help_nothing(&out);
    (void)show(stderr, &out);
    mc_sb_fini(&out);
    return MC_EXIT_FAIL;
}

static int show_conf(const struct mc_conf *c)
{
    struct mc_sb out;
    int code;
    mc_sb_init(&out, MAX_PRINT);
    if (mc_conf_print_origins(c, &out) != MC_OK)
        out.bad = true;
    code = show(stdout, &out);
    mc_sb_fini(&out);
    return code;
}

/* --convert FILE. */
static int convert(struct mc_build *b, const struct mc_cli *cli, int *code)
{
    struct mc_sb out;
    mc_sb_init(&out, MAX_PRINT);
    int rc = mc_gunicorn_convert(b, mc_tree_given(cli->given, "convert")->words[0].text, python_of(cli), first.argv + 1, &out);
    if (rc == MC_OK)
        *code = show(stdout, &out);
    mc_sb_fini(&out);
    return rc;
}

struct mc_conf *mc_conf_load(int argc, char **argv, enum mc_conf_todo *todo, int *code)
{
    char err[512] = "";
    struct mc_build b = {.code = MC_EXIT_FAIL, .err = err, .errcap = sizeof err, .warn = to_terminal};
    struct mc_cli cli = {0};
    struct mc_conf *c = NULL;
    bool nothing = false;
    int rc;
    (void)argc;
    *todo = MC_CONF_EXIT;
    rc = remember(argv) == MC_OK ? MC_OK : mc_build_fail(&b, MC_NOWHERE, "cannot start here: %s", strerror(errno));
    if (rc == MC_OK)
        c = new_conf(&b);
    rc = c ? build(&b, c, &cli, &nothing) : MC_ERROR;
    *code = b.code;
    if (rc == MC_OK && cli.show != MC_CLI_SHOW_NOTHING)
        *code = show_asked(cli.show);
    else if (rc == MC_OK && mc_tree_given(cli.given, "convert"))
        rc = convert(&b, &cli, code);
    else if (rc == MC_OK && c->set.print_config)
        *code = show_conf(c);
    else if (rc == MC_OK)
        *todo = c->set.upgrade ? MC_CONF_UPGRADE : c->set.status ? MC_CONF_STATUS : c->set.check_config ? MC_CONF_CHECK : MC_CONF_RUN;
    else if (nothing)
        *code = show_nothing();
    if (rc != MC_OK && !nothing)
        (void)fprintf(stderr, "monoceros: %s\n%s", err, b.detail ? b.detail : "");
    if (*todo == MC_CONF_EXIT)
        mc_conf_free(&c);
    else
        *code = MC_EXIT_OK;
    return c;
}

struct mc_conf *mc_conf_reload(char *err, size_t errcap)
{
    struct mc_build b = {.code = MC_EXIT_FAIL, .err = err, .errcap = errcap, .warn = to_log};
    struct mc_cli cli = {0};
    char **now = environ;
    bool nothing;
    MC_ASSERT(first.argv);
    struct mc_conf *c = new_conf(&b);
    environ = first.env;
    if (!c || build(&b, c, &cli, &nothing) != MC_OK) {
        if (c && nothing)
            snprintf(err, errcap, "the configuration file is gone");
        else if (b.detail)
            mc_error("%s", b.detail); /* lines of their own: a traceback */
        mc_conf_free(&c);
    }
    environ = now;
    return c;
}

struct mc_conf *mc_conf_parse(const char *text, size_t n, const char *filename, char *err, size_t errcap)
{
    struct mc_build b = {.image = true, .code = MC_EXIT_FAIL, .err = err, .errcap = errcap, .start = "/"};
    struct mc_resolve_from from = {0};
    struct mc_conf *c = new_conf(&b);
    if (!c)
        return NULL;
    if (mc_schema_open(&b) == MC_OK)
        from.file = mc_confuse_text(&b, filename, text, n);
    if (!from.file || mc_resolve(&b, &from, c) != MC_OK)
        mc_conf_free(&c);
    return c;
}
