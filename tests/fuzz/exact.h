/* For fuzz targets: a copy of bytes in a block of exactly their size, so that a sanitizer sees one byte read too far. */
#ifndef MC_FUZZ_EXACT_H
#define MC_FUZZ_EXACT_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline char *exact_copy(const void *p, size_t n)
{
    char *copy = malloc(n ? n : 1);
    if (!copy)
        abort();
    if (n)
        memcpy(copy, p, n);
    return copy;
}

#endif
