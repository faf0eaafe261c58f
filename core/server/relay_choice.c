/* What the choice of a peer depends on: the key of balance = hash, and the cookie that keeps a client with its peer. Called by relay.c. Worker side. */
#include "core/server/relay.h"

#include <stdio.h>

/* The value of a cookie; a client may send several fields (RFC 6265 §5.4 says one). */
static struct mc_str cookie(const struct mc_fields *fields, struct mc_str name)
{
    for (uint32_t i = 0; i < fields->n; i++) {
        const struct mc_field *f = &fields->v[i];
        const char *p = f->value.p, *end = p + f->value.n;
        while (f->id == MC_F_COOKIE && p < end) {
            const char *semicolon = memchr(p, ';', (size_t) (end - p)), *stop = semicolon ? semicolon : end;
            const char *equals = memchr(p, '=', (size_t) (stop - p));
            if (equals && mc_str_eq(mc_str_trim((struct mc_str){ p, (size_t) (equals - p) }), name)) {
                return mc_str_trim((struct mc_str){ equals + 1, (size_t) (stop - equals - 1) });
            }
            p = stop + 1;
        }
    }
    return MC_STR_NONE;
}

int mc_relay_choice(struct mc_relay *q)
{
    const struct mc_conf_upstream *u = q->conf->policy.upstream;
    struct mc_peer_choice *choice = &q->call.choice;
    struct mc_str text;
    if (q->conf->key) {
        if (mc_vars_expand(q->conf->key, q->r, &text) != MC_OK) {
            return MC_ERROR;
        }
        choice->hash = mc_str_hash(text);
    }
    if (u->sticky) {
        uint64_t value;
        text = cookie(&q->r->head.fields, mc_str(u->sticky));
        if (text.n == 8 && mc_str_hex_u64(text, &value) == MC_OK) {
            choice->sticky = (uint32_t) value;
        }
    }
    return MC_OK;
}

int mc_relay_cookie(struct mc_relay *q)
{
    const struct mc_conf_upstream *u = q->conf->policy.upstream;
    const struct mc_peer *p = q->call.peer;
    if (u->sticky == NULL || p == NULL || p->hash == q->call.choice.sticky) {
        return MC_OK;
    }
    const char *value = mc_arena_printf(&q->r->arena, "%s=%08x; Path=/; HttpOnly; SameSite=Lax%s", u->sticky, p->hash, q->r->https ? "; Secure" : "");
    return value ? mc_response_field(q->r, MC_STR("Set-Cookie"), mc_str(value)) : MC_ERROR;
}
