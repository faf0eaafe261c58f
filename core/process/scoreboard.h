/* The scoreboard: one piece of shared memory that tells what the server does. Its front part is the arbiter's (head, pools, lives of workers), the
 * slots behind it are each its worker's own. Made by the arbiter, mapped by every child, read by monoceros --status. Values only. Children could
 * write anywhere, so a reader checks bounds and prints texts through mc_scoreboard_text(); the arbiter reads none of its own part back, and
 * writes it anew on each of its turns. */
#ifndef MC_PROCESS_SCOREBOARD_H
#define MC_PROCESS_SCOREBOARD_H

#include "core/os/shm.h"
#include "core/server/slot.h"

#define MC_BOARD_MEMFD "monoceros-board" /* its name among the arbiter's descriptors */

enum {
    MC_BOARD_SLOTS = 1024,
    MC_BOARD_POOLS = 64, /* pools that are counted; further ones have no record */
    MC_BOARD_NAME = 64,
    MC_BOARD_LINE = 256,
    MC_BOARD_BUSY_TEXT = MC_SLOT_TEXT + 1
};

/* Why a worker that had been ready was followed by another. */
enum mc_restart {
    MC_RESTART_MAX_REQUESTS,
    MC_RESTART_MAX_RSS,
    MC_RESTART_MAX_LIFETIME,
    MC_RESTART_REQUEST_TIMEOUT,
    MC_RESTART_TIMEOUT,
    MC_RESTART_CRASH,  /* a signal of its own making: SIGSEGV, SIGABRT, … */
    MC_RESTART_EXIT,   /* it left by itself, with any code */
    MC_RESTART_KILLED, /* a signal of somebody else: SIGKILL, SIGTERM, … */
    MC_RESTART_RELOAD,
    MC_RESTART_SCALING, /* one fewer was wanted */
    MC_RESTARTS
};
/* "max_requests"; "other" out of range. */
const char *mc_scoreboard_restart(unsigned reason);

/* What workers count, in sum. */
struct mc_board_sums {
    uint64_t accepted, requests, status[6], bytes_in, bytes_out, latency[MC_SLOT_BUCKETS], spent_us, cpu_us;
    uint64_t tls_handshakes, tls_resumed, tls_failed;
};

/* A pool by its name, over all generations. */
struct mc_board_pool {
    char name[MC_BOARD_NAME], worker[16]; /* name[0] == NUL: a free record; worker: "gthread" */
    uint32_t generation;
    uint32_t wanted, min, max;  /* min == max: no automatic scaling */
    uint32_t load, waiting;     /* of what scaling looks at: busy share of late, thousandths; requests and connections that wait */
    uint32_t failing;           /* births that failed in a row */
    int32_t zygote;             /* pid; 0: none */
    uint64_t retry_ms;          /* no birth before */
    uint64_t births, births_failed, restarts[MC_RESTARTS];
    struct mc_board_sums past;  /* of workers that are gone */
};

enum mc_board_life { MC_BOARD_NONE, MC_BOARD_STARTING, MC_BOARD_READY, MC_BOARD_DRAINING, MC_BOARD_LIVES };

/* The arbiter's view of the worker in the slot of the same number. */
struct mc_board_kid {
    uint32_t life; /* enum mc_board_life */
    int32_t pid;   /* 0: not known yet */
    uint32_t pool, generation;
    uint64_t started_ms, ready_ms; /* ready_ms 0: has not been ready */
    uint32_t recycling;            /* 1 + enum mc_restart: it is to be replaced for that; 0: it is not */
    uint32_t reserved;
};

enum mc_board_reload { MC_BOARD_STEADY, MC_BOARD_LOADING, MC_BOARD_PROVING, MC_BOARD_ROLLING, MC_BOARD_RELOADS };

struct mc_board_head {
    /* These never move, so that any build can refuse the board of any other. */
    uint32_t magic, version;
    char build[32]; /* version of the program */
    /* Sizes of the parts, as a further check. */
    uint32_t head_size, pool_size, kid_size, slot_size, nslots, slots_at;
    int32_t pid; /* the arbiter */
    uint32_t stopping;
    uint32_t generation, fresh;   /* the one that serves, the one that is to follow it (0: none) */
    uint32_t reload;              /* enum mc_board_reload */
    uint32_t reloads, reloads_failed;
    uint32_t reserved;
    uint64_t start_ms, turn_ms;   /* monotonic: its start and its last turn */
    int64_t start_time, failed_time, reload_time; /* real time, s; of the last failed and the last good reload; 0: none */
    char failure[MC_BOARD_LINE];  /* of the last failed reload, one line */
    char name[MC_BOARD_NAME];     /* as in the titles of the processes */
    char listening[MC_BOARD_LINE];
};

struct mc_board {
    struct mc_shm shm;
    struct mc_board_head *head;
    struct mc_board_pool *pools; /* MC_BOARD_POOLS */
    struct mc_board_kid *kids;   /* n */
    struct mc_slot *slots;
    unsigned n;
};

/* fd of the memfd: board->shm.fd. MC_OK or MC_ERROR with errno. */
int mc_scoreboard_create(struct mc_board *b, unsigned slots);
/* Map an inherited one; checks its head against its size. */
int mc_scoreboard_open(struct mc_board *b, int fd);
/* The same over bytes of the caller's, which must be aligned to 64. MC_ERROR: they are no board of this build; mc_scoreboard_build() may say of which. */
int mc_scoreboard_parse(struct mc_board *b, void *bytes, size_t n);
/* The version that made the board in these bytes, made safe to print into out; "" when they are no board at all. */
const char *mc_scoreboard_build(const void *bytes, size_t n, char out[32]);
void mc_scoreboard_close(struct mc_board *b);
/* NULL when there is no such slot. */
struct mc_slot *mc_scoreboard_slot(struct mc_board *b, unsigned index);
/* Begin a new life of a slot (arbiter, before the birth) and end it (after the death). */
void mc_scoreboard_begin(struct mc_slot *s, unsigned index, unsigned pool, unsigned generation, uint64_t now);
void mc_scoreboard_end(struct mc_slot *s);
/* A text that others wrote, made safe to print: at most n bytes of `in`, at most cap - 1 of them, printable ASCII only. Returns out. */
const char *mc_scoreboard_text(const volatile char *in, size_t n, char *out, size_t cap);
/* What the worker says that it is doing; "" for nothing. */
const char *mc_scoreboard_busy(const struct mc_slot *s, char out[MC_BOARD_BUSY_TEXT]);
/* Add what a slot counts; a number that none can have reached counts nothing. */
void mc_scoreboard_add(struct mc_board_sums *sums, const struct mc_slot *s);
/* Add one sum to another. */
void mc_scoreboard_sum(struct mc_board_sums *to, const struct mc_board_sums *from);
/* The time, ms, within which this share (0 to 1) of the requests was answered, estimated from the buckets; -1: there was none. */
double mc_scoreboard_quantile(const uint64_t latency[MC_SLOT_BUCKETS], double share);

#endif
