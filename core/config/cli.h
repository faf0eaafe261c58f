/* The command line: words to settings, as Gunicorn's parser takes them. */
#ifndef MC_CONFIG_CLI_H
#define MC_CONFIG_CLI_H

#include "core/config/tree.h"

enum mc_cli_show { MC_CLI_SHOW_NOTHING, MC_CLI_SHOW_HELP, MC_CLI_SHOW_VERSION, MC_CLI_SHOW_BUILD };

struct mc_cli {
    struct mc_given *given; /* one entry a setting; the last word of a scalar, all words of a list */
    const char *app;        /* the APP argument, or NULL */
    enum mc_cli_show show;  /* the first of --help, -v, -V */
};

/* argv without the program's name. MC_ERROR: mc_build_fail() was called with code MC_EXIT_USAGE. */
int mc_cli_parse(struct mc_build *b, int argc, char *const *argv, struct mc_cli *out);
/* `over` takes precedence: its entries replace those of `under`; the result is in *under. */
void mc_cli_merge(struct mc_given **under, struct mc_given *over);
/* The environment variables of the table. `get` is getenv() but in tests. */
int mc_cli_environment(struct mc_build *b, const char *(*get)(const char *name), struct mc_given **out);
/* Shell-like words of a variable (quotes, backslash, no expansion): argv in the arena. The next mc_cli_parse() takes them for its options. */
int mc_cli_words(struct mc_build *b, const char *label, const char *text, int *argc, char ***argv);

#endif
