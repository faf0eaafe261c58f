/* WebSockets as pure data: contract in ws.h. Called by core/server/websocket.c. Worker side. */
#include "core/http/ws.h"

#include "core/base/sha1.h"

#include <stdio.h>
#include <string.h>

bool mc_ws_code_ok(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

/* ---- the handshake ---- */

static bool has_token(const struct mc_fields *fields, struct mc_str name, struct mc_str word)
{
    for (uint32_t i = 0; i < fields->n; i++) {
        struct mc_str rest = fields->v[i].value, token;
        if (!mc_str_eq_nocase(fields->v[i].name, name)) {
            continue;
        }
        while (mc_str_next_token(&rest, &token)) {
            if (mc_str_eq_nocase(token, word)) {
                return true;
            }
        }
    }
    return false;
}

/* The only field of this name; NULL: there is none, or several. */
static const struct mc_field *only(const struct mc_fields *fields, struct mc_str name)
{
    const struct mc_field *found = NULL;
    for (uint32_t i = 0; i < fields->n; i++) {
        if (!mc_str_eq_nocase(fields->v[i].name, name)) {
            continue;
        }
        if (found) {
            return NULL;
        }
        found = &fields->v[i];
    }
    return found;
}

static bool is_base64(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

/* 16 bytes as base64. */
static bool key_ok(struct mc_str key)
{
    if (key.n != 24 || memcmp(key.p + 22, "==", 2) != 0) {
        return false;
    }
    for (size_t i = 0; i < 22; i++) {
        if (!is_base64(key.p[i])) {
            return false;
        }
    }
    return strchr("AQgw", key.p[21]) != NULL; /* the four bits that are left over are 0 */
}

int mc_ws_asked(const struct mc_head *head)
{
    const struct mc_fields *f = &head->fields;
    if (!mc_str_eq(head->method, MC_STR("GET")) || head->version == 0 || !has_token(f, MC_STR("upgrade"), MC_STR("websocket"))
        || !has_token(f, MC_STR("connection"), MC_STR("upgrade"))) {
        return MC_DECLINED;
    }
    const struct mc_field *version = only(f, MC_STR("sec-websocket-version")), *key = only(f, MC_STR("sec-websocket-key"));
    if (version == NULL || key == NULL || !key_ok(key->value)) {
        return version && !mc_str_eq(version->value, MC_STR("13")) ? 426 : 400;
    }
    return mc_str_eq(version->value, MC_STR("13")) ? MC_OK : 426;
}

bool mc_ws_accept(const struct mc_head *head, char out[MC_WS_ACCEPT])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const char uuid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[24 + sizeof uuid - 1];
    unsigned char sum[21] = { 0 };
    const struct mc_field *key = only(&head->fields, MC_STR("sec-websocket-key"));
    if (key == NULL || key->value.n != 24) {
        return false;
    }
    memcpy(text, key->value.p, 24);
    memcpy(text + 24, uuid, sizeof uuid - 1);
    mc_sha1(text, sizeof text, sum);
    for (unsigned i = 0; i < 7; i++) {
        uint32_t three = (uint32_t) sum[3 * i] << 16 | (uint32_t) sum[3 * i + 1] << 8 | sum[3 * i + 2];
        for (unsigned k = 0; k < 4; k++) {
            out[4 * i + k] = digits[three >> (18 - 6 * k) & 63];
        }
    }
    out[MC_WS_ACCEPT - 1] = '=';
    return true;
}

/* The next part of a list whose parts are separated by `sep`, outside of quotes; false: there is none. */
static bool next_part(struct mc_str *rest, char sep, struct mc_str *part)
{
    size_t n = 0;
    bool quoted = false;
    if (rest->p == NULL) {
        return false;
    }
    for (; n < rest->n && (quoted || rest->p[n] != sep); n++) {
        quoted ^= rest->p[n] == '"';
    }
    *part = mc_str_trim((struct mc_str) { rest->p, n });
    *rest = n < rest->n ? (struct mc_str) { rest->p + n + 1, rest->n - n - 1 } : MC_STR_NONE;
    return true;
}

/* 8 to 15, perhaps in quotes; 0: it is none. */
static uint8_t window(struct mc_str value)
{
    uint64_t n;
    if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"') {
        value = (struct mc_str) { value.p + 1, value.n - 2 };
    }
    bool plain = value.n > 0 && value.p[0] != '0';
    return plain && mc_str_to_u64(value, 15, &n) == MC_OK && n >= 8 ? (uint8_t) n : 0;
}

enum { SERVER_KEEP = 1, CLIENT_KEEP = 2, SERVER_BITS = 4, CLIENT_BITS = 8 };

