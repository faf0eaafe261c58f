/* The client whom trusted proxies name in a header: the rightmost address that is not one of theirs. Called once a request, before its route is
 * looked for. Worker side, on the loop. */
#include "core/server/proxied.h"

#include "core/server/engine.h"

#include <arpa/inet.h>

enum { ELEMENTS_MAX = 64 /* proxies in a row that are looked at, from the right */ };

/* r->client points at its first member. */
struct named {
    union mc_sockaddr addr;
    char text[46];
    uint8_t n;
};

struct element {
    struct mc_str client, proto;
};

/* ---- addresses */

static bool parse(int family, struct mc_str s, union mc_sockaddr *out)
{
    char text[INET6_ADDRSTRLEN];
    if (s.n == 0 || s.n >= sizeof text || memchr(s.p, 0, s.n)) {
        return false;
    }
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    memset(out, 0, sizeof *out);
    out->family = (sa_family_t) family;
    return inet_pton(family, text, family == AF_INET ? (void *) &out->in.sin_addr : (void *) &out->in6.sin6_addr) == 1;
}

static bool with_port(struct mc_str s, uint16_t *port)
{
    uint64_t v;
    if (s.n == 0) {
        return true;
    }
    if (s.p[0] != ':' || mc_str_to_u64((struct mc_str){ s.p + 1, s.n - 1 }, 65535, &v) != MC_OK) {
        return false;
    }
    *port = htons((uint16_t) v);
    return true;
}

/* 1.2.3.4, 1.2.3.4:5, 2001:db8::1, [2001:db8::1], [2001:db8::1]:5 */
static bool address(struct mc_str s, union mc_sockaddr *out)
{
    const char *colon = s.n ? memchr(s.p, ':', s.n) : NULL, *end;
    uint16_t port = 0;
    if (s.n && s.p[0] == '[') {
        end = memchr(s.p, ']', s.n);
        if (end == NULL || !parse(AF_INET6, (struct mc_str){ s.p + 1, (size_t) (end - s.p) - 1 }, out)) {
            return false;
        }
        end++;
        bool ok = with_port((struct mc_str){ end, (size_t) (s.p + s.n - end) }, &port);
        out->in6.sin6_port = port;
        return ok;
    }
    if (colon && memchr(colon + 1, ':', (size_t) (s.p + s.n - colon) - 1)) {
        return parse(AF_INET6, s, out);
    }
    size_t n = colon ? (size_t) (colon - s.p) : s.n;
    bool ok = parse(AF_INET, (struct mc_str){ s.p, n }, out) && with_port((struct mc_str){ s.p + n, s.n - n }, &port);
    out->in.sin_port = port;
    return ok;
}

/* ---- elements of the header, the newest (rightmost) in a ring */

struct elements {
    struct element v[ELEMENTS_MAX];
    size_t n;
};

static struct element *push(struct elements *e)
{
    struct element *x = &e->v[e->n++ % ELEMENTS_MAX];
    *x = (struct element){ MC_STR_NONE, MC_STR_NONE };
    return x;
}

static void plain_list(struct elements *e, struct mc_str rest)
{
    struct mc_str token;
    while (mc_str_next_token(&rest, &token)) {
        push(e)->client = token;
    }
}

/* token or "quoted"; escapes stay as they are: no address has one (RFC 7239 §4). */
static struct mc_str value(const char **p, const char *end)
{
    const char *start = *p;
    if (start < end && *start == '"') {
        for (start++, (*p)++; *p < end && **p != '"'; (*p)++) {
            *p += **p == '\\' && *p + 1 < end;
        }
        struct mc_str s = { start, (size_t) (*p - start) };
        *p += *p < end;
        return s;
    }
    while (*p < end && **p != ',' && **p != ';' && **p != ' ' && **p != '\t') {
        (*p)++;
    }
    return (struct mc_str){ start, (size_t) (*p - start) };
}

/* for=1.2.3.4;proto=https, for="[2001:db8::1]:5" */
static void forwarded_list(struct elements *e, struct mc_str s)
{
    const char *p = s.p, *end = s.p + s.n;
    struct element *x = s.n ? push(e) : NULL;
    while (p < end) {
        const char *name = p;
        if (*p == ',') {
            x = push(e);
        }
        if (*p == ',' || *p == ';' || *p == ' ' || *p == '\t') {
            p++;
            continue;
        }
        while (p < end && *p != '=' && *p != ',' && *p != ';') {
            p++;
        }
        struct mc_str key = { name, (size_t) (p - name) };
        if (p == end || *p != '=') {
            continue;
        }
        p++;
        struct mc_str v = value(&p, end);
        if (mc_str_eq_nocase(key, MC_STR("for"))) {
            x->client = v;
        } else if (mc_str_eq_nocase(key, MC_STR("proto"))) {
            x->proto = v;
        }
    }
}

