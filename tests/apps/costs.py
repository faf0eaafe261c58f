"""The least that apps can do: what remains is what the server costs."""

BODY = [b"Hello, world!"]
HEADERS = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "13")]
START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain"), (b"content-length", b"13")]}
END = {"type": "http.response.body", "body": b"Hello, world!"}


def wsgi(environ, start_response):
    start_response("200 OK", HEADERS)
    return BODY


async def asgi(scope, receive, send):
    await send(START)
    await send(END)
