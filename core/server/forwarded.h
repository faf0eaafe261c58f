/* Whom we believe about the client's side: proxies in front of us. For handlers, too. */
#ifndef MC_SERVER_FORWARDED_H
#define MC_SERVER_FORWARDED_H

#include "core/http/request.h"

/* Is the peer of this request's connection in forwarded_allow_ips of its server? Unix peers always are. */
bool mc_forwarded_trusted(const struct mc_request *r);

#endif
