/* The content coding br (RFC 7932) by Google's encoder. Worker side, on any thread. */
#include "core/base/module.h"
#include "core/server/coding.h"

#include <brotli/encode.h>
#include <stdio.h>

enum { WINDOW_BITS = 16 /* 64 KiB: the encoder's memory is a multiple of it */ };

static void *open_stream(int level, int64_t size)
{
    BrotliEncoderState *b = BrotliEncoderCreateInstance(NULL, NULL, NULL);
    if (!b)
        return NULL;
    uint32_t bits = BROTLI_MIN_WINDOW_BITS;
    while (bits < WINDOW_BITS && (size < 0 || (INT64_C(1) << bits) < size))
        bits++;
    BrotliEncoderSetParameter(b, BROTLI_PARAM_QUALITY, (uint32_t)level);
    BrotliEncoderSetParameter(b, BROTLI_PARAM_LGWIN, bits);
    if (size > 0)
        BrotliEncoderSetParameter(b, BROTLI_PARAM_SIZE_HINT, size < UINT32_MAX ? (uint32_t)size : UINT32_MAX);
    return b;
}

static int run(void *stream, struct mc_coding_io *io, enum mc_coding_op op)
{
    static const BrotliEncoderOperation ops[] = {
        [MC_CODING_MORE] = BROTLI_OPERATION_PROCESS, [MC_CODING_FLUSH] = BROTLI_OPERATION_FLUSH, [MC_CODING_END] = BROTLI_OPERATION_FINISH};
    for (;;) {
        size_t room = io->out_n, left = io->in_n;
        if (!BrotliEncoderCompressStream(stream, ops[op], &io->in_n, &io->in, &io->out_n, &io->out, NULL))
            return MC_ERROR;
        bool more = BrotliEncoderHasMoreOutput(stream);
        if (io->in_n == 0 && !more && (op != MC_CODING_END || BrotliEncoderIsFinished(stream)))
            return MC_OK;
        if (io->out_n == 0)
            return MC_AGAIN;
        if (room == io->out_n && left == io->in_n && !more)
            return MC_ERROR; /* there was room, and no progress */
    }
}

static void close_stream(void *stream)
{
    BrotliEncoderDestroyInstance(stream);
}

static const char *version(void)
{
    static char text[32];
    uint32_t v = BrotliEncoderVersion();
    snprintf(text, sizeof text, "Brotli %u.%u.%u", v >> 24, v >> 12 & 0xfff, v & 0xfff);
    return text;
}

static const struct mc_coding_ops ops = {.coding = "br", .level = 4, .least = 0, .most = 11, .open = open_stream, .run = run, .close = close_stream};

const struct mc_module mc_module_coding_brotli = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "brotli",
    .kind = MC_MODULE_CODING,
    .ops.coding = &ops,
    .version = version,
};
