/* The scoreboard: a head and one slot a worker in shared memory, made by the arbiter, mapped by every child. */
#ifndef MC_PROCESS_SCOREBOARD_H
#define MC_PROCESS_SCOREBOARD_H

#include "core/os/shm.h"
#include "core/server/slot.h"

enum { MC_BOARD_SLOTS = 1024, MC_BOARD_BUSY_TEXT = MC_SLOT_TEXT + 1 };

struct mc_board {
    struct mc_shm shm;
    struct mc_slot *slots;
    unsigned n;
};

/* fd of the memfd: board->shm.fd. MC_OK or MC_ERROR with errno. */
int mc_scoreboard_create(struct mc_board *b, unsigned slots);
/* Map an inherited one; checks its head against its size. */
int mc_scoreboard_open(struct mc_board *b, int fd);
void mc_scoreboard_close(struct mc_board *b);
/* NULL when there is no such slot. */
struct mc_slot *mc_scoreboard_slot(struct mc_board *b, unsigned index);
/* Begin a new life of a slot (arbiter, before the birth) and end it (after the death). */
void mc_scoreboard_begin(struct mc_slot *s, unsigned index, unsigned pool, unsigned generation, uint64_t now);
void mc_scoreboard_end(struct mc_slot *s);
/* What the worker says that it is doing, made safe to print: bounded, printable bytes only; "" for nothing. */
const char *mc_scoreboard_busy(const struct mc_slot *s, char out[MC_BOARD_BUSY_TEXT]);

#endif
