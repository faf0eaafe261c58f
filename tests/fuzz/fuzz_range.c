/* Range and Accept-Encoding: whatever a client sends, ranges lie inside the file, do not overlap and never add up to more than it. */
#include "core/base/base.h"
#include "core/http/condition.h"
#include "core/http/negotiate.h"
#include "core/http/range.h"
#include "tests/fuzz/exact.h"

static void check_ranges(struct mc_str value, int64_t size)
{
    struct mc_range v[MC_RANGES_MAX];
    unsigned n;
    int rc = mc_range_parse(value, size, v, &n);
    MC_ASSERT(rc == MC_OK || rc == MC_DECLINED || rc == 416);
    int64_t sum = 0;
    for (unsigned i = 0; rc == MC_OK && i < n; i++) {
        MC_ASSERT(v[i].from >= 0 && v[i].n > 0 && v[i].from < size && v[i].n <= size - v[i].from);
        for (unsigned k = 0; k < i; k++)
            MC_ASSERT(v[i].from >= v[k].from + v[k].n || v[k].from >= v[i].from + v[i].n);
        sum += v[i].n;
    }
    MC_ASSERT(rc != MC_OK || (n > 0 && n <= MC_RANGES_MAX && sum <= size));
}

static void check_fields(struct mc_str value)
{
    static const struct mc_str names[] = {MC_STR("br"), MC_STR("gzip")};
    static const char *const fields[] = {"Accept-Encoding", "If-None-Match", "If-Match", "If-Range", "If-Modified-Since", "Vary"};
    struct mc_validators v = {MC_STR("\"a\""), 784111777};
    struct mc_arena a;
    struct mc_fields f = {0};
    mc_arena_init(&a);
    for (size_t i = 0; i < MC_COUNT(fields); i++)
        MC_ASSERT(mc_fields_add(&f, &a, mc_str(fields[i]), value) == MC_OK);
    int best = mc_negotiate_coding(&f, names, 2);
    MC_ASSERT(best >= -1 && best < 2);
    int rc = mc_condition(&f, &v);
    MC_ASSERT(rc == MC_OK || rc == 304 || rc == 412);
    (void)mc_condition_range(&f, &v);
    MC_ASSERT(mc_negotiate_vary(&f, &a, MC_STR("X")) == MC_OK);
    MC_ASSERT(mc_negotiate_has(&f, MC_F_VARY, MC_STR("X")) || mc_negotiate_has(&f, MC_F_VARY, MC_STR("*")));
    mc_arena_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t sizes[] = {0, 1, 1000, INT64_MAX};
    char *copy = exact_copy(data, size);
    struct mc_str value = mc_str_trim((struct mc_str){copy, size});
    for (size_t i = 0; i < MC_COUNT(sizes); i++)
        check_ranges(value, sizes[i]);
    check_fields(value);
    free(copy);
    return 0;
}
