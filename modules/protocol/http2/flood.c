/* What a peer may do without asking for anything: a bucket for each kind of frame that costs us and brings it nothing. It fills at a steady rate, far
 * above what any client does; who empties one is told to calm down (ENHANCE_YOUR_CALM), and the connection ends. Worker side, on the loop. */
#include "modules/protocol/http2/http2.h"

enum { CREDIT_MAX = 100 /* bursts */ };

static const struct {
    const char *name;
    int burst, per_second;
} rules[MC_COSTS] = {
    [MC_COST_RESET] = {"streams reset", 500, 100}, /* CVE-2023-44487, and CVE-2025-8671: those that we had to reset */
    [MC_COST_SETTINGS] = {"SETTINGS frames", 20, 2},
    [MC_COST_PING] = {"PING frames", 100, 10},
    [MC_COST_PRIORITY] = {"priority frames", 1000, 100},
    [MC_COST_EMPTY] = {"empty DATA frames", 100, 10},
    [MC_COST_UPDATE] = {"WINDOW_UPDATE frames", 2000, 1000}, /* more with each DATA frame of ours */
    [MC_COST_CONTINUATION] = {"CONTINUATION frames", 200, 20},
};

void mc_http2_flood_init(struct mc_http2 *h)
{
    for (unsigned i = 0; i < MC_COSTS; i++) {
        h->flood.v[i].left = rules[i].burst * INT64_C(1000);
        h->flood.v[i].since = h->s->now;
    }
}

void mc_http2_calm(struct mc_http2 *h, const char *why)
{
    static struct mc_log_limit limit;
    unsigned missed;
    if (h->over)
        return;
    h->over = true;
    if (mc_log_limited(&limit, &missed))
        mc_warn("HTTP/2: too many %s: connection closed%s", why, missed ? " (and others)" : "");
    (void)nghttp2_session_terminate_session(h->ng, NGHTTP2_ENHANCE_YOUR_CALM);
}

bool mc_http2_pay(struct mc_http2 *h, enum mc_http2_cost cost)
{
    int64_t full = rules[cost].burst * INT64_C(1000), left = h->flood.v[cost].left;
    uint64_t passed = h->s->now - h->flood.v[cost].since;
    if (passed > 0 && left < full) {
        int64_t more = passed < 60000 ? (int64_t)passed * rules[cost].per_second : full;
        left = left + more < full ? left + more : full;
    }
    h->flood.v[cost].since = h->s->now;
    h->flood.v[cost].left = left - 1000;
    if (left >= 1000)
        return true;
    mc_http2_calm(h, rules[cost].name);
    return false;
}

void mc_http2_credit(struct mc_http2 *h, enum mc_http2_cost cost, unsigned n)
{
    int64_t most = CREDIT_MAX * rules[cost].burst * INT64_C(1000);
    if (h->flood.v[cost].left < most)
        h->flood.v[cost].left += n * INT64_C(1000);
}
