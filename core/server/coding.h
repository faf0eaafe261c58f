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

/* Messages as raw DEFLATE (RFC 7692 §7.2). */
struct mc_message_coding {
    /* bits: 9 to 15, no more than 1 << bits bytes are referred back to; an inflater follows any. NULL: out of memory. */
    void *(*open)(bool inflate, unsigned bits);
    void (*reset)(void *stream, bool keep); /* before each message; keep: it may speak of what was in those before it, which were whole */
    /* All input is taken, and with `last` all of the message comes out: of a deflater with the four bytes 00 00 FF FF at its end, which are not sent;
     * an inflater does without. MC_OK; MC_AGAIN: more room is needed; MC_ERROR: what is to be inflated is broken. */
    int (*run)(void *stream, struct mc_coding_io *io, bool last);
    void (*close)(void *stream);
};

struct mc_coding_ops {
    const char *coding; /* the word of Accept-Encoding */
    int level, least, most; /* how hard it tries: by default, and the bounds */
    /* size: of all that will come, -1 when nobody knows. NULL: out of memory. */
    void *(*open)(int level, int64_t size);
    /* MC_OK: all input is taken and what op asks for is out; MC_AGAIN: more room is needed; MC_ERROR. */
    int (*run)(void *stream, struct mc_coding_io *io, enum mc_coding_op op);
    void (*close)(void *stream);
    const struct mc_message_coding *messages; /* NULL: it has no such thing */
};

#endif
