/* Strict decoder of the chunked transfer coding (RFC 9112 §7.1). Incremental; never copies: it yields slices of the input. */
#ifndef MC_HTTP_CHUNK_H
#define MC_HTTP_CHUNK_H

#include "core/http/fields.h"

enum { MC_CHUNK_EXT_MAX = 4096 /* bytes of extensions in a whole body */, MC_CHUNK_TRAILER_MAX = 8192 /* bytes of trailers */ };

struct mc_chunk {
    uint64_t left;    /* bytes of the current chunk still to come */
    struct mc_str tail; /* trailer bytes gathered (arena memory), parsed at the end */
    uint16_t ext;     /* extension bytes seen so far */
    uint16_t trailer; /* trailer bytes seen so far */
    uint8_t state;
    uint8_t digits;
};

void mc_chunk_init(struct mc_chunk *c);
/* Take bytes from p[0,n): *used are consumed; *data is a slice of body bytes (may be empty). MC_OK: call again (progress was made),
 * MC_AGAIN: needs more input, MC_DECLINED: the body has ended (trailers, if any, were appended to *trailers in arena a, allow-listed: framing,
 * routing and authentication fields are dropped, RFC 9110 §6.5.1), else a status (400, 431). */
int mc_chunk_decode(struct mc_chunk *c, const char *p, size_t n, size_t *used, struct mc_str *data, struct mc_arena *a, struct mc_fields *trailers);

/* May this field stand in a trailer? Those that decide about framing, routing, authentication or how to read the content come too late there
 * (RFC 9110 §6.5.1). */
bool mc_chunk_may_trail(const struct mc_field *f);

#endif
