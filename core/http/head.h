/* Message heads: strict scan, then http-parser (the only file that knows it), then the framing rules (RFC 9112). Pure: bytes in, slices out. */
#ifndef MC_HTTP_HEAD_H
#define MC_HTTP_HEAD_H

#include "core/http/fields.h"
#include "core/http/uri.h"

struct mc_head_limits {
    size_t line;       /* request line without CRLF, bytes → 414 (400 for a method longer than 32, unless any_method) */
    size_t fields;     /* count → 431 */
    size_t field_size; /* name + value + CRLF, bytes → 431 */
    size_t head;       /* all of the head, bytes → 431 */
    bool any_method;   /* every token may be a method; else those with small letters or #, or not of 3 to 20 bytes → 501 */
};

enum mc_framing { MC_BODY_NONE, MC_BODY_LENGTH, MC_BODY_CHUNKED, MC_BODY_CLOSE /* responses only: up to the end of the connection */ };

/* Progress of the search for the end of a head; zero it for each new head (but for `response`, which upstream codecs set). */
struct mc_head_scan {
    size_t seen;       /* bytes checked so far */
    size_t line_start; /* of the line that is being read */
    uint32_t nfields;  /* field lines so far */
    uint8_t blanks;    /* leading empty lines skipped so far */
    bool line_done;    /* the first line is complete */
    bool response;     /* the first line is a status line */
};

/* Look for the end of the head in p[0,n), where p[0] is the first byte not yet dropped (resumes at scan->seen; the buffer may have moved,
 * its contents not). Work is linear in the bytes of the head however they arrive. Checks go along, so that a hostile head is refused as soon
 * as it shows: bare CR or LF, other control bytes, obs-fold, an empty name, a first line without version, limits. *skip: the caller
 * drops so many bytes of leading empty lines (at most 2 lines a head) from the front before the next call, whatever the result.
 * MC_OK: *len is the length from p + *skip on, with the final CRLFCRLF; MC_AGAIN: more bytes; else a status: 400, 414, 431, 505. */
int mc_head_find(struct mc_head_scan *scan, const char *p, size_t n, const struct mc_head_limits *lim, size_t *skip, size_t *len);

struct mc_head {
    struct mc_str method, target;
    uint8_t version;     /* minor: 0 or 1 (1.2-1.9 count as 1, RFC 9110 §2.5) */
    int status;          /* of a response */
    struct mc_str reason;
    struct mc_fields fields;
    enum mc_framing framing;
    int64_t content_length; /* -1 without */
    bool keepalive;      /* as the version and Connection say */
    bool expect_continue;
    bool upgrade;        /* Connection: upgrade and Upgrade present, on 1.1 */
    struct mc_uri uri;   /* the target, split and checked */
    struct mc_str host, port; /* from Host or the absolute-form target; empty host allowed only on 1.0 without Host */
};

/* Parse a whole request head that mc_head_find() has passed. Slices point into p. MC_OK or a status (400, 405, 414, 417, 431, 500 (out of
 * memory), 501, 505); then out holds what was understood (method and target for the log), NULL slices otherwise. */
int mc_head_request(struct mc_arena *a, const char *p, size_t n, const struct mc_head_limits *lim, struct mc_head *out);
/* The bytes `from` that it was parsed from are at `to` now. */
void mc_head_move(struct mc_head *head, struct mc_str from, const char *to);
/* The same rules for a request that came in pieces (HTTP/2): method, target and fields of out are set, with Host among them; the rest is filled in. Fields that
 * belong to a connection are refused. body: one follows, as long as it says or (MC_BODY_CHUNKED) until it ends. MC_OK or a status. */
int mc_head_check(const struct mc_head_limits *lim, bool body, struct mc_head *out);
/* Parse a whole response head; head_request: the request was HEAD. MC_OK or MC_ERROR. Used by upstream codecs. */
int mc_head_response(struct mc_arena *a, const char *p, size_t n, bool head_request, struct mc_head *out);

#endif
