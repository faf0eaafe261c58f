/* Section `upstream`: its settings, their checks, and what `to = …` of an action names. An address given there becomes an upstream section of its own, so
 * that normal form shows it and workers find it. Without a resolver module, names are looked up here, once, in the arbiter.
 * Opens no connection. Called by section.c and by modules' checks. Arbiter and worker side. */
#include "core/config/upstream.h"

#include "core/config/check.h"
#include "core/config/value.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>

enum { MAX_ADDRESSES = 64 };

static int check_service(const char *value, char *err, size_t cap);

#define PEER(field)     .offset = offsetof(struct mc_conf_peer, field)
#define HEALTH(field)   .offset = offsetof(struct mc_conf_health, field)
#define UPSTREAM(field) .offset = offsetof(struct mc_conf_upstream, field)

static const struct mc_setting peer_settings[] = {
    {.name = "weight", .type = MC_SET_INT, PEER(weight), .dflt = "1", .min = 1, .max = 65535, .meta = "INT", .doc = "its share of the requests"},
    {.name = "max_fails", .type = MC_SET_INT, PEER(max_fails), .dflt = "1", .meta = "INT",
     .doc = "failures within fail_timeout that take it out of turn for as long; 0: never"},
    {.name = "fail_timeout", .type = MC_SET_DURATION, PEER(fail_timeout), .dflt = "10s", .min = 1, .meta = "TIME", .doc = "see max_fails"},
    {.name = "max_conns", .type = MC_SET_INT, PEER(max_conns), .meta = "INT", .doc = "requests at once from one worker; 0: any number"},
    {.name = "backup", .type = MC_SET_BOOL, PEER(backup), .doc = "asked only when no other peer can be"},
    {.name = "down", .type = MC_SET_BOOL, PEER(down), .doc = "never asked"},
    {.name = "service", .type = MC_SET_STRING, PEER(service), .check = check_service, .meta = "NAME",
     .doc = "ask for SRV records of this service (_http._tcp) below the name"},
    {.name = "addresses", .type = MC_SET_LIST, PEER(addresses), .check = mc_check_filled, .meta = "ADDRESS",
     .doc = "use these addresses (IP:PORT) and do not ask for the name"},
    {.name = NULL},
};
static const struct mc_setting health_settings[] = {
    {.name = "path", .type = MC_SET_STRING, HEALTH(path), .dflt = "/", .check = mc_check_text, .meta = "PATH", .doc = "what is asked for, with GET"},
    {.name = "interval", .type = MC_SET_DURATION, HEALTH(interval), .dflt = "5s", .min = 10, .meta = "TIME", .doc = "between two checks of a peer"},
    {.name = "timeout", .type = MC_SET_DURATION, HEALTH(timeout), .dflt = "2s", .min = 1, .meta = "TIME", .doc = "for the whole answer"},
    {.name = "fails", .type = MC_SET_INT, HEALTH(fails), .dflt = "3", .min = 1, .max = 1000, .meta = "INT", .doc = "failures in a row that take a peer out"},
    {.name = "passes", .type = MC_SET_INT, HEALTH(passes), .dflt = "2", .min = 1, .max = 1000, .meta = "INT", .doc = "good answers in a row that take it in again"},
    {.name = "expect", .type = MC_SET_LIST, HEALTH(expect), .dflt = "200-399", .meta = "STATUS", .doc = "good answers: statuses such as 200, or ranges such as 200-299"},
    {.name = NULL},
};
static const struct mc_setting settings[] = {
    {.name = "balance", .type = MC_SET_STRING, UPSTREAM(balance_text), .dflt = "round_robin", .meta = "NAME", .doc = "round_robin, least_conn or hash (of key)"},
    {.name = "key", .type = MC_SET_STRING, UPSTREAM(key), .check = mc_check_filled, .meta = "TEXT",
     .doc = "balance = hash: text with variables; the same text goes to the same peer"},
    {.name = "sticky", .type = MC_SET_STRING, UPSTREAM(sticky), .check = mc_check_field_name, .meta = "COOKIE", .doc = "name of a cookie that keeps a client with its peer"},
    {.name = "keepalive", .type = MC_SET_INT, UPSTREAM(keepalive), .dflt = "32", .max = 65536, .meta = "INT", .doc = "idle connections that each worker keeps"},
    {.name = "keepalive_timeout", .type = MC_SET_DURATION, UPSTREAM(keepalive_timeout), .dflt = "60s", .min = 1, .meta = "TIME", .doc = "how long an idle connection is kept"},
    {.name = "keepalive_requests", .type = MC_SET_INT, UPSTREAM(keepalive_requests), .dflt = "1000", .min = 1, .max = INT32_MAX, .meta = "INT",
     .doc = "requests on one connection"},
    {.name = "resolve", .type = MC_SET_DURATION, UPSTREAM(resolve), .meta = "TIME",
     .doc = "never ask for a name again sooner than this [as its time to live says, at least 1s]"},
    {.name = "resolver", .type = MC_SET_LIST, UPSTREAM(resolver), .check = mc_check_server, .meta = "ADDRESS", .doc = "name servers, IP or IP:PORT [those of the system]"},
    {.name = NULL},
};

