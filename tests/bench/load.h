/* The load client of the bench: what its files share. One thread, one process; never part of the server.
 * load.c: the loop, HTTP and the figures; load_io.c: connections, plain or TLS; load_ws.c: WebSocket frames. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <http_parser.h>
#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>

enum load_tls { TLS_NONE, TLS_KEEP, TLS_FULL, TLS_RESUMED };
enum load_ws { WS_NONE, WS_ECHO, WS_BROADCAST };

struct load_client {
    http_parser parser;
    SSL *ssl;
    const char *out; /* what is left to send */
    size_t out_n;
    uint64_t sent_at, frame_left;
    size_t body_n; /* bytes of the answer's body, or of the message */
    int fd, up;    /* up: the handshake is over */
    int blocked;   /* sending waits for the server */
    int waiting;   /* answers that have not come */
    int answered;  /* has had one, on any of its connections */
    int wrong;     /* the body is not the expected one */
    int open;      /* a WebSocket */
    int in_frame, head_n; /* the bytes of a frame's head that have come */
    unsigned char head[14];
};

struct load_settings {
    enum load_tls tls;
    enum load_ws ws;
    int pipeline, close_each, idle, status, slow;
    size_t body_n;    /* expected, with its bytes when there are some */
    const char *body;
    int has_body;
    const char *train; /* what is sent each time: the request, or requests */
    size_t train_n;
};

extern struct load_settings load_is;
extern uint64_t load_errors, load_resumed, load_connects;

void load_die(const char *what);
uint64_t load_now(void);

/* Connections. */
void load_io_start(int port, int epoll);
void load_io_connect(struct load_client *c);
void load_io_close(struct load_client *c);
/* 1 when the connection is ready for requests, 0 not yet, -1 broken. */
int load_io_handshake(struct load_client *c);
/* Bytes; 0 at the end of the connection or broken; -1 nothing there now. */
long load_io_read(struct load_client *c, char *to, size_t n);
/* Sends what is in c->out as far as it goes; the rest when it is called again. */
void load_io_send(struct load_client *c);

/* WebSockets: the upgrade's request and the frame that is sent for a message of load_is.body_n bytes; frames that came: the number
 * of whole messages, or -1 when one is not what was expected. */
void load_ws_start(void);
void load_ws_ask(struct load_client *c);
int load_ws_take(struct load_client *c, const char *bytes, size_t n);

#endif
