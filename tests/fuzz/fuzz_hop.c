/* Monoceros-Hop: what is taken for one says the same when it is written again; nothing is read beyond the bytes. */
#include "core/http/hop_field.h"
#include "tests/fuzz/exact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned char token[MC_HOP_TOKEN]; /* 64 zeros in hex: within the fuzzer's reach */
    struct mc_hop_field h, again;
    struct mc_arena a;
    char *copy = exact_copy(data, size);
    mc_arena_init(&a);
    int rc = mc_hop_field_decode((struct mc_str){copy, size}, token, &a, &h);
    MC_ASSERT(rc == MC_OK || rc == MC_ERROR);
    if (rc == MC_OK) {
        char *value = malloc(mc_hop_field_size(&h));
        MC_ASSERT(value != NULL);
        size_t n = mc_hop_field_encode(&h, token, value);
        MC_ASSERT(n <= mc_hop_field_size(&h));
        MC_ASSERT(mc_hop_field_decode((struct mc_str){value, n}, token, &a, &again) == MC_OK);
        MC_ASSERT(again.flags == h.flags && again.version == h.version && again.left == h.left);
        for (int i = 0; i < MC_HOP_TEXTS; i++)
            MC_ASSERT(mc_str_eq(h.text[i], again.text[i]));
        free(value);
    }
    mc_arena_fini(&a);
    free(copy);
    return 0;
}
