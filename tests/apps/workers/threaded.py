"""An app for workers with threads: requests that last until a file appears, thread-locals, calls that keep the interpreter's lock, growth."""

import ctypes
import json
import os
import sys
import threading
import time
from urllib.parse import parse_qsl

local = threading.local()
made = []       # what thread-locals were made for, by name of the thread
kept = []


class Database:
    """Stands for what apps open once a thread."""

    def __init__(self):
        made.append(threading.current_thread().name)


def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.01)


def hold(query):
    """Until the file appears. The log tells that it has begun, and where."""
    print("holding", os.getpid(), threading.current_thread().name, file=sys.stderr, flush=True)
    wait_for(query["file"])
    return [b"released"]


def begin(query):
    """As hold(), but a part of the body goes out first."""
    yield b"begun"
    yield from hold(query)


def thread(query):
    if not hasattr(local, "database"):
        local.database = Database()
    me = threading.current_thread()
    return [json.dumps({"pid": os.getpid(), "name": me.name, "id": me.ident, "daemon": me.daemon, "object": id(local.database), "made": made}).encode()]


def keep_the_lock(query):
    """A call of C that holds the interpreter's lock all the time."""
    ctypes.PyDLL(None).sleep(int(query["seconds"]))
    return [b"kept"]


def grow(query):
    kept.append(bytearray(int(query["size"])))
    return [b"grown"]


def big(query):
    return [b"x" * int(query["size"])]


def pid(query):
    return [str(os.getpid()).encode()]


def wait(query):
    time.sleep(float(query["seconds"]))
    return pid(query)


PAGES = {"/hold": hold, "/begin": begin, "/thread": thread, "/lock": keep_the_lock, "/grow": grow, "/big": big, "/wait": wait}


def app(environ, start_response):
    page = PAGES.get(environ["PATH_INFO"], pid)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return page(dict(parse_qsl(environ["QUERY_STRING"])))
