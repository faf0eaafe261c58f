/* The access log: Gunicorn's format with all its atoms, compiled once; lines are buffered at most one second and written by a log module. */
#ifndef MC_SERVER_ACCESS_H
#define MC_SERVER_ACCESS_H

#include "core/http/request.h"

/* A sink of the `log` kind (file, later syslog). Lines end with '\n'. */
struct mc_log_ops {
    const char *scheme;                        /* "" = a path or "-" */
    void *(*open)(const char *target, int fd); /* fd: opened by the arbiter for file targets, else -1. NULL with errno */
    /* Write whole lines; must not block: what cannot be written is dropped. Returns the lines dropped. */
    unsigned (*write)(void *sink, const char *p, size_t n, unsigned lines);
    void (*set_fd)(void *sink, int fd); /* after a reopen by the arbiter */
    void (*close)(void *sink);
};

struct mc_access;
/* MC_OK, or MC_ERROR with err: what is wrong with the format. */
int mc_access_check(const char *format, char *err, size_t errcap);
/* NULL with err on a bad format. fd is the access log opened by the arbiter. */
struct mc_access *mc_access_open(const struct mc_conf *conf, int fd, char *err, size_t errcap);
/* One line for a finished request; bytes = body bytes sent; usec = time since its head arrived; peer: text of the client address. */
void mc_access_request(struct mc_access *a, const struct mc_request *r, struct mc_str peer, int64_t bytes, uint64_t usec);
void mc_access_flush(struct mc_access *a);
void mc_access_set_fd(struct mc_access *a, int fd);
void mc_access_close(struct mc_access **a);

#endif
