/* A worker's slot of the scoreboard (shared memory): written by its worker, read by everyone, values only. Readers bound-check all. */
#ifndef MC_SERVER_SLOT_H
#define MC_SERVER_SLOT_H

#include "core/base/base.h"

#include <stdatomic.h>

enum mc_slot_state { MC_SLOT_EMPTY, MC_SLOT_STARTING, MC_SLOT_IDLE, MC_SLOT_BUSY, MC_SLOT_DRAINING, MC_SLOT_STATES };

enum { MC_SLOT_TEXT = 256, MC_SLOT_BUCKETS = 16 /* request time: bucket i counts times < 2^i ms, the last one all others */ };

struct mc_slot {
    uint32_t magic;
    uint32_t index;
    _Atomic int32_t pid;
    _Atomic uint32_t generation, pool;
    _Atomic uint32_t state;             /* enum mc_slot_state */
    _Atomic uint64_t started_ms;        /* fork asked for (arbiter) */
    _Atomic uint64_t beat_ms;           /* the loop's last turn; the arbiter sets it at fork: `timeout` counts from there */
    _Atomic uint64_t busy_since_ms;     /* 0 = not in an app */
    _Atomic uint64_t accepted, requests, connections; /* connections: open now */
    _Atomic uint64_t status[6];         /* responses by class; [0] aborted */
    _Atomic uint64_t bytes_in, bytes_out;
    _Atomic uint64_t latency[MC_SLOT_BUCKETS];
    char busy[MC_SLOT_TEXT];            /* request line being handled, escaped, NUL-terminated; torn reads are harmless */
    _Atomic uint64_t tls_handshakes, tls_resumed, tls_failed; /* done, those of them that resumed a session, and given up */
    _Atomic uint32_t alone;             /* the only worker of its pool (arbiter): it has nobody to leave connections to */
    _Atomic uint32_t ending;            /* the server stops, or will soon (arbiter, shutdown_delay) */
    _Atomic uint32_t running;           /* blocking requests in their handlers now */
    _Atomic uint32_t places;            /* how many may at once; 0: none are run here */
    _Atomic uint32_t queued;            /* those that wait in this worker for a place */
    _Atomic uint32_t idle;              /* of the connections: between requests, in a handshake or with half a head */
    _Atomic uint32_t load;              /* processor time of the last second, thousandths of one processor */
    _Atomic uint64_t cpu_us, rss;       /* processor time of this life; resident bytes, as of a second ago at most while its loop turns */
    _Atomic uint64_t spent_us;          /* of all requests together, as `latency` counts them */
} __attribute__((aligned(64)));

/* Single writer: relaxed load + store, no locked instruction on the hot path. */
#define mc_slot_add(field, v) atomic_store_explicit(&(field), atomic_load_explicit(&(field), memory_order_relaxed) + (uint64_t) (v), memory_order_relaxed)
#define mc_slot_set(field, v) atomic_store_explicit(&(field), (v), memory_order_relaxed)
#define mc_slot_get(field) atomic_load_explicit(&(field), memory_order_relaxed)

#endif
