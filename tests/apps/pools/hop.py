"""What runs in another pool: tells its environ, waits, fails, streams, dies."""

import json
import os
import signal
import time

if os.path.exists(os.environ.get("HOP_BROKEN", "/nonexistent")):
    raise RuntimeError("broken on purpose")

SHOWN = (str, int, bool, tuple)


def told(environ):
    """Keys in their order; objects by their kind."""
    return [[key, value if isinstance(value, SHOWN) else type(value).__name__] for key, value in environ.items()]


def stream(count):
    for number in range(count):
        yield b"%d\n" % number * 1000


def app(environ, start_response):
    path = environ["PATH_INFO"]
    query = environ["QUERY_STRING"]
    body = environ["wsgi.input"].read()
    if path.endswith("/environ"):
        text = json.dumps({"environ": told(environ), "body": body.decode("latin-1"), "pid": os.getpid()}).encode()
        start_response("200 Fine", [("Content-Type", "application/json"), ("X-Accel-Redirect", "/x"), ("X-Twice", "1"), ("X-Twice", "2")])
        return [text]
    if path == "/sleep":
        time.sleep(float(query or "1"))
    if path == "/until":                    # the file appears
        while not os.path.exists(query):
            time.sleep(0.01)
    if path == "/begin":                    # says that it has begun, then waits for the other file
        began, ends = query.split(",")
        open(began, "a").close()
        while not os.path.exists(ends):
            time.sleep(0.01)
    if path == "/raise":
        raise ValueError("on purpose")
    if path == "/die":
        os.kill(os.getpid(), signal.SIGKILL)
    if path == "/half":
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "1000")])(b"begun")
        os.kill(os.getpid(), signal.SIGKILL)
    if path == "/hints":
        environ["wsgi.early_hints"]([("Link", "</style.css>; rel=preload")])
    if path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return stream(int(query))
    if path == "/cut":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return cut()
    if path == "/echo":
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return [body]
    if path == "/append":                   # counts how often it ran
        with open(query, "a") as file:
            file.write("x")
    if path == "/500":
        start_response("500 Mine", [("Content-Type", "text/plain")])
        return [b"my own error"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


def cut():
    yield b"begun\n"
    raise ValueError("on purpose")
