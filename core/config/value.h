/* One value: words to C and back. The only place that knows how a type of setting is written. */
#ifndef MC_CONFIG_VALUE_H
#define MC_CONFIG_VALUE_H

#include "core/base/arena.h"
#include "core/config/setting.h"

/* Check the words and store them at base + offset. MC_ERROR with a text that fits after "NAME: " in err; *bad is the index of the wrong word
 * (n when it is none of them). Nothing is stored then. */
int mc_value_set(struct mc_arena *a, const struct mc_setting *s, void *base, const char *const *words, size_t n, size_t *bad, char *err,
                 size_t cap);
/* The built-in default of every setting of a table; MC_ERROR: out of memory (a default that does not parse is our bug). */
int mc_value_defaults(struct mc_arena *a, const struct mc_setting *table, void *base);
/* As messages and files write a number of this setting. */
void mc_value_number(char *out, size_t cap, const struct mc_setting *s, int64_t v);
/* The default as a file would write it, for --help: "" when there is none. */
const char *mc_value_default_text(const struct mc_setting *s);

/* Are the words, which mc_value_set() takes, what the default is? Of a string, empty and unset are the same. */
bool mc_value_is_default(struct mc_arena *a, const struct mc_setting *s, const char *const *words, size_t n);

bool mc_value_equal(const struct mc_setting *s, const void *a, const void *b);
/* False when there is nothing to write: a string or a value that nobody set. */
bool mc_value_is_set(const struct mc_setting *s, const void *base);
/* As the config file writes it: 4, yes, 30s, 64k, 'text', {'a', 'b'}. */
void mc_value_print(struct mc_sb *out, const struct mc_setting *s, const void *base);
/* A string such that the file's parser gives back the same bytes (no NUL inside). */
void mc_value_quote(struct mc_sb *out, const char *z);

#endif
