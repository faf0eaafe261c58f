"""What streams of one connection do beside each other. /meet/N answers when N requests are inside at the same time, or "alone" after a while."""

import json
import os
import threading
import time

lock = threading.Condition()
inside = 0
most = 0


def meet(n):
    global inside, most
    with lock:
        inside += 1
        most = max(most, inside)
        lock.notify_all()
        met = lock.wait_for(lambda: most >= n, timeout=20 if n > 1 else 0)
    with lock:
        inside -= 1
    return b"met" if met else b"alone"


def pieces(n):
    for i in range(n):
        yield b"%d\n" % i


def broken():
    yield b"x" * 1000
    raise ValueError("in the middle of the body")


def trailers(environ, start_response, how):
    """Behind a body: told before the head, between its pieces, of one with a length, of none."""
    send = environ["gunicorn.http2.send_trailers"]
    fields = [("Content-Length", "10")] if how == "length" else []
    if how != "late":
        send([("X-First", "1")])
    start_response("204 No Content" if how == "none" else "200 OK", fields)
    if how == "none":
        return []
    if how == "bad":
        send([("Content-Length", "5")])
    if how != "late":
        send((("X-Second", "2"),))
        return [b"the answer"]

    def parts():
        yield b"the "
        send([("X-First", "1")])
        yield b"answer"
        send([("X-Second", "2")])
    return parts()


def until_there(path):
    end = time.monotonic() + 30
    while not os.path.exists(path) and time.monotonic() < end:
        time.sleep(0.01)


def app(environ, start_response):
    path = environ["PATH_INFO"]
    word, _, rest = path[1:].partition("/")
    fields, status = [("Content-Type", "text/plain")], "200 OK"
    if word == "trailers":
        return trailers(environ, start_response, rest)
    body = [b"hello"]
    if word == "length":
        data = environ["wsgi.input"].read()
        body = [b"%d" % len(data)]
    elif word == "echo":
        body = [environ["wsgi.input"].read()]
    elif word == "bytes":
        body = [b"x" * int(rest)]
    elif word == "pieces":
        start_response(status, fields)
        return pieces(int(rest))
    elif word == "large":
        start_response(status, fields)
        return (b"y" * 50000 for _ in range(int(rest)))
    elif word == "meet":
        body = [meet(int(rest))]
    elif word == "most":
        body = [b"%d" % most]
    elif word == "environ":
        body = [json.dumps({k: str(v) for k, v in environ.items()}).encode()]
    elif word == "status":
        status, body = rest + " Told", [] if rest in ("204", "304") else [b"told"]
    elif word == "early":
        environ["wsgi.early_hints"]([("Link", "</style.css>; rel=preload")])
    elif word == "sleep":
        time.sleep(float(rest))
    elif word == "wait":
        until_there("/" + rest)
    elif word == "broken":
        start_response(status, fields)
        return broken()
    elif word == "short":
        start_response(status, [("Content-Length", "10")])
        return [b"four"]
    elif word == "cookie":
        body = [environ.get("HTTP_COOKIE", "").encode()]
    if status[:3] not in ("204", "304"):
        fields.append(("Content-Length", str(sum(map(len, body)))))
    start_response(status, fields)
    return body
