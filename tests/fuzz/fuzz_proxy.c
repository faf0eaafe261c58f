/* PROXY headers: whatever comes, the verdict is sound, nothing is read beyond the bytes, and slices lie inside the header. */
#include "core/http/proxy_protocol.h"
#include "tests/fuzz/exact.h"

static void inside(struct mc_str s, const char *p, size_t used)
{
    MC_ASSERT(s.n == 0 || (s.p >= p && s.p + s.n <= p + used));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = exact_copy(data, size), text[64];
    for (unsigned versions = 1; versions <= 3; versions++) {
        struct mc_proxy_header h, again;
        size_t used, less;
        int rc = mc_proxy_parse(copy, size, versions, &h, &used);
        MC_ASSERT(rc == MC_OK || rc == MC_ERROR || (rc == MC_AGAIN && size < MC_PROXY_MAX));
        if (rc != MC_OK)
            continue;
        MC_ASSERT(used > 0 && used <= size && used <= MC_PROXY_MAX);
        if (!h.local)
            mc_sockaddr_text(&h.src, text, sizeof text);
        inside(h.alpn, copy, used);
        inside(h.authority, copy, used);
        inside(h.unique_id, copy, used);
        inside(h.ssl_version, copy, used);
        inside(h.ssl_cipher, copy, used);
        inside(h.ssl_cn, copy, used);
        for (size_t i = used > 64 ? used - 64 : 0; i < used; i++)
            MC_ASSERT(mc_proxy_parse(copy, i, versions, &again, &less) == MC_AGAIN);
    }
    free(copy);
    return 0;
}
