/* The content coding gzip (RFC 9110 §8.4.1.3) by zlib, and messages as raw DEFLATE (RFC 7692). Worker side, on any thread. */
#include "core/base/module.h"
#include "core/server/coding.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

enum { GZIP_WRAPPER = 16, MEMORY = 8 };

/* For the tables beside such a window. */
static int memory_for(int bits)
{
    int memory = MEMORY - (MAX_WBITS - bits);
    return memory < 1 ? 1 : memory;
}

/* The smallest window that covers all of it: memory is most of what a short response costs. */
static int window_bits(int64_t size)
{
    int bits = 9;
    while (bits < MAX_WBITS && (size < 0 || (INT64_C(1) << bits) < size))
        bits++;
    return bits;
}

static void *open_stream(int level, int64_t size)
{
    z_stream *z = calloc(1, sizeof *z);
    int bits = window_bits(size);
    if (z && deflateInit2(z, level, Z_DEFLATED, bits + GZIP_WRAPPER, memory_for(bits), Z_DEFAULT_STRATEGY) == Z_OK)
        return z;
    free(z);
    return NULL;
}

static int run(void *stream, struct mc_coding_io *io, enum mc_coding_op op)
{
    z_stream *z = stream;
    static const int flush[] = {[MC_CODING_MORE] = Z_NO_FLUSH, [MC_CODING_FLUSH] = Z_SYNC_FLUSH, [MC_CODING_END] = Z_FINISH};
    for (;;) {
        uInt in = io->in_n < UINT_MAX ? (uInt)io->in_n : UINT_MAX, out = io->out_n < UINT_MAX ? (uInt)io->out_n : UINT_MAX;
        bool all = in == io->in_n;
        z->next_in = (Bytef *)(uintptr_t)io->in;
        z->avail_in = in;
        z->next_out = io->out;
        z->avail_out = out;
        int rc = deflate(z, all ? flush[op] : Z_NO_FLUSH);
        io->in += in - z->avail_in;
        io->in_n -= in - z->avail_in;
        io->out += out - z->avail_out;
        io->out_n -= out - z->avail_out;
        if (rc == Z_STREAM_END)
            return MC_OK;
        if (rc != Z_OK && rc != Z_BUF_ERROR)
            return MC_ERROR;
        if (io->out_n == 0)
            return MC_AGAIN;
        if (io->in_n == 0 && op != MC_CODING_END)
            return MC_OK;
        if (rc == Z_BUF_ERROR)
            return MC_ERROR; /* there was room, and no progress */
    }
}

static void close_stream(void *stream)
{
    deflateEnd(stream);
    free(stream);
}

/* ---- messages ---- */

struct message {
    z_stream z;
    bool inflates;
    unsigned tail; /* of the four bytes that messages go without, so many were given to the inflater */
};

static void *open_message(bool inflates, unsigned bits)
{
    struct message *m = calloc(1, sizeof *m);
    int n = (int)bits;
    int rc = !m ? Z_MEM_ERROR : inflates ? inflateInit2(&m->z, -MAX_WBITS) : deflateInit2(&m->z, Z_BEST_SPEED, Z_DEFLATED, -n, memory_for(n), Z_DEFAULT_STRATEGY);
    if (rc == Z_OK) {
        m->inflates = inflates;
        return m;
    }
    free(m);
    return NULL;
}

static void reset_message(void *stream, bool keep)
{
    struct message *m = stream;
    m->tail = 0;
    if (m->inflates && keep)
        inflateResetKeep(&m->z); /* the window stays */
    else if (m->inflates)
        inflateReset(&m->z);
    else if (!keep)
        deflateReset(&m->z);
}

/* One call of zlib; what is left of `io` moves on. */
static int pass(struct message *m, struct mc_coding_io *io, int flush)
{
    uInt in = io->in_n < UINT_MAX ? (uInt)io->in_n : UINT_MAX, out = io->out_n < UINT_MAX ? (uInt)io->out_n : UINT_MAX;
    m->z.next_in = (Bytef *)(uintptr_t)io->in;
    m->z.avail_in = in;
    m->z.next_out = io->out;
    m->z.avail_out = out;
    int rc = m->inflates ? inflate(&m->z, flush) : deflate(&m->z, flush);
    io->in += in - m->z.avail_in;
    io->in_n -= in - m->z.avail_in;
    io->out += out - m->z.avail_out;
    io->out_n -= out - m->z.avail_out;
    return rc;
}

/* An app of the other side may set the final bit in each block: it is the end of a block like any other. */
static int inflate_some(struct message *m, struct mc_coding_io *io)
{
    for (;;) {
        size_t in = io->in_n, out = io->out_n;
        if (out == 0)
            return MC_AGAIN;
        int rc = pass(m, io, Z_SYNC_FLUSH);
        if (rc == Z_STREAM_END)
            inflateResetKeep(&m->z);
        else if (rc != Z_OK && rc != Z_BUF_ERROR)
            return MC_ERROR;
        if (io->out_n == 0)
            return MC_AGAIN;
        if (io->in_n == 0)
            return MC_OK;
        if (in == io->in_n && out == io->out_n)
            return MC_ERROR;
    }
}

static int run_message(void *stream, struct mc_coding_io *io, bool last)
{
    static const unsigned char end[4] = {0, 0, 0xff, 0xff};
    struct message *m = stream;
    if (!m->inflates) {
        for (;;) {
            int rc = pass(m, io, last ? Z_SYNC_FLUSH : Z_NO_FLUSH);
            if (rc != Z_OK && rc != Z_BUF_ERROR)
                return MC_ERROR;
            if (io->out_n == 0)
                return MC_AGAIN;
            if (io->in_n == 0)
                return MC_OK;
        }
    }
    int rc = inflate_some(m, io);
    if (rc != MC_OK || !last || m->tail == sizeof end)
        return rc;
    struct mc_coding_io rest = {.in = end + m->tail, .in_n = sizeof end - m->tail, .out = io->out, .out_n = io->out_n};
    rc = inflate_some(m, &rest);
    m->tail = (unsigned)(sizeof end - rest.in_n);
    io->out = rest.out;
    io->out_n = rest.out_n;
    return rc;
}

static void close_message(void *stream)
{
    struct message *m = stream;
    if (m->inflates)
        inflateEnd(&m->z);
    else
        deflateEnd(&m->z);
    free(m);
}

static const struct mc_message_coding messages = {.open = open_message, .reset = reset_message, .run = run_message, .close = close_message};

static const char *version(void)
{
    static char text[32];
    snprintf(text, sizeof text, "zlib %s", zlibVersion());
    return text;
}

static const struct mc_coding_ops ops = {.coding = "gzip", .level = 5, .least = 1, .most = 9, .open = open_stream, .run = run, .close = close_stream, .messages = &messages};

const struct mc_module mc_module_coding_gzip = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "gzip",
    .kind = MC_MODULE_CODING,
    .ops.coding = &ops,
    .version = version,
};
