/* Byte queues of memory blocks and file ranges. A chain without bytes holds no block, so an idle connection costs nothing here.
 * Does no I/O: the transport takes iovecs or file ranges and then says what was consumed.
 * Called by the connection engine and the protocols; one owner thread at a time. */
#include "core/base/chain.h"

#include <stdlib.h>
#include <unistd.h>

enum { JOIN = 4096 }; /* mc_chain_move() copies up to this much into the room of the last block instead of linking one more */

struct mc_file *mc_file_new(int fd)
{
    struct mc_file *f = malloc(sizeof(*f));
    if (f)
        *f = (struct mc_file){.fd = fd, .refs = 1};
    return f;
}

struct mc_file *mc_file_ref(struct mc_file *f)
{
    __atomic_fetch_add(&f->refs, 1, __ATOMIC_RELAXED);
    return f;
}

void mc_file_unref(struct mc_file **f)
{
    struct mc_file *file = *f;
    *f = NULL;
    if (!file)
        return;
    unsigned before = __atomic_fetch_sub(&file->refs, 1, __ATOMIC_ACQ_REL);
    MC_ASSERT(before > 0);
    if (before > 1)
        return;
    close(file->fd);
    free(file);
}

void mc_chain_init(struct mc_chain *c)
{
    *c = (struct mc_chain){0};
}

static void free_seg(struct mc_seg *s)
{
    if (s->kind == MC_SEG_MEM) {
        mc_block_put(s, MC_BLOCK_LARGE);
        return;
    }
    mc_file_unref(&s->file);
    free(s);
}

void mc_chain_fini(struct mc_chain *c)
{
    for (struct mc_seg *s = c->head, *next; s; s = next) {
        next = s->next;
        free_seg(s);
    }
    mc_chain_init(c);
}

static void append(struct mc_chain *c, struct mc_seg *s)
{
    s->next = NULL;
    if (c->tail)
        c->tail->next = s;
    else
        c->head = s;
    c->tail = s;
}

static struct mc_seg *add_block(struct mc_chain *c)
{
    struct mc_seg *s = mc_block_get(MC_BLOCK_LARGE);
    if (!s)
        return NULL;
    unsigned char *room = (unsigned char *)(s + 1);
    *s = (struct mc_seg){.kind = MC_SEG_MEM, .pos = room, .last = room, .end = (unsigned char *)s + MC_BLOCK_LARGE};
    append(c, s);
    return s;
}

static size_t tail_room(const struct mc_chain *c)
{
    const struct mc_seg *s = c->tail;
    return s && s->kind == MC_SEG_MEM ? (size_t)(s->end - s->last) : 0;
}

static void put(struct mc_chain *c, const void *p, size_t n)
{
    memcpy(c->tail->last, p, n);
    c->tail->last += n;
    c->mem += n;
    c->total += (off_t)n;
}

int mc_chain_add(struct mc_chain *c, const void *p, size_t n)
{
    const unsigned char *from = p;
    while (n) {
        size_t room = tail_room(c);
        if (room == 0) {
            if (!add_block(c))
                return MC_ERROR;
            room = tail_room(c);
        }
        size_t part = n < room ? n : room;
        put(c, from, part);
        from += part;
        n -= part;
    }
    return MC_OK;
}

unsigned char *mc_chain_reserve(struct mc_chain *c, size_t n)
{
    MC_ASSERT(n <= MC_BLOCK_LARGE - sizeof(struct mc_seg));
    if (tail_room(c) >= n && c->tail)
        return c->tail->last;
    struct mc_seg *s = add_block(c);
    return s ? s->last : NULL;
}

static void drop_tail(struct mc_chain *c)
{
    struct mc_seg *last = c->tail, *before = NULL;
    for (struct mc_seg *s = c->head; s != last; s = s->next)
        before = s;
    if (before)
        before->next = NULL;
    else
        c->head = NULL;
    c->tail = before;
    free_seg(last);
}

void mc_chain_commit(struct mc_chain *c, size_t n)
{
    MC_ASSERT(n <= tail_room(c));
    if (!c->tail)
        return;
    c->tail->last += n;
    c->mem += n;
    c->total += (off_t)n;
    if (c->tail->kind == MC_SEG_MEM && c->tail->last == c->tail->pos)
        drop_tail(c);
}

