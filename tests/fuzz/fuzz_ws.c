/* Frames of a WebSocket client: the same messages, controls and end however the bytes arrive; and offers of extensions, which must be answered with what
 * was offered. First byte: how many at a time, and whether compression was agreed on. */
#include "core/base/base.h"
#include "core/http/ws.h"
#include "tests/fuzz/exact.h"

#include <stdio.h>

enum { MAX = 4096 };

/* All events as one text: what kind, the bytes, where messages end. */
static void events(const uint8_t *data, size_t size, size_t step, bool deflate, struct mc_sb *out)
{
    struct mc_ws_reader r = {.max = MAX, .deflate = deflate};
    size_t at = 0;
    while (at < size) {
        size_t n = size - at < step ? size - at : step, done = 0;
        unsigned char *piece = (unsigned char *)exact_copy(data + at, n);
        while (done < n) {
            struct mc_ws_event ev;
            size_t used;
            int rc = mc_ws_read(&r, piece + done, n - done, &used, &ev);
            MC_ASSERT(used <= n - done && (rc != MC_AGAIN || used == n - done));
            done += used;
            if (rc > 0) {
                MC_ASSERT(mc_ws_code_ok((unsigned)rc));
                mc_sb_addf(out, "!%d", rc);
                free(piece);
                return;
            }
            if (rc == MC_AGAIN)
                break;
            bool control = ev.op >= MC_WS_CLOSE;
            MC_ASSERT(ev.data.n <= (control ? 125 : MAX) && (control || !ev.compressed || deflate));
            if (control || ev.first)
                mc_sb_addf(out, "[%d %d %u:", ev.op, ev.compressed, control && ev.op == MC_WS_CLOSE ? ev.code : 0);
            mc_sb_add(out, ev.data.p, ev.data.n);
            if (control || ev.last)
                mc_sb_addc(out, ']');
        }
        free(piece);
        at += n;
    }
}

static void offer(const uint8_t *data, size_t size)
{
    struct mc_field field = {.name = MC_STR("Sec-WebSocket-Extensions"), .value = {(char *)(uintptr_t)data, size}};
    struct mc_fields fields = {.v = &field, .n = 1};
    struct mc_ws_deflate d;
    char text[MC_WS_EXTENSIONS_MAX];
    struct mc_str answer = mc_ws_negotiate(&fields, true, &d, text);
    MC_ASSERT(d.on == (answer.n > 0) && answer.n < sizeof(text));
    MC_ASSERT(!d.on || (d.bits_out >= 9 && d.bits_out <= 15 && d.bits_in == 15));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mc_sb whole, parts;
    if (size < 1)
        return 0;
    bool deflate = data[0] & 0x80;
    size_t step = (data[0] & 0x7f) + 1u;
    char *exact = exact_copy(data + 1, size - 1);
    offer((const uint8_t *)exact, size - 1);
    mc_sb_init(&whole, 1 << 26);
    mc_sb_init(&parts, 1 << 26);
    events((const uint8_t *)exact, size - 1, size, deflate, &whole);
    events((const uint8_t *)exact, size - 1, step, deflate, &parts);
    MC_ASSERT(whole.n == parts.n && (whole.n == 0 || memcmp(whole.p, parts.p, whole.n) == 0));
    mc_sb_fini(&whole);
    mc_sb_fini(&parts);
    free(exact);
    return 0;
}
