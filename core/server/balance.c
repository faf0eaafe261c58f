/* Who is next, and what the end of a call says of a peer: weights, connections, hash, failures. Pure decisions over struct mc_peers and the loop's clock.
 * Called by the client engine (upstream.c). Worker side, on the loop. */
#include "core/server/peers.h"

static struct mc_peer *peer_of(const struct mc_link *l)
{
    return mc_container(l, struct mc_peer, link);
}

static bool tried(const struct mc_peer *p, const struct mc_peer_choice *c)
{
    for (size_t i = 0; i < c->ntried; i++) {
        if (c->tried[i] == p)
            return true;
    }
    return false;
}

static bool full(const struct mc_peer *p)
{
    return p->conf->max_conns > 0 && p->active >= (uint64_t)p->conf->max_conns;
}

/* Alive, as far as anybody knows; whether there is room is another question. */
static bool fit(const struct mc_peer *p, const struct mc_peer_choice *c)
{
    return !p->conf->down && !p->sick && !p->gone && !tried(p, c);
}

/* After failures it is left alone for a while; then one request tries it, and the others wait for what comes of it. */
static bool in_turn(const struct mc_peers *u, const struct mc_peer *p)
{
    return p->out_until == 0 || (u->worker->loop.now >= p->out_until && !p->probing);
}

enum rank { MAIN, BACKUP, ANYONE /* those that are out of turn, too: somebody must be asked */, RANKS };

static bool eligible(const struct mc_peers *u, const struct mc_peer *p, const struct mc_peer_choice *c, enum rank rank)
{
    if (!fit(p, c) || full(p))
        return false;
    return rank == ANYONE || (p->backup == (rank == BACKUP) && in_turn(u, p));
}

/* ---- one rank, four ways */

/* Smooth weighted round robin: each gets its weight, the one with the most is taken and pays what all got. What failures cost comes back bit by bit. */
static struct mc_peer *by_turns(struct mc_peers *u, const struct mc_peer_choice *c, enum rank rank, const struct mc_peer *like)
{
    struct mc_peer *best = NULL;
    struct mc_link *l, *next;
    int total = 0;
    mc_list_each (&u->peers, l, next) {
        struct mc_peer *p = peer_of(l);
        if (!eligible(u, p, c, rank))
            continue;
        if (like && (uint64_t)p->active * (unsigned)like->weight != (uint64_t)like->active * (unsigned)p->weight)
            continue;
        p->current += p->effective;
        total += p->effective;
        if (p->effective < p->weight)
            p->effective++;
        if (!best || p->current > best->current)
            best = p;
    }
    if (best)
        best->current -= total;
    return best;
}

/* The fewest calls for its weight; equal ones by turns. */
static struct mc_peer *by_load(struct mc_peers *u, const struct mc_peer_choice *c, enum rank rank)
{
    struct mc_peer *best = NULL;
    struct mc_link *l, *next;
    mc_list_each (&u->peers, l, next) {
        struct mc_peer *p = peer_of(l);
        if (!eligible(u, p, c, rank))
            continue;
        if (!best || (uint64_t)p->active * (unsigned)best->weight < (uint64_t)best->active * (unsigned)p->weight)
            best = p;
    }
    return best ? by_turns(u, c, rank, best) : NULL;
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= UINT64_C(0xff51afd7ed558ccd);
    x ^= x >> 33;
    x *= UINT64_C(0xc4ceb9fe1a85ec53);
    return x ^ (x >> 33);
}

/* -log2 of (x + 1) / 2^64, with 32 bits behind the point: by squaring, one bit a step. */
static uint64_t minus_log2(uint64_t x)
{
    if (x == UINT64_MAX)
        return 0;
    unsigned whole = 63 - (unsigned)__builtin_clzll(x + 1);
    uint64_t m = (x + 1) << (63 - whole), bits = 0; /* in [1, 2), 63 bits behind the point */
    for (int i = 0; i < 32; i++) {
        unsigned __int128 square = (unsigned __int128)m * m;
        bool carry = (square >> 127) != 0;
        m = (uint64_t)(square >> (carry ? 64 : 63));
        bits = bits << 1 | carry;
    }
    return (UINT64_C(64) << 32) - ((uint64_t)whole << 32 | bits);
}

