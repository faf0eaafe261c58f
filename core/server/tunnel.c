/* A connection that stops to speak HTTP: 101, then raw bytes both ways (contract: handler.h). Never calls a handler. Worker side, on the loop. */
#include "core/server/engine.h"

#include <string.h>

int mc_response_switch(struct mc_request *r, struct mc_str protocol, const struct mc_fields *fields)
{
    struct mc_response *p = &r->resp;
    const struct mc_protocol_ops *ops = r->session->ops;
    MC_ASSERT(!mc_request_blocking(r));
    /* A body must be over: what follows it on the wire belongs to the other protocol. One in a file would keep the tunnel's bytes there, too. */
    if (p->state >= MC_RESP_HEAD || r->conn->broken || r->gone || ops->switch_to == NULL || !r->body.complete || r->body.file) {
        return MC_ERROR;
    }
    p->has_server |= r->session->inner;
    p->direct = true; /* the codec may think otherwise */
    if (ops->switch_to(r, protocol, fields) != MC_OK) {
        return MC_ERROR;
    }
    p->state = MC_RESP_HEAD;
    p->status = 101;
    p->length = -1;
    p->switched = p->close = true;
    p->chunked = p->bodyless = p->spool = false;
    mc_chain_fini(&r->body.data);
    r->body.mode = MC_BODY_STREAMED;
    r->body.complete = false;
    r->body.length = -1;
    return MC_OK;
}

/* The codec is not told: what comes is read here, and the connection ends with the request. */
static int take_over(struct mc_request *r)
{
    struct mc_response *p = &r->resp;
    struct mc_conn *c = r->conn;
    MC_ASSERT(mc_request_blocking(r));
    if (p->state >= MC_RESP_HEAD || c->broken || r->session->ops != c->worker->http1 || r->head.version == 0 || !r->body.complete) {
        return MC_ERROR;
    }
    p->state = MC_RESP_HEAD;
    p->status = 101;
    p->length = -1;
    p->direct = p->switched = p->close = true;
    p->chunked = p->bodyless = false;
    mc_request_untimed(r);
    return mc_io_watch(&c->worker->loop, &c->io, MC_WANT_READ | MC_WANT_WRITE);
}

static ssize_t receive(struct mc_request *r, void *p, size_t n)
{
    struct mc_inbuf *in = &r->session->in;
    if (in->pos == in->len) {
        ssize_t got = r->conn->broken ? MC_ERROR : in->eof ? 0 : mc_conn_fill(r->conn);
        if (got <= 0) {
            return got;
        }
    }
    if (n > in->len - in->pos) {
        n = in->len - in->pos;
    }
    memcpy(p, in->data + in->pos, n);
    in->pos += n;
    return (ssize_t) n;
}

int mc_request_take_over(struct mc_request *r)
{
    if (!mc_loan_enter(r)) {
        return MC_ERROR;
    }
    int rc = take_over(r);
    mc_loan_leave(r);
    return rc;
}

ssize_t mc_request_receive(struct mc_request *r, void *p, size_t n)
{
    MC_ASSERT(r->resp.switched);
    if (!mc_loan_enter(r)) {
        return MC_ERROR;
    }
    ssize_t got = receive(r, p, n);
    mc_loan_leave(r);
    return got;
}

int mc_response_half_close(struct mc_request *r)
{
    if (!r->resp.switched || r->resp.state != MC_RESP_HEAD || r->conn->broken) {
        return MC_ERROR;
    }
    r->resp.half_closed = true;
    mc_request_wake(r);
    return MC_OK;
}
