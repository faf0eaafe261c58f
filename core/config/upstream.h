/* `upstream "NAME" { … }`: a named set of peers, and how to choose among them. Plain data; read by the engine in core/server/peers.c. */
#ifndef MC_CONFIG_UPSTREAM_H
#define MC_CONFIG_UPSTREAM_H

#include "core/config/conf.h"

enum mc_balance { MC_BALANCE_ROUND_ROBIN, MC_BALANCE_LEAST_CONN, MC_BALANCE_HASH };

/* peer "10.0.0.11:8080" { weight = 2 … }: HOST:PORT, unix:PATH, [V6]:PORT, or with `service` set a domain without port. The title is the address. */
struct mc_conf_peer {
    int64_t weight;       /* 1-65535 [1] */
    int64_t max_fails;    /* so many failures within fail_timeout take it out of turn; 0: never [1] */
    int64_t fail_timeout; /* ms [10 s] */
    int64_t max_conns;    /* at once, of one worker; 0: any number */
    bool backup;          /* asked only when no other peer can be */
    bool down;
    const char *service;  /* SRV: "_http._tcp"; NULL: A and AAAA */
    struct mc_strv addresses; /* of the name, instead of asking for it; without a resolver module the arbiter fills it once */
    /* filled by the section's check */
    const char *host;     /* a name to resolve; NULL: addr is final */
    uint16_t port;
    struct mc_addr addr;
    struct mc_addr *addrs; /* of addresses; naddrs > 0: the name is not asked for */
    size_t naddrs;
};

struct mc_status_range {
    uint16_t first, last;
};

/* health { path = "/healthz" … } */
struct mc_conf_health {
    bool on;
    const char *path;  /* asked with GET */
    int64_t interval, timeout; /* ms [5 s, 2 s] */
    int64_t fails, passes; /* so many in a row change the state [3, 2] */
    struct mc_strv expect; /* statuses: {"200-299", "304"} */
    struct mc_status_range *ranges; /* of expect */
    size_t nranges;
};

struct mc_conf_upstream {
    const char *name;
    bool pool;                /* it stands for a pool of this server (server/hop.c) */
    const char *balance_text; /* round_robin, least_conn, hash */
    const char *key;          /* of hash: a text with variables ('$remote_addr', '$uri', …) */
    const char *sticky;       /* name of a cookie that keeps a client with its peer; NULL: none */
    int64_t keepalive;        /* idle connections kept by each worker [32]; 0: none */
    int64_t keepalive_timeout; /* ms [60 s] */
    int64_t keepalive_requests; /* on one connection [1000] */
    int64_t resolve;          /* ms: never ask for a name again sooner than this [as the TTL says, at least 1 s] */
    struct mc_strv resolver;  /* name servers, ADDRESS[:PORT]; none: those of the system */
    /* filled by check; name is NULL before */
    enum mc_balance balance;
    struct mc_conf_peer **peers; /* in the order of the file; title in names[i] */
    const char **names;
    size_t npeers;
    struct mc_conf_health health;
};

extern const struct mc_section mc_section_upstream;

/* What `to = "…"` of an action may say: "upstream:NAME", or one address: "http://HOST[:PORT]", "https://HOST[:PORT]", "HOST:PORT", "unix:PATH"; the last ones make
 * an upstream of their own with one peer. "https://upstream:NAME" is a named one over TLS. *tls is set by https. NULL with err. Call it from check hooks only
 * (the arena must be open). The same text gives the same upstream. */
const struct mc_conf_upstream *mc_conf_upstream_to(struct mc_conf *c, const char *to, bool *tls, char *err, size_t errcap);

#endif
