/* Transports: the only callers of recv, send and sendfile on client sockets. Never block. */
#ifndef MC_SERVER_TRANSPORT_H
#define MC_SERVER_TRANSPORT_H

#include "core/base/base.h"

#include <sys/uio.h>

struct mc_conn;

struct mc_transport_ops {
    const char *name;
    int (*open)(struct mc_conn *c);                           /* MC_OK, MC_AGAIN (handshake goes on), MC_ERROR */
    ssize_t (*recv)(struct mc_conn *c, void *p, size_t n);    /* > 0; 0 = end of stream; MC_AGAIN; MC_ERROR */
    ssize_t (*send)(struct mc_conn *c, const struct iovec *iov, int n); /* > 0; MC_AGAIN; MC_ERROR */
    ssize_t (*sendfile)(struct mc_conn *c, int fd, off_t off, size_t n); /* as send; 0: the file is shorter than promised */
    bool (*pending)(const struct mc_conn *c);                 /* bytes already decrypted wait */
    int (*shutdown)(struct mc_conn *c);                       /* no more sending: MC_OK, MC_AGAIN, MC_ERROR */
    void (*close)(struct mc_conn *c);                         /* free transport state; the fd is closed by the caller */
};

extern const struct mc_transport_ops mc_transport_plain;

#endif
