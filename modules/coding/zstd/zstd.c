/* The content coding zstd (RFC 8878, within the window of RFC 9659) by libzstd. Worker side, on any thread. */
#include "core/base/module.h"
#include "core/server/coding.h"

#include <stdio.h>
#include <zstd.h>

enum { WINDOW_BITS = 16 /* 64 KiB, which bounds the memory; browsers take up to 23 */ };

static void *open_stream(int level, int64_t size)
{
    ZSTD_CCtx *z = ZSTD_createCCtx();
    if (!z)
        return NULL;
    ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(z, ZSTD_c_windowLog, WINDOW_BITS);
    if (size >= 0)
        ZSTD_CCtx_setPledgedSrcSize(z, (unsigned long long)size); /* a smaller window for what is small */
    return z;
}

static int run(void *stream, struct mc_coding_io *io, enum mc_coding_op op)
{
    static const ZSTD_EndDirective directives[] = {
        [MC_CODING_MORE] = ZSTD_e_continue, [MC_CODING_FLUSH] = ZSTD_e_flush, [MC_CODING_END] = ZSTD_e_end};
    ZSTD_inBuffer in = {io->in, io->in_n, 0};
    ZSTD_outBuffer out = {io->out, io->out_n, 0};
    size_t left;
    do
        left = ZSTD_compressStream2(stream, &out, &in, directives[op]);
    while (!ZSTD_isError(left) && out.pos < out.size && (in.pos < in.size || (left && op != MC_CODING_MORE)));
    io->in += in.pos;
    io->in_n -= in.pos;
    io->out += out.pos;
    io->out_n -= out.pos;
    if (ZSTD_isError(left))
        return MC_ERROR;
    return io->in_n == 0 && (left == 0 || op == MC_CODING_MORE) ? MC_OK : MC_AGAIN;
}

static void close_stream(void *stream)
{
    ZSTD_freeCCtx(stream);
}

static const char *version(void)
{
    static char text[32];
    snprintf(text, sizeof text, "Zstandard %s", ZSTD_versionString());
    return text;
}

static const struct mc_coding_ops ops = {.coding = "zstd", .level = 3, .least = 1, .most = 19, .open = open_stream, .run = run, .close = close_stream};

const struct mc_module mc_module_coding_zstd = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "zstd",
    .kind = MC_MODULE_CODING,
    .ops.coding = &ops,
    .version = version,
};
