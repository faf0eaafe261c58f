/* Pages in place of the server's own plain ones (error_page): files are read when a worker starts and sent from memory; for a URI or a route the request starts
 * anew as a GET. An error on the way to such a page is answered plainly. Worker side. */
#include "core/server/engine.h"

#include "core/config/error_page.h"
#include "core/http/mime.h"
#include "core/os/fd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct mc_error_page {
    struct mc_error_words words;
    const struct mc_conf_route *route;
    struct mc_str text, type;
};

struct mc_error_pages {
    size_t n;
    struct mc_error_page v[];
};

/* ---- at the start of a worker */

static void release(void *p)
{
    free(p);
}

static int load_file(struct mc_conf *conf, struct mc_error_page *page)
{
    char path[4096];
    size_t n;
    snprintf(path, sizeof path, "%.*s", (int) page->words.target.n, page->words.target.p);
    char *text = mc_fd_read_file(path, MC_ERROR_FILE_MAX, &n);
    if (text == NULL) {
        mc_error("error_page: cannot read %s: %s; the plain page stands in", path, strerror(errno));
        page->words.ncodes = 0;
        return MC_OK;
    }
    if (mc_arena_cleanup(&conf->arena, release, text) != MC_OK) {
        free(text);
        return MC_ERROR;
    }
    page->text = (struct mc_str){ text, n };
    page->type = mc_mime_type(mc_mime_extension(page->words.target));
    if (page->type.p == NULL) {
        page->type = MC_STR("text/html; charset=utf-8");
    }
    return MC_OK;
}

static const struct mc_conf_route *find_route(const struct mc_conf_server *server, struct mc_str name)
{
    for (size_t i = 0; i < server->nroutes; i++) {
        if (mc_str_eq(mc_str(server->routes[i].name), name)) {
            return &server->routes[i];
        }
    }
    return NULL;
}

static struct mc_error_pages *load(struct mc_conf *conf, const struct mc_conf_server *server, const struct mc_strv *words)
{
    char err[160];
    struct mc_error_pages *pages = mc_arena_calloc(&conf->arena, sizeof *pages + words->n * sizeof *pages->v);
    for (size_t i = 0; pages && i < words->n; i++) {
        struct mc_error_page *page = &pages->v[pages->n++];
        MC_ASSERT(mc_error_page_parse(words->v[i], &page->words, err, sizeof err) == MC_OK); /* the table checked it */
        if (page->words.kind == MC_ERROR_ROUTE) {
            page->route = find_route(server, page->words.target);
        }
        if (page->words.kind == MC_ERROR_FILE && load_file(conf, page) != MC_OK) {
            return NULL;
        }
    }
    return pages;
}

int mc_errors_load(struct mc_conf *conf, const struct mc_conf_pool *pool)
{
    for (size_t i = 0; i < conf->nservers; i++) {
        struct mc_conf_server *server = &conf->servers[i];
        const struct mc_strv *outer = &server->set.error_page;
        if (server->pool != pool) {
            continue;
        }
        if (outer->n && (server->errors = load(conf, server, outer)) == NULL) {
            return MC_ERROR;
        }
        for (size_t k = 0; k < server->nroutes; k++) {
            struct mc_conf_route *route = &server->routes[k];
            const struct mc_strv *words = &route->set.error_page;
            route->errors = words->v == outer->v ? server->errors : NULL;
            if (words->n && route->errors == NULL && (route->errors = load(conf, server, words)) == NULL) {
                return MC_ERROR;
            }
        }
    }
    return MC_OK;
}

/* ---- at work */

const struct mc_error_page *mc_errors_find(const struct mc_request *r, int status)
{
    const struct mc_error_pages *pages = r->route ? r->route->errors : r->server ? r->server->errors : NULL;
    if (mc_likely(pages == NULL) || r->error_routed || r->path.p == NULL || mc_request_over(r)) {
        return NULL;
    }
    for (size_t i = 0; i < pages->n; i++) {
        const struct mc_error_words *w = &pages->v[i].words;
        for (size_t k = 0; k < w->ncodes; k++) {
            if (w->codes[k] == status) {
                return &pages->v[i];
            }
        }
    }
    return NULL;
}

int mc_errors_answer(const struct mc_error_page *page, int status)
{
    return page->words.answer > 0 ? page->words.answer : status;
}

bool mc_errors_text(const struct mc_error_page *page, struct mc_str *text, struct mc_str *type)
{
    *text = page->text;
    *type = page->type;
    return page->words.kind == MC_ERROR_FILE;
}

void mc_errors_defer(struct mc_request *r, const struct mc_error_page *page, int status)
{
    r->error_page = page;
    r->error_routed = true;
    r->error_status = (uint16_t) status;
    r->error_answer = (uint16_t) (page->words.answer < 0 ? 0 : mc_errors_answer(page, status));
    r->handler = NULL; /* it has done its work */
    r->hctx = NULL;
    r->resp.state = MC_RESP_NONE;
    r->resp.fields.n = r->resp.trailers.n = 0;
    mc_filter_reset(r);
}

/* What the client said of the thing that it asked for, not of this page. */
static void drop_conditions(struct mc_fields *f)
{
    static const enum mc_field_id gone[] = { MC_F_RANGE, MC_F_IF_RANGE, MC_F_IF_MATCH, MC_F_IF_NONE_MATCH, MC_F_IF_MODIFIED_SINCE,
        MC_F_IF_UNMODIFIED_SINCE, MC_F_CONTENT_LENGTH, MC_F_CONTENT_TYPE, MC_F_TRANSFER_ENCODING, MC_F_EXPECT };
    uint32_t kept = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        size_t k = 0;
        while (k < MC_COUNT(gone) && gone[k] != (enum mc_field_id) f->v[i].id) {
            k++;
        }
        if (k == MC_COUNT(gone)) {
            f->v[kept++] = f->v[i];
        }
    }
    f->n = kept;
}

int mc_errors_restart(struct mc_request *r)
{
    const struct mc_error_page *page = r->error_page;
    r->error_page = NULL;
    if (!r->body.complete && r->head.framing != MC_BODY_NONE) {
        r->session->close = r->resp.close = r->conn->linger = true; /* nobody will read the rest */
    }
    mc_chain_fini(&r->body.data);
    mc_chain_init(&r->body.data);
    r->body.mode = MC_BODY_DISCARD;
    r->head.framing = MC_BODY_NONE;
    r->body.length = r->head.content_length = -1;
    r->body.complete = true;
    r->body.failed = r->head.expect_continue = false;
    if (!r->is_head) {
        r->head.method = MC_STR("GET");
    }
    drop_conditions(&r->head.fields);
    r->route = page->route;
    r->captures = NULL;
    return page->route ? MC_OK : mc_request_retarget(r, page->words.target);
}
