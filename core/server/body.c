/* Request bodies: kept in memory up to body_buffer, then in an unlinked file of tmp_upload_dir; read by handlers. Worker side. */
#include "core/server/engine.h"

#include "core/os/fd.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static void drop_file(void *data)
{
    struct mc_body *b = data;
    mc_file_unref(&b->file);
}

static int write_file(struct mc_body *b, const void *p, size_t n)
{
    ssize_t done = pwrite(b->file->fd, p, n, b->file_end);
    if (done != (ssize_t) n) {
        errno = done < 0 ? errno : ENOSPC;
        return MC_ERROR;
    }
    int rc = mc_chain_add_file(&b->data, b->file, b->file_end, (off_t) n);
    b->file_end += (off_t) n;
    return rc;
}

/* What waits in memory goes first, so that the order stays. */
static int move_to_file(struct mc_request *r)
{
    struct mc_body *b = &r->body;
    int fd = mc_fd_tmpfile(r->server->set.tmp_upload_dir);
    if (fd < 0) {
        return MC_ERROR;
    }
    b->file = mc_file_new(fd);
    if (b->file == NULL) {
        mc_fd_close(&fd);
        return MC_ERROR;
    }
    if (mc_arena_cleanup(&r->arena, drop_file, b) != MC_OK) {
        mc_file_unref(&b->file);
        return MC_ERROR;
    }
    struct mc_chain memory;
    mc_chain_init(&memory);
    mc_chain_move(&memory, &b->data);
    int rc = MC_OK;
    for (const struct mc_seg *g = memory.head; g && rc == MC_OK; g = g->next) {
        rc = write_file(b, g->pos, (size_t) (g->last - g->pos));
    }
    mc_chain_fini(&memory);
    return rc;
}

static int out_of_disk(struct mc_request *r)
{
    static struct mc_log_limit limit;
    unsigned missed;
    if (mc_log_limited(&limit, &missed)) {
        mc_error("cannot keep a request body in %s: %s", r->server->set.tmp_upload_dir, strerror(errno));
    }
    return 500;
}

int mc_body_store(struct mc_request *r, struct mc_str data)
{
    struct mc_body *b = &r->body;
    const struct mc_values *set = mc_request_set(r);
    b->received += (int64_t) data.n;
    if (set->limit_request_body > 0 && !r->resp.switched && b->received > set->limit_request_body) {
        b->failed = true;
        return 413;
    }
    if (b->mode == MC_BODY_DISCARD) {
        return MC_OK;
    }
    bool in_memory = b->file == NULL && (b->mode == MC_BODY_STREAMED || (int64_t) (b->data.mem + data.n) <= set->body_buffer);
    if (in_memory) {
        return mc_chain_add(&b->data, data.p, data.n) == MC_OK ? MC_OK : 503;
    }
    if ((b->file == NULL && move_to_file(r) != MC_OK) || write_file(b, data.p, data.n) != MC_OK) {
        b->failed = true;
        return out_of_disk(r);
    }
    return MC_OK;
}

bool mc_body_has_room(const struct mc_request *r)
{
    return r->body.data.total < mc_request_set(r)->body_buffer || r->body.data.total == 0;
}

void mc_body_want(struct mc_request *r)
{
    bool waits = r->head.expect_continue && r->head.framing != MC_BODY_NONE && !r->sent_continue && r->resp.state < MC_RESP_HEAD;
    if (!waits || r->body.received > 0 || r->session->in.pos < r->session->in.len) {
        return;
    }
    r->sent_continue = true;
    if (r->session->ops->interim(r, 100, NULL) != MC_OK || mc_conn_flush(r->conn) == MC_ERROR) {
        r->conn->broken = true;
    }
}

int64_t mc_body_available(const struct mc_request *r)
{
    return r->body.data.total;
}

static ssize_t take(struct mc_request *r, void *p, size_t n)
{
    struct mc_body *b = &r->body;
    char *to = p;
    size_t done = 0;
    while (done < n && !mc_chain_empty(&b->data)) {
        const struct mc_seg *g = b->data.head;
        size_t want = n - done;
        ssize_t got;
        if (g->kind == MC_SEG_MEM) {
            size_t have = (size_t) (g->last - g->pos);
            got = (ssize_t) (have < want ? have : want);
            memcpy(to + done, g->pos, (size_t) got);
        } else {
            got = pread(g->file->fd, to + done, (off_t) want < g->len ? want : (size_t) g->len, g->off);
            if (got <= 0) {
                b->failed = true;
                return MC_ERROR;
            }
        }
        mc_chain_consume(&b->data, got);
        done += (size_t) got;
    }
    if (done > 0 || n == 0) {
        return (ssize_t) done;
    }
    if (b->failed) {
        return MC_ERROR;
    }
    return b->complete ? 0 : MC_AGAIN;
}

ssize_t mc_body_peek(struct mc_request *r, off_t off, void *p, size_t n)
{
    struct mc_body *b = &r->body;
    size_t done = 0;
    for (const struct mc_seg *g = b->data.head; g && done < n; g = g->next) {
        off_t len = g->kind == MC_SEG_MEM ? (off_t) (g->last - g->pos) : g->len;
        if (off >= len) {
            off -= len;
            continue;
        }
        size_t want = (off_t) (n - done) < len - off ? n - done : (size_t) (len - off);
        if (g->kind == MC_SEG_MEM) {
            memcpy((char *) p + done, g->pos + off, want);
        } else if (pread(g->file->fd, (char *) p + done, want, g->off + off) != (ssize_t) want) {
            return MC_ERROR;
        }
        done += want;
        off = 0;
    }
    return (ssize_t) done;
}

ssize_t mc_body_read(struct mc_request *r, void *p, size_t n)
{
    if (!mc_loan_enter(r)) {
        return MC_ERROR;
    }
    ssize_t got = take(r, p, n);
    mc_loan_leave(r);
    return got;
}
