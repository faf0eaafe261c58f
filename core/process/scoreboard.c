/* The scoreboard's memory. Values only; what others wrote is bounded here before anyone prints or sums it.
 * Never decides anything. Made by the arbiter, mapped by zygotes and workers, read as a copy by --status. */
#include "core/process/scoreboard.h"
#include "core/os/fd.h"
#include "mc_config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { VERSION = 2 };
#define MAGIC 0x4d434244u
/* 2^53: what JSON readers still take for a whole number. */
#define MOST (UINT64_C(1) << 53)

static size_t kids_at(void)
{
    return sizeof(struct mc_board_head) + MC_BOARD_POOLS * sizeof(struct mc_board_pool);
}

static size_t slots_at(size_t n)
{
    size_t at = kids_at() + n * sizeof(struct mc_board_kid), align = _Alignof(struct mc_slot);
    return (at + align - 1) / align * align;
}

static void locate(struct mc_board *b, void *bytes, unsigned n)
{
    char *p = bytes;
    b->head = bytes;
    b->pools = (struct mc_board_pool *)(void *)(p + sizeof(struct mc_board_head));
    b->kids = (struct mc_board_kid *)(void *)(p + kids_at());
    b->slots = (struct mc_slot *)(void *)(p + slots_at(n));
    b->n = n;
}

int mc_scoreboard_create(struct mc_board *b, unsigned slots)
{
    *b = (struct mc_board){.shm.fd = -1};
    if (mc_shm_create(&b->shm, MC_BOARD_MEMFD, slots_at(slots) + slots * sizeof(struct mc_slot)) != MC_OK)
        return MC_ERROR;
    locate(b, b->shm.p, slots);
    *b->head = (struct mc_board_head){
        .magic = MAGIC,
        .version = VERSION,
        .head_size = sizeof(struct mc_board_head),
        .pool_size = sizeof(struct mc_board_pool),
        .kid_size = sizeof(struct mc_board_kid),
        .slot_size = sizeof(struct mc_slot),
        .nslots = slots,
        .slots_at = (uint32_t)slots_at(slots),
    };
    (void)snprintf(b->head->build, sizeof(b->head->build), "%s", MC_VERSION);
    return MC_OK;
}

int mc_scoreboard_parse(struct mc_board *b, void *bytes, size_t n)
{
    struct mc_board_head h;
    if (n < sizeof(h))
        return MC_ERROR;
    memcpy(&h, bytes, sizeof(h));
    bool ours = h.magic == MAGIC && h.version == VERSION && h.head_size == sizeof(struct mc_board_head) &&
                h.pool_size == sizeof(struct mc_board_pool) && h.kid_size == sizeof(struct mc_board_kid) && h.slot_size == sizeof(struct mc_slot);
    if (!ours || h.nslots > n / sizeof(struct mc_slot) || h.slots_at != slots_at(h.nslots) || h.slots_at > n ||
        h.nslots > (n - h.slots_at) / sizeof(struct mc_slot))
        return MC_ERROR;
    locate(b, bytes, h.nslots);
    return MC_OK;
}

const char *mc_scoreboard_build(const void *bytes, size_t n, char out[32])
{
    struct mc_board_head h = {.magic = 0};
    size_t known = offsetof(struct mc_board_head, head_size);
    out[0] = '\0';
    if (n < known)
        return out;
    memcpy(&h, bytes, known);
    return h.magic == MAGIC ? mc_scoreboard_text(h.build, sizeof(h.build), out, 32) : out;
}

int mc_scoreboard_open(struct mc_board *b, int fd)
{
    *b = (struct mc_board){.shm.fd = -1};
    if (mc_shm_open(&b->shm, fd) != MC_OK)
        return MC_ERROR;
    if (mc_scoreboard_parse(b, b->shm.p, b->shm.n) == MC_OK)
        return MC_OK;
    mc_scoreboard_close(b);
    errno = EINVAL;
    return MC_ERROR;
}

void mc_scoreboard_close(struct mc_board *b)
{
    mc_shm_close(&b->shm);
    *b = (struct mc_board){.shm.fd = -1};
}

struct mc_slot *mc_scoreboard_slot(struct mc_board *b, unsigned index)
{
    return index < b->n ? &b->slots[index] : NULL;
}

void mc_scoreboard_begin(struct mc_slot *s, unsigned index, unsigned pool, unsigned generation, uint64_t now)
{
    memset(s, 0, sizeof(*s));
    s->magic = MC_MAGIC_SLOT;
    s->index = index;
    mc_slot_set(s->pool, pool);
    mc_slot_set(s->generation, generation);
    mc_slot_set(s->started_ms, now);
    mc_slot_set(s->beat_ms, now);
    mc_slot_set(s->state, (uint32_t)MC_SLOT_STARTING);
}

