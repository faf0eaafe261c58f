/* Filter `access { allow = {…} deny = {…} }`: who may come, by the client's address. Worker side; checked in the arbiter, too. */
#include "core/config/conf.h"
#include "core/server/filter.h"

#include <stdio.h>

struct rules {
    struct mc_cidr *nets;
    size_t n;
    bool unix_peers;
};

struct access {
    struct mc_strv allow, deny;
    int64_t status;
    struct rules allowed, denied;
};

static int check_word(const char *value, char *err, size_t cap)
{
    struct mc_cidr c;
    if (strcmp(value, "all") == 0 || strcmp(value, "unix:") == 0 || mc_cidr_parse(mc_str(value), &c) == MC_OK) {
        return MC_OK;
    }
    snprintf(err, cap, "expected an address, a network such as 10.0.0.0/8, unix: or all, not '%.80s'", value);
    return MC_ERROR;
}

static const struct mc_setting settings[] = {
    { .name = "allow", .type = MC_SET_LIST, .offset = offsetof(struct access, allow), .meta = "NETWORK", .check = check_word, .doc = "addresses and networks that may come; unix:; all" },
    { .name = "deny", .type = MC_SET_LIST, .offset = offsetof(struct access, deny), .meta = "NETWORK", .check = check_word, .doc = "those that may not; the narrowest that fits decides" },
    { .name = "status", .type = MC_SET_INT, .offset = offsetof(struct access, status), .dflt = "403", .min = 400, .max = 599, .meta = "CODE", .doc = "the answer to those" },
    { .name = NULL },
};

static int compile(struct mc_conf *conf, const struct mc_strv *words, struct rules *out)
{
    out->nets = mc_arena_calloc(&conf->arena, (words->n + 1) * sizeof *out->nets);
    if (out->nets == NULL) {
        return MC_ERROR;
    }
    for (size_t i = 0; i < words->n; i++) {
        if (strcmp(words->v[i], "unix:") == 0) {
            out->unix_peers = true;
        } else {
            struct mc_str word = strcmp(words->v[i], "all") == 0 ? MC_STR("*") : mc_str(words->v[i]);
            MC_ASSERT(mc_cidr_parse(word, &out->nets[out->n++]) == MC_OK); /* checked above */
        }
    }
    return MC_OK;
}

static int check(struct mc_conf *conf, struct mc_conf_section *s, bool image, char *err, size_t errcap)
{
    struct access *a = s->set;
    (void) image;
    if (a->allow.n + a->deny.n == 0) {
        snprintf(err, errcap, "access: neither allow nor deny is there");
        return MC_ERROR;
    }
    if (compile(conf, &a->allow, &a->allowed) != MC_OK || compile(conf, &a->deny, &a->denied) != MC_OK) {
        snprintf(err, errcap, "out of memory");
        return MC_ERROR;
    }
    return MC_OK;
}

static const struct mc_section section = {
    .name = "access",
    .where = MC_AT_MAIN | MC_AT_SERVER | MC_AT_ROUTE,
    .settings = settings,
    .size = sizeof(struct access),
    .check = check,
    .doc = "who may come, by the client's address",
};

static int attach(struct mc_conf *conf, const struct mc_conf_server *server, const struct mc_conf_route *route, void **data)
{
    struct mc_conf_section *s = mc_conf_section_for(conf, server, route, &section);
    if (s == NULL) {
        return MC_DECLINED;
    }
    *data = s->set;
    return MC_OK;
}

/* How many bits the narrowest network has that holds the address; -1: none does. */
static int narrowest(const struct rules *rules, const union mc_sockaddr *client)
{
    int best = -1;
    if (client->family == AF_UNIX && rules->unix_peers) {
        return 128;
    }
    for (size_t i = 0; i < rules->n; i++) {
        const struct mc_cidr *c = &rules->nets[i];
        int bits = c->family == 0 ? 0 : c->bits + 1;
        bool all = c->family == 0 && client->family == AF_UNIX;
        if (bits > best && (all || mc_cidr_match(c, 1, client))) {
            best = bits;
        }
    }
    return best;
}

static int access_ok(struct mc_request *r, void *data)
{
    const struct access *a = data;
    int yes = narrowest(&a->allowed, r->client), no = narrowest(&a->denied, r->client);
    bool pass = yes == no && yes < 0 ? a->allow.n == 0 : yes > no;
    return pass ? MC_OK : (int) a->status;
}

static const struct mc_filter_ops ops = { .phase = MC_FILTER_ADDRESS, .attach = attach, .access = access_ok };
static const struct mc_section *const sections[] = { &section, NULL };

const struct mc_module mc_module_filter_access = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "access",
    .kind = MC_MODULE_FILTER,
    .sections = sections,
    .ops.filter = &ops,
};
