/* The side of the timers that only the loop calls. */
#ifndef MC_EVENT_TIMER_H
#define MC_EVENT_TIMER_H

#include "core/event/loop.h"

/* Fire what is due at l->now. Callbacks may set, clear or remove any timer. */
void mc_timer_run_due(struct mc_loop *l);

#endif
