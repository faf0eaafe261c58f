/* Byte queues: memory in blocks and ranges of files, in order. Output queues and buffered bodies are chains. No I/O happens here. */
#ifndef MC_BASE_CHAIN_H
#define MC_BASE_CHAIN_H

#include "core/base/block.h"
#include "core/base/str.h"

#include <sys/uio.h>

/* A shared, counted file descriptor; closed with the last reference. Counting is atomic: a cache of the loop may share one with a queue
 * that a thread empties. */
struct mc_file {
    int fd;
    unsigned refs;
    off_t end; /* the owner's: how far it has been written; 0 at first */
};
struct mc_file *mc_file_new(int fd); /* takes the fd; NULL when out of memory (the fd is still the caller's) */
struct mc_file *mc_file_ref(struct mc_file *f);
void mc_file_unref(struct mc_file **f); /* clears *f */

enum mc_seg_kind { MC_SEG_MEM, MC_SEG_FILE };

struct mc_seg {
    struct mc_seg *next;
    enum mc_seg_kind kind;
    /* MEM: the segment is the head of a MC_BLOCK_LARGE block; bytes are [pos, last), room is [last, end). */
    unsigned char *pos, *last, *end;
    /* FILE */
    struct mc_file *file;
    off_t off, len;
};

struct mc_chain {
    struct mc_seg *head, *tail;
    size_t mem;  /* bytes in memory segments */
    off_t total; /* all bytes */
};

static inline bool mc_chain_empty(const struct mc_chain *c) { return c->total == 0; }
void mc_chain_init(struct mc_chain *c);
void mc_chain_fini(struct mc_chain *c); /* frees what is left; the chain is empty afterwards */

/* Append a copy. MC_OK or MC_ERROR (out of memory: nothing or a part was appended; the caller gives the chain up). */
int mc_chain_add(struct mc_chain *c, const void *p, size_t n);
/* At least n contiguous free bytes at the tail (n <= 16000), NULL when out of memory; then commit what was written. */
unsigned char *mc_chain_reserve(struct mc_chain *c, size_t n);
void mc_chain_commit(struct mc_chain *c, size_t n);
/* Append len bytes of a file at off; takes its own reference. Merges with a tail segment of the same file that ends at off. */
int mc_chain_add_file(struct mc_chain *c, struct mc_file *f, off_t off, off_t len);
/* Move all of src to the end of dst; src is empty afterwards. */
void mc_chain_move(struct mc_chain *dst, struct mc_chain *src);
/* Move the first n bytes (n <= src->total) to the end of dst: blocks that are wholly among them without a copy. MC_OK, or MC_ERROR (out of memory): give both up. */
int mc_chain_take(struct mc_chain *dst, struct mc_chain *src, off_t n);

/* The leading memory segments as iovecs (stops before a file segment); returns the count, 0 when the head is a file or nothing. */
int mc_chain_iov(const struct mc_chain *c, struct iovec *iov, int max);
/* Drop n bytes from the front (n <= total); frees passed segments. */
void mc_chain_consume(struct mc_chain *c, off_t n);

#endif
