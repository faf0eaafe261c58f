/* Pieces of up to MC_SMALL_MAX bytes in classes of 64 bytes. A piece knows its class, so that it can be freed without its size (bare ones do not); freed, it
 * joins the list of the thread that frees it. What a thread keeps is bounded, so a burst gives its memory back. Called by what lives as long as a connection or
 * a stream of HTTP/2; any thread, no lock. */
#include "core/base/small.h"

#include "core/base/block.h"

#include <stdlib.h>
#include <string.h>

/* SLACK: what malloc() writes before a piece, so that a class is 64 bytes in truth. */
enum { STEP = 64, HEAD = 16, SLACK = 8, CLASSES = (MC_SMALL_MAX + HEAD + SLACK) / STEP, NO_CLASS = CLASSES };

/* With MC_ARENA_MALLOC (sanitized builds) nothing is kept, so that a use after free is seen. */
#ifdef MC_ARENA_MALLOC
enum { KEEP = 0 };
#else
enum { KEEP = 1 << 20 /* bytes a thread */ };
#endif

struct piece {
    _Alignas(HEAD) union {
        struct piece *next; /* free */
        size_t class;       /* in use */
    } u;
};

static _Thread_local struct {
    struct piece *free[CLASSES];
    size_t kept;
} pool;

static size_t size_of(size_t class)
{
    return (class + 1) * STEP - SLACK;
}

static struct piece *of(void *p)
{
    return (struct piece *)p - 1;
}

static struct piece *take(size_t class)
{
    struct piece *q = pool.free[class];
    if (!q)
        return malloc(size_of(class));
    pool.free[class] = q->u.next;
    pool.kept -= size_of(class);
    return q;
}

/* Of a piece with n bytes in all. */
static size_t class_of(size_t n)
{
    return (n + SLACK - 1) / STEP;
}

static void give(struct piece *q, size_t class)
{
    if (class == NO_CLASS || pool.kept + size_of(class) > KEEP) {
        free(q);
        return;
    }
    q->u.next = pool.free[class];
    pool.free[class] = q;
    pool.kept += size_of(class);
}

void *mc_small_get(size_t n)
{
    size_t class = n <= MC_SMALL_MAX ? class_of(n + HEAD) : NO_CLASS;
    struct piece *q = class != NO_CLASS ? take(class) : n < SIZE_MAX - HEAD ? malloc(n + HEAD) : NULL;
    if (!q)
        return NULL;
    q->u.class = class;
    return q + 1;
}

void *mc_small_zero(size_t n)
{
    void *p = mc_small_get(n);
    return p ? memset(p, 0, n) : NULL;
}

void *mc_small_resize(void *p, size_t n)
{
    if (!p)
        return mc_small_get(n);
    struct piece *q = of(p);
    if (q->u.class == NO_CLASS && n > MC_SMALL_MAX) {
        q = n < SIZE_MAX - HEAD ? realloc(q, n + HEAD) : NULL;
        return q ? q + 1 : NULL;
    }
    size_t had = q->u.class == NO_CLASS ? n : size_of(q->u.class) - HEAD;
    if (q->u.class != NO_CLASS && n <= had)
        return p;
    void *to = mc_small_get(n);
    if (!to)
        return NULL;
    memcpy(to, p, had < n ? had : n);
    mc_small_put(p);
    return to;
}

void mc_small_put(void *p)
{
    if (!p)
        return;
    struct piece *q = of(p);
    give(q, q->u.class);
}

void *mc_small_bare_zero(size_t n)
{
    MC_ASSERT(n <= MC_SMALL_MAX);
    void *p = take(class_of(n));
    return p ? memset(p, 0, n) : NULL;
}

void mc_small_bare_put(void *p, size_t n)
{
    if (p)
        give(p, class_of(n));
}

void mc_small_trim(void)
{
    for (size_t i = 0; i < CLASSES; i++) {
        while (pool.free[i]) {
            struct piece *q = pool.free[i];
            pool.free[i] = q->u.next;
            free(q);
        }
    }
    pool.kept = 0;
}
