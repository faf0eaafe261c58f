/* Parses and prints one value. Numbers are decimal and checked: the C library's guesses at bases, signs and blanks have no place in a config file.
 * Never reads a file. Called by tree.c, cli.c, print.c, help.c. Arbiter and worker side. */
#include "core/config/value.h"

#include <stdio.h>

struct unit {
    const char *suffix;
    int64_t factor;
};
static const struct unit durations[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
static const struct unit sizes[] = {{"", 1}, {"k", 1024}, {"m", 1 << 20}, {"g", 1 << 30}};

enum { MS_MAX_DAYS = 3650 };

static void *at(const struct mc_setting *s, const void *base)
{
    return (char *)(uintptr_t)base + s->offset;
}

static int refuse(char *err, size_t cap, const char *wanted, const char *got)
{
    (void)snprintf(err, cap, "expected %s, not '%.80s'", wanted, got);
    return MC_ERROR;
}

static int to_bool(const char *w, bool *out)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"true", true},   {"yes", true}, {"on", true},   {"1", true},  {"y", true},
                 {"false", false}, {"no", false}, {"off", false}, {"0", false}, {"n", false}};
    for (size_t i = 0; i < MC_COUNT(words); i++) {
        if (!mc_str_eq_nocase(mc_str(w), mc_str(words[i].word)))
            continue;
        *out = words[i].value;
        return MC_OK;
    }
    return MC_ERROR;
}

/* Digits in base 8, 10 or 16 as Python's int(x, 0) reads them, and the old leading zero. */
static int to_octal(const char *w, int64_t *out)
{
    unsigned base = 10;
    int64_t v = 0;
    if (w[0] == '0' && w[1]) {
        base = (w[1] | 0x20) == 'x' ? 16 : 8;
        w += (w[1] | 0x20) == 'x' || (w[1] | 0x20) == 'o' ? 2 : 1;
    }
    if (!*w)
        return MC_ERROR;
    for (; *w; w++) {
        unsigned c = mc_lower((unsigned char)*w);
        unsigned d = c - '0' < 10u ? c - '0' : c - 'a' < 6u ? c - 'a' + 10 : 99;
        if (d >= base || v > INT32_MAX)
            return MC_ERROR;
        v = v * base + d;
    }
    *out = v;
    return MC_OK;
}

/* Decimal digits, then one of the units. "010" is nobody's ten for sure, so it is refused. */
static int to_number(const char *w, const struct unit *units, size_t nunits, int64_t *out)
{
    size_t digits = strspn(w, "0123456789");
    uint64_t v;
    if (digits == 0 || (digits > 1 && w[0] == '0'))
        return MC_ERROR;
    if (mc_str_to_u64((struct mc_str){w, digits}, INT64_MAX, &v) != MC_OK)
        return MC_ERROR;
    for (size_t i = 0; i < nunits; i++) {
        if (!mc_str_eq_nocase(mc_str(w + digits), mc_str(units[i].suffix)))
            continue;
        if (v > (uint64_t)(INT64_MAX / units[i].factor))
            return MC_ERROR;
        *out = (int64_t)v * units[i].factor;
        return MC_OK;
    }
    return MC_ERROR;
}

static size_t print_scaled(char *out, size_t cap, int64_t v, const struct unit *units, size_t nunits)
{
    const struct unit *best = NULL;
    for (size_t i = 0; i < nunits; i++) {
        if (units[i].suffix[0] == '\0' && units[i].factor != 1)
            continue;
        if (v % units[i].factor == 0 && (v || units[i].factor == units[0].factor) && (!best || units[i].factor > best->factor))
            best = &units[i];
    }
    int n = snprintf(out, cap, "%lld%s", (long long)(v / (best ? best->factor : 1)), best ? best->suffix : "");
    return n > 0 && (size_t)n < cap ? (size_t)n : 0;
}

void mc_value_number(char *out, size_t cap, const struct mc_setting *s, int64_t v)
{
    if (s->type == MC_SET_DURATION)
        (void)print_scaled(out, cap, v, durations, MC_COUNT(durations));
    else if (s->type == MC_SET_SIZE)
        (void)print_scaled(out, cap, v, sizes, MC_COUNT(sizes));
    else
        (void)snprintf(out, cap, s->flags & MC_SETF_OCTAL && v ? "0%llo" : "%lld", (long long)v);
}

static int out_of_range(const struct mc_setting *s, int64_t min, int64_t max, const char *w, char *err, size_t cap)
{
    char lo[32], hi[32];
    mc_value_number(lo, sizeof lo, s, min);
    mc_value_number(hi, sizeof hi, s, max);
    (void)snprintf(err, cap, max == INT64_MAX ? "'%.80s' is out of range, at least %s" : "'%.80s' is out of range, %s to %s", w, lo, hi);
    return MC_ERROR;
}

