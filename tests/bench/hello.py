"""The app of the benchmark: the answer of raw.c as WSGI."""

import time

BODY = [b"Hello, world!"]
HEADERS = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "13")]


def app(environ, start_response):
    start_response("200 OK", HEADERS)
    return BODY


def wait(environ, start_response):
    time.sleep(0.010)
    return app(environ, start_response)


def echo(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))])
    return [body]
