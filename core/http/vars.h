/* Texts with variables: '/new/$1', '${scheme}://$host$request_uri'. Compiled when the configuration is read, expanded for a request.
 *
 * $name and ${name} stand for a variable, $1 to $9 for a group of the route's `path`, $word for a named group of any pattern of the route or of its
 * server's names; "$$" is a dollar, and so is one before anything else. An unknown name is an error of the configuration. What is not there
 * (a header that was not sent, a group that took no part) is empty. README.md of this folder lists them all.
 * Expansion never blocks; on the loop only (request ids and captures are kept in the request). */
#ifndef MC_HTTP_VARS_H
#define MC_HTTP_VARS_H

#include "core/http/request.h"

enum { MC_VARS_MAX = 65536 /* bytes that a text may become */ };

struct mc_vars;

/* Compile `text`, which a setting in the struct `set` holds: a route's action, or a section's settings (where it stands decides which groups exist; those
 * of sections outside of routes have none but the server's). NULL set: no groups. Lives in conf->arena; text is copied. For check_conf() and a
 * section's check(); NULL with err filled: unknown variable, out of memory. */
struct mc_vars *mc_vars_compile(const struct mc_conf *conf, const void *set, const char *text, char *err, size_t errcap);
/* No variable in it: expands to the same text for every request. */
bool mc_vars_constant(const struct mc_vars *v);
/* The text of one that is constant and one piece; else p is NULL. */
struct mc_str mc_vars_text(const struct mc_vars *v);
/* The text for this request: a slice of the configuration, the request or its arena. Bytes are as they are, so check what goes into a header
 * (mc_field_value_ok). MC_OK; MC_ERROR: out of memory, or longer than MC_VARS_MAX. */
int mc_vars_expand(const struct mc_vars *v, struct mc_request *r, struct mc_str *out);
/* The same for targets and Location: variables of decoded paths ($uri, groups of `path`) are percent-encoded as paths, and bytes of others that no URI may
 * hold, too. */
int mc_vars_expand_uri(const struct mc_vars *v, struct mc_request *r, struct mc_str *out);

/* Header fields as settings write them: {'NAME: text with $variables'}. */
struct mc_vars_field {
    struct mc_field field;       /* with its value, when that is the same for all requests: then it is fit for a header */
    const struct mc_vars *value; /* else: NULL then */
};
struct mc_vars_fields {
    struct mc_vars_field *v;
    size_t n;
};
/* As mc_vars_compile(), for a list whose words mc_check_field() has passed. Connection-specific fields, Content-Length and Host are refused: the server
 * owns framing and routing. MC_OK or MC_ERROR with err. */
int mc_vars_fields_compile(const struct mc_conf *conf, const void *set, const struct mc_strv *list, struct mc_vars_fields *out, char *err, size_t errcap);
/* One of them with its value, fit for a header. MC_OK; MC_DECLINED: it is empty; MC_ERROR: a byte that may not stand there, too long, out of memory. */
int mc_vars_field_expand(const struct mc_vars_field *f, struct mc_request *r, struct mc_field *out);

/* One variable by its name without '$', for formats that have a syntax of their own. MC_OK; MC_DECLINED: there is no such variable. */
int mc_vars_get(struct mc_request *r, struct mc_str name, struct mc_str *out);
/* There is such a variable. */
bool mc_vars_known(struct mc_str name);

#endif
