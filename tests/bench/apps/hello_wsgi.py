"""The smallest WSGI app: for memory, start and reload."""

BODY = [b"Hello, world!"]
HEADERS = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "13")]


def app(environ, start_response):
    start_response("200 OK", HEADERS)
    return BODY
