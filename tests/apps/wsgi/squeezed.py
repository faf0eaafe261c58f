"""Answers for tests of compression."""

import threading
from wsgiref.util import FileWrapper

PAGE = b"<p>the same line again and again</p>\n" * 300
HTML = ("Content-Type", "text/html; charset=utf-8")
went = [threading.Event() for _ in range(3)]


def steps():
    for number in range(3):
        went[number].clear()
        yield b"step %d\n" % number
        went[number].wait(20)


def application(environ, start_response):
    name = environ["PATH_INFO"].rsplit("/", 1)[-1]
    query = environ["QUERY_STRING"]
    more = {"page": [HTML, ("ETag", '"x"')], "public": [HTML, ("Cache-Control", "public, max-age=5")], "login": [HTML, ("Set-Cookie", "session=1")],
            "coded": [HTML, ("Content-Encoding", "x-own")], "transform": [HTML, ("Cache-Control", "no-transform")],
            "short": [HTML, ("Content-Length", "20000")], "large": [("Content-Type", "text/plain")], "file": [("Content-Type", "application/json")],
            "steps": [HTML], "go": [("Content-Type", "text/plain")]}
    if name == "empty":
        start_response("204 No Content", [HTML])
        return []
    start_response("200 OK", more[name])
    if name == "large":
        return [b"0123456789abcdef" * 1000 for _ in range(200)]
    if name == "file":
        return environ.get("wsgi.file_wrapper", FileWrapper)(open(query, "rb"))
    if name == "steps":
        return steps()
    if name == "go":
        went[int(query)].set()
        return [b"gone"]
    return [PAGE]
