/* Which server and route a request belongs to. */
#ifndef MC_HTTP_ROUTE_H
#define MC_HTTP_ROUTE_H

#include "core/http/request.h"

/* The server for a host name (without port, any case, a trailing dot ignored): exact name, then longest wildcard, then the listener's first server. */
const struct mc_conf_server *mc_route_server(const struct mc_conf_listen *l, struct mc_str host);
/* First matching route of r->server for r->path; sets r->route. MC_OK, 404 (none), 500 (a pattern hit its match limit). */
int mc_route_find(struct mc_request *r);
/* Prefix patterns match whole segments: "/api" and "/api/" match /api/x; "/api" matches /api but not /apix. */
int mc_route_match(const struct mc_conf_route *route, struct mc_str path); /* MC_OK, MC_DECLINED, MC_ERROR (match limit) */

#endif
