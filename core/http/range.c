/* Reads Range: what a client may ask of a file, in numbers that cannot overflow and never add up to more than the file. Pure. Worker side. */
#include "core/http/range.h"

/* Digits at *p; a number that does not fit is as good as the largest. false: there is none. */
static bool digits(const char **p, const char *end, int64_t *out)
{
    const char *start = *p;
    *out = 0;
    for (; *p < end && **p >= '0' && **p <= '9'; (*p)++) {
        int d = **p - '0';
        *out = *out > (INT64_MAX - d) / 10 ? INT64_MAX : *out * 10 + d;
    }
    return *p > start;
}

/* One range-spec. MC_OK, MC_DECLINED (no such bytes: n = 0), MC_ERROR (syntax). */
static int one(struct mc_str spec, int64_t size, struct mc_range *out)
{
    const char *p = spec.p, *end = spec.p + spec.n;
    int64_t first, last = INT64_MAX;
    if (p < end && *p == '-') {
        p++;
        if (!digits(&p, end, &last) || p < end)
            return MC_ERROR;
        last = last < size ? last : size;
        *out = (struct mc_range){size - last, last};
        return last > 0 ? MC_OK : MC_DECLINED;
    }
    if (!digits(&p, end, &first) || p == end || *p++ != '-' || (p < end && (!digits(&p, end, &last) || p < end)) || last < first)
        return MC_ERROR;
    if (first >= size)
        return MC_DECLINED;
    last = last < size ? last : size - 1;
    *out = (struct mc_range){first, last - first + 1};
    return MC_OK;
}

static bool any_touch(const struct mc_range *v, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        for (unsigned k = i + 1; k < n; k++) {
            if (v[i].from <= v[k].from + v[k].n && v[k].from <= v[i].from + v[i].n)
                return true;
        }
    }
    return false;
}

static unsigned join(struct mc_range *v, unsigned n)
{
    unsigned last = 0;
    for (unsigned i = 1; i < n; i++) {
        struct mc_range r = v[i];
        unsigned k = i;
        for (; k > 0 && v[k - 1].from > r.from; k--)
            v[k] = v[k - 1];
        v[k] = r;
    }
    for (unsigned i = 1; i < n; i++) {
        int64_t end = v[last].from + v[last].n;
        if (v[i].from > end)
            v[++last] = v[i];
        else if (v[i].from + v[i].n > end)
            v[last].n = v[i].from + v[i].n - v[last].from;
    }
    return last + 1;
}

int mc_range_parse(struct mc_str value, int64_t size, struct mc_range out[MC_RANGES_MAX], unsigned *n)
{
    struct mc_str spec;
    unsigned specs = 0;
    *n = 0;
    if (value.n < 6 || !mc_str_eq_nocase((struct mc_str){value.p, 6}, MC_STR("bytes=")))
        return MC_DECLINED;
    value = (struct mc_str){value.p + 6, value.n - 6};
    while (mc_str_next_token(&value, &spec)) {
        int rc = ++specs > MC_RANGES_MAX ? MC_ERROR : one(spec, size, &out[*n]);
        if (rc == MC_ERROR)
            return MC_DECLINED;
        *n += rc == MC_OK;
    }
    if (*n == 0)
        return specs ? 416 : MC_DECLINED;
    if (any_touch(out, *n))
        *n = join(out, *n);
    return MC_OK;
}
