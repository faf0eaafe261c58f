/* The response on its way through the filters of its route: heads once, then bodies from one to the next (contract: filter.h).
 * A handler's bytes enter at the front; what leaves the last filter is encoded by response.c. Files are read here in pieces. A loop handler's
 * output that waits for its turn is kept in order and pumped by the loop, so that no file, however long, holds up the others.
 * Worker side; on the loop, or on the thread of a blocking handler under its loan. */
#include "core/server/filter.h"

#include "core/http/status.h"
#include "core/server/engine.h"

#include <errno.h>
#include <unistd.h>

enum { PIECE = 65536, FILTERS_MAX = 8 };

struct mc_filter_run {
    unsigned n;
    struct {
        const struct mc_filter_ops *ops;
        void *state;
    } v[FILTERS_MAX];
    int64_t length; /* what the handler has promised, -1: nothing */
    int64_t taken;  /* and given */
    struct mc_chain pending;
    bool ended; /* the handler's last byte is in `pending` */
    bool dirty; /* filters may hold back what was given since the last flush */
    char *piece;
};

static void drop_pending(void *data)
{
    struct mc_filter_run *run = data;
    mc_chain_fini(&run->pending);
}

void mc_filter_reset(struct mc_request *r)
{
    if (r->resp.run) {
        drop_pending(r->resp.run);
        r->resp.run = NULL;
    }
    r->resp.filtered = false;
}

static struct mc_filter_run *new_run(struct mc_request *r)
{
    struct mc_filter_run *run = mc_arena_calloc(&r->arena, sizeof *run);
    if (run == NULL || mc_arena_cleanup(&r->arena, drop_pending, run) != MC_OK) {
        return NULL;
    }
    mc_chain_init(&run->pending);
    return run;
}

int mc_filter_head(struct mc_request *r, size_t n, bool last)
{
    const struct mc_conf_route *route = r->route;
    struct mc_response *resp = &r->resp;
    bool bodyless = r->is_head || mc_status_bodyless(resp->status);
    int64_t whole = last && !r->is_head ? (int64_t) n : -1;
    int64_t promised = resp->length;
    struct mc_filter_run *run = NULL;
    resp->filtered = true;
    for (size_t i = 0; i < route->nfilters; i++) {
        const struct mc_filter_use *use = &route->filters[i];
        void *state = NULL;
        int rc = use->ops->head ? use->ops->head(r, use->data, whole, &state) : MC_DECLINED;
        if (rc == MC_ERROR) {
            return MC_ERROR;
        }
        if (rc != MC_OK || bodyless || use->ops->body == NULL) {
            continue;
        }
        whole = -1; /* nobody knows what it will be */
        if (run == NULL && (run = new_run(r)) == NULL) {
            return MC_ERROR;
        }
        MC_ASSERT(run->n < FILTERS_MAX);
        run->v[run->n].ops = use->ops;
        run->v[run->n++].state = state;
    }
    if (run) {
        run->length = promised;
        resp->run = run;
    }
    return MC_OK;
}

int mc_filter_next(struct mc_request *r, unsigned index, const void *p, size_t n, bool last)
{
    const struct mc_filter_run *run = r->resp.run;
    if (++index >= run->n) {
        return mc_response_emit(r, p, n, last);
    }
    return run->v[index].ops->body(r, run->v[index].state, index, p, n, last);
}

static int feed(struct mc_request *r, const void *p, size_t n, bool last)
{
    struct mc_filter_run *run = r->resp.run;
    run->dirty = p != NULL && !last;
    int rc = run->v[0].ops->body(r, run->v[0].state, 0, p, n, last);
    return rc == MC_AGAIN ? MC_OK : rc; /* room is the business of whoever feeds: settle() and the pump's caller look at the queue */
}

/* What the handler may still give. */
static size_t clip(struct mc_request *r, size_t n)
{
    struct mc_filter_run *run = r->resp.run;
    if (run->length < 0 || (uint64_t) n <= (uint64_t) (run->length - run->taken)) {
        return n;
    }
    if (!r->resp.close) {
        r->resp.close = true;
        mc_warn("the response is longer than its Content-Length of %lld: cut", (long long) run->length);
    }
    return (size_t) (run->length - run->taken);
}

