/* Transports: the only callers of recv, send and sendfile on sockets of clients and upstreams. Never block. */
#ifndef MC_SERVER_TRANSPORT_H
#define MC_SERVER_TRANSPORT_H

#include "core/base/base.h"

#include <sys/uio.h>

struct mc_transport_ops;

/* One side of a byte stream: part of a client connection (server/conn.h) and of a connection to an upstream. */
struct mc_stream {
    const struct mc_transport_ops *ops;
    void *tls;   /* the transport's own state; NULL: plain, or not yet open */
    int fd;      /* the owner's to close */
    bool client : 1; /* we connected: an upstream */
    bool keep : 1;   /* close(): what was told of the stream is still read by a borrower; a second close() without this frees it */
    bool reset;      /* close() is to send RST, so that nobody takes what was cut for whole */
    /* Of whoever sends: */
    bool more : 1;   /* send(): other bytes follow at once, so these may wait for them */
    bool last : 1;   /* send(): nothing follows but the end of our side, at once: it may travel with these. Plain only: TLS says so itself */
    bool held : 1;   /* the transport's: such bytes wait for close() or shutdown() */
    uint8_t wants; /* what the socket had no room or bytes for in the last call (MC_WANT_*): the owner's ready bits for that are stale. TLS only */
    const char *why; /* after MC_ERROR: one phrase that lives for ever, or NULL (errno tells) */
    /* What open() needs. Client connections: struct mc_listener. Upstreams over TLS: struct mc_tls_client (config/tls_client.h). */
    const void *setup;
};

struct mc_transport_ops {
    const char *name;
    int (*open)(struct mc_stream *s);                           /* MC_OK, MC_AGAIN (handshake goes on), MC_ERROR */
    ssize_t (*recv)(struct mc_stream *s, void *p, size_t n);    /* > 0; 0 = end of stream; MC_AGAIN; MC_ERROR */
    ssize_t (*send)(struct mc_stream *s, const struct iovec *iov, int n); /* > 0; MC_AGAIN; MC_ERROR */
    ssize_t (*sendfile)(struct mc_stream *s, int fd, off_t off, size_t n); /* as send; 0: the file is shorter than promised */
    bool (*pending)(const struct mc_stream *s);                 /* recv() may give bytes though the socket announces none */
    int (*shutdown)(struct mc_stream *s);                       /* no more sending: MC_OK, MC_AGAIN, MC_ERROR */
    void (*close)(struct mc_stream *s);                         /* free transport state; the fd is closed by the owner */
    void (*rest)(struct mc_stream *s);                          /* nothing went on for a while: give memory back; may be NULL */
};

extern const struct mc_transport_ops mc_transport_plain;

/* Bytes that come before the transport's own: look at them, take them. > 0, 0 end of stream, MC_AGAIN, MC_ERROR. */
ssize_t mc_transport_peek(int fd, void *p, size_t n);
ssize_t mc_transport_take(int fd, void *p, size_t n);

#endif
