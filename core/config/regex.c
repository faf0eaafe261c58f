/* Patterns of routes and names: PCRE2, compiled with the configuration. core/http/pattern.c matches them. Arbiter and worker side. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "core/config/resolve.h"

#include <pcre2.h>

static void release(void *code)
{
    pcre2_code_free(code);
}

unsigned mc_conf_groups(const void *code)
{
    uint32_t n = 0;
    (void)pcre2_pattern_info(code, PCRE2_INFO_CAPTURECOUNT, &n);
    return n + 1;
}

void *mc_resolve_regex(struct mc_build *b, struct mc_conf_where at, const char *label, const char *pattern, bool fold)
{
    PCRE2_UCHAR text[160];
    PCRE2_SIZE offset;
    int error;
    /* Paths are bytes, and "$" must not match in front of a decoded newline. */
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                     PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C | (fold ? PCRE2_CASELESS : 0), &error, &offset, NULL);
    if (!code) {
        if (pcre2_get_error_message(error, text, sizeof text) < 0)
            text[0] = '\0';
        (void)mc_build_fail(b, at, "%s: bad pattern at offset %zu: %s", label, (size_t)offset, (char *)text);
        return NULL;
    }
    if (mc_conf_groups(code) > MC_CONF_GROUPS) {
        (void)mc_build_fail(b, at, "%s: a pattern has at most %d groups", label, MC_CONF_GROUPS - 1);
        pcre2_code_free(code);
        return NULL;
    }
    (void)pcre2_jit_compile(code, PCRE2_JIT_COMPLETE); /* without JIT it is only slower */
    if (mc_arena_cleanup(b->arena, release, code) == MC_OK)
        return code;
    pcre2_code_free(code);
    (void)mc_build_fail(b, MC_NOWHERE, "out of memory");
    return NULL;
}
