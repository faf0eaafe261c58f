/* monoceros --status: a copy of a running server's scoreboard, judged and shown. Runs in a process of its own; may be root. */
#ifndef MC_PROCESS_STATUS_H
#define MC_PROCESS_STATUS_H

#include "core/base/str.h"
#include "core/process/scoreboard.h"

struct mc_conf;

enum { MC_STATUS_RUNNING = 0, MC_STATUS_STOPPED = 3, MC_STATUS_UNKNOWN = 4 }; /* exit codes, those of LSB init scripts */

/* A copy: nobody else writes to it. Every number in it is still what others wrote. */
struct mc_status {
    struct mc_board board;
    pid_t pid;
    uint64_t now_ms; /* monotonic, when it was made */
    int64_t now;     /* real time, s */
};

/* What one worker does, out of bounds-checked values. */
struct mc_status_worker {
    const struct mc_board_kid *kid;
    const struct mc_slot *slot;
    const struct mc_board_pool *pool; /* NULL: unknown */
    char pool_name[MC_BOARD_NAME], busy[MC_BOARD_BUSY_TEXT];
    const char *state;      /* starting, ready, busy, draining */
    uint64_t age_ms, beat_ms, busy_ms; /* ago; busy_ms 0: it is in no request */
    unsigned requests_running, requests_queued, connections, idle;
};

/* All of --status: finds the server, prints, says on stderr what is wrong. Returns the exit code. */
int mc_status_run(const struct mc_conf *conf);

/* Copy the board of the arbiter with this pid. An exit code; other than MC_STATUS_RUNNING with a line in err. Free with mc_status_free(). */
int mc_status_read(struct mc_status *s, pid_t pid, char *err, size_t errcap);
void mc_status_free(struct mc_status *s);
/* The workers, by pool, generation and age: malloc'ed, their number in *n. NULL: no memory. */
struct mc_status_worker *mc_status_workers(const struct mc_status *s, size_t *n);
/* What a pool's workers count, the living and those that are gone. */
void mc_status_sums(const struct mc_status *s, unsigned pool, struct mc_board_sums *out);

/* A table of at most so many columns (0: any), with or without colour. */
void mc_status_table(const struct mc_status *s, unsigned width, bool colour, struct mc_sb *out);
/* The keys stand in docs/operations.md. */
void mc_status_json(const struct mc_status *s, struct mc_sb *out);

#endif
