"""An app whose worker must be killed, or dies by itself."""

import ctypes
import os
import time

if os.environ.get("DIES_IN_IMPORT"):
    while True:
        time.sleep(1)


def app(environ, start_response):
    path = environ["PATH_INFO"]
    while path == "/hang":
        time.sleep(1)
    while path == "/spin":
        pass
    if path == "/crash":
        ctypes.string_at(0)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
