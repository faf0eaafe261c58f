/* The arbiter's decisions: how many workers, when a birth is tried again, who is silent, what an end means.
 * Owns nothing and calls nothing: numbers in, a decision out. Called by the arbiter; tests feed it any clock. */
#include "core/process/policy.h"

#include <signal.h>

uint64_t mc_policy_delay(unsigned failures)
{
    if (failures == 0)
        return 0;
    unsigned doublings = failures - 1 < 16 ? failures - 1 : 16;
    uint64_t ms = (uint64_t)MC_POLICY_FIRST_MS << doublings;
    return ms < MC_POLICY_LAST_MS ? ms : MC_POLICY_LAST_MS;
}

void mc_policy_failed(struct mc_policy_births *b, uint64_t now)
{
    b->probing = true;
    if (b->failures > 0 && now < b->next_ms)
        return;
    if (b->failures > 0 && now > b->last_ms + 10000 + 2 * mc_policy_delay(b->failures))
        b->failures = 0;
    b->failures++;
    b->last_ms = now;
    b->next_ms = now + mc_policy_delay(b->failures);
}

bool mc_policy_proved(uint64_t ready_for_ms, bool served)
{
    return served || ready_for_ms >= MC_POLICY_EARLY_MS;
}

void mc_policy_healed(struct mc_policy_births *b)
{
    b->probing = false;
    b->next_ms = 0;
}

unsigned mc_policy_births(const struct mc_policy_births *b, unsigned wanted, unsigned live, unsigned unproved, uint64_t now)
{
    if (live >= wanted || now < b->next_ms)
        return 0;
    if (!b->probing)
        return wanted - live;
    return unproved == 0 ? 1 : 0;
}

unsigned mc_policy_wanted(unsigned wanted, int change, unsigned max)
{
    if (change < 0)
        return wanted > 1 ? wanted - 1 : 1;
    return wanted < max ? wanted + 1 : max;
}

static uint64_t latest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

enum mc_policy_verdict mc_policy_watch(const struct mc_policy_watch *w, uint64_t now, uint64_t *next)
{
    if (w->aborted_ms) {
        uint64_t due = w->aborted_ms + MC_POLICY_ABRT_MS;
        if (now >= due)
            return MC_VERDICT_KILL;
        if (due < *next)
            *next = due;
        return MC_VERDICT_WAIT;
    }
    if (w->busy_ms && w->request_ms) {
        uint64_t due = latest(w->busy_ms < now ? w->busy_ms : now, w->awake_ms) + w->request_ms;
        if (now > due)
            return MC_VERDICT_ABORT_REQUEST;
        if (due + 1 < *next)
            *next = due + 1;
    }
    if (w->limit_ms == 0)
        return MC_VERDICT_WAIT;
    /* A beat from the future says no more than one of this moment. */
    uint64_t beat = w->beat_ms < now ? w->beat_ms : now;
    uint64_t due = latest(latest(beat, w->started_ms), w->awake_ms) + w->limit_ms;
    if (now > due)
        return MC_VERDICT_ABORT;
    if (due + 1 < *next)
        *next = due + 1;
    return MC_VERDICT_WAIT;
}

/* Signals that somebody sends from outside say nothing about the app. */
static bool from_outside(int signal)
{
    return signal == SIGKILL || signal == SIGTERM || signal == SIGINT || signal == SIGQUIT || signal == SIGHUP;
}

enum mc_policy_next mc_policy_ended(const struct mc_policy_end *e, int *code)
{
    if (e->asked)
        return MC_NEXT_REPLACE;
    if (e->ready && (!e->failed || e->pool_ready)) { /* a hook of the zygote may say no to the start */
        bool early = !mc_policy_proved(e->ready_for_ms, e->served);
        return early && !from_outside(e->signal) ? MC_NEXT_BACKOFF : MC_NEXT_REPLACE;
    }
    if (e->pool_ready || e->timeout || from_outside(e->signal))
        return MC_NEXT_BACKOFF;
    /* Only who says so lacks something of the environment: a bare exit(1) inside an app is a boot failure. */
    int why = e->failed ? e->failed : e->code;
    *code = why == MC_EXIT_APP || (e->failed && why == MC_EXIT_FAIL) ? why : MC_EXIT_BOOT;
    return MC_NEXT_HALT;
}

bool mc_policy_steady(uint64_t ready_for_ms, bool served)
{
    return served || ready_for_ms >= MC_POLICY_STEADY_MS;
}

bool mc_policy_discard(const struct mc_policy_end *e, unsigned failures)
{
    int code;
    struct mc_policy_end first = *e;
    first.pool_ready = false;
    return e->timeout || failures >= MC_POLICY_TRIES || mc_policy_ended(&first, &code) == MC_NEXT_HALT;
}

static unsigned above(unsigned a, unsigned b)
{
    return a > b ? a - b : 0;
}

unsigned mc_policy_roll_births(const struct mc_policy_roll *r)
{
    unsigned missing = above(r->wanted, r->live), room = above(r->wanted + r->surge, r->live + r->old_live);
    return missing < room ? missing : room;
}

unsigned mc_policy_roll_retire(const struct mc_policy_roll *r)
{
    unsigned idle = r->old_live - r->old_ready; /* they serve nobody yet */
    unsigned spare = above(r->ready + r->old_ready, r->wanted);
    return idle + (spare < r->old_ready ? spare : r->old_ready);
}

bool mc_policy_again(const struct mc_policy_again *w)
{
    if (w->loading)
        return false; /* it has a limit of its own */
    return w->for_ms >= MC_POLICY_PATIENCE_MS || (!w->proving && !w->rolling && !w->unproved && !w->draining);
}