static int set_number(const struct mc_setting *s, void *base, const char *w, char *err, size_t cap)
{
    static const char *const wanted[] = {
        [MC_SET_INT] = "a decimal number such as 4",
        [MC_SET_DURATION] = "a duration such as 30, 30s, 500ms, 5m or 1h",
        [MC_SET_SIZE] = "a size such as 8190, 64k, 10m or 1g",
    };
    static const struct unit plain[] = {{"", 1}};
    int64_t v = 0;
    int rc;
    if ((s->flags & MC_SETF_AUTO) && mc_str_eq_nocase(mc_str(w), MC_STR("auto"))) {
        *(int64_t *)at(s, base) = 0;
        return MC_OK;
    }
    if (s->type == MC_SET_DURATION)
        rc = to_number(w, durations, MC_COUNT(durations), &v);
    else if (s->type == MC_SET_SIZE)
        rc = to_number(w, sizes, MC_COUNT(sizes), &v);
    else if (s->flags & MC_SETF_OCTAL)
        rc = to_octal(w, &v);
    else
        rc = to_number(w, plain, 1, &v);
    if (rc != MC_OK) {
        const char *what = wanted[s->type];
        if (s->flags & MC_SETF_OCTAL)
            what = "a number, octal as 022 or 0o22";
        if (s->flags & MC_SETF_AUTO)
            what = "a decimal number such as 4, or auto";
        return refuse(err, cap, what, w);
    }
    bool bounded = s->min || s->max;
    int64_t max = bounded && s->max ? s->max : s->type == MC_SET_DURATION ? (int64_t)MS_MAX_DAYS * 86400000 : INT64_MAX;
    if (v < s->min || v > max)
        return out_of_range(s, s->min, max, w, err, cap);
    *(int64_t *)at(s, base) = v;
    return MC_OK;
}

/* The words of a list, split at commas where the setting says so. Empty pieces vanish, as in Gunicorn. */
static int set_list(struct mc_arena *a, const struct mc_setting *s, void *base, const char *const *words, size_t n, bool commas,
                    size_t *bad, char *err, size_t cap)
{
    size_t most = 0, count = 0;
    const char **v;
    for (size_t i = 0; i < n; i++) {
        most++;
        for (const char *p = words[i]; commas && *p; p++)
            most += *p == ',';
    }
    v = mc_arena_calloc(a, (most ? most : 1) * sizeof *v);
    for (size_t i = 0; v && i < n; i++) {
        struct mc_str rest = mc_str(words[i]);
        while (rest.n || (!commas && rest.p)) {
            const char *comma = commas ? memchr(rest.p, ',', rest.n) : NULL;
            size_t len = comma ? (size_t)(comma - rest.p) : rest.n;
            struct mc_str piece = {rest.p, len};
            rest = comma ? (struct mc_str){comma + 1, rest.n - len - 1} : MC_STR_NONE;
            if (commas)
                piece = mc_str_trim(piece);
            if (commas && piece.n == 0)
                continue;
            v[count] = mc_arena_dup(a, piece).p;
            *bad = i;
            if (!v[count])
                goto no_memory;
            if (s->check && s->check(v[count], err, cap) != MC_OK)
                return MC_ERROR;
            count++;
        }
    }
    if (!v)
        goto no_memory;
    *(struct mc_strv *)at(s, base) = (struct mc_strv){v, count};
    return MC_OK;
no_memory:
    (void)snprintf(err, cap, "out of memory");
    return MC_ERROR;
}

int mc_value_set(struct mc_arena *a, const struct mc_setting *s, void *base, const char *const *words, size_t n, size_t *bad, char *err,
                 size_t cap)
{
    *bad = n;
    if (s->type == MC_SET_LIST)
        return set_list(a, s, base, words, n, s->flags & MC_SETF_COMMAS, bad, err, cap);
    if (n != 1) {
        (void)snprintf(err, cap, "takes one value");
        return MC_ERROR;
    }
    *bad = 0;
    if (s->check && s->check(words[0], err, cap) != MC_OK)
        return MC_ERROR;
    if (s->type == MC_SET_BOOL) {
        return to_bool(words[0], at(s, base)) == MC_OK ? MC_OK : refuse(err, cap, "yes or no", words[0]);
    }
    if (s->type != MC_SET_STRING)
        return set_number(s, base, words[0], err, cap);
    const char *copy = mc_arena_strdup(a, words[0]);
    if (!copy) {
        (void)snprintf(err, cap, "out of memory");
        return MC_ERROR;
    }
    *(const char **)at(s, base) = copy;
    return MC_OK;
}

