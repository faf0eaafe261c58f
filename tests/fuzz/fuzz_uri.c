/* Targets, normal forms and Host: a normal form has no dot segment, no empty one, no NUL, and is stable. */
#include "core/base/base.h"
#include "core/http/uri.h"
#include "tests/fuzz/exact.h"

static void check_normal(struct mc_str path)
{
    MC_ASSERT(path.n > 0 && path.p[0] == '/' && !memchr(path.p, 0, path.n));
    for (size_t i = 0; i < path.n;) {
        size_t start = ++i; /* after the '/' */
        while (i < path.n && path.p[i] != '/')
            i++;
        struct mc_str segment = {path.p + start, i - start};
        MC_ASSERT(segment.n > 0 || i == path.n);
        MC_ASSERT(!mc_str_eq(segment, MC_STR(".")) && !mc_str_eq(segment, MC_STR("..")));
    }
}

static void check_path(struct mc_str path)
{
    struct mc_arena a;
    struct mc_str normal, again, decoded;
    mc_arena_init(&a);
    int rc = mc_uri_normalise(&a, path, &normal);
    MC_ASSERT(rc == MC_OK || rc == 400);
    if (rc == MC_OK) {
        check_normal(normal);
        MC_ASSERT(normal.p == path.p || normal.p[normal.n] == 0); /* what is not the input itself ends with NUL */
        if (!memchr(normal.p, '%', normal.n))
            MC_ASSERT(mc_uri_normalise(&a, normal, &again) == MC_OK && mc_str_eq(normal, again));
    }
    MC_ASSERT(mc_uri_decode(&a, path, &decoded) == MC_OK && decoded.n <= path.n);
    mc_arena_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mc_uri u;
    struct mc_str host, port;
    char *copy = exact_copy(data, size);
    struct mc_str target = {copy, size};
    for (int options = 0; options < 2; options++) {
        if (mc_uri_split(target, options, &u) != MC_OK)
            continue;
        MC_ASSERT(u.path.n > 0 && (u.path.p[0] == '/' || mc_str_eq(u.path, MC_STR("*"))));
        MC_ASSERT(!memchr(u.path.p, ' ', u.path.n) && !memchr(u.path.p, '?', u.path.n));
        if (u.path.p[0] == '/')
            check_path(u.path);
        MC_ASSERT(!u.authority.p || mc_uri_host(u.authority, &host, &port) == MC_OK);
    }
    if (size && !memchr(copy, 0, size)) /* no target that was split has one */
        check_path(target);
    if (mc_uri_host(target, &host, &port) == MC_OK) {
        MC_ASSERT(host.n > 0 && host.p == copy && host.n + port.n <= size);
        MC_ASSERT(host.p[0] == '[' || !memchr(host.p, ':', host.n));
    }
    free(copy);
    return 0;
}
