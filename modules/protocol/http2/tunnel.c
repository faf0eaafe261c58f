/* Extended CONNECT (RFC 8441) is what HTTP/1.1 says with GET and Upgrade, so handlers are told that; mc_response_switch() answers it with 200. The handshake
 * of RFC 6455, which HTTP/2 does without, is made here in the client's place: who answers must have read it. Worker side, on the loop. */
#include "modules/protocol/http2/http2.h"

#include "core/http/ws.h"

#include <sys/random.h>

enum { KEY = 24 };

static bool is_websocket(const struct mc_request *r)
{
    const struct mc_field *f = mc_fields_get(&r->head.fields, MC_F_UPGRADE);
    return f && mc_str_eq_nocase(f->value, MC_STR("websocket"));
}

static void drop(struct mc_fields *f, struct mc_str name)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        if (!mc_str_eq_nocase(f->v[i].name, name))
            f->v[kept++] = f->v[i];
    }
    f->n = kept;
}

/* 16 random bytes; the client's own, which stands for nothing, would be the client's to choose. */
static int put_key(struct mc_request *r)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char nonce[KEY - 3];
    char *key = mc_arena_alloc(&r->arena, KEY);
    if (!key || getrandom(nonce, sizeof(nonce), 0) != (ssize_t)sizeof(nonce))
        return 503;
    for (size_t i = 0; i < sizeof(nonce); i++)
        key[i] = digits[nonce[i] & 63];
    memcpy(key + sizeof(nonce), "A==", 3); /* 16 bytes end so */
    drop(&r->head.fields, MC_STR("sec-websocket-key"));
    return mc_fields_add(&r->head.fields, &r->arena, MC_STR("sec-websocket-key"), (struct mc_str){key, KEY}) == MC_OK ? MC_OK : 503;
}

int mc_http2_tunnel_ask(struct mc_request *r, struct mc_str protocol)
{
    struct mc_fields *f = &r->head.fields;
    if (!mc_field_name_ok(protocol)) /* a token, too */
        return 400;
    if (mc_fields_add(f, &r->arena, MC_STR("upgrade"), protocol) != MC_OK || mc_fields_add(f, &r->arena, MC_STR("connection"), MC_STR("upgrade")) != MC_OK)
        return 503;
    r->head.upgrade = true;
    return is_websocket(r) ? put_key(r) : MC_OK;
}

bool mc_http2_tunnel_accepted(const struct mc_request *r, const struct mc_fields *answer)
{
    char wanted[MC_WS_ACCEPT];
    if (!is_websocket(r))
        return true;
    const struct mc_field *f = answer ? mc_fields_find(answer, MC_STR("sec-websocket-accept")) : NULL;
    /* A filter may have changed the key since. */
    return f && mc_ws_accept(&r->head, wanted) && mc_str_eq(f->value, (struct mc_str){wanted, sizeof(wanted)});
}
