/* Content codings: what a compressor offers to the filter `compress`. One stream at a time; may run on any thread. */
#ifndef MC_SERVER_CODING_H
#define MC_SERVER_CODING_H

#include "core/base/base.h"

enum mc_coding_op {
    MC_CODING_MORE,  /* as much output as there happens to be */
    MC_CODING_FLUSH, /* all that was put in comes out now */
    MC_CODING_END,   /* and nothing follows */
};

/* Input that is left and room that is left; both move on. */
struct mc_coding_io {
    const unsigned char *in;
    size_t in_n;
    unsigned char *out;
    size_t out_n;
};

struct mc_coding_ops {
    const char *coding; /* the word of Accept-Encoding */
    int level, least, most; /* how hard it tries: by default, and the bounds */
    /* size: of all that will come, -1 when nobody knows. NULL: out of memory. */
    void *(*open)(int level, int64_t size);
    /* MC_OK: all input is taken and what op asks for is out; MC_AGAIN: more room is needed; MC_ERROR. */
    int (*run)(void *stream, struct mc_coding_io *io, enum mc_coding_op op);
    void (*close)(void *stream);
};

#endif
