"""Streams: one that waits for a file between its pieces, and one without an end."""

import os
import tempfile
import time

TEXT = ("Content-Type", "text/plain")


def app(environ, start_response):
    start_response("200 OK", [TEXT])
    go = os.path.join(tempfile.mkdtemp(), "go")
    yield b"first " + go.encode()
    while not os.path.exists(go):
        time.sleep(0.01)
    os.unlink(go)
    os.rmdir(os.path.dirname(go))
    yield b"second"


class Endless:
    def __init__(self, errors):
        self.errors = errors
        self.count = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.count += 1
        return b"x" * 65536

    def close(self):
        self.errors.write(f"closed after {self.count} pieces\n")


def endless_app(environ, start_response):
    start_response("200 OK", [TEXT])
    return Endless(environ["wsgi.errors"])
