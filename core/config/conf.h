/* The resolved configuration: plain, immutable structs that both sides read. Built by the arbiter from defaults, environment, file and command
 * line (mc_conf_load), printed in normal form (mc_conf_print), and read back by workers from that form (mc_conf_parse). */
#ifndef MC_CONFIG_CONF_H
#define MC_CONFIG_CONF_H

#include "core/base/arena.h"
#include "core/base/log.h"
#include "core/base/module.h"
#include "core/config/setting.h"
#include "core/os/socket.h"

/* Every built-in setting; each scope has a whole copy, filled from the scope round it, so `route->set.limit_request_body` is always final. */
struct mc_values {
    /* process (MAIN) */
    const char *chdir, *pidfile, *proc_name, *default_proc_name, *errorlog, *loglevel, *accesslog, *access_log_format, *tmp_upload_dir;
    const char *syslog_addr, *syslog_prefix, *syslog_facility, *syslog_format; /* resolved by modules/log/syslog */
    bool syslog, disable_redirect_access_to_syslog;
    const char *statsd_host, *statsd_prefix, *dogstatsd_tags; /* resolved by modules/log/statsd */
    bool enable_backlog_metric, capture_output, enable_stdio_inheritance;
    bool reload; /* for development */
    struct mc_strv reload_extra_files;
    bool access_log; /* R: requests of this place are logged there */
    int64_t umask_; /* octal, default 0 as Gunicorn's */
    bool daemon, initgroups;
    struct mc_strv resolver; /* name servers of upstreams, ADDRESS[:PORT] */
    struct mc_strv bind, raw_env, forwarded_allow_ips, secure_scheme_headers, forwarder_headers;
    const char *header_map; /* drop, refuse, dangerous */
    struct mc_strv proxy_allow_ips;
    const char *proxy_protocol; /* off, v1, v2, auto */
    const char *protocol;       /* http, uwsgi */
    struct mc_strv uwsgi_allow_ips;
    struct mc_strv http_protocols; /* h2, h1: over TLS, best first */
    const char *http2_cleartext;   /* off, prior-knowledge */
    int64_t http2_max_concurrent_streams, http2_initial_window_size, http2_max_frame_size, http2_max_header_list_size;
    int64_t http2_max_resets, http2_max_settings, http2_max_pings, http2_max_priorities, http2_max_empty_frames, http2_max_window_updates, http2_max_continuations;
    struct mc_strv error_page; /* R */
    const char *real_ip_header; /* NULL: off */
    int64_t backlog;        /* default 2048 */
    bool reuse_port;
    const char *certfile, *keyfile, *ca_certs, *ciphers; /* Gunicorn's TLS: for servers without a tls section */
    int64_t cert_reqs;      /* 0 none, 1 optional, 2 required */
    /* pool */
    const char *worker_class, *user, *group;
    int64_t workers; /* 0 = auto */
    int64_t workers_min, workers_max; /* -1 = unset; of a pool both are set, or neither */
    int64_t workers_idle_timeout; /* ms */
    int64_t threads, worker_connections;
    int64_t timeout, graceful_timeout; /* ms; 0 = off */
    int64_t shutdown_delay;            /* ms */
    int64_t queue, queue_timeout;      /* requests of other pools that wait; ms */
    int64_t keepalive;                 /* ms; -1 = the worker type's default (sync 0, others 2 s) */
    int64_t request_timeout, max_lifetime; /* ms; 0 = off */
    int64_t max_requests, max_requests_jitter, max_rss; /* 0 = off; bytes */
    int64_t reload_surge;
    bool preload_app, sendfile;
    int64_t greenlet_stack; /* bytes */
    bool greenlet_libc;
    struct mc_strv env; /* KEY=VALUE */
    /* Python */
    const char *python, *wsgi_app;
    const char *hooks; /* file with Gunicorn's hooks: absolute path, or "python:MODULE"; NULL: none */
    const char *logconfig, *logconfig_dict, *logconfig_json; /* of Python's logging; absolute path, JSON text, absolute path */
    struct mc_strv pythonpath; /* comma list */
    const char *asgi_loop, *asgi_lifespan; /* auto, asyncio, uvloop; auto, on, off */
    int64_t asgi_disconnect_grace_period;  /* ms */
    const char *root_path;                 /* NULL or "/…" */
    /* HTTP (MAIN, SERVER; those marked R also ROUTE) */
    int64_t limit_request_line, limit_request_fields, limit_request_field_size, limit_request_head; /* bytes or counts */
    int64_t limit_request_body;                                                                     /* R bytes, 0 = off */
    int64_t header_timeout, body_timeout, send_timeout;                                             /* ms, 0 = off; body and send R */
    int64_t body_buffer, response_buffer, response_buffer_file;                                     /* R bytes */
    int64_t websocket_max_message_size, websocket_ping_interval, websocket_ping_timeout;            /* R bytes, ms */
    bool websocket_deflate, websocket_context_takeover;                                             /* R */
    bool permit_unconventional_http_method;
    const char *server_tokens; /* Server field: "on" (monoceros/VERSION), "off" (none), "name" (monoceros) or any other text as it stands */
    /* command line only */
    const char *config, *convert, *status, *upgrade;
    bool check_config, print_config, json;
};

