"""An app under its default name, and one module beside it."""

import sys

import probe


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [("\n".join([*sys.argv, *sys.path, probe.__name__])).encode()]
