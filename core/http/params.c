/* Single values within a request: parameters of the query, cookies, fields. Pure. Called by variables and conditions of routes. Worker side. */
#include "core/http/params.h"

static unsigned char folded(char c)
{
    return c == '-' ? '_' : mc_lower((unsigned char)c);
}

bool mc_param_field_is(struct mc_str name, struct mc_str variable)
{
    if (name.n != variable.n)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        if (folded(name.p[i]) != folded(variable.p[i]))
            return false;
    }
    return true;
}

/* The next piece up to `end`; *rest shrinks. */
static bool next_piece(struct mc_str *rest, char end, struct mc_str *piece)
{
    if (rest->n == 0)
        return false;
    const char *at = memchr(rest->p, end, rest->n);
    size_t n = at ? (size_t)(at - rest->p) : rest->n, used = n + (at != NULL);
    *piece = (struct mc_str){rest->p, n};
    *rest = (struct mc_str){rest->p + used, rest->n - used};
    return true;
}

/* Split "name=value"; without '=' the value is empty. */
static bool named(struct mc_str piece, struct mc_str name, struct mc_str *value)
{
    if (piece.n < name.n || memcmp(piece.p, name.p, name.n) != 0)
        return false;
    if (piece.n > name.n && piece.p[name.n] != '=')
        return false;
    size_t from = piece.n > name.n ? name.n + 1 : name.n;
    *value = (struct mc_str){piece.p + from, piece.n - from};
    return true;
}

bool mc_param_cookie(const struct mc_fields *f, struct mc_str name, struct mc_str *value)
{
    for (uint32_t i = 0; i < f->n; i++) {
        struct mc_str rest = f->v[i].value, piece;
        if (f->v[i].id != MC_F_COOKIE)
            continue;
        while (next_piece(&rest, ';', &piece)) {
            if (!named(mc_str_trim(piece), name, value))
                continue;
            if (value->n >= 2 && value->p[0] == '"' && value->p[value->n - 1] == '"')
                *value = (struct mc_str){value->p + 1, value->n - 2};
            return true;
        }
    }
    return false;
}

bool mc_param_arg(struct mc_str query, struct mc_str name, struct mc_str *value)
{
    struct mc_str piece;
    while (next_piece(&query, '&', &piece)) {
        if (named(piece, name, value))
            return true;
    }
    return false;
}
