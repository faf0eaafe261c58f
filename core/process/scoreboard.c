/* The scoreboard's memory. Values only; what workers wrote is bounded here before anyone prints it.
 * Never decides anything. Made by the arbiter, mapped by zygotes and workers. */
#include "core/process/scoreboard.h"
#include "core/os/fd.h"

#include <errno.h>
#include <string.h>

struct head {
    uint32_t magic, version, nslots, slot_size;
    char pad[48];
};
enum { VERSION = 1 };
#define MAGIC 0x4d434244u
_Static_assert(sizeof(struct head) == 64, "slots stay aligned");

int mc_scoreboard_create(struct mc_board *b, unsigned slots)
{
    *b = (struct mc_board){.shm.fd = -1};
    if (mc_shm_create(&b->shm, "monoceros-board", sizeof(struct head) + slots * sizeof(struct mc_slot)) != MC_OK)
        return MC_ERROR;
    *(struct head *)b->shm.p = (struct head){.magic = MAGIC, .version = VERSION, .nslots = slots, .slot_size = sizeof(struct mc_slot)};
    b->slots = (struct mc_slot *)(void *)((char *)b->shm.p + sizeof(struct head));
    b->n = slots;
    return MC_OK;
}

int mc_scoreboard_open(struct mc_board *b, int fd)
{
    *b = (struct mc_board){.shm.fd = -1};
    if (mc_shm_open(&b->shm, fd) != MC_OK)
        return MC_ERROR;
    const struct head *h = b->shm.p;
    if (b->shm.n < sizeof(*h) || h->magic != MAGIC || h->version != VERSION || h->slot_size != sizeof(struct mc_slot) ||
        h->nslots > (b->shm.n - sizeof(*h)) / sizeof(struct mc_slot)) {
        mc_scoreboard_close(b);
        errno = EINVAL;
        return MC_ERROR;
    }
    b->slots = (struct mc_slot *)(void *)((char *)b->shm.p + sizeof(*h));
    b->n = h->nslots;
    return MC_OK;
}

void mc_scoreboard_close(struct mc_board *b)
{
    mc_shm_close(&b->shm);
    b->slots = NULL;
    b->n = 0;
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

const char *mc_scoreboard_busy(const struct mc_slot *s, char out[MC_BOARD_BUSY_TEXT])
{
    const volatile char *in = s->busy;
    size_t n = 0;
    for (; n < MC_SLOT_TEXT; n++) {
        char c = in[n];
        if (c == '\0')
            break;
        out[n] = (char)(c >= 0x20 && c < 0x7f ? c : '?');
    }
    out[n] = '\0';
    return out;
}
