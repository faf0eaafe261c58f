/* The WebSocket protocol of a server as pure data (RFC 6455, RFC 7692): handshake, frames of the client, heads of our own. No I/O, no clock, no memory. */
#ifndef MC_HTTP_WS_H
#define MC_HTTP_WS_H

#include "core/http/head.h"

enum mc_ws_op { MC_WS_CONTINUATION = 0, MC_WS_TEXT = 1, MC_WS_BINARY = 2, MC_WS_CLOSE = 8, MC_WS_PING = 9, MC_WS_PONG = 10 };

/* Codes of closing (§7.4). */
enum {
    MC_WS_NORMAL = 1000, MC_WS_GOING_AWAY = 1001, MC_WS_PROTOCOL = 1002, MC_WS_NO_STATUS = 1005 /* never on the wire */,
    MC_WS_ABNORMAL = 1006 /* never on the wire */, MC_WS_NOT_TEXT = 1007, MC_WS_TOO_BIG = 1009, MC_WS_INTERNAL = 1011, MC_WS_RESTART = 1012
};
/* May a close frame have it? */
bool mc_ws_code_ok(unsigned code);

/* ---- the handshake ---- */
enum { MC_WS_ACCEPT = 28, MC_WS_EXTENSIONS_MAX = 128 };
/* MC_OK: the client asks for a WebSocket; MC_DECLINED: it asks for something else; or the status of what is wrong with it: 400, 426 (version). */
int mc_ws_asked(const struct mc_head *head);
/* The value of Sec-WebSocket-Accept; false: there is no such key, or several. */
bool mc_ws_accept(const struct mc_head *head, char out[MC_WS_ACCEPT]);

/* permessage-deflate as agreed; bits are windows, 9 to 15. */
struct mc_ws_deflate {
    bool on;
    bool keep_out, keep_in; /* context takeover: of our messages, of the client's */
    uint8_t bits_out, bits_in;
};
/* Choose from what the client offers; takeover: we would keep contexts. The value of our Sec-WebSocket-Extensions; n 0: none. */
struct mc_str mc_ws_negotiate(const struct mc_fields *fields, bool takeover, struct mc_ws_deflate *out, char text[MC_WS_EXTENSIONS_MAX]);

/* ---- frames of the client ---- */
struct mc_ws_reader {
    uint64_t max;        /* of a message, as it comes; 0: any */
    bool deflate;        /* RSV1 may be set */
    /* private; zeroed */
    unsigned char head[14], nhead;
    bool in_frame, fin;
    uint8_t op;          /* of this frame */
    uint8_t message;     /* of the message that is under way; 0: none */
    bool compressed, first;
    unsigned char mask[4], turn;
    uint64_t left, size;
    unsigned char control[125], ncontrol;
};
struct mc_ws_event {
    enum mc_ws_op op;
    /* TEXT, BINARY: a piece of a message, where it lies in the input; PING, PONG: what came with it; CLOSE: the reason. */
    struct mc_str data;
    bool first, last;    /* piece of its message; a piece may be empty */
    bool compressed;
    unsigned code;       /* CLOSE; MC_WS_NO_STATUS: it had none */
};
/* The next event out of [p, p+n), which is unmasked in place; *used says how much of it is gone. MC_OK; MC_AGAIN: all is gone; positive: the protocol is
 * broken, and this is the code to close with. */
int mc_ws_read(struct mc_ws_reader *r, unsigned char *p, size_t n, size_t *used, struct mc_ws_event *ev);

/* ---- our frames ---- */
enum { MC_WS_HEAD_MAX = 10 };
size_t mc_ws_head(unsigned char out[MC_WS_HEAD_MAX], enum mc_ws_op op, bool compressed, uint64_t n);

#endif
