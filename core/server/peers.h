/* Peers of an upstream as a worker sees them: addresses, who is next, who is well. One set a worker and upstream. On the loop only. */
#ifndef MC_SERVER_PEERS_H
#define MC_SERVER_PEERS_H

#include "core/base/heap.h"
#include "core/config/upstream.h"
#include "core/server/worker.h"

/* One address that can be asked. A name with several addresses gives several; they come and go with DNS answers. */
struct mc_peer {
    struct mc_link link;      /* in mc_peers.peers */
    const struct mc_conf_peer *conf;
    struct mc_addr addr;
    char text[80];            /* for logs: "127.0.0.1:8080" */
    uint32_t hash;            /* of the text: sticky cookie value and ring */
    unsigned active;          /* calls in flight */
    int effective, current;   /* smooth weighted round robin */
    unsigned fails;           /* since first_fail */
    uint64_t first_fail, out_until; /* ms, loop clock; 0: in turn */
    bool sick;                /* the active check says so */
    bool gone;                /* no longer in DNS: freed when active is 0 */
    struct mc_link idle;      /* kept connections, newest first (upstream.c) */
    unsigned nidle;
};

struct mc_peers {
    const struct mc_conf_upstream *conf;
    struct mc_worker *worker;
    struct mc_link link;      /* of the worker's sets */
    struct mc_link peers;
    size_t npeers;
    unsigned nidle;           /* kept connections of all peers */
    void *resolver, *health;  /* state of resolve and health */
    struct mc_link waiting;   /* struct mc_peer_wait: calls that wait for the first DNS answer */
};

/* Who waits: put into mc_peers.waiting by the caller; taken out, then called, when there is an answer (or none is to come: choosing will say so). */
struct mc_peer_wait {
    struct mc_link link;
    void (*wake)(struct mc_peer_wait *w);
};

/* What a choice depends on. */
struct mc_peer_choice {
    uint32_t hash;            /* of the key; balance = hash */
    uint32_t sticky;          /* of the cookie; 0: none */
    const struct mc_peer *const *tried; /* not again */
    size_t ntried;
};

/* The set of an upstream in this worker, made at the first call; NULL: out of memory. */
struct mc_peers *mc_peers_get(struct mc_worker *w, const struct mc_conf_upstream *u);
/* The next one to ask, counted as active until mc_peers_done(). NULL: *why is one phrase ("no live upstream", "all at max_conns", "host not found").
 * MC_AGAIN in *rc: names are being resolved; ask again from the wake of mc_peers.waiting. */
struct mc_peer *mc_peers_choose(struct mc_peers *u, const struct mc_peer_choice *c, int *rc, const char **why);
enum mc_peer_result { MC_PEER_OK, MC_PEER_FAILED, MC_PEER_NEUTRAL /* the client left, …: says nothing about the peer */ };
void mc_peers_done(struct mc_peers *u, struct mc_peer *p, enum mc_peer_result how);
/* Free all sets of a worker (exit). */
void mc_peers_close(struct mc_worker *w);

#endif
