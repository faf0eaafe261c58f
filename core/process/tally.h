/* What the arbiter tells of itself, its pools and its workers: counted in its own memory, copied to the scoreboard on each turn, so that nothing
 * that a child writes there lasts or is believed. Arbiter side. */
#ifndef MC_PROCESS_TALLY_H
#define MC_PROCESS_TALLY_H

#include "core/process/scoreboard.h"

struct mc_arbiter;
struct mc_kid;
struct mc_tally;

/* For a board that was just made. NULL: no memory. Free with free(). */
struct mc_tally *mc_tally_new(const struct mc_board *b);
/* The addresses, as the log has them. */
void mc_tally_listening(struct mc_arbiter *a, const char *text);
/* A worker's birth has begun; it has ended (before its record is forgotten; status as of waitpid, or -1: it was never born). */
void mc_tally_born(struct mc_kid *k);
void mc_tally_ended(struct mc_kid *k, int status);
/* What a worker gives as its reason to be replaced; of a child: any other text is MC_RESTART_EXIT. */
enum mc_restart mc_tally_reason(const char *text);
/* A reload has failed (why: one line), or is through. */
void mc_tally_reload(struct mc_arbiter *a, const char *failure);
/* All of it to the scoreboard. On each turn. */
void mc_tally_publish(struct mc_arbiter *a);

#endif
