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
    char text[128];           /* for logs: "127.0.0.1:8080" */
    uint32_t hash;            /* of upstream and text, never 0: value of the sticky cookie, place in the hash */
    int weight;               /* conf's, or of its SRV record */
    bool backup;
    unsigned active;          /* calls in flight */
    int effective, current;   /* smooth weighted round robin */
    unsigned fails;           /* since first_fail */
    uint64_t first_fail, out_until; /* ms, loop clock; 0: in turn */
    bool probing;             /* its time out is over, and one request tries it */
    bool sick;                /* the active check says so */
    bool gone;                /* no longer in DNS: freed when active is 0 */
    struct mc_link idle;      /* kept connections, newest first (upstream.c) */
    unsigned nidle;
    void *check;              /* health.c */
};

struct mc_peers {
    const struct mc_conf_upstream *conf;
    struct mc_worker *worker;
    struct mc_link link;      /* of the worker's sets */
    struct mc_link peers;
    size_t npeers;
    unsigned nidle;           /* kept connections of all peers */
    void *health;             /* health.c */
    struct mc_link names;     /* names.c: names that are asked for */
    unsigned nasking;         /* those without any answer so far */
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
/* The next one to ask, counted as active until mc_peers_done(). NULL: *why is one phrase ("no live peer", "all peers are at max_conns", "no address is known").
 * MC_AGAIN in *rc: names are being resolved; ask again from the wake of mc_peers.waiting. */
struct mc_peer *mc_peers_choose(struct mc_peers *u, const struct mc_peer_choice *c, int *rc, const char **why);
enum mc_peer_result { MC_PEER_OK, MC_PEER_FAILED, MC_PEER_NEUTRAL /* the client left, …: says nothing about the peer */ };
void mc_peers_done(struct mc_peers *u, struct mc_peer *p, enum mc_peer_result how);
/* Free all sets of a worker (exit). */
void mc_peers_close(struct mc_worker *w);

/* ---- between peers.c, balance.c, names.c and health.c ---- */

/* What an answer says of a peer. */
struct mc_peer_found {
    struct mc_addr addr;
    int weight;   /* 0: as configured */
    bool backup;
};
/* These are the addresses of a configured peer now: others of it go, new ones come, those that stay keep their state. */
void mc_peers_update(struct mc_peers *u, const struct mc_conf_peer *conf, const struct mc_peer_found *found, size_t n);
/* A call of a peer has ended, and the peer may be gone. */
void mc_peers_release(struct mc_peers *u, struct mc_peer *p);
/* Call all that wait. */
void mc_peers_wake(struct mc_peers *u);

/* Ask for the names of a set from now on. MC_OK or MC_ERROR (out of memory). */
int mc_names_open(struct mc_peers *u);
void mc_names_close(struct mc_peers *u);
/* Close the resolvers of a worker, after all sets. */
void mc_names_exit(struct mc_worker *w);

#endif