/* Weighted rendezvous: each peer draws for the key, and the best draw wins. When peers come or go, only their own keys move. */
static struct mc_peer *by_hash(struct mc_peers *u, const struct mc_peer_choice *c, enum rank rank)
{
    struct mc_peer *best = NULL;
    struct mc_link *l, *next;
    uint64_t least = 0;
    mc_list_each (&u->peers, l, next) {
        struct mc_peer *p = peer_of(l);
        if (!eligible(u, p, c, rank))
            continue;
        uint64_t cost = (minus_log2(mix((uint64_t)p->hash << 32 | c->hash)) << 24) / (unsigned)p->weight;
        if (best && cost >= least)
            continue;
        best = p;
        least = cost;
    }
    return best;
}

static struct mc_peer *by_cookie(struct mc_peers *u, const struct mc_peer_choice *c)
{
    struct mc_link *l, *next;
    mc_list_each (&u->peers, l, next) {
        struct mc_peer *p = peer_of(l);
        if (p->hash == c->sticky && fit(p, c) && !full(p) && in_turn(u, p))
            return p;
    }
    return NULL;
}

static struct mc_peer *choose(struct mc_peers *u, const struct mc_peer_choice *c)
{
    struct mc_peer *p = c->sticky ? by_cookie(u, c) : NULL;
    for (enum rank rank = MAIN; !p && rank < RANKS; rank++) {
        switch (u->conf->balance) {
        case MC_BALANCE_ROUND_ROBIN:
            p = by_turns(u, c, rank, NULL);
            break;
        case MC_BALANCE_LEAST_CONN:
            p = by_load(u, c, rank);
            break;
        case MC_BALANCE_HASH:
            p = by_hash(u, c, rank);
            break;
        }
    }
    return p;
}

static const char *nobody(const struct mc_peers *u, const struct mc_peer_choice *c)
{
    struct mc_link *l, *next;
    size_t known = 0, there = 0;
    mc_list_each (&u->peers, l, next) {
        struct mc_peer *p = peer_of(l);
        known += !p->gone;
        there += fit(p, c);
    }
    return !known ? "no address is known" : there ? "all peers are at max_conns" : c->ntried ? "no other live peer" : "no live peer";
}

struct mc_peer *mc_peers_choose(struct mc_peers *u, const struct mc_peer_choice *c, int *rc, const char **why)
{
    struct mc_peer *p = choose(u, c);
    *rc = MC_OK;
    *why = "";
    if (p) {
        p->active++;
        p->probing = p->out_until != 0;
        return p;
    }
    *why = nobody(u, c);
    *rc = u->nasking > 0 ? MC_AGAIN : MC_ERROR;
    return NULL;
}

/* ---- what a call has shown */

static void failed(struct mc_peers *u, struct mc_peer *p)
{
    uint64_t now = u->worker->loop.now;
    int64_t max = p->conf->max_fails;
    if (max == 0)
        return;
    if (p->fails == 0 || now - p->first_fail > (uint64_t)p->conf->fail_timeout) {
        p->fails = 0;
        p->first_fail = now;
    }
    p->fails++;
    int cost = p->weight / (int)(max < p->weight ? max : p->weight);
    p->effective = p->effective > cost ? p->effective - cost : 0;
    if (p->out_until == 0 && p->fails < (uint64_t)max)
        return;
    if (p->out_until == 0)
        mc_warn("upstream \"%s\": %s is out of turn after %u failure%s", u->conf->name, p->text, p->fails, p->fails == 1 ? "" : "s");
    p->out_until = now + (uint64_t)p->conf->fail_timeout;
}

void mc_peers_done(struct mc_peers *u, struct mc_peer *p, enum mc_peer_result how)
{
    if (how == MC_PEER_FAILED) {
        failed(u, p);
    } else if (how == MC_PEER_OK && p->out_until) {
        mc_info("upstream \"%s\": %s is in turn again", u->conf->name, p->text);
        p->out_until = 0;
        p->fails = 0;
    }
    p->probing = false;
    mc_peers_release(u, p);
}
