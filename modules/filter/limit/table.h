/* Counts in shared memory: leaky buckets and requests in work, by a hash of the key. Lock-free. Private to filter/limit. */
#ifndef MC_FILTER_LIMIT_TABLE_H
#define MC_FILTER_LIMIT_TABLE_H

#include "core/base/base.h"

#include <stdatomic.h>

/* key 0: free. state: ms of the last change in the upper 40 bits, what has not leaked yet in the lower 24 (thousandths of a request). */
struct mc_limit_bucket {
    _Atomic uint64_t key, state;
};

/* One worker's count for a key. owner 0: free; else pid << 32 | slot of the scoreboard, and only that worker changes key and count. */
struct mc_limit_count {
    _Atomic uint64_t key, owner;
    _Atomic uint64_t n;
};

struct mc_limit_table {
    struct mc_limit_bucket *buckets;
    size_t nbuckets;
    struct mc_limit_count *counts;
    size_t ncounts;
};

struct mc_limit_rate {
    uint64_t count, period; /* so many requests in so many ms */
    uint64_t burst;
};

enum { MC_LIMIT_BURST_MAX = 16000, MC_LIMIT_MEMORY_MIN = 16384 };

/* Lay the tables over so many bytes (8-byte aligned). */
void mc_limit_table_open(struct mc_limit_table *t, void *memory, size_t n);

/* One request more at `now` (ms). MC_OK: *wait is how long it must wait for its turn (ms, 0: it need not); MC_DECLINED: too many, and *wait is how long until one
 * would pass. */
int mc_limit_rate(struct mc_limit_table *t, uint64_t key, const struct mc_limit_rate *rate, uint64_t now, uint64_t *wait);

struct mc_limit_owner {
    uint64_t id;
    bool (*alive)(uint64_t id, void *data); /* is that worker there? */
    void *data;
};
/* One request more at the same time. The count to give back with mc_limit_leave(), or NULL: there are `most` already, or (*full) the table has no room. */
struct mc_limit_count *mc_limit_enter(struct mc_limit_table *t, uint64_t key, uint64_t most, const struct mc_limit_owner *me, bool *full);
void mc_limit_leave(struct mc_limit_count *c);

#endif
