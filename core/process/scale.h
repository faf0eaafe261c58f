/* How many workers a pool wants when its number follows the load: pure functions of samples and times (ms, monotonic). */
#ifndef MC_PROCESS_SCALE_H
#define MC_PROCESS_SCALE_H

#include "core/base/base.h"

enum {
    MC_SCALE_EVERY_MS = 200,
    MC_SCALE_WINDOW = 25,     /* samples: 5 s */
    MC_SCALE_WAITED = 5,      /* somebody waits in so many in a row: 1 s */
    MC_SCALE_BUSY = 800,      /* thousandths: one more when they are so busy over the window… */
    MC_SCALE_WAITED_BUSY = 500, /* …or this busy while somebody waits */
    MC_SCALE_CALM = 500,      /* one fewer when the others would not be busier than this */
    MC_SCALE_GAP_MS = 2000    /* older samples say nothing any more */
};

/* A pool's ready workers at one moment. */
struct mc_scale_sample {
    unsigned busy;    /* mean, thousandths of what they can do at once */
    unsigned waiting; /* requests and connections that wait for them */
};

struct mc_scale {
    unsigned min, max; /* min < max, or it is fixed */
    uint64_t calm_for; /* ms that it must have been calm before one leaves */
    uint16_t busy[MC_SCALE_WINDOW];
    unsigned n, at;    /* samples in the window, where the next one goes */
    unsigned waited;   /* samples in a row in which somebody waited */
    uint64_t last_ms;  /* of the last sample */
    uint64_t calm_ms;  /* since when one fewer would do; 0: it would not */
};

enum mc_scale_why {
    MC_SCALE_STAY,
    MC_SCALE_MIN,     /* one more: they are fewer than min */
    MC_SCALE_WAITING, /* one more: somebody waits all the time */
    MC_SCALE_LOAD,    /* one more: they are busy */
    MC_SCALE_SPARE,   /* one fewer */
};

/* Take a sample. */
void mc_scale_note(struct mc_scale *s, const struct mc_scale_sample *sample, uint64_t now);
/* Nothing that was seen counts any more: there are other workers now. */
void mc_scale_forget(struct mc_scale *s);
/* Mean of the last n samples, thousandths. */
unsigned mc_scale_busy(const struct mc_scale *s, unsigned n);
/* What is to change, by one: settled: all that are wanted are there and ready, and nobody is on his way; idle: one of them has nothing to do.
 * A decision to change forgets what led to it. */
enum mc_scale_why mc_scale_decide(struct mc_scale *s, unsigned wanted, bool settled, bool idle, uint64_t now);
/* The share, thousandths, below which `wanted` workers are calm. */
unsigned mc_scale_calm(unsigned wanted);
/* TTIN and TTOU have led to this number: a bound that it has passed goes along. */
void mc_scale_moved(struct mc_scale *s, unsigned wanted);

#endif
