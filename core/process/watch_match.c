/* Patterns of file names: fnmatch() a component, and "**" for any number of directories. Pure. */
#include "core/process/watch.h"

#include <fnmatch.h>
#include <limits.h>
#include <string.h>

enum { DEEPEST = 64 };

bool mc_watch_is_pattern(const char *text)
{
    return strpbrk(text, "*?[") != NULL;
}

/* The component at *p, which moves behind it and its slashes; its length, 0 at the end. */
static size_t component(const char **p, char out[NAME_MAX + 1])
{
    while (**p == '/')
        ++*p;
    size_t n = strcspn(*p, "/");
    if (n > NAME_MAX)
        n = NAME_MAX;
    memcpy(out, *p, n);
    out[n] = '\0';
    *p += n;
    return n;
}

/* prefix: the path is a directory, and it is enough when all of it goes into a beginning of the pattern. */
static bool match(const char *pattern, const char *path, bool prefix, unsigned depth)
{
    char want[NAME_MAX + 1], have[NAME_MAX + 1];
    const char *rest = path;
    size_t n = component(&pattern, want), m = component(&rest, have);
    if (n == 0)
        return m == 0 && !prefix;
    bool any = strcmp(want, "**") == 0;
    if (any && match(pattern, path, prefix, depth))
        return true;
    if (m == 0)
        return prefix;
    if (any)
        return depth < DEEPEST && have[0] != '.' && match(pattern - n, rest, prefix, depth + 1);
    return fnmatch(want, have, FNM_PERIOD) == 0 && match(pattern, rest, prefix, depth);
}

bool mc_watch_match(const char *pattern, const char *path)
{
    return match(pattern, path, false, 0);
}

bool mc_watch_below(const char *pattern, const char *dir)
{
    return match(pattern, dir, true, 0);
}
