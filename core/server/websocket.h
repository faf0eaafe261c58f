/* WebSockets for loop handlers (RFC 6455, RFC 7692), over the tunnel of handler.h. What comes from the client is pulled message by message: what is not taken
 * stays with the client. Pings, pongs and the closing handshake are done here. On the loop only. */
#ifndef MC_SERVER_WEBSOCKET_H
#define MC_SERVER_WEBSOCKET_H

#include "core/http/ws.h"
#include "core/server/handler.h"
#include "core/server/worker.h"

struct mc_ws;

struct mc_ws_message {
    bool text; /* then it is UTF-8 */
    const char *p;
    size_t n;
};

/* In start(), when mc_ws_asked() said MC_OK: 101 with this subprotocol (empty: none) and these further fields (may be NULL). It lives in r's arena. NULL: too
 * late, the client is gone, or out of memory. */
struct mc_ws *mc_ws_open(struct mc_request *r, struct mc_str subprotocol, const struct mc_fields *fields);
/* In resume(), whatever it came for: reads, answers pings and closes, checks. MC_OK: there is something for mc_ws_next(); MC_AGAIN: nothing. */
int mc_ws_pump(struct mc_ws *ws);
/* MC_OK: a whole message, valid until the next call of this or of mc_ws_pump(); MC_AGAIN: none yet; MC_DECLINED: none will come (mc_ws_ended).
 * Outside of resume() the connection needs mc_request_wake() afterwards. */
int mc_ws_next(struct mc_ws *ws, struct mc_ws_message *m);
/* A message. MC_OK; MC_AGAIN: taken, but no more before resume(MC_RESUME_ROOM); MC_ERROR: it is closed, or the client is gone. */
int mc_ws_send(struct mc_ws *ws, bool text, const void *p, size_t n);
/* Begin to close, with a code that mc_ws_code_ok() takes and a reason of at most 123 bytes. What the client still sends is dropped; it has
 * websocket_ping_timeout to close, too. MC_OK; MC_ERROR: it is closed already, or the code is none. */
int mc_ws_close(struct mc_ws *ws, unsigned code, struct mc_str reason);
/* It is over, or will be soon: the code of whoever closed, MC_WS_NO_STATUS (he gave none) or MC_WS_ABNORMAL (nobody did). 0: it is open. */
unsigned mc_ws_ended(const struct mc_ws *ws, struct mc_str *reason);
/* The worker drains: all of its WebSockets are closed with MC_WS_RESTART. */
void mc_ws_drain(void);

#endif
