/* Handlers and what they call: the response API and the body API.
 *
 * Loop handlers run on the loop and never block: over the high-water mark writes return MC_AGAIN and resume(MC_RESUME_ROOM) follows.
 * Blocking handlers (MC_NEED_BLOCKING) are executed by the worker module and never see MC_AGAIN: output goes to memory, then to an unlinked file,
 * and only beyond that waits through worker.wait. */
#ifndef MC_SERVER_HANDLER_H
#define MC_SERVER_HANDLER_H

#include "core/http/request.h"

enum { MC_REROUTE = -4 };

enum mc_resume { MC_RESUME_ROOM, MC_RESUME_BODY };

struct mc_handler_ops {
    unsigned needs;          /* MC_NEED_* */
    enum mc_body_mode body;  /* how it wants the request body */
    /* At the head, before any of the body is read; may be NULL. MC_OK: this handler answers. MC_DECLINED: it does not, the routes behind this one are
     * tried (404 behind the last). MC_REROUTE: it changed r->uri and r->path, and a route is looked for from the first one on (10 times at most, then
     * 500). A status: refused. */
    int (*prepare)(struct mc_request *r);
    /* Called once. MC_OK: the response is complete, or (loop handlers) goes on through resume(). A positive status: nothing was sent yet, the
     * server answers with its error page. MC_ERROR: the response is cut (the connection closes without a proper end). */
    int (*start)(struct mc_request *r);
    int (*resume)(struct mc_request *r, enum mc_resume why); /* same returns */
    void (*abort)(struct mc_request *r); /* the client is gone or timed out; the response API gives MC_ERROR from now on */
    bool quick; /* never computes for long and never asks a disk: the clock of the loop's turn tells well enough when it has answered */
};

/* For prepare(): r gets another target, such as "/new/path?query" (percent-encoded); then return MC_REROUTE. target is kept, not copied.
 * MC_OK, or a status: 400 (not a target), 503 (out of memory). */
int mc_request_retarget(struct mc_request *r, struct mc_str target);

/* ---- response ---- */
/* Start, or (while the head is not out) start anew: earlier fields are dropped. status 200-599. The reason may be empty. Slices are kept until the head is
 * encoded, not copied. MC_OK, MC_ERROR (head already out, or the client is gone). */
int mc_response_begin(struct mc_request *r, int status, struct mc_str reason);
/* Add a field. MC_OK; MC_ERROR: not a token, forbidden byte in the value, bad Content-Length, out of memory; MC_DECLINED: connection-specific
 * field (RFC 9110 §7.6.1), ignored: the server owns framing. Content-Length sets the length. */
int mc_response_field(struct mc_request *r, struct mc_str name, struct mc_str value);
/* The same for a field of mc_field() whose name is a token: only the value is checked. */
int mc_response_known(struct mc_request *r, const struct mc_field *field);
/* The same for one whose value is legal, too, and that is neither Content-Length nor connection-specific. */
int mc_response_add(struct mc_request *r, const struct mc_field *field);
void mc_response_length(struct mc_request *r, int64_t length);
/* A field behind the body; the slices are kept until the end. MC_OK; MC_DECLINED: nothing can follow this body (HTTP/1: no chunks); MC_ERROR: not a
 * field that may stand there (RFC 9110 §6.5.1), or as for mc_response_field(). */
int mc_response_trailer(struct mc_request *r, struct mc_str name, struct mc_str value);
/* Encode the head now (otherwise the first write does). */
int mc_response_head(struct mc_request *r);
/* Body bytes; copied or sent before it returns. MC_OK; MC_AGAIN: taken, but write no more before resume (loop handlers only); MC_ERROR: client gone or response over.
 * Bytes beyond Content-Length are cut, logged once, and the connection closes. */
int mc_response_write(struct mc_request *r, const void *p, size_t n);
/* The last bytes (n may be 0): head and body in one send where possible, Content-Length inferred if the head is not out. Fewer bytes than Content-Length:
 * logged, connection closes. */
int mc_response_end(struct mc_request *r, const void *p, size_t n);
/* A range of a file; takes its own reference; sent with sendfile. Same returns as write. */
int mc_response_file(struct mc_request *r, struct mc_file *f, off_t off, off_t n);
/* 103 (and others below 200) before the head; nothing on HTTP/1.0. */
int mc_response_interim(struct mc_request *r, int status, const struct mc_fields *fields);
/* A whole plain error page; or, when the head is out already, cut the response. */
int mc_response_error(struct mc_request *r, int status);
/* Cut the response: no proper end, the connection closes. */
void mc_response_abort(struct mc_request *r);
/* Send what is buffered now (a stream's pause). MC_OK or MC_ERROR. */
int mc_response_flush(struct mc_request *r);
/* Loop handlers only: something was written, ended, cut or read outside of start() and resume() (by a timer, or for another request). The
 * connection goes on at the end of the loop's turn; without it, output would wait for the next event. */
void mc_request_wake(struct mc_request *r);
/* Behind output from outside: all of it is gone, and the connection waits for nothing but its client. True: it need not be woken. */
bool mc_request_rests(struct mc_request *r);
static inline bool mc_response_started(const struct mc_request *r) { return r->resp.state >= MC_RESP_HEAD; }

/* ---- request body ---- */
/* Copy out up to n bytes: > 0; 0 = end; MC_AGAIN (streamed, loop handlers); MC_ERROR: cut off, timed out. */
ssize_t mc_body_read(struct mc_request *r, void *p, size_t n);
/* The body is wanted: a client that waits to be told so is (RFC 9110 §10.1.1). Done before start(), unless prepare() sets r->body.on_demand. */
void mc_body_want(struct mc_request *r);
/* Bytes that can be read without waiting (all of them for a buffered body). */
int64_t mc_body_available(const struct mc_request *r);
/* Copy out bytes from offset `off` of what was received and not yet read, and leave them there: > 0, 0 behind the last one, MC_ERROR. */
ssize_t mc_body_peek(struct mc_request *r, off_t off, void *p, size_t n);

/* ---- tunnels (loop handlers) ---- */
/* In place of a response: 101 with Upgrade: `protocol` and these fields (may be NULL). From then on mc_body_read() gives what the client sends as it stands, 0 at
 * its half-close, and mc_response_write() sends as it stands. No filter and no request_timeout applies any more. mc_response_end() closes the connection.
 * When the client resets it in front of bytes that nobody reads, resume(MC_RESUME_BODY) comes with r->resp.cut.
 * MC_OK; MC_ERROR: there is a head already, or the protocol cannot, or (HTTP/2) a WebSocket's Sec-WebSocket-Accept does not answer the request's key. */
int mc_response_switch(struct mc_request *r, struct mc_str protocol, const struct mc_fields *fields);
/* For blocking handlers on the loop's own thread, which write the 101 themselves: the connection is theirs until they call mc_response_end(). What they give to
 * mc_response_write() goes out as it stands. MC_OK; MC_ERROR: as above. */
int mc_request_take_over(struct mc_request *r);
/* After that: what the client sends. > 0, 0 at its half-close, MC_AGAIN (conn->io tells when there is more), MC_ERROR. */
ssize_t mc_request_receive(struct mc_request *r, void *p, size_t n);
/* Nothing more will be written, but the client may go on sending. */
int mc_response_half_close(struct mc_request *r);

#endif