void mc_scoreboard_end(struct mc_slot *s)
{
    mc_slot_set(s->state, (uint32_t)MC_SLOT_EMPTY);
    mc_slot_set(s->pid, 0);
    mc_slot_set(s->busy_since_ms, 0u);
    s->busy[0] = '\0';
}

const char *mc_scoreboard_text(const volatile char *in, size_t n, char *out, size_t cap)
{
    size_t i = 0;
    for (; i < n && i + 1 < cap; i++) {
        char c = in[i];
        if (c == '\0')
            break;
        out[i] = (char)(c >= 0x20 && c < 0x7f ? c : '?');
    }
    out[i] = '\0';
    return out;
}

const char *mc_scoreboard_busy(const struct mc_slot *s, char out[MC_BOARD_BUSY_TEXT])
{
    return mc_scoreboard_text(s->busy, MC_SLOT_TEXT, out, MC_BOARD_BUSY_TEXT);
}

const char *mc_scoreboard_restart(unsigned reason)
{
    static const char *const names[MC_RESTARTS] = {
        [MC_RESTART_MAX_REQUESTS] = "max_requests",
        [MC_RESTART_MAX_RSS] = "max_rss",
        [MC_RESTART_MAX_LIFETIME] = "max_lifetime",
        [MC_RESTART_REQUEST_TIMEOUT] = "request_timeout",
        [MC_RESTART_TIMEOUT] = "timeout",
        [MC_RESTART_CRASH] = "crash",
        [MC_RESTART_EXIT] = "exit",
        [MC_RESTART_KILLED] = "killed",
        [MC_RESTART_RELOAD] = "reload",
        [MC_RESTART_SCALING] = "scaling",
    };
    return reason < MC_RESTARTS ? names[reason] : "other";
}

static uint64_t sane(uint64_t n)
{
    return n <= MOST ? n : 0;
}

void mc_scoreboard_add(struct mc_board_sums *sums, const struct mc_slot *s)
{
    struct mc_board_sums one = {
        .accepted = sane(mc_slot_get(s->accepted)),
        .requests = sane(mc_slot_get(s->requests)),
        .bytes_in = sane(mc_slot_get(s->bytes_in)),
        .bytes_out = sane(mc_slot_get(s->bytes_out)),
        .spent_us = sane(mc_slot_get(s->spent_us)),
        .cpu_us = sane(mc_slot_get(s->cpu_us)),
        .tls_handshakes = sane(mc_slot_get(s->tls_handshakes)),
        .tls_resumed = sane(mc_slot_get(s->tls_resumed)),
        .tls_failed = sane(mc_slot_get(s->tls_failed)),
    };
    for (unsigned i = 0; i < MC_COUNT(one.status); i++)
        one.status[i] = sane(mc_slot_get(s->status[i]));
    for (unsigned i = 0; i < MC_SLOT_BUCKETS; i++)
        one.latency[i] = sane(mc_slot_get(s->latency[i]));
    mc_scoreboard_sum(sums, &one);
}

void mc_scoreboard_sum(struct mc_board_sums *to, const struct mc_board_sums *from)
{
    uint64_t *t = (uint64_t *)to;
    const uint64_t *f = (const uint64_t *)from;
    _Static_assert(sizeof(*to) % sizeof(*t) == 0, "counters only");
    for (size_t i = 0; i < sizeof(*to) / sizeof(*t); i++)
        t[i] = sane(t[i]) + sane(f[i]) < MOST ? sane(t[i]) + sane(f[i]) : MOST;
}

double mc_scoreboard_quantile(const uint64_t latency[MC_SLOT_BUCKETS], double share)
{
    double all = 0, below = 0;
    for (unsigned i = 0; i < MC_SLOT_BUCKETS; i++)
        all += (double)sane(latency[i]);
    if (all <= 0)
        return -1;
    for (unsigned i = 0; i < MC_SLOT_BUCKETS; i++) {
        double here = (double)sane(latency[i]), low = i ? (double)(1u << (i - 1)) : 0;
        /* Evenly spread within a bucket; the last one has no upper end. */
        double width = i == MC_SLOT_BUCKETS - 1 ? 0 : i ? low : 1;
        if (here > 0 && below + here >= share * all)
            return low + width * (share * all - below) / here;
        below += here;
    }
    return (double)(1u << (MC_SLOT_BUCKETS - 2));
}
