/* The content coding gzip (RFC 9110 §8.4.1.3) by zlib. Worker side, on any thread. */
#include "core/base/module.h"
#include "core/server/coding.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

enum { GZIP_WRAPPER = 16, MEMORY = 8 };

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
    int memory = bits < MAX_WBITS ? bits - (MAX_WBITS - MEMORY) : MEMORY;
    if (z && deflateInit2(z, level, Z_DEFLATED, bits + GZIP_WRAPPER, memory < 1 ? 1 : memory, Z_DEFAULT_STRATEGY) == Z_OK)
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

static const char *version(void)
{
    static char text[32];
    snprintf(text, sizeof text, "zlib %s", zlibVersion());
    return text;
}

static const struct mc_coding_ops ops = {.coding = "gzip", .level = 5, .least = 1, .most = 9, .open = open_stream, .run = run, .close = close_stream};

const struct mc_module mc_module_coding_gzip = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "gzip",
    .kind = MC_MODULE_CODING,
    .ops.coding = &ops,
    .version = version,
};
