/* Heads of CGI replies (RFC 3875 §6): fields, "Status:" in place of a status line (which may stand there, too: uwsgi), lines that end with LF or CRLF. Pure: bytes in, slices out. */
#ifndef MC_HTTP_CGI_H
#define MC_HTTP_CGI_H

#include "core/http/head.h"

enum { MC_CGI_HEAD_MAX = 65536 };

/* Gathers a head that comes in pieces; zero it for each reply. */
struct mc_cgi {
    char *p;
    size_t n, cap;
    bool in_line, cr; /* the present line has bytes already; the last one was a CR */
};

/* Take bytes up to the end of the head: *used of p[0,n). MC_OK: it is complete; MC_AGAIN: more; MC_ERROR: *why tells (too long, a byte that may not stand there). */
int mc_cgi_take(struct mc_cgi *c, struct mc_arena *a, const char *p, size_t n, size_t *used, const char **why);
/* Parse what was taken. Status is taken out; Content-Length stays among the fields. framing is LENGTH (content_length), NONE (no body can follow: HEAD, 204, 304) or CLOSE (up
 * to the end that the gateway knows). MC_OK or MC_ERROR with *why. */
int mc_cgi_head(const struct mc_cgi *c, struct mc_arena *a, bool head_request, struct mc_head *out, const char **why);

#endif
