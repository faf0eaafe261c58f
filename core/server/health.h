/* Active health checks of the peers of an upstream (`health { … }`). */
#ifndef MC_SERVER_HEALTH_H
#define MC_SERVER_HEALTH_H

#include "core/server/upstream.h"

/* Check the peers of this set from now on, as calls go to it; the first one says how. Cheap when it is done already, or not wanted. */
void mc_health_start(struct mc_peers *u, const struct mc_call_policy *how);

/* ---- for peers.c ---- */
void mc_health_add(struct mc_peers *u, struct mc_peer *p);
void mc_health_remove(struct mc_peer *p); /* harmless when it is not checked */
void mc_health_close(struct mc_peers *u);

#endif