struct mc_tls_client; /* tls_client.h */

struct mc_conf_where {
    const char *file;
    int line;
}; /* file NULL: command line, environment or built in */

/* A section of a module (base/module.h), or of core: its settings, filled. */
struct mc_conf_section {
    struct mc_conf_section *next; /* in the same place; in the order of the file among those of one name */
    const struct mc_section *type;
    const char *title; /* NULL: none */
    void *set;         /* type->size bytes */
    struct mc_conf_section *inner;
    struct mc_conf_where at;
};

struct mc_conf_pool {
    const char *name;
    unsigned index;
    struct mc_values set;
    const struct mc_module *worker; /* set.worker_class resolved */
    bool python;                    /* one of its apps lives in Python: the pool gets a zygote */
    const char *hub;                /* "gevent", "eventlet": whose greenlets run the requests, in place of the worker type's own coroutines; or NULL */
    const char *apps;               /* what its apps are where they do not say: "asgi" when worker_class is a word for that, or runs nothing else; or NULL */
    bool hops;                      /* servers of other pools ask for its apps: it has a listener for them */
    uid_t uid;
    gid_t gid; /* of set.user, set.group; -1: unchanged */
    struct mc_conf_where at;
};

struct mc_conf_app {
    const char *name;
    unsigned index;
    const struct mc_app_type *type;
    const char *module; /* "shop.wsgi:application", "mod", "mod:factory()"; native: a shared library, relative to chdir; NULL: linked in */
    const char *symbol; /* native: the name it exports, or NULL */
    const char *chdir;  /* absolute; the process's own when not set */
    const char *home;   /* virtual environment of the app, or NULL */
    struct mc_conf_pool *pool;
    struct mc_values set;
    struct mc_conf_where at;
};

/* One listening socket of the process; the order is the order of inherited descriptors. */
struct mc_conf_listen {
    const char *text; /* normal form */
    unsigned index;
    struct mc_addr addr;
    bool tls;
    bool hop; /* for the other pools' workers: text is "pool:NAME", the arbiter chooses the address (process/hops.c) */
    int64_t handshake_timeout; /* ms */
    int64_t handshakes;        /* unfinished at once, of one worker; 0: any number */
    struct mc_conf_pool *pool;
    struct mc_conf_server **servers; /* in file order; the first is the default */
    size_t nservers;
};

/* A further condition of a route: all of them must hold. */
enum mc_cond_kind { MC_COND_METHOD, MC_COND_HOST, MC_COND_SCHEME, MC_COND_CLIENT, MC_COND_HEADER, MC_COND_QUERY, MC_COND_COOKIE };
struct mc_conf_cond {
    enum mc_cond_kind kind;
    bool absent;           /* header, query, cookie: it must not be there */
    struct mc_str name;    /* of a header, parameter or cookie */
    struct mc_strv words;  /* methods, scheme */
    struct mc_cidr *nets;  /* client */
    size_t nnets;
    void **regexes;        /* pcre2_code *: one of them must match; none: being there is enough */
    unsigned *first;       /* where the groups of each begin in r->captures */
    size_t nregexes;
};

enum { MC_CONF_GROUPS = 32 /* of one pattern, with the whole match */ };
/* How many groups a pattern (pcre2_code *) has, with the whole match. */
unsigned mc_conf_groups(const void *code);

enum mc_match_kind { MC_MATCH_ALL, MC_MATCH_EXACT, MC_MATCH_PREFIX, MC_MATCH_REGEX };

struct mc_conf_route {
    const char *name;
    enum mc_match_kind match;
    struct mc_str pattern;          /* exact path, prefix or regex text; matched against the normalised path */
    void *regex;                    /* pcre2_code *, JIT-compiled; its groups are the first of r->captures */
    struct mc_conf_cond *conds;
    size_t nconds;
    unsigned ncaptures;             /* groups of all its patterns, each with its whole match */
    struct mc_match_words *words;   /* match { } as written, for the normal form; NULL: none */
    const struct mc_module *module; /* action of a handler module, or */
    void *action;                   /* …its settings struct */
    struct mc_conf_app *app;        /* an app; exactly one of module and app is set */
    struct mc_conf_section *sections;
    struct mc_error_pages *errors;  /* worker side: error_page (server/errors.c) */
    bool internal;                  /* only for requests that were sent on: by rewrite, try or error_page */
    struct mc_filter_use *filters;  /* worker side: those that take part here, in the order of their phases (server/filter.h) */
    size_t nfilters;
    struct mc_values set;
    struct mc_conf_where at;
};

