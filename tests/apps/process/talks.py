"""An app that writes to the process's streams in every way."""

import ctypes
import subprocess
import sys
import threading

libc = ctypes.CDLL(None)


def app(environ, start_response):
    print("to stdout")
    print("to stderr", file=sys.stderr)
    thread = threading.Thread(target=print, args=("from a thread",))
    thread.start()
    thread.join()
    libc.puts(b"from C")
    subprocess.run(["echo", "from a child"], check=True)
    start_response("200 OK", [])
    return [b"said"]
