/* Request targets (RFC 9112 §3.2, RFC 3986) and Host (RFC 9110 §7.2). */
#ifndef MC_HTTP_URI_H
#define MC_HTTP_URI_H

#include "core/base/arena.h"
#include "core/base/str.h"

struct mc_uri {
    struct mc_str path;      /* raw path, "/" at least; "*" for OPTIONS * */
    struct mc_str query;     /* without '?'; p == NULL when there is none */
    struct mc_str authority; /* of an absolute-form target; p == NULL otherwise */
    struct mc_str scheme;    /* of an absolute-form target */
};

/* Split and check a target for this method (CONNECT is refused by the caller). MC_OK or 400. Rejects CTL, SP, '#', '"<>\^`{|}' only where
 * RFC 3986 forbids them and real clients never send them raw; bad or truncated %XX; userinfo; a path that does not start with '/'. */
int mc_uri_split(struct mc_str target, bool options, struct mc_uri *out);

/* The one normal form used by routing, access rules and files: percent-decoded once, dot segments removed, never above the root, repeated
 * slashes kept single. 400 on %00, bad %, or a path that climbs above the root. *out aliases path when nothing had to change, so it is
 * not NUL-terminated. Encoded slashes (%2f) decode to '/' (documented). */
int mc_uri_normalise(struct mc_arena *a, struct mc_str path, struct mc_str *out);
/* Percent-decode only (WSGI PATH_INFO): bytes as they come out; bad %XX is kept. Aliases the input when nothing had to change. */
int mc_uri_decode(struct mc_arena *a, struct mc_str path, struct mc_str *out);
/* Percent-encode. path: s is a decoded path, so '?', '#' and '%' stand for themselves and are encoded, '/' is kept; else s may be a piece of a target
 * as it was sent, and only what no URI may hold raw is encoded: controls, blanks, quotes, "<>\\^`{|}", bytes over 0x7e. */
void mc_uri_encode(struct mc_sb *out, struct mc_str s, bool path);

/* Host field or authority: host (reg-name, IPv4, [IPv6]) and optional port <= 65535. MC_OK or 400. host keeps the brackets; port "" when none. */
int mc_uri_host(struct mc_str s, struct mc_str *host, struct mc_str *port);

#endif
