"""A plain WSGI app of the integration tests: hello, echo, big answers, slow answers, who am I."""

import hashlib
import os
import time
from urllib.parse import parse_qs

BLOCK = bytes(range(256)) * 256     # 64 KiB


def read_all(environ):
    digest, size = hashlib.sha256(), 0
    stream = environ["wsgi.input"]
    while block := stream.read(65536):
        digest.update(block)
        size += len(block)
    return size, digest.hexdigest()


def hello(environ, query):
    return "200 OK", [("Content-Type", "text/plain")], [b"Hello, world!"]


def who(environ, query):
    return "200 OK", [("Content-Type", "text/plain")], [str(os.getpid()).encode()]


def echo(environ, query):
    body = environ["wsgi.input"].read()
    return "200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))], [body]


def digest(environ, query):
    size, sha256 = read_all(environ)
    return "200 OK", [("Content-Type", "text/plain")], [f"{size} {sha256}".encode()]


def big(environ, query):
    size = int(query.get("size", ["4194304"])[0])
    body = (BLOCK * (size // len(BLOCK) + 1))[:size]
    return "200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(size))], [body]


def stream(environ, query):
    count = int(query.get("count", ["16"])[0])
    size = int(query.get("size", ["65536"])[0])
    return "200 OK", [("Content-Type", "application/octet-stream")], ((BLOCK * (size // len(BLOCK) + 1))[:size] for _ in range(count))


def slow(environ, query):
    time.sleep(float(query.get("seconds", ["0.05"])[0]))
    return "200 OK", [("Content-Type", "text/plain")], [b"at last"]


def empty(environ, query):
    return "204 No Content", [], []


def fails(environ, query):
    raise RuntimeError("this page fails on purpose")


PAGES = {"/": hello, "/who": who, "/echo": echo, "/digest": digest, "/big": big, "/stream": stream, "/slow": slow, "/empty": empty,
         "/fails": fails}


def app(environ, start_response):
    page = PAGES.get(environ["PATH_INFO"])
    if page is None:
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"no such page"]
    status, headers, body = page(environ, parse_qs(environ["QUERY_STRING"]))
    start_response(status, headers)
    return body
