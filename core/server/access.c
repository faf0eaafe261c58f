/* The access log: lines gathered and given to log modules. Never blocks: what a sink does not take is dropped and counted.
 * Worker side, on the loop; the arbiter only checks the format. */
#include "core/server/access.h"
#include "core/base/log.h"
#include "core/server/access_format.h"
#include "core/server/sinks.h"

#include <stdio.h>
#include <stdlib.h>

enum { BUFFER = 65536, LINE_ROOM = 16384, SINKS = 4 };

struct sink {
    const struct mc_module *module;
    const struct mc_log_ops *ops;
    void *data;
    uint64_t dropped;
    struct mc_log_limit complaint;
};

struct mc_access {
    struct sink sinks[SINKS];
    size_t nsinks;
    struct mc_access_format format;
    char *buffer;
    size_t used;
    unsigned lines; /* in the buffer */
};

int mc_access_check(const char *format, char *err, size_t errcap)
{
    struct mc_access_format f = {.nops = 0};
    int rc = mc_access_format_compile(&f, format, err, errcap);
    mc_access_format_free(&f);
    return rc;
}

/* ---- the sinks ---- */

static void report_drops(struct sink *s, unsigned now)
{
    unsigned missed;
    if (now > 0) {
        if (s->dropped == 0)
            mc_warn("access log (%s): lines cannot be written and are dropped", s->module->name);
        s->dropped += now;
    } else if (s->dropped > 0 && mc_log_limited(&s->complaint, &missed)) {
        mc_warn("access log (%s): %llu lines were dropped, writing works again", s->module->name, (unsigned long long)s->dropped);
        s->dropped = 0;
    }
}

static void write_to(struct sink *s, const char *p, size_t n, unsigned lines)
{
    report_drops(s, s->ops->write(s->data, p, n, lines));
}

void mc_access_flush(struct mc_access *a)
{
    for (size_t i = 0; a->used && i < a->nsinks; i++) {
        if (!a->sinks[i].ops->eager)
            write_to(&a->sinks[i], a->buffer, a->used, a->lines);
    }
    a->used = 0;
    a->lines = 0;
}

void mc_access_request(struct mc_access *a, struct mc_request *r, struct mc_str peer, int64_t bytes, uint64_t usec)
{
    struct mc_access_fact f = {r, peer, bytes, usec};
    if (a->used + LINE_ROOM > BUFFER)
        mc_access_flush(a);
    char *line = a->buffer + a->used;
    size_t n = mc_access_format_line(&a->format, &f, line, LINE_ROOM - 1);
    line[n++] = '\n';
    bool gathered = false;
    for (size_t i = 0; i < a->nsinks; i++) {
        if (a->sinks[i].ops->eager)
            write_to(&a->sinks[i], line, n, 1);
        else
            gathered = true;
    }
    if (!gathered)
        return;
    a->used += n;
    a->lines++;
}

/* ---- open and close ---- */

/* MC_OK, or MC_ERROR with err. */
static int open_sinks(struct mc_access *a, const struct mc_conf *conf, int fd, char *err, size_t errcap)
{
    for (size_t i = 0; mc_modules[i]; i++) {
        const struct mc_module *m = mc_modules[i];
        struct sink *s = &a->sinks[a->nsinks];
        if (m->kind != MC_MODULE_LOG || !m->ops.log->open)
            continue;
        MC_ASSERT(a->nsinks < SINKS);
        int rc = m->ops.log->open(conf, fd, &s->data);
        if (rc == MC_ERROR) {
            snprintf(err, errcap, "cannot open the access log (%s): %m", m->name);
            return rc;
        }
        if (rc != MC_OK)
            continue;
        s->module = m;
        s->ops = m->ops.log;
        a->nsinks++;
    }
    return MC_OK;
}

static void release(struct mc_access *a)
{
    for (size_t i = 0; i < a->nsinks; i++)
        a->sinks[i].ops->close(a->sinks[i].data);
    mc_access_format_free(&a->format);
    free(a->buffer);
    free(a);
}

int mc_access_open(struct mc_access **out, const struct mc_conf *conf, int fd, char *err, size_t errcap)
{
    struct mc_access *a = calloc(1, sizeof(*a));
    int rc = MC_ERROR;
    *out = NULL;
    if (a)
        a->buffer = malloc(BUFFER);
    if (!a || !a->buffer)
        snprintf(err, errcap, "out of memory");
    else if (open_sinks(a, conf, fd, err, errcap) == MC_OK)
        rc = a->nsinks ? mc_access_format_compile(&a->format, conf->set.access_log_format, err, errcap) : MC_DECLINED;
    if (rc == MC_OK)
        *out = a;
    else if (a)
        release(a);
    return rc;
}

void mc_access_set_fd(struct mc_access *a, int fd)
{
    for (size_t i = 0; i < a->nsinks; i++) {
        if (a->sinks[i].ops->set_fd)
            a->sinks[i].ops->set_fd(a->sinks[i].data, fd);
    }
}

void mc_access_close(struct mc_access **a)
{
    if (!*a)
        return;
    mc_access_flush(*a);
    release(*a);
    *a = NULL;
}
