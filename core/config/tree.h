/* What was written, before it means anything: words with their places. The command line, the environment and a file all become this. */
#ifndef MC_CONFIG_TREE_H
#define MC_CONFIG_TREE_H

#include "core/config/build.h"

struct mc_word {
    const char *text;
    struct mc_conf_where at;
};

/* One setting and its words: a scalar has exactly one, a list any number. */
struct mc_given {
    struct mc_given *next;
    const struct mc_setting *setting;
    const char *label; /* how messages call it: "workers", "--workers", "WEB_CONCURRENCY in the environment" */
    const char *source; /* "command line", "environment" or the variable that held the option; NULL: a file, see at */
    struct mc_word *words;
    size_t n;
    struct mc_conf_where at;
};

/* The root of a file, or one section of it. */
struct mc_block {
    struct mc_block *next;
    const struct mc_scope *scope;
    const char *title;       /* NULL: none */
    struct mc_conf_where at; /* where the section begins */
    struct mc_given *given;
    struct mc_block *inner; /* in the order of the file among sections of one name */
};

const struct mc_given *mc_tree_given(const struct mc_given *list, const char *name);
/* First inner section of a kind, and the one after `prev`. */
struct mc_block *mc_tree_inner(const struct mc_block *block, const char *kind, const struct mc_block *prev);
size_t mc_tree_count(const struct mc_block *block, const char *kind);

/* Why a setting with MC_SETF_REFUSED has no other value than its default. */
const char *mc_tree_refusal(struct mc_build *b, const struct mc_setting *s);
/* Put the words into base (the struct that the setting's offset points into). */
int mc_tree_apply(struct mc_build *b, const struct mc_given *g, void *base);
/* All of the list whose setting stands in table `own`, or (own NULL) in mc_settings. */
int mc_tree_apply_all(struct mc_build *b, const struct mc_given *list, const struct mc_setting *own, void *base);

#endif
