/* The smallest native app: a blocking one. Its request() does the work and returns.
 *
 *   cc -shared -fPIC $(pkg-config --cflags monoceros) -o hello.so hello.c
 *   monoceros ./hello.so            # then: curl http://127.0.0.1:8000/?Ada */
#include <monoceros/app.h>

#include <stdio.h>

static int hello(struct monoceros_request *req)
{
    struct monoceros_str name = monoceros_query(req); /* bytes and a length: there is no NUL behind */
    char text[256];
    if (name.n == 0)
        name = (struct monoceros_str){"world", 5};
    if (name.n > 200)
        return 400; /* nothing was sent yet: the server answers with its own page */
    int n = snprintf(text, sizeof(text), "Hello, %.*s!\n", (int)name.n, name.p);
    monoceros_status(req, 200);
    monoceros_header_add(req, "Content-Type", "text/plain; charset=utf-8");
    return monoceros_end(req, text, (size_t)n); /* head and body in one go; the server adds Date and Content-Length */
}

/* The one name that the server looks for. */
MONOCEROS_APP monoceros_app = {
    MONOCEROS_ABI_HEAD,
    .name = "hello",
    .kind = MONOCEROS_BLOCKING,
    .request = hello,
};
