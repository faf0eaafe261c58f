/* Strict lexer in front of libconfuse's: it has no memory between files, counts lines rightly, and leaves nothing half read.
 * Never reads a file and never looks at names. Called by prescan.c. Arbiter and worker side. */
#include "core/config/scan.h"

#include <stdio.h>
#include <stdlib.h>

static const char separators[] = " \t\n\r\"'#{}()=,+*";

int mc_scan_open(struct mc_scan *s, struct mc_build *b, const char *file, const char *text, size_t n, struct mc_sb *out)
{
    *s = (struct mc_scan){.b = b, .file = file, .p = text, .end = text + n, .line = 1, .out = out, .at = {file, 1}};
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        s->p += 3;
    if (memchr(text, '\0', n))
        return mc_build_fail(b, (struct mc_conf_where){file, 0}, "is not a text file (it holds a zero byte)");
    return MC_OK;
}

static int bad(struct mc_scan *s, const char *what, const char *cure)
{
    (void)mc_build_fail(s->b, (struct mc_conf_where){s->file, s->line}, "%s%s%s", what, cure ? ": " : "", cure ? cure : "");
    return MC_SCAN_BAD;
}

static bool starts(const struct mc_scan *s, const char *z)
{
    size_t n = strlen(z);
    return (size_t)(s->end - s->p) >= n && memcmp(s->p, z, n) == 0;
}

static void newline(struct mc_scan *s)
{
    s->line++;
    mc_sb_addc(s->out, '\n');
}

static int skip_block_comment(struct mc_scan *s)
{
    int begin = s->line;
    for (s->p += 2; s->p < s->end && !starts(s, "*/"); s->p++) {
        if (*s->p == '\n')
            newline(s);
    }
    if (s->p >= s->end) {
        s->line = begin;
        return bad(s, "this comment is never closed", "it needs */");
    }
    s->p += 2;
    return MC_OK;
}

/* Blanks and comments; a comment begins only where a word could. */
static int skip(struct mc_scan *s)
{
    while (s->p < s->end) {
        if (*s->p == '\n') {
            newline(s);
            s->p++;
        } else if (*s->p == ' ' || *s->p == '\t' || *s->p == '\r') {
            s->p++;
        } else if (*s->p == '#' || starts(s, "//")) {
            while (s->p < s->end && *s->p != '\n')
                s->p++;
        } else if (starts(s, "/*")) {
            if (skip_block_comment(s) != MC_OK)
                return MC_SCAN_BAD;
        } else {
            break;
        }
    }
    return MC_OK;
}

/* libconfuse puts nothing in the place of a variable that is not set: a setting would be empty, or half of it gone. */
static int known_variable(struct mc_scan *s, const char *name, size_t n)
{
    char z[256], what[320];
    if (n >= sizeof z)
        return bad(s, "the name of a variable is too long", NULL);
    memcpy(z, name, n);
    z[n] = '\0';
    if (getenv(z))
        return MC_OK;
    (void)snprintf(what, sizeof what, "the variable %s is not set in the environment", z);
    (void)snprintf(z, sizeof z, "set it, or write ${%.*s:-DEFAULT}", (int)(n > 200 ? 200 : n), name);
    return bad(s, what, z);
}

/* s->p is at "${": checks up to the closing brace and stands on it. */
static int expansion(struct mc_scan *s)
{
    if (s->b->image)
        return bad(s, "variables have no place here", NULL);
    const char *name = s->p + 2, *p = name;
    while (p < s->end && (mc_lower((unsigned char)*p) == '_' || (*p >= '0' && *p <= '9') ||
                          (mc_lower((unsigned char)*p) >= 'a' && mc_lower((unsigned char)*p) <= 'z')))
        p++;
    if (p == name)
        return bad(s, "expected the name of a variable after ${", "write \\${ in double quotes, or use single quotes, for the text itself");
    size_t n = (size_t)(p - name);
    bool has_default = p + 1 < s->end && p[0] == ':' && p[1] == '-';
    if (has_default) {
        while (p < s->end && !strchr("}\"'\\\n", *p))
            p++;
    }
    if (p >= s->end || *p != '}')
        return bad(s, "expected } at the end of ${", "${NAME} or ${NAME:-default}");
    s->p = p;
    return has_default ? MC_OK : known_variable(s, name, n);
}

static bool hex(const char *p, const char *end)
{
    return p < end && strchr("0123456789abcdefABCDEF", *p) && *p;
}

