/* Resolvers: modules that ask name servers without blocking (kind "resolver"). One channel a worker and list of name servers. On the loop only. */
#ifndef MC_SERVER_RESOLVER_H
#define MC_SERVER_RESOLVER_H

#include "core/server/peers.h"

/* One question, owned by who asks; it stays where it is until done() or cancel(). */
struct mc_query {
    const char *host;
    const char *service;   /* SRV: "_http._tcp"; NULL: A and AAAA */
    uint16_t port;         /* of the answers; SRV brings its own */
    void (*done)(struct mc_query *q);
    /* the answer, valid in done() */
    int rc;                /* MC_OK: n > 0 addresses; MC_DECLINED: there is no such name, or nothing below it; MC_ERROR: nobody knows now */
    const char *why;       /* not MC_OK: one phrase */
    struct mc_peer_found *found;
    size_t n;
    uint32_t ttl;          /* s: the shortest one */
    void *state;           /* the resolver's; NULL: not being asked */
};

enum { MC_RESOLVER_MOST = 256 /* addresses of a name; more are ignored */ };

struct mc_resolver_ops {
    const char *name;
    /* servers: ADDRESS[:PORT]; none: those of the system. NULL: failed (logged). */
    void *(*open)(struct mc_worker *w, const struct mc_strv *servers);
    /* done() follows, never from within. MC_OK or MC_ERROR (out of memory). */
    int (*ask)(void *channel, struct mc_query *q);
    void (*cancel)(struct mc_query *q); /* done() will not be called; harmless when nothing is being asked */
    void (*close)(void *channel);       /* no question is open */
};

#endif
