/* Conditional requests (RFC 9110 §13). */
#ifndef MC_HTTP_CONDITION_H
#define MC_HTTP_CONDITION_H

#include "core/http/fields.h"

#include <time.h>

/* Of the representation that would be sent. */
struct mc_validators {
    struct mc_str etag; /* as in ETag, with quotes; p == NULL: none */
    time_t modified;    /* -1: unknown */
};

/* The preconditions of a GET or HEAD in the order of §13.2.2. MC_OK: answer as if there were none; 304; 412. */
int mc_condition(const struct mc_fields *request, const struct mc_validators *v);
/* May Range be honoured, as far as If-Range goes? (§13.1.5: only an exact, strong match) */
bool mc_condition_range(const struct mc_fields *request, const struct mc_validators *v);

#endif
