/* The access log's format: compiled once, run for each request. Private to access.c, access_format.c and access_line.c. */
#ifndef MC_SERVER_ACCESS_FORMAT_H
#define MC_SERVER_ACCESS_FORMAT_H

#include "core/http/request.h"

#include <time.h>

enum mc_access_atom {
    MC_ATOM_TEXT, /* of the format itself */
    MC_ATOM_ABSENT,
    MC_ATOM_PEER,
    MC_ATOM_USER,
    MC_ATOM_TIME,
    MC_ATOM_TIME_RFC3339,
    MC_ATOM_REQUEST_LINE,
    MC_ATOM_METHOD,
    MC_ATOM_PATH,
    MC_ATOM_QUERY,
    MC_ATOM_PROTOCOL,
    MC_ATOM_STATUS,
    MC_ATOM_BYTES,
    MC_ATOM_SECONDS,
    MC_ATOM_MILLIS,
    MC_ATOM_MICROS,
    MC_ATOM_DECIMAL,
    MC_ATOM_PID,
    MC_ATOM_FIELD,
    MC_ATOM_RESPONSE_FIELD,
    MC_ATOM_VARIABLE, /* of core/http/vars.h */
    MC_ATOM_SCHEME,
    MC_ATOM_TARGET,
    MC_ATOM_SERVER_NAME,
    MC_ATOM_SERVER_PORT,
};

struct mc_access_op {
    enum mc_access_atom what;
    bool value;         /* JSON, outside of quotes: a string with its quotes, a number or null */
    struct mc_str text; /* TEXT, or the name of a field or variable */
};

struct mc_access_format {
    char *names; /* texts of the ops */
    struct mc_access_op *prog;
    size_t nops;
    bool json;
    struct mc_access_date {
        time_t second;
        char text[80];
    } date;
    char pid[16];
};

struct mc_access_fact {
    struct mc_request *r;
    struct mc_str peer;
    int64_t bytes;
    uint64_t usec;
};

/* MC_OK, or MC_ERROR with err. Free it in both cases. */
int mc_access_format_compile(struct mc_access_format *f, const char *format, char *err, size_t errcap);
void mc_access_format_free(struct mc_access_format *f);
/* One line without its end; at most cap bytes. A text is cut where they are full; of JSON long strings are shortened. Returns the bytes written. */
size_t mc_access_format_line(struct mc_access_format *f, const struct mc_access_fact *fact, char *out, size_t cap);

#endif
