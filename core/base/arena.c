/* Arenas: bump allocation in small blocks, a list of big pieces, and cleanups that run newest first.
 * Never shared between threads at the same time. Called by everything that belongs to a connection, a request or a configuration. */
#include "core/base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { ALIGN = 16, BIG = 1024 };

/* At the head of each block and of each big piece; what follows is aligned, too. */
struct link {
    _Alignas(ALIGN) struct link *next;
    size_t block; /* its size; 0: malloc's */
};

/* What a big piece of so many bytes with its head is taken from: a block where it fits into one, so that a warm server allocates nothing. */
#ifdef MC_ARENA_MALLOC
static size_t block_for(size_t n)
{
    (void)n;
    return 0;
}
#else
static size_t block_for(size_t n)
{
    return n <= MC_BLOCK_SMALL ? MC_BLOCK_SMALL : n <= MC_BLOCK_LARGE ? MC_BLOCK_LARGE : 0;
}
#endif

void mc_arena_init(struct mc_arena *a)
{
    *a = (struct mc_arena){.magic = MC_MAGIC_ARENA};
}

void mc_arena_fini(struct mc_arena *a)
{
    MC_ASSERT(a->magic == MC_MAGIC_ARENA);
    /* A cleanup may register another one: always take the head. */
    while (a->cleanups) {
        struct mc_cleanup *c = a->cleanups;
        a->cleanups = c->next;
        c->run(c->data);
    }
    for (struct link *l = a->big, *next; l; l = next) {
        next = l->next;
        if (l->block)
            mc_block_put(l, l->block);
        else
            free(l);
    }
    for (struct link *l = a->blocks, *next; l; l = next) {
        next = l->next;
        mc_block_put(l, MC_BLOCK_SMALL);
    }
    *a = (struct mc_arena){0};
}

static void *alloc_big(struct mc_arena *a, size_t n)
{
    size_t block = block_for(sizeof(struct link) + n);
    struct link *l = block ? mc_block_get(block) : malloc(sizeof(*l) + n);
    if (!l)
        return NULL;
    *l = (struct link){.next = a->big, .block = block};
    a->big = l;
    return l + 1;
}

#ifdef MC_ARENA_MALLOC

/* Each allocation has its own malloc, so that the sanitizer knows its exact bounds. */
void *mc_arena_alloc(struct mc_arena *a, size_t n)
{
    MC_ASSERT(a->magic == MC_MAGIC_ARENA);
    if (n > SIZE_MAX / 2)
        return NULL;
    return alloc_big(a, n);
}

#else

static void *alloc_block(struct mc_arena *a, size_t n)
{
    struct link *l = mc_block_get(MC_BLOCK_SMALL);
    if (!l)
        return NULL;
    l->next = a->blocks;
    a->blocks = l;
    char *p = (char *)(l + 1);
    a->pos = p + n;
    a->end = (char *)l + MC_BLOCK_SMALL;
    return p;
}

void *mc_arena_alloc(struct mc_arena *a, size_t n)
{
    MC_ASSERT(a->magic == MC_MAGIC_ARENA);
    if (mc_unlikely(n > SIZE_MAX / 2))
        return NULL;
    n = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (n == 0)
        n = ALIGN;
    if (mc_likely((size_t)(a->end - a->pos) >= n)) {
        void *p = a->pos;
        a->pos += n;
        return p;
    }
    return n > BIG ? alloc_big(a, n) : alloc_block(a, n);
}

#endif

void *mc_arena_calloc(struct mc_arena *a, size_t n)
{
    void *p = mc_arena_alloc(a, n);
    if (p)
        memset(p, 0, n);
    return p;
}

struct mc_str mc_arena_dup(struct mc_arena *a, struct mc_str s)
{
    char *p = s.n < SIZE_MAX ? mc_arena_alloc(a, s.n + 1) : NULL;
    if (!p)
        return MC_STR_NONE;
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return (struct mc_str){p, s.n};
}

char *mc_arena_strdup(struct mc_arena *a, const char *z)
{
    return (char *)mc_arena_dup(a, mc_str(z)).p;
}

char *mc_arena_printf(struct mc_arena *a, const char *fmt, ...)
{
    char buf[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(buf, sizeof(buf), fmt, ap);
    va_end(ap);
    if (n < 0)
        return NULL;
    if ((size_t)n < sizeof(buf))
        return (char *)mc_arena_dup(a, (struct mc_str){buf, (size_t)n}).p;
    char *p = mc_arena_alloc(a, (size_t)n + 1);
    if (!p)
        return NULL;
    va_start(ap, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return p;
}

int mc_arena_cleanup(struct mc_arena *a, void (*run)(void *), void *data)
{
    struct mc_cleanup *c = mc_arena_alloc(a, sizeof(*c));
    if (!c)
        return MC_ERROR;
    *c = (struct mc_cleanup){.next = a->cleanups, .run = run, .data = data};
    a->cleanups = c;
    return MC_OK;
}
