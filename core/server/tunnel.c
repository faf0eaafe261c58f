/* A connection that stops to speak HTTP: 101, then raw bytes both ways (contract: handler.h). Never calls a handler. Worker side, on the loop. */
#include "core/server/engine.h"

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

int mc_response_half_close(struct mc_request *r)
{
    if (!r->resp.switched || r->resp.state != MC_RESP_HEAD || r->conn->broken) {
        return MC_ERROR;
    }
    r->resp.half_closed = true;
    mc_request_wake(r);
    return MC_OK;
}
