/* The access log: Gunicorn's format with all its atoms, compiled once; lines are buffered at most one second and written by log modules (sinks.h). */
#ifndef MC_SERVER_ACCESS_H
#define MC_SERVER_ACCESS_H

#include "core/http/request.h"

struct mc_access;
/* MC_OK, or MC_ERROR with err: what is wrong with the format. */
int mc_access_check(const char *format, char *err, size_t errcap);
/* fd is the access log opened by the arbiter, or -1. MC_OK; MC_DECLINED: the settings ask for no access log; MC_ERROR with err. */
int mc_access_open(struct mc_access **out, const struct mc_conf *conf, int fd, char *err, size_t errcap);
/* One line for a finished request; bytes = body bytes sent; usec = time since its head arrived; peer: text of the client address. */
void mc_access_request(struct mc_access *a, struct mc_request *r, struct mc_str peer, int64_t bytes, uint64_t usec);
void mc_access_flush(struct mc_access *a);
void mc_access_set_fd(struct mc_access *a, int fd);
void mc_access_close(struct mc_access **a);

#endif
