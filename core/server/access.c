/* The access log: lines gathered and given to a log module. Never blocks: what the sink does not take is dropped and counted.
 * Worker side, on the loop; the arbiter only checks the format. */
#include "core/server/access.h"
#include "core/base/log.h"
#include "core/server/access_format.h"

#include <stdio.h>
#include <stdlib.h>

enum { BUFFER = 65536, LINE_ROOM = 16384 };

struct mc_access {
    const struct mc_log_ops *ops;
    void *sink;
    struct mc_access_format format;
    char *buffer;
    size_t used;
    unsigned lines; /* in the buffer */
    uint64_t dropped;
    struct mc_log_limit complaint;
};

int mc_access_check(const char *format, char *err, size_t errcap)
{
    struct mc_access_format f = {.nops = 0};
    int rc = mc_access_format_compile(&f, format, err, errcap);
    mc_access_format_free(&f);
    return rc;
}

void mc_access_request(struct mc_access *a, const struct mc_request *r, struct mc_str peer, int64_t bytes, uint64_t usec)
{
    struct mc_access_fact f = {r, peer, bytes, usec};
    if (a->used + LINE_ROOM > BUFFER)
        mc_access_flush(a);
    a->used += mc_access_format_line(&a->format, &f, a->buffer + a->used, LINE_ROOM - 1);
    a->buffer[a->used++] = '\n';
    a->lines++;
}

/* ---- the sink ---- */

static void report_drops(struct mc_access *a, unsigned now)
{
    unsigned missed;
    if (now > 0) {
        if (a->dropped == 0)
            mc_warn("access log: lines cannot be written and are dropped");
        a->dropped += now;
    } else if (a->dropped > 0 && mc_log_limited(&a->complaint, &missed)) {
        mc_warn("access log: %llu lines were dropped, writing works again", (unsigned long long)a->dropped);
        a->dropped = 0;
    }
}

void mc_access_flush(struct mc_access *a)
{
    if (a->used == 0)
        return;
    report_drops(a, a->ops->write(a->sink, a->buffer, a->used, a->lines));
    a->used = 0;
    a->lines = 0;
}

/* "scheme:…" names a module; all else is a file. */
static const struct mc_log_ops *find_ops(const char *target)
{
    const struct mc_log_ops *file = NULL;
    for (const struct mc_module *const *m = mc_modules; *m; m++) {
        if ((*m)->kind != MC_MODULE_LOG)
            continue;
        const struct mc_log_ops *ops = (*m)->ops.log;
        size_t n = strlen(ops->scheme);
        if (n == 0)
            file = ops;
        else if (strncmp(target, ops->scheme, n) == 0 && target[n] == ':')
            return ops;
    }
    return file;
}

struct mc_access *mc_access_open(const struct mc_conf *conf, int fd, char *err, size_t errcap)
{
    const char *target = conf->set.accesslog ? conf->set.accesslog : "-";
    struct mc_access *a = calloc(1, sizeof(*a));
    if (a)
        a->buffer = malloc(BUFFER);
    if (!a || !a->buffer) {
        snprintf(err, errcap, "out of memory");
        goto fail;
    }
    if (mc_access_format_compile(&a->format, conf->set.access_log_format, err, errcap) != MC_OK)
        goto fail;
    a->ops = find_ops(target);
    a->sink = a->ops ? a->ops->open(target, fd) : NULL;
    if (a->sink)
        return a;
    snprintf(err, errcap, a->ops ? "cannot open '%s': %m" : "this build has no log module for '%s'", target);
fail:
    if (a) {
        mc_access_format_free(&a->format);
        free(a->buffer);
    }
    free(a);
    return NULL;
}

void mc_access_set_fd(struct mc_access *a, int fd)
{
    if (a->ops->set_fd)
        a->ops->set_fd(a->sink, fd);
}

void mc_access_close(struct mc_access **a)
{
    struct mc_access *x = *a;
    if (!x)
        return;
    mc_access_flush(x);
    x->ops->close(x->sink);
    mc_access_format_free(&x->format);
    free(x->buffer);
    free(x);
    *a = NULL;
}
