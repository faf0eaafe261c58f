/* Errors and memory of one load. The first error wins: what follows it is mostly noise.
 * Never prints; load.c decides where the text goes. Arbiter and worker side. */
#include "core/config/build.h"

#include <stdarg.h>
#include <stdio.h>

/* One line that is safe on a terminal, whatever a file or an argument held. */
static void clean(char *z)
{
    for (; *z; z++) {
        if ((unsigned char)*z < 0x20 || *z == 0x7f)
            *z = ' ';
    }
}

static void compose(char *out, size_t cap, struct mc_conf_where at, const char *fmt, va_list ap)
{
    int n = 0;
    if (cap == 0)
        return;
    out[0] = '\0';
    if (at.file && at.line > 0)
        n = snprintf(out, cap, "%s:%d: ", at.file, at.line);
    else if (at.file)
        n = snprintf(out, cap, "%s: ", at.file);
    if (n < 0 || (size_t)n >= cap)
        return;
    (void)vsnprintf(out + n, cap - (size_t)n, fmt, ap);
    clean(out);
}

int mc_build_fail(struct mc_build *b, struct mc_conf_where at, const char *fmt, ...)
{
    va_list ap;
    if (b->failed)
        return MC_ERROR;
    b->failed = true;
    va_start(ap, fmt);
    compose(b->err, b->errcap, at, fmt, ap);
    va_end(ap);
    return MC_ERROR;
}

void mc_build_warn(struct mc_build *b, struct mc_conf_where at, const char *fmt, ...)
{
    char line[512];
    va_list ap;
    if (!b->warn)
        return;
    va_start(ap, fmt);
    compose(line, sizeof line, at, fmt, ap);
    va_end(ap);
    b->warn(line);
}

static void no_memory(struct mc_build *b)
{
    (void)mc_build_fail(b, MC_NOWHERE, "out of memory");
}

void *mc_build_alloc(struct mc_build *b, size_t n)
{
    void *p = mc_arena_calloc(b->arena, n ? n : 1);
    if (!p)
        no_memory(b);
    return p;
}

const char *mc_build_strdup(struct mc_build *b, const char *z)
{
    char *p = mc_arena_strdup(b->arena, z);
    if (!p)
        no_memory(b);
    return p;
}

const char *mc_build_printf(struct mc_build *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : mc_build_alloc(b, (size_t)n + 1);
    if (!p)
        return NULL;
    va_start(ap, fmt);
    (void)vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return p;
}

const char *mc_build_path(struct mc_build *b, const char *dir, const char *path)
{
    if (path[0] == '/')
        return mc_build_strdup(b, path);
    return mc_build_printf(b, "%s%s%s", dir, dir[0] && dir[strlen(dir) - 1] == '/' ? "" : "/", path);
}
