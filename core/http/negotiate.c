/* Reads Accept-Encoding and writes Vary. Pure. Called by handlers and filters. Worker side. */
#include "core/http/negotiate.h"

enum { CODINGS_MAX = 16 };

/* qvalue in thousandths (§12.4.2); what is no qvalue counts as 0: a client that is hard to understand gets the plain form. */
static int weight(struct mc_str params)
{
    int q = 1000;
    while (params.n) {
        const char *semi = memchr(params.p, ';', params.n);
        size_t len = semi ? (size_t)(semi - params.p) : params.n;
        struct mc_str one = mc_str_trim((struct mc_str){params.p, len});
        params = semi ? (struct mc_str){semi + 1, params.n - len - 1} : MC_STR_NONE;
        if (one.n < 2 || mc_lower((unsigned char)one.p[0]) != 'q' || one.p[1] != '=')
            continue;
        if (one.n < 3 || one.n > 7 || (one.p[2] != '0' && one.p[2] != '1') || (one.n > 3 && one.p[3] != '.'))
            return 0;
        q = (one.p[2] - '0') * 1000;
        for (size_t i = 4, unit = 100; i < one.n; i++, unit /= 10) {
            if (one.p[i] < '0' || one.p[i] > '9')
                return 0;
            q += (one.p[i] - '0') * (int)unit;
        }
    }
    return q > 1000 ? 0 : q;
}

static bool same(struct mc_str given, struct mc_str coding)
{
    if (mc_str_eq_nocase(given, coding))
        return true;
    return given.n == 6 && mc_str_eq_nocase(given, MC_STR("x-gzip")) && mc_str_eq(coding, MC_STR("gzip")); /* §8.4.1.3 */
}

int mc_negotiate_coding(const struct mc_fields *f, const struct mc_str *codings, unsigned n)
{
    int q[CODINGS_MAX], any = -1, identity = -1;
    MC_ASSERT(n <= CODINGS_MAX);
    for (unsigned i = 0; i < n; i++)
        q[i] = -1;
    for (uint32_t i = 0; i < f->n; i++) {
        struct mc_str rest = f->v[i].value, item;
        if (f->v[i].id != MC_F_ACCEPT_ENCODING)
            continue;
        while (mc_str_next_token(&rest, &item)) {
            const char *semi = memchr(item.p, ';', item.n);
            struct mc_str name = mc_str_trim((struct mc_str){item.p, semi ? (size_t)(semi - item.p) : item.n});
            int w = semi ? weight((struct mc_str){semi + 1, item.n - (size_t)(semi - item.p) - 1}) : 1000;
            if (mc_str_eq(name, MC_STR("*")))
                any = w;
            else if (mc_str_eq_nocase(name, MC_STR("identity")))
                identity = w;
            for (unsigned k = 0; k < n; k++)
                q[k] = same(name, codings[k]) ? w : q[k];
        }
    }
    int best = -1, best_q = identity > 0 ? identity - 1 : 0;
    for (unsigned i = 0; i < n; i++) {
        int w = q[i] >= 0 ? q[i] : any;
        if (w > best_q) {
            best = (int)i;
            best_q = w;
        }
    }
    return best;
}

bool mc_negotiate_has(const struct mc_fields *f, enum mc_field_id id, struct mc_str word)
{
    for (uint32_t i = 0; i < f->n; i++) {
        struct mc_str rest = f->v[i].value, item;
        while (f->v[i].id == id && mc_str_next_token(&rest, &item)) {
            size_t len = 0;
            while (len < item.n && item.p[len] != ';' && item.p[len] != '=' && item.p[len] != ' ')
                len++;
            if (mc_str_eq_nocase((struct mc_str){item.p, len}, word))
                return true;
        }
    }
    return false;
}

int mc_negotiate_vary(struct mc_fields *f, struct mc_arena *a, struct mc_str name)
{
    if (mc_negotiate_has(f, MC_F_VARY, name) || mc_negotiate_has(f, MC_F_VARY, MC_STR("*")))
        return MC_OK;
    return mc_fields_add(f, a, MC_STR("Vary"), name);
}
