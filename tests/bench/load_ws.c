/* WebSocket frames of the load client (RFC 6455): one message out, and what comes in is the same message in frames of any size. */
#include "load.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT = 0x1, CLOSE = 0x8, CONTROL = 0x8, FIN = 0x80, MASKED = 0x80, HEAD_MAX = 14 };

static char *frame;
static size_t frame_n;

void load_ws_start(void)
{
    static const unsigned char mask[4] = {0x12, 0x34, 0x56, 0x78};
    size_t n = load_is.body_n, head = 2;
    frame = malloc(n + HEAD_MAX);
    if (!frame) load_die("load: memory");
    frame[0] = (char) (FIN | TEXT);
    if (n < 126) {
        frame[1] = (char) (MASKED | n);
    } else {
        int bytes = n < 65536 ? 2 : 8;
        frame[1] = (char) (MASKED | (bytes == 2 ? 126 : 127));
        for (int i = 0; i < bytes; i++) frame[head++] = (char) ((uint64_t) n >> (8 * (bytes - 1 - i)));
    }
    memcpy(frame + head, mask, sizeof mask);
    head += sizeof mask;
    for (size_t i = 0; i < n; i++) frame[head + i] = (char) (load_is.body[i] ^ mask[i & 3]);
    frame_n = head + n;
}

void load_ws_ask(struct load_client *c)
{
    c->out = frame;
    c->out_n = frame_n;
    load_io_send(c);
}

static uint64_t number(const unsigned char *bytes, int n)
{
    uint64_t value = 0;
    for (int i = 0; i < n; i++) value = value << 8 | bytes[i];
    return value;
}

/* Whether the head is whole; then frame_left counts. */
static int head_whole(struct load_client *c)
{
    int length = c->head[1] & 0x7f, n = length == 127 ? 8 : length == 126 ? 2 : 0;
    if (c->head_n < 2 || c->head_n < 2 + n) return 0;
    c->frame_left = n ? number(c->head + 2, n) : (uint64_t) length;
    return 1;
}

int load_ws_take(struct load_client *c, const char *bytes, size_t n)
{
    int messages = 0;
    for (size_t i = 0;;) {
        if (!c->in_frame) {
            while (!head_whole(c)) {
                if (i == n) return messages;
                c->head[c->head_n++] = (unsigned char) bytes[i++];
            }
            if (c->head[1] & MASKED || c->head[0] & 0x70 || (c->head[0] & 0x0f) == CLOSE) return -1;
            c->in_frame = 1;
        }
        size_t part = c->frame_left < n - i ? (size_t) c->frame_left : n - i;
        int control = c->head[0] & CONTROL;
        if (!control) {
            if (c->body_n + part > load_is.body_n || memcmp(load_is.body + c->body_n, bytes + i, part) != 0) return -1;
            c->body_n += part;
        }
        i += part;
        c->frame_left -= part;
        if (c->frame_left > 0) return messages;
        c->in_frame = c->head_n = 0;
        if (control || !(c->head[0] & FIN)) continue;
        if (c->body_n != load_is.body_n) return -1;
        c->body_n = 0;
        messages++;
    }
}
