/* Patterns at work. Matching is bounded here, so that a pattern that backtracks for ever costs one request a 500 and not the worker its life.
 * Called by route.c and vars.c. Both sides look names up, the worker side matches. */
#include "core/http/pattern.h"

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
    m->data = pcre2_match_data_create(MC_CONF_GROUPS, NULL);
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

int mc_pattern_match(const void *code, struct mc_str subject, struct mc_str *groups, unsigned n)
{
    struct matcher *m = matcher_get();
    if (!m)
        return MC_ERROR;
    int rc = pcre2_match(code, (PCRE2_SPTR)(subject.p ? subject.p : ""), subject.n, 0, 0, m->data, m->context);
    if (rc == PCRE2_ERROR_NOMATCH)
        return MC_DECLINED;
    if (rc < 0)
        return MC_ERROR;
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(m->data);
    unsigned found = rc == 0 ? MC_CONF_GROUPS : (unsigned)rc;
    for (unsigned i = 0; groups && i < n; i++) {
        bool there = i < found && at[2 * i] != PCRE2_UNSET && at[2 * i + 1] >= at[2 * i]; /* \K can turn them round */
        groups[i] = there ? (struct mc_str){subject.p + at[2 * i], at[2 * i + 1] - at[2 * i]} : MC_STR("");
    }
    return MC_OK;
}

int mc_pattern_number(const void *code, unsigned group)
{
    return group < mc_conf_groups(code) ? (int)group : -1;
}

/* The number of a named group, or -1. */
static int named(const void *code, struct mc_str name)
{
    char text[64];
    if (name.n >= sizeof text)
        return -1;
    memcpy(text, name.p, name.n);
    text[name.n] = '\0';
    int n = pcre2_substring_number_from_name(code, (PCRE2_SPTR)text);
    return n > 0 ? n : -1;
}

int mc_pattern_of_route(const struct mc_conf_route *route, struct mc_str name, bool *decoded)
{
    int n = route->regex ? named(route->regex, name) : -1;
    *decoded = n >= 0;
    for (size_t i = 0; n < 0 && i < route->nconds; i++) {
        const struct mc_conf_cond *c = &route->conds[i];
        for (size_t k = 0; n < 0 && !c->absent && k < c->nregexes; k++) {
            n = named(c->regexes[k], name);
            n = n < 0 ? n : n + (int)c->first[k];
        }
    }
    return n;
}

bool mc_pattern_of_server(const struct mc_conf_server *server, struct mc_str name)
{
    for (size_t i = 0; server->regexes && i < server->nnames; i++) {
        if (server->regexes[i] && named(server->regexes[i], name) >= 0)
            return true;
    }
    return false;
}

struct mc_str mc_pattern_server_value(const struct mc_request *r, struct mc_str name)
{
    int n = r->server_captures && r->server_pattern ? named(r->server_pattern, name) : -1;
    return n >= 0 && (unsigned)n < r->server->ncaptures ? r->server_captures[n] : MC_STR_NONE;
}
