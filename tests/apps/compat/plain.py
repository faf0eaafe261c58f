"""What apps look at beyond PEP 3333."""

import json
import logging
import multiprocessing
import os
import sys


def square(number):
    return number * number


def spawned():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.map(square, [3, 4])


def logs(environ):
    handler = logging.StreamHandler(environ["wsgi.errors"])
    handler.setFormatter(logging.Formatter("%(levelname)s by the app: %(message)s"))
    logging.getLogger("plain").addHandler(handler)
    logging.getLogger("plain").warning("one record")
    logging.getLogger("plain").removeHandler(handler)


def app(environ, start_response):
    said = {"method": environ["REQUEST_METHOD"], "body": environ["wsgi.input"].read().decode(), "software": os.environ.get("SERVER_SOFTWARE"),
            "same": os.environ.get("SERVER_SOFTWARE") == environ["SERVER_SOFTWARE"], "root": len(logging.getLogger().handlers),
            "main": sys.modules["__main__"].__name__, "pid": os.getpid()}
    if environ["PATH_INFO"] == "/leave":
        sys.exit(9)
    if environ["PATH_INFO"] == "/spawn":
        said["spawned"] = spawned()
    if environ["PATH_INFO"] == "/log":
        logs(environ)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(said).encode()]
