/* Checks of single words that the type alone does not cover; the table names them. MC_OK, or MC_ERROR with a text that fits after "NAME: ". */
#ifndef MC_CONFIG_CHECK_H
#define MC_CONFIG_CHECK_H

#include "core/base/base.h"

int mc_check_loglevel(const char *value, char *err, size_t cap);
int mc_check_target(const char *value, char *err, size_t cap);    /* os/target.h */
int mc_check_facility(const char *value, char *err, size_t cap);  /* of syslog */
int mc_check_syslog_format(const char *value, char *err, size_t cap);
int mc_check_header_map(const char *value, char *err, size_t cap);
int mc_check_asgi_loop(const char *value, char *err, size_t cap);
int mc_check_lifespan(const char *value, char *err, size_t cap);
int mc_check_root_path(const char *value, char *err, size_t cap); /* "" or "/…" without a '/' at its end */
int mc_check_env(const char *value, char *err, size_t cap);
int mc_check_cidr(const char *value, char *err, size_t cap);
int mc_check_field(const char *value, char *err, size_t cap);      /* "NAME: value" */
int mc_check_field_name(const char *value, char *err, size_t cap); /* a header name, or "*" */
int mc_check_text(const char *value, char *err, size_t cap);       /* fits into a header field */
int mc_check_filled(const char *value, char *err, size_t cap);     /* not empty */
int mc_check_host(const char *value, char *err, size_t cap);       /* a server name: host, "*.host"; any case */
int mc_check_proxy_protocol(const char *value, char *err, size_t cap);
int mc_check_protocol(const char *value, char *err, size_t cap);
int mc_check_http_protocol(const char *value, char *err, size_t cap);
int mc_check_http2_cleartext(const char *value, char *err, size_t cap);
int mc_check_name(const char *value, char *err, size_t cap);       /* the same, "~PATTERN", and with a '!' before it */
int mc_check_method(const char *value, char *err, size_t cap);     /* those and the next ones also with a '!' before them */
int mc_check_scheme(const char *value, char *err, size_t cap);
int mc_check_client(const char *value, char *err, size_t cap);
int mc_check_cond_header(const char *value, char *err, size_t cap); /* "NAME", "NAME: PATTERN" */
int mc_check_cond_name(const char *value, char *err, size_t cap);   /* "NAME", "NAME=PATTERN" */
int mc_check_server(const char *value, char *err, size_t cap);     /* IP or IP:PORT, [V6] or [V6]:PORT */

#endif
