/* Content codings: what the client takes (RFC 9110 §12.5.3), and Vary (§12.5.5). */
#ifndef MC_HTTP_NEGOTIATE_H
#define MC_HTTP_NEGOTIATE_H

#include "core/http/fields.h"

/* The best of `n` codings (at most 16; the server's preference first) by Accept-Encoding: its index, or -1: send it as it is. Identity wins only where the
 * client weighs it higher, and over codings that it refuses. */
int mc_negotiate_coding(const struct mc_fields *request, const struct mc_str *codings, unsigned n);
/* Is this one of the words of a comma list in any field of that id? Parameters behind ';' or '=' are not looked at. */
bool mc_negotiate_has(const struct mc_fields *f, enum mc_field_id id, struct mc_str word);
/* Make sure that a response's Vary names this field. MC_OK or MC_ERROR (out of memory). */
int mc_negotiate_vary(struct mc_fields *response, struct mc_arena *a, struct mc_str name);

#endif
