"""An app that forks in every way that apps do; each path answers with what became of the child."""

import multiprocessing
import os
import signal
import sys
import time


def status(pid):
    return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def back():
    """The child comes back from the app as if it were the worker."""
    pid = os.fork()
    return "child" if pid == 0 else status(pid)


def leave(how):
    pid = os.fork()
    if pid == 0:
        raise how
    return status(pid)


def terminate():
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    child.terminate()
    child.join()
    return str(child.exitcode)


def own_handler():
    """A handler that the app has set is the app's also in its child."""
    reading, writing = os.pipe()
    old = signal.signal(signal.SIGUSR2, lambda *_: os.write(writing, b"heard"))
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGUSR2)
        os._exit(0)
    signal.signal(signal.SIGUSR2, old)
    return os.read(reading, 10).decode() + status(pid)


def stay():
    """A child that outlives its request, and the server."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.write(writing, b"away")
        time.sleep(60)
        os._exit(0)
    os.read(reading, 10)
    return str(pid)


PATHS = {
    "/back": back, "/exit": lambda: leave(SystemExit(5)), "/none": lambda: leave(SystemExit()), "/text": lambda: leave(SystemExit("a text")),
    "/raise": lambda: leave(ValueError("in the child")), "/terminate": terminate, "/handler": own_handler, "/stay": stay,
}


class Closing:
    def __iter__(self):
        yield b"piece "
        pid = os.fork()
        if pid == 0:
            sys.exit(6)
        yield status(pid).encode()

    def close(self):
        pid = os.fork()
        if pid == 0:
            return      # out of close()
        status(pid)


def app(environ, start_response):
    if environ["PATH_INFO"] == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Closing()
    body = (PATHS[environ["PATH_INFO"]]() if environ["PATH_INFO"] in PATHS else str(os.getpid())).encode()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]