static int check(struct mc_conf *c, struct mc_conf_section *s, bool image, char *err, size_t cap);

static const struct mc_section section_peer = {.name = "peer", .titled = true, .settings = peer_settings, .size = sizeof(struct mc_conf_peer),
                                               .doc = "one of its servers: HOST:PORT, unix:PATH"};
static const struct mc_section section_health = {.name = "health", .settings = health_settings, .size = sizeof(struct mc_conf_health),
                                                 .doc = "requests that find out which peers are alive"};
static const struct mc_section *const inner[] = {&section_peer, &section_health, NULL};
const struct mc_section mc_section_upstream = {
    .name = "upstream", .titled = true, .where = MC_AT_MAIN, .settings = settings, .size = sizeof(struct mc_conf_upstream), .inner = inner, .check = check,
    .doc = "servers that proxy, fastcgi and uwsgi send requests to"};

static int MC_PRINTF(3, 4) say(char *err, size_t cap, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(err, cap, fmt, ap);
    va_end(ap);
    return MC_ERROR;
}

static int no_memory(char *err, size_t cap)
{
    return say(err, cap, "out of memory");
}

static int check_service(const char *value, char *err, size_t cap)
{
    const char *dot = strchr(value, '.');
    if (value[0] == '_' && dot && dot > value + 1 && dot[1] == '_' && dot[2] && !strchr(dot + 1, '.') && mc_check_host(value, err, cap) == MC_OK)
        return MC_OK;
    return say(err, cap, "expected a service such as _http._tcp, not '%.80s'", value);
}

/* ---- addresses */

static bool numeric(const char *host)
{
    uint8_t raw[16];
    return inet_pton(strchr(host, ':') ? AF_INET6 : AF_INET, host, raw) == 1;
}

/* "HOST[:PORT]" or "[V6][:PORT]" in two; port is what stands there, or dflt (0: it must stand there). */
static int split(const char *text, unsigned dflt, char host[254], uint16_t *port, char *err, size_t cap)
{
    struct mc_str name, digits;
    uint64_t number = dflt;
    if (mc_addr_split(text, &name, &digits, err, cap) != MC_OK)
        return MC_ERROR;
    if (digits.p && (mc_str_to_u64(digits, 65535, &number) != MC_OK || number == 0))
        return say(err, cap, "invalid port in '%.80s'", text);
    if (number == 0)
        return say(err, cap, "no port in '%.80s'", text);
    if (name.n == 0 || name.n > 253)
        return say(err, cap, "no host in '%.80s'", text);
    memcpy(host, name.p, name.n);
    host[name.n] = '\0';
    *port = (uint16_t)number;
    return MC_OK;
}

static bool have_resolver(void)
{
    for (const struct mc_module *const *m = mc_modules; *m; m++) {
        if ((*m)->kind == MC_MODULE_RESOLVER)
            return true;
    }
    return false;
}

