/* Texts with variables. Input: the text, a newline, then what the variables hold. A text compiles or says why; expanded for a URI it holds no byte that no
 * URI may hold beyond those of the text, and as a target it is one, or is refused (what rewrite does with it). */
#include "core/http/vars.h"
#include "tests/fuzz/exact.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

static struct mc_conf_route route = {.name = "r", .match = MC_MATCH_REGEX};
static struct mc_conf_server server = {.name = "s", .routes = &route, .nroutes = 1};
static int action;

static void prepare_once(void)
{
    int err;
    PCRE2_SIZE at;
    if (route.regex)
        return;
    route.action = &action;
    route.regex = pcre2_compile((PCRE2_SPTR) "(?<one>.)(.)", PCRE2_ZERO_TERMINATED, 0, &err, &at, NULL);
    route.ncaptures = 3;
}

static void fill(struct mc_request *r, struct mc_str bytes)
{
    r->server = &server;
    r->route = &route;
    r->path = r->uri.query = r->head.target = r->head.method = r->head.host = bytes;
    r->captures = mc_arena_calloc(&r->arena, 3 * sizeof *r->captures);
    MC_ASSERT(r->captures);
    for (int i = 0; i < 3; i++)
        r->captures[i] = bytes;
    MC_ASSERT(mc_fields_add(&r->head.fields, &r->arena, MC_STR("X-A"), bytes) == MC_OK);
    MC_ASSERT(mc_fields_add(&r->head.fields, &r->arena, MC_STR("x-a"), bytes) == MC_OK);
    MC_ASSERT(mc_fields_add(&r->head.fields, &r->arena, MC_STR("Cookie"), bytes) == MC_OK);
}

static bool graphic(struct mc_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] <= 0x20 || (unsigned char)s.p[i] >= 0x7f)
            return false;
    }
    return true;
}

static void rewrite(struct mc_request *r, struct mc_str target)
{
    struct mc_uri uri = {.path = MC_STR_NONE};
    struct mc_str path;
    if (mc_uri_split(target, false, &uri) == MC_OK && mc_uri_normalise(&r->arena, uri.path, &path) == MC_OK)
        MC_ASSERT(path.n > 0 && path.p[0] == '/');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    size_t n = end ? (size_t)(end - data) : size, rest = end ? size - n - 1 : 0;
    char *bytes = exact_copy(end ? end + 1 : data, rest), *text = calloc(1, n + 1), err[200] = "";
    struct mc_conf conf = {.servers = &server, .nservers = 1};
    struct mc_request r;
    struct mc_str out;
    prepare_once();
    memset(&r, 0, sizeof r);
    mc_arena_init(&conf.arena);
    mc_arena_init(&r.arena);
    memcpy(text, data, n);
    struct mc_vars *v = mc_vars_compile(&conf, &action, text, err, sizeof err);
    MC_ASSERT((v == NULL) == (err[0] != '\0'));
    if (v) {
        fill(&r, (struct mc_str){bytes, rest});
        if (mc_vars_expand(v, &r, &out) == MC_OK)
            MC_ASSERT(out.n <= MC_VARS_MAX && (!mc_vars_constant(v) || !end || out.n <= n));
        if (mc_vars_expand_uri(v, &r, &out) == MC_OK) {
            MC_ASSERT(out.n <= MC_VARS_MAX && (graphic(out) || !graphic(mc_str(text))));
            rewrite(&r, out);
        }
    }
    mc_arena_fini(&r.arena);
    mc_arena_fini(&conf.arena);
    free(text);
    free(bytes);
    return 0;
}