int mc_chain_add_file(struct mc_chain *c, struct mc_file *f, off_t off, off_t len)
{
    MC_ASSERT(off >= 0 && len >= 0);
    struct mc_seg *s = c->tail;
    if (len == 0)
        return MC_OK;
    if (s && s->kind == MC_SEG_FILE && s->file == f && s->off + s->len == off) {
        s->len += len;
        c->total += len;
        return MC_OK;
    }
    s = malloc(sizeof(*s));
    if (!s)
        return MC_ERROR;
    *s = (struct mc_seg){.kind = MC_SEG_FILE, .file = mc_file_ref(f), .off = off, .len = len};
    append(c, s);
    c->total += len;
    return MC_OK;
}

void mc_chain_move(struct mc_chain *dst, struct mc_chain *src)
{
    struct mc_seg *s = src->head;
    if (src->total == 0) {
        mc_chain_fini(src);
        return;
    }
    if (s == src->tail && s->kind == MC_SEG_MEM && src->mem <= JOIN && src->mem <= tail_room(dst)) {
        put(dst, s->pos, src->mem);
        mc_chain_fini(src);
        return;
    }
    if (dst->tail)
        dst->tail->next = src->head;
    else
        dst->head = src->head;
    dst->tail = src->tail;
    dst->mem += src->mem;
    dst->total += src->total;
    mc_chain_init(src);
}

static struct mc_seg *unlink_head(struct mc_chain *c)
{
    struct mc_seg *s = c->head;
    c->head = s->next;
    if (!c->head)
        c->tail = NULL;
    return s;
}

/* A whole memory segment: linked, unless it is so small that a copy into the last block is cheaper. */
static void take_seg(struct mc_chain *dst, struct mc_chain *src, size_t n)
{
    struct mc_seg *s = unlink_head(src);
    src->mem -= n;
    src->total -= (off_t)n;
    if (n == 0 || (n <= JOIN && n <= tail_room(dst))) {
        if (n)
            put(dst, s->pos, n);
        free_seg(s);
        return;
    }
    append(dst, s);
    dst->mem += n;
    dst->total += (off_t)n;
}

int mc_chain_take(struct mc_chain *dst, struct mc_chain *src, off_t n)
{
    MC_ASSERT(n >= 0 && n <= src->total);
    while (n > 0) {
        struct mc_seg *s = src->head;
        off_t len = s->kind == MC_SEG_MEM ? (off_t)(s->last - s->pos) : s->len, part = n < len ? n : len;
        if (s->kind == MC_SEG_MEM && part == len) {
            take_seg(dst, src, (size_t)len);
        } else {
            int rc = s->kind == MC_SEG_MEM ? mc_chain_add(dst, s->pos, (size_t)part) : mc_chain_add_file(dst, s->file, s->off, part);
            if (rc != MC_OK)
                return rc;
            mc_chain_consume(src, part);
        }
        n -= part;
    }
    return MC_OK;
}

int mc_chain_iov(const struct mc_chain *c, struct iovec *iov, int max)
{
    int n = 0;
    for (const struct mc_seg *s = c->head; s && s->kind == MC_SEG_MEM && n < max; s = s->next) {
        if (s->last == s->pos)
            continue;
        iov[n].iov_base = s->pos;
        iov[n].iov_len = (size_t)(s->last - s->pos);
        n++;
    }
    return n;
}

/* Part of a segment, or all of it: nothing is freed here. */
static void advance(struct mc_chain *c, struct mc_seg *s, off_t n)
{
    c->total -= n;
    if (s->kind == MC_SEG_MEM) {
        s->pos += n;
        c->mem -= (size_t)n;
    } else {
        s->off += n;
        s->len -= n;
    }
}

void mc_chain_consume(struct mc_chain *c, off_t n)
{
    MC_ASSERT(n >= 0 && n <= c->total);
    while (c->head) {
        struct mc_seg *s = c->head;
        off_t have = s->kind == MC_SEG_MEM ? (off_t)(s->last - s->pos) : s->len;
        if (n < have) {
            advance(c, s, n);
            return;
        }
        advance(c, s, have);
        n -= have;
        c->head = s->next;
        if (!c->head)
            c->tail = NULL;
        free_seg(s);
    }
}
