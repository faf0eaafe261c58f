/* What the arbiter decides, apart from how it does it: pure functions of numbers and times (ms, monotonic). */
#ifndef MC_PROCESS_POLICY_H
#define MC_PROCESS_POLICY_H

#include "core/base/base.h"

enum {
    MC_POLICY_FIRST_MS = 100,    /* wait after the first failed birth, doubled by each further one… */
    MC_POLICY_LAST_MS = 8000,    /* …up to this */
    MC_POLICY_EARLY_MS = 1000,   /* who ends within this time of being ready, without a request, did not really start */
    MC_POLICY_ABRT_MS = 1000,    /* between SIGABRT and SIGKILL of a silent worker */
    MC_POLICY_ZYGOTE_MS = 60000, /* least time that a zygote gets to import a preloaded app */
    MC_POLICY_STEADY_MS = 100,   /* so long must the first worker of a new generation live to prove it, when no request comes */
    MC_POLICY_TRIES = 3,         /* failed births that a new generation may have before it has proved itself */
    MC_POLICY_PATIENCE_MS = 60000, /* a reload that is not through after this time does not hold up the next one */
    MC_POLICY_QUICK_MS = 2000,   /* a quick stop gives workers this long */
    MC_POLICY_GRACE_MS = 500,    /* what the arbiter adds to graceful_timeout: the worker's own limit comes first */
    MC_POLICY_REQUEST_MS = 2500, /* the same for request_timeout, where the worker's loop goes on beside its requests and looks once a second */
};

/* Births of one pool: how they went of late. Zero it for a new generation. */
struct mc_policy_births {
    unsigned failures;         /* in a row */
    uint64_t last_ms, next_ms; /* last failure; no birth before next_ms */
    bool probing;              /* one at a time, until one has proved itself */
};

uint64_t mc_policy_delay(unsigned failures);
/* A birth failed. Failures of one burst (before next_ms) count once; old ones are forgotten. */
void mc_policy_failed(struct mc_policy_births *b, uint64_t now);
/* Has a worker that has been ready for so long shown that births succeed? */
bool mc_policy_proved(uint64_t ready_for_ms, bool served);
/* One has: the others need not wait. */
void mc_policy_healed(struct mc_policy_births *b);
/* How many to start now; `live` does not count those that leave, `unproved` are the live ones of which nobody knows yet. */
unsigned mc_policy_births(const struct mc_policy_births *b, unsigned wanted, unsigned live, unsigned unproved, uint64_t now);
/* The wanted count after TTIN (+1) or TTOU (-1): at least 1, at most max. */
unsigned mc_policy_wanted(unsigned wanted, int change, unsigned max);

enum mc_policy_verdict { MC_VERDICT_WAIT, MC_VERDICT_ABORT, MC_VERDICT_ABORT_REQUEST /* one request takes too long */, MC_VERDICT_KILL };

struct mc_policy_watch {
    uint64_t beat_ms;    /* of shared memory: not trusted */
    uint64_t started_ms; /* own record */
    uint64_t awake_ms;   /* the arbiter itself stood still until then (stopped, suspended): nobody is to blame for before */
    uint64_t limit_ms;   /* 0: none */
    uint64_t busy_ms;    /* since when its oldest request runs; of shared memory; 0: there is none */
    uint64_t request_ms; /* how long one may; 0: for ever */
    uint64_t aborted_ms; /* when SIGABRT was sent; 0: not yet */
};
/* *next is lowered to the time of the next look. */
enum mc_policy_verdict mc_policy_watch(const struct mc_policy_watch *w, uint64_t now, uint64_t *next);

struct mc_policy_end {
    bool asked;   /* we told it to leave */
    bool timeout; /* we killed it because it was silent */
    bool ready;   /* it had been ready… */
    uint64_t ready_for_ms;
    bool served;     /* …and had had a request */
    bool pool_ready; /* some worker of the generation had been ready */
    int code;        /* exit code, or */
    int signal;      /* signal */
    int failed;      /* code of its MC_MSG_FAILED, or 0 */
};
enum mc_policy_next {
    MC_NEXT_REPLACE, /* a healthy end: at once */
    MC_NEXT_BACKOFF, /* a failed birth */
    MC_NEXT_HALT,    /* the first start failed: stop everything */
};
/* *code is the arbiter's exit code for MC_NEXT_HALT. */
enum mc_policy_next mc_policy_ended(const struct mc_policy_end *e, int *code);

/* ---- reload: a fresh generation proves itself, then workers are exchanged, pool by pool ---- */

/* Is it shown that workers of a fresh generation live? One of each pool must. */
bool mc_policy_steady(uint64_t ready_for_ms, bool served);

/* A birth of a fresh generation came to nothing: is the generation to be given up? `failures` counts this one, too. */
bool mc_policy_discard(const struct mc_policy_end *e, unsigned failures);

struct mc_policy_roll {
    unsigned wanted, surge; /* of the new pool; surge: how many more may live meanwhile */
    unsigned live, ready;   /* new workers; the live ones are those not told to leave */
    unsigned old_live, old_ready;
};
/* How many new ones may be started, at most. */
unsigned mc_policy_roll_births(const struct mc_policy_roll *r);
/* How many old ones may be told to leave: those that are ready never become fewer than is wanted. */
unsigned mc_policy_roll_retire(const struct mc_policy_roll *r);

struct mc_policy_again {
    bool loading, proving, rolling; /* what the reload before is at; none: there is none */
    bool unproved;                  /* the generation that serves has still pools without a worker that was ever ready */
    bool draining;                  /* older generations have workers that leave, and these have a limit */
    uint64_t for_ms;                /* since when this is so */
};
/* May the next reload begin? */
bool mc_policy_again(const struct mc_policy_again *w);

#endif
