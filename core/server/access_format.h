/* The access log's format: compiled once, run for each request. Private to access.c and access_format.c. */
#ifndef MC_SERVER_ACCESS_FORMAT_H
#define MC_SERVER_ACCESS_FORMAT_H

#include "core/http/request.h"

#include <time.h>

struct mc_access_op;

struct mc_access_format {
    char *names; /* texts of the ops */
    struct mc_access_op *prog;
    size_t nops;
    time_t second; /* of date */
    char date[80];
    char pid[16];
};

struct mc_access_fact {
    const struct mc_request *r;
    struct mc_str peer;
    int64_t bytes;
    uint64_t usec;
};

/* MC_OK, or MC_ERROR with err. Free it in both cases. */
int mc_access_format_compile(struct mc_access_format *f, const char *format, char *err, size_t errcap);
void mc_access_format_free(struct mc_access_format *f);
/* One line without its end; at most cap bytes, cut where they are full. Returns the bytes written. */
size_t mc_access_format_line(struct mc_access_format *f, const struct mc_access_fact *fact, char *out, size_t cap);

#endif
