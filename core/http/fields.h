/* Header fields: slices, in order of arrival, with the id of names that the server itself looks at. */
#ifndef MC_HTTP_FIELDS_H
#define MC_HTTP_FIELDS_H

#include "core/base/arena.h"
#include "core/base/str.h"

enum mc_field_id {
    MC_F_OTHER = 0,
    MC_F_HOST, MC_F_CONNECTION, MC_F_CONTENT_LENGTH, MC_F_CONTENT_TYPE, MC_F_TRANSFER_ENCODING, MC_F_EXPECT, MC_F_UPGRADE, MC_F_TE,
    MC_F_TRAILER, MC_F_KEEP_ALIVE, MC_F_PROXY_CONNECTION, MC_F_PROXY, MC_F_COOKIE, MC_F_AUTHORIZATION, MC_F_REFERER, MC_F_USER_AGENT,
    MC_F_DATE, MC_F_SERVER, MC_F_HTTP2_SETTINGS,
    MC_F_IF_MATCH, MC_F_IF_NONE_MATCH, MC_F_IF_MODIFIED_SINCE, MC_F_IF_UNMODIFIED_SINCE, MC_F_IF_RANGE, MC_F_RANGE,
    MC_F_ACCEPT_ENCODING, MC_F_CONTENT_ENCODING, MC_F_CACHE_CONTROL, MC_F_VARY, MC_F_ETAG, MC_F_SET_COOKIE,
    MC_F_HOP, /* Monoceros-Hop: between our own workers only (http/hop_field.h) */
    MC_F_COUNT
};

struct mc_field {
    struct mc_str name; /* as sent (a token, RFC 9110 §5.6.2) */
    struct mc_str value; /* OWS stripped */
    uint32_t hash;      /* mc_str_hash_nocase(name) */
    uint16_t id;        /* enum mc_field_id */
};

struct mc_fields {
    struct mc_field *v;
    uint32_t n, cap;
    uint64_t ids, hashes; /* bit id, and bit hash % 64, of all that were ever added: of those without it none is there */
};

/* Append; grows in the arena. MC_OK or MC_ERROR (out of memory). The slices are kept, not copied. hash and id are filled here. */
int mc_fields_add(struct mc_fields *f, struct mc_arena *a, struct mc_str name, struct mc_str value);
/* The same for a field that was made before. */
int mc_fields_push(struct mc_fields *f, struct mc_arena *a, const struct mc_field *field);
/* Field i is another one from now on. */
void mc_fields_set(struct mc_fields *f, uint32_t i, struct mc_field field);
/* A field with hash and id filled; the slices are kept. */
struct mc_field mc_field(struct mc_str name, struct mc_str value);
enum mc_field_id mc_field_id(struct mc_str name);
/* There may be one of this id. */
static inline bool mc_fields_may_have(const struct mc_fields *f, enum mc_field_id id) { return f->ids >> id & 1; }
/* First field of a known id, or NULL. */
const struct mc_field *mc_fields_get(const struct mc_fields *f, enum mc_field_id id);
/* First field of that name, any case, or NULL. */
const struct mc_field *mc_fields_find(const struct mc_fields *f, struct mc_str name);

/* Tables: token characters (RFC 9110 §5.6.2) and field-value bytes (VCHAR, obs-text, SP, HTAB; §5.5). */
extern const uint8_t mc_field_tchar[256];
extern const uint8_t mc_field_vchar[256];
bool mc_field_name_ok(struct mc_str s);  /* non-empty token */
bool mc_field_value_ok(struct mc_str s); /* no CTL (HTAB allowed), no CR LF NUL */
/* Connection-specific fields that an app may not send (RFC 9110 §7.6.1) */
bool mc_field_hop_by_hop(enum mc_field_id id);

#endif
