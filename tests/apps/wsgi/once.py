"""An app that tells who imported it, and leaves a thread and an exit function behind."""

import atexit
import os
import signal
import sys
import threading
import time

IMPORTER = os.getpid()
print("once: imported")     # not flushed: the server sees to it that a line is written when it is there
asked = threading.Event()

if os.environ.get("ONCE_TAKES_SIGNALS"):
    for name in ("SIGTERM", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGCHLD"):
        signal.signal(getattr(signal, name), lambda number, frame: None)


def linger():
    threading.main_thread().join()      # until the interpreter is asked to end
    time.sleep(0.1)
    print("once: thread ended", file=sys.stderr)


def app(environ, start_response):
    if environ["PATH_INFO"] == "/thread":
        atexit.register(lambda: print("once: exit function called"))
        threading.Thread(target=linger).start()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{IMPORTER} {os.getpid()}".encode()]
