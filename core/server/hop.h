/* Requests for an app of another pool: they go over that pool's own unix socket, as HTTP/1.1 on kept connections, with what the app has to know of the client in
 * one field (http/hop_field.h). The worker that has the client (the front) routes, filters, limits and logs; the one that has the app only runs it.
 *
 * Waiting happens in the queue of the pool's socket and nowhere else: a worker accepts what it can run, and keeps no more idle connections than it has free
 * places. So `queue` is the backlog of that socket, and bounds what all fronts together have waiting there. */
#ifndef MC_SERVER_HOP_H
#define MC_SERVER_HOP_H

#include "core/config/secrets.h"
#include "core/http/hop_field.h"
#include "core/server/conn.h"
#include "core/server/proxied.h"
#include "core/server/tls.h"

/* What came with a request from another pool's worker. */
struct mc_hop {
    struct mc_hop_field f;
    struct mc_addr listen;      /* where the front's listener is bound */
    struct mc_tls_info tls;
    struct mc_tls_peer cert;
    struct mc_proxied proxied;
};

/* What the arbiter knows and workers need: for each pool the name of its secret and in it the token and the address (core/process/hops.c). */
enum { MC_HOP_SECRET_MAX = 300 };
void mc_hop_secret_name(const struct mc_conf_pool *pool, char out[MC_HOP_SECRET_MAX]);

/* ---- hop.c: a worker that has clients ---- */
extern const struct mc_handler_ops mc_hop_handler;
/* Take tokens and addresses, once in a worker's life. MC_OK or MC_ERROR (logged). */
int mc_hop_adopt(struct mc_worker *w, const struct mc_secrets *s);
/* After the last call is over and mc_peers_close(). */
void mc_hop_close(struct mc_worker *w);
/* The token of this worker's own pool; NULL: nobody asks it. */
const unsigned char *mc_hop_token(const struct mc_worker *w);

/* ---- hop_in.c: a worker that is asked ---- */
/* May whoever has connected here? He is one of the configuration's users, or root. */
bool mc_hop_welcome(const struct mc_listener *l, int fd);
/* The head of a request has come over a hop: check its field, take it and all behind it away, restore the client's fields, find server, route and app.
 * MC_OK or a status; after 400 the connection closes. */
int mc_hop_enter(struct mc_request *r);
/* Its front has gone, so nobody wants it any more. Looks at the socket. */
bool mc_hop_left(const struct mc_request *r);
/* It waits for a request. */
void mc_hop_idle(struct mc_conn *c);
/* It does not any more. */
void mc_hop_busy(struct mc_conn *c);
/* Its first request begins to run, or it closes: the place that was held for it is taken, or free. Of any connection. */
void mc_hop_begun(struct mc_conn *c);
/* Ask fronts to close connections that they keep and that this worker has no place for; all of them when it leaves. */
void mc_hop_trim(struct mc_worker *w);

#endif
