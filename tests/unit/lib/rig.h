/* A worker without sockets: real engine, real HTTP/1 codec, scripted transport, fake clock, handlers of the test. */
#ifndef TESTS_RIG_H
#define TESTS_RIG_H

#include "core/server/engine.h"

enum { RIG_ROUTES = 12 };

struct rig {
    struct mc_worker w;
    struct mc_conf conf;
    struct mc_conf_pool pool, other;
    struct mc_conf_server server;
    struct mc_conf_server *servers[1];
    struct mc_conf_listen listen;
    struct mc_conf_route routes[RIG_ROUTES];
    struct mc_module modules[RIG_ROUTES];
    struct mc_listener listener;
    struct mc_slot slot;
    struct mc_conn *c; /* NULL once the engine has closed it */
    int peer_fd;
    /* what the client sends */
    char *in;
    size_t in_len, in_pos;
    size_t per_recv;  /* bytes a recv gives at most; 0 = all there is */
    bool again;       /* MC_AGAIN between two pieces */
    bool again_now;
    bool eof, dead;
    /* what it takes */
    char *out;
    size_t out_len, out_cap;
    size_t room;      /* bytes the socket still takes */
    bool last; /* the last send() was told that the end follows */
    unsigned sends;
    bool closed, was_reset, was_shutdown;
};

extern uint64_t rig_now; /* ms of the fake clock */
extern const char *rig_worker; /* type of the worker that rig_open() makes: "sync" unless told */

void rig_open(struct rig *g);
/* With these apps, whose pool becomes the rig's. */
void rig_open_apps(struct rig *g, struct mc_conf_app *apps, size_t n);
void rig_close(struct rig *g);
/* Add a route: handler ops that the test owns. */
void rig_route(struct rig *g, const char *prefix, const struct mc_handler_ops *ops);
void rig_route_app(struct rig *g, const char *prefix, struct mc_conf_app *app);
void rig_connect(struct rig *g);
void rig_send(struct rig *g, const char *bytes, size_t n); /* appended to the client's script */
void rig_sendz(struct rig *g, const char *z);
/* Let the engine see all that is there: readiness is noted and turns are made until nothing changes. */
void rig_turn(struct rig *g);
/* Time passes; timers fire. */
void rig_pass(struct rig *g, uint64_t ms);
void rig_more_room(struct rig *g, size_t n);
/* Output so far as a NUL-terminated text. */
const char *rig_text(struct rig *g);
unsigned rig_count(struct rig *g, const char *needle);

#endif