/* One parameter of an offer, each of them at most once (RFC 7692 §7.1). */
static bool parameter(struct mc_str text, struct mc_ws_deflate *d, unsigned *seen, bool *client_bits)
{
    struct mc_str name, value = MC_STR_NONE, rest = text;
    (void) next_part(&rest, '=', &name);
    bool has_value = rest.p != NULL && next_part(&rest, '=', &value);
    unsigned which = mc_str_eq_nocase(name, MC_STR("server_no_context_takeover")) ? SERVER_KEEP
        : mc_str_eq_nocase(name, MC_STR("client_no_context_takeover"))            ? CLIENT_KEEP
        : mc_str_eq_nocase(name, MC_STR("server_max_window_bits"))                ? SERVER_BITS
        : mc_str_eq_nocase(name, MC_STR("client_max_window_bits"))                ? CLIENT_BITS
                                                                                  : 0;
    uint8_t bits = has_value ? window(value) : 0;
    if (which == 0 || *seen & which || rest.p != NULL) {
        return false;
    }
    *seen |= which;
    switch (which) {
    case SERVER_KEEP:
        d->keep_out = false;
        return !has_value;
    case CLIENT_KEEP:
        d->keep_in = false;
        return !has_value;
    case SERVER_BITS:
        d->bits_out = bits;
        return bits >= 9; /* zlib has no smaller one, and takes 9 where it is asked for 8 */
    default:
        *client_bits = true;
        d->bits_in = has_value ? bits : 15;
        return !has_value || bits >= 8;
    }
}

static bool take_offer(struct mc_str offer, bool takeover, struct mc_ws_deflate *d, unsigned *seen)
{
    struct mc_str part;
    bool client_bits = false;
    *d = (struct mc_ws_deflate) { .on = true, .keep_out = takeover, .keep_in = takeover, .bits_out = 15, .bits_in = 15 };
    *seen = 0;
    if (!next_part(&offer, ';', &part) || !mc_str_eq_nocase(part, MC_STR("permessage-deflate"))) {
        return false;
    }
    while (next_part(&offer, ';', &part)) {
        if (!parameter(part, d, seen, &client_bits)) {
            return false;
        }
    }
    return true;
}

/* What the client may not know otherwise: whose contexts are dropped, and a window of ours that it has bounded. A window of its own is its affair: we
 * take 15 bits whatever it uses. */
static struct mc_str answer(const struct mc_ws_deflate *d, unsigned seen, char text[MC_WS_EXTENSIONS_MAX])
{
    int n = snprintf(text, MC_WS_EXTENSIONS_MAX, "permessage-deflate%s%s", d->keep_out ? "" : "; server_no_context_takeover",
        d->keep_in ? "" : "; client_no_context_takeover");
    if (seen & SERVER_BITS) {
        n += snprintf(text + n, MC_WS_EXTENSIONS_MAX - (size_t) n, "; server_max_window_bits=%u", d->bits_out);
    }
    return (struct mc_str) { text, (size_t) n };
}

struct mc_str mc_ws_negotiate(const struct mc_fields *fields, bool takeover, struct mc_ws_deflate *out, char text[MC_WS_EXTENSIONS_MAX])
{
    unsigned seen;
    for (uint32_t i = 0; i < fields->n; i++) {
        struct mc_str rest = fields->v[i].value, offer;
        if (!mc_str_eq_nocase(fields->v[i].name, MC_STR("sec-websocket-extensions"))) {
            continue;
        }
        while (next_part(&rest, ',', &offer)) {
            if (take_offer(offer, takeover, out, &seen)) {
                out->bits_in = 15;
                return answer(out, seen, text);
            }
        }
    }
    *out = (struct mc_ws_deflate) { .on = false };
    return MC_STR_NONE;
}

/* ---- frames ---- */

static void unmask(struct mc_ws_reader *r, unsigned char *p, size_t n)
{
    unsigned char turned[8];
    uint64_t mask, eight;
    size_t i = 0;
    for (unsigned k = 0; k < 8; k++) {
        turned[k] = r->mask[(r->turn + k) % 4];
    }
    memcpy(&mask, turned, 8);
    for (; n - i >= 8; i += 8) {
        memcpy(&eight, p + i, 8);
        eight ^= mask;
        memcpy(p + i, &eight, 8);
    }
    for (; i < n; i++) {
        p[i] ^= turned[i % 8];
    }
    r->turn = (unsigned char) ((r->turn + n) % 4);
}

/* How long the head is, as far as it can be told. */
static unsigned head_size(const struct mc_ws_reader *r)
{
    unsigned n = r->nhead < 2 ? 0 : r->head[1] & 127;
    return 2 + (n == 126 ? 2 : n == 127 ? 8 : 0) + 4;
}

static uint64_t payload_length(const struct mc_ws_reader *r)
{
    unsigned n = r->head[1] & 127, more = n == 126 ? 2 : n == 127 ? 8 : 0;
    uint64_t length = more ? 0 : n;
    for (unsigned i = 0; i < more; i++) {
        length = length << 8 | r->head[2 + i];
    }
    return length;
}

