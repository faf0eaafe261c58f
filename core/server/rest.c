/* What idle connections, and a worker that has become quiet, give back. Worker side, on the loop. */
#include "core/os/proc.h"
#include "core/server/engine.h"

enum { CROWD = 256 /* so many came and went: what they needed meanwhile may be much */, FEW = 8 /* in a second: it is quiet */ };

void mc_conn_rest_now(struct mc_conn *c)
{
    if (c->stream.ops->rest && c->resting < 2) {
        c->resting = 2;
        c->stream.ops->rest(&c->stream);
    }
}

/* A handshake takes several times as much as what stays of it, and a crowd of them leaves holes among the connections that malloc() would keep. */
static void give_back(struct mc_worker *w)
{
    uint64_t moves = 2 * mc_slot_get(w->slot->accepted) - w->nconns; /* accepted and closed */
    if (moves - w->moves_seen <= FEW) {
        if (moves - w->moves_given >= CROWD) {
            mc_proc_trim();
        }
        w->moves_given = moves; /* a trickle is no crowd, however long it lasts */
    }
    w->moves_seen = moves;
}

void mc_conn_rest(struct mc_worker *w)
{
    struct mc_link *l, *next;
    mc_list_each (&w->idle, l, next) {
        struct mc_conn *c = mc_container(l, struct mc_conn, idle_link);
        if (c->resting == 0) {
            c->resting = 1;
        } else {
            mc_conn_rest_now(c);
            mc_conn_forget_peer(c);
        }
    }
    give_back(w);
}
