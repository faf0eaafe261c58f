/* Module tables of a small build, and texts to configurations, for the tests of core/config. Included once by each test program. */
#ifndef MC_TEST_CONFIG_FIXTURE_H
#define MC_TEST_CONFIG_FIXTURE_H

#include "core/config/cli.h"
#include "core/config/confuse.h"
#include "core/config/resolve.h"
#include "core/config/schema.h"
#include "core/config/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct answer {
    int64_t status, after;
    const char *body;
    struct mc_strv fields;
    bool last;
};

static const struct mc_setting answer_settings[] = {
    {.name = "status", .type = MC_SET_INT, .offset = offsetof(struct answer, status), .dflt = "200", .min = 200, .max = 599},
    {.name = "after", .type = MC_SET_DURATION, .offset = offsetof(struct answer, after)},
    {.name = "body", .type = MC_SET_STRING, .offset = offsetof(struct answer, body)},
    {.name = "fields", .type = MC_SET_LIST, .offset = offsetof(struct answer, fields)},
    {.name = "last", .type = MC_SET_BOOL, .offset = offsetof(struct answer, last)},
    {.name = NULL},
};

static int check_answer(const struct mc_conf *conf, void *action, char *err, size_t cap)
{
    const struct answer *a = action;
    assert_true(conf->nservers > 0);
    if (a->status != 204 || !a->body)
        return MC_OK;
    snprintf(err, cap, "respond: 204 has no body");
    return MC_ERROR;
}

static const struct mc_module worker_sync = {.abi = MC_MODULE_ABI, .name = "sync", .kind = MC_MODULE_WORKER, .takes = MC_NEED_BLOCKING | MC_NEED_PYTHON};
static const struct mc_module handler_respond = {
    .abi = MC_MODULE_ABI,
    .name = "respond",
    .kind = MC_MODULE_HANDLER,
    .settings = answer_settings,
    .conf_size = sizeof(struct answer),
    .check_conf = check_answer,
};

#ifndef MC_TEST_OWN_MODULES
static const struct mc_app_type app_types[] = {{.name = "wsgi", .needs = MC_NEED_BLOCKING | MC_NEED_PYTHON},
                                               {.name = "asgi", .needs = MC_NEED_PYTHON | MC_NEED_ITS_LOOP},
                                               {.name = "tornado", .needs = MC_NEED_PYTHON | MC_NEED_ITS_LOOP},
                                               {.name = "aiohttp", .needs = MC_NEED_PYTHON | MC_NEED_ITS_LOOP},
                                               {.name = NULL}};
static const struct mc_module worker_epoll = {
    .abi = MC_MODULE_ABI, .name = "epoll", .kind = MC_MODULE_WORKER, .takes = MC_NEED_BLOCKING | MC_NEED_PYTHON | MC_NEED_ITS_LOOP};
static const struct mc_module handler_python = {.abi = MC_MODULE_ABI, .name = "python", .kind = MC_MODULE_HANDLER, .apps = app_types};
/* They take the place of those that configure made. */
const struct mc_module *const mc_modules[] = {&worker_epoll, &worker_sync, &handler_python, &handler_respond, NULL};
const struct mc_module_absent mc_modules_absent[] = {
    {"worker", "gthread", "--with-gthread"},
    {"handler", "proxy", "--with-proxy"},
    {"transport", "tls", "--with-tls"},
    {NULL, NULL, NULL},
};
const char mc_configure_args[] = "--with-something";
#endif

/* The route that a server needs. */
#define ROUTE  " route \"r\" { respond { } } "
#define SERVER "server \"s\" { listen = \"127.0.0.1:8000\"" ROUTE "}\n"

static char err[512];
static char warned[1024];

static inline void keep_warning(const char *line)
{
    strncat(warned, line, sizeof warned - strlen(warned) - 1);
}

/* As mc_conf_load() without files: options (NULL-terminated or NULL) over the text of a file (or NULL). NULL: err tells. */
static inline struct mc_conf *configure(const char *text, size_t n, char *const *argv)
{
    struct mc_conf *c = calloc(1, sizeof *c);
    struct mc_build b = {.arena = &c->arena, .err = err, .errcap = sizeof err, .start = "/", .warn = keep_warning};
    struct mc_resolve_from from = {0};
    struct mc_cli cli = {0};
    int argc = 0, rc;
    err[0] = warned[0] = '\0';
    while (argv && argv[argc])
        argc++;
    mc_arena_init(&c->arena);
    rc = mc_schema_open(&b);
    if (rc == MC_OK && argv)
        rc = mc_cli_parse(&b, argc, argv, &cli);
    if (rc == MC_OK && text) {
        from.file = mc_confuse_text(&b, "t.conf", text, n);
        rc = from.file ? MC_OK : MC_ERROR;
    }
    from.cli = cli.given;
    from.app = cli.app;
    if (rc == MC_OK)
        rc = mc_resolve(&b, &from, c);
    assert_int_equal(rc != MC_OK, b.failed);
    if (rc != MC_OK)
        mc_conf_free(&c);
    return c;
}

static inline struct mc_conf *from_text(const char *text)
{
    return configure(text, strlen(text), NULL);
}

static inline void expect_error(const char *text, const char *message)
{
    struct mc_conf *c = from_text(text);
    if (c || !strstr(err, message))
        print_error("%s\n  gave: %s\n  not:  %s\n", text, c ? "no error" : err, message);
    assert_null(c);
    assert_non_null(strstr(err, message));
}

#endif