/* What the first two bytes tell: wrong ones are refused before the rest is there (§5.2, §5.4, §5.5). MC_OK or a code. */
static int check_head(const struct mc_ws_reader *r)
{
    unsigned op = r->head[0] & 15, rsv = r->head[0] >> 4 & 7;
    bool fin = r->head[0] & 0x80, control = op >= 8, begins = op == MC_WS_TEXT || op == MC_WS_BINARY;
    bool known = op <= MC_WS_BINARY || (op >= MC_WS_CLOSE && op <= MC_WS_PONG);
    bool rsv_ok = rsv == 0 || (rsv == 4 && r->deflate && begins);
    bool masked = r->head[1] & 0x80, in_order = control || begins == (r->message == 0);
    bool control_ok = !control || (fin && (r->head[1] & 127) <= 125);
    return known && rsv_ok && masked && in_order && control_ok ? MC_OK : MC_WS_PROTOCOL;
}

static int begin_frame(struct mc_ws_reader *r)
{
    unsigned n = r->head[1] & 127, at = head_size(r) - 4;
    uint64_t length = payload_length(r);
    if ((n == 126 && length < 126) || (n == 127 && (length < 65536 || length >> 63))) {
        return MC_WS_PROTOCOL;
    }
    memcpy(r->mask, r->head + at, 4);
    r->turn = 0;
    r->op = r->head[0] & 15;
    r->fin = r->head[0] & 0x80;
    r->left = length;
    r->in_frame = true;
    r->nhead = 0;
    r->ncontrol = 0;
    if (r->op >= 8) {
        return MC_OK;
    }
    if (r->op != MC_WS_CONTINUATION) {
        r->message = r->op;
        r->compressed = r->head[0] & 0x40;
        r->first = true;
        r->size = 0;
    }
    if (r->max && (length > r->max || r->size + length > r->max)) {
        return MC_WS_TOO_BIG;
    }
    r->size += length;
    return MC_OK;
}

static int control_event(struct mc_ws_reader *r, struct mc_ws_event *ev)
{
    const unsigned char *p = r->control;
    *ev = (struct mc_ws_event) { .op = r->op, .data = { (const char *) p, r->ncontrol } };
    r->in_frame = false;
    if (r->op != MC_WS_CLOSE) {
        return MC_OK;
    }
    ev->code = MC_WS_NO_STATUS;
    if (r->ncontrol == 0) {
        return MC_OK;
    }
    ev->code = r->ncontrol >= 2 ? (unsigned) p[0] << 8 | p[1] : 0;
    ev->data = (struct mc_str) { (const char *) p + 2, r->ncontrol >= 2 ? r->ncontrol - 2u : 0 };
    return mc_ws_code_ok(ev->code) ? MC_OK : MC_WS_PROTOCOL;
}

static int data_event(struct mc_ws_reader *r, unsigned char *p, size_t n, struct mc_ws_event *ev)
{
    bool over = r->left == 0;
    *ev = (struct mc_ws_event) {
        .op = r->message, .data = { (const char *) p, n }, .first = r->first, .last = over && r->fin, .compressed = r->compressed
    };
    r->first = false;
    r->in_frame = !over;
    if (ev->last) {
        r->message = 0;
    }
    return MC_OK;
}

/* Bytes of a head; MC_AGAIN: not all of it is there. */
static int read_head(struct mc_ws_reader *r, const unsigned char *p, size_t n, size_t *used)
{
    while (*used < n) {
        r->head[r->nhead++] = p[(*used)++];
        if (r->nhead == 2 && check_head(r) != MC_OK) {
            return MC_WS_PROTOCOL;
        }
        if (r->nhead >= 2 && r->nhead == head_size(r)) {
            return begin_frame(r);
        }
    }
    return MC_AGAIN;
}

int mc_ws_read(struct mc_ws_reader *r, unsigned char *p, size_t n, size_t *used, struct mc_ws_event *ev)
{
    *used = 0;
    if (!r->in_frame) {
        int rc = read_head(r, p, n, used);
        if (rc != MC_OK) {
            return rc;
        }
    }
    size_t there = n - *used < r->left ? n - *used : (size_t) r->left;
    unsigned char *data = p + *used;
    if (there == 0 && r->left > 0) {
        return MC_AGAIN;
    }
    unmask(r, data, there);
    *used += there;
    r->left -= there;
    if (r->op < 8) {
        return data_event(r, data, there, ev);
    }
    if (there > 0) {
        memcpy(r->control + r->ncontrol, data, there);
    }
    r->ncontrol = (unsigned char) (r->ncontrol + there);
    return r->left == 0 ? control_event(r, ev) : MC_AGAIN;
}

size_t mc_ws_head(unsigned char out[MC_WS_HEAD_MAX], enum mc_ws_op op, bool compressed, uint64_t n)
{
    unsigned more = n < 126 ? 0 : n < 65536 ? 2 : 8;
    out[0] = (unsigned char) (0x80u | (compressed ? 0x40u : 0) | op);
    out[1] = (unsigned char) (more == 0 ? n : more == 2 ? 126 : 127);
    for (unsigned i = 0; i < more; i++) {
        out[2 + i] = (unsigned char) (n >> 8 * (more - 1 - i));
    }
    return 2 + more;
}
