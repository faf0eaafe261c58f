/* The server's own answers: a short page a status, made of nothing that the client sent. Worker side; called by the response API. */
#include "core/server/engine.h"

#include "core/http/status.h"

#include <stdio.h>

size_t mc_page_error(char *out, size_t cap, int status)
{
    struct mc_str reason = mc_status_reason(status);
    int n = snprintf(out, cap,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>%d %.*s</title></head>\n"
        "<body><h1>%d %.*s</h1></body>\n</html>\n",
        status, (int) reason.n, reason.p, status, (int) reason.n, reason.p);
    return n < 0 ? 0 : (size_t) n < cap ? (size_t) n : cap - 1;
}
