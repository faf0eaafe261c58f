/* Action `fastcgi { to = … root = … }`: requests go on to FastCGI servers. Which script a path asks for is settled here; the rest is core/server/relay.h.
 * A loop handler: works in every worker type. Worker side. */
#include "core/base/log.h"
#include "core/http/pattern.h"
#include "core/server/cgi.h"
#include "core/server/relay.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

struct fastcgi {
    struct mc_relay_conf relay;
    const char *root, *index, *split, *script;
    struct mc_strv params;
    bool check_file, keep_conn;
    /* filled by check_conf() */
    void *pattern; /* pcre2_code * of split */
    struct mc_cgi_param *own;
};

/* What a request asks for; in its arena. */
struct asked {
    struct mc_cgi_script script;
    const char *filename;
};

#define AT(field) .offset = offsetof(struct fastcgi, field)

static const struct mc_setting settings[] = {
    MC_RELAY_SETTINGS(struct fastcgi, relay),
    {.name = "root", .type = MC_SET_STRING, AT(root), .meta = "DIR", .doc = "directory of the scripts, absolute"},
    {.name = "index", .type = MC_SET_STRING, AT(index), .dflt = "index.php", .meta = "NAME", .doc = "script of paths that end with /"},
    {.name = "split", .type = MC_SET_STRING, AT(split), .dflt = "^(.+?\\.php)(/.*)?$", .meta = "REGEX", .doc = "first group: the script; second: PATH_INFO; what does not match is left to other routes"},
    {.name = "script", .type = MC_SET_STRING, AT(script), .meta = "PATH", .doc = "the one script for all paths, in place of split and index"},
    {.name = "check_file", .type = MC_SET_BOOL, AT(check_file), .dflt = "on", .doc = "leave scripts that are no file below root to other routes"},
    {.name = "keep_conn", .type = MC_SET_BOOL, AT(keep_conn), .dflt = "off", .doc = "keep connections; each one occupies a process of php-fpm"},
    {.name = "params", .type = MC_SET_LIST, AT(params), .meta = "'NAME TEXT'", .doc = "more variables, or others in place of ours; TEXT may hold variables"},
    {.name = NULL},
};

static int MC_PRINTF(3, 4) say(char *err, size_t cap, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(err, cap, fmt, ap);
    va_end(ap);
    return MC_ERROR;
}

static void free_pattern(void *code)
{
    pcre2_code_free(code);
}

static int compile_split(const struct mc_conf *conf, struct fastcgi *a, char *err, size_t cap)
{
    struct mc_arena *arena = (struct mc_arena *)(uintptr_t)&conf->arena; /* still being built */
    uint32_t groups = 0;
    PCRE2_SIZE where;
    int code;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)a->split, PCRE2_ZERO_TERMINATED, PCRE2_DOLLAR_ENDONLY, &code, &where, NULL);
    if (!re) {
        unsigned char text[120] = "";
        pcre2_get_error_message(code, text, sizeof text);
        return say(err, cap, "fastcgi: split: %s at offset %zu of '%s'", (const char *)text, (size_t)where, a->split);
    }
    if (mc_arena_cleanup(arena, free_pattern, re) != MC_OK) {
        pcre2_code_free(re);
        return say(err, cap, "out of memory");
    }
    (void)pcre2_jit_compile(re, PCRE2_JIT_COMPLETE); /* without, it is interpreted */
    (void)pcre2_pattern_info(re, PCRE2_INFO_CAPTURECOUNT, &groups);
    if (groups < 1)
        return say(err, cap, "fastcgi: split: '%s' has no group for the script", a->split);
    a->pattern = re;
    return MC_OK;
}

static int check_conf(const struct mc_conf *conf, void *action, char *err, size_t cap)
{
    struct fastcgi *a = action;
    if (mc_relay_check(conf, &a->relay, &mc_gateway_fastcgi, "fastcgi", err, cap) != MC_OK)
        return MC_ERROR;
    if (a->relay.tls)
        return say(err, cap, "fastcgi: FastCGI over TLS is not supported: %s", a->relay.to);
    if (!a->root || a->root[0] != '/')
        return say(err, cap, "fastcgi: root = \"/DIRECTORY\" is missing, or not absolute");
    if (a->script && a->script[0] != '/')
        return say(err, cap, "fastcgi: script begins with /, not as '%s'", a->script);
    if (strchr(a->index, '/'))
        return say(err, cap, "fastcgi: index is the name of a file, not '%s'", a->index);
    a->relay.policy.fresh = !a->keep_conn;
    if (mc_cgi_compile(conf, a, &a->params, "fastcgi", &a->own, err, cap) != MC_OK)
        return MC_ERROR;
    return compile_split(conf, a, err, cap);
}