struct mc_conf_server {
    const char *name;
    unsigned index;
    struct mc_str *names; /* lower case; exact "example.org", wildcard "*.example.org", "~PATTERN" as it stands; none: any name */
    void **regexes;       /* pcre2_code * of those that are patterns, NULL of the others; NULL when none is */
    unsigned ncaptures;   /* the most groups that one of them has, with the whole match; 0: none is a pattern */
    size_t nnames;
    struct mc_conf_listen **listens;
    size_t nlistens;
    struct mc_conf_route *routes;
    size_t nroutes;
    struct mc_conf_pool *pool;
    struct mc_conf_section *sections;
    struct mc_values set;
    void *tls;              /* a TLS module's; NULL: none of its listeners has TLS */
    unsigned client_policy; /* equal numbers: the same demands on client certificates, 0: none (a TLS module's) */
    /* parsed forms of set.* that requests need */
    struct mc_error_pages *errors;
    struct mc_cidr *trusted;
    size_t ntrusted; /* forwarded_allow_ips */
    struct mc_cidr *proxies;
    size_t nproxies; /* proxy_allow_ips */
    struct mc_cidr *fronts;
    size_t nfronts; /* uwsgi_allow_ips */
    struct mc_conf_where at;
};

struct mc_resolve_from;
struct mc_conf {
    struct mc_arena arena; /* owns all of it */
    const struct mc_resolve_from *from; /* what was written, for mc_conf_print_origins(); NULL: normal form was */
    struct mc_conf_zone *zones; /* shared memory that modules asked for (config/zone.h) */
    void *zone_memory;
    struct mc_values set;
    struct mc_conf_pool *pools;
    size_t npools; /* at least 1 */
    struct mc_conf_app *apps;
    size_t napps;
    struct mc_conf_server *servers;
    size_t nservers; /* at least 1 */
    struct mc_tls_client *tls_clients; /* those who call upstreams over TLS */
    unsigned ntls_clients;
    struct mc_conf_listen *listens;
    size_t nlistens; /* at least 1 */
    struct mc_conf_section *sections;
    enum mc_log_level loglevel;
    uid_t uid;
    gid_t gid;       /* of set.user, set.group; -1: unchanged */
    const char *cwd; /* absolute: set.chdir or where we were started */
};

enum mc_conf_todo { MC_CONF_RUN, MC_CONF_EXIT /* --help, -v, -V, --print-config printed: exit with *code */, MC_CONF_CHECK, MC_CONF_UPGRADE /* nothing but set.upgrade in it */, MC_CONF_STATUS /* may be a configuration with nothing but set.status and set.json in it */ };

/* Everything from the command line on. Errors are printed to stderr, one line each with file and line, and *code is the exit code
 * (1 configuration, 2 command line). Returns the configuration (free with mc_conf_free) or NULL with *todo == MC_CONF_EXIT. */
struct mc_conf *mc_conf_load(int argc, char **argv, enum mc_conf_todo *todo, int *code);
/* Before it: addresses that stand in for `bind` where no server section says where to listen; the memory stays the caller's. */
void mc_conf_give(struct mc_strv addresses);
/* What a later program needs to be started in the same way; of the first mc_conf_load(), NULL before it. */
struct mc_conf_first {
    char *const *argv, *const *env;
    const char *dir;
};
void mc_conf_first(struct mc_conf_first *out);
/* Again for a reload, in a child of the arbiter: same command line, environment and directory as the first time; NULL with err, one line with file and line. */
struct mc_conf *mc_conf_reload(char *err, size_t errcap);
void mc_conf_free(struct mc_conf **c);

/* The first section of a type in a list, or the next one after `prev`; NULL: none. */
struct mc_conf_section *mc_conf_section(struct mc_conf_section *list, const struct mc_section *type, const struct mc_conf_section *prev);
/* A titled one by its title, or NULL. */
struct mc_conf_section *mc_conf_section_named(struct mc_conf_section *list, const struct mc_section *type, const char *title);

/* The section that counts for a route: its own, else its server's, else that of the top level; NULL: none. An inner one replaces an outer one whole. */
struct mc_conf_section *mc_conf_section_for(const struct mc_conf *c, const struct mc_conf_server *server, const struct mc_conf_route *route,
                                            const struct mc_section *type);

/* Normal form: a file that parses back to the same settings; every setting of every scope that differs from its outer scope is written. */
int mc_conf_print(const struct mc_conf *c, struct mc_sb *out);
/* The same for people: every setting of the process and of pools, and in comments where each value comes from. */
int mc_conf_print_origins(const struct mc_conf *c, struct mc_sb *out);
/* Parse normal form (the configuration image of a worker); NULL with err. Names no files, reads no environment. */
struct mc_conf *mc_conf_parse(const char *text, size_t n, const char *filename, char *err, size_t errcap);

#endif
