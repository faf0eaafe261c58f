/* The words of error_page. Pure. Called when the configuration is read and when a worker loads its pages. Arbiter and worker side. */
#include "core/config/error_page.h"

#include <stdio.h>

static bool next_word(struct mc_str *rest, struct mc_str *word)
{
    *rest = mc_str_trim(*rest);
    size_t n = 0;
    while (n < rest->n && rest->p[n] != ' ' && rest->p[n] != '\t')
        n++;
    *word = (struct mc_str){rest->p, n};
    *rest = (struct mc_str){rest->p + n, rest->n - n};
    return n > 0;
}

static bool code(struct mc_str word, uint64_t least, uint64_t *out)
{
    return word.n == 3 && mc_str_to_u64(word, 599, out) == MC_OK && *out >= least;
}

static int set_target(struct mc_str word, struct mc_error_words *out)
{
    size_t skip = 0;
    if (word.n > 5 && memcmp(word.p, "file:", 5) == 0) {
        out->kind = MC_ERROR_FILE;
        skip = 5;
    } else if (word.n > 1 && word.p[0] == '@') {
        out->kind = MC_ERROR_ROUTE;
        skip = 1;
    } else {
        out->kind = MC_ERROR_URI;
    }
    out->target = (struct mc_str){word.p + skip, word.n - skip};
    return out->kind == MC_ERROR_ROUTE || (out->target.n && out->target.p[0] == '/') ? MC_OK : MC_ERROR;
}

int mc_error_page_parse(const char *text, struct mc_error_words *out, char *err, size_t errcap)
{
    struct mc_str rest = mc_str(text), word;
    uint64_t n;
    bool more = next_word(&rest, &word);
    *out = (struct mc_error_words){.ncodes = 0};
    for (; more && code(word, 300, &n) && out->ncodes < MC_ERROR_CODES; more = next_word(&rest, &word))
        out->codes[out->ncodes++] = (uint16_t)n;
    if (more && word.p[0] == '=') {
        out->answer = -1;
        if (word.n > 1 && !code((struct mc_str){word.p + 1, word.n - 1}, 200, &n)) {
            snprintf(err, errcap, "expected a status behind '=', not '%.*s'", (int)(word.n > 40 ? 40 : word.n), word.p);
            return MC_ERROR;
        }
        if (word.n > 1)
            out->answer = (int)n;
        more = next_word(&rest, &word);
    }
    if (more && out->ncodes && set_target(word, out) == MC_OK && !next_word(&rest, &word))
        return MC_OK;
    snprintf(err, errcap, "expected 'CODE… [=CODE] /path', '… @route' or '… file:/path', not '%.80s'", text);
    return MC_ERROR;
}

int mc_error_page_check(const char *value, char *err, size_t cap)
{
    struct mc_error_words words;
    return mc_error_page_parse(value, &words, err, cap);
}