/* ---- which script? */

/* MC_OK, MC_DECLINED: not a path for us; or a status. */
static int divide(struct mc_request *r, const struct fastcgi *a, struct mc_cgi_script *s)
{
    struct mc_str path = r->path, groups[3] = {{NULL, 0}};
    *s = (struct mc_cgi_script){.path_info = MC_STR("")};
    if (a->script) {
        s->name = mc_str(a->script);
        return MC_OK;
    }
    if (path.n && path.p[path.n - 1] == '/') {
        const char *name = mc_arena_printf(&r->arena, "%.*s%s", (int)path.n, path.p, a->index);
        s->name = mc_str(name);
        return name ? MC_OK : 503;
    }
    int rc = mc_pattern_match(a->pattern, path, groups, 3);
    if (rc == MC_ERROR)
        return 500;
    if (rc != MC_OK || groups[1].n == 0)
        return MC_DECLINED;
    s->name = groups[1];
    if (groups[2].n)
        s->path_info = groups[2];
    return MC_OK;
}

static int prepare(struct mc_request *r)
{
    const struct fastcgi *a = r->route->action;
    struct asked *asked = mc_arena_calloc(&r->arena, sizeof *asked);
    struct stat st;
    if (!asked)
        return 503;
    int rc = divide(r, a, &asked->script);
    if (rc != MC_OK)
        return rc;
    int root = (int)strlen(a->root);
    while (root > 1 && a->root[root - 1] == '/')
        root--;
    asked->filename = mc_arena_printf(&r->arena, "%.*s%.*s", root, a->root, (int)asked->script.name.n, asked->script.name.p);
    if (!asked->filename)
        return 503;
    if (a->check_file && (stat(asked->filename, &st) != 0 || !S_ISREG(st.st_mode)))
        return MC_DECLINED;
    r->hctx = asked;
    rc = mc_relay_prepare(r, &a->relay);
    if (r->head.framing == MC_BODY_CHUNKED)
        r->body.mode = MC_BODY_BUFFERED; /* CONTENT_LENGTH must be known */
    return rc;
}

static int start(struct mc_request *r)
{
    const struct fastcgi *a = r->route->action;
    const struct asked *asked = r->hctx;
    struct mc_relay *q = mc_relay_new(r, &a->relay);
    if (!q)
        return 503;
    struct mc_exchange *x = &q->call.x;
    if (mc_fields_add(&x->params, &r->arena, MC_STR("SCRIPT_FILENAME"), mc_str(asked->filename)) != MC_OK ||
        mc_fields_add(&x->params, &r->arena, MC_STR("DOCUMENT_ROOT"), mc_str(a->root)) != MC_OK)
        return 503;
    int rc = mc_cgi_params(r, &asked->script, a->own, a->params.n, &x->params);
    return rc == MC_OK ? mc_relay_run(q) : rc;
}

extern const struct mc_module mc_module_handler_fastcgi;

static const struct mc_handler_ops ops = {
    .body = MC_BODY_BUFFERED, .prepare = prepare, .start = start, .resume = mc_relay_resume, .abort = mc_relay_abort, .quick = true};

static int init_worker(struct mc_worker *w)
{
    return mc_relay_open(w, &mc_module_handler_fastcgi, offsetof(struct fastcgi, relay));
}

const struct mc_module mc_module_handler_fastcgi = {
    .abi = MC_MODULE_ABI,
    .size = sizeof(struct mc_module),
    .name = "fastcgi",
    .kind = MC_MODULE_HANDLER,
    .settings = settings,
    .conf_size = sizeof(struct fastcgi),
    .check_conf = check_conf,
    .ops.handler = &ops,
    .init_worker = init_worker,
    .doc = "sends requests to a FastCGI server such as php-fpm",
};