/* s->p is at a backslash in double quotes: stands on the last byte of the escape. */
static int escape(struct mc_scan *s)
{
    const char *e = s->p + 1;
    if (e >= s->end)
        return MC_OK; /* the string has no end: said there */
    if (*e == 'x' && hex(e + 1, s->end)) {
        bool two = hex(e + 2, s->end);
        if (e[1] == '0' && (!two || e[2] == '0'))
            return bad(s, "a zero byte cannot stand in a value", NULL);
        s->p = e + (two ? 2 : 1);
        return MC_OK;
    }
    if (!strchr("\\\"'$nrtbfaev\n", *e)) {
        char what[64];
        (void)snprintf(what, sizeof what, "unknown escape \\%c in double quotes", *e);
        return bad(s, what, "use single quotes, which keep backslashes, or \\\\");
    }
    if (*e == '\n')
        s->line++;
    s->p = e;
    return MC_OK;
}

static int read_string(struct mc_scan *s)
{
    const char quote = *s->p, *begin = s->p++;
    for (; s->p < s->end && *s->p != quote; s->p++) {
        unsigned char c = (unsigned char)*s->p;
        if (c == '\\' && quote == '\'') {
            if (s->p + 1 < s->end && s->p[1] != '\n')
                s->p++;
        } else if (c == '\\') {
            if (escape(s) != MC_OK)
                return MC_SCAN_BAD;
        } else if (quote == '"' && starts(s, "${")) {
            if (expansion(s) != MC_OK)
                return MC_SCAN_BAD;
        } else if (c == '\n') {
            s->line++;
        } else if ((c < 0x20 && c != '\t' && c != '\r') || c == 0x7f) {
            return bad(s, "a control character stands in a string", "write \\xHH in double quotes");
        }
    }
    if (s->p >= s->end) {
        s->line = s->at.line;
        return bad(s, "this string is never closed", quote == '"' ? "it needs a \"" : "it needs a '");
    }
    s->p++;
    s->text = (struct mc_str){begin + 1, (size_t)(s->p - begin) - 2};
    mc_sb_add(s->out, begin, (size_t)(s->p - begin));
    return MC_SCAN_STRING;
}

static int read_word(struct mc_scan *s)
{
    const char *begin = s->p;
    if (starts(s, "${")) {
        if (expansion(s) != MC_OK)
            return MC_SCAN_BAD;
        s->p++;
    } else {
        for (; s->p < s->end && !strchr(separators, *s->p); s->p++) {
            unsigned char c = (unsigned char)*s->p;
            if (c < 0x20 || c == 0x7f)
                return bad(s, "a control character stands outside of quotes", NULL);
            if (c == ';')
                return bad(s, "';' ends nothing here", "a setting ends by itself; a ';' that belongs to a value needs quotes");
            if (c == '|')
                return bad(s, "'|' must stand in quotes", NULL);
            if (starts(s, "${"))
                return bad(s, "${ } inside of a word", "put the whole value in double quotes");
        }
    }
    s->text = (struct mc_str){begin, (size_t)(s->p - begin)};
    mc_sb_add(s->out, begin, s->text.n);
    return MC_SCAN_WORD;
}

int mc_scan_next(struct mc_scan *s)
{
    int token;
    if (skip(s) != MC_OK)
        return MC_SCAN_BAD;
    s->at.line = s->line;
    if (s->p >= s->end)
        return MC_SCAN_END;
    mc_sb_addc(s->out, ' ');
    if (*s->p == '*')
        return bad(s, "'*' must stand in quotes", NULL);
    if (starts(s, "+=")) {
        s->p += 2;
        mc_sb_addz(s->out, "+=");
        return MC_SCAN_APPEND;
    }
    if (*s->p == '+')
        return bad(s, "'+' must stand in quotes", NULL);
    if (strchr("{}()=,", *s->p)) {
        mc_sb_addc(s->out, *s->p);
        return *s->p++;
    }
    token = *s->p == '"' || *s->p == '\'' ? read_string(s) : read_word(s);
    if (token == MC_SCAN_BAD || s->p >= s->end)
        return token;
    if (*s->p == '*')
        return bad(s, "'*' must stand in quotes", NULL);
    if (*s->p == '"' || *s->p == '\'')
        return bad(s, "a quote stands in the middle of a value", "quote all of it");
    if ((token == MC_SCAN_STRING || s->text.p[0] == '$') && !strchr(separators, *s->p))
        return bad(s, "text follows a closing quote or brace", "quote all of it");
    return token;
}

const char *mc_scan_name(const struct mc_scan *s, int token, char *out, size_t cap)
{
    int n = s->text.n > 40 ? 40 : (int)s->text.n;
    if (token == MC_SCAN_END)
        (void)snprintf(out, cap, "the end of the file");
    else if (token == MC_SCAN_APPEND)
        (void)snprintf(out, cap, "'+='");
    else if (token == MC_SCAN_WORD || token == MC_SCAN_STRING)
        (void)snprintf(out, cap, "'%.*s'", n, s->text.p);
    else
        (void)snprintf(out, cap, "'%c'", token);
    return out;
}
