"""An app that breaks what the server lives on, page by page."""

import ctypes
import os
import signal
import socket


def hang():
    """In C, with the GIL: nothing else of the interpreter runs."""
    ctypes.PyDLL(None).sleep(600)


def crash():
    signal.raise_signal(11)     # of this thread, as a real one is


def descriptors():
    for name in os.listdir("/proc/self/fd"):
        try:
            yield int(name), os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            pass


def close_loop():
    for fd, target in descriptors():
        if "eventpoll" in target:
            os.close(fd)


def close_listener():
    for fd, target in descriptors():
        if not target.startswith("socket:"):
            continue
        with socket.socket(fileno=os.dup(fd)) as copy:
            listens = copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if listens:
            os.close(fd)


PAGES = {"/hang": hang, "/crash": crash, "/close-loop": close_loop, "/close-listener": close_listener}


def app(environ, start_response):
    PAGES.get(environ["PATH_INFO"], lambda: None)()
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
