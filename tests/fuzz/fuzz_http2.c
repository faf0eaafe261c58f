/* HTTP/2 from bytes to bytes, through the whole engine over the scripted transport: whatever a client sends, what comes back are whole frames, and
 * nothing is left behind. The first byte says how the bytes come and go; the others stand behind the preface. */
#include "tests/unit/lib/rig.h"

#include "core/base/sha1.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int hello(struct mc_request *r)
{
    return mc_response_begin(r, 200, MC_STR_NONE) == MC_OK ? mc_response_end(r, "hello", 5) : MC_ERROR;
}

static int count(struct mc_request *r)
{
    char buf[4096], text[24];
    size_t n = 0;
    ssize_t got;
    while ((got = mc_body_read(r, buf, sizeof(buf))) > 0)
        n += (size_t)got;
    if (got < 0 || mc_response_begin(r, 200, MC_STR_NONE) != MC_OK)
        return MC_ERROR;
    mc_response_trailer(r, MC_STR("X-Sum"), MC_STR("1"));
    return mc_response_write(r, text, mc_str_u64(text, n)) == MC_OK ? mc_response_end(r, NULL, 0) : MC_ERROR;
}

static int wait_forever(struct mc_request *r)
{
    (void)r;
    return MC_OK;
}

static int resume(struct mc_request *r, enum mc_resume why)
{
    (void)r, (void)why;
    return MC_OK;
}

static void stop(struct mc_request *r)
{
    (void)r;
}

/* What a WebSocket server answers to the key (RFC 6455 4.2.2). */
static void accept_of(struct mc_str key, char out[28])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[MC_SHA1_MAX];
    unsigned char sum[21] = {0};
    int n = snprintf(text, sizeof(text), "%.*s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", (int)key.n, key.p);
    mc_sha1(text, (size_t)n, sum);
    for (unsigned i = 0; i < 28; i++) {
        uint32_t three = (uint32_t)sum[i / 4 * 3] << 16 | (uint32_t)sum[i / 4 * 3 + 1] << 8 | sum[i / 4 * 3 + 2];
        out[i] = digits[three >> (18 - 6 * (i % 4)) & 63];
    }
    out[27] = '=';
}

static int tunnel(struct mc_request *r)
{
    char sum[28];
    struct mc_fields fields = {0};
    const struct mc_field *key = mc_fields_find(&r->head.fields, MC_STR("sec-websocket-key"));
    if (key && key->value.n == 24) {
        accept_of(key->value, sum);
        if (mc_fields_add(&fields, &r->arena, MC_STR("sec-websocket-accept"), (struct mc_str){sum, sizeof(sum)}) != MC_OK)
            return 503;
    }
    if (mc_response_switch(r, MC_STR("websocket"), &fields) != MC_OK)
        return 403;
    return mc_response_write(r, "first", 5) == MC_ERROR ? MC_ERROR : MC_OK;
}

/* Back to where it came from. */
static int reflect(struct mc_request *r, enum mc_resume why)
{
    char buf[4096];
    ssize_t n;
    (void)why;
    while ((n = mc_body_read(r, buf, sizeof(buf))) > 0) {
        int rc = mc_response_write(r, buf, (size_t)n);
        if (rc != MC_OK)
            return rc == MC_AGAIN ? MC_OK : MC_ERROR;
    }
    return n == 0 ? mc_response_end(r, NULL, 0) : n == MC_AGAIN ? MC_OK : MC_ERROR;
}

static const struct mc_handler_ops waits = {.body = MC_BODY_STREAMED, .start = wait_forever, .resume = resume, .abort = stop};
static const struct mc_handler_ops counts = {.needs = MC_NEED_BLOCKING, .body = MC_BODY_BUFFERED, .start = count};
static const struct mc_handler_ops tunnels = {.body = MC_BODY_BUFFERED, .start = tunnel, .resume = reflect, .abort = stop};
static const struct mc_handler_ops hellos = {.body = MC_BODY_DISCARD, .start = hello, .resume = resume, .abort = stop};

static void check_frames(const unsigned char *p, size_t n, bool whole)
{
    while (n >= 9) {
        size_t length = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
        MC_ASSERT(length <= 16777215 && p[3] <= NGHTTP2_CONTINUATION);
        if (length + 9 > n)
            break;
        p += 9 + length;
        n -= 9 + length;
    }
    MC_ASSERT(n == 0 || !whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t pieces[] = {0, 1, 7, 100};
    static struct rig g;
    if (size == 0)
        return 0;
    mc_log_init(2, MC_LOG_CRITICAL);
    rig_open(&g);
    g.server.set.http2_cleartext = "prior-knowledge";
    g.server.set.http2_max_concurrent_streams = 10;
    rig_route(&g, "/length", &counts);
    rig_route(&g, "/wait", &waits);
    rig_route(&g, "/ws", &tunnels);
    rig_route(&g, "/", &hellos);
    rig_connect(&g);
    g.per_recv = pieces[data[0] & 3];
    g.again = data[0] & 4;
    g.room = data[0] & 8 ? 200 : SIZE_MAX / 2;
    MC_ASSERT(write(g.peer_fd, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN) == NGHTTP2_CLIENT_MAGIC_LEN); /* to be looked at */
    rig_sendz(&g, NGHTTP2_CLIENT_MAGIC);
    rig_send(&g, (const char *)data + 1, size - 1);
    rig_turn(&g);
    if (g.c && (data[0] & 16))
        rig_pass(&g, 60000); /* every timeout there is */
    if (g.c && (data[0] & 32)) {
        g.eof = true;
        rig_turn(&g);
    }
    if (g.c && (data[0] & 64))
        mc_worker_retire(&g.w);
    if (g.c && (data[0] & 8))
        rig_more_room(&g, SIZE_MAX / 4);
    check_frames((const unsigned char *)g.out, g.out_len, g.room > 1000000);
    rig_close(&g);
    return 0;
}
