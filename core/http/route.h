/* Which server and route a request belongs to. */
#ifndef MC_HTTP_ROUTE_H
#define MC_HTTP_ROUTE_H

#include "core/http/request.h"

/* The server for a host name (without port, any case, a trailing dot ignored): exact name, then longest wildcard, then the first pattern, then the
 * listener's first server. */
const struct mc_conf_server *mc_route_server(const struct mc_conf_listen *l, struct mc_str host);
/* The same for r->head.host; sets r->server and the groups of its pattern. MC_OK, or a status: 503 (out of memory). */
int mc_route_find_server(struct mc_request *r, const struct mc_conf_listen *l);
/* First matching route of r->server for r->path behind r->route (NULL: from the first one); sets r->route and r->captures. MC_OK; 404: none, r->route
 * is NULL; 500: a pattern hit its match limit, or out of memory. */
int mc_route_find(struct mc_request *r);
/* The path alone. Prefix patterns match whole segments: "/api" and "/api/" match /api/x; "/api" matches /api but not /apix. */
int mc_route_match(const struct mc_conf_route *route, struct mc_str path); /* MC_OK, MC_DECLINED, MC_ERROR (match limit) */
/* A copy in lower case in the request's arena; p NULL: out of memory. */
struct mc_str mc_route_lower(struct mc_request *r, struct mc_str host);

#endif
