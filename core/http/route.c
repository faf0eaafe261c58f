/* Which server and which route a request belongs to. Patterns are compiled by the configuration; matching is bounded here, so that a
 * pattern that backtracks for ever costs one request a 500 and not the worker its life.
 * Called by the server between head and handler. Worker side. */
#include "core/http/route.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <pthread.h>
#include <stdlib.h>

enum { MATCH_LIMIT = 200000, DEPTH_LIMIT = 20000, HEAP_LIMIT_KIB = 4096, JIT_STACK_MIN = 32 * 1024, JIT_STACK_MAX = 512 * 1024 };

/* What a match needs besides the pattern; one a thread, made at its first match. */
struct matcher {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool have_key;

static void matcher_free(void *v)
{
    struct matcher *m = v;
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    pcre2_jit_stack_free(m->stack);
    free(m);
}

static void make_key(void)
{
    have_key = pthread_key_create(&key, matcher_free) == 0;
}

static struct matcher *matcher_get(void)
{
    pthread_once(&once, make_key);
    struct matcher *m = have_key ? pthread_getspecific(key) : NULL;
    if (m || !have_key || !(m = calloc(1, sizeof(*m))))
        return m;
    m->data = pcre2_match_data_create(1, NULL);
    m->context = pcre2_match_context_create(NULL);
    m->stack = pcre2_jit_stack_create(JIT_STACK_MIN, JIT_STACK_MAX, NULL);
    if (!m->data || !m->context || pthread_setspecific(key, m) != 0) {
        matcher_free(m);
        return NULL;
    }
    pcre2_set_match_limit(m->context, MATCH_LIMIT);
    pcre2_set_depth_limit(m->context, DEPTH_LIMIT);
    pcre2_set_heap_limit(m->context, HEAP_LIMIT_KIB);
    if (m->stack)
        pcre2_jit_stack_assign(m->context, NULL, m->stack); /* without one the machine stack's 32 KiB are used */
    return m;
}

static int match_regex(const void *regex, struct mc_str path)
{
    struct matcher *m = matcher_get();
    if (!m)
        return MC_ERROR;
    int rc = pcre2_match(regex, (PCRE2_SPTR)path.p, path.n, 0, 0, m->data, m->context);
    if (rc == PCRE2_ERROR_NOMATCH)
        return MC_DECLINED;
    return rc < 0 ? MC_ERROR : MC_OK; /* 0: more groups than the match data holds, which nobody reads */
}

static bool match_prefix(struct mc_str prefix, struct mc_str path)
{
    if (path.n < prefix.n || memcmp(path.p, prefix.p, prefix.n) != 0)
        return false;
    return path.n == prefix.n || prefix.n == 0 || prefix.p[prefix.n - 1] == '/' || path.p[prefix.n] == '/';
}

int mc_route_match(const struct mc_conf_route *route, struct mc_str path)
{
    switch (route->match) {
    case MC_MATCH_ALL:
        return MC_OK;
    case MC_MATCH_EXACT:
        return mc_str_eq(route->pattern, path) ? MC_OK : MC_DECLINED;
    case MC_MATCH_PREFIX:
        return match_prefix(route->pattern, path) ? MC_OK : MC_DECLINED;
    case MC_MATCH_REGEX:
        return match_regex(route->regex, path);
    }
    return MC_ERROR;
}

int mc_route_find(struct mc_request *r)
{
    const struct mc_conf_server *s = r->server;
    for (size_t i = 0; i < s->nroutes; i++) {
        int rc = mc_route_match(&s->routes[i], r->path);
        if (rc == MC_DECLINED)
            continue;
        if (rc != MC_OK)
            return 500;
        r->route = &s->routes[i];
        return MC_OK;
    }
    return 404;
}

/* Does "*.example.org" cover this host? It stands for one or more labels. */
static bool covers(struct mc_str name, struct mc_str host)
{
    if (name.n < 3 || name.p[0] != '*' || name.p[1] != '.')
        return false;
    struct mc_str suffix = {name.p + 1, name.n - 1};
    return host.n > suffix.n && mc_str_eq_nocase((struct mc_str){host.p + host.n - suffix.n, suffix.n}, suffix);
}

const struct mc_conf_server *mc_route_server(const struct mc_conf_listen *l, struct mc_str host)
{
    const struct mc_conf_server *best = l->servers[0];
    size_t length = 0;
    if (l->nservers == 1)
        return best;
    if (host.n && host.p[host.n - 1] == '.')
        host.n--;
    for (size_t i = 0; i < l->nservers; i++) {
        const struct mc_conf_server *s = l->servers[i];
        for (size_t k = 0; k < s->nnames; k++) {
            if (mc_str_eq_nocase(s->names[k], host))
                return s;
            if (s->names[k].n <= length || !covers(s->names[k], host))
                continue;
            best = s;
            length = s->names[k].n;
        }
    }
    return best;
}
