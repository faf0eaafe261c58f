/* Variables of CGI (RFC 3875 §4.1) for a request, for gateways that speak of requests in them: FastCGI, uwsgi. */
#ifndef MC_SERVER_CGI_H
#define MC_SERVER_CGI_H

#include "core/http/request.h"

/* What a script is known by, as slices that live as long as the request. */
struct mc_cgi_script {
    struct mc_str name;      /* SCRIPT_NAME */
    struct mc_str path_info; /* PATH_INFO */
};

struct mc_vars;

/* A variable of a setting params = {'NAME TEXT'}. */
struct mc_cgi_param {
    struct mc_str name;
    struct mc_vars *value;
};

/* Compile params = {'NAME TEXT', …} of the struct `set` (http/vars.h); *out has as many. MC_OK, or MC_ERROR with err ("WHAT: params …"). */
int mc_cgi_compile(const struct mc_conf *conf, const void *set, const struct mc_strv *params, const char *what, struct mc_cgi_param **out, char *err, size_t errcap);

/* Append the variables of r to x's params; those of `own` replace ours, and an empty text removes one. Header fields are HTTP_…: not those of the connection, not Proxy, no name with
 * '_' (header_map = dangerous lets them in), and X-Forwarded-…, Forwarded and X-Real-IP of trusted proxies only. MC_OK, or a status. */
int mc_cgi_params(struct mc_request *r, const struct mc_cgi_script *script, const struct mc_cgi_param *own, size_t nown, struct mc_fields *out);

#endif