/* All addresses of the name, once, as words of `addresses`. */
static int look_up(struct mc_arena *a, struct mc_conf_peer *p, const char *title, char *err, size_t cap)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    char text[80];
    int rc = getaddrinfo(p->host, NULL, &hints, &found);
    size_t n = 0;
    if (rc != 0)
        return say(err, cap, "peer \"%.80s\": cannot resolve '%.80s': %s", title, p->host, gai_strerror(rc));
    p->addresses.v = mc_arena_calloc(a, MAX_ADDRESSES * sizeof *p->addresses.v);
    for (struct addrinfo *i = found; p->addresses.v && i && n < MAX_ADDRESSES; i = i->ai_next) {
        const void *raw = i->ai_family == AF_INET ? (const void *)&((struct sockaddr_in *)(void *)i->ai_addr)->sin_addr
                                                  : (const void *)&((struct sockaddr_in6 *)(void *)i->ai_addr)->sin6_addr;
        struct mc_addr addr;
        if (i->ai_family != AF_INET && i->ai_family != AF_INET6)
            continue;
        mc_addr_inet(&addr, i->ai_family, raw, p->port);
        mc_addr_print(&addr, text, sizeof text);
        p->addresses.v[n] = mc_arena_strdup(a, text);
        if (!p->addresses.v[n])
            break;
        n++;
    }
    freeaddrinfo(found);
    p->addresses.n = n;
    return n ? MC_OK : no_memory(err, cap);
}

static int set_addresses(struct mc_conf *c, struct mc_conf_peer *p, const char *title, char *err, size_t cap)
{
    p->addrs = mc_arena_calloc(&c->arena, (p->addresses.n ? p->addresses.n : 1) * sizeof *p->addrs);
    if (!p->addrs)
        return no_memory(err, cap);
    for (size_t i = 0; i < p->addresses.n; i++) {
        if (mc_addr_numeric(p->addresses.v[i], p->service ? 0 : p->port, &p->addrs[i]) != MC_OK)
            return say(err, cap, "peer \"%.80s\": addresses: expected IP:PORT, not '%.80s'", title, p->addresses.v[i]);
    }
    p->naddrs = p->addresses.n;
    return MC_OK;
}

/* The title is an address, or a name and a port, or with `service` a name. */
static int set_peer(struct mc_conf *c, struct mc_conf_section *s, bool image, char *err, size_t cap)
{
    struct mc_conf_peer *p = s->set;
    char host[254], problem[200];
    if (strncmp(s->title, "unix:", 5) == 0 && !p->service && p->addresses.n == 0) {
        if (mc_addr_parse(s->title, &p->addr, problem, sizeof problem) != MC_OK)
            return say(err, cap, "peer: %s", problem);
        return MC_OK;
    }
    if (p->service && strchr(s->title, ':'))
        return say(err, cap, "peer \"%.80s\": SRV records bring the port: write the name only", s->title);
    if (split(s->title, p->service ? 1 : 0, host, &p->port, problem, sizeof problem) != MC_OK)
        return say(err, cap, "peer: %s", problem);
    if (mc_addr_numeric(s->title, 0, &p->addr) == MC_OK)
        return p->service || p->addresses.n ? say(err, cap, "peer \"%.80s\": an address cannot be looked up", s->title) : MC_OK;
    if (host[0] == '*' || s->title[0] == '[' || numeric(host) || mc_check_host(host, problem, sizeof problem) != MC_OK)
        return say(err, cap, "peer: expected HOST:PORT, [IPV6]:PORT or unix:PATH, not '%.80s'", s->title);
    p->host = mc_arena_strdup(&c->arena, host);
    if (!p->host)
        return no_memory(err, cap);
    if (p->addresses.n == 0 && !image && !have_resolver()) {
        if (p->service)
            return say(err, cap, "peer \"%.80s\": service needs a build with a resolver", s->title);
        if (look_up(&c->arena, p, s->title, err, cap) != MC_OK)
            return MC_ERROR;
        mc_warn("%s:%d: upstream peer \"%s\" is looked up once, now: this build has no resolver (--with-cares)", s->at.file ? s->at.file : "", s->at.line,
                s->title);
    }
    return set_addresses(c, p, s->title, err, cap);
}