/* ---- */

static const struct mc_str forwarding[] = {
    MC_STR("Forwarded"), MC_STR("X-Forwarded-For"), MC_STR("X-Forwarded-Host"), MC_STR("X-Forwarded-Proto"), MC_STR("X-Forwarded-Protocol"),
    MC_STR("X-Forwarded-Port"), MC_STR("X-Forwarded-Prefix"), MC_STR("X-Forwarded-Server"), MC_STR("X-Forwarded-Ssl"), MC_STR("X-Real-Ip"),
};

/* Nobody behind us shall take the word of a stranger for that of a proxy. */
static void strip(struct mc_request *r, struct mc_str header)
{
    struct mc_fields *f = &r->head.fields;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        bool drop = mc_str_eq_nocase(f->v[i].name, header);
        for (size_t k = 0; !drop && k < MC_COUNT(forwarding); k++) {
            drop = mc_str_eq_nocase(f->v[i].name, forwarding[k]);
        }
        if (!drop) {
            f->v[kept++] = f->v[i];
        }
    }
    f->n = kept;
}

static int name_client(struct mc_request *r, const union mc_sockaddr *a)
{
    struct named *n = mc_arena_calloc(&r->arena, sizeof *n);
    if (n == NULL) {
        return 503;
    }
    n->addr = *a;
    n->n = (uint8_t) mc_sockaddr_text(a, n->text, sizeof n->text);
    r->client = &n->addr;
    return MC_OK;
}

/* A front server that speaks uwsgi has named the client. */
static MC_NOINLINE int name_by_front(struct mc_request *r)
{
    union mc_sockaddr a;
    uint64_t port = 0;
    if (!parse(r->front->addr.n && memchr(r->front->addr.p, ':', r->front->addr.n) ? AF_INET6 : AF_INET, r->front->addr, &a)) {
        return MC_OK; /* it is behind a unix socket */
    }
    (void) mc_str_to_u64(r->front->port, 65535, &port);
    *(a.family == AF_INET ? &a.in.sin_port : &a.in6.sin6_port) = htons((uint16_t) port);
    return name_client(r, &a);
}

int mc_proxied_named(struct mc_request *r, const union mc_sockaddr *client)
{
    return name_client(r, client);
}

static MC_NOINLINE int read_fields(struct mc_request *r, struct mc_str header)
{
    bool standard = mc_str_eq_nocase(header, MC_STR("Forwarded"));
    if (!mc_forwarded_trusted(r)) {
        strip(r, header);
        return MC_OK;
    }
    struct elements e = { .n = 0 };
    for (uint32_t i = 0; i < r->head.fields.n; i++) {
        const struct mc_field *f = &r->head.fields.v[i];
        if (mc_str_eq_nocase(f->name, header)) {
            (standard ? forwarded_list : plain_list)(&e, f->value);
        }
    }
    union mc_sockaddr found, next;
    bool any = false;
    size_t oldest = e.n > ELEMENTS_MAX ? e.n - ELEMENTS_MAX : 0;
    for (size_t i = e.n; i-- > oldest;) {
        const struct element *x = &e.v[i % ELEMENTS_MAX];
        if (!address(x->client, &next)) {
            break; /* "unknown", or an obfuscated name: the one who said so is the last that we know */
        }
        found = next;
        any = true;
        if (standard && x->proto.n) {
            r->https = mc_str_eq_nocase(x->proto, MC_STR("https"));
        }
        if (!mc_cidr_match(r->server->trusted, r->server->ntrusted, &found)) {
            break;
        }
    }
    return any ? name_client(r, &found) : MC_OK;
}

int mc_proxied_client(struct mc_request *r)
{
    const char *wanted = r->server->set.real_ip_header;
    r->client = &r->conn->peer;
    if (r->front && name_by_front(r) != MC_OK) {
        return 503;
    }
    return mc_likely(wanted == NULL) ? MC_OK : read_fields(r, mc_str(wanted));
}

struct mc_str mc_request_client(struct mc_request *r)
{
    if (r->client == NULL || r->client == &r->conn->peer) {
        return mc_conn_peer(r->conn);
    }
    const struct named *n = (const void *) r->client;
    return (struct mc_str){ n->text, n->n };
}
