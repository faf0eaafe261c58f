/* The tokens of a configuration file, as libconfuse's lexer would see them, but strict: what that lexer drops, keeps or expands in silence is an
 * error here. Writes the same text without comments and with the same lines, so that its line numbers are right. */
#ifndef MC_CONFIG_SCAN_H
#define MC_CONFIG_SCAN_H

#include "core/config/build.h"

enum mc_scan_token { MC_SCAN_END, MC_SCAN_BAD /* mc_build_fail() was called */, MC_SCAN_WORD, MC_SCAN_STRING, MC_SCAN_APPEND /* += */ };
/* … or one of the characters { } ( ) = , */

struct mc_scan {
    struct mc_build *b;
    const char *file;
    const char *p, *end;
    int line; /* of p */
    struct mc_sb *out;
    /* the last token */
    struct mc_conf_where at; /* where it begins */
    struct mc_str text;      /* a string without its quotes, escapes as written */
};

/* Leave out a byte order mark, refuse a file that is no text. */
int mc_scan_open(struct mc_scan *s, struct mc_build *b, const char *file, const char *text, size_t n, struct mc_sb *out);
int mc_scan_next(struct mc_scan *s);
/* The token for a message: "'word'", "end of file". */
const char *mc_scan_name(const struct mc_scan *s, int token, char *out, size_t cap);

#endif
