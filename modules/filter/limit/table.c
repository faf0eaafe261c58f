/* The tables of filter/limit. Every step is one atomic operation on one word, so a worker that dies between two of them leaves nothing locked: at worst
 * one bucket forgets, or one count is found to have no owner any more. Called on the loop of each worker. */
#include "modules/filter/limit/table.h"

enum { WINDOW = 16, COUNT_WINDOW = 64, EXCESS_BITS = 24 };
#define EXCESS_MAX ((1u << EXCESS_BITS) - 1)
#define TIME_MASK ((UINT64_C(1) << (64 - EXCESS_BITS)) - 1)

void mc_limit_table_open(struct mc_limit_table *t, void *memory, size_t n)
{
    MC_ASSERT(n >= MC_LIMIT_MEMORY_MIN);
    t->nbuckets = n / 2 / sizeof *t->buckets;
    t->buckets = memory;
    t->counts = (void *) (t->buckets + t->nbuckets);
    t->ncounts = (n - t->nbuckets * sizeof *t->buckets) / sizeof *t->counts;
}

/* ---- rates */

static uint64_t pack(uint64_t now, uint64_t excess)
{
    return (now & TIME_MASK) << EXCESS_BITS | excess;
}

/* Thousandths of a request that have not leaked yet. */
static uint64_t left(uint64_t state, const struct mc_limit_rate *rate, uint64_t now)
{
    uint64_t excess = state & EXCESS_MAX, then = state >> EXCESS_BITS, elapsed = (now - then) & TIME_MASK;
    if (elapsed > TIME_MASK / 2) {
        elapsed = 0; /* another processor's clock is ahead */
    }
    if (elapsed > UINT32_MAX) {
        return 0;
    }
    uint64_t leaked = elapsed * rate->count * 1000 / rate->period;
    return leaked < excess ? excess - leaked : 0;
}

/* The bucket of this key; the one that rested longest is given up for a new key. */
static struct mc_limit_bucket *find_bucket(struct mc_limit_table *t, uint64_t key, uint64_t now)
{
    struct mc_limit_bucket *first = &t->buckets[key % (t->nbuckets - WINDOW)];
    for (;;) {
        struct mc_limit_bucket *oldest = NULL;
        uint64_t longest = 0;
        for (int i = 0; i < WINDOW; i++) {
            struct mc_limit_bucket *b = &first[i];
            uint64_t k = atomic_load(&b->key);
            if (k == key) {
                return b;
            }
            uint64_t rested = k == 0 ? UINT64_MAX : (now - (atomic_load(&b->state) >> EXCESS_BITS)) & TIME_MASK;
            rested = k != 0 && rested > TIME_MASK / 2 ? 0 : rested;
            if (oldest == NULL || rested > longest) {
                oldest = b;
                longest = rested;
            }
        }
        uint64_t old = atomic_load(&oldest->key);
        atomic_store(&oldest->state, pack(now, 0)); /* before the key: nobody shall inherit another's excess */
        if (atomic_compare_exchange_strong(&oldest->key, &old, key) || old == key) {
            return oldest;
        }
    }
}

int mc_limit_rate(struct mc_limit_table *t, uint64_t key, const struct mc_limit_rate *rate, uint64_t now, uint64_t *wait)
{
    key = key ? key : 1;
    struct mc_limit_bucket *b = find_bucket(t, key, now);
    uint64_t state = atomic_load(&b->state), most = rate->burst * 1000;
    for (;;) {
        uint64_t excess = left(state, rate, now);
        if (excess > most) {
            *wait = ((excess - most) * rate->period + rate->count * 1000 - 1) / (rate->count * 1000);
            return MC_DECLINED;
        }
        *wait = excess * rate->period / (rate->count * 1000);
        if (atomic_compare_exchange_weak(&b->state, &state, pack(now, excess + 1000))) {
            return MC_OK;
        }
    }
}

/* ---- requests at the same time */

/* Make a count ours whose owner has left without a word, or that has none. */
static bool take(struct mc_limit_count *c, uint64_t owner, const struct mc_limit_owner *me)
{
    if (owner != 0 && (owner == me->id || me->alive(owner, me->data))) {
        return false;
    }
    if (!atomic_compare_exchange_strong(&c->owner, &owner, me->id)) {
        return false;
    }
    atomic_store(&c->key, 0);
    atomic_store(&c->n, 0);
    return true;
}

static struct mc_limit_count *window(struct mc_limit_table *t, uint64_t key)
{
    return &t->counts[key % (t->ncounts - COUNT_WINDOW)];
}

/* Of all workers; those that are gone are cleared away when `clear`. */
static uint64_t sum(struct mc_limit_count *first, uint64_t key, const struct mc_limit_owner *me, bool clear)
{
    uint64_t n = 0;
    for (int i = 0; i < COUNT_WINDOW; i++) {
        struct mc_limit_count *c = &first[i];
        uint64_t owner = atomic_load(&c->owner);
        if (owner == 0 || atomic_load(&c->key) != key) {
            continue;
        }
        if (clear && take(c, owner, me)) {
            atomic_store(&c->owner, 0);
            continue;
        }
        n += atomic_load(&c->n);
    }
    return n;
}

static struct mc_limit_count *find_count(struct mc_limit_count *first, uint64_t key, const struct mc_limit_owner *me)
{
    for (int i = 0; i < COUNT_WINDOW; i++) {
        if (atomic_load(&first[i].owner) == me->id && atomic_load(&first[i].key) == key) {
            return &first[i];
        }
    }
    for (int dead = 0; dead < 2; dead++) { /* free ones first: to ask who is alive costs more */
        for (int i = 0; i < COUNT_WINDOW; i++) {
            uint64_t owner = atomic_load(&first[i].owner);
            if ((dead || owner == 0) && take(&first[i], owner, me)) {
                atomic_store(&first[i].key, key);
                return &first[i];
            }
        }
    }
    return NULL;
}

struct mc_limit_count *mc_limit_enter(struct mc_limit_table *t, uint64_t key, uint64_t most, const struct mc_limit_owner *me, bool *full)
{
    key = key ? key : 1;
    struct mc_limit_count *first = window(t, key), *mine = find_count(first, key, me);
    *full = mine == NULL;
    if (mine == NULL) {
        return NULL;
    }
    atomic_fetch_add(&mine->n, 1); /* first counted, then looked at: two workers cannot both take the last place */
    if (sum(first, key, me, false) <= most || sum(first, key, me, true) <= most) {
        return mine;
    }
    mc_limit_leave(mine);
    return NULL;
}

void mc_limit_leave(struct mc_limit_count *c)
{
    if (atomic_fetch_sub(&c->n, 1) == 1) {
        atomic_store(&c->key, 0);
        atomic_store(&c->owner, 0);
    }
}
