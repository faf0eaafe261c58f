/* May a request be made again? Decisions only, no state. Called by upstream.c. Worker side. */
#include "core/server/upstream.h"

bool mc_call_idempotent(struct mc_str method)
{
    static const struct mc_str safe[] = { MC_STR("GET"), MC_STR("HEAD"), MC_STR("PUT"), MC_STR("DELETE"), MC_STR("OPTIONS"), MC_STR("TRACE") };
    for (unsigned i = 0; i < MC_COUNT(safe); i++) {
        if (mc_str_eq(method, safe[i])) {
            return true;
        }
    }
    return false;
}

static unsigned reason(const struct mc_retry *q)
{
    switch (q->fault) {
    case MC_FAULT_CONNECT:
    case MC_FAULT_RESET:
    case MC_FAULT_STALE:
    case MC_FAULT_REPLY:
        return MC_RETRY_ERROR;
    case MC_FAULT_TIMEOUT:
        return MC_RETRY_TIMEOUT;
    case MC_FAULT_STATUS:
        return q->status == 502 ? MC_RETRY_502 : q->status == 503 ? MC_RETRY_503 : q->status == 504 ? MC_RETRY_504 : 0;
    default:
        return 0;
    }
}

enum mc_retry_how mc_call_retry(const struct mc_retry *q)
{
    if (q->passed || !q->replayable || (q->wired && !q->idempotent)) {
        return MC_RETRY_NO;
    }
    if (q->fault == MC_FAULT_STALE && !q->stale_before) {
        return MC_RETRY_FRESH;
    }
    return (reason(q) & q->on) && q->tries_left && q->in_time ? MC_RETRY_NEXT : MC_RETRY_NO;
}
