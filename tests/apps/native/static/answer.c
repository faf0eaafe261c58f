/* An app that is linked into the server: ./configure --add-module=tests/apps/native/static, then app "x" { type = answer }. */
#include "modules/handler/native/static.h"

static int request(struct monoceros_request *req)
{
    monoceros_status(req, 200);
    return monoceros_end(req, "42", 2);
}

static const struct monoceros_app answer = {MONOCEROS_ABI_HEAD, .kind = MONOCEROS_BLOCKING, .name = "answer", .request = request};

MC_NATIVE_STATIC(answer, answer);
