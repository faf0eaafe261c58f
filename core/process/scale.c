/* Automatic scaling: when one worker more is worth it, and when one fewer will do. Quick to grow (a second of waiting, five of load), slow to shrink,
 * and the two never meet: who shrinks keeps well below what makes it grow. Owns nothing and calls nothing. Called by the arbiter. */
#include "core/process/scale.h"

void mc_scale_forget(struct mc_scale *s)
{
    s->n = s->at = s->waited = 0;
}

void mc_scale_note(struct mc_scale *s, const struct mc_scale_sample *sample, uint64_t now)
{
    if (now > s->last_ms + MC_SCALE_GAP_MS) {
        mc_scale_forget(s);
        s->calm_ms = 0;
    }
    s->last_ms = now;
    s->busy[s->at] = (uint16_t)(sample->busy < 1000 ? sample->busy : 1000);
    s->at = (s->at + 1) % MC_SCALE_WINDOW;
    s->n += s->n < MC_SCALE_WINDOW;
    s->waited = sample->waiting > 0 ? s->waited + 1 : 0;
}

unsigned mc_scale_busy(const struct mc_scale *s, unsigned n)
{
    unsigned sum = 0;
    n = n < s->n ? n : s->n;
    for (unsigned i = 1; i <= n; i++)
        sum += s->busy[(s->at + MC_SCALE_WINDOW - i) % MC_SCALE_WINDOW];
    return n ? sum / n : 0;
}

unsigned mc_scale_calm(unsigned wanted)
{
    return wanted > 0 ? MC_SCALE_CALM * (wanted - 1) / wanted : 0;
}

/* What the samples say, whatever the bounds. */
static enum mc_scale_why look(const struct mc_scale *s)
{
    if (s->waited >= MC_SCALE_WAITED && mc_scale_busy(s, MC_SCALE_WAITED) >= MC_SCALE_WAITED_BUSY)
        return MC_SCALE_WAITING;
    return s->n == MC_SCALE_WINDOW && mc_scale_busy(s, MC_SCALE_WINDOW) >= MC_SCALE_BUSY ? MC_SCALE_LOAD : MC_SCALE_STAY;
}

/* Has it been calm for long enough? */
static bool calm(struct mc_scale *s, unsigned wanted, uint64_t now)
{
    if (s->n < MC_SCALE_WINDOW) /* nobody knows yet: it goes on as it was */
        return false;
    if (s->waited >= MC_SCALE_WAITED || mc_scale_busy(s, MC_SCALE_WINDOW) >= mc_scale_calm(wanted)) {
        s->calm_ms = 0;
        return false;
    }
    if (s->calm_ms == 0)
        s->calm_ms = now;
    return now >= s->calm_ms + s->calm_for;
}

enum mc_scale_why mc_scale_decide(struct mc_scale *s, unsigned wanted, bool settled, bool idle, uint64_t now)
{
    enum mc_scale_why why = MC_SCALE_STAY;
    if (s->min >= s->max || wanted == 0) /* 0: the operator has sent all of them home */
        return MC_SCALE_STAY;
    if (!settled) { /* what is seen until they are there was not their doing */
        mc_scale_forget(s);
        return MC_SCALE_STAY;
    }
    if (wanted < s->min)
        why = MC_SCALE_MIN;
    else if (look(s) != MC_SCALE_STAY)
        why = wanted < s->max ? look(s) : MC_SCALE_STAY;
    else if (wanted > s->min && calm(s, wanted, now) && idle)
        why = MC_SCALE_SPARE;
    if (why != MC_SCALE_STAY) {
        mc_scale_forget(s);
        s->calm_ms = why == MC_SCALE_SPARE ? now : 0;
    }
    return why;
}

void mc_scale_moved(struct mc_scale *s, unsigned wanted)
{
    if (s->min >= s->max || wanted == 0)
        return;
    s->max = wanted > s->max ? wanted : s->max;
    s->min = wanted < s->min ? wanted : s->min;
    mc_scale_forget(s);
    s->calm_ms = 0;
}
