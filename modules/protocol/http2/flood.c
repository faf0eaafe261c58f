/* What a peer may do without asking for anything: a bucket for each kind of frame that costs us and brings it nothing. It fills at a steady rate, far
 * above what any client does; who empties one is told to calm down (ENHANCE_YOUR_CALM), and the connection ends. Worker side, on the loop. */
#include "modules/protocol/http2/http2.h"

#include <stdio.h>

enum { CREDIT_MAX = 100 /* bursts */, REFILL = 10 /* seconds for a whole bucket */ };

#define RULE(text, field) {text " (" #field ")", offsetof(struct mc_values, field)}
static const struct {
    const char *what;
    size_t burst; /* of the setting */
} rules[MC_COSTS] = {
    [MC_COST_RESET] = RULE("streams reset", http2_max_resets), /* CVE-2023-44487, and CVE-2025-8671: those that we had to reset */
    [MC_COST_SETTINGS] = RULE("SETTINGS frames", http2_max_settings),
    [MC_COST_PING] = RULE("PING frames", http2_max_pings),
    [MC_COST_PRIORITY] = RULE("priority frames", http2_max_priorities),
    [MC_COST_EMPTY] = RULE("empty DATA frames", http2_max_empty_frames),
    [MC_COST_UPDATE] = RULE("WINDOW_UPDATE frames", http2_max_window_updates), /* more with each DATA frame of ours */
    [MC_COST_CONTINUATION] = RULE("CONTINUATION frames", http2_max_continuations),
};

/* Thousandths of a frame. */
static int64_t burst_of(const struct mc_http2 *h, enum mc_http2_cost cost)
{
    int64_t frames;
    memcpy(&frames, (const char *)h->s->host->set + rules[cost].burst, sizeof(frames));
    return frames * 1000;
}

void mc_http2_flood_init(struct mc_http2 *h)
{
    for (unsigned i = 0; i < MC_COSTS; i++) {
        h->flood.v[i].left = burst_of(h, (enum mc_http2_cost)i);
        h->flood.v[i].since = *h->s->host->now;
    }
}

static void calm(struct mc_http2 *h, struct mc_log_limit *limit, const char *what)
{
    char why[100];
    if (h->over)
        return;
    h->over = true;
    (void)snprintf(why, sizeof(why), "too many %s", what);
    h->s->host->blame(h->s, MC_LOG_WARNING, limit, why);
    (void)nghttp2_session_terminate_session(h->ng, NGHTTP2_ENHANCE_YOUR_CALM);
}

void mc_http2_calm(struct mc_http2 *h)
{
    static struct mc_log_limit limit;
    calm(h, &limit, "bytes in a header list (http2_max_header_list_size)");
}

bool mc_http2_pay(struct mc_http2 *h, enum mc_http2_cost cost)
{
    static struct mc_log_limit limits[MC_COSTS];
    int64_t full = burst_of(h, cost), left = h->flood.v[cost].left;
    uint64_t passed = *h->s->host->now - h->flood.v[cost].since;
    if (passed > 0 && left < full) {
        int64_t more = passed < REFILL * 1000 ? (int64_t)passed * (full / 1000) / REFILL : full;
        left = left + more < full ? left + more : full;
    }
    h->flood.v[cost].since = *h->s->host->now;
    h->flood.v[cost].left = left - 1000;
    if (left >= 1000)
        return true;
    calm(h, &limits[cost], rules[cost].what);
    return false;
}

void mc_http2_credit(struct mc_http2 *h, enum mc_http2_cost cost, unsigned n)
{
    int64_t most = CREDIT_MAX * burst_of(h, cost);
    if (h->flood.v[cost].left < most)
        h->flood.v[cost].left += n * INT64_C(1000);
}
