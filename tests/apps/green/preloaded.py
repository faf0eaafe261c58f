"""Imported in the zygote: whoever patches later would be too late for what this module keeps. It sleeps, so the hub has run before the fork."""

import json
import os
import socket
import ssl
import threading
import time
from time import sleep

IMPORTED_BY = os.getpid()
context = ssl.create_default_context()
time.sleep(0.01)
lock = threading.RLock()


def app(environ, start_response):
    with lock:
        sleep(0.01)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].close()).start()
        with socket.create_connection(server.getsockname()) as sock:
            sock.recv(1)
    context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())
    body = json.dumps({"pid": os.getpid(), "imported_by": IMPORTED_BY, "patched": socket.socket.__module__}).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
