/* Patterns (PCRE2) at work: bounded matching, and the groups that variables refer to. The configuration compiles them (config/regex.c). */
#ifndef MC_HTTP_PATTERN_H
#define MC_HTTP_PATTERN_H

#include "core/http/request.h"

/* MC_OK, MC_DECLINED (no match), MC_ERROR (the match limit was hit: no pattern can hang a worker). groups (may be NULL): the first n are filled, those
 * that took no part are empty. */
int mc_pattern_match(const void *code, struct mc_str subject, struct mc_str *groups, unsigned n);
/* group, if the pattern has it; else -1. */
int mc_pattern_number(const void *code, unsigned group);
/* Where r->captures of a request of this route holds a group of this name, or -1; *decoded: it is one of `path`. */
int mc_pattern_of_route(const struct mc_conf_route *route, struct mc_str name, bool *decoded);
/* Does a name of this server have such a group, and what did it match? */
bool mc_pattern_of_server(const struct mc_conf_server *server, struct mc_str name);
struct mc_str mc_pattern_server_value(const struct mc_request *r, struct mc_str name);

#endif