/* ---- the section */

static int set_expect(struct mc_conf *c, struct mc_conf_health *h, char *err, size_t cap)
{
    h->ranges = mc_arena_calloc(&c->arena, (h->expect.n ? h->expect.n : 1) * sizeof *h->ranges);
    if (!h->ranges)
        return no_memory(err, cap);
    for (size_t i = 0; i < h->expect.n; i++) {
        struct mc_str word = mc_str(h->expect.v[i]);
        const char *dash = memchr(word.p, '-', word.n);
        struct mc_str from = {word.p, dash ? (size_t)(dash - word.p) : word.n}, to = dash ? mc_str(dash + 1) : from;
        uint64_t first, last;
        if (mc_str_to_u64(from, 599, &first) != MC_OK || mc_str_to_u64(to, 599, &last) != MC_OK || first < 200 || last < first)
            return say(err, cap, "health: expect: a status such as 200 or a range such as 200-299, not '%.40s'", h->expect.v[i]);
        h->ranges[i] = (struct mc_status_range){(uint16_t)first, (uint16_t)last};
    }
    h->nranges = h->expect.n;
    if (h->nranges == 0)
        return say(err, cap, "health: expect: no status would be good");
    if (h->path[0] != '/' || strpbrk(h->path, " \t#"))
        return say(err, cap, "health: path: expected a path that begins with /, not '%.80s'", h->path);
    return MC_OK;
}

static int set_balance(struct mc_conf_upstream *u, char *err, size_t cap)
{
    static const char *const names[] = {[MC_BALANCE_ROUND_ROBIN] = "round_robin", [MC_BALANCE_LEAST_CONN] = "least_conn", [MC_BALANCE_HASH] = "hash"};
    size_t i = 0;
    while (i < MC_COUNT(names) && strcmp(u->balance_text, names[i]) != 0)
        i++;
    if (i == MC_COUNT(names))
        return say(err, cap, "balance: expected round_robin, least_conn or hash, not '%.40s'", u->balance_text);
    u->balance = (enum mc_balance)i;
    if (u->balance == MC_BALANCE_HASH && !u->key)
        return say(err, cap, "balance = hash needs key = 'TEXT', such as '$remote_addr'");
    if (u->balance != MC_BALANCE_HASH && u->key)
        return say(err, cap, "key is of balance = hash only");
    if (u->sticky && strcmp(u->sticky, "*") == 0)
        return say(err, cap, "sticky: expected the name of a cookie");
    return MC_OK;
}

static int set_peers(struct mc_conf *c, struct mc_conf_upstream *u, struct mc_conf_section *s, bool image, char *err, size_t cap)
{
    size_t n = 0, backups = 0;
    for (struct mc_conf_section *i = NULL; (i = mc_conf_section(s->inner, &section_peer, i));)
        n++;
    if (n == 0)
        return say(err, cap, "it has no peer \"ADDRESS\" { }");
    u->peers = mc_arena_calloc(&c->arena, n * sizeof *u->peers);
    u->names = mc_arena_calloc(&c->arena, n * sizeof *u->names);
    if (!u->peers || !u->names)
        return no_memory(err, cap);
    for (struct mc_conf_section *i = NULL; (i = mc_conf_section(s->inner, &section_peer, i));) {
        if (set_peer(c, i, image, err, cap) != MC_OK)
            return MC_ERROR;
        u->peers[u->npeers] = i->set;
        u->names[u->npeers++] = i->title;
        backups += u->peers[u->npeers - 1]->backup;
    }
    return backups < n ? MC_OK : say(err, cap, "every peer is a backup");
}