int mc_value_defaults(struct mc_arena *a, const struct mc_setting *table, void *base)
{
    char err[160];
    size_t bad;
    for (const struct mc_setting *s = table; s && s->name; s = mc_setting_next(s)) {
        int rc = MC_OK;
        if (s->flags & (MC_SETF_IGNORED | MC_SETF_REFUSED))
            continue;
        if (s->flags & MC_SETF_UNSET)
            *(int64_t *)at(s, base) = -1;
        if (s->dflt && s->type == MC_SET_LIST)
            rc = set_list(a, s, base, &s->dflt, 1, true, &bad, err, sizeof err);
        else if (s->dflt)
            rc = mc_value_set(a, s, base, &s->dflt, 1, &bad, err, sizeof err);
        if (rc == MC_OK)
            continue;
        MC_ASSERT(strcmp(err, "out of memory") == 0);
        return MC_ERROR;
    }
    return MC_OK;
}

const char *mc_value_default_text(const struct mc_setting *s)
{
    return s->dflt                                                                          ? s->dflt
           : s->type == MC_SET_BOOL                                                         ? "no"
           : s->type == MC_SET_STRING || s->type == MC_SET_LIST || s->flags & MC_SETF_UNSET ? ""
                                                                                            : "0";
}

bool mc_value_is_default(struct mc_arena *a, const struct mc_setting *s, const char *const *words, size_t n)
{
    union {
        bool b;
        int64_t i;
        const char *z;
        struct mc_strv v;
    } given = {.v = {NULL, 0}}, dflt = {.v = {NULL, 0}};
    struct mc_setting here = *s;
    char err[160];
    size_t bad;
    here.offset = 0;
    here.check = NULL;
    if (mc_value_set(a, &here, &given, words, n, &bad, err, sizeof err) != MC_OK)
        return false;
    if (s->dflt && mc_value_set(a, &here, &dflt, &s->dflt, 1, &bad, err, sizeof err) != MC_OK)
        return false;
    if (s->type == MC_SET_STRING && !dflt.z)
        return !*given.z;
    return mc_value_equal(&here, &given, &dflt);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

bool mc_value_equal(const struct mc_setting *s, const void *a, const void *b)
{
    const void *x = at(s, a), *y = at(s, b);
    if (s->type == MC_SET_BOOL)
        return *(const bool *)x == *(const bool *)y;
    if (s->type == MC_SET_STRING)
        return same_text(*(const char *const *)x, *(const char *const *)y);
    if (s->type != MC_SET_LIST)
        return *(const int64_t *)x == *(const int64_t *)y;
    const struct mc_strv *v = x, *w = y;
    bool same = v->n == w->n;
    for (size_t i = 0; same && i < v->n; i++)
        same = strcmp(v->v[i], w->v[i]) == 0;
    return same;
}

bool mc_value_is_set(const struct mc_setting *s, const void *base)
{
    if (s->type == MC_SET_STRING)
        return *(const char *const *)at(s, base) != NULL;
    return !(s->flags & MC_SETF_UNSET) || *(const int64_t *)at(s, base) >= 0;
}

/* Single quotes keep every byte but the backslash before another one, before a quote or before a newline; control bytes need double quotes and escapes. */
void mc_value_quote(struct mc_sb *out, const char *z)
{
    bool control = false;
    for (const char *p = z; *p; p++)
        control = control || (unsigned char)*p < 0x20 || *p == 0x7f;
    mc_sb_addc(out, control ? '"' : '\'');
    for (const char *p = z; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (!control) {
            if (c == '\'' || (c == '\\' && (p[1] == '\\' || p[1] == '\'' || p[1] == '\0')))
                mc_sb_addc(out, '\\');
            mc_sb_addc(out, (char)c);
        } else if (c == '\n' || c == '\t') {
            mc_sb_addz(out, c == '\n' ? "\\n" : "\\t");
        } else if (c < 0x20 || c == 0x7f) {
            mc_sb_addf(out, "\\x%02x", c);
        } else {
            if (c == '"' || c == '\\' || c == '$')
                mc_sb_addc(out, '\\');
            mc_sb_addc(out, (char)c);
        }
    }
    mc_sb_addc(out, control ? '"' : '\'');
}

void mc_value_print(struct mc_sb *out, const struct mc_setting *s, const void *base)
{
    const void *p = at(s, base);
    char text[32];
    if (s->type == MC_SET_BOOL) {
        mc_sb_addz(out, *(const bool *)p ? "yes" : "no");
    } else if (s->type == MC_SET_STRING) {
        mc_value_quote(out, *(const char *const *)p);
    } else if (s->type == MC_SET_LIST) {
        const struct mc_strv *v = p;
        mc_sb_addc(out, '{');
        for (size_t i = 0; i < v->n; i++) {
            if (i)
                mc_sb_addz(out, ", ");
            mc_value_quote(out, v->v[i]);
        }
        mc_sb_addc(out, '}');
    } else {
        mc_value_number(text, sizeof text, s, *(const int64_t *)p);
        mc_sb_addz(out, text);
    }
}
