/* Single values within a request: parameters of the query, cookies, fields by the name that CGI gives them. Slices, never copies. */
#ifndef MC_HTTP_PARAMS_H
#define MC_HTTP_PARAMS_H

#include "core/http/fields.h"

/* Is `name` the field that CGI calls HTTP_VARIABLE? Any case; '-' and '_' are one. */
bool mc_param_field_is(struct mc_str name, struct mc_str variable);
/* The first cookie of that name (case-sensitive, RFC 6265 §5.4), without quotes round the value. false: none. */
bool mc_param_cookie(const struct mc_fields *f, struct mc_str name, struct mc_str *value);
/* The first parameter of that name, as it was sent (not decoded); one without '=' is empty. false: none. */
bool mc_param_arg(struct mc_str query, struct mc_str name, struct mc_str *value);

#endif