/* The handler has ended. A body that is shorter than it said must not look whole after a filter has given it another framing. */
static int check_end(const struct mc_filter_run *run)
{
    if (run->length > run->taken) {
        mc_warn("the response is shorter than its Content-Length: %lld of %lld bytes", (long long) run->taken, (long long) run->length);
        return MC_ERROR;
    }
    return MC_OK;
}

static int keep(struct mc_filter_run *run, const void *p, size_t n, bool last)
{
    run->ended = last;
    return n == 0 || mc_chain_add(&run->pending, p, n) == MC_OK ? MC_AGAIN : MC_ERROR;
}

int mc_filter_write(struct mc_request *r, const void *p, size_t n, bool last)
{
    struct mc_filter_run *run = r->resp.run;
    n = clip(r, n);
    run->taken += (int64_t) n;
    if (last && check_end(run) != MC_OK) {
        mc_response_error(r, 500); /* or a cut, when the head is out */
        return MC_ERROR;
    }
    if (!mc_chain_empty(&run->pending)) {
        return keep(run, p, n, last);
    }
    if (n == 0 && !last) {
        return MC_OK;
    }
    int rc = feed(r, n ? p : "", n, last);
    /* What an app yields piece by piece is meant to be seen piece by piece (PEP 3333). */
    if (rc == MC_OK && !last && run->length < 0 && mc_request_blocking(r)) {
        rc = feed(r, NULL, 0, false);
    }
    return rc;
}

int mc_filter_flush(struct mc_request *r)
{
    return mc_chain_empty(&r->resp.run->pending) ? feed(r, NULL, 0, false) : MC_OK;
}

bool mc_filter_holds(const struct mc_request *r)
{
    const struct mc_filter_run *run = r->resp.run;
    return run->dirty && run->length < 0 && mc_chain_empty(&run->pending);
}

bool mc_filter_waiting(const struct mc_request *r)
{
    return !mc_chain_empty(&r->resp.run->pending);
}

/* The next bytes of `pending`: in place, or read from the file. > 0, or MC_ERROR. */
static ssize_t next_piece(struct mc_request *r, struct mc_chain *pending, const char **p)
{
    struct mc_filter_run *run = r->resp.run;
    struct iovec iov;
    if (mc_chain_iov(pending, &iov, 1) == 1) {
        *p = iov.iov_base;
        return (ssize_t) iov.iov_len;
    }
    const struct mc_seg *seg = pending->head;
    if (run->piece == NULL && (run->piece = mc_arena_alloc(&r->arena, PIECE)) == NULL) {
        return MC_ERROR;
    }
    ssize_t n;
    do {
        n = pread(seg->file->fd, run->piece, seg->len < PIECE ? (size_t) seg->len : PIECE, seg->off);
    } while (n < 0 && errno == EINTR);
    *p = run->piece;
    return n > 0 ? n : MC_ERROR; /* 0: the file is shorter than it was */
}

static int pump_one(struct mc_request *r, bool may_end)
{
    struct mc_filter_run *run = r->resp.run;
    const char *p;
    ssize_t n = next_piece(r, &run->pending, &p);
    if (n < 0) {
        return MC_ERROR;
    }
    bool last = may_end && run->ended && n == run->pending.total;
    int rc = feed(r, p, (size_t) n, last);
    mc_chain_consume(&run->pending, n);
    return rc != MC_OK ? rc : last ? MC_DECLINED : MC_OK;
}

int mc_filter_pump(struct mc_request *r)
{
    return pump_one(r, true);
}

int mc_filter_file(struct mc_request *r, struct mc_file *f, off_t off, off_t n)
{
    struct mc_filter_run *run = r->resp.run;
    n = (off_t) clip(r, (size_t) n);
    run->taken += n;
    if (mc_chain_add_file(&run->pending, f, off, n) != MC_OK) {
        return MC_ERROR;
    }
    if (!mc_request_blocking(r)) {
        return mc_chain_empty(&run->pending) ? MC_OK : MC_AGAIN;
    }
    while (!mc_chain_empty(&run->pending)) {
        if (pump_one(r, false) != MC_OK) {
            return MC_ERROR;
        }
        int rc = mc_response_settle(r);
        if (rc != MC_OK) {
            return rc;
        }
    }
    return MC_OK;
}
