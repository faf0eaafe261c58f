/* A request passed on to an upstream, and the reply passed back: what handlers of every gateway (proxy, fastcgi, uwsgi) share. They fill the request's part
 * of an exchange; the rest (body, buffering, back-pressure, interim replies, trailers, tunnels, the client's disconnect, error pages) is done here. Loop only.
 *
 * A handler:  struct mine { struct mc_relay_conf relay; … };  settings[] = { MC_RELAY_SETTINGS(struct mine, relay), …, { .name = NULL } };
 *   check_conf():  mc_relay_check(conf, &a->relay, &mc_gateway_…, "proxy", err, errcap)
 *   prepare():     mc_relay_prepare(r, &a->relay)                  (the body's mode)
 *   start():       q = mc_relay_new(r, &a->relay); fill q->call.x.{target,fields,params,…}; return mc_relay_run(q);
 *   .resume = mc_relay_resume, .abort = mc_relay_abort */
#ifndef MC_SERVER_RELAY_H
#define MC_SERVER_RELAY_H

#include "core/http/vars.h"
#include "core/server/handler.h"
#include "core/server/upstream.h"

struct mc_relay_conf {
    const char *to;
    int64_t connect_timeout, send_timeout, read_timeout, tunnel_timeout, retries, retry_timeout;
    struct mc_strv retry_on, hide_header, pass_header;
    bool request_buffering, response_buffering, intercept_errors;
    /* filled by mc_relay_check() */
    struct mc_call_policy policy;
    struct mc_vars *key; /* of balance = hash */
    bool tls; /* to = "https://…": the handler sets policy.transport and setup */
};

#define MC_RELAY_SETTINGS(S, m)                                                                                                                        \
    { .name = "to", .type = MC_SET_STRING, .offset = offsetof(S, m.to), .meta = "UPSTREAM", .doc = "upstream:NAME, http://HOST[:PORT], https://HOST[:PORT], HOST:PORT or unix:PATH" }, \
    { .name = "connect_timeout", .type = MC_SET_DURATION, .offset = offsetof(S, m.connect_timeout), .dflt = "5s", .meta = "TIME", .doc = "to connect to a peer, TLS included" }, \
    { .name = "send_timeout", .type = MC_SET_DURATION, .offset = offsetof(S, m.send_timeout), .dflt = "60s", .meta = "TIME", .doc = "without the peer taking a byte of the request" }, \
    { .name = "read_timeout", .type = MC_SET_DURATION, .offset = offsetof(S, m.read_timeout), .dflt = "60s", .meta = "TIME", .doc = "without a byte of the reply" }, \
    { .name = "retries", .type = MC_SET_INT, .offset = offsetof(S, m.retries), .dflt = "2", .max = 7, .meta = "INT", .doc = "other peers to ask after the first one has failed" }, \
    { .name = "retry_timeout", .type = MC_SET_DURATION, .offset = offsetof(S, m.retry_timeout), .dflt = "10s", .meta = "TIME", .doc = "no other peer is asked later than this; 0: no limit" }, \
    { .name = "retry_on", .type = MC_SET_LIST, .offset = offsetof(S, m.retry_on), .dflt = "error,timeout", .meta = "WHAT", .doc = "error, timeout, http_502, http_503, http_504 or off; only what is safe to repeat is repeated" }, \
    { .name = "request_buffering", .type = MC_SET_BOOL, .offset = offsetof(S, m.request_buffering), .dflt = "on", .doc = "read the whole request body (body_buffer, then a file) before a peer is asked" }, \
    { .name = "response_buffering", .type = MC_SET_BOOL, .offset = offsetof(S, m.response_buffering), .dflt = "on", .doc = "take replies from a peer at its speed (response_buffer, then response_buffer_file), whatever the client does; X-Accel-Buffering: no turns it off" }, \
    { .name = "intercept_errors", .type = MC_SET_BOOL, .offset = offsetof(S, m.intercept_errors), .doc = "answer with error_page, where one is set for the status, in place of the peer's own page" }, \
    { .name = "hide_header", .type = MC_SET_LIST, .offset = offsetof(S, m.hide_header), .meta = "NAME", .doc = "fields of replies that are not passed on" }, \
    { .name = "pass_header", .type = MC_SET_LIST, .offset = offsetof(S, m.pass_header), .meta = "NAME", .doc = "fields of replies that are passed on though they are meant for the server (X-Accel-…)" }

struct mc_relay {
    struct mc_call call;       /* x.method, is_head, length and arena are filled by mc_relay_new() */
    struct mc_request *r;
    const struct mc_relay_conf *conf;
    int64_t taken;             /* body bytes that are gone from r->body */
    bool streaming;            /* the body is taken as it comes */
    /* Optional: change or add to the reply before it is passed on; called when the head is begun, all fields added. MC_OK, or a status: not passed on. */
    int (*on_head)(struct mc_relay *q);
    void (*prologue)(struct mc_relay *q, struct mc_chain *out); /* as mc_call_ops's; or NULL */
    void *data;                /* the handler's */
    struct mc_post post;       /* relay.c: a head whose body does not come with it */
};

/* policy from the texts; resolves `to`. MC_OK or MC_ERROR with err. what: the action's name, for messages. */
int mc_relay_check(const struct mc_conf *conf, struct mc_relay_conf *c, const struct mc_gateway_ops *gateway, const char *what, char *err, size_t errcap);
/* For init_worker(): meet the upstreams of this module's routes, so that names are asked for and peers are checked before the first request. offset: of the
 * struct mc_relay_conf in the action's struct. */
int mc_relay_open(struct mc_worker *w, const struct mc_module *module, size_t offset);
/* In prepare(): choose whether the body is buffered. */
int mc_relay_prepare(struct mc_request *r, const struct mc_relay_conf *c);
/* NULL: out of memory (answer 503). It is r->hctx from now on. */
struct mc_relay *mc_relay_new(struct mc_request *r, const struct mc_relay_conf *c);
/* What start() returns. */
int mc_relay_run(struct mc_relay *q);
int mc_relay_resume(struct mc_request *r, enum mc_resume why);
void mc_relay_abort(struct mc_request *r);
/* Copy the client's fields that go on to an upstream: not those that are connection-specific (also those that Connection names), Host, Content-Length,
 * Expect, Proxy, and names with '_'. MC_OK or MC_ERROR (out of memory). */
int mc_relay_fields(struct mc_request *r, struct mc_fields *out);

/* ---- relay_choice.c ---- */
/* Fill call.choice from the request. MC_OK or MC_ERROR (out of memory). */
int mc_relay_choice(struct mc_relay *q);
/* Set-Cookie for a client that has come to another peer than its cookie says. As mc_response_field(). */
int mc_relay_cookie(struct mc_relay *q);

#endif