static int fill(struct mc_conf *c, struct mc_conf_upstream *u, struct mc_conf_section *s, bool image, char *err, size_t cap)
{
    struct mc_conf_section *health = mc_conf_section(s->inner, &section_health, NULL);
    if (set_balance(u, err, cap) != MC_OK || set_peers(c, u, s, image, err, cap) != MC_OK)
        return MC_ERROR;
    if (u->resolver.n == 0)
        u->resolver = c->set.resolver;
    if (!health)
        return MC_OK;
    u->health = *(struct mc_conf_health *)health->set;
    u->health.on = true;
    return set_expect(c, &u->health, err, cap);
}

/* Once, by whoever comes first: the section itself, or an action that names it. */
static int check(struct mc_conf *c, struct mc_conf_section *s, bool image, char *err, size_t cap)
{
    struct mc_conf_upstream *u = s->set;
    char problem[256] = "";
    if (u->name)
        return MC_OK;
    u->name = s->title;
    if (fill(c, u, s, image, problem, sizeof problem) == MC_OK)
        return MC_OK;
    return say(err, cap, "upstream \"%.60s\": %s", s->title, problem);
}

/* ---- to = … */

static struct mc_conf_section *new_section(struct mc_conf *c, const struct mc_section *type, const char *title)
{
    struct mc_conf_section *s = mc_arena_calloc(&c->arena, sizeof *s);
    if (!s)
        return NULL;
    s->type = type;
    s->title = mc_arena_strdup(&c->arena, title);
    s->set = mc_arena_calloc(&c->arena, type->size);
    if (!s->title || !s->set || mc_value_defaults(&c->arena, type->settings, s->set) != MC_OK)
        return NULL;
    return s;
}

/* An upstream of one peer, behind those of the file: there normal form will have it, too. */
static struct mc_conf_section *add_upstream(struct mc_conf *c, const char *title, const char *peer)
{
    struct mc_conf_section *s = new_section(c, &mc_section_upstream, title), **place = &c->sections;
    if (!s)
        return NULL;
    s->inner = new_section(c, &section_peer, peer);
    if (!s->inner)
        return NULL;
    for (struct mc_conf_section **i = place; *i; i = &(*i)->next) {
        if ((*i)->type == &mc_section_upstream)
            place = &(*i)->next;
    }
    s->next = *place;
    *place = s;
    return s;
}

static const char *after(const char *text, const char *start)
{
    size_t n = strlen(start);
    return strncmp(text, start, n) == 0 ? text + n : NULL;
}

const struct mc_conf_upstream *mc_conf_upstream_to(struct mc_conf *c, const char *to, bool *tls, char *err, size_t cap)
{
    const char *https = after(to, "https://"), *http = after(to, "http://"), *rest = https ? https : http ? http : to, *name = after(rest, "upstream:");
    struct mc_conf_section *s = mc_conf_section_named(c->sections, &mc_section_upstream, name ? name : to);
    char peer[300], host[254];
    uint16_t port;
    *tls = https != NULL;
    if (name && !s) {
        (void)say(err, cap, "there is no upstream \"%.80s\"", name);
        return NULL;
    }
    if (!s && strpbrk(rest, "/?# \t") && !after(rest, "unix:")) {
        (void)say(err, cap, "expected upstream:NAME, http://HOST:PORT, https://HOST:PORT, HOST:PORT or unix:PATH, not '%.80s'", to);
        return NULL;
    }
    if (!s) {
        (void)snprintf(peer, sizeof peer, "%s", rest);
        if (!after(rest, "unix:")) {
            if (split(rest, https ? 443 : http ? 80 : 0, host, &port, err, cap) != MC_OK)
                return NULL;
            (void)snprintf(peer, sizeof peer, rest[0] == '[' ? "[%s]:%u" : "%s:%u", host, port);
        }
        s = add_upstream(c, to, peer);
    }
    if (!s) {
        (void)no_memory(err, cap);
        return NULL;
    }
    /* In a worker the image has this section with all that was found. */
    return check(c, s, false, err, cap) == MC_OK ? s->set : NULL;
}
