/* Reads a configuration file, or a text in memory, into a tree. libconfuse stands behind this one file. */
#ifndef MC_CONFIG_CONFUSE_H
#define MC_CONFIG_CONFUSE_H

#include "core/config/tree.h"

enum { MC_CONFUSE_MAX_FILE = 4 << 20, MC_CONFUSE_MAX_INCLUDES = 8 };

/* `name` is what messages call the file. One parse at a time in a process (libconfuse's lexer is global). NULL: mc_build_fail() was called. */
struct mc_block *mc_confuse_text(struct mc_build *b, const char *name, const char *text, size_t n);
/* path: absolute; includes are relative to the file that holds them. May read many files. */
struct mc_block *mc_confuse_file(struct mc_build *b, const char *name, const char *path);
/* "3.3", of the library that is linked. */
const char *mc_confuse_version(void);

#endif
